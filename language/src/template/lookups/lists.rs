//! Lookups that arrange the lists they are given.

use minijinja::Value;

use super::Call;
use crate::template::containers::Map;
use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::filters::{Dice, cartesian, percent_format, subelement_pairs};
use crate::template::values::{int, is_list, is_map, items, list, map, pairs, text};

/// True for lookups to which a list is one term.
pub(super) fn takes_lists(name: &str) -> bool {
    matches!(
        name,
        "items"
            | "list"
            | "flattened"
            | "indexed_items"
            | "together"
            | "nested"
            | "cartesian"
            | "subelements"
            | "random_choice"
            | "dict"
    )
}

/// `with_items`: one level of lists is flattened.
pub(super) fn items_(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        if is_list(term) {
            out.extend(items(term)?);
        } else {
            out.push(term.clone());
        }
    }
    Ok(out)
}

pub(super) fn list_(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    Ok(call.terms.clone())
}

/// All levels of lists are flattened.
pub(super) fn flattened(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    fn add(value: &Value, out: &mut Vec<Value>) -> R<()> {
        if is_list(value) {
            for item in items(value)? {
                add(&item, out)?;
            }
        } else if !value.is_none() && !matches!(value.as_str(), Some("None" | "null")) {
            out.push(value.clone());
        }
        Ok(())
    }
    let mut out = Vec::new();
    for term in &call.terms {
        add(term, &mut out)?;
    }
    Ok(out)
}

pub(super) fn indexed_items(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    Ok(items_(cx, call)?.into_iter().enumerate().map(|(at, v)| list(vec![int(at as i128), v])).collect())
}

pub(super) fn dict(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        if !is_map(term) {
            return Err(call.fail(format!(
                "a dictionary is needed, got a value of type '{}'",
                crate::template::values::type_name(term)
            )));
        }
        for (key, value) in pairs(term)? {
            out.push(map(Map::from([(Value::from("key"), key), (Value::from("value"), value)])));
        }
    }
    Ok(out)
}

fn columns(call: &Call) -> R<Vec<Vec<Value>>> {
    call.terms.iter().map(|t| if is_list(t) { items(t) } else { Ok(vec![t.clone()]) }).collect()
}

/// First with first, second with second; short lists are filled with `none`.
pub(super) fn together(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let columns = columns(call)?;
    if columns.is_empty() {
        return Err(call.fail("at least one list is needed"));
    }
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    Ok((0..rows)
        .map(|row| {
            list(columns.iter().map(|c| c.get(row).cloned().unwrap_or_else(|| Value::from(()))).collect())
        })
        .collect())
}

/// Each with each.
pub(super) fn nested(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    if call.terms.is_empty() {
        return Err(call.fail("at least one list is needed"));
    }
    Ok(cartesian(&columns(call)?)?.into_iter().map(list).collect())
}

pub(super) fn subelements(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let [of, path, rest @ ..] = &call.terms[..] else {
        return Err(call.fail("a list and the name of the list inside its elements are needed"));
    };
    let skip = match rest.first() {
        Some(flags) if is_map(flags) => crate::template::values::item(flags, &Value::from("skip_missing"))?
            .is_some_and(|v| crate::template::filters::boolean(&v).unwrap_or(false)),
        _ => call.flag("skip_missing", false)?,
    };
    // Unlike the filter, the lookup takes the list out of the element.
    let path_text = text(path)?;
    let keys: Vec<&str> = path_text.split('.').collect();
    let mut out = Vec::new();
    for pair in subelement_pairs(of, path, skip)? {
        if let [element, sub] = &items(&pair)?[..] {
            out.push(list(vec![without(element, &keys)?, sub.clone()]));
        }
    }
    Ok(out)
}

/// The element without what stands under the keys.
fn without(element: &Value, keys: &[&str]) -> R<Value> {
    let Some((first, rest)) = keys.split_first() else { return Ok(element.clone()) };
    let mut out = Map::new();
    for (key, value) in pairs(element)? {
        if key.as_str() != Some(first) {
            out.insert(key, value);
        } else if !rest.is_empty() {
            out.insert(key, without(&value, rest)?);
        }
    }
    Ok(map(out))
}

/// `start=1 end=5 stride=2 format=host%02d`, `count=4`, or `1-10/2:host%02d`.
pub(super) fn sequence(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    let terms = if call.terms.is_empty() { vec![Value::from("")] } else { call.terms.clone() };
    for term in terms {
        let term = text(&term)?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in &call.options {
            fields.push((name.to_string(), text(value)?));
        }
        match short(&term) {
            Some(found) => fields.extend(found),
            None => {
                for part in term.split_whitespace() {
                    let Some((key, value)) = part.split_once('=') else {
                        return Err(call.fail(format!("`{part}` is not `key=value`")));
                    };
                    fields.push((key.to_owned(), value.to_owned()));
                }
            }
        }
        let field = |name: &str| fields.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let number = |name: &str| -> R<Option<i128>> {
            field(name)
                .map(|v| {
                    let (digits, radix) = v.strip_prefix("0x").map_or((v, 10), |hex| (hex, 16));
                    i128::from_str_radix(digits, radix)
                        .map_err(|_| call.fail(format!("`{name}` has to be an integer, not `{v}`")))
                })
                .transpose()
        };
        for (name, _) in &fields {
            if !matches!(name.as_str(), "start" | "end" | "count" | "stride" | "format") {
                return Err(call.fail(format!("there is no option `{name}`")));
            }
        }
        let start = number("start")?.unwrap_or(1);
        let mut stride = number("stride")?.unwrap_or(1);
        let end = match (number("end")?, number("count")?) {
            (Some(_), Some(_)) => return Err(call.fail("`end` and `count` cannot both be given")),
            (Some(end), None) => end,
            (None, Some(0)) => continue,
            (None, Some(count)) => start + count * stride - stride,
            (None, None) => return Err(call.fail("`end` or `count` is needed")),
        };
        if field("stride").is_none() && end < start && field("count").is_none() {
            stride = 1;
        }
        if stride == 0 {
            continue;
        }
        if (stride > 0 && end < start) || (stride < 0 && end > start) {
            return Err(call.fail(format!("counting from {start} by {stride} never reaches {end}")));
        }
        if ((end - start) / stride).unsigned_abs() > 1_000_000 {
            return Err(call.fail("more than a million numbers"));
        }
        let format = field("format").unwrap_or("%d").to_owned();
        let mut at = start;
        while (stride > 0 && at <= end) || (stride < 0 && at >= end) {
            out.push(percent_format(&format, &int(at))?);
            at += stride;
        }
    }
    Ok(out)
}

/// `[start-]end[/stride][:format]`
fn short(term: &str) -> Option<Vec<(String, String)>> {
    if term.is_empty() || term.contains('=') {
        return None;
    }
    let (numbers, format) = term.split_once(':').map_or((term, None), |(n, f)| (n, Some(f)));
    let (range, stride) = numbers.split_once('/').map_or((numbers, None), |(r, s)| (r, Some(s)));
    let (start, end) = range.split_once('-').map_or((None, range), |(s, e)| (Some(s), e));
    let mut out = vec![("end".to_owned(), end.to_owned())];
    for (name, value) in [("start", start), ("stride", stride), ("format", format)] {
        if let Some(value) = value {
            out.push((name.to_owned(), value.to_owned()));
        }
    }
    Some(out)
}

pub(super) fn random_choice(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    if call.terms.is_empty() {
        return Ok(Vec::new());
    }
    let at = Dice::System.below(call.terms.len());
    Ok(vec![call.terms[at].clone()])
}
