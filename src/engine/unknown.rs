//! Results that check mode cannot predict, as variables.
//!
//! Owns: what of such a result is known, and the mark by which reports tell of it. Must not: decide which modules can be
//! predicted (their specs do).
//!
//! The mark is a key of a result ([`MARK`]): `true` when nothing of it is known, else the names that are not. Whatever
//! the result does not name at all is unknown too. An unknown value spreads through templates and conditions, so that a
//! dry run tells what it cannot know instead of guessing.

use std::sync::Arc;

use dcos_play_agent::options::CheckSupport;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use serde_json::{Map, Value as Json};

use super::dispatch::data;
use crate::actions::Effect;
use crate::journal::{UNKNOWN as MARK, look};
use crate::resolve::{ActionKind, Condition, Task};
use crate::source::Yaml;
use crate::template::{Value, is_unknown, unknown};

/// What is known of any result: it says which call it belongs to, not what came of it.
const KNOWN: [&str; 6] = ["ansible_loop_var", "ansible_index_var", "ansible_loop", "invocation", "cmd", MARK];

/// A result that is known in part.
#[derive(Debug)]
struct Unpredicted {
    known: Map<String, Json>,
    values: Vec<(String, Value)>,
}

impl Object for Unpredicted {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let known = self.values.iter().find(|(known, _)| known == name);
        Some(known.map_or_else(unknown, |(_, value)| value.clone()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.known.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// Marks what a module said in check mode although it cannot predict what it does.
pub(super) fn mark(task: &Task, result: &mut Map<String, Json>) {
    let blind = match &task.action.kind {
        ActionKind::Module(spec) => spec.check == CheckSupport::None,
        ActionKind::Custom(_) => true,
        // Those of the controller skip for other reasons too.
        ActionKind::Controller(_) => {
            let said = result.get("msg").and_then(Json::as_str).unwrap_or_default();
            said.starts_with("skipped, running in check mode") || said.starts_with("Command would have run")
        }
        ActionKind::Meta(_) | ActionKind::IncludeTasks | ActionKind::IncludeRole => false,
    };
    let is = |key: &str| result.get(key) == Some(&Json::Bool(true));
    if !blind || result.contains_key(MARK) || is("failed") {
        return;
    }
    // `creates` and `removes` tell that a command would run, not what it would say.
    let would_run = matches!(task.action.kind, ActionKind::Module(_)) && is("changed");
    let skipped = is("skipped") && result.get("false_condition").is_none();
    if !(would_run || skipped) {
        return;
    }
    let kept = |name: &str| match name {
        "skipped" => true,
        "changed" => would_run,
        name => KNOWN.contains(&name),
    };
    let mut names: Vec<Json> =
        result.keys().filter(|name| !kept(name)).map(|name| name.as_str().into()).collect();
    for name in ["changed", "failed", "rc"] {
        if !kept(name) && !names.iter().any(|known| known == name) {
            names.push(name.into());
        }
    }
    result.insert(MARK.into(), Json::Array(names));
}

/// Modules that only look.
const LOOKS: [&str; 3] = ["stat", "slurp", "find"];

/// What a call works on or looks at: `creates` and `removes` decide whether it does anything.
pub(super) struct Subject {
    paths: Vec<String>,
    looks: bool,
}

impl Subject {
    /// The paths among a call's arguments.
    pub(super) fn of(module: &str, args: &Map<String, Json>) -> Self {
        let paths = |names: &[&str]| -> Vec<String> {
            let values = names.iter().filter_map(|name| args.get(*name)?.as_str());
            values.map(|path| path.trim_end_matches('/').to_owned()).collect()
        };
        let mut guards = paths(&["creates", "removes"]);
        if !guards.is_empty() {
            // The root is there whatever earlier tasks make below it.
            guards.retain(|path| !path.is_empty());
            return Self { paths: guards, looks: true };
        }
        let looks = LOOKS.contains(&module);
        Self { paths: paths(if looks { &["path", "src", "paths"] } else { &["path", "dest"] }), looks }
    }

    /// Check mode: earlier tasks have not made what they would make. A task that only looks there, or fails there, tells
    /// nothing about a real run; one that would change something is remembered.
    pub(super) fn foresee(self, changed: &mut Vec<String>, result: &mut Map<String, Json>) {
        let below = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let met = self.paths.iter().any(|p| changed.iter().any(|c| below(p, c) || below(c, p)));
        let is = |key: &str| result.get(key) == Some(&Json::Bool(true));
        if met && (self.looks || is("failed")) {
            *result = super::dispatch::not_known("an earlier task would change what this one looks at");
        } else if is("changed") {
            changed.extend(self.paths);
        }
    }
}

/// Marks a task that set variables to values that are not known.
pub(super) fn mark_set(result: &mut Map<String, Json>, effects: &[Effect]) {
    let open = effects.iter().any(|effect| match effect {
        Effect::SetFact { vars, .. } => vars.iter().any(|(_, value)| is_unknown(value)),
        _ => false,
    });
    if open {
        result.insert(MARK.into(), Json::Array(vec!["ansible_facts".into()]));
    }
}

/// What a task sets that could not even be run: each name, unknown.
pub(super) fn set_by(task: &Task) -> Vec<Arc<str>> {
    if &*task.action.name != "set_fact" {
        return Vec::new();
    }
    let names = task.action.args.entries.iter().map(|(name, _)| name.value.as_str());
    let names = names.filter(|name| *name != "cacheable" && !crate::template::template_text(name));
    names.map(Arc::from).collect()
}

/// True for a result of which something is not known.
pub(super) fn is_marked(result: &Map<String, Json>) -> bool {
    look(result, MARK).is_some()
}

/// True for a result of which everything is known, the items of a loop included.
pub(super) fn is_whole(result: &Map<String, Json>) -> bool {
    let inside = || match look(result, "results") {
        Some(Json::Array(items)) => items.iter().any(|i| i.as_object().is_some_and(is_marked)),
        _ => false,
    };
    !is_marked(result) && !inside()
}

/// Something of a marked result is known after all: the task itself says it.
pub(super) fn learn(result: &mut Map<String, Json>, name: &str) {
    if let Some(Json::Array(names)) = result.get_mut(MARK) {
        names.retain(|known| known != name);
    }
}

/// Whether it is not known of a result if it changed something.
pub(super) fn may_change(task: &Task, result: &Map<String, Json>) -> bool {
    let never = |c: &Condition| c.expression.value == Yaml::Bool(false);
    match look(result, MARK) {
        // `changed_when: false` says it, also of a command that was not run.
        Some(_) if task.changed_when.iter().any(never) => false,
        None => false,
        Some(Json::Array(names)) => names.iter().any(|name| name == "changed"),
        Some(_) => true,
    }
}

/// A result as variables see it: what is not known of it is an unknown value.
pub(super) fn variable(result: &Map<String, Json>) -> Value {
    if is_whole(result) {
        return data(result);
    }
    let open: Option<Vec<&str>> = match result.get(MARK) {
        Some(Json::Array(names)) => Some(names.iter().filter_map(Json::as_str).collect()),
        Some(_) => None,
        None => Some(Vec::new()),
    };
    // The variable of the loop has any name.
    let looped = result.get("ansible_loop_var").and_then(Json::as_str).unwrap_or_default();
    let kept = |name: &str| match &open {
        Some(open) => !open.contains(&name),
        None => KNOWN.contains(&name) || name == looped || name == "results",
    };
    let values = result.iter().filter(|(name, _)| kept(name)).map(|(name, value)| {
        let value = match value {
            Json::Array(items) if name == "results" => {
                items.iter().map(|item| item.as_object().map_or_else(|| data(item), variable)).collect()
            }
            other => data(other),
        };
        (name.clone(), value)
    });
    Value::from_object(Unpredicted { values: values.collect(), known: result.clone() })
}

/// Marks the result of a loop by its items.
pub(super) fn mark_loop(all: &mut Map<String, Json>, results: &[Json]) {
    if results.iter().any(|item| item.as_object().is_some_and(is_marked)) {
        let names = ["changed", "failed", "msg"].into_iter().filter(|name| {
            // One item that changed something is enough to know.
            !(*name == "changed" && all.get("changed") == Some(&Json::Bool(true)))
        });
        let names = names.map(Json::from).collect();
        all.insert(MARK.into(), Json::Array(names));
    }
}

/// Whether a task that was left out, because it was not known whether it runs, could have made variables of any name.
pub(super) fn brings_variables(task: &Task) -> bool {
    let includes = matches!(task.action.kind, ActionKind::IncludeTasks | ActionKind::IncludeRole);
    let facts =
        matches!(&*task.action.name, "include_vars" | "setup" | "gather_facts" | "add_host" | "group_by");
    // A name that is itself a template.
    let sets = &*task.action.name == "set_fact"
        && task.action.args.entries.iter().any(|(name, _)| crate::template::template_text(&name.value));
    includes || facts || sets || matches!(task.action.kind, ActionKind::Custom(_))
}
