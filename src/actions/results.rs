//! Small helpers for results.
//!
//! Owns: how results are put together and taken apart. Must not: know single actions.

use dcos_play_agent::options::Spec;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{Done, Effect, Stop};

/// A result under construction.
pub(super) struct Reply(pub(super) Map<String, Json>);

impl Reply {
    /// Starts with `changed`.
    pub(super) fn new(changed: bool) -> Self {
        Self(Map::from_iter([("changed".to_owned(), Json::Bool(changed))]))
    }

    /// Adds a return value.
    pub(super) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A step that had nothing to do.
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self::new(false).with("skipped", true).with("msg", why.into())
    }

    pub(super) fn done(self) -> Result<Done, Stop> {
        Ok(Done { result: self.0, effects: Vec::new() })
    }

    pub(super) fn effect(self, effect: Effect) -> Result<Done, Stop> {
        Ok(Done { result: self.0, effects: vec![effect] })
    }
}

/// Reads coerced arguments into an action's own type.
pub(super) fn typed<T: DeserializeOwned>(spec: &Spec, args: Map<String, Json>) -> Result<T, Stop> {
    serde_json::from_value(Json::Object(args))
        .map_err(|e| Stop::failed(format!("the arguments of `{}` do not fit: {e}", spec.name)))
}

/// A module's result; a failed one stops the action.
pub(super) fn checked(result: Map<String, Json>) -> Result<Map<String, Json>, Stop> {
    if flag(&result, "failed") { Err(Stop::Failed(result)) } else { Ok(result) }
}

/// A boolean return value; absent means false.
pub(super) fn flag(result: &Map<String, Json>, name: &str) -> bool {
    result.get(name).and_then(Json::as_bool).unwrap_or(false)
}

/// Adds what Ansible adds to every command's output.
pub(super) fn add_lines(result: &mut Map<String, Json>) {
    for name in ["stdout", "stderr"] {
        if let Some(Json::String(text)) = result.get(name) {
            let lines: Vec<Json> = text.lines().map(Json::from).collect();
            result.insert(format!("{name}_lines"), Json::Array(lines));
        }
    }
}

/// Seconds without a needless fraction.
pub(super) fn seconds(time: std::time::Duration) -> String {
    if time.subsec_millis() == 0 { time.as_secs().to_string() } else { format!("{:.1}", time.as_secs_f64()) }
}
