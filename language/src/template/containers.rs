//! Lists and mappings that templates make and change (`x.append(1)`), as Python's are.
//!
//! Owns: [`List`] and [`Dict`]; both leave the stage as ordinary values. Must not: render templates.

use std::sync::{Arc, Mutex, MutexGuard};

use indexmap::IndexMap;
use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};

/// The plain form of a mapping.
pub(super) type Map = IndexMap<Value, Value>;

/// A list that can be changed.
#[derive(Debug, Default)]
pub(super) struct List(Mutex<Vec<Value>>);

/// A mapping that can be changed.
#[derive(Debug, Default)]
pub(super) struct Dict(Mutex<Map>);

impl List {
    pub(super) fn new(items: Vec<Value>) -> Self {
        Self(Mutex::new(items))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Dict {
    pub(super) fn new(map: Map) -> Self {
        Self(Mutex::new(map))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.lock().get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.lock().clone())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.lock().len())
    }
}

impl Object for Dict {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.lock().get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.lock().keys().cloned().collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.lock().len())
    }
}

/// `namespace()`: attributes that `set ns.x = ...` changes.
#[derive(Debug, Default)]
pub(super) struct Namespace(pub(super) Dict);

impl Object for Namespace {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.lock().get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.lock().keys().cloned().collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.lock().len())
    }
}
