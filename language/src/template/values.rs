//! Values as Python sees them: types, truth, text, equality, order, iteration.
//!
//! Owns: every reading of a value that can meet an undefined or failed part inside it.
//! Must not: render templates itself; lazy parts do that when they are touched.

use std::cmp::Ordering;
use std::error::Error as _;
use std::fmt::Write as _;

use minijinja::Value;
use minijinja::value::{Tuple, ValueKind};

use super::containers::{Dict, List, Map};
use super::error::{R, TemplateError};
use super::marks::{is_missing, is_nothing, is_omit, is_unknown, missing, why_missing};

/// Python's name of the type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number => {
            if value.is_integer() {
                "int"
            } else {
                "float"
            }
        }
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq | ValueKind::Iterable if value.downcast_object_ref::<Tuple>().is_some() => "tuple",
        ValueKind::Seq | ValueKind::Iterable => "list",
        ValueKind::Map => "dict",
        _ => {
            if is_missing(value) {
                "Undefined"
            } else {
                "object"
            }
        }
    }
}

pub(super) fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

pub(super) fn is_map(value: &Value) -> bool {
    value.kind() == ValueKind::Map
}

/// The error inside a value that could not be made, else the value.
pub(super) fn valid(value: Value) -> R<Value> {
    if value.kind() != ValueKind::Invalid {
        return Ok(value);
    }
    let holder = Value::from(vec![value]);
    let error = holder.try_iter().ok().and_then(|iter| iter.checked().find_map(Result::err));
    let Some(error) = error else { return Err(TemplateError::value("a value could not be made")) };
    if let Some(inner) = error.source().and_then(|s| s.downcast_ref::<TemplateError>()) {
        if inner.is_undefined() {
            return Ok(missing(inner.clone()));
        }
        return Err(inner.clone());
    }
    Err(TemplateError::value(error.to_string()))
}

/// Wraps an error so that a lazy object can hand it out as a value.
pub(super) fn invalid(error: TemplateError) -> Value {
    let text = error.message.clone();
    Value::from(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, text).with_source(error))
}

/// The error of an undefined value, else the value.
pub(super) fn defined(value: Value) -> R<Value> {
    match why_missing(&value) {
        Some(error) => Err(error),
        None => valid(value),
    }
}

/// The items of a list, the keys of a mapping, the characters of a text.
pub(super) fn items(value: &Value) -> R<Vec<Value>> {
    if is_nothing(value) {
        return Ok(Vec::new());
    }
    if let Some(error) = why_missing(value) {
        return Err(error);
    }
    if let Some(list) = value.downcast_object_ref::<Vec<Value>>() {
        return Ok(list.clone());
    }
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::String) {
        return Err(TemplateError::of_type(format!("'{}' object is not iterable", type_name(value))));
    }
    match value.try_iter() {
        Ok(iter) => iter.map(valid).collect(),
        Err(_) => Err(TemplateError::of_type(format!("'{}' object is not iterable", type_name(value)))),
    }
}

/// The entries of a mapping.
pub(super) fn pairs(value: &Value) -> R<Vec<(Value, Value)>> {
    if let Some(error) = why_missing(value) {
        return Err(error);
    }
    if !is_map(value) {
        return Err(TemplateError::of_type(format!(
            "a dictionary is needed here, not a value of type '{}'",
            type_name(value)
        )));
    }
    items(value)?
        .into_iter()
        .map(|key| {
            let item = item(value, &key)?.unwrap_or_default();
            Ok((key, item))
        })
        .collect()
}

/// The item under a key or index; `None` when there is none.
pub(super) fn item(value: &Value, key: &Value) -> R<Option<Value>> {
    let found = match value.kind() {
        ValueKind::Map => value.as_object().and_then(|object| object.get_value(key)),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::String | ValueKind::Bytes => {
            let Some(index) = as_int(key) else { return Ok(None) };
            let length = match value.kind() {
                ValueKind::String => value.as_str().map_or(0, |s| s.chars().count()),
                _ => match value.len() {
                    Some(length) => length,
                    None => {
                        let all = items(value)?;
                        return Ok(index_of(index, all.len()).and_then(|at| all.get(at).cloned()));
                    }
                },
            };
            let Some(at) = index_of(index, length) else { return Ok(None) };
            if value.kind() == ValueKind::Iterable {
                items(value)?.get(at).cloned()
            } else {
                value.get_item(&Value::from(at)).ok()
            }
        }
        _ => None,
    };
    found.filter(|v| !v.is_undefined()).map(valid).transpose()
}

fn index_of(index: i128, length: usize) -> Option<usize> {
    let at = if index < 0 { index + length as i128 } else { index };
    usize::try_from(at).ok().filter(|at| *at < length)
}

/// Python's `len`.
pub(super) fn length(value: &Value) -> R<usize> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().map_or(0, |s| s.chars().count())),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => match value.len() {
            Some(length) => Ok(length),
            None => Ok(items(value)?.len()),
        },
        ValueKind::Bytes => Ok(value.as_bytes().map_or(0, <[u8]>::len)),
        _ => Err(match why_missing(value) {
            Some(error) => error,
            None => TemplateError::of_type(format!("object of type '{}' has no len()", type_name(value))),
        }),
    }
}

/// An integer or boolean as a number; `None` for everything else.
pub(super) fn as_int(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// A number or boolean as a float.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(if value.is_true() { 1.0 } else { 0.0 }),
        ValueKind::Number => f64::try_from(value.clone()).ok().or_else(|| as_int(value).map(|i| i as f64)),
        _ => None,
    }
}

/// Makes an integer value as small as possible, so that equal numbers are stored alike.
pub(super) fn int(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| Value::from(value), Value::from)
}

/// Python's truth of a value that is defined.
pub(super) fn truth(value: &Value) -> R<bool> {
    match value.kind() {
        ValueKind::Plain if is_nothing(value) => Ok(false),
        ValueKind::Undefined | ValueKind::Plain | ValueKind::Invalid => {
            if let Some(error) = why_missing(value) {
                return Err(error);
            }
            if is_unknown(value) {
                return Err(unknown_error());
            }
            valid(value.clone()).map(|v| v.is_true())
        }
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => Ok(length(value)? > 0),
        _ => Ok(value.is_true()),
    }
}

pub(super) fn unknown_error() -> TemplateError {
    TemplateError::new(
        super::error::ErrorKind::Unknown,
        "the value is unknown in check mode, it depends on a change that was not made",
    )
}

/// Python's `str`.
pub(super) fn text(value: &Value) -> R<String> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        _ => {
            let mut out = String::new();
            repr_into(value, &mut out, 0)?;
            Ok(out)
        }
    }
}

/// Python's `repr`.
pub(super) fn repr(value: &Value) -> R<String> {
    let mut out = String::new();
    repr_into(value, &mut out, 0)?;
    Ok(out)
}

fn repr_into(value: &Value, out: &mut String, depth: usize) -> R<()> {
    if depth > 100 {
        return Err(TemplateError::new(
            super::error::ErrorKind::Depth,
            "a value is nested too deep to be shown",
        ));
    }
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => match as_int(value) {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => out.push_str(&float_text(as_float(value).unwrap_or(f64::NAN))),
        },
        ValueKind::String => repr_str(value.as_str().unwrap_or_default(), out),
        ValueKind::Bytes => {
            let _ = write!(out, "{value:?}");
        }
        ValueKind::Map => {
            out.push('{');
            for (at, (key, item)) in pairs(value)?.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                repr_into(key, out, depth + 1)?;
                out.push_str(": ");
                repr_into(item, out, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (at, item) in items(value)?.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                repr_into(item, out, depth + 1)?;
            }
            out.push(']');
        }
        _ => {
            let value = defined(value.clone())?;
            if is_unknown(&value) {
                return Err(unknown_error());
            }
            if is_omit(&value) {
                return Err(omitted());
            }
            let _ = write!(out, "{value}");
        }
    }
    Ok(())
}

pub(super) fn omitted() -> TemplateError {
    TemplateError::new(super::error::ErrorKind::Omitted, "`omit` was used where a value is needed")
}

fn repr_str(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || (0x7f..=0xa0).contains(&(c as u32)) || c == '\u{ad}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if matches!(c as u32, 0x2028 | 0x2029 | 0x200b..=0x200f | 0xfeff | 0xe000..=0xf8ff) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Python's `repr` of a float: the shortest digits that read back, exponent from 1e16 and below 1e-4.
pub(super) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0.0" } else { "0.0" }.to_owned();
    }
    let magnitude = number.abs();
    if (1e-4..1e16).contains(&magnitude) {
        let text = format!("{number}");
        return if text.contains('.') { text } else { format!("{text}.0") };
    }
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Python's `==`.
pub(super) fn equal(a: &Value, b: &Value) -> R<bool> {
    match (a.kind(), b.kind()) {
        (ValueKind::Seq | ValueKind::Iterable, ValueKind::Seq | ValueKind::Iterable) => {
            let (a, b) = (items(a)?, items(b)?);
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(&b) {
                if !equal(a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (ValueKind::Map, ValueKind::Map) => {
            if length(a)? != length(b)? {
                return Ok(false);
            }
            for (key, left) in pairs(a)? {
                match item(b, &key)? {
                    Some(right) if equal(&left, &right)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (ValueKind::Bool | ValueKind::Number, ValueKind::Bool | ValueKind::Number) => {
            Ok(match (as_int(a), as_int(b)) {
                (Some(a), Some(b)) => a == b,
                _ => as_float(a) == as_float(b),
            })
        }
        (ValueKind::Plain | ValueKind::Undefined | ValueKind::Invalid, _)
        | (_, ValueKind::Plain | ValueKind::Undefined | ValueKind::Invalid) => {
            Ok(defined(a.clone())? == defined(b.clone())?)
        }
        (x, y) if x == y => Ok(a == b),
        _ => Ok(false),
    }
}

/// Python's ordering of two values.
///
/// # Errors
/// Types that Python does not order.
pub(super) fn compare(a: &Value, b: &Value, operator: &str) -> R<Ordering> {
    match (a.kind(), b.kind()) {
        (ValueKind::Bool | ValueKind::Number, ValueKind::Bool | ValueKind::Number) => {
            match (as_int(a), as_int(b)) {
                (Some(a), Some(b)) => Ok(a.cmp(&b)),
                _ => Ok(as_float(a)
                    .zip(as_float(b))
                    .and_then(|(a, b)| a.partial_cmp(&b))
                    .unwrap_or(Ordering::Equal)),
            }
        }
        (ValueKind::String, ValueKind::String) => Ok(a.as_str().cmp(&b.as_str())),
        (ValueKind::Seq | ValueKind::Iterable, ValueKind::Seq | ValueKind::Iterable) => {
            let (a, b) = (items(a)?, items(b)?);
            for (a, b) in a.iter().zip(&b) {
                if !equal(a, b)? {
                    return compare(a, b, operator);
                }
            }
            Ok(a.len().cmp(&b.len()))
        }
        _ => {
            defined(a.clone())?;
            defined(b.clone())?;
            Err(TemplateError::of_type(format!(
                "'{operator}' not supported between instances of '{}' and '{}'",
                type_name(a),
                type_name(b)
            )))
        }
    }
}

/// Python's `in`.
pub(super) fn contains(container: &Value, value: &Value) -> R<bool> {
    match container.kind() {
        ValueKind::String => {
            let Some(part) = value.as_str() else {
                return Err(TemplateError::of_type(format!(
                    "'in <string>' requires string as left operand, not {}",
                    type_name(value)
                )));
            };
            Ok(container.as_str().is_some_and(|s| s.contains(part)))
        }
        ValueKind::Map => Ok(container.as_object().is_some_and(|o| o.get_value(value).is_some())),
        ValueKind::Seq | ValueKind::Iterable => {
            for candidate in items(container)? {
                if !is_missing(&candidate) && equal(&candidate, value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => {
            defined(container.clone())?;
            Err(TemplateError::of_type(format!(
                "argument of type '{}' is not iterable",
                type_name(container)
            )))
        }
    }
}

/// A list value.
pub(super) fn list(items: Vec<Value>) -> Value {
    Value::from(items)
}

/// A mapping value in the order of its entries.
pub(super) fn map(map: Map) -> Value {
    Value::from_object(map)
}

/// Makes a plain value: no lazy part, no tuple or iterator, `omit` entries dropped.
///
/// # Errors
/// An undefined or failed part.
pub(super) fn plain(value: Value) -> R<Value> {
    plain_at(value, 0)
}

fn plain_at(value: Value, depth: usize) -> R<Value> {
    if depth > 100 {
        return Err(TemplateError::new(super::error::ErrorKind::Depth, "a value is nested too deep"));
    }
    match value.kind() {
        ValueKind::Map => {
            if is_plain(&value) {
                return Ok(value);
            }
            let mut out = Map::new();
            for (key, item) in pairs(&value)? {
                if !is_omit(&item) {
                    out.insert(key, plain_at(item, depth + 1)?);
                }
            }
            Ok(map(out))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            if is_plain(&value) {
                return Ok(value);
            }
            let mut out = Vec::new();
            for item in items(&value)? {
                if !is_omit(&item) {
                    out.push(plain_at(item, depth + 1)?);
                }
            }
            Ok(list(out))
        }
        ValueKind::Plain | ValueKind::Undefined | ValueKind::Invalid => defined(value),
        _ => Ok(value),
    }
}

fn is_plain(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Map => value.downcast_object_ref::<Map>().is_some_and(|map| map.values().all(is_plain)),
        ValueKind::Seq => {
            value.downcast_object_ref::<Vec<Value>>().is_some_and(|list| list.iter().all(is_plain))
        }
        ValueKind::Iterable | ValueKind::Plain | ValueKind::Undefined | ValueKind::Invalid => false,
        _ => true,
    }
}

/// A form of the value that can be changed in place; itself when it already can.
pub(super) fn mutable(value: &Value) -> R<Value> {
    if value.downcast_object_ref::<List>().is_some() || value.downcast_object_ref::<Dict>().is_some() {
        return Ok(value.clone());
    }
    Ok(match value.kind() {
        ValueKind::Map => Value::from_object(Dict::new(pairs(value)?.into_iter().collect())),
        ValueKind::Seq | ValueKind::Iterable => Value::from_object(List::new(items(value)?)),
        _ => value.clone(),
    })
}

/// A pair as Python's methods give it.
pub(super) fn pair(a: Value, b: Value) -> Value {
    Value::from(Tuple::from([a, b]))
}
