//! What a run learns about one host: facts, `set_fact`, registered results, `include_vars`.
//!
//! Owns: this state behind one lock a host. Must not: know precedence (that is `scope`).

use std::collections::HashMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

use super::Table;
use super::connection::{is_connection_variable, settings_of};
use super::fact_cache::{FactCache, Remembered};
use super::hash::ByName;
use crate::source::Node;
use crate::template::{Value, from_json, to_json};

/// The run-time variables of one host. Setting is for the engine; scopes read.
#[derive(Debug)]
pub struct HostState {
    name: Arc<str>,
    state: RwLock<State>,
    cache: Option<Arc<FactCache>>,
}

#[derive(Debug, Default)]
struct State {
    /// By the name a module returned: `ansible_distribution`, `packages`.
    facts: IndexMap<Arc<str>, Value, ByName>,
    /// They come from a whole gathering, in this run or, by the cache, an earlier one.
    gathered: bool,
    /// The same without the prefix, as `ansible_facts` shows them; made when first asked for.
    view: Option<Value>,
    /// `set_fact` and `register` share one level: the later one wins.
    set: HashMap<Arc<str>, Kept, ByName>,
    included: Table,
    /// Settings of connections that a name in `set` or `facts` can decide.
    settings: u32,
}

/// A variable of a host.
#[derive(Debug)]
enum Kept {
    Value(Value),
    /// A result as the module gave it. Most are never looked at, so they become a value when somebody does.
    Result(Arc<Map<String, Json>>),
}

impl HostState {
    /// Starts knowing nothing.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        Self { name, state: RwLock::default(), cache: None }
    }

    /// Starts with the facts of an earlier run, and keeps those of this one.
    #[must_use]
    pub(super) fn with_cache(name: Arc<str>, cache: Option<&Arc<FactCache>>) -> Self {
        let Some(cache) = cache else { return Self::new(name) };
        let state = Self { cache: Some(Arc::clone(cache)), ..Self::new(name) };
        if let Some(Remembered { facts, gathered }) = cache.read(&state.name) {
            let mut known = state.write();
            known.gathered = gathered;
            let allowed = facts.into_iter().filter(|(name, _)| !is_connection_variable(name));
            known.facts.extend(allowed.map(|(name, value)| (Arc::from(name), from_json(value))));
        }
        state
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
        self.remember(&state);
    }

    /// The facts to come are those of a whole gathering.
    pub fn begin_gathered(&self) {
        self.write().gathered = true;
    }

    /// Whether facts were gathered, in this run or, by the cache, an earlier one; `gathering: smart` asks.
    #[must_use]
    pub fn is_gathered(&self) -> bool {
        self.read().gathered
    }

    /// Writes the facts to the cache, if there is one. Still under the lock, so that the last writer has the last word.
    fn remember(&self, state: &State) {
        let Some(cache) = self.cache.as_ref().filter(|cache| cache.keeps()) else { return };
        // What check mode does not know has no JSON, and check mode does not write.
        let facts =
            state.facts.iter().filter_map(|(name, value)| Some((name.to_string(), to_json(value).ok()?)));
        cache.write(&self.name, Remembered { facts: facts.collect(), gathered: state.gathered });
    }

    /// Forgets all facts (`meta: clear_facts`); `set_fact` values and registered results stay.
    pub fn clear_facts(&self) {
        let mut state = self.write();
        state.facts.clear();
        state.gathered = false;
        state.view = None;
        if let Some(cache) = &self.cache {
            cache.remove(&self.name);
        }
    }

    /// Sets `set_fact` values. Cacheable ones also become facts, which have lower precedence but outlive the run.
    pub fn set_facts(&self, values: impl IntoIterator<Item = (Arc<str>, Value)>, cacheable: bool) {
        let mut state = self.write();
        for (name, value) in values {
            state.settings |= settings_of(&name);
            if cacheable {
                state.facts.insert(Arc::clone(&name), value.clone());
            }
            state.set.insert(name, Kept::Value(value));
        }
        if cacheable {
            state.view = None;
            self.remember(&state);
        }
    }

    /// Keeps the result of a task under its `register` name.
    pub fn register(&self, name: Arc<str>, result: Value) {
        let mut state = self.write();
        state.settings |= settings_of(&name);
        state.set.insert(name, Kept::Value(result));
    }

    /// Keeps the result of a task under its `register` name, as data.
    pub fn register_result(&self, name: Arc<str>, result: Arc<Map<String, Json>>) {
        let mut state = self.write();
        state.settings |= settings_of(&name);
        state.set.insert(name, Kept::Result(result));
    }

    /// Adds variables of `include_vars`.
    pub fn include(&self, vars: &Table) {
        self.write().included.extend(vars);
    }

    /// A `set_fact` value or registered result.
    #[must_use]
    pub fn set_value(&self, name: &str) -> Option<Value> {
        let result = {
            let state = self.read();
            if state.set.is_empty() {
                return None;
            }
            match state.set.get(name)? {
                Kept::Value(value) => return Some(value.clone()),
                Kept::Result(result) => Arc::clone(result),
            }
        };
        let value = Value::from(minijinja::value::Serde(&*result));
        if let Some(kept) = self.write().set.get_mut(name)
            && matches!(kept, Kept::Result(now) if Arc::ptr_eq(now, &result))
        {
            *kept = Kept::Value(value.clone());
        }
        Some(value)
    }

    /// Which settings of connections a variable set here can decide, as [`settings_of`] counts them.
    #[must_use]
    pub fn connection_settings(&self) -> u32 {
        let state = self.read();
        state.settings | state.included.connection_settings()
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
