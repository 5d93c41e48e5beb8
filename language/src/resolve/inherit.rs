//! How keywords pass from play to role to block to task.
//!
//! Owns: which keyword replaces and which adds up. Must not: know tasks; it merges one level into the next.

use std::sync::Arc;

use super::{Condition, Inherited, Settings};
use crate::source::{Diagnostic, Diagnostics, Node, Span, Yaml};
use crate::syntax::Keywords;
use crate::vars::Layer;

const INHERITABLE: &[&str] = &[
    "become",
    "become_user",
    "become_method",
    "become_flags",
    "become_exe",
    "connection",
    "remote_user",
    "port",
    "check_mode",
    "diff",
    "ignore_errors",
    "ignore_unreachable",
    "any_errors_fatal",
    "no_log",
    "run_once",
    "throttle",
    "timeout",
    "delegate_to",
    "delegate_facts",
    "debugger",
    "environment",
    "module_defaults",
    "collections",
];

/// Merges a level's inheritable keywords over the outer ones.
pub(super) fn settings(outer: &Arc<Settings>, keywords: &Keywords) -> Arc<Settings> {
    let mut merged: Option<Settings> = None;
    for given in keywords.given.iter().filter(|g| !g.value.is_null()) {
        let value = &given.value;
        if !INHERITABLE.contains(&given.name) {
            continue;
        }
        let current = merged.get_or_insert_with(|| (**outer).clone());
        macro_rules! replace {
            ($($name:literal $field:ident,)*) => {
                match given.name {
                    $($name => current.$field = Some(value.clone()),)*
                    "environment" => current.environment.extend(one_or_many(value)),
                    "module_defaults" => current.module_defaults.extend(one_or_many(value)),
                    "collections" => {
                        let own: Vec<String> = one_or_many(value).filter_map(|n| n.scalar_text()).collect();
                        current.collections.extend(own);
                    }
                    _ => {}
                }
            };
        }
        replace! {
            "become" r#become,
            "become_user" become_user,
            "become_method" become_method,
            "become_flags" become_flags,
            "become_exe" become_exe,
            "connection" connection,
            "remote_user" remote_user,
            "port" port,
            "check_mode" check_mode,
            "diff" diff,
            "ignore_errors" ignore_errors,
            "ignore_unreachable" ignore_unreachable,
            "any_errors_fatal" any_errors_fatal,
            "no_log" no_log,
            "run_once" run_once,
            "throttle" throttle,
            "timeout" timeout,
            "delegate_to" delegate_to,
            "delegate_facts" delegate_facts,
            "debugger" debugger,
        }
    }
    merged.map_or_else(|| Arc::clone(outer), Arc::new)
}

/// The next level inward: settings, `when`, `tags`, `vars` and `notify` of a block, role or import.
pub(super) fn inward(outer: &Inherited, keywords: &Keywords, out: &mut Diagnostics) -> Inherited {
    let mut inner = outer.clone();
    super::catalogue::check_groups(keywords.get("module_defaults"), out);
    inner.settings = settings(&outer.settings, keywords);
    inner.when.extend(conditions(keywords.get("when")));
    add_tags(&mut inner.tags, keywords.get("tags"));
    if let Some(layer) = keywords.get("vars").and_then(|n| layer(n, out)) {
        inner.vars.push(layer);
    }
    if let Some(own) = keywords.get("notify") {
        inner.notify = one_or_many(own).collect();
    }
    inner
}

/// A `when` and kin as a list.
pub(super) fn conditions(value: Option<&Node>) -> Vec<Condition> {
    value.into_iter().flat_map(one_or_many).map(|expression| Condition { expression }).collect()
}

/// Adds tags, each once; a text may name several with commas.
pub(super) fn add_tags(tags: &mut Vec<String>, value: Option<&Node>) {
    for text in value.into_iter().flat_map(one_or_many).filter_map(|n| n.scalar_text()) {
        // A comma inside a template belongs to the template.
        let parts: Vec<&str> =
            if text.contains("{{") { vec![text.as_str()] } else { text.split(',').collect() };
        for tag in parts.into_iter().map(str::trim).filter(|t| !t.is_empty()) {
            if !tags.iter().any(|t| t == tag) {
                tags.push(tag.to_owned());
            }
        }
    }
}

/// A list's items, or the value itself as the only one; an empty value has none.
pub(super) fn one_or_many(value: &Node) -> impl Iterator<Item = Node> + use<> {
    let items = match &value.value {
        Yaml::Seq(items) => items.clone(),
        Yaml::Null => Vec::new(),
        _ => vec![value.clone()],
    };
    items.into_iter()
}

/// `vars:` of a play, role, block or task, names checked.
pub(super) fn layer(node: &Node, out: &mut Diagnostics) -> Option<Arc<Layer>> {
    let map = node.as_map()?;
    for entry in &map.entries {
        let name = entry.key.as_str().unwrap_or("");
        if !is_variable_name(name) {
            let shown = entry.key.scalar_text().unwrap_or_default();
            out.push(
                Diagnostic::error(
                    "bad-variable-name",
                    format!("`{shown}` cannot be the name of a variable"),
                    entry.key.span,
                )
                .help("letters, digits and `_`, and no digit first"),
            );
        }
    }
    Some(Arc::new(file_layer(node, node.span)))
}

/// A variables file, or any mapping, as a layer.
pub(super) fn file_layer(node: &Node, span: Span) -> Layer {
    let entries = node.as_map().map(|m| m.entries.as_slice()).unwrap_or_default();
    Layer {
        entries: entries
            .iter()
            .filter_map(|e| Some((Arc::from(e.key.scalar_text()?), Arc::new(e.value.clone()))))
            .collect(),
        span: Some(span),
    }
}

/// Puts `upper`'s entries over `lower`'s.
pub(super) fn over(lower: &Layer, upper: &Layer) -> Layer {
    let mut merged = lower.clone();
    for (name, value) in &upper.entries {
        match merged.entries.iter_mut().find(|(n, _)| n == name) {
            Some(there) => there.1 = Arc::clone(value),
            None => merged.entries.push((Arc::clone(name), Arc::clone(value))),
        }
    }
    merged.span = merged.span.or(upper.span);
    merged
}

pub(super) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
