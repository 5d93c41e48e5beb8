//! Filters on lists.

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::Tuple;

use crate::template::error::{R, TemplateError};
use crate::template::eval::Cx;
use crate::template::marks::{is_missing, missing};
use crate::template::methods::sort_values;
use crate::template::registry::{self, Args, Row};
use crate::template::values::{
    compare, equal, is_list, is_map, item, items, list, pair, plain, text, truth, type_name,
};

pub(super) const TABLE: &[Row] = &[
    Row("map", "seq *args **options", map_filter),
    Row("select", "seq *args **options", select),
    Row("reject", "seq *args **options", reject),
    Row("selectattr", "seq attr *args **options", selectattr),
    Row("rejectattr", "seq attr *args **options", rejectattr),
    Row("sort", "value reverse case_sensitive attribute", sort),
    Row("unique", "a case_sensitive attribute", unique),
    Row("min", "value case_sensitive attribute", min),
    Row("max", "value case_sensitive attribute", max),
    Row("sum", "seq attribute start", sum),
    Row("union", "a b", union),
    Row("intersect", "a b", intersect),
    Row("difference", "a b", difference),
    Row("symmetric_difference", "a b", symmetric_difference),
    Row("flatten", "mylist levels skip_nulls", flatten),
    Row("reverse", "value", reverse),
    Row("zip", "a *others **options", zip),
    Row("zip_longest", "a *others **options", zip_longest),
    Row("product", "a *others **options", product),
    Row("permutations", "a r", permutations),
    Row("combinations", "a r", combinations),
    Row("groupby", "value attribute default case_sensitive", groupby),
    Row("batch", "value linecount fill_with", batch),
    Row("slice", "value slices fill_with", slice),
    Row("extract", "item container morekeys", extract),
    Row("get_members", "hostvars groups target", get_members),
    Row("attr", "obj name", attr),
    Row("json_query", "data expr", json_query),
];

/// `a.b.0`: follows a dotted attribute name.
///
/// # Errors
/// None for a missing part: the result is a missing mark.
pub(in crate::template) fn attribute_path(value: &Value, path: &Value) -> R<Value> {
    let Some(path) = path.as_str() else {
        return Ok(item(value, path)?.unwrap_or_else(|| no_part(value, &path.to_string())));
    };
    let mut current = value.clone();
    for part in path.split('.') {
        if is_missing(&current) {
            return Ok(current);
        }
        let mut found = item(&current, &Value::from(part))?;
        if found.is_none()
            && let Ok(number) = part.parse::<i64>()
        {
            found = item(&current, &Value::from(number))?;
        }
        current = match found {
            Some(found) => found,
            None => no_part(&current, part),
        };
    }
    Ok(current)
}

fn no_part(of: &Value, part: &str) -> Value {
    missing(TemplateError::undefined(
        part,
        format!("`{part}` is undefined: a value of type '{}' has no such attribute", type_name(of)),
    ))
}

fn map_filter(cx: &mut Cx, a: &Args) -> R<Value> {
    let all = items(a.value()?)?;
    if let Some(attribute) = a.named("attribute") {
        let default = a.named("default");
        let mut out = Vec::with_capacity(all.len());
        for value in all {
            let found = attribute_path(&value, attribute)?;
            out.push(match default {
                Some(default) if is_missing(&found) => default.clone(),
                _ => found,
            });
        }
        return Ok(list(out));
    }
    let Some((name, rest)) = a.rest.split_first() else {
        return Err(a.refuse("a filter name or `attribute=` is needed"));
    };
    let name = text(name)?;
    let Some(filter) = registry::filter(&name) else {
        return Err(TemplateError::no_such("filter", &name, registry::near_filter(&name)));
    };
    let mut out = Vec::with_capacity(all.len());
    for value in all {
        let mut positional = vec![value];
        positional.extend(rest.iter().cloned());
        out.push(filter.call(cx, positional, a.named.clone())?);
    }
    Ok(list(out))
}

/// Applies the test named first, or truth when there is none.
fn passes(cx: &mut Cx, value: Value, test: &[Value], named: &[(Arc<str>, Value)]) -> R<bool> {
    let Some((name, rest)) = test.split_first() else { return truth(&value) };
    let name = text(name)?;
    let Some(test) = registry::test(&name) else {
        return Err(TemplateError::no_such("test", &name, registry::near_test(&name)));
    };
    let mut positional = vec![value];
    positional.extend(rest.iter().cloned());
    truth(&test.call(cx, positional, named.to_vec())?)
}

fn filtered(cx: &mut Cx, a: &Args, keep: bool, attribute: Option<&Value>) -> R<Value> {
    let mut out = Vec::new();
    for value in items(a.value()?)? {
        let tested = match attribute {
            Some(attribute) => attribute_path(&value, attribute)?,
            None => value.clone(),
        };
        if passes(cx, tested, &a.rest, &a.named)? == keep {
            out.push(value);
        }
    }
    Ok(list(out))
}

fn select(cx: &mut Cx, a: &Args) -> R<Value> {
    filtered(cx, a, true, None)
}

fn reject(cx: &mut Cx, a: &Args) -> R<Value> {
    filtered(cx, a, false, None)
}

fn selectattr(cx: &mut Cx, a: &Args) -> R<Value> {
    filtered(cx, a, true, Some(a.required(1)?))
}

fn rejectattr(cx: &mut Cx, a: &Args) -> R<Value> {
    filtered(cx, a, false, Some(a.required(1)?))
}

/// What a value is compared by: an attribute if one is named, lower case unless case matters.
pub(super) fn key_of(value: &Value, attribute: Option<&Value>, case_sensitive: bool) -> R<Value> {
    let key = match attribute {
        Some(attribute) => crate::template::values::defined(attribute_path(value, attribute)?)?,
        None => value.clone(),
    };
    Ok(match key.as_str() {
        Some(s) if !case_sensitive => Value::from(s.to_lowercase()),
        _ => key,
    })
}

fn sort(_: &mut Cx, a: &Args) -> R<Value> {
    let reverse = a.flag(1, false)?;
    let case_sensitive = a.flag(2, false)?;
    let attributes: Vec<Value> = match a.some(3) {
        Some(names) if names.as_str().is_some() => {
            names.as_str().unwrap_or_default().split(',').map(Value::from).collect()
        }
        Some(other) => vec![other.clone()],
        None => Vec::new(),
    };
    let mut keyed = Vec::new();
    for value in items(a.value()?)? {
        let key = if attributes.is_empty() {
            key_of(&value, None, case_sensitive)?
        } else {
            let parts = attributes
                .iter()
                .map(|name| key_of(&value, Some(name), case_sensitive))
                .collect::<R<Vec<_>>>()?;
            list(parts)
        };
        keyed.push((key, value));
    }
    let mut failed = None;
    keyed.sort_by(|x, y| {
        let order = compare(&x.0, &y.0, "<").unwrap_or_else(|e| {
            failed.get_or_insert(e);
            std::cmp::Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(list(keyed.into_iter().map(|(_, v)| v).collect())),
    }
}

/// A set of values seen so far; scalars are found by hash, the rest by comparing.
#[derive(Default)]
struct Seen {
    scalars: std::collections::HashSet<Value>,
    others: Vec<Value>,
}

impl Seen {
    fn of(all: &[Value]) -> R<Self> {
        let mut seen = Self::default();
        for value in all {
            seen.insert(value)?;
        }
        Ok(seen)
    }

    fn scalar(value: &Value) -> bool {
        !(is_list(value) || is_map(value))
    }

    fn contains(&self, value: &Value) -> R<bool> {
        if Self::scalar(value) {
            return Ok(self.scalars.contains(value));
        }
        for other in &self.others {
            if equal(other, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds it; false when it was there.
    fn insert(&mut self, value: &Value) -> R<bool> {
        if Self::scalar(value) {
            return Ok(self.scalars.insert(value.clone()));
        }
        if self.contains(value)? {
            return Ok(false);
        }
        self.others.push(value.clone());
        Ok(true)
    }
}

fn unique(_: &mut Cx, a: &Args) -> R<Value> {
    let case_sensitive = a.some(1).map_or(Ok(false), truth)?;
    let mut seen = Seen::default();
    let mut out = Vec::new();
    for value in items(a.value()?)? {
        if seen.insert(&key_of(&value, a.some(2), case_sensitive)?)? {
            out.push(value);
        }
    }
    Ok(list(out))
}

fn extreme(a: &Args, wanted: std::cmp::Ordering, which: &str) -> R<Value> {
    let case_sensitive = a.flag(1, false)?;
    let mut best: Option<(Value, Value)> = None;
    for value in items(a.value()?)? {
        let key = key_of(&value, a.some(2), case_sensitive)?;
        let better = match &best {
            Some((best, _)) => compare(&key, best, "<")? == wanted,
            None => true,
        };
        if better {
            best = Some((key, value));
        }
    }
    Ok(best.map_or_else(
        || missing(TemplateError::undefined("", format!("`{which}`: the sequence is empty"))),
        |(_, value)| value,
    ))
}

fn min(_: &mut Cx, a: &Args) -> R<Value> {
    extreme(a, std::cmp::Ordering::Less, "min")
}

fn max(_: &mut Cx, a: &Args) -> R<Value> {
    extreme(a, std::cmp::Ordering::Greater, "max")
}

fn sum(_: &mut Cx, a: &Args) -> R<Value> {
    let mut total = a.get(2).cloned().unwrap_or_else(|| Value::from(0));
    for value in items(a.value()?)? {
        let value = match a.some(1) {
            Some(attribute) => crate::template::values::defined(attribute_path(&value, attribute)?)?,
            None => value,
        };
        total = crate::template::operators::binary(crate::template::program::Binary::Add, &total, &value)?;
    }
    Ok(total)
}

fn two(a: &Args) -> R<(Vec<Value>, Vec<Value>)> {
    let both = (a.value()?, a.required(1)?);
    for (at, value) in [both.0, both.1].into_iter().enumerate() {
        if !is_list(value) {
            return Err(a.wrong(at, "a list", value));
        }
    }
    Ok((items(both.0)?, items(both.1)?))
}

fn distinct(all: impl IntoIterator<Item = Value>) -> R<Value> {
    let mut seen = Seen::default();
    let mut out = Vec::new();
    for value in all {
        if seen.insert(&value)? {
            out.push(value);
        }
    }
    Ok(list(out))
}

fn union(_: &mut Cx, a: &Args) -> R<Value> {
    let (x, y) = two(a)?;
    distinct(x.into_iter().chain(y))
}

pub(super) fn kept(x: Vec<Value>, other: &[Value], keep: bool) -> R<Vec<Value>> {
    let other = Seen::of(other)?;
    let mut out = Vec::new();
    for value in x {
        if other.contains(&value)? == keep {
            out.push(value);
        }
    }
    Ok(out)
}

fn intersect(_: &mut Cx, a: &Args) -> R<Value> {
    let (x, y) = two(a)?;
    distinct(kept(x, &y, true)?)
}

fn difference(_: &mut Cx, a: &Args) -> R<Value> {
    let (x, y) = two(a)?;
    distinct(kept(x, &y, false)?)
}

fn symmetric_difference(_: &mut Cx, a: &Args) -> R<Value> {
    let (x, y) = two(a)?;
    let mut out = kept(x.clone(), &y, false)?;
    out.extend(kept(y, &x, false)?);
    distinct(out)
}

pub(super) fn flatten_into(
    all: Vec<Value>,
    levels: Option<i128>,
    skip_nulls: bool,
    out: &mut Vec<Value>,
) -> R<()> {
    for value in all {
        if value.is_none() || matches!(value.as_str(), Some("None" | "null")) {
            if !skip_nulls {
                out.push(value);
            }
        } else if is_list(&value) && levels.is_none_or(|l| l > 0) {
            flatten_into(items(&value)?, levels.map(|l| l - 1), skip_nulls, out)?;
        } else {
            out.push(value);
        }
    }
    Ok(())
}

fn flatten(_: &mut Cx, a: &Args) -> R<Value> {
    let mut out = Vec::new();
    flatten_into(items(a.value()?)?, a.optional_int(1)?, a.flag(2, true)?, &mut out)?;
    Ok(list(out))
}

fn reverse(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    if let Some(s) = value.as_str() {
        return Ok(Value::from(s.chars().rev().collect::<String>()));
    }
    let mut all = items(value)?;
    all.reverse();
    Ok(list(all))
}

fn columns(a: &Args) -> R<Vec<Vec<Value>>> {
    std::iter::once(a.value()?).chain(&a.rest).map(items).collect()
}

fn tuple(all: Vec<Value>) -> Value {
    Value::from(Tuple::from(all))
}

fn zip(_: &mut Cx, a: &Args) -> R<Value> {
    let columns = columns(a)?;
    let rows = columns.iter().map(Vec::len).min().unwrap_or(0);
    Ok(list((0..rows).map(|row| tuple(columns.iter().map(|c| c[row].clone()).collect())).collect()))
}

fn zip_longest(_: &mut Cx, a: &Args) -> R<Value> {
    let fill = a.named("fillvalue").cloned().unwrap_or_else(|| Value::from(()));
    let columns = columns(a)?;
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    Ok(list(
        (0..rows)
            .map(|row| {
                tuple(columns.iter().map(|c| c.get(row).cloned().unwrap_or_else(|| fill.clone())).collect())
            })
            .collect(),
    ))
}

/// All ways to take one of each.
///
/// # Errors
/// More than a million of them.
pub(in crate::template) fn cartesian(columns: &[Vec<Value>]) -> R<Vec<Vec<Value>>> {
    let total = columns.iter().try_fold(1usize, |total, c| total.checked_mul(c.len()));
    if total.is_none_or(|t| t > 1_000_000) {
        return Err(TemplateError::value("the product of these lists has more than a million entries"));
    }
    let mut out: Vec<Vec<Value>> = vec![Vec::new()];
    for column in columns {
        let mut next = Vec::with_capacity(out.len() * column.len());
        for row in &out {
            for value in column {
                let mut row = row.clone();
                row.push(value.clone());
                next.push(row);
            }
        }
        out = next;
    }
    Ok(out)
}

fn product(_: &mut Cx, a: &Args) -> R<Value> {
    let mut columns = columns(a)?;
    if let Some(repeat) = a.named("repeat").and_then(Value::as_usize) {
        let once = columns.clone();
        columns = (0..repeat.min(64)).flat_map(|_| once.clone()).collect();
    }
    Ok(list(cartesian(&columns)?.into_iter().map(tuple).collect()))
}

fn choose(all: &[Value], size: usize, ordered: bool, out: &mut Vec<Value>) -> R<()> {
    fn step(
        all: &[Value],
        picked: &mut Vec<usize>,
        size: usize,
        ordered: bool,
        out: &mut Vec<Value>,
    ) -> R<()> {
        if picked.len() == size {
            if out.len() >= 1_000_000 {
                return Err(TemplateError::value("there are more than a million ways to choose"));
            }
            out.push(tuple(picked.iter().map(|at| all[*at].clone()).collect()));
            return Ok(());
        }
        let from = if ordered { 0 } else { picked.last().map_or(0, |last| last + 1) };
        for at in from..all.len() {
            if !picked.contains(&at) {
                picked.push(at);
                step(all, picked, size, ordered, out)?;
                picked.pop();
            }
        }
        Ok(())
    }
    step(all, &mut Vec::new(), size, ordered, out)
}

fn permutations(_: &mut Cx, a: &Args) -> R<Value> {
    let all = items(a.value()?)?;
    let size = a.optional_int(1)?.map_or(all.len(), |n| n.max(0) as usize);
    let mut out = Vec::new();
    choose(&all, size, true, &mut out)?;
    Ok(list(out))
}

fn combinations(_: &mut Cx, a: &Args) -> R<Value> {
    let all = items(a.value()?)?;
    let size = a.int_at(1)?.max(0) as usize;
    let mut out = Vec::new();
    choose(&all, size, false, &mut out)?;
    Ok(list(out))
}

fn groupby(_: &mut Cx, a: &Args) -> R<Value> {
    let attribute = a.required(1)?;
    let default = a.some(2);
    let case_sensitive = a.flag(3, false)?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for value in items(a.value()?)? {
        let mut key = attribute_path(&value, attribute)?;
        if is_missing(&key) {
            key = match default {
                Some(default) => default.clone(),
                None => crate::template::values::defined(key)?,
            };
        }
        let by = key_of(&key, None, case_sensitive)?;
        let mut at = None;
        for (position, group) in groups.iter().enumerate() {
            if equal(&group.0, &by)? {
                at = Some(position);
            }
        }
        match at {
            Some(at) => groups[at].2.push(value),
            None => groups.push((by, key, vec![value])),
        }
    }
    let mut keys: Vec<Value> = groups.iter().map(|g| g.0.clone()).collect();
    sort_values(&mut keys, false)?;
    let mut out = Vec::new();
    for by in keys {
        for group in &groups {
            if equal(&group.0, &by)? {
                out.push(pair(group.1.clone(), list(group.2.clone())));
            }
        }
    }
    Ok(list(out))
}

fn batch(_: &mut Cx, a: &Args) -> R<Value> {
    let size = a.int_at(1)?.max(1) as usize;
    let all = items(a.value()?)?;
    Ok(list(
        all.chunks(size)
            .map(|chunk| {
                let mut row = chunk.to_vec();
                if let Some(fill) = a.some(2) {
                    row.resize(size, fill.clone());
                }
                list(row)
            })
            .collect(),
    ))
}

fn slice(_: &mut Cx, a: &Args) -> R<Value> {
    let slices = a.int_at(1)?.max(1) as usize;
    let all = items(a.value()?)?;
    let (each, extra) = (all.len() / slices, all.len() % slices);
    let mut out = Vec::new();
    let mut at = 0;
    for number in 0..slices {
        let size = each + usize::from(number < extra);
        let mut row = all[at..at + size].to_vec();
        at += size;
        if let Some(fill) = a.some(2)
            && number >= extra
            && extra > 0
        {
            row.push(fill.clone());
        }
        out.push(list(row));
    }
    Ok(list(out))
}

fn extract(_: &mut Cx, a: &Args) -> R<Value> {
    let mut keys = vec![a.value()?.clone()];
    match a.some(2) {
        Some(more) if is_list(more) => keys.extend(items(more)?),
        Some(more) => keys.push(more.clone()),
        None => {}
    }
    let mut current = a.required(1)?.clone();
    for key in keys {
        current = match item(&current, &key)? {
            Some(found) => found,
            None => return Ok(no_part(&current, &text(&key)?)),
        };
    }
    Ok(current)
}

/// No filter of Ansible's: the plugin that DC/OS playbooks carry in `filter_plugins/`, which is Python.
fn get_members(_: &mut Cx, a: &Args) -> R<Value> {
    let target = Value::from(a.text_or(2, "all")?);
    let Some(members) = item(a.required(1)?, &target)? else {
        return Err(a.refuse(format!("there is no group `{}`", text(&target)?)));
    };
    let mut found = Vec::new();
    for host in items(&members)? {
        found.extend(item(a.value()?, &host)?);
    }
    Ok(Value::from(found))
}

fn attr(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let name = a.text_at(1)?;
    if let Some(found) = value.as_object().and_then(|o| o.get_value(&Value::from(name.as_str()))) {
        return crate::template::values::valid(found);
    }
    Ok(no_part(value, &name))
}

fn json_query(_: &mut Cx, a: &Args) -> R<Value> {
    let data = plain(a.value()?.clone())?;
    super::jmespath::search(&a.text_at(1)?, &data).map_err(|why| a.refuse(why))
}
