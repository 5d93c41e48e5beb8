//! Global functions of templates.
//!
//! Owns: their table. Must not: do what lookups do.

use std::sync::atomic::AtomicUsize;

use minijinja::Value;

use super::containers::{Dict, Map};
use super::error::{R, TemplateError};
use super::eval::Cx;
use super::marks::missing;
use super::objects::{Cycler, Joiner, namespace};
use super::registry::{Args, Row};
use super::values::{int, items, list, pairs};
use super::{filters, lookups};

pub(super) const TABLE: &[Row] = &[
    Row("lookup", "name *terms **options", lookup),
    Row("query q", "name *terms **options", query),
    Row("range", "start stop step", range),
    Row("dict", "from **entries", dict),
    Row("namespace", "from **entries", new_namespace),
    Row("now", "utc fmt", now),
    Row("undef", "hint", undef),
    Row("cycler", "*items", cycler),
    Row("joiner", "sep", joiner),
    Row("lipsum", "n html min max", lipsum),
];

pub(super) const LENIENT: &[&str] = &["namespace", "dict"];

fn lookup(cx: &mut Cx, a: &Args) -> R<Value> {
    lookups::call(cx, a, false)
}

fn query(cx: &mut Cx, a: &Args) -> R<Value> {
    lookups::call(cx, a, true)
}

fn range(_: &mut Cx, a: &Args) -> R<Value> {
    let (start, stop) = match a.get(1) {
        Some(_) => (a.int_at(0)?, a.int_at(1)?),
        None => (0, a.int_at(0)?),
    };
    let step = a.int_or(2, 1)?;
    if step == 0 {
        return Err(TemplateError::arguments("`range` cannot step by zero"));
    }
    if ((stop - start) / step).unsigned_abs() > 1_000_000 {
        return Err(TemplateError::arguments("`range` of more than a million numbers"));
    }
    let mut out = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        out.push(int(at));
        at += step;
    }
    Ok(list(out))
}

fn entries(a: &Args) -> R<Map> {
    let mut out = Map::new();
    if let Some(from) = a.some(0) {
        if super::values::is_map(from) {
            out.extend(pairs(from)?);
        } else {
            for entry in items(from)? {
                match &items(&entry)?[..] {
                    [key, value] => {
                        out.insert(key.clone(), value.clone());
                    }
                    _ => return Err(a.refuse("every entry has to be a pair of key and value")),
                }
            }
        }
    }
    for (name, value) in &a.named {
        out.insert(Value::from(&**name), value.clone());
    }
    Ok(out)
}

fn dict(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from_object(Dict::new(entries(a)?)))
}

fn new_namespace(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(namespace(entries(a)?))
}

fn now(_: &mut Cx, a: &Args) -> R<Value> {
    let now = jiff::Zoned::now();
    let now = if a.flag(0, false)? { now.with_time_zone(jiff::tz::TimeZone::UTC) } else { now };
    let civil = now.datetime();
    match a.optional_text(1)? {
        Some(format) => filters::format_time(&now, &format).map(Value::from),
        None => Ok(filters::datetime_value(civil)),
    }
}

fn undef(_: &mut Cx, a: &Args) -> R<Value> {
    let hint = a.text_or(0, "a mandatory variable has not been overridden")?;
    Ok(missing(TemplateError::undefined("", hint)))
}

fn cycler(_: &mut Cx, a: &Args) -> R<Value> {
    if a.rest.is_empty() {
        return Err(TemplateError::arguments("`cycler` needs at least one item"));
    }
    Ok(Value::from_object(Cycler { all: a.rest.clone(), at: AtomicUsize::new(0) }))
}

fn joiner(_: &mut Cx, a: &Args) -> R<Value> {
    let separator = a.get(0).cloned().unwrap_or_else(|| Value::from(", "));
    Ok(Value::from_object(Joiner { separator, used: AtomicUsize::new(0) }))
}

/// Filler text; always the same, so that a second run changes nothing.
fn lipsum(_: &mut Cx, a: &Args) -> R<Value> {
    const SENTENCE: &str =
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt.";
    let paragraphs = usize::try_from(a.int_or(0, 5)?.clamp(0, 1000)).unwrap_or(0);
    let html = a.flag(1, true)?;
    let paragraph = [SENTENCE; 3].join(" ");
    let all: Vec<String> = (0..paragraphs)
        .map(|_| if html { format!("<p>{paragraph}</p>") } else { paragraph.clone() })
        .collect();
    Ok(Value::from(all.join(if html { "\n" } else { "\n\n" })))
}
