//! The variables that one host sees in one task.
//!
//! Owns: Ansible's order of precedence. Must not: merge anything per step, unless `hash_behaviour = merge` asks for it; a name is
//! looked up level by level.

use std::path::PathBuf;
use std::sync::Arc;

use super::connection::settings_of;
use super::host::HostState;
use super::info::PlayState;
use super::magic;
use super::store::Store;
use super::{Layer, Table};
use crate::inventory::{HostTables, Inventory};
use crate::source::{Node, SourceId, Span, Yaml};
use crate::template::{Scope, SearchPath, Value, Var};

/// Levels that a play adds, compiled once a play.
#[derive(Debug, Clone, Default)]
pub struct PlayVars {
    /// Defaults of the play's roles whose variables are public, in the order of the roles.
    pub role_defaults: Table,
    pub vars: Table,
    pub prompts: Table,
    /// `vars_files` that are the same for all hosts; those that differ go to [`TaskScope::with_vars_files`].
    pub files: Table,
    /// Vars of the play's roles whose variables are public.
    pub role_vars: Table,
}

/// What a role adds to its own tasks, compiled once a role.
#[derive(Debug, Clone, Default)]
pub struct RoleVars {
    pub name: String,
    /// With the collection, if it has one.
    pub full_name: String,
    pub path: PathBuf,
    /// Roles that brought this one in, nearest first.
    pub parents: Vec<(String, PathBuf)>,
    /// Defaults of its dependencies, then of its parents (outermost first), then its own.
    pub defaults: Table,
    /// Vars of its parents (outermost first), then of its dependencies, then its own.
    pub vars: Table,
    /// Parameters given where it is used, those of its parents below.
    pub params: Table,
}

/// Everything about a task that decides what its variables are; made once a task and shared by all hosts.
#[derive(Debug, Clone, Default)]
pub struct ScopeParts {
    /// `None` in `hostvars[...]`, which knows no play.
    pub play: Option<Arc<PlayVars>>,
    pub play_state: Option<Arc<PlayState>>,
    pub role: Option<Arc<RoleVars>>,
    /// `vars:` of the blocks around the task, outermost first, and of the task itself as the last one. Before them stand `vars:`
    /// of the entry in `roles:` (not its other parameters) and of the `import_*` that brought the task in.
    pub task: Vec<Arc<Layer>>,
    /// `vars:` of the `include_tasks` and `include_role` that brought the task in, outermost first.
    pub include_params: Vec<Arc<Layer>>,
    /// The task's `environment`, as a list of mappings.
    pub environment: Option<Arc<Node>>,
    pub search: SearchPath,
}

/// The variables of one host in one task.
///
/// Best first: loop variables and other locals, magic variables, then
/// extra vars, include params, role params, `set_fact` and registered, `include_vars`, task and block vars, role vars,
/// `vars_files`, `vars_prompt`, play vars, facts, host vars, group vars, role defaults.
#[derive(Debug, Clone)]
pub struct TaskScope {
    pub(super) store: Arc<Store>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) host: Arc<HostState>,
    tables: HostTables,
    pub(super) parts: Arc<ScopeParts>,
    files: Option<Arc<Table>>,
    locals: Vec<(Arc<str>, Var)>,
}

/// The levels of variables that stay the same from step to step; equal when they are the very same.
#[derive(Debug, Clone)]
pub struct SteadyConnection {
    inventory: Arc<Inventory>,
    play: Option<Arc<PlayVars>>,
}

impl PartialEq for SteadyConnection {
    fn eq(&self, other: &Self) -> bool {
        let same_play = match (&self.play, &other.play) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        };
        same_play && Arc::ptr_eq(&self.inventory, &other.inventory)
    }
}

impl TaskScope {
    pub(super) fn new(store: &Arc<Store>, host: &str, parts: &Arc<ScopeParts>) -> Self {
        let inventory = store.inventory();
        let tables = match inventory.host(host) {
            Some(host) => host.tables().clone(),
            // A delegate that no inventory lists sees what `all` gives everybody.
            None => HostTables { groups: inventory.common_vars(), host: Arc::default() },
        };
        Self {
            store: Arc::clone(store),
            host: store.host(host),
            inventory,
            tables,
            parts: Arc::clone(parts),
            files: None,
            locals: Vec::new(),
        }
    }

    /// The same host's variables in another task; `None` when the inventory has changed since.
    #[must_use]
    pub fn for_task(&self, parts: &Arc<ScopeParts>) -> Option<Self> {
        self.store.is_inventory(&self.inventory).then(|| Self {
            store: Arc::clone(&self.store),
            inventory: Arc::clone(&self.inventory),
            host: Arc::clone(&self.host),
            tables: self.tables.clone(),
            parts: Arc::clone(parts),
            files: None,
            locals: Vec::new(),
        })
    }

    /// Adds the `vars_files` that this host has in this play, over [`PlayVars::files`].
    #[must_use]
    pub fn with_vars_files(mut self, files: Arc<Table>) -> Self {
        self.files = Some(files);
        self
    }

    /// Adds a variable above all others: `item`, `index_var`, `ansible_loop`, `ansible_delegated_vars`.
    #[must_use]
    pub fn with_local(mut self, name: impl Into<Arc<str>>, value: Var) -> Self {
        self.locals.push((name.into(), value));
        self
    }

    /// Sets a local, in place of one of that name.
    pub fn set_local(&mut self, name: Arc<str>, value: Var) {
        self.locals.retain(|(known, _)| *known != name);
        self.locals.push((name, value));
    }

    /// A local of this scope itself.
    #[must_use]
    pub fn local(&self, name: &str) -> Option<&Var> {
        self.locals.iter().rev().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }

    /// The host's state, for registering results.
    #[must_use]
    pub fn host(&self) -> &Arc<HostState> {
        &self.host
    }

    /// The host's inventory name.
    #[must_use]
    pub fn host_name(&self) -> &Arc<str> {
        self.host.name()
    }

    /// The inventory as it was when the scope was made.
    #[must_use]
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// What decides how the host is reached, unless something that changes from step to step does.
    #[must_use]
    pub fn steady_connection(&self) -> Option<SteadyConnection> {
        let parts = &*self.parts;
        let layers = |layers: &[Arc<Layer>]| {
            let mut names = layers.iter().flat_map(|l| &l.entries);
            names.any(|(name, _)| settings_of(name) != 0)
        };
        let role = parts.role.as_deref();
        let roles = role.map_or(0, |r| {
            [&r.params, &r.vars, &r.defaults].into_iter().fold(0, |bits, t| bits | t.connection_settings())
        });
        let changing = roles != 0
            || self.files.is_some()
            || self.host.connection_settings() != 0
            || self.locals.iter().any(|(name, _)| settings_of(name) != 0)
            || layers(&parts.task)
            || layers(&parts.include_params);
        (!changing)
            .then(|| SteadyConnection { inventory: Arc::clone(&self.inventory), play: parts.play.clone() })
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The variable below magic ones, by precedence.
    fn written(&self, name: &str) -> Option<Var> {
        let parts = &*self.parts;
        let play = parts.play.as_deref();
        let role = parts.role.as_deref();
        let node = |node: &Arc<Node>| Var::Yaml(Arc::clone(node));
        self.store
            .extra
            .get(name)
            .map(node)
            .or_else(|| in_layers(&parts.include_params, name))
            .or_else(|| role?.params.get(name).map(node))
            .or_else(|| self.host.set_value(name).map(Var::Data))
            .or_else(|| self.host.included(name).map(Var::Yaml))
            .or_else(|| in_layers(&parts.task, name))
            .or_else(|| role?.vars.get(name).map(node))
            .or_else(|| play?.role_vars.get(name).map(node))
            .or_else(|| self.files.as_deref()?.get(name).map(node))
            .or_else(|| play?.files.get(name).map(node))
            .or_else(|| play?.prompts.get(name).map(node))
            .or_else(|| play?.vars.get(name).map(node))
            .or_else(|| self.fact(name))
            .or_else(|| self.tables.host.get(name).map(node))
            .or_else(|| self.tables.groups.get(name).map(node))
            .or_else(|| role?.defaults.get(name).map(node))
            .or_else(|| play?.role_defaults.get(name).map(node))
    }

    /// As [`Self::written`], with mappings of all levels merged.
    fn merged(&self, name: &str) -> Option<Var> {
        let parts = &*self.parts;
        let play = parts.play.as_deref();
        let role = parts.role.as_deref();
        let in_table = |table: Option<&Table>| table?.get(name).map(|node| Var::Yaml(Arc::clone(node)));
        let layers = |layers: &[Arc<Layer>]| {
            let found = layers.iter().rev().filter_map(|l| l.get(name));
            found.map(|n| Some(Var::Yaml(Arc::clone(n)))).collect::<Vec<_>>()
        };
        let mut levels = vec![in_table(Some(&self.store.extra))];
        levels.extend(layers(&parts.include_params));
        levels.push(in_table(role.map(|r| &r.params)));
        levels.push(self.host.set_value(name).map(Var::Data));
        levels.push(self.host.included(name).map(Var::Yaml));
        levels.extend(layers(&parts.task));
        levels.push(in_table(role.map(|r| &r.vars)));
        levels.push(in_table(play.map(|p| &p.role_vars)));
        levels.push(in_table(self.files.as_deref()));
        levels.push(in_table(play.map(|p| &p.files)));
        levels.push(in_table(play.map(|p| &p.prompts)));
        levels.push(in_table(play.map(|p| &p.vars)));
        levels.push(self.fact(name));
        levels.push(in_table(Some(&self.tables.host)));
        levels.push(in_table(Some(&self.tables.groups)));
        levels.push(in_table(role.map(|r| &r.defaults)));
        levels.push(in_table(play.map(|p| &p.role_defaults)));
        let mut levels = levels.into_iter().flatten();
        let top = levels.next()?;
        let mapping = |var: &Var| match var {
            Var::Yaml(node) => matches!(node.value, Yaml::Map(_)).then(|| Arc::clone(node)),
            Var::Data(value) => {
                let there = value.kind() == minijinja::value::ValueKind::Map;
                // Data has no place of its own.
                let nowhere = Span { file: SourceId(0), start: 0, end: 0 };
                there.then(|| Arc::new(super::table::data_node(value, nowhere)))
            }
        };
        let Some(mut all) = mapping(&top) else { return Some(top) };
        let mut alone = true;
        // A value that is no mapping hides what lies below it.
        for lower in levels.map_while(|var| mapping(&var)) {
            all = Arc::new(super::table::merged(&lower, &all));
            alone = false;
        }
        Some(if alone { top } else { Var::Yaml(all) })
    }

    fn fact(&self, name: &str) -> Option<Var> {
        // `ansible_local` is a variable even where facts are not injected.
        if self.store.inject_facts || name == "ansible_local" {
            self.host.fact(name).map(Var::Data)
        } else {
            None
        }
    }

    /// The value for an object such as `hostvars[...]` that holds other variables lazily.
    pub(super) fn value(self: &Arc<Self>, name: &str) -> Option<Value> {
        match self.get(name)? {
            Var::Data(value) => Some(value),
            Var::Yaml(node) => {
                let scope: Arc<dyn Scope> = Arc::clone(self) as _;
                Some(self.store.lazy.value(&node, &scope, name))
            }
        }
    }
}

impl Scope for TaskScope {
    fn get(&self, name: &str) -> Option<Var> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(n, _)| **n == *name) {
            return Some(value.clone());
        }
        magic::get(self, name)
            .or_else(|| if super::table::merges_mappings() { self.merged(name) } else { self.written(name) })
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.locals.iter().map(|(n, _)| n.to_string()).collect();
        names.extend(magic::NAMES.iter().filter(|n| magic::get(self, n).is_some()).map(|n| (*n).to_owned()));
        let parts = &*self.parts;
        for layer in parts.task.iter().chain(&parts.include_params) {
            names.extend(layer.entries.iter().map(|(n, _)| n.to_string()));
        }
        let mut tables: Vec<&Table> = vec![&self.store.extra, &self.tables.host, &self.tables.groups];
        tables.extend(self.files.as_deref());
        if let Some(role) = parts.role.as_deref() {
            tables.extend([&role.params, &role.vars, &role.defaults]);
        }
        if let Some(play) = parts.play.as_deref() {
            tables.extend([&play.role_vars, &play.files, &play.prompts, &play.vars, &play.role_defaults]);
        }
        for table in tables {
            names.extend(table.iter().map(|(n, _)| n.to_string()));
        }
        self.host.names(self.store.inject_facts, &mut names);
        names.sort();
        names.dedup();
        names
    }

    fn search(&self) -> SearchPath {
        self.parts.search.clone()
    }

    fn connection_settings(&self) -> u32 {
        let parts = &*self.parts;
        let play = parts.play.as_deref();
        let role = parts.role.as_deref();
        let of = |table: Option<&Table>| table.map_or(0, Table::connection_settings);
        let layers = |layers: &[Arc<Layer>]| {
            let names = layers.iter().flat_map(|l| &l.entries);
            names.fold(0, |bits, (name, _)| bits | settings_of(name))
        };
        let tables = [
            Some(&self.store.extra),
            Some(&*self.tables.host),
            Some(&*self.tables.groups),
            self.files.as_deref(),
            role.map(|r| &r.params),
            role.map(|r| &r.vars),
            role.map(|r| &r.defaults),
            play.map(|p| &p.role_vars),
            play.map(|p| &p.files),
            play.map(|p| &p.prompts),
            play.map(|p| &p.vars),
            play.map(|p| &p.role_defaults),
        ];
        let locals = self.locals.iter().fold(0, |bits, (name, _)| bits | settings_of(name));
        tables.into_iter().fold(locals, |bits, table| bits | of(table))
            | self.host.connection_settings()
            | layers(&parts.task)
            | layers(&parts.include_params)
    }
}

/// The last layer wins, and in a layer the last entry.
fn in_layers(layers: &[Arc<Layer>], name: &str) -> Option<Var> {
    layers.iter().rev().find_map(|l| l.get(name)).map(|n| Var::Yaml(Arc::clone(n)))
}
