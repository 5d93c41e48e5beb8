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

impl Mapping {
    /// The entry under a text key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key.as_str() == Some(key))
    }
}

impl Node {
    /// What the value is, in words for messages: `a list`, `text`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a boolean",
            Yaml::Int(_) | Yaml::Float(_) => "a number",
            Yaml::Str(_) | Yaml::Unsafe(_) => "text",
            Yaml::Vault(_) => "an encrypted value",
            Yaml::Seq(_) => "a list",
            Yaml::Map(_) => "a mapping",
        }
    }

    /// True for `key:` with nothing behind it, `~` and `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Yaml::Null)
    }

    /// True for text that holds a template; `!unsafe` text never does.
    #[must_use]
    pub fn is_template(&self) -> bool {
        matches!(&self.value, Yaml::Str(s) if holds_template(s))
    }

    /// A scalar as text, the way Ansible shows it; `None` for lists, mappings, nothing and encrypted values.
    #[must_use]
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Yaml::Str(s) | Yaml::Unsafe(s) => Some(s.to_string()),
            Yaml::Bool(true) => Some("True".into()),
            Yaml::Bool(false) => Some("False".into()),
            Yaml::Int(i) => Some(i.to_string()),
            // `1.0` stays `1.0`, as in Python.
            Yaml::Float(f) => Some(format!("{f:?}")),
            Yaml::Null | Yaml::Vault(_) | Yaml::Seq(_) | Yaml::Map(_) => None,
        }
    }
}
/// Whether a text has braces that a template has. Most texts have none at all.
fn holds_template(text: &str) -> bool {
    text.as_bytes().contains(&b'{') && (text.contains("{{") || text.contains("{%"))
}
