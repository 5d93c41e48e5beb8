//! Methods of strings.

use std::sync::Arc;

use minijinja::Value;
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::Kwargs;

use super::{Call, no_method};
use crate::template::error::{R, TemplateError};
use crate::template::eval::count;
use crate::template::operators::shown;
use crate::template::values::{is_list, items, list, pairs, repr, text, truth, type_name};

fn strings(all: impl IntoIterator<Item = impl Into<String>>) -> Value {
    list(all.into_iter().map(|s| Value::from(s.into())).collect())
}

/// Python's `str.split` with and without a separator.
pub(in crate::template) fn split(s: &str, separator: Option<&str>, limit: Option<i128>) -> R<Vec<String>> {
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
pub(in crate::template) fn splitlines(s: &str, keep: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = s.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
        {
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
pub(in crate::template) fn title(s: &str) -> String {
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
pub(in crate::template) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect())
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

pub(super) fn string(s: &str, call: &Call<'_>) -> R<Value> {
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
            let keep = call.get(0, "keepends").map_or(Ok(false), truth)?;
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
                    if c.is_uppercase() {
                        c.to_lowercase().collect::<Vec<_>>()
                    } else {
                        c.to_uppercase().collect()
                    }
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
        "format" => braces(s, call.positional.clone(), call.named.clone())?,
        "format_map" => {
            let named = pairs(call.value(0, "mapping")?)?
                .into_iter()
                .map(|(k, v)| Ok((text(&k)?.into(), v)))
                .collect::<R<_>>()?;
            braces(s, Vec::new(), named)?
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
            Value::from(format!(
                "{sign}{}",
                padded(digits, width.saturating_sub(sign.len()), '0', true, false)
            ))
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

/// Python's `str.format`.
fn braces(template: &str, positional: Vec<Value>, mut named: Vec<(Arc<str>, Value)>) -> R<Value> {
    let template = with_conversions(template, &positional, &mut named)?;
    let mut args = positional.into_iter().map(shown).collect::<R<Vec<_>>>()?;
    if !named.is_empty() {
        let named = named.into_iter().map(|(k, v)| Ok((k.to_string(), shown(v)?))).collect::<R<Vec<_>>>()?;
        args.push(Kwargs::from_iter(named).into());
    }
    format(FormatStyle::StrFormat, &template, &args).map(Value::from).map_err(|e| {
        TemplateError::value(format!("the text cannot be formatted: {}", e.detail().unwrap_or("bad format")))
    })
}

/// Replaces fields with `!r` or `!s`, which the formatter underneath does not know, by fields of converted values.
fn with_conversions(template: &str, positional: &[Value], named: &mut Vec<(Arc<str>, Value)>) -> R<String> {
    if !["!r", "!s", "!a"].iter().any(|c| template.contains(c)) {
        return Ok(template.to_owned());
    }
    let mut out = String::new();
    let mut rest = template;
    let mut automatic = 0;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{") {
            out.push_str("{{");
            rest = after;
            continue;
        }
        let Some(end) = rest.find('}') else { break };
        let field = &rest[1..end];
        rest = &rest[end + 1..];
        let (head, spec) = field.split_once(':').map_or((field, ""), |(h, s)| (h, s));
        let (name, conversion) = head.split_once('!').map_or((head, None), |(n, c)| (n, Some(c)));
        // Numbers are written out, as converted fields no longer take part in counting.
        let name = if name.is_empty() {
            automatic += 1;
            (automatic - 1).to_string()
        } else {
            name.to_owned()
        };
        let spec = if spec.is_empty() { String::new() } else { format!(":{spec}") };
        let Some(conversion) = conversion else {
            out.push_str(&format!("{{{name}{spec}}}"));
            continue;
        };
        let value = match name.parse::<usize>() {
            Ok(at) => positional.get(at).cloned(),
            Err(_) => named.iter().find(|(n, _)| **n == *name).map(|(_, v)| v.clone()),
        };
        let Some(value) = value else {
            return Err(TemplateError::value(format!(
                "the text cannot be formatted: there is no value `{name}`"
            )));
        };
        let made = if conversion == "s" { text(&value)? } else { repr(&value)? };
        let key = format!("converted_{}", named.len());
        out.push_str(&format!("{{{key}{spec}}}"));
        named.push((key.into(), Value::from(made)));
    }
    out.push_str(rest);
    Ok(out)
}
