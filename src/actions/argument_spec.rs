//! Argument specs that are only known at run time: those of roles.
//!
//! Owns: types, required, choices, nested options. Must not: know where spec and values come from.

use serde_json::{Map, Value as Json};

/// Holds values against a spec; every fault is told, by Ansible's words where people may match on them.
pub(super) fn faults(spec: &Map<String, Json>, values: &Map<String, Json>) -> Vec<String> {
    let mut faults = Vec::new();
    options(spec, values, &[], &mut faults);
    faults
}

fn options(spec: &Map<String, Json>, values: &Map<String, Json>, path: &[String], faults: &mut Vec<String>) {
    let found_in = if path.is_empty() { String::new() } else { format!(" found in {}", path.join(" -> ")) };
    let mut missing = Vec::new();
    for (name, option) in spec {
        let option = option.as_object();
        let setting = |key: &str| option.and_then(|o| o.get(key)).filter(|v| !v.is_null());
        let value = std::iter::once(name.as_str())
            .chain(setting("aliases").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str))
            .find_map(|n| values.get(n))
            .filter(|v| !v.is_null());
        match value {
            Some(value) => one(name, option, value, path, &found_in, faults),
            None if setting("required").is_some_and(is_true) => missing.push(name.clone()),
            None => {}
        }
    }
    if !missing.is_empty() {
        missing.sort();
        faults.push(format!("missing required arguments: {}{found_in}", missing.join(", ")));
    }
    let known = |name: &String| {
        spec.contains_key(name)
            || spec
                .values()
                .filter_map(|o| o.get("aliases")?.as_array())
                .flatten()
                .any(|a| a == name.as_str())
    };
    let unknown: Vec<&str> = values.keys().filter(|name| !known(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = spec.keys().map(String::as_str).collect();
        faults.push(format!(
            "{}{found_in}. Supported parameters include: {}.",
            unknown.join(", "),
            names.join(", ")
        ));
    }
}

fn one(
    name: &str,
    option: Option<&Map<String, Json>>,
    value: &Json,
    path: &[String],
    found_in: &str,
    faults: &mut Vec<String>,
) {
    let setting = |key: &str| option.and_then(|o| o.get(key)).filter(|v| !v.is_null());
    let kind = setting("type").and_then(Json::as_str).unwrap_or("str");
    let Some(value) = convert(kind, value) else {
        faults.push(format!(
            "argument '{name}' is of type {}{found_in} and we were unable to convert to {kind}: it cannot be converted \
             to {} {kind}",
            type_of(value),
            if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" },
        ));
        return;
    };
    if let Some(Json::Array(choices)) = setting("choices") {
        let given: &[Json] =
            if let Json::Array(items) = &value { items } else { std::slice::from_ref(&value) };
        let outside: Vec<String> = given.iter().filter(|v| !choices.contains(v)).map(text).collect();
        if !outside.is_empty() {
            let choices: Vec<String> = choices.iter().map(text).collect();
            let what = if value.is_array() { "one or more of" } else { "one of" };
            faults.push(format!(
                "value of {name} must be {what}: {}, got: {}{found_in}",
                choices.join(", "),
                outside.join(", ")
            ));
        }
    }
    let nested = setting("options").and_then(Json::as_object);
    let mut inner = path.to_vec();
    inner.push(name.to_owned());
    match &value {
        Json::Array(items) => {
            let element = setting("elements").and_then(Json::as_str);
            for item in items {
                if let Some(element) = element
                    && convert(element, item).is_none()
                {
                    faults.push(format!(
                        "Elements value for option '{name}' is of type {}{found_in} and we were unable to convert to \
                         {element}",
                        type_of(item)
                    ));
                } else if let (Some(spec), Json::Object(map)) = (nested, item) {
                    options(spec, map, &inner, faults);
                }
            }
        }
        Json::Object(map) => {
            if let Some(spec) = nested {
                options(spec, map, &inner, faults);
            }
        }
        _ => {}
    }
}

/// The value as that type, if Ansible would take it.
fn convert(kind: &str, value: &Json) -> Option<Json> {
    Some(match (kind, value) {
        ("raw" | "any", _) => value.clone(),
        ("str" | "path", Json::Object(_) | Json::Array(_)) => return None,
        ("str" | "path" | "sid", _) => text(value).into(),
        ("bool", Json::Bool(_)) => value.clone(),
        ("bool", _) => match text(value).trim().to_lowercase().as_str() {
            "yes" | "on" | "1" | "true" | "y" | "t" | "1.0" => true.into(),
            "no" | "off" | "0" | "false" | "n" | "f" | "0.0" => false.into(),
            _ => return None,
        },
        ("int", Json::Number(n)) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => i.into(),
            (None, Some(f)) if f.fract() == 0.0 => (f as i64).into(),
            _ => return None,
        },
        ("int", Json::String(s)) => s.trim().parse::<i64>().ok()?.into(),
        ("float", Json::Number(_)) => value.clone(),
        ("float", Json::String(s)) => s.trim().parse::<f64>().ok()?.into(),
        ("list", Json::Array(_)) => value.clone(),
        ("list", Json::String(s)) => s.split(',').map(str::trim).map(Json::from).collect(),
        ("list", Json::Number(_)) => Json::Array(vec![text(value).into()]),
        ("dict", Json::Object(_)) => value.clone(),
        ("dict", Json::String(s)) if s.trim_start().starts_with('{') => {
            serde_json::from_str::<Map<String, Json>>(s).ok()?.into()
        }
        ("dict", Json::String(s)) if s.contains('=') => {
            let mut map = Map::new();
            for pair in s.split(|c: char| c == ',' || c.is_whitespace()).filter(|p| !p.is_empty()) {
                let (key, value) = pair.split_once('=')?;
                map.insert(key.to_owned(), value.into());
            }
            map.into()
        }
        ("json" | "jsonarg", Json::String(_)) => value.clone(),
        ("json" | "jsonarg", Json::Object(_) | Json::Array(_)) => value.to_string().into(),
        ("bytes" | "bits", Json::Number(_) | Json::String(_)) => value.clone(),
        _ => return None,
    })
}

fn is_true(value: &Json) -> bool {
    convert("bool", value) == Some(Json::Bool(true))
}

fn text(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "<class 'NoneType'>",
        Json::Bool(_) => "<class 'bool'>",
        Json::Number(n) if n.is_f64() => "<class 'float'>",
        Json::Number(_) => "<class 'int'>",
        Json::String(_) => "<class 'str'>",
        Json::Array(_) => "<class 'list'>",
        Json::Object(_) => "<class 'dict'>",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: Json, values: Json) -> Vec<String> {
        let (Json::Object(spec), Json::Object(values)) = (spec, values) else { panic!("mappings") };
        faults(&spec, &values)
    }

    #[test]
    fn good_values_in_any_form_pass() {
        let spec = json!({
            "port": {"type": "int", "required": true}, "on": {"type": "bool"}, "names": {"type": "list", "elements": "str"},
            "kind": {"choices": ["a", "b"]}, "m": {"type": "dict", "options": {"x": {"type": "int"}}},
            "old": {"aliases": ["older"]},
        });
        let values = json!({
            "port": "80", "on": "yes", "names": "a, b", "kind": "b", "m": {"x": 1}, "older": "z",
        });
        assert_eq!(of(spec, values), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_told() {
        let spec = json!({
            "port": {"type": "int"}, "a": {"required": true}, "b": {"required": true},
            "kind": {"choices": ["a", "b"]},
            "m": {"type": "list", "elements": "dict", "options": {"x": {"required": true}}},
        });
        let values = json!({"port": "x", "kind": "c", "m": [{}], "zzz": 1});
        assert_eq!(
            of(spec, values),
            [
                "argument 'port' is of type <class 'str'> and we were unable to convert to int: it cannot be converted to an int",
                "value of kind must be one of: a, b, got: c",
                "missing required arguments: x found in m",
                "missing required arguments: a, b",
                "zzz. Supported parameters include: port, a, b, kind, m.",
            ]
        );
    }
}
