//! Values that stand for something that is not a value: undefined, omitted, unknown until a real run.
//!
//! Owns: the three sentinels. Must not: decide what operators do with them (that is `eval`).

use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

use super::error::TemplateError;

/// An undefined value that remembers why it is undefined.
#[derive(Debug)]
pub(super) struct Missing {
    why: TemplateError,
    /// Jinja's own undefined, which is as good as an empty text wherever it is used.
    empty: bool,
}

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("undefined")
    }
}

#[derive(Debug)]
struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<Omit>>")
    }
}

#[derive(Debug)]
struct Unknown;

impl Object for Unknown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<unknown until applied>")
    }
}

/// The value of `omit`.
#[must_use]
pub fn omit() -> Value {
    Value::from_object(Omit)
}

/// True for `omit`: the argument that holds it is left out.
#[must_use]
pub fn is_omit(value: &Value) -> bool {
    value.downcast_object_ref::<Omit>().is_some()
}

/// The value of a result that check mode cannot predict; it spreads through expressions.
#[must_use]
pub fn unknown() -> Value {
    Value::from_object(Unknown)
}

/// True for a value that check mode cannot predict.
#[must_use]
pub fn is_unknown(value: &Value) -> bool {
    value.downcast_object_ref::<Unknown>().is_some()
}

pub(super) fn missing(error: TemplateError) -> Value {
    Value::from_object(Missing { why: error, empty: false })
}

/// What an inline `if` without `else` gives when its condition is false. Jinja takes its mildest undefined there, whatever
/// else is set: used, it is empty; kept as a value, it is an error.
pub(super) fn nothing(error: TemplateError) -> Value {
    Value::from_object(Missing { why: error, empty: true })
}

pub(super) fn is_nothing(value: &Value) -> bool {
    value.downcast_object_ref::<Missing>().is_some_and(|missing| missing.empty)
}

/// Why the value is undefined, if it is.
pub(super) fn why_missing(value: &Value) -> Option<TemplateError> {
    if let Some(missing) = value.downcast_object_ref::<Missing>() {
        return Some(missing.why.clone());
    }
    value.is_undefined().then(|| TemplateError::undefined("", "an undefined value was used"))
}

pub(super) fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.downcast_object_ref::<Missing>().is_some()
}
