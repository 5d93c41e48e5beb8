//! Layers of one level of precedence, compiled for lookup.
//!
//! Owns: the answer to "which node has this name here" in one hash lookup. Must not: know levels, hosts or tasks.

use std::sync::Arc;

use indexmap::IndexMap;

use super::Layer;
use crate::source::{Mapping, Node};

/// Variables of one level by name, in the order first written; a later layer replaces values of an earlier one.
#[derive(Debug, Clone, Default)]
pub struct Table {
    map: IndexMap<Arc<str>, Arc<Node>>,
}

impl Table {
    /// Compiles layers, lowest precedence first.
    #[must_use]
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Self {
        let mut table = Self::default();
        for layer in layers {
            for (name, node) in &layer.entries {
                table.set(Arc::clone(name), Arc::clone(node));
            }
        }
        table
    }

    /// Takes the entries of a YAML mapping; a key that isn't text is written as its scalar's text, as Ansible does.
    #[must_use]
    pub fn of_mapping(mapping: &Mapping) -> Self {
        let mut table = Self::default();
        for entry in &mapping.entries {
            table.set(key_text(&entry.key), Arc::new(entry.value.clone()));
        }
        table
    }

    /// Sets one value.
    pub fn set(&mut self, name: Arc<str>, node: Arc<Node>) {
        self.map.insert(name, node);
    }

    /// Lays another table over this one.
    pub fn extend(&mut self, over: &Table) {
        for (name, node) in &over.map {
            self.map.insert(Arc::clone(name), Arc::clone(node));
        }
    }

    /// The node under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Node>> {
        // Most levels of most tasks are empty: no hash for them.
        if self.map.is_empty() { None } else { self.map.get(name) }
    }

    /// All entries in the order first written.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Node>)> {
        self.map.iter()
    }

    /// How many names it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// True without any name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

/// The name that a mapping key stands for.
#[must_use]
pub fn key_text(key: &Node) -> Arc<str> {
    use crate::source::Yaml;
    match &key.value {
        Yaml::Str(text) | Yaml::Unsafe(text) | Yaml::Vault(text) => Arc::clone(text),
        Yaml::Null => "None".into(),
        Yaml::Bool(true) => "True".into(),
        Yaml::Bool(false) => "False".into(),
        Yaml::Int(number) => number.to_string().into(),
        Yaml::Float(number) => number.to_string().into(),
        Yaml::Seq(_) | Yaml::Map(_) => "".into(),
    }
}
