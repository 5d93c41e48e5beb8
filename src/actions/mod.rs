//! Actions: what a task does on the controller, calling modules on the host where needed.
//!
//! Owns: the table of actions with their options. Must not: print, decide about `when`, loops or `register` (the engine
//! does), or reach a host but through [`Remote`].
//! Called by: the engine for each step whose action is not a plain module; resolve, for names and options.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dcos_play_agent::options::Spec;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use crate::connection::{Content, Fault, RawOutput};
use crate::template::{Scope, Templates};

/// An action: one file each, listed in [`find`].
pub trait Action: Sync {
    /// Name, options, limits.
    fn spec(&self) -> &'static Spec;

    /// Does the step for one host. `args` are rendered and coerced by the spec.
    fn run<'a>(&'a self, context: &'a Context<'a>, args: Map<String, Json>) -> BoxFuture<'a, Result<Map<String, Json>, Stop>>;
}

/// What an action sees.
pub struct Context<'a> {
    pub templates: &'a Templates,
    /// Variables of the host and the task, loop variables included.
    pub scope: Arc<dyn Scope>,
    pub remote: &'a dyn Remote,
    pub check: bool,
    pub diff: bool,
    /// Folder of the playbook; relative paths end here.
    pub playbook_directory: PathBuf,
    /// The raw, unrendered arguments: for actions that render themselves (`debug: var=`, `assert: that=`, `set_fact`).
    pub raw: &'a crate::resolve::Arguments,
}

/// Why an action did not end with a result.
#[derive(Debug)]
pub enum Stop {
    /// The task failed: `msg` and more, by Ansible's names.
    Failed(Map<String, Json>),
    /// The host could not be reached.
    Unreachable(Fault),
}

impl Stop {
    /// A failure with a message.
    #[must_use]
    pub fn failed(msg: impl Into<String>) -> Self {
        let mut result = Map::new();
        result.insert("msg".into(), Json::String(msg.into()));
        Self::Failed(result)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Unreachable(fault)
    }
}

/// The host of the step (or the one it is delegated to).
pub trait Remote: Send + Sync {
    /// Runs an agent module under the step's become, environment, check mode and timeout. The result may say `failed`.
    fn module<'a>(
        &'a self,
        module: &'a str,
        args: Map<String, Json>,
        uploads: Vec<(String, Content)>,
    ) -> BoxFuture<'a, Result<Map<String, Json>, Fault>>;

    /// As [`Remote::module`], but really runs even in check mode: for steps that only read.
    fn module_always<'a>(
        &'a self,
        module: &'a str,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<(Map<String, Json>, Vec<u8>), Fault>>;

    /// Runs a shell line without the agent.
    fn raw<'a>(&'a self, command: &'a str, timeout: Option<Duration>) -> BoxFuture<'a, Result<RawOutput, Fault>>;

    /// Closes the connection; the next call opens a new one.
    fn reset(&self) -> BoxFuture<'_, ()>;

    /// The host's boot id, connecting if needed.
    fn boot_id(&self) -> BoxFuture<'_, Result<String, Fault>>;

    /// Tells people what the host is waiting for.
    fn busy(&self, what: &str);

    /// Tells people that the host came back with another boot id.
    fn rebooted(&self, before: &str, after: &str, took: Duration);
}
