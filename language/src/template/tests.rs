//! Tests: what stands after `is`.
//!
//! Owns: their table. Must not: hold unit tests (those are in `table_tests`).

use std::path::Path;

use minijinja::Value;
use minijinja::value::ValueKind;

use super::error::R;
use super::eval::Cx;
use super::filters::{self, boolean, compile_regex};
use super::marks::{is_missing, is_unknown, why_missing};
use super::registry::{self, Args, Row};
use super::values::{
    as_float, as_int, compare, contains, equal, is_list, is_map, item, items, length, text, truth,
};

pub(super) const TABLE: &[Row] = &[
    Row("defined", "value", |_, a| Ok(Value::from(!is_missing(a.value()?)))),
    Row("undefined", "value", |_, a| Ok(Value::from(is_missing(a.value()?)))),
    Row("none", "value", |_, a| yes(a.value()?.is_none())),
    Row("string", "value", |_, a| yes(a.value()?.kind() == ValueKind::String)),
    Row("number", "value", |_, a| yes(matches!(a.value()?.kind(), ValueKind::Number | ValueKind::Bool))),
    Row("integer", "value", |_, a| yes(a.value()?.is_integer())),
    Row("float", "value", |_, a| yes(a.value()?.is_number() && !a.value()?.is_integer())),
    Row("boolean", "value", |_, a| yes(a.value()?.kind() == ValueKind::Bool)),
    Row("true", "value", |_, a| yes(a.value()?.kind() == ValueKind::Bool && a.value()?.is_true())),
    Row("false", "value", |_, a| yes(a.value()?.kind() == ValueKind::Bool && !a.value()?.is_true())),
    Row("mapping dict", "value", |_, a| yes(is_map(a.value()?))),
    Row("list", "value", |_, a| yes(is_list(a.value()?))),
    Row("sequence", "value", |_, a| {
        yes(is_list(a.value()?) || is_map(a.value()?) || a.value()?.kind() == ValueKind::String)
    }),
    Row("iterable", "value", |_, a| {
        yes(is_list(a.value()?) || is_map(a.value()?) || a.value()?.kind() == ValueKind::String)
    }),
    Row("callable", "value", |_, a| yes(a.value()?.kind() == ValueKind::Plain)),
    Row("sameas", "value other", sameas),
    Row("in", "value seq", |_, a| contains(a.required(1)?, a.value()?).map(Value::from)),
    Row("contains", "seq value", |_, a| contains(a.value()?, a.required(1)?).map(Value::from)),
    Row("eq equalto ==", "a b", |_, a| equal(a.value()?, a.required(1)?).map(Value::from)),
    Row("ne !=", "a b", |_, a| equal(a.value()?, a.required(1)?).map(|e| Value::from(!e))),
    Row("lt lessthan <", "a b", |_, a| yes(compare(a.value()?, a.required(1)?, "<")?.is_lt())),
    Row("le <=", "a b", |_, a| yes(compare(a.value()?, a.required(1)?, "<=")?.is_le())),
    Row("gt greaterthan >", "a b", |_, a| yes(compare(a.value()?, a.required(1)?, ">")?.is_gt())),
    Row("ge >=", "a b", |_, a| yes(compare(a.value()?, a.required(1)?, ">=")?.is_ge())),
    Row("odd", "value", |_, a| yes(a.int_at(0)? % 2 != 0)),
    Row("even", "value", |_, a| yes(a.int_at(0)? % 2 == 0)),
    Row("divisibleby", "value num", divisible),
    Row("lower", "value", |_, a| yes(cased(&a.text()?, char::is_lowercase, char::is_uppercase))),
    Row("upper", "value", |_, a| yes(cased(&a.text()?, char::is_uppercase, char::is_lowercase))),
    Row("escaped", "value", |_, _| yes(false)),
    Row("filter", "value", |_, a| yes(registry::filter(&a.text()?).is_some())),
    Row("test", "value", |_, a| yes(registry::test(&a.text()?).is_some())),
    Row("truthy", "value convert_bool", truthy),
    Row("falsy", "value convert_bool", |cx, a| truthy(cx, a).map(|v| Value::from(!v.is_true()))),
    Row("match", "value pattern ignorecase multiline", |_, a| matches(a, How::Start)),
    Row("search", "value pattern ignorecase multiline", |_, a| matches(a, How::Anywhere)),
    Row("regex", "value pattern ignorecase multiline match_type", regex),
    Row("version version_compare", "value version operator strict version_type", version),
    Row("subset issubset", "a b", |_, a| subset(a.value()?, a.required(1)?).map(Value::from)),
    Row("superset issuperset", "a b", |_, a| subset(a.required(1)?, a.value()?).map(Value::from)),
    Row("any", "value", any),
    Row("all", "value", all),
    Row("nan isnan", "value", |_, a| yes(as_float(a.value()?).is_some_and(f64::is_nan))),
    Row("failed failure", "result", |_, a| flag(a, "failed")),
    Row("succeeded success successful", "result", |_, a| {
        flag(a, "failed").map(|v| Value::from(!v.is_true()))
    }),
    Row("changed change", "result", changed),
    Row("skipped skip", "result", |_, a| flag(a, "skipped")),
    Row("reachable", "result", |_, a| flag(a, "unreachable").map(|v| Value::from(!v.is_true()))),
    Row("unreachable", "result", |_, a| flag(a, "unreachable")),
    Row("timedout", "result", timedout),
    Row("started", "result", |_, a| flag(a, "started")),
    Row("finished", "result", |_, a| flag(a, "finished")),
    Row("exists", "path", |cx, a| on_path(cx, a, |p| p.exists())),
    Row("directory is_dir", "path", |cx, a| on_path(cx, a, Path::is_dir)),
    Row("file is_file", "path", |cx, a| on_path(cx, a, Path::is_file)),
    Row("link is_link", "path", |cx, a| on_path(cx, a, Path::is_symlink)),
    Row("vaulted_file", "path", |cx, a| {
        on_path(cx, a, |p| fs_err::read(p).is_ok_and(|bytes| bytes.starts_with(b"$ANSIBLE_VAULT;")))
    }),
    Row("link_exists", "path", |cx, a| on_path(cx, a, |p| p.symlink_metadata().is_ok())),
    Row("abs is_abs", "path", |_, a| yes(a.text()?.starts_with('/'))),
    Row("same_file is_same_file", "path other", same_file),
    Row("mount is_mount", "path", mount),
    Row("uri", "value schemes", |_, a| uri(a, &["://"])),
    Row("url", "value schemes", |_, a| {
        uri(a, &["http://", "https://", "ftp://", "ftps://", "ssh://", "git://"])
    }),
    Row("urn", "value", |_, a| yes(a.text()?.to_lowercase().starts_with("urn:"))),
    Row("vault_encrypted", "value", |_, a| yes(a.text()?.starts_with("$ANSIBLE_VAULT;"))),
    Row("ip ip_address", "value", |_, a| net(a, |v4, v6| v4 || v6)),
    Row("ipv4 ipv4_address", "value", |_, a| net(a, |v4, _| v4)),
    Row("ipv6 ipv6_address", "value", |_, a| net(a, |_, v6| v6)),
];

pub(super) const LENIENT: &[&str] = &["defined", "undefined"];

fn yes(value: bool) -> R<Value> {
    Ok(Value::from(value))
}

fn sameas(_: &mut Cx, a: &Args) -> R<Value> {
    let (x, y) = (a.value()?, a.required(1)?);
    // Python compares identity; for data the nearest sense of it is the same type and value.
    yes(x.kind() == y.kind() && x.is_integer() == y.is_integer() && equal(x, y)?)
}

fn divisible(_: &mut Cx, a: &Args) -> R<Value> {
    let by = a.int_at(1)?;
    if by == 0 {
        return Err(a.refuse("nothing is divisible by zero"));
    }
    yes(a.int_at(0)? % by == 0)
}

fn cased(s: &str, wanted: fn(char) -> bool, unwanted: fn(char) -> bool) -> bool {
    s.chars().any(wanted) && !s.chars().any(unwanted)
}

fn truthy(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    if a.flag(1, false)?
        && let Some(known) = boolean(value)
    {
        return yes(known);
    }
    truth(value).map(Value::from)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Start,
    Full,
    Anywhere,
}

fn matches(a: &Args, how: How) -> R<Value> {
    let (s, pattern) = (a.text()?, a.text_or(1, "")?);
    let pattern = match how {
        How::Start => format!("\\A(?:{pattern})"),
        How::Full => format!("\\A(?:{pattern})\\z"),
        How::Anywhere => pattern,
    };
    let flags = filters::RegexFlags { ignore_case: a.flag(2, false)?, multiline: a.flag(3, false)? };
    let regex = compile_regex(&pattern, flags, &s)?;
    regex.is_match(&s).map(Value::from).map_err(|e| a.refuse(e))
}

fn regex(_: &mut Cx, a: &Args) -> R<Value> {
    match a.text_or(4, "search")?.as_str() {
        "match" => matches(a, How::Start),
        "fullmatch" => matches(a, How::Full),
        _ => matches(a, How::Anywhere),
    }
}

/// One part of a loose version: numbers come before text in no case, they just do not compare in Python.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Part {
    Text(String),
    Number(u128),
}

fn loose(version: &str) -> Vec<Part> {
    let mut out = Vec::new();
    let mut current = String::new();
    let mut digits = false;
    let flush = |current: &mut String, digits: bool, out: &mut Vec<Part>| {
        if !current.is_empty() {
            out.push(match current.parse() {
                Ok(number) if digits => Part::Number(number),
                _ => Part::Text(current.clone()),
            });
            current.clear();
        }
    };
    for c in version.chars() {
        if c == '.' {
            flush(&mut current, digits, &mut out);
        } else {
            if !current.is_empty() && c.is_ascii_digit() != digits {
                flush(&mut current, digits, &mut out);
            }
            digits = c.is_ascii_digit();
            current.push(c);
        }
    }
    flush(&mut current, digits, &mut out);
    out
}

/// Order of semantic versions: a pre-release comes before its release.
fn semantic(version: &str) -> Option<(Vec<u128>, bool, Vec<Part>)> {
    let version = version.trim_start_matches('v');
    let version = version.split('+').next().unwrap_or(version);
    let (core, pre) = version.split_once('-').map_or((version, None), |(c, p)| (c, Some(p)));
    let numbers = core.split('.').map(|n| n.parse().ok()).collect::<Option<Vec<u128>>>()?;
    let parts = pre.map_or_else(Vec::new, |pre| {
        pre.split('.').map(|p| p.parse().map_or_else(|_| Part::Text(p.to_owned()), Part::Number)).collect()
    });
    Some((numbers, pre.is_none(), parts))
}

/// Python packaging's order: epoch aside, `dev < a < b < rc < release < post`.
fn pep440(version: &str) -> (Vec<u128>, i32, u128) {
    let version = version.trim().trim_start_matches('v').to_lowercase();
    let end = version.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(version.len());
    let mut numbers: Vec<u128> =
        version[..end].trim_end_matches('.').split('.').map(|n| n.parse().unwrap_or(0)).collect();
    while numbers.len() > 1 && numbers.last() == Some(&0) {
        numbers.pop();
    }
    let tail = version[end..].trim_start_matches(['.', '-', '_']);
    let number = |s: &str| s.trim_start_matches(['.', '-', '_']).parse().unwrap_or(0);
    for (prefix, rank) in
        [("dev", -4), ("alpha", -3), ("a", -3), ("beta", -2), ("b", -2), ("rc", -1), ("c", -1), ("post", 1)]
    {
        if let Some(rest) = tail.strip_prefix(prefix) {
            return (numbers, rank, number(rest));
        }
    }
    (numbers, 0, 0)
}

fn version(_: &mut Cx, a: &Args) -> R<Value> {
    let (x, y) = (a.text()?, a.text_at(1)?);
    let operator = a.text_or(2, "eq")?;
    let kind = a.text_or(4, if a.flag(3, false)? { "strict" } else { "loose" })?;
    if x.is_empty() || y.is_empty() {
        return Err(a.refuse("a version is empty"));
    }
    let order = match kind.as_str() {
        "loose" => {
            let (p, q) = (loose(&x), loose(&y));
            for (p, q) in p.iter().zip(&q) {
                if std::mem::discriminant(p) != std::mem::discriminant(q) {
                    return Err(a.refuse(format!(
                        "`{x}` and `{y}` do not compare: a number stands where the other has letters"
                    )));
                }
                if p != q {
                    break;
                }
            }
            p.cmp(&q)
        }
        "strict" | "semver" | "semantic" => match (semantic(&x), semantic(&y)) {
            (Some(p), Some(q)) => p.cmp(&q),
            _ => return Err(a.refuse(format!("`{x}` or `{y}` is no {kind} version"))),
        },
        "pep440" => pep440(&x).cmp(&pep440(&y)),
        other => return Err(a.refuse(format!("there is no version type `{other}`"))),
    };
    yes(match operator.as_str() {
        "==" | "=" | "eq" => order.is_eq(),
        "<" | "lt" => order.is_lt(),
        "<=" | "le" => order.is_le(),
        ">" | "gt" => order.is_gt(),
        ">=" | "ge" => order.is_ge(),
        "!=" | "<>" | "ne" => order.is_ne(),
        other => return Err(a.refuse(format!("`{other}` does not compare versions"))),
    })
}

fn subset(a: &Value, b: &Value) -> R<bool> {
    for value in items(a)? {
        if !contains(b, &value)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any(_: &mut Cx, a: &Args) -> R<Value> {
    for value in items(a.value()?)? {
        if truth(&value)? {
            return yes(true);
        }
    }
    yes(false)
}

fn all(_: &mut Cx, a: &Args) -> R<Value> {
    for value in items(a.value()?)? {
        if !truth(&value)? {
            return yes(false);
        }
    }
    yes(true)
}

fn field(result: &Value, name: &str) -> R<Option<Value>> {
    item(result, &Value::from(name))
}

fn result(a: &Args) -> R<&Value> {
    let value = a.value()?;
    if is_map(value) { Ok(value) } else { Err(a.wrong(0, "the result of a task (a dictionary)", value)) }
}

fn flag(a: &Args, name: &str) -> R<Value> {
    match field(result(a)?, name)? {
        Some(value) if is_unknown(&value) => Ok(value),
        Some(value) => match why_missing(&value) {
            Some(error) => Err(error),
            None => truth(&value).map(Value::from),
        },
        None => yes(false),
    }
}

fn changed(_: &mut Cx, a: &Args) -> R<Value> {
    let result = result(a)?;
    if let Some(changed) = field(result, "changed")? {
        return if is_unknown(&changed) { Ok(changed) } else { truth(&changed).map(Value::from) };
    }
    if let Some(results) = field(result, "results")?
        && is_list(&results)
    {
        for one in items(&results)? {
            if is_map(&one)
                && let Some(changed) = field(&one, "changed")?
                && truth(&changed)?
            {
                return yes(true);
            }
        }
    }
    yes(false)
}

fn timedout(_: &mut Cx, a: &Args) -> R<Value> {
    match field(result(a)?, "timedout")? {
        Some(value) if is_map(&value) => yes(length(&value)? > 0),
        Some(value) => truth(&value).map(Value::from),
        None => yes(false),
    }
}

fn on_path(cx: &Cx, a: &Args, test: fn(&Path) -> bool) -> R<Value> {
    yes(test(&cx.engine.options.current_folder.join(a.text()?)))
}

fn same_file(cx: &mut Cx, a: &Args) -> R<Value> {
    let folder = &cx.engine.options.current_folder;
    let real = |p: String| folder.join(p).canonicalize().ok();
    let (x, y) = (real(a.text()?), real(a.text_at(1)?));
    yes(x.is_some() && x == y)
}

fn mount(cx: &mut Cx, a: &Args) -> R<Value> {
    use std::os::unix::fs::MetadataExt as _;
    let path = cx.engine.options.current_folder.join(a.text()?);
    let device = |p: &Path| p.symlink_metadata().ok().map(|m| (m.dev(), m.ino()));
    let (own, parent) = (device(&path), device(&path.join("..")));
    yes(match (own, parent) {
        (Some((dev, ino)), Some((parent_dev, parent_ino))) => dev != parent_dev || ino == parent_ino,
        _ => false,
    })
}

fn uri(a: &Args, schemes: &[&str]) -> R<Value> {
    let s = a.text()?.to_lowercase();
    if let Some(wanted) = a.some(1) {
        for scheme in items(wanted)? {
            if s.starts_with(&format!("{}:", text(&scheme)?)) {
                return yes(true);
            }
        }
        return yes(false);
    }
    yes(schemes.iter().any(|scheme| s.contains(scheme)))
}

fn net(a: &Args, test: fn(bool, bool) -> bool) -> R<Value> {
    let value = a.value()?;
    if as_int(value).is_some() {
        return yes(false);
    }
    let s = text(value)?;
    let address = s.split('/').next().unwrap_or(&s);
    yes(test(address.parse::<std::net::Ipv4Addr>().is_ok(), address.parse::<std::net::Ipv6Addr>().is_ok()))
}
