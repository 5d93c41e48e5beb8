//! Inventories in YAML.
//!
//! Owns: `group: {hosts, vars, children}` and its errors. Must not: read files.

use std::path::PathBuf;
use std::sync::Arc;

use super::model::Inventory;
use super::range::host_entry;
use super::reader::Reader;
use crate::source::{Diagnostic, Mapping, Node, Yaml};
use crate::vars::key_text;

const KEYS: [&str; 3] = ["hosts", "vars", "children"];

/// Adds all groups of a YAML inventory.
pub(super) fn add(inventory: &mut Inventory, root: &Mapping, source: &Arc<PathBuf>, reader: &mut Reader<'_>) {
    let mut adder = Adder { inventory, source, reader };
    for entry in &root.entries {
        adder.group(&key_text(&entry.key), &entry.value, None);
    }
}

struct Adder<'a, 'r> {
    inventory: &'a mut Inventory,
    source: &'a Arc<PathBuf>,
    reader: &'a mut Reader<'r>,
}

impl Adder<'_, '_> {
    fn group(&mut self, name: &str, body: &Node, parent: Option<&str>) {
        self.inventory.add_group(name);
        if let Some(parent) = parent
            && let Err(fault) = self.inventory.add_child(parent, name)
        {
            self.reader.found.push(Diagnostic::error("group-loop", fault.to_string(), body.span));
            return;
        }
        let map = match &body.value {
            Yaml::Null => return,
            Yaml::Map(map) => map,
            _ => {
                self.reader.found.push(
                    Diagnostic::error(
                        "inventory-group",
                        format!("group `{name}` must be a mapping"),
                        body.span,
                    )
                    .help("a group has `hosts`, `vars` and `children`, each a mapping"),
                );
                return;
            }
        };
        for entry in &map.entries {
            let key = key_text(&entry.key);
            let Some(section) = self.section(name, &key, &entry.key, &entry.value) else { continue };
            for (item_name, item) in section {
                match &*key {
                    "vars" => {
                        let value =
                            item.cloned().unwrap_or(Node { span: entry.value.span, value: Yaml::Null });
                        self.inventory.set_group_var(name, item_name, Arc::new(value));
                    }
                    "children" => {
                        let null = Node { span: entry.value.span, value: Yaml::Null };
                        self.group(&item_name, item.unwrap_or(&null), Some(name));
                    }
                    _ => self.host(name, &item_name, item, &entry.value),
                }
            }
        }
    }

    /// The entries of `hosts`, `vars` or `children`; one bare name stands for itself.
    fn section<'n>(
        &mut self,
        group: &str,
        key: &str,
        key_node: &Node,
        value: &'n Node,
    ) -> Option<Vec<(Arc<str>, Option<&'n Node>)>> {
        if !KEYS.contains(&key) {
            let mut warning = Diagnostic::warning(
                "inventory-key",
                format!("unknown key `{key}` in group `{group}`: it is left out"),
                key_node.span,
            );
            warning = warning.help(if value.as_map().is_some() {
                format!("a group inside of another one stands below `children`: move `{key}` there")
            } else {
                "a group has `hosts`, `vars` and `children`".to_owned()
            });
            self.reader.found.push(warning);
            return None;
        }
        match &value.value {
            Yaml::Null => None,
            Yaml::Map(map) => Some(map.entries.iter().map(|e| (key_text(&e.key), Some(&e.value))).collect()),
            Yaml::Str(name) if key != "vars" => Some(vec![(Arc::clone(name), None)]),
            Yaml::Seq(_) if key != "vars" => {
                self.reader.found.push(
                    Diagnostic::error(
                        "inventory-group",
                        format!("`{key}` of group `{group}` must be a mapping, not a list"),
                        value.span,
                    )
                    .help("write `name:` for each, without the `-`"),
                );
                None
            }
            _ => {
                self.reader.found.push(Diagnostic::error(
                    "inventory-group",
                    format!("`{key}` of group `{group}` must be a mapping"),
                    value.span,
                ));
                None
            }
        }
    }

    fn host(&mut self, group: &str, written: &str, vars: Option<&Node>, section: &Node) {
        let span = vars.map_or(section.span, |v| v.span);
        let entry = match host_entry(written) {
            Ok(entry) => entry,
            Err(fault) => {
                self.reader.found.push(Diagnostic::error("host-range", fault.to_string(), span));
                return;
            }
        };
        let vars: &[_] = match vars.map(|v| &v.value) {
            None | Some(Yaml::Null) => &[],
            Some(Yaml::Map(map)) => &map.entries,
            Some(_) => {
                self.reader.found.push(
                    Diagnostic::error(
                        "inventory-host",
                        format!("host `{written}` must be a mapping of variables"),
                        span,
                    )
                    .help(format!("write `{written}:` or `{written}: {{name: value}}`")),
                );
                return;
            }
        };
        let vars: Vec<_> = vars.iter().map(|e| (key_text(&e.key), Arc::new(e.value.clone()))).collect();
        for host in &entry.names {
            self.inventory.add_host(host, Some(self.source));
            self.inventory.add_member(group, host);
            if let Some(port) = entry.port {
                let port = Node { span, value: Yaml::Int(port.into()) };
                self.inventory.set_host_var(host, "ansible_port".into(), Arc::new(port));
            }
            for (name, value) in &vars {
                self.inventory.set_host_var(host, Arc::clone(name), Arc::clone(value));
            }
        }
    }
}
