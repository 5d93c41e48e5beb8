//! Variables as users write them: rendered part by part, when a part is used.
//!
//! Owns: [`LazyMap`] and [`LazyList`]. Must not: cache beyond its own life, which is one rendering.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use super::Scope;
use super::engine::Inner;
use super::error::R;
use super::marks::missing;
use super::values::invalid;
use crate::source::{Mapping, Node, Yaml};

/// A node inside a variable.
#[derive(Debug, Clone)]
pub(super) struct Place {
    root: Arc<Node>,
    path: Arc<[u32]>,
}

impl Place {
    pub(super) fn of(root: Arc<Node>) -> Self {
        Self { root, path: Arc::new([]) }
    }

    pub(super) fn node(&self) -> &Node {
        let mut node = &*self.root;
        for at in self.path.iter() {
            let next = match &node.value {
                Yaml::Seq(all) => all.get(*at as usize),
                Yaml::Map(map) => map.entries.get(*at as usize).map(|e| &e.value),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    fn child(&self, at: usize) -> Self {
        let mut path = self.path.to_vec();
        path.push(at as u32);
        Self { root: Arc::clone(&self.root), path: path.into() }
    }
}

/// What both lazy kinds share.
#[derive(Debug)]
pub(super) struct Lazy {
    engine: Arc<Inner>,
    scope: Arc<dyn Scope>,
    place: Place,
    /// The variable this is part of, for messages.
    name: Arc<str>,
    made: Mutex<HashMap<usize, Value>>,
    index: OnceLock<HashMap<Arc<str>, usize>>,
}

impl Lazy {
    pub(super) fn new(engine: Arc<Inner>, scope: Arc<dyn Scope>, place: Place, name: Arc<str>) -> Self {
        Self { engine, scope, place, name, made: Mutex::default(), index: OnceLock::new() }
    }

    fn child(&self, at: usize, key: Option<&str>) -> R<Value> {
        if let Some(value) = self.made.lock().unwrap_or_else(|e| e.into_inner()).get(&at) {
            return Ok(value.clone());
        }
        let name: Arc<str> = match key {
            Some(key) => format!("{}.{key}", self.name).into(),
            None => format!("{}[{at}]", self.name).into(),
        };
        let value = self.engine.value_of(self.place.child(at), &self.scope, &name)?;
        self.made.lock().unwrap_or_else(|e| e.into_inner()).insert(at, value.clone());
        Ok(value)
    }

    fn child_value(&self, at: usize, key: Option<&str>) -> Value {
        match self.child(at, key) {
            Ok(value) => value,
            Err(e) if e.is_undefined() => missing(e),
            Err(e) => invalid(e),
        }
    }
}

/// A mapping of a variable.
#[derive(Debug)]
pub(super) struct LazyMap(pub(super) Lazy);

/// A sequence of a variable.
#[derive(Debug)]
pub(super) struct LazyList(pub(super) Lazy);

static NO_ENTRIES: Mapping = Mapping { entries: Vec::new() };

impl LazyMap {
    fn mapping(&self) -> &Mapping {
        match &self.0.place.node().value {
            Yaml::Map(map) => map,
            _ => &NO_ENTRIES,
        }
    }

    fn position(&self, key: &Value) -> Option<usize> {
        let mapping = self.mapping();
        let Some(text) = key.as_str() else {
            return mapping
                .entries
                .iter()
                .position(|e| e.key.as_str().is_none() && key_value(&e.key) == *key);
        };
        if mapping.entries.len() <= 8 {
            return mapping.entries.iter().position(|e| e.key.as_str() == Some(text));
        }
        let index = self.0.index.get_or_init(|| {
            mapping
                .entries
                .iter()
                .enumerate()
                .filter_map(|(at, e)| match &e.key.value {
                    Yaml::Str(s) | Yaml::Unsafe(s) => Some((Arc::clone(s), at)),
                    _ => None,
                })
                .collect()
        });
        index.get(text).copied()
    }
}

/// A key as a value; keys are never templates.
pub(super) fn key_value(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::from(()),
        Yaml::Bool(b) => Value::from(*b),
        Yaml::Int(i) => Value::from(*i),
        Yaml::Float(f) => Value::from(*f),
        Yaml::Str(s) | Yaml::Unsafe(s) | Yaml::Vault(s) => Value::from(Arc::clone(s)),
        Yaml::Seq(_) | Yaml::Map(_) => Value::from(()),
    }
}

impl Object for LazyMap {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = self.position(key)?;
        Some(self.0.child_value(at, key.as_str()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.mapping().entries.iter().map(|e| key_value(&e.key)).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.mapping().entries.len())
    }
}

impl LazyList {
    fn len(&self) -> usize {
        self.0.place.node().as_seq().map_or(0, <[Node]>::len)
    }
}

impl Object for LazyList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = key.as_usize().filter(|at| *at < self.len())?;
        Some(self.0.child_value(at, None))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len())
    }
}

/// `vars`: all variables of a scope, rendered when one is used.
#[derive(Debug)]
pub(super) struct AllVariables {
    pub(super) engine: Arc<Inner>,
    pub(super) scope: Arc<dyn Scope>,
}

impl Object for AllVariables {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match self.engine.variable(&self.scope, key.as_str()?) {
            Ok(value) => value,
            Err(e) if e.is_undefined() => Some(missing(e)),
            Err(e) => Some(invalid(e)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.scope.names().into_iter().map(Value::from).collect())
    }
}
