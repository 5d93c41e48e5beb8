//! The port to a cloud: what the reconciler asks of each kind of resource.
//!
//! Owns: the traits and the shape of what is found. Must not: decide what to change.

use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::fault::CloudFault;
use super::identity::{Identity, Tags};
use super::kinds::Kind;

/// Options by canonical name, in the form in which they are compared.
pub type Options = Map<String, Json>;

/// An object that is there and carries the owner's tags.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub kind: Kind,
    /// The cloud's own id.
    pub id: String,
    pub identity: Identity,
    pub tags: Tags,
    /// How it is now, under the names of the kind's options.
    pub state: Options,
    /// What templates see of it: `id`, and what the Ansible module returns.
    pub result: Options,
}

/// A cloud account in one region.
pub trait Cloud: Send + Sync {
    /// Every living object of a kind that carries the owner's tag. Objects on their way out are not among them.
    fn find<'a>(&'a self, kind: Kind, owner: &'a str) -> BoxFuture<'a, Result<Vec<Found>, CloudFault>>;

    /// Brings options to the form in which `find` reports them, defaults filled in.
    ///
    /// # Errors
    /// A value that the cloud would refuse, in words.
    fn normal(&self, kind: Kind, identity: &Identity, options: Options) -> Result<Options, CloudFault>;

    /// Makes an object with its tags in the same call. What the call cannot set, `update` does next.
    fn create<'a>(
        &'a self,
        kind: Kind,
        identity: &'a Identity,
        tags: &'a Tags,
        wanted: &'a Options,
    ) -> BoxFuture<'a, Result<Found, CloudFault>>;

    /// Changes the named options, and the tags when `tags` is among them; gives the object as it is then.
    fn update<'a>(
        &'a self,
        found: &'a Found,
        tags: &'a Tags,
        wanted: &'a Options,
        changed: &'a [String],
    ) -> BoxFuture<'a, Result<Found, CloudFault>>;

    /// What a run made under that name that was killed before it could mark it: only kinds whose marks need a call of their own
    /// leave such things, and only one that holds nothing counts.
    fn unmarked<'a>(
        &'a self,
        _kind: Kind,
        _identity: &'a Identity,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Found>, CloudFault>> {
        Box::pin(async { Ok(None) })
    }

    /// Who the credentials belong to, for messages.
    fn identity(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async { None })
    }

    /// Deletes an object and waits until it is gone. One that is gone already is fine.
    fn delete<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), CloudFault>>;
}
