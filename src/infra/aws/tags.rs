//! Tags and filters in the form EC2 takes them.
//!
//! Owns: the two directions. Must not: decide which tags an object has.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use crate::infra::identity::{Identity, OWNER, Tags};

pub(super) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

pub(super) fn read(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|t| Some((t.key()?.to_owned(), t.value().unwrap_or_default().to_owned())))
        .collect()
}

/// The tags of the create call itself: an object never exists without them.
pub(super) fn at_creation(kind: ResourceType, tags: &Tags) -> TagSpecification {
    let tags = tags.iter().map(|(k, v)| tag(k, v)).collect();
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
}

/// Only what carries the owner's tag. `*` and `?` in a name are no wildcards.
pub(super) fn owned_by(owner: &str) -> Filter {
    let mut value = String::new();
    for letter in owner.chars() {
        if matches!(letter, '*' | '?' | '\\') {
            value.push('\\');
        }
        value.push(letter);
    }
    Filter::builder().name(format!("tag:{OWNER}")).values(value).build()
}

/// The tags with the identity in them; `None` for what isn't ours.
pub(super) fn identified(tags: &[Tag]) -> Option<(Tags, Identity)> {
    let tags = read(tags);
    let identity = Identity::of_tags(&tags)?;
    Some((tags, identity))
}
