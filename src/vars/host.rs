//! What a run learns about one host: facts, `set_fact`, registered results, `include_vars`.
//!
//! Owns: this state behind one lock a host. Must not: know precedence (that is `scope`).

use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;

use super::Table;
use super::connection::is_connection_variable;
use super::hash::ByName;
use crate::source::Node;
use crate::template::Value;

/// The run-time variables of one host. Setting is for the engine; scopes read.
#[derive(Debug)]
pub struct HostState {
    name: Arc<str>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the name a module returned: `ansible_distribution`, `packages`.
    facts: IndexMap<Arc<str>, Value, ByName>,
    /// The same without the prefix, as `ansible_facts` shows them; made when first asked for.
    view: Option<Value>,
    /// `set_fact` and `register` share one level: the later one wins.
    set: HashMap<Arc<str>, Value, ByName>,
    included: Table,
}

impl HostState {
    /// Starts knowing nothing.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        Self { name, state: RwLock::default() }
    }

    /// The host's inventory name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Adds `ansible_facts` that a module returned, under the names it returned.
    ///
    /// Names that steer connections are left out: a managed host must not choose where or as whom we connect.
    pub fn add_facts(&self, facts: impl IntoIterator<Item = (Arc<str>, Value)>) {
        let mut state = self.write();
        for (name, value) in facts {
            if !is_connection_variable(&name) {
                state.facts.insert(name, value);
            }
        }
        state.view = None;
    }

    /// Forgets all facts (`meta: clear_facts`); `set_fact` values and registered results stay.
    pub fn clear_facts(&self) {
        let mut state = self.write();
        state.facts.clear();
        state.view = None;
    }

    /// Sets a `set_fact` value. A cacheable one also becomes a fact, which has lower precedence but outlives the run.
    pub fn set_fact(&self, name: Arc<str>, value: Value, cacheable: bool) {
        let mut state = self.write();
        if cacheable {
            state.facts.insert(Arc::clone(&name), value.clone());
            state.view = None;
        }
        state.set.insert(name, value);
    }

    /// Keeps the result of a task under its `register` name.
    pub fn register(&self, name: Arc<str>, result: Value) {
        self.write().set.insert(name, result);
    }

    /// Adds variables of `include_vars`.
    pub fn include(&self, vars: &Table) {
        self.write().included.extend(vars);
    }

    /// A `set_fact` value or registered result.
    #[must_use]
    pub fn set_value(&self, name: &str) -> Option<Value> {
        let state = self.read();
        if state.set.is_empty() { None } else { state.set.get(name).cloned() }
    }

    /// A variable of `include_vars`.
    #[must_use]
    pub fn included(&self, name: &str) -> Option<Arc<Node>> {
        self.read().included.get(name).cloned()
    }

    /// A fact by the name a module returned (`ansible_distribution`).
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<Value> {
        let state = self.read();
        if state.facts.is_empty() { None } else { state.facts.get(name).cloned() }
    }

    /// The dictionary `ansible_facts`.
    #[must_use]
    pub fn facts(&self) -> Value {
        if let Some(view) = &self.read().view {
            return view.clone();
        }
        let mut state = self.write();
        let view = Value::from_pairs(
            state.facts.iter().map(|(name, value)| (short_name(name).to_owned(), value.clone())),
        );
        state.view = Some(view.clone());
        view
    }

    /// True once any fact is known: `gathering: smart` and fact caches ask.
    #[must_use]
    pub fn has_facts(&self) -> bool {
        !self.read().facts.is_empty()
    }

    /// Adds all names of this state to a list.
    pub(super) fn names(&self, inject_facts: bool, names: &mut Vec<String>) {
        let state = self.read();
        names.extend(state.set.keys().map(|n| n.to_string()));
        names.extend(state.included.iter().map(|(n, _)| n.to_string()));
        if inject_facts {
            names.extend(state.facts.keys().map(|n| n.to_string()));
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(|e| e.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(|e| e.into_inner())
    }
}

/// `ansible_distribution` is `ansible_facts.distribution`; `ansible_local` keeps its name.
fn short_name(name: &str) -> &str {
    if name == "ansible_local" { name } else { name.strip_prefix("ansible_").unwrap_or(name) }
}
