//! YAML values that remember where they stand.

use std::sync::Arc;

use super::Span;

/// A YAML value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub span: Span,
    pub value: Yaml,
}

/// A YAML 1.1 value, scalars resolved as `PyYAML` does it (`yes`, `0644`, `1_000`, `~`); timestamps stay text.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Text that may hold a template.
    Str(Arc<str>),
    /// `!unsafe` text: never a template.
    Unsafe(Arc<str>),
    /// `!vault` text, still encrypted.
    Vault(Arc<str>),
    Seq(Vec<Node>),
    Map(Mapping),
}

/// A mapping in the order written. Duplicate keys are refused while parsing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    pub entries: Vec<Entry>,
}

/// One `key: value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: Node,
    pub value: Node,
}

impl Mapping {
    /// The value under a text key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|e| e.key.as_str() == Some(key)).map(|e| &e.value)
    }
}

impl Node {
    /// The text of a string scalar (`Str` or `Unsafe`).
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Yaml::Str(s) | Yaml::Unsafe(s) => Some(s),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    #[must_use]
    pub fn as_map(&self) -> Option<&Mapping> {
        if let Yaml::Map(map) = &self.value { Some(map) } else { None }
    }

    /// The items, if it is a sequence.
    #[must_use]
    pub fn as_seq(&self) -> Option<&[Node]> {
        if let Yaml::Seq(items) = &self.value { Some(items) } else { None }
    }
}
