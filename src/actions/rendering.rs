//! Rendering for actions.
//!
//! Owns: template errors as failed tasks, values as JSON, variables that only one rendering sees.
//! Must not: know single actions.

use std::path::PathBuf;
use std::sync::Arc;

use dcos_play_agent::options::Spec;
use serde_json::Value as Json;

use super::{Context, Stop};
use crate::source::{Entry, Mapping, Node, Span, Yaml};
use crate::template::{ErrorKind, Scope, SearchPath, TemplateError, Value, Var, is_omit};

impl From<TemplateError> for Stop {
    fn from(error: TemplateError) -> Self {
        if error.kind == ErrorKind::Unknown {
            return Self::Unknown(error.message.clone());
        }
        Self::Template(error)
    }
}

/// The error in one line: place in a template file, message, advice.
pub(super) fn told(error: &TemplateError) -> String {
    let mut text = error.to_string();
    if let Some(file) = &error.file
        && !text.contains(file.as_str())
    {
        text = format!("{file}: {text}");
    }
    match &error.help {
        Some(help) => format!("{text}; {help}"),
        None => text,
    }
}

/// A value for a result.
pub(super) fn json(value: &Value) -> Json {
    // Not every value has a JSON form (a mapping with a list as key): such a one is shown as text.
    serde_json::to_value(value).unwrap_or_else(|_| Json::String(value.to_string()))
}

/// A scope with variables of one rendering in front of it.
#[derive(Debug)]
pub(super) struct With {
    pub(super) base: Arc<dyn Scope>,
    pub(super) extra: Vec<(&'static str, Value)>,
    /// Searched last.
    pub(super) folder: Option<PathBuf>,
}

impl Scope for With {
    fn get(&self, name: &str) -> Option<Var> {
        self.extra
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| Var::Data(v.clone()))
            .or_else(|| self.base.get(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.base.names();
        names.extend(self.extra.iter().map(|(n, _)| (*n).to_owned()));
        names.sort();
        names.dedup();
        names
    }

    fn search(&self) -> SearchPath {
        let mut path = self.base.search();
        path.bases.extend(self.folder.clone());
        path
    }
}

/// The arguments of a task as written, for actions that render them themselves.
pub(super) struct RawArguments {
    entries: Vec<(String, Span, Node)>,
}

impl RawArguments {
    /// Takes the task's entries; `args: "{{ variable }}"` is rendered and its values count as data.
    pub(super) fn of(context: &Context<'_>) -> Result<Self, Stop> {
        let mut entries: Vec<(String, Span, Node)> =
            context.raw.entries.iter().map(|(k, v)| (k.value.clone(), k.span, v.clone())).collect();
        if let Some(whole) = &context.raw.whole {
            let value = context.templates.node(whole, &context.scope)?;
            let Json::Object(map) = json(&value) else {
                return Err(Stop::failed(format!("the arguments must be a mapping, not `{value}`")));
            };
            for (name, value) in map {
                // What stands beside the template wins over what is in it.
                if !entries.iter().any(|(n, ..)| *n == name) {
                    entries.push((name, whole.span, data_node(&value, whole.span)));
                }
            }
        }
        Ok(Self { entries })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.entries.iter().find(|(n, ..)| n == name).map(|(.., node)| node).filter(|n| n.value != Yaml::Null)
    }

    pub(super) fn entries(&self) -> &[(String, Span, Node)] {
        &self.entries
    }

    /// An argument's value; `omit` and `null` are none.
    pub(super) fn rendered(&self, context: &Context<'_>, name: &str) -> Result<Option<Value>, Stop> {
        let Some(node) = self.get(name) else { return Ok(None) };
        let value = context.templates.node(node, &context.scope)?;
        Ok(Some(value).filter(|v| !v.is_none() && !is_omit(v)))
    }

    /// A boolean argument, false when absent.
    pub(super) fn flag(
        &self,
        context: &Context<'_>,
        spec: &'static Spec,
        name: &'static str,
    ) -> Result<bool, Stop> {
        let Some(value) = self.rendered(context, name)? else { return Ok(false) };
        match value.to_string().trim().to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "y" | "t" => Ok(true),
            "false" | "no" | "off" | "0" | "n" | "f" => Ok(false),
            other => {
                Err(Stop::failed(format!("`{name}` of `{}` must be a boolean, not `{other}`", spec.name)))
            }
        }
    }

    /// Refuses names that the spec does not know; reaches those that came in through a variable.
    pub(super) fn check(&self, spec: &'static Spec) -> Result<(), Stop> {
        match self.entries.iter().find(|(name, ..)| spec.option(name).is_none()) {
            Some((name, ..)) => Err(Stop::failed(format!("`{}` has no option `{name}`", spec.name))),
            None => Ok(()),
        }
    }
}

/// Data as a node whose text is never a template.
pub(crate) fn data_node(value: &Json, span: Span) -> Node {
    let value = match value {
        Json::Null => Yaml::Null,
        Json::Bool(b) => Yaml::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Yaml::Int(i),
            None => Yaml::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Yaml::Unsafe(s.as_str().into()),
        Json::Array(items) => Yaml::Seq(items.iter().map(|v| data_node(v, span)).collect()),
        Json::Object(map) => Yaml::Map(Mapping {
            entries: map
                .iter()
                .map(|(k, v)| Entry {
                    key: Node { span, value: Yaml::Unsafe(k.as_str().into()) },
                    value: data_node(v, span),
                })
                .collect(),
        }),
    };
    Node { span, value }
}
