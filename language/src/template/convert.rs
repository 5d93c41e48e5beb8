//! Values from and to plain JSON trees, for results of modules, facts and arguments.

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::Value as Json;

use super::containers::Map;
use super::error::R;
use super::values::{as_float, as_int, defined, items, list, map, pairs, text};

/// A JSON value as a template value.
#[must_use]
pub fn from_json(value: Json) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::from(i),
            (None, Some(u)) => Value::from(u),
            _ => Value::from(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::from(s),
        Json::Array(all) => list(all.into_iter().map(from_json).collect()),
        Json::Object(entries) => {
            map(entries.into_iter().map(|(k, v)| (Value::from(k), from_json(v))).collect::<Map>())
        }
    }
}

/// A template value as JSON; dates and other objects become their text.
///
/// # Errors
/// A part that is undefined or unknown.
pub fn to_json(value: &Value) -> R<Json> {
    Ok(match value.kind() {
        ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => match as_int(value) {
            Some(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(i), _) => Json::from(i),
                (_, Ok(u)) => Json::from(u),
                _ => Json::from(number as f64),
            },
            None => Json::from(as_float(value).unwrap_or(f64::NAN)),
        },
        ValueKind::String => Json::from(value.as_str().unwrap_or_default()),
        ValueKind::Map => {
            let mut out = serde_json::Map::new();
            for (key, item) in pairs(value)? {
                out.insert(text(&key)?, to_json(&item)?);
            }
            Json::Object(out)
        }
        ValueKind::Seq | ValueKind::Iterable => {
            Json::Array(items(value)?.iter().map(to_json).collect::<R<_>>()?)
        }
        ValueKind::Bytes => {
            Json::from(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned())
        }
        _ => Json::from(text(&defined(value.clone())?)?),
    })
}
