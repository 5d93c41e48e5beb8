//! How every kind of inventory reads files and reports what is wrong with them.
//!
//! Owns: one way from a path to nodes, vault included. Must not: know formats.

use std::path::Path;
use std::sync::Arc;

use super::plugin::Plugins;
use crate::source::{Diagnostic, Diagnostics, Entry, Mapping, Node, SourceId, Sources, Span, Yaml};
use crate::vars::Table;
use crate::vars::vars_file::{decrypt_file, parse_yaml, read_vars};
use crate::vars::vault::Vault;

/// What loading needs everywhere.
pub(super) struct Reader<'a> {
    pub sources: &'a Sources,
    pub found: &'a mut Diagnostics,
    pub vault: &'a Vault,
    pub plugins: Plugins<'a>,
}

impl Reader<'_> {
    /// Variables of the command line; empty when nobody gave any.
    pub(super) fn extra(&self) -> Arc<Table> {
        self.plugins.extra.cloned().unwrap_or_default()
    }

    /// Reads a file; an I/O error becomes a finding.
    pub(super) fn file(&mut self, path: &Path) -> Option<SourceId> {
        let read = if self.plugins.refresh { self.sources.read_again(path) } else { self.sources.read(path) };
        match read {
            Ok(id) => Some(id),
            Err(fault) => {
                let span = self.whole_path(path);
                self.found.push(Diagnostic::error("unreadable-inventory", fault.to_string(), span));
                None
            }
        }
    }

    /// A place for findings about a path whose content we don't have.
    pub(super) fn whole_path(&self, path: &Path) -> Span {
        Span { file: self.sources.add(path.to_owned(), String::new()), start: 0, end: 0 }
    }

    /// Parses YAML, `!vault` values opened; all findings are passed on.
    pub(super) fn yaml(&mut self, id: SourceId) -> Option<Node> {
        let parsed = parse_yaml(id, self.vault, self.sources);
        self.keep(parsed)
    }

    /// The same file, or its text when it is encrypted as a whole.
    pub(super) fn decrypted(&mut self, id: SourceId) -> Option<SourceId> {
        let decrypted = decrypt_file(id, self.vault, self.sources);
        self.keep(decrypted)
    }

    /// The variables in a vars file.
    pub(super) fn vars_file(&mut self, path: &Path) -> Option<Table> {
        let read = read_vars(path, self.vault, self.sources);
        self.keep(read)
    }

    fn keep<T>(&mut self, result: Result<T, Diagnostics>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(faults) => {
                self.found.list.extend(faults.list);
                None
            }
        }
    }
}

/// Turns JSON (of scripts and plugins) into a node; every part has the place of the whole.
pub(super) fn from_json(value: &serde_json::Value, span: Span) -> Node {
    use serde_json::Value;
    let value = match value {
        Value::Null => Yaml::Null,
        Value::Bool(b) => Yaml::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(int), _) => Yaml::Int(int),
            (None, Some(float)) => Yaml::Float(float),
            (None, None) => Yaml::Str(n.to_string().into()),
        },
        Value::String(text) => Yaml::Str(Arc::from(&**text)),
        Value::Array(items) => Yaml::Seq(items.iter().map(|i| from_json(i, span)).collect()),
        Value::Object(map) => match (map.len(), map.get("__ansible_unsafe"), map.get("__ansible_vault")) {
            (1, Some(Value::String(text)), _) => Yaml::Unsafe(Arc::from(&**text)),
            (1, _, Some(Value::String(text))) => Yaml::Vault(Arc::from(&**text)),
            _ => {
                let entries = map.iter().map(|(name, item)| Entry {
                    key: Node { span, value: Yaml::Str(Arc::from(&**name)) },
                    value: from_json(item, span),
                });
                Yaml::Map(Mapping { entries: entries.collect() })
            }
        },
    };
    Node { span, value }
}
