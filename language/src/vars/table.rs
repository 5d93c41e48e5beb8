//! Layers of one level of precedence, compiled for lookup.
//!
//! Owns: the answer to "which node has this name here" in one hash lookup. Must not: know levels, hosts or tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indexmap::IndexMap;

use super::Layer;
use super::connection::settings_of;
use super::hash::ByName;
use minijinja::value::ValueKind;

use crate::source::{Entry, Mapping, Node, Span, Yaml};
use crate::template::Value;

/// Whether mappings of one name are merged over all levels, instead of the highest replacing the others.
static MERGES: AtomicBool = AtomicBool::new(false);

/// Merges mappings from now on: `hash_behaviour = merge`, which is one setting for all that a process does.
/// <https://docs.ansible.com/ansible/latest/reference_appendices/config.html#default-hash-behaviour>
pub fn merge_mappings() {
    MERGES.store(true, Ordering::Relaxed);
}

/// Whether [`merge_mappings`] holds.
#[must_use]
pub(super) fn merges_mappings() -> bool {
    MERGES.load(Ordering::Relaxed)
}

/// Two values of one name: mappings become one, in everything else the upper one replaces the lower.
#[must_use]
pub(super) fn merged(lower: &Node, upper: &Node) -> Node {
    let (Yaml::Map(below), Yaml::Map(above)) = (&lower.value, &upper.value) else { return upper.clone() };
    let mut entries = below.entries.clone();
    for entry in &above.entries {
        let name = key_text(&entry.key);
        match entries.iter_mut().find(|e| key_text(&e.key) == name) {
            Some(known) => known.value = merged(&known.value, &entry.value),
            None => entries.push(entry.clone()),
        }
    }
    Node { span: upper.span, value: Yaml::Map(Mapping { entries }) }
}

/// Variables of one level by name, in the order first written; a later layer replaces values of an earlier one.
#[derive(Debug, Clone, Default)]
pub struct Table {
    map: IndexMap<Arc<str>, Arc<Node>, ByName>,
    /// Settings of connections that a name here can decide.
    settings: u32,
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
        self.settings |= settings_of(&name);
        if merges_mappings()
            && matches!(node.value, Yaml::Map(_))
            && let Some(below) = self.map.get(&name)
        {
            let both = Arc::new(merged(below, &node));
            self.map.insert(name, both);
            return;
        }
        self.map.insert(name, node);
    }

    /// Lays another table over this one.
    pub fn extend(&mut self, over: &Table) {
        for (name, node) in &over.map {
            self.set(Arc::clone(name), Arc::clone(node));
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

    /// Which settings of connections a name here can decide, as [`settings_of`] counts them.
    #[must_use]
    pub fn connection_settings(&self) -> u32 {
        self.settings
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

/// A value as a node whose texts are never templates: what `add_host` and kin keep of rendered data.
#[must_use]
pub fn data_node(value: &Value, span: Span) -> Node {
    let seq =
        || value.try_iter().map(|items| items.map(|i| data_node(&i, span)).collect()).unwrap_or_default();
    let value = match value.kind() {
        ValueKind::Undefined | ValueKind::None => Yaml::Null,
        ValueKind::Bool => Yaml::Bool(value.is_true()),
        ValueKind::Number => {
            match (value.is_integer(), i64::try_from(value.clone()), f64::try_from(value.clone())) {
                (true, Ok(int), _) => Yaml::Int(int),
                (false, _, Ok(float)) => Yaml::Float(float),
                _ => Yaml::Unsafe(value.to_string().into()),
            }
        }
        ValueKind::Seq | ValueKind::Iterable => Yaml::Seq(seq()),
        ValueKind::Map => {
            let keys = value.try_iter().into_iter().flatten();
            let entries = keys.filter_map(|key| {
                let item = value.get_item(&key).ok()?;
                Some(Entry { key: data_node(&key, span), value: data_node(&item, span) })
            });
            Yaml::Map(Mapping { entries: entries.collect() })
        }
        _ => Yaml::Unsafe(value.as_str().map_or_else(|| value.to_string(), str::to_owned).into()),
    };
    Node { span, value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceId;

    #[test]
    fn mappings_merge_deeply_and_the_upper_value_wins() {
        let span = Span { file: SourceId(0), start: 0, end: 0 };
        let node = |pairs: &[(&str, Node)]| {
            let entry = |(key, value): &(&str, Node)| Entry {
                key: Node { span, value: Yaml::Str((*key).into()) },
                value: value.clone(),
            };
            Node { span, value: Yaml::Map(Mapping { entries: pairs.iter().map(entry).collect() }) }
        };
        let int = |n| Node { span, value: Yaml::Int(n) };
        let list = |n| Node { span, value: Yaml::Seq(vec![int(n)]) };
        let lower = node(&[("a", int(1)), ("d", node(&[("x", int(1)), ("y", int(2))])), ("l", list(1))]);
        let upper = node(&[("d", node(&[("y", int(3)), ("z", int(4))])), ("l", list(2)), ("n", int(5))]);
        let both = node(&[
            ("a", int(1)),
            ("d", node(&[("x", int(1)), ("y", int(3)), ("z", int(4))])),
            ("l", list(2)),
            ("n", int(5)),
        ]);
        assert_eq!(merged(&lower, &upper), both);
        assert_eq!(merged(&lower, &int(7)), int(7));
    }

    #[test]
    fn data_becomes_nodes_without_templates() {
        let span = Span { file: SourceId(0), start: 0, end: 0 };
        let of = |value: Value| data_node(&value, span).value;
        assert_eq!(of(Value::from("{{ x }}")), Yaml::Unsafe("{{ x }}".into()));
        assert_eq!(of(Value::from(3)), Yaml::Int(3));
        assert_eq!(of(Value::from(2.0)), Yaml::Float(2.0));
        assert_eq!(of(Value::from(())), Yaml::Null);
        let Yaml::Map(map) = of(Value::from_pairs([("a", Value::from_iter([true]))])) else {
            panic!("no map")
        };
        assert_eq!(map.get("a").and_then(Node::as_seq).map(|s| s[0].value.clone()), Some(Yaml::Bool(true)));
    }
}
