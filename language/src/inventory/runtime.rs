//! Changes of the inventory while a run goes on: `add_host`, `group_by`.
//!
//! Owns: what these two do to hosts and groups. Must not: lock (the store does).

use std::sync::Arc;

use super::model::Inventory;
use super::plugin::Plugins;
use super::range::host_entry;
use super::reader::Reader;
use crate::source::{Diagnostics, Node, Sources, Span, Yaml};
use crate::vars::vault::Vault;

/// What `add_host` asks for.
#[derive(Debug, Clone, Default)]
pub struct NewHost {
    /// May carry a port, `host:2222`.
    pub name: String,
    pub groups: Vec<String>,
    pub vars: Vec<(Arc<str>, Arc<Node>)>,
}

impl Inventory {
    /// Adds hosts or changes what is known of them; says for each whether anything changed.
    ///
    /// Files of `host_vars/` and `group_vars/` for new names are read now.
    pub fn add_hosts(
        &mut self,
        new: &[NewHost],
        at: Span,
        vault: &Vault,
        sources: &Sources,
        found: &mut Diagnostics,
    ) -> Vec<bool> {
        let mut reader = Reader { sources, found, vault, plugins: Plugins::default() };
        let changes = new.iter().map(|host| self.add_one(host, at, &mut reader)).collect();
        self.finish();
        changes
    }

    /// Puts a host into a group made for a value (`group_by`), below the parents named; says whether anything changed.
    pub fn group_by(
        &mut self,
        host: &str,
        group: &str,
        parents: &[String],
        vault: &Vault,
        sources: &Sources,
        found: &mut Diagnostics,
    ) -> bool {
        let mut reader = Reader { sources, found, vault, plugins: Plugins::default() };
        let mut changed = self.ensure_group(group, &mut reader);
        for parent in parents {
            changed |= self.ensure_group(parent, &mut reader);
            // A loop can't be closed by `group_by` alone unless a parent is the group itself or below it: nothing to do then.
            changed |= self.add_child(parent, group).unwrap_or(false);
        }
        changed |= self.add_member(group, host);
        if changed {
            self.finish();
        }
        changed
    }

    /// Takes over the hosts that `add_host` added to an inventory which this one replaces.
    pub fn keep_added(&mut self, old: &Inventory) {
        let added = old.hosts().filter(|h| h.source.is_none() && !h.implicit);
        let missing: Vec<_> = added.filter(|h| self.host(&h.name).is_none()).cloned().collect();
        for host in &missing {
            self.add_host(&host.name, None);
            for (name, value) in host.vars.iter() {
                self.set_host_var(&host.name, Arc::clone(name), Arc::clone(value));
            }
            for group in &host.groups {
                self.add_member(group, &host.name);
            }
        }
        if !missing.is_empty() {
            self.finish();
        }
    }

    fn add_one(&mut self, new: &NewHost, at: Span, reader: &mut Reader<'_>) -> bool {
        let (name, port) = match host_entry(&new.name) {
            Ok(entry) if entry.names.len() == 1 && !new.name.contains('[') => {
                (entry.names[0].clone(), entry.port)
            }
            _ => (new.name.clone(), None),
        };
        let mut changed = self.add_host(&name, None);
        if changed {
            self.add_member("all", &name);
            self.read_late_host(&name, reader);
        }
        let port = port
            .map(|p| (Arc::from("ansible_port"), Arc::new(Node { span: at, value: Yaml::Int(p.into()) })));
        for (var, value) in port.iter().chain(&new.vars) {
            let same =
                self.host(&name).and_then(|h| h.vars.get(var)).is_some_and(|old| old.value == value.value);
            if !same {
                changed = true;
                self.set_host_var(&name, Arc::clone(var), Arc::clone(value));
            }
        }
        for group in &new.groups {
            changed |= self.ensure_group(group, reader);
            changed |= self.add_member(group, &name);
        }
        changed
    }

    fn ensure_group(&mut self, group: &str, reader: &mut Reader<'_>) -> bool {
        let new = self.add_group(group);
        if new {
            self.read_late_group(group, reader);
        }
        new
    }
}
