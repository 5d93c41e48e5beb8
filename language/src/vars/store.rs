//! The variables of a whole run.
//!
//! Owns: inventory, extra vars and host states, each behind its own lock. Must not: render or know tasks.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, RwLock};

use super::Table;
use super::fact_cache::FactCache;
use super::hash::ByName;
use super::host::HostState;
use super::info::RunInfo;
use super::scope::{ScopeParts, TaskScope};
use super::vault::Vault;
use crate::inventory::{Inventory, LOCALHOST, NewHost, Pattern, Selection};
use crate::source::{Diagnostics, Node, Sources, Span};
use crate::template::{Scope, Value};

/// Makes the value of a node that is rendered in a scope when it is used; `template` provides it.
#[derive(Clone)]
pub struct Lazy(Arc<LazyValue>);

/// Gets the node, the scope and the variable's name (for errors).
type LazyValue = dyn Fn(&Arc<Node>, &Arc<dyn Scope>, &str) -> Value + Send + Sync;

impl Lazy {
    /// Wraps the function that makes such values.
    pub fn new(make: impl Fn(&Arc<Node>, &Arc<dyn Scope>, &str) -> Value + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(super) fn value(&self, node: &Arc<Node>, scope: &Arc<dyn Scope>, name: &str) -> Value {
        (self.0)(node, scope, name)
    }
}

impl std::fmt::Debug for Lazy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lazy")
    }
}

/// What a store starts with.
#[derive(Debug)]
pub struct StoreParts {
    pub inventory: Inventory,
    pub extra: Table,
    pub run: RunInfo,
    /// `inject_facts_as_vars`: facts are variables of their own too.
    pub inject_facts: bool,
    pub lazy: Lazy,
    pub vault: Arc<Vault>,
    pub sources: Arc<Sources>,
    /// Where facts of earlier runs are.
    pub fact_cache: Option<FactCache>,
}

/// All variables of a run. Shared by every worker; no lock is held while anything is rendered.
#[derive(Debug)]
pub struct Store {
    inventory: RwLock<Arc<Inventory>>,
    hosts: RwLock<HashMap<Arc<str>, Arc<HostState>, ByName>>,
    pub(super) extra: Table,
    pub(super) run: RunInfo,
    pub(super) inject_facts: bool,
    pub(super) lazy: Lazy,
    vault: Arc<Vault>,
    sources: Arc<Sources>,
    fact_cache: Option<Arc<FactCache>>,
    /// What `hostvars[...]` sees: no play, no task.
    bare: Arc<ScopeParts>,
}

impl Store {
    /// Starts a run's variables.
    #[must_use]
    pub fn new(parts: StoreParts) -> Arc<Self> {
        let StoreParts { inventory, extra, run, inject_facts, lazy, vault, sources, fact_cache } = parts;
        let fact_cache = fact_cache.map(Arc::new);
        let state = |name: &Arc<str>| Arc::new(HostState::with_cache(Arc::clone(name), fact_cache.as_ref()));
        let hosts = inventory.hosts().map(|h| (Arc::clone(&h.name), state(&h.name)));
        let hosts = RwLock::new(hosts.collect());
        let inventory = RwLock::new(Arc::new(inventory));
        Arc::new(Self {
            inventory,
            hosts,
            extra,
            run,
            inject_facts,
            lazy,
            vault,
            sources,
            fact_cache,
            bare: Arc::default(),
        })
    }

    /// The inventory as it is now.
    #[must_use]
    pub fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&self.inventory.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// Whether the inventory is still this one.
    pub(super) fn is_inventory(&self, known: &Arc<Inventory>) -> bool {
        Arc::ptr_eq(&self.inventory.read().unwrap_or_else(|e| e.into_inner()), known)
    }

    /// The hosts that a pattern names now; an implicit `localhost` becomes known by this.
    #[must_use]
    pub fn select(&self, pattern: &Pattern) -> Selection {
        let selection = pattern.select(&self.inventory());
        for name in selection.hosts.iter().filter(|h| LOCALHOST.contains(&&***h)) {
            self.ensure_localhost(name);
        }
        selection
    }

    /// Makes an implicit `localhost` known (`delegate_to: localhost`, `hostvars['localhost']`); other names do nothing.
    pub fn ensure_localhost(&self, name: &str) {
        if LOCALHOST.contains(&name) && self.inventory().host(name).is_none() {
            self.change(|inventory| inventory.ensure_localhost(name));
        }
    }

    /// Adds hosts (`add_host`); says for each whether anything changed. `at` is the task's place.
    pub fn add_hosts(&self, new: &[NewHost], at: Span, found: &mut Diagnostics) -> Vec<bool> {
        self.change(|inventory| inventory.add_hosts(new, at, &self.vault, &self.sources, found))
    }

    /// Puts a host into a group (`group_by`); says whether anything changed.
    pub fn group_by(&self, host: &str, group: &str, parents: &[String], found: &mut Diagnostics) -> bool {
        self.change(|inventory| inventory.group_by(host, group, parents, &self.vault, &self.sources, found))
    }

    /// Replaces the inventory (`meta: refresh_inventory`); what is known of hosts stays.
    pub fn replace_inventory(&self, mut new: Inventory) {
        self.change(|inventory| {
            new.keep_added(inventory);
            *inventory = new;
        });
    }

    /// Reads `group_vars/` and `host_vars/` beside another playbook.
    pub fn load_playbook_vars(&self, dir: &Path, found: &mut Diagnostics) {
        self.change(|inventory| {
            crate::inventory::load_playbook_vars(inventory, dir, &self.vault, &self.sources, found)
        });
    }

    /// The state of a host; made when the name is new, so a `delegate_to` of an unlisted host has one as well.
    #[must_use]
    pub fn host(&self, name: &str) -> Arc<HostState> {
        if let Some(host) = self.hosts.read().unwrap_or_else(|e| e.into_inner()).get(name) {
            return Arc::clone(host);
        }
        let mut hosts = self.hosts.write().unwrap_or_else(|e| e.into_inner());
        let name: Arc<str> = name.into();
        let state = || Arc::new(HostState::with_cache(Arc::clone(&name), self.fact_cache.as_ref()));
        Arc::clone(hosts.entry(Arc::clone(&name)).or_insert_with(state))
    }

    /// The facts of earlier runs, if they are kept.
    #[must_use]
    pub fn fact_cache(&self) -> Option<&FactCache> {
        self.fact_cache.as_deref()
    }

    /// The scope of a host in a task. Costs a few reference counts; nothing is merged.
    #[must_use]
    pub fn scope(self: &Arc<Self>, host: &str, parts: &Arc<ScopeParts>) -> TaskScope {
        TaskScope::new(self, host, parts)
    }

    /// What `hostvars[host]` sees; `None` for a host that no inventory knows.
    #[must_use]
    pub fn host_scope(self: &Arc<Self>, host: &str) -> Option<TaskScope> {
        self.ensure_localhost(host);
        self.inventory().host(host)?;
        Some(TaskScope::new(self, host, &self.bare))
    }

    /// True when the command line gives this variable.
    #[must_use]
    pub fn has_extra(&self, name: &str) -> bool {
        self.extra.get(name).is_some()
    }

    /// Run-wide facts about the command line.
    #[must_use]
    pub fn run(&self) -> &RunInfo {
        &self.run
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inventory) -> T) -> T {
        let mut guard = self.inventory.write().unwrap_or_else(|e| e.into_inner());
        // Snapshots that scopes hold stay as they are: this copies when there are any.
        change(Arc::make_mut(&mut guard))
    }
}
