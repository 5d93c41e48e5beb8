//! Methods of Python's strings, lists and dictionaries.
//!
//! Owns: which methods a value has and what they do. Must not: be reached for a name that is an item of a mapping
//! (attribute lookup decides that).

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::ValueKind;

use super::error::{R, TemplateError};
use super::eval::Cx;
use super::values::{as_int, int, is_list, is_map, type_name};
use containers::{mapping, sequence};
use strings::string;

mod containers;
mod strings;

pub(super) use containers::sort_values;
pub(super) use strings::{capitalize, split, splitlines};

const MUTATING: &[&str] = &[
    "append",
    "extend",
    "insert",
    "pop",
    "remove",
    "clear",
    "update",
    "setdefault",
    "sort",
    "reverse",
    "popitem",
];

/// True for methods that change their value.
pub(super) fn mutates(name: &str) -> bool {
    MUTATING.contains(&name)
}

const STR: &[&str] = &[
    "split",
    "rsplit",
    "splitlines",
    "strip",
    "lstrip",
    "rstrip",
    "startswith",
    "endswith",
    "find",
    "rfind",
    "index",
    "rindex",
    "count",
    "replace",
    "lower",
    "upper",
    "title",
    "capitalize",
    "swapcase",
    "casefold",
    "join",
    "format",
    "isdigit",
    "isnumeric",
    "isdecimal",
    "isalpha",
    "isalnum",
    "isspace",
    "islower",
    "isupper",
    "istitle",
    "isidentifier",
    "zfill",
    "ljust",
    "rjust",
    "center",
    "partition",
    "rpartition",
    "encode",
    "expandtabs",
    "removeprefix",
    "removesuffix",
    "format_map",
    "isascii",
];
const LIST: &[&str] =
    &["append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "index", "count", "copy"];
const DICT: &[&str] = &[
    "items",
    "keys",
    "values",
    "get",
    "iteritems",
    "iterkeys",
    "itervalues",
    "update",
    "setdefault",
    "pop",
    "popitem",
    "clear",
    "copy",
    "has_key",
];

/// True when a value of that type has the method.
pub(super) fn exists(of: &Value, name: &str) -> bool {
    match of.kind() {
        ValueKind::String => STR.contains(&name),
        ValueKind::Seq | ValueKind::Iterable => LIST.contains(&name),
        ValueKind::Map => DICT.contains(&name),
        ValueKind::Bytes => name == "decode",
        ValueKind::Number => matches!(name, "is_integer" | "bit_length"),
        _ => super::filters::is_datetime(of) && super::filters::datetime_has(name),
    }
}

/// Calls a method that [`exists`].
pub(super) fn call(
    cx: &mut Cx,
    of: &Value,
    name: &str,
    positional: Vec<Value>,
    named: Vec<(Arc<str>, Value)>,
) -> R<Value> {
    let args = Call { name, positional, named };
    match of.kind() {
        ValueKind::String => string(of.as_str().unwrap_or_default(), &args),
        ValueKind::Bytes => {
            Ok(Value::from(String::from_utf8_lossy(of.as_bytes().unwrap_or_default()).into_owned()))
        }
        ValueKind::Number => match name {
            "is_integer" => Ok(Value::from(f64::try_from(of.clone()).is_ok_and(|f| f.fract() == 0.0))),
            _ => Ok(int(i128::from(128 - as_int(of).unwrap_or(0).unsigned_abs().leading_zeros()))),
        },
        _ if is_list(of) => sequence(of, &args),
        _ if is_map(of) => mapping(of, &args),
        _ => super::filters::datetime_method(cx, of, name, &args.positional),
    }
}

struct Call<'a> {
    name: &'a str,
    positional: Vec<Value>,
    named: Vec<(Arc<str>, Value)>,
}

impl Call<'_> {
    fn get(&self, at: usize, name: &str) -> Option<&Value> {
        self.positional.get(at).or_else(|| self.named.iter().find(|(n, _)| **n == *name).map(|(_, v)| v))
    }

    fn value(&self, at: usize, name: &str) -> R<&Value> {
        self.get(at, name).ok_or_else(|| {
            TemplateError::arguments(format!("`.{}()` needs the argument `{name}`", self.name))
        })
    }

    fn string(&self, at: usize, name: &str) -> R<&str> {
        let value = self.value(at, name)?;
        value.as_str().ok_or_else(|| {
            TemplateError::arguments(format!(
                "`.{}()` needs text, got a value of type '{}'",
                self.name,
                type_name(value)
            ))
        })
    }

    fn number(&self, at: usize, name: &str) -> R<Option<i128>> {
        match self.get(at, name) {
            None => Ok(None),
            Some(value) if value.is_none() => Ok(None),
            Some(value) => as_int(value).map(Some).ok_or_else(|| {
                TemplateError::arguments(format!(
                    "`.{}()` needs an integer, got a value of type '{}'",
                    self.name,
                    type_name(value)
                ))
            }),
        }
    }
}

fn no_method(kind: &str, name: &str) -> TemplateError {
    TemplateError::of_type(format!("a value of type '{kind}' has no method `{name}`"))
}
