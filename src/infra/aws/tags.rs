//! Tags and filters in the form EC2 takes them.
//!
//! Owns: the two directions. Must not: decide which tags an object has.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use super::client::{Clients, fault};
use crate::infra::fault::CloudFault;
use crate::infra::identity::{Identity, OWNER, Tags};

pub(super) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

pub(super) fn read(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|t| Some((t.key()?.to_owned(), t.value().unwrap_or_default().to_owned())))
        .collect()
}

/// The tags of the create call itself: an object never exists without them. AWS takes no empty list.
pub(super) fn at_creation(kind: ResourceType, tags: &Tags) -> Option<Vec<TagSpecification>> {
    let all: Vec<Tag> = tags.iter().map(|(k, v)| tag(k, v)).collect();
    let filled = !all.is_empty();
    filled.then(|| vec![TagSpecification::builder().resource_type(kind).set_tags(Some(all)).build()])
}

/// Brings the tags of an EC2 object from what they are to what they should be.
pub(super) async fn change(clients: &Clients, id: &str, now: &Tags, after: &Tags) -> Result<(), CloudFault> {
    // AWS's own are nobody else's to touch.
    let ours = |key: &str| !key.starts_with("aws:");
    let gone: Vec<Tag> = now
        .keys()
        .filter(|key| !after.contains_key(*key) && ours(key))
        .map(|key| Tag::builder().key(key).build())
        .collect();
    if !gone.is_empty() {
        let call = clients.ec2.delete_tags().resources(id).set_tags(Some(gone));
        call.send().await.map_err(|e| fault("ec2:DeleteTags", &e))?;
    }
    let new: Vec<Tag> = after
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value) && ours(key))
        .map(|(key, value)| tag(key, value))
        .collect();
    if !new.is_empty() {
        let call = clients.ec2.create_tags().resources(id).set_tags(Some(new));
        call.send().await.map_err(|e| fault("ec2:CreateTags", &e))?;
    }
    Ok(())
}

/// Which objects a look is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose<'a> {
    /// Those that carry the owner's tag.
    Owner(&'a str),
    /// Anybody's that pass these filters of EC2: what tasks look for.
    Anyone(&'a [(String, Vec<String>)]),
}

impl Whose<'_> {
    /// As EC2 takes it. `*` and `?` in an owner's name are no wildcards.
    pub(super) fn filters(&self) -> Option<Vec<Filter>> {
        let filter =
            |name: &str, values: Vec<String>| Filter::builder().name(name).set_values(Some(values)).build();
        match self {
            Self::Owner(owner) => {
                let mut value = String::new();
                for letter in owner.chars() {
                    if matches!(letter, '*' | '?' | '\\') {
                        value.push('\\');
                    }
                    value.push(letter);
                }
                Some(vec![filter(&format!("tag:{OWNER}"), vec![value])])
            }
            Self::Anyone(filters) => Some(filters.iter().map(|(n, v)| filter(n, v.clone())).collect())
                .filter(|all: &Vec<Filter>| !all.is_empty()),
        }
    }

    /// Whether an object with that identity is looked for.
    pub(super) fn takes(&self, identity: &Identity) -> bool {
        match self {
            Self::Owner(owner) => identity.owner == **owner,
            Self::Anyone(_) => true,
        }
    }
}

/// The tags with the identity in them, which is nobody's for what isn't ours.
pub(super) fn identified(tags: &[Tag]) -> (Tags, Identity) {
    let tags = read(tags);
    let identity = Identity::of_tags(&tags).unwrap_or_default();
    (tags, identity)
}
