//! Methods of lists and mappings.

use std::cmp::Ordering;

use minijinja::Value;

use super::{Call, no_method};
use crate::template::containers::{Dict, List, Map};
use crate::template::error::{R, TemplateError};
use crate::template::eval::count;
use crate::template::values::{compare, equal, is_map, item, items, list, pair, pairs, repr, truth};

/// Sorts by Python's order.
///
/// # Errors
/// Two values that have no order.
pub(in crate::template) fn sort_values(values: &mut [Value], reverse: bool) -> R<()> {
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

pub(super) fn sequence(of: &Value, call: &Call<'_>) -> R<Value> {
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
            return Err(TemplateError::value(format!("{} is not in list", repr(wanted)?)));
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
            let reverse =
                call.named.iter().find(|(n, _)| &**n == "reverse").map_or(Ok(false), |(_, v)| truth(v))?;
            let mut copy = target.lock().clone();
            sort_values(&mut copy, reverse)?;
            *target.lock() = copy;
        }
        _ => return Err(no_method("list", call.name)),
    }
    Ok(Value::from(()))
}

pub(super) fn mapping(of: &Value, call: &Call<'_>) -> R<Value> {
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
                            _ => {
                                return Err(TemplateError::value("`.update()` needs pairs of key and value"));
                            }
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
                (None, None) => Err(TemplateError::value(format!("the mapping has no key {}", repr(key)?))),
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
