//! Documents of instances, and the variables made of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::options::Settings;
use super::query::Ec2Answer;
use crate::source::{Entry, Mapping, Node, Span, Yaml};

/// Each instance once, without those excluded, by id.
pub(super) fn merged(answer: Ec2Answer) -> Vec<Json> {
    let excluded: HashSet<String> = answer.excluded.into_iter().collect();
    let mut by_id = BTreeMap::new();
    for instance in answer.included {
        let id = text(&instance, "instance_id").unwrap_or_default().to_owned();
        if !excluded.contains(&id) {
            by_id.entry(id).or_insert(instance);
        }
    }
    by_id.into_values().collect()
}

/// A text of the document, by a path with dots; nothing when it is empty.
pub(super) fn text<'d>(instance: &'d Json, path: &str) -> Option<&'d str> {
    path.split('.').try_fold(instance, |at, name| at.get(name))?.as_str().filter(|t| !t.is_empty())
}

/// The tags.
pub(super) fn tags(instance: &Json) -> impl Iterator<Item = (&String, &str)> {
    let tags = instance.get("tags").and_then(Json::as_object);
    tags.into_iter().flatten().map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

/// The variables of the host, renamed as the options say.
pub(super) fn variables(instance: &Json, settings: &Settings) -> Map<String, Json> {
    let mut vars = instance.as_object().cloned().unwrap_or_default();
    let tags = vars.get("tags").cloned().unwrap_or_else(|| Json::Object(Map::new()));
    if settings.tag_variables {
        for (key, value) in tags.as_object().into_iter().flatten() {
            vars.insert(format!("ec2_tag_{key}"), value.clone());
        }
    }
    vars.insert("ec2_tags".to_owned(), tags.clone());
    vars.insert("tags".to_owned(), tags);
    if settings.prefix.is_empty() && settings.suffix.is_empty() {
        return vars;
    }
    let renamed = |(name, value)| (format!("{}{name}{}", settings.prefix, settings.suffix), value);
    vars.into_iter().map(renamed).collect()
}

/// A value as a node. Texts of an account are data: nothing in a tag is ever rendered as a template.
pub(super) fn data(value: &Json, span: Span) -> Node {
    let text = |text: &str| match is_time(text) {
        true => Yaml::Str(Arc::from(text)),
        false => Yaml::Unsafe(Arc::from(text)),
    };
    let value = match value {
        Json::Null => Yaml::Null,
        Json::Bool(truth) => Yaml::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Yaml::Int(int),
            (None, Some(float)) => Yaml::Float(float),
            (None, None) => text(&number.to_string()),
        },
        Json::String(value) => text(value),
        Json::Array(items) => Yaml::Seq(items.iter().map(|i| data(i, span)).collect()),
        Json::Object(map) => {
            let entry = |(name, item): (&String, &Json)| Entry {
                key: Node { span, value: Yaml::Str(Arc::from(&**name)) },
                value: data(item, span),
            };
            Yaml::Map(Mapping { entries: map.iter().map(entry).collect() })
        }
    };
    Node { span, value }
}

/// True for `2026-01-02T03:04:05+00:00`: a time is no text for Ansible, and so carries no mark in what it prints.
fn is_time(text: &str) -> bool {
    let digits = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let form: String = text.chars().map(digits).collect();
    matches!(&*form, "0000-00-00T00:00:00+00:00" | "0000-00-00T00:00:00.000000+00:00")
}
