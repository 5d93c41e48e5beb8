//! The objects that only live inside templates: macros, `loop`, imported templates, cyclers.
//!
//! Owns: their fields and methods. Must not: run statements.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

use super::containers::{Map, Namespace};
use super::error::{R, TemplateError};
use super::eval::Frame;
use super::marks::missing;
use super::program::{Loop, MacroDef};
use super::registry::Builtin;
use super::values::{equal, list};

/// A macro with what it saw where it was written.
#[derive(Debug)]
pub(super) struct Macro {
    pub(super) def: Arc<MacroDef>,
    pub(super) frames: Vec<Frame>,
    pub(super) file: super::FileContext,
}

impl Object for Macro {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "name" => Some(Value::from(&*self.def.name)),
            "arguments" => Some(list(self.def.params.iter().map(|(n, _)| Value::from(&**n)).collect())),
            _ => None,
        }
    }
}

/// A function as a value.
#[derive(Debug)]
pub(super) struct Function(pub(super) &'static Builtin);

impl Object for Function {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// A method of a value, not yet called.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) of: Value,
    pub(super) name: Arc<str>,
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// An imported template.
#[derive(Debug)]
pub(super) struct Module(pub(super) Vec<(Arc<str>, Value)>);

impl Module {
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        self.0.iter().rev().find(|(n, _)| **n == *name).map(|(_, v)| v.clone())
    }
}

impl Object for Module {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key.as_str()?)
    }
}

/// `loop` in one turn of a `for`.
#[derive(Debug)]
pub(super) struct LoopState {
    pub(super) index0: usize,
    pub(super) all: Arc<Vec<Value>>,
    pub(super) depth0: usize,
    pub(super) changed: Arc<Mutex<Option<Value>>>,
    pub(super) recurse: Option<Arc<Loop>>,
}

impl LoopState {
    pub(super) fn method(&self, name: &str, args: &[Value]) -> R<Value> {
        match name {
            "cycle" if !args.is_empty() => Ok(args[self.index0 % args.len()].clone()),
            "changed" => {
                let now = list(args.to_vec());
                let mut last = self.changed.lock().unwrap_or_else(|e| e.into_inner());
                let same = match last.as_ref() {
                    Some(last) => equal(last, &now)?,
                    None => false,
                };
                if !same {
                    *last = Some(now);
                }
                Ok(Value::from(!same))
            }
            _ => Err(TemplateError::of_type(format!("`loop` has no method `{name}`"))),
        }
    }
}

impl Object for LoopState {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let length = self.all.len();
        let beyond = |what: &str| {
            missing(TemplateError::undefined(
                what,
                format!("`loop.{what}` is undefined: there is no such item"),
            ))
        };
        Some(match key.as_str()? {
            "index" => Value::from(self.index0 + 1),
            "index0" => Value::from(self.index0),
            "revindex" => Value::from(length - self.index0),
            "revindex0" => Value::from(length - self.index0 - 1),
            "first" => Value::from(self.index0 == 0),
            "last" => Value::from(self.index0 + 1 == length),
            "length" => Value::from(length),
            "depth" => Value::from(self.depth0 + 1),
            "depth0" => Value::from(self.depth0),
            "previtem" => match self.index0.checked_sub(1) {
                Some(at) => self.all[at].clone(),
                None => beyond("previtem"),
            },
            "nextitem" => self.all.get(self.index0 + 1).cloned().unwrap_or_else(|| beyond("nextitem")),
            _ => return None,
        })
    }
}

/// `cycler('a', 'b')`.
#[derive(Debug)]
pub(super) struct Cycler {
    pub(super) all: Vec<Value>,
    pub(super) at: AtomicUsize,
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("current"))
            .then(|| self.all[self.at.load(Ordering::Relaxed) % self.all.len()].clone())
    }
}

/// `joiner(', ')`: nothing the first time, then the separator.
#[derive(Debug)]
pub(super) struct Joiner {
    pub(super) separator: Value,
    pub(super) used: AtomicUsize,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// A method of one of the small objects; `None` when it is another kind of value.
pub(super) fn method(of: &Value, name: &str, _args: &[Value]) -> Option<R<Value>> {
    let cycler = of.downcast_object_ref::<Cycler>()?;
    Some(match name {
        "next" => {
            let at = cycler.at.fetch_add(1, Ordering::Relaxed);
            Ok(cycler.all[at % cycler.all.len()].clone())
        }
        "reset" => {
            cycler.at.store(0, Ordering::Relaxed);
            Ok(Value::from(()))
        }
        _ => Err(TemplateError::of_type(format!("a cycler has no method `{name}`"))),
    })
}

/// Calls one of the small objects; `None` when it is another kind of value.
pub(super) fn call(of: &Value) -> Option<R<Value>> {
    let joiner = of.downcast_object_ref::<Joiner>()?;
    Some(Ok(if joiner.used.fetch_add(1, Ordering::Relaxed) == 0 {
        Value::from("")
    } else {
        joiner.separator.clone()
    }))
}

/// `namespace(a=1)`.
pub(super) fn namespace(entries: Map) -> Value {
    Value::from_object(Namespace(super::containers::Dict::new(entries)))
}
