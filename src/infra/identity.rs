//! Who owns an object and which declared resource it is: the tags that stand in for a state file.
//!
//! Owns: names of the tags, client tokens. Pure. Must not: call a cloud.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// The tag that holds the owner: the `name` of the infrastructure.
pub const OWNER: &str = "dcos-play:owner";
/// The tag that holds the name of the declared resource.
pub const RESOURCE: &str = "dcos-play:resource";
/// The tag that counts the objects of one resource, from 0.
pub const INDEX: &str = "dcos-play:index";

/// The tag of a bucket that is emptied before it is deleted.
pub const FORCE: &str = "dcos-play:force";

/// The tag by which a task finds what it made when the reply is lost; it goes once the object is known.
pub const TASK: &str = "dcos-play:task";

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// What makes an object the one that was declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub owner: String,
    pub resource: String,
    pub index: u32,
}

impl Identity {
    /// True for what no infrastructure play made.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.owner.is_empty()
    }

    /// Reads it from an object's tags; `None` when the object isn't ours or its tags were damaged.
    #[must_use]
    pub fn of_tags(tags: &Tags) -> Option<Self> {
        Some(Self {
            owner: tags.get(OWNER)?.clone(),
            resource: tags.get(RESOURCE)?.clone(),
            index: tags.get(INDEX)?.parse().ok()?,
        })
    }

    /// The tags that every object gets in the call that makes it.
    #[must_use]
    pub fn tags(&self) -> Tags {
        Tags::from([
            (OWNER.to_owned(), self.owner.clone()),
            (RESOURCE.to_owned(), self.resource.clone()),
            (INDEX.to_owned(), self.index.to_string()),
        ])
    }

    /// A client token, 64 characters: the same for the same identity, however often a run is repeated.
    ///
    /// `generation` counts up when the cloud says that the object a token once made is gone.
    #[must_use]
    pub fn token(&self, kind: &str, generation: u32) -> String {
        let mut hash = Sha256::new();
        for part in [&*self.owner, kind, &*self.resource, &self.index.to_string(), &generation.to_string()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.index == 0 {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}[{}]", self.resource, self.index)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(owner: &str, resource: &str, index: u32) -> Identity {
        Identity { owner: owner.into(), resource: resource.into(), index }
    }

    #[test]
    fn an_identity_comes_back_from_its_tags() {
        let masters = identity("prod", "masters", 2);
        assert_eq!(Identity::of_tags(&masters.tags()), Some(masters));
        assert_eq!(Identity::of_tags(&Tags::new()), None);
    }

    #[test]
    fn a_token_is_stable_and_differs_by_every_part() {
        let token = identity("prod", "masters", 2).token("ec2_instance", 0);
        assert_eq!(token.len(), 64);
        assert_eq!(token, identity("prod", "masters", 2).token("ec2_instance", 0));
        assert_ne!(token, identity("prod", "masters", 3).token("ec2_instance", 0));
        assert_ne!(token, identity("prod", "masters", 2).token("ec2_instance", 1));
        assert_ne!(identity("ab", "c", 0).token("k", 0), identity("a", "bc", 0).token("k", 0));
    }
}
