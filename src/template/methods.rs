//! Methods of Python's strings, lists and dictionaries.
//!
//! Owns: which methods a value has and what they do. Must not: be reached for a name that is an item of a mapping
//! (attribute lookup decides that).

use std::cmp::Ordering;
use std::sync::Arc;

use minijinja::Value;
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, ValueKind};

use super::containers::{Dict, List, Map};
use super::error::{R, TemplateError};
use super::eval::{Cx, count};
use super::operators::shown;
use super::values::{as_int, compare, equal, int, is_list, is_map, item, items, list, map, pair, pairs, text, type_name};

const MUTATING: &[&str] = &[
    "append", "extend", "insert", "pop", "remove", "clear", "update", "setdefault", "sort", "reverse", "popitem",
];

/// True for methods that change their value.
pub(super) fn mutates(name: &str) -> bool {
    MUTATING.contains(&name)
}

const STR: &[&str] = &[
    "split", "rsplit", "splitlines", "strip", "lstrip", "rstrip", "startswith", "endswith", "find", "rfind", "index",
    "rindex", "count", "replace", "lower", "upper", "title", "capitalize", "swapcase", "casefold", "join", "format",
    "isdigit", "isnumeric", "isdecimal", "isalpha", "isalnum", "isspace", "islower", "isupper", "istitle",
    "isidentifier", "zfill", "ljust", "rjust", "center", "partition", "rpartition", "encode", "expandtabs",
    "removeprefix", "removesuffix", "format_map", "isascii",
];
const LIST: &[&str] = &["append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "index", "count", "copy"];
const DICT: &[&str] = &[
    "items", "keys", "values", "get", "iteritems", "iterkeys", "itervalues", "update", "setdefault", "pop", "popitem",
    "clear", "copy", "has_key",
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
        self.get(at, name)
            .ok_or_else(|| TemplateError::arguments(format!("`.{}()` needs the argument `{name}`", self.name)))
    }

    fn string(&self, at: usize, name: &str) -> R<&str> {
        let value = self.value(at, name)?;
        value.as_str().ok_or_else(|| {
            TemplateError::arguments(format!("`.{}()` needs text, got a value of type '{}'", self.name, type_name(value)))
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

fn strings(all: impl IntoIterator<Item = impl Into<String>>) -> Value {
    list(all.into_iter().map(|s| Value::from(s.into())).collect())
}

/// Python's `str.split` with and without a separator.
pub(super) fn split(s: &str, separator: Option<&str>, limit: Option<i128>) -> R<Vec<String>> {
    let limit = limit.filter(|l| *l >= 0).map(|l| usize::try_from(l).unwrap_or(usize::MAX));
    match separator {
        Some("") => Err(TemplateError::value("empty separator")),
        Some(separator) => Ok(match limit {
            Some(limit) => s.splitn(limit.saturating_add(1), separator).map(ToOwned::to_owned).collect(),
            None => s.split(separator).map(ToOwned::to_owned).collect(),
        }),
        None => {
            let mut rest = s.trim_start();
            let mut out = Vec::new();
            while !rest.is_empty() {
                if limit.is_some_and(|l| out.len() >= l) {
                    out.push(rest.trim_end().to_owned());
                    break;
                }
                match rest.find(char::is_whitespace) {
                    Some(at) => {
                        out.push(rest[..at].to_owned());
                        rest = rest[at..].trim_start();
                    }
                    None => {
                        out.push(rest.to_owned());
                        break;
                    }
                }
            }
            Ok(out)
        }
    }
}

fn rsplit(s: &str, separator: Option<&str>, limit: Option<i128>) -> R<Vec<String>> {
    let Some(limit) = limit.filter(|l| *l >= 0).map(|l| usize::try_from(l).unwrap_or(usize::MAX)) else {
        return split(s, separator, None);
    };
    let mut out: Vec<String> = match separator {
        Some("") => return Err(TemplateError::value("empty separator")),
        Some(separator) => s.rsplitn(limit.saturating_add(1), separator).map(ToOwned::to_owned).collect(),
        None => {
            let mut rest = s.trim_end();
            let mut out = Vec::new();
            while !rest.is_empty() {
                if out.len() >= limit {
                    out.push(rest.trim_start().to_owned());
                    break;
                }
                match rest.rfind(char::is_whitespace) {
                    Some(at) => {
                        let start = at + rest[at..].chars().next().map_or(1, char::len_utf8);
                        out.push(rest[start..].to_owned());
                        rest = rest[..at].trim_end();
                    }
                    None => {
                        out.push(rest.to_owned());
                        break;
                    }
                }
            }
            out
        }
    };
    out.reverse();
    Ok(out)
}

/// Python's `str.splitlines`.
pub(super) fn splitlines(s: &str, keep: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = s.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && chars.peek().is_some_and(|(_, c)| *c == '\n') {
            chars.next();
            end += 1;
        }
        out.push(s[start..if keep { end } else { at }].to_owned());
        start = end;
    }
    if start < s.len() {
        out.push(s[start..].to_owned());
    }
    out
}

/// Python's `str.title`.
pub(super) fn title(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut inside = false;
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

/// Python's `str.capitalize`.
pub(super) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect())
}

fn padded(s: &str, width: usize, fill: char, left: bool, right: bool) -> String {
    let missing = width.saturating_sub(s.chars().count());
    let before = match (left, right) {
        (true, true) => missing / 2 + (missing & width & 1),
        (true, false) => missing,
        _ => 0,
    };
    let mut out: String = std::iter::repeat_n(fill, before).collect();
    out.push_str(s);
    out.extend(std::iter::repeat_n(fill, missing - before));
    out
}

fn stripped<'s>(s: &'s str, call: &Call<'_>, left: bool, right: bool) -> R<&'s str> {
    let set: Option<Vec<char>> = match call.get(0, "chars") {
        Some(v) if !v.is_none() => Some(call.string(0, "chars")?.chars().collect()),
        _ => None,
    };
    let drop = |c: char| set.as_ref().map_or(c.is_whitespace(), |set| set.contains(&c));
    let s = if left { s.trim_start_matches(drop) } else { s };
    Ok(if right { s.trim_end_matches(drop) } else { s })
}

/// The part of a text between two character positions, and where it starts in bytes.
fn part<'s>(s: &'s str, call: &Call<'_>) -> R<(usize, &'s str)> {
    let length = s.chars().count() as i128;
    let clamp = |n: i128| (if n < 0 { n + length } else { n }).clamp(0, length) as usize;
    let start = call.number(1, "start")?.map_or(0, clamp);
    let end = call.number(2, "end")?.map_or(length as usize, clamp);
    let byte = |n: usize| s.char_indices().nth(n).map_or(s.len(), |(at, _)| at);
    let (from, to) = (byte(start), byte(end));
    Ok((from, s.get(from..to).unwrap_or("")))
}

fn string(s: &str, call: &Call<'_>) -> R<Value> {
    let found = |backwards: bool| -> R<Option<usize>> {
        let (from, within) = part(s, call)?;
        let wanted = call.string(0, "sub")?;
        let at = if backwards { within.rfind(wanted) } else { within.find(wanted) };
        Ok(at.map(|at| s[..from + at].chars().count()))
    };
    let affixed = |test: fn(&str, &str) -> bool| -> R<Value> {
        let (_, within) = part(s, call)?;
        let wanted = call.value(0, "prefix")?;
        if is_list(wanted) {
            for option in items(wanted)? {
                if option.as_str().is_some_and(|o| test(within, o)) {
                    return Ok(Value::from(true));
                }
            }
            return Ok(Value::from(false));
        }
        Ok(Value::from(test(within, call.string(0, "prefix")?)))
    };
    let every = |test: fn(char) -> bool| Value::from(!s.is_empty() && s.chars().all(test));
    let separator = || -> R<Option<&str>> {
        match call.get(0, "sep") {
            None => Ok(None),
            Some(v) if v.is_none() => Ok(None),
            Some(_) => call.string(0, "sep").map(Some),
        }
    };
    let fill = || -> R<(usize, char)> {
        let width = call.number(0, "width")?.unwrap_or(0).clamp(0, 1_000_000) as usize;
        let fill = match call.get(1, "fillchar") {
            Some(_) => call.string(1, "fillchar")?.chars().next().unwrap_or(' '),
            None => ' ',
        };
        Ok((width, fill))
    };
    let three = |at: Option<usize>, len: usize, backwards: bool| {
        let (a, b, c) = match at {
            Some(at) => (&s[..at], &s[at..at + len], &s[at + len..]),
            None if backwards => ("", "", s),
            None => (s, "", ""),
        };
        Value::from(minijinja::value::Tuple::from(vec![Value::from(a), Value::from(b), Value::from(c)]))
    };
    Ok(match call.name {
        "split" => strings(split(s, separator()?, call.number(1, "maxsplit")?)?),
        "rsplit" => strings(rsplit(s, separator()?, call.number(1, "maxsplit")?)?),
        "splitlines" => {
            let keep = call.get(0, "keepends").map_or(Ok(false), super::values::truth)?;
            strings(splitlines(s, keep))
        }
        "strip" => Value::from(stripped(s, call, true, true)?),
        "lstrip" => Value::from(stripped(s, call, true, false)?),
        "rstrip" => Value::from(stripped(s, call, false, true)?),
        "startswith" => affixed(|s, p| s.starts_with(p))?,
        "endswith" => affixed(|s, p| s.ends_with(p))?,
        "find" => found(false)?.map_or_else(|| Value::from(-1), count),
        "rfind" => found(true)?.map_or_else(|| Value::from(-1), count),
        "index" => found(false)?.map(count).ok_or_else(|| TemplateError::value("substring not found"))?,
        "rindex" => found(true)?.map(count).ok_or_else(|| TemplateError::value("substring not found"))?,
        "count" => {
            let (_, within) = part(s, call)?;
            let wanted = call.string(0, "sub")?;
            count(if wanted.is_empty() { within.chars().count() + 1 } else { within.matches(wanted).count() })
        }
        "replace" => {
            let (old, new) = (call.string(0, "old")?, call.string(1, "new")?);
            Value::from(match call.number(2, "count")?.filter(|c| *c >= 0) {
                Some(limit) => s.replacen(old, new, limit as usize),
                None => s.replace(old, new),
            })
        }
        "lower" | "casefold" => Value::from(s.to_lowercase()),
        "upper" => Value::from(s.to_uppercase()),
        "title" => Value::from(title(s)),
        "capitalize" => Value::from(capitalize(s)),
        "swapcase" => Value::from(
            s.chars()
                .flat_map(|c| {
                    if c.is_uppercase() { c.to_lowercase().collect::<Vec<_>>() } else { c.to_uppercase().collect() }
                })
                .collect::<String>(),
        ),
        "join" => {
            let mut parts = Vec::new();
            for (at, part) in items(call.value(0, "iterable")?)?.iter().enumerate() {
                match part.as_str() {
                    Some(part) => parts.push(part.to_owned()),
                    None => {
                        return Err(TemplateError::of_type(format!(
                            "sequence item {at}: expected str instance, {} found",
                            type_name(part)
                        )));
                    }
                }
            }
            Value::from(parts.join(s))
        }
        "format" | "format_map" => {
            let mut args = call.positional.iter().cloned().map(shown).collect::<R<Vec<_>>>()?;
            let mut named = call.named.clone();
            if call.name == "format_map" {
                named = pairs(call.value(0, "mapping")?)?
                    .into_iter()
                    .map(|(k, v)| Ok((text(&k)?.into(), v)))
                    .collect::<R<_>>()?;
                args.clear();
            }
            if !named.is_empty() {
                let named = named.into_iter().map(|(k, v)| Ok((k.to_string(), shown(v)?))).collect::<R<Vec<_>>>()?;
                args.push(Kwargs::from_iter(named).into());
            }
            format(FormatStyle::StrFormat, s, &args).map(Value::from).map_err(|e| {
                TemplateError::value(format!("the text cannot be formatted: {}", e.detail().unwrap_or("bad format")))
            })?
        }
        "isdigit" | "isnumeric" | "isdecimal" => every(char::is_numeric),
        "isalpha" => every(char::is_alphabetic),
        "isalnum" => every(char::is_alphanumeric),
        "isspace" => every(char::is_whitespace),
        "isascii" => Value::from(s.is_ascii()),
        "islower" => Value::from(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase)),
        "isupper" => Value::from(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase)),
        "istitle" => Value::from(s.chars().any(char::is_alphabetic) && title(s) == s),
        "isidentifier" => Value::from(
            s.chars().next().is_some_and(|c| c == '_' || c.is_alphabetic())
                && s.chars().all(|c| c == '_' || c.is_alphanumeric()),
        ),
        "zfill" => {
            let width = call.number(0, "width")?.unwrap_or(0).clamp(0, 1_000_000) as usize;
            let (sign, digits) = match s.strip_prefix(['-', '+']) {
                Some(digits) => (&s[..1], digits),
                None => ("", s),
            };
            Value::from(format!("{sign}{}", padded(digits, width.saturating_sub(sign.len()), '0', true, false)))
        }
        "ljust" => fill().map(|(w, c)| Value::from(padded(s, w, c, false, true)))?,
        "rjust" => fill().map(|(w, c)| Value::from(padded(s, w, c, true, false)))?,
        "center" => fill().map(|(w, c)| Value::from(padded(s, w, c, true, true)))?,
        "partition" => three(s.find(call.string(0, "sep")?), call.string(0, "sep")?.len(), false),
        "rpartition" => three(s.rfind(call.string(0, "sep")?), call.string(0, "sep")?.len(), true),
        "encode" => Value::from_bytes(s.as_bytes().to_vec()),
        "expandtabs" => {
            let size = call.number(0, "tabsize")?.unwrap_or(8).clamp(0, 100) as usize;
            let mut out = String::new();
            let mut column = 0;
            for c in s.chars() {
                match c {
                    '\t' if size > 0 => {
                        let step = size - column % size;
                        out.extend(std::iter::repeat_n(' ', step));
                        column += step;
                    }
                    '\t' => {}
                    c => {
                        out.push(c);
                        column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                    }
                }
            }
            Value::from(out)
        }
        "removeprefix" => Value::from(s.strip_prefix(call.string(0, "prefix")?).unwrap_or(s)),
        "removesuffix" => Value::from(s.strip_suffix(call.string(0, "suffix")?).unwrap_or(s)),
        _ => return Err(no_method("str", call.name)),
    })
}

fn no_method(kind: &str, name: &str) -> TemplateError {
    TemplateError::of_type(format!("a value of type '{kind}' has no method `{name}`"))
}

/// Sorts by Python's order.
///
/// # Errors
/// Two values that have no order.
pub(super) fn sort_values(values: &mut [Value], reverse: bool) -> R<()> {
    let mut failed = None;
    values.sort_by(|a, b| {
        let order = compare(a, b, "<").unwrap_or_else(|e| {
            failed.get_or_insert(e);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    failed.map_or(Ok(()), Err)
}

fn sequence(of: &Value, call: &Call<'_>) -> R<Value> {
    match call.name {
        "copy" => return Ok(Value::from_object(List::new(items(of)?))),
        "count" => {
            let wanted = call.value(0, "value")?;
            let mut number = 0;
            for item in items(of)? {
                number += usize::from(equal(&item, wanted)?);
            }
            return Ok(count(number));
        }
        "index" => {
            let wanted = call.value(0, "value")?;
            for (at, item) in items(of)?.iter().enumerate() {
                if equal(item, wanted)? {
                    return Ok(count(at));
                }
            }
            return Err(TemplateError::value(format!("{} is not in list", super::values::repr(wanted)?)));
        }
        _ => {}
    }
    let Some(target) = of.downcast_object_ref::<List>() else { return Err(no_method("list", call.name)) };
    // Reads before locking: an argument may be the list itself.
    let extension = if call.name == "extend" { items(call.value(0, "iterable")?)? } else { Vec::new() };
    let at = |length: usize, default: i128| -> R<i128> {
        let n = call.number(0, "index")?.unwrap_or(default);
        Ok(if n < 0 { n + length as i128 } else { n })
    };
    match call.name {
        "append" => {
            let value = call.value(0, "object")?.clone();
            target.lock().push(value);
        }
        "extend" => target.lock().extend(extension),
        "insert" => {
            let value = call.value(1, "object")?.clone();
            let mut all = target.lock();
            let at = at(all.len(), 0)?.clamp(0, all.len() as i128) as usize;
            all.insert(at, value);
        }
        "pop" => {
            let mut all = target.lock();
            let at = at(all.len(), -1)?;
            return match usize::try_from(at).ok().filter(|at| *at < all.len()) {
                Some(at) => Ok(all.remove(at)),
                None => Err(TemplateError::value("pop index out of range")),
            };
        }
        "remove" => {
            let wanted = call.value(0, "value")?;
            let copy = target.lock().clone();
            for (at, item) in copy.iter().enumerate() {
                if equal(item, wanted)? {
                    target.lock().remove(at);
                    return Ok(Value::from(()));
                }
            }
            return Err(TemplateError::value("list.remove(x): x not in list"));
        }
        "clear" => target.lock().clear(),
        "reverse" => target.lock().reverse(),
        "sort" => {
            let reverse = call.named.iter().find(|(n, _)| &**n == "reverse").map_or(Ok(false), |(_, v)| super::values::truth(v))?;
            let mut copy = target.lock().clone();
            sort_values(&mut copy, reverse)?;
            *target.lock() = copy;
        }
        _ => return Err(no_method("list", call.name)),
    }
    Ok(Value::from(()))
}

fn mapping(of: &Value, call: &Call<'_>) -> R<Value> {
    let nothing = || Value::from(());
    match call.name {
        "items" | "iteritems" => {
            return Ok(list(pairs(of)?.into_iter().map(|(k, v)| pair(k, v)).collect()));
        }
        "keys" | "iterkeys" => return Ok(list(items(of)?)),
        "values" | "itervalues" => return Ok(list(pairs(of)?.into_iter().map(|(_, v)| v).collect())),
        "get" => {
            let found = item(of, call.value(0, "key")?)?;
            return Ok(found.unwrap_or_else(|| call.get(1, "default").cloned().unwrap_or_else(nothing)));
        }
        "has_key" => return Ok(Value::from(item(of, call.value(0, "key")?)?.is_some())),
        "copy" => return Ok(Value::from_object(Dict::new(pairs(of)?.into_iter().collect()))),
        _ => {}
    }
    let Some(target) = of.downcast_object_ref::<Dict>() else { return Err(no_method("dict", call.name)) };
    match call.name {
        "update" => {
            let mut new = Map::new();
            if let Some(from) = call.positional.first() {
                if is_map(from) {
                    new.extend(pairs(from)?);
                } else {
                    for entry in items(from)? {
                        match &items(&entry)?[..] {
                            [key, value] => {
                                new.insert(key.clone(), value.clone());
                            }
                            _ => return Err(TemplateError::value("`.update()` needs pairs of key and value")),
                        }
                    }
                }
            }
            for (name, value) in &call.named {
                new.insert(Value::from(&**name), value.clone());
            }
            target.lock().extend(new);
            Ok(nothing())
        }
        "setdefault" => {
            let key = call.value(0, "key")?.clone();
            let default = call.get(1, "default").cloned().unwrap_or_else(nothing);
            Ok(target.lock().entry(key).or_insert(default).clone())
        }
        "pop" => {
            let key = call.value(0, "key")?;
            let removed = target.lock().shift_remove(key);
            match (removed, call.get(1, "default")) {
                (Some(value), _) => Ok(value),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) => Err(TemplateError::value(format!("the mapping has no key {}", super::values::repr(key)?))),
            }
        }
        "popitem" => {
            let removed = target.lock().pop();
            removed.map(|(k, v)| pair(k, v)).ok_or_else(|| TemplateError::value("the mapping is empty"))
        }
        "clear" => {
            target.lock().clear();
            Ok(nothing())
        }
        _ => Err(no_method("dict", call.name)),
    }
}

/// A mapping of one entry.
pub(super) fn single(key: &str, value: Value) -> Value {
    map(Map::from([(Value::from(key), value)]))
}
