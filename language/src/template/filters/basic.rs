//! Filters about single values: defaults, types, numbers' forms.

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::template::error::{R, TemplateError};
use crate::template::eval::{Cx, count};
use crate::template::marks::{is_missing, is_unknown, why_missing};
use crate::template::registry::{Args, Row};
use crate::template::values::{
    as_float, as_int, defined, int, is_list, is_map, items, length, plain, repr, text, truth, type_name,
};

pub(super) const TABLE: &[Row] = &[
    Row("default d", "value default_value boolean", default),
    Row("mandatory", "a msg", mandatory),
    Row("length count", "obj", len),
    Row("bool", "value", bool_),
    Row("int", "value default base", to_int),
    Row("float", "value default", to_float),
    Row("string", "value", string),
    Row("list", "value", to_list),
    Row("ternary", "value true_val false_val none_val", ternary),
    Row("type_debug", "obj", type_debug),
    Row("pprint", "value", pprint),
    Row("safe forceescape", "value", safe),
    Row("first", "seq", first),
    Row("last", "seq", last),
    Row("vault unvault", "data secret", no_vault),
];

fn default(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let instead = || a.get(1).cloned().unwrap_or_else(|| Value::from(""));
    if is_missing(value) {
        return Ok(instead());
    }
    if is_unknown(value) {
        return Ok(value.clone());
    }
    if a.flag(2, false)? && !truth(value)? {
        return Ok(instead());
    }
    Ok(value.clone())
}

fn mandatory(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    match why_missing(value) {
        None => Ok(value.clone()),
        Some(error) => Err(match a.optional_text(1)? {
            Some(message) => TemplateError::new(error.kind.clone(), message),
            None => {
                let message = format!("a mandatory value is missing: {}", error.message);
                TemplateError::new(error.kind.clone(), message)
            }
        }),
    }
}

fn len(_: &mut Cx, a: &Args) -> R<Value> {
    length(a.value()?).map(count)
}

/// The truth of a value by Ansible's `bool` filter.
pub(in crate::template) fn boolean(value: &Value) -> Option<bool> {
    match value.kind() {
        ValueKind::Bool => Some(value.is_true()),
        ValueKind::Number => as_float(value).and_then(|n| {
            if n == 1.0 {
                Some(true)
            } else if n == 0.0 {
                Some(false)
            } else {
                None
            }
        }),
        ValueKind::String => match value.as_str()?.to_lowercase().trim() {
            "yes" | "on" | "1" | "true" | "t" | "y" => Some(true),
            "no" | "off" | "0" | "false" | "f" | "n" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn bool_(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    // Whatever is no boolean counts as false.
    match value.kind() {
        ValueKind::String => Ok(Value::from(matches!(
            value.as_str().unwrap_or_default().to_lowercase().as_str(),
            "yes" | "on" | "1" | "true"
        ))),
        _ => Ok(Value::from(boolean(value).unwrap_or(false))),
    }
}

fn to_int(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let default = a.get(1).cloned().unwrap_or_else(|| Value::from(0));
    if let Some(number) = as_int(value) {
        return Ok(int(number));
    }
    if let Some(number) = as_float(value) {
        return Ok(if number.is_finite() { int(number.trunc() as i128) } else { default });
    }
    let Some(s) = value.as_str() else { return Ok(default) };
    let base = u32::try_from(a.int_or(2, 10)?).ok().filter(|b| (2..=36).contains(b) || *b == 0);
    let Some(base) = base else { return Err(a.refuse("the base has to be 0 or 2 to 36")) };
    let cleaned = s.trim().replace('_', "").to_lowercase();
    let (negative, digits) = match cleaned.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, cleaned.strip_prefix('+').unwrap_or(&cleaned)),
    };
    let (base, digits) = match (base, digits.get(..2)) {
        (16 | 0, Some("0x")) => (16, &digits[2..]),
        (8 | 0, Some("0o")) => (8, &digits[2..]),
        (2 | 0, Some("0b")) => (2, &digits[2..]),
        (0, _) => (10, digits),
        (base, _) => (base, digits),
    };
    if let Ok(number) = i128::from_str_radix(digits, base) {
        return Ok(int(if negative { -number } else { number }));
    }
    // `"1.9" | int` is 1.
    match cleaned.parse::<f64>() {
        Ok(number) if number.is_finite() && a.get(2).is_none() => Ok(int(number.trunc() as i128)),
        _ => Ok(default),
    }
}

fn to_float(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let parsed =
        as_float(value).or_else(|| value.as_str().and_then(|s| s.trim().replace('_', "").parse().ok()));
    Ok(match parsed {
        Some(number) => Value::from(number),
        None => a.get(1).cloned().unwrap_or_else(|| Value::from(0.0)),
    })
}

fn string(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(a.text()?))
}

fn to_list(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    if is_unknown(value) {
        return Ok(value.clone());
    }
    items(value).map(Value::from)
}

fn ternary(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    if value.is_none()
        && let Some(none) = a.some(3)
    {
        return Ok(none.clone());
    }
    let yes = match value.as_str() {
        Some(s) => !s.is_empty(),
        None => truth(value)?,
    };
    a.required(if yes { 1 } else { 2 }).cloned()
}

fn type_debug(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(type_name(a.value()?)))
}

fn pprint(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(pretty(&plain(a.value()?.clone())?, 0, 80)?))
}

/// Python's `pprint.pformat` of plain data: one line if it fits, else one entry a line, keys sorted.
fn pretty(value: &Value, indent: usize, width: usize) -> R<String> {
    let flat = sorted_repr(value)?;
    if indent + flat.len() <= width || !(is_list(value) || is_map(value)) {
        return Ok(flat);
    }
    let pad = " ".repeat(indent + 1);
    let mut parts = Vec::new();
    if is_map(value) {
        for (key, item) in sorted_pairs(value)? {
            let key = repr(&key)?;
            let item = pretty(&item, indent + key.chars().count() + 3, width)?;
            parts.push(format!("{key}: {item}"));
        }
        return Ok(format!("{{{}}}", parts.join(&format!(",\n{pad}"))));
    }
    for item in items(value)? {
        parts.push(pretty(&item, indent + 1, width)?);
    }
    Ok(format!("[{}]", parts.join(&format!(",\n{pad}"))))
}

fn sorted_pairs(value: &Value) -> R<Vec<(Value, Value)>> {
    let mut all = crate::template::values::pairs(value)?;
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

fn sorted_repr(value: &Value) -> R<String> {
    if is_map(value) {
        let mut parts = Vec::new();
        for (key, item) in sorted_pairs(value)? {
            parts.push(format!("{}: {}", repr(&key)?, sorted_repr(&item)?));
        }
        return Ok(format!("{{{}}}", parts.join(", ")));
    }
    if is_list(value) {
        let parts = items(value)?.iter().map(sorted_repr).collect::<R<Vec<_>>>()?;
        return Ok(format!("[{}]", parts.join(", ")));
    }
    repr(value)
}

fn safe(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(a.value()?.clone())
}

fn ends(a: &Args, at: fn(&[Value]) -> Option<&Value>, which: &str) -> R<Value> {
    let value = a.value()?;
    if is_unknown(value) {
        return Ok(value.clone());
    }
    let all = items(&defined(value.clone())?)?;
    Ok(match at(&all) {
        Some(found) => found.clone(),
        None => crate::template::marks::missing(TemplateError::undefined(
            "",
            format!("`{which}`: the sequence is empty, so it has no {which} item"),
        )),
    })
}

fn first(_: &mut Cx, a: &Args) -> R<Value> {
    ends(a, <[Value]>::first, "first")
}

fn last(_: &mut Cx, a: &Args) -> R<Value> {
    ends(a, <[Value]>::last, "last")
}

fn no_vault(_: &mut Cx, a: &Args) -> R<Value> {
    let _ = text(a.value()?)?;
    Err(a.refuse("sealing and opening vault text inside templates is not supported; use `!vault` values"))
}
