//! Filters that make, merge and take apart mappings.

use minijinja::Value;

use super::collections::{flatten_into, kept, key_of};
use crate::template::containers::Map;
use crate::template::error::{R, TemplateError};
use crate::template::eval::Cx;
use crate::template::methods::sort_values;
use crate::template::registry::{Args, Row};
use crate::template::values::{
    as_int, compare, is_list, is_map, item, items, list, map, pair, pairs, repr, text, truth, type_name,
};

pub(super) const TABLE: &[Row] = &[
    Row("combine", "first *others **options", combine),
    Row("dict2items", "mydict key_name value_name", dict2items),
    Row("items2dict", "mylist key_name value_name", items2dict),
    Row("items", "value", items_filter),
    Row("dictsort", "value case_sensitive by reverse", dictsort),
    Row("subelements", "obj subelements skip_missing", subelements),
    Row("rekey_on_member", "data key duplicates", rekey_on_member),
    Row("lists_mergeby", "a *others **options", lists_mergeby),
    Row("dict", "seq", to_dict),
    Row("dict_kv", "value key", dict_kv),
    Row("keep_keys", "data target matching_parameter", keep_keys),
    Row("remove_keys", "data target matching_parameter", remove_keys),
    Row("counter", "sequence", counter),
];

fn merge_lists(old: &Value, new: &Value, how: &str) -> R<Value> {
    let (x, y) = (items(old)?, items(new)?);
    Ok(match how {
        "keep" => old.clone(),
        "append" => list(x.into_iter().chain(y).collect()),
        "prepend" => list(y.into_iter().chain(x).collect()),
        "append_rp" => list(kept(x, &y, false)?.into_iter().chain(y).collect()),
        "prepend_rp" => {
            let rest = kept(x, &y, false)?;
            list(y.into_iter().chain(rest).collect())
        }
        _ => new.clone(),
    })
}

/// Merges two mappings as `combine` does.
pub(in crate::template) fn merge(old: &Value, new: &Value, recursive: bool, lists: &str) -> R<Value> {
    let mut out: Map = pairs(old)?.into_iter().collect();
    for (key, value) in pairs(new)? {
        let merged = match out.get(&key) {
            Some(there) if recursive && is_map(there) && is_map(&value) => {
                merge(there, &value, recursive, lists)?
            }
            Some(there) if is_list(there) && is_list(&value) => merge_lists(there, &value, lists)?,
            _ => value,
        };
        out.insert(key, merged);
    }
    Ok(map(out))
}

fn combine(_: &mut Cx, a: &Args) -> R<Value> {
    for (name, _) in &a.named {
        if !matches!(&**name, "recursive" | "list_merge") {
            return Err(TemplateError::arguments(format!("`combine` has no argument `{name}`")));
        }
    }
    let recursive = a.named("recursive").map_or(Ok(false), truth)?;
    let lists = a.named("list_merge").map_or(Ok("replace".to_owned()), text)?;
    if !matches!(lists.as_str(), "replace" | "keep" | "append" | "prepend" | "append_rp" | "prepend_rp") {
        return Err(a.refuse(format!("`{lists}` is no way to merge lists")));
    }
    let mut all = Vec::new();
    flatten_into(std::iter::once(a.value()?).chain(&a.rest).cloned().collect(), None, true, &mut all)?;
    let mut out = map(Map::new());
    for next in all {
        if !is_map(&next) {
            return Err(a.wrong(0, "dictionaries", &next));
        }
        out = merge(&out, &next, recursive, &lists)?;
    }
    Ok(out)
}

fn dict2items(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    if !is_map(value) {
        return Err(a.wrong(0, "a dictionary", value));
    }
    let (key_name, value_name) = (Value::from(a.text_or(1, "key")?), Value::from(a.text_or(2, "value")?));
    Ok(list(
        pairs(value)?
            .into_iter()
            .map(|(k, v)| map(Map::from([(key_name.clone(), k), (value_name.clone(), v)])))
            .collect(),
    ))
}

fn items2dict(_: &mut Cx, a: &Args) -> R<Value> {
    let (key_name, value_name) = (a.text_or(1, "key")?, a.text_or(2, "value")?);
    let mut out = Map::new();
    for entry in items(a.value()?)? {
        let field = |name: &str| -> R<Value> {
            item(&entry, &Value::from(name))?.ok_or_else(|| a.refuse(format!("an entry has no `{name}`")))
        };
        out.insert(field(&key_name)?, field(&value_name)?);
    }
    Ok(map(out))
}

fn items_filter(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(list(pairs(a.value()?)?.into_iter().map(|(k, v)| pair(k, v)).collect()))
}

fn dictsort(_: &mut Cx, a: &Args) -> R<Value> {
    let case_sensitive = a.flag(1, false)?;
    let by_value = match a.text_or(2, "key")?.as_str() {
        "key" => false,
        "value" => true,
        _ => return Err(a.refuse("`by` is `key` or `value`")),
    };
    let reverse = a.flag(3, false)?;
    let mut keyed = Vec::new();
    for (key, value) in pairs(a.value()?)? {
        let by = key_of(if by_value { &value } else { &key }, None, case_sensitive)?;
        keyed.push(list(vec![by, pair(key, value)]));
    }
    let mut failed = None;
    keyed.sort_by(|x, y| {
        let first = |v: &Value| item(v, &Value::from(0)).ok().flatten().unwrap_or_default();
        let order = compare(&first(x), &first(y), "<").unwrap_or_else(|e| {
            failed.get_or_insert(e);
            std::cmp::Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(list(keyed.iter().filter_map(|v| item(v, &Value::from(1)).ok().flatten()).collect()))
}

/// Pairs of an element and each item of a list inside it.
pub(in crate::template) fn subelement_pairs(of: &Value, path: &Value, skip_missing: bool) -> R<Vec<Value>> {
    let elements = if is_map(of) { pairs(of)?.into_iter().map(|(_, v)| v).collect() } else { items(of)? };
    let path: Vec<Value> = match path.as_str() {
        Some(path) => path.split('.').map(Value::from).collect(),
        None => items(path)?,
    };
    let mut out = Vec::new();
    for element in elements {
        let mut current = Some(element.clone());
        for part in &path {
            current = match current {
                Some(current) if is_map(&current) => item(&current, part)?,
                _ => None,
            };
        }
        match current {
            Some(found) if is_list(&found) => {
                for sub in items(&found)? {
                    out.push(pair(element.clone(), sub));
                }
            }
            Some(found) if !(skip_missing && found.is_none()) => {
                return Err(TemplateError::value(format!(
                    "`subelements`: a list is needed under {}, got a value of type '{}'",
                    repr(&list(path.clone()))?,
                    type_name(&found)
                )));
            }
            None if !skip_missing => {
                return Err(TemplateError::value(format!(
                    "`subelements`: an element has nothing under {}; `skip_missing` leaves such elements out",
                    repr(&list(path.clone()))?
                )));
            }
            _ => {}
        }
    }
    Ok(out)
}

fn subelements(_: &mut Cx, a: &Args) -> R<Value> {
    subelement_pairs(a.value()?, a.required(1)?, a.flag(2, false)?).map(list)
}

fn rekey_on_member(_: &mut Cx, a: &Args) -> R<Value> {
    let data = a.value()?;
    let key = a.required(1)?;
    let overwrite = match a.text_or(2, "error")?.as_str() {
        "error" => false,
        "overwrite" => true,
        other => return Err(a.refuse(format!("`duplicates` is `error` or `overwrite`, not `{other}`"))),
    };
    let elements =
        if is_map(data) { pairs(data)?.into_iter().map(|(_, v)| v).collect() } else { items(data)? };
    let mut out = Map::new();
    for element in elements {
        let Some(found) = item(&element, key)? else {
            return Err(a.refuse(format!("an element has no `{}`", text(key)?)));
        };
        if out.contains_key(&found) && !overwrite {
            return Err(a.refuse(format!("{} occurs twice", repr(&found)?)));
        }
        out.insert(found, element);
    }
    Ok(map(out))
}

fn lists_mergeby(_: &mut Cx, a: &Args) -> R<Value> {
    // The last positional argument is the key.
    let Some((key, others)) = a.rest.split_last() else { return Err(a.refuse("a key is needed")) };
    let recursive = a.named("recursive").map_or(Ok(false), truth)?;
    let how = a.named("list_merge").map_or(Ok("replace".to_owned()), text)?;
    let mut order = Vec::new();
    let mut by: Map = Map::new();
    for all in std::iter::once(a.value()?).chain(others) {
        for element in items(all)? {
            let Some(found) = item(&element, key)? else { continue };
            let merged = match by.get(&found) {
                Some(old) => merge(old, &element, recursive, &how)?,
                None => {
                    order.push(found.clone());
                    element
                }
            };
            by.insert(found, merged);
        }
    }
    sort_values(&mut order, false)?;
    Ok(list(order.iter().filter_map(|k| by.get(k).cloned()).collect()))
}

fn to_dict(_: &mut Cx, a: &Args) -> R<Value> {
    let mut out = Map::new();
    for entry in items(a.value()?)? {
        match &items(&entry)?[..] {
            [key, value] => {
                out.insert(key.clone(), value.clone());
            }
            _ => return Err(a.refuse("every entry has to be a pair")),
        }
    }
    Ok(map(out))
}

fn dict_kv(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(map(Map::from([(a.required(1)?.clone(), a.value()?.clone())])))
}

fn by_keys(a: &Args, keep: bool) -> R<Value> {
    let target = a.required(1)?;
    let names = if target.as_str().is_some() { vec![target.clone()] } else { items(target)? };
    let how = a.text_or(2, "equal")?;
    let mut out = Vec::new();
    for element in items(a.value()?)? {
        let mut kept = Map::new();
        for (key, value) in pairs(&element)? {
            let name = text(&key)?;
            let mut hit = false;
            for wanted in &names {
                let wanted = text(wanted)?;
                hit |= match how.as_str() {
                    "starts_with" => name.starts_with(&wanted),
                    "ends_with" => name.ends_with(&wanted),
                    "regex" => super::compile_regex(&wanted, super::regex::Flags::default(), &name)?
                        .is_match(&name)
                        .unwrap_or(false),
                    _ => name == wanted,
                };
            }
            if hit == keep {
                kept.insert(key, value);
            }
        }
        out.push(map(kept));
    }
    Ok(list(out))
}

fn keep_keys(_: &mut Cx, a: &Args) -> R<Value> {
    by_keys(a, true)
}

fn remove_keys(_: &mut Cx, a: &Args) -> R<Value> {
    by_keys(a, false)
}

fn counter(_: &mut Cx, a: &Args) -> R<Value> {
    let mut out = Map::new();
    for value in items(a.value()?)? {
        let next = out.get(&value).and_then(as_int).unwrap_or(0) + 1;
        out.insert(value, crate::template::values::int(next));
    }
    Ok(map(out))
}
