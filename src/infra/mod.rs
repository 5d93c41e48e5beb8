//! Infrastructure that plays declare: resources found by their tags, compared, made, changed and taken down.
//!
//! Owns: the graph of resources, identity, differences and the order of changes. Must not: know a cloud's types outside
//! of its own folder (`aws`, behind the cargo feature of that name).

pub mod apply;
#[cfg(feature = "aws")]
pub mod aws;
pub mod cloud;
pub mod declare;
pub mod differ;
pub mod fault;
pub mod identity;
pub mod kinds;
pub mod plan;
pub mod site;
pub mod tasks;
#[cfg(test)]
mod tests;

pub use declare::{Declared, Resource};
pub use fault::{Class, CloudFault};
pub use identity::Identity;
pub use kinds::Kind;
