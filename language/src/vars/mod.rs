//! Variables: precedence, layers, magic names, facts, vault, secrets.
//!
//! Owns: which value a name has for a host and a task. Must not: render (that is `template`) or read inventories.
//! `inventory` builds on [`Layer`] and [`Table`] only; [`Store`] holds the finished inventory.

use std::sync::Arc;

use crate::source::{Node, Span};

pub mod connection;
pub mod extra;
mod fact_cache;
mod hash;
mod host;
mod info;
mod magic;
mod scope;
pub mod secrets;
mod store;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod vars_file;
pub mod vault;

pub use fact_cache::FactCache;
pub use hash::{ByName, NameHasher};
pub use host::HostState;
pub use info::{PlayInfo, PlayState, RunInfo};
pub use scope::{PlayVars, RoleVars, ScopeParts, SteadyConnection, TaskScope};
pub use store::{Lazy, Store, StoreParts};
pub use table::merge_mappings;
pub use table::{Table, data_node, key_text};
pub use vars_file::{read_vars, read_yaml};

/// Variables written in one place (`vars:` of a task, a role's defaults, a vars file), in the order written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    pub entries: Vec<(Arc<str>, Arc<Node>)>,
    /// Where it was written; `None` for made ones.
    pub span: Option<Span>,
}

impl Layer {
    /// The node under a name; of two entries the later.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Node>> {
        self.entries.iter().rev().find(|(n, _)| **n == *name).map(|(_, node)| node)
    }
}
