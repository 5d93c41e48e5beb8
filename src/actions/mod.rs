//! Actions: what a task does on the controller, calling modules on the host where needed.
//!
//! Owns: the table of actions with their options. Must not: print, decide about `when`, loops or `register` (the engine
//! does), or reach a host but through [`Remote`].
//! Called by: the engine for each step whose action is not a plain module, in check mode too (an action decides itself
//! what it can say then); resolve, for names and options.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dcos_play_agent::options::Spec;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use crate::connection::{Content, Fault, RawOutput};
use crate::source::Sources;
use crate::template::{Scope, TemplateError, Templates, Value, VaultOpener};
use crate::vars::Layer;

mod add_host;
mod argument_spec;
mod assemble;
mod assert;
mod aws;
mod catalogue;
mod clock;
mod controls;
mod copy;
mod copy_tree;
mod dcos_master_order;
mod debug;
mod differences;
mod fail;
mod fetch;
mod gather_facts;
mod group_by;
mod include_vars;
mod include_vars_files;
mod infrastructure;
mod local_files;
mod pause;
mod raw;
mod reboot;
mod rendering;
mod results;
mod script;
mod set_fact;
mod set_stats;
mod template;
#[cfg(test)]
mod testing;
mod transfer;
mod unarchive;
mod uri;
mod validate_argument_spec;
mod wait_for_connection;
#[cfg(test)]
mod with_agent_tests;

pub use catalogue::Known;
pub use clock::{Clock, SystemClock};
pub use controls::{Answer, Console};
pub(crate) use rendering::data_node;

/// An action: one file each, listed in [`find`].
pub trait Action: Sync {
    /// Name, options, limits.
    fn spec(&self) -> &'static Spec;

    /// True when the action renders [`Context::raw`] itself; it then gets no `args`, and the engine must render none:
    /// a condition or the name of a variable is not a template.
    fn renders_itself(&self) -> bool {
        false
    }

    /// True when one host does it for all (`pause`, `add_host`); results are shared as with `run_once`.
    fn once_for_all_hosts(&self) -> bool {
        false
    }

    /// True when it does nothing to anything but through [`Context::remote`] and its result: then its step need not be on
    /// the disk before it starts, only before the host is asked.
    fn acts_remotely(&self) -> bool {
        false
    }

    /// Does the step for one host. `args` are rendered and coerced by the spec.
    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>>;
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
    pub playbook_directory: &'a Path,
    /// The raw, unrendered arguments: for actions that render themselves (`debug: var=`, `assert: that=`, `set_fact`).
    pub raw: &'a crate::resolve::Arguments,
    /// Files of the run; `include_vars` adds to them.
    pub sources: &'a Sources,
    /// Folder of the task's role, if it has one: where `include_vars: dir=` looks.
    pub role_directory: Option<&'a Path>,
    /// Folder of the file that holds the task.
    pub task_directory: &'a Path,
    /// Inventory name of the host, also when the step is delegated.
    pub host: Arc<str>,
    /// True when the step runs on this machine: a reboot would end the run.
    pub local: bool,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// Opens vault files; `None` without a password.
    pub vault: Option<VaultOpener>,
    /// Where people can answer a `pause`; `None` without a terminal.
    pub console: Option<&'a dyn Console>,
    pub clock: &'a dyn Clock,
    /// False in a rehearsal, which works on no infrastructure.
    pub clouds: bool,
    /// `--allow-replace` was given.
    pub allow_replace: bool,
    /// `--replace`: objects of infrastructure plays that are made anew.
    pub replace: &'a [String],
}

/// What an action ends with.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// By Ansible's names.
    pub result: Map<String, Json>,
    /// What the run's state takes over, in this order.
    pub effects: Vec<Effect>,
}

/// A change of the run's own state. The engine takes over nothing else from an action's result but the `ansible_facts`
/// of `gather_facts`.
#[derive(Debug, Clone)]
pub enum Effect {
    /// `set_fact`: values of the host from now on; data, never rendered again.
    SetFact { vars: Vec<(Arc<str>, Value)>, cacheable: bool },
    /// `include_vars`: variables of the host from now on, rendered when used.
    Vars(Arc<Layer>),
    /// `add_host`: a host for later plays.
    AddHost { host: String, groups: Vec<String>, vars: Map<String, Json> },
    /// `group_by`: the host joins a group, which becomes a child of `parents`.
    GroupBy { group: String, parents: Vec<String> },
}

/// Why an action did not end with a result.
#[derive(Debug)]
pub enum Stop {
    /// The task failed: `msg` and more, by Ansible's names.
    Failed(Map<String, Json>),
    /// A template failed; the engine adds the place and the way to it.
    Template(TemplateError),
    /// The host could not be reached.
    Unreachable(Fault),
    /// Check mode cannot know the result, because of what is said here.
    Unknown(String),
}

impl Stop {
    /// A failure with a message.
    #[must_use]
    pub fn failed(msg: impl Into<String>) -> Self {
        let mut result = Map::new();
        result.insert("msg".into(), Json::String(msg.into()));
        Self::Failed(result)
    }

    /// Adds a return value to a failure.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        if let Self::Failed(result) = &mut self {
            result.insert(name.to_owned(), value.into());
        }
        self
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Unreachable(fault)
    }
}

/// A module's result and the bytes that came with it.
pub type WithBlob = (Map<String, Json>, Vec<u8>);

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
    ) -> BoxFuture<'a, Result<WithBlob, Fault>>;

    /// Runs a shell line without the agent.
    fn raw<'a>(
        &'a self,
        command: &'a str,
        timeout: Option<Duration>,
    ) -> BoxFuture<'a, Result<RawOutput, Fault>>;

    /// Closes the connection; the next call opens a new one.
    fn reset(&self) -> BoxFuture<'_, ()>;

    /// The host's boot id, connecting if needed.
    fn boot_id(&self) -> BoxFuture<'_, Result<String, Fault>>;

    /// Tells people what the host is waiting for.
    fn busy(&self, what: &str);

    /// Tells people that a part of the step is done, as an item of a loop is told.
    fn item(&self, _label: &str, _changed: bool, _result: Map<String, Json>) {}

    /// Tells people that the host came back with another boot id.
    fn rebooted(&self, before: &str, after: &str, took: Duration);
}

static ACTIONS: &[&dyn Action] = &[
    &add_host::AddHost,
    &assemble::Assemble,
    &assert::Assert,
    &copy::Copy,
    &dcos_master_order::DcosMasterOrder,
    &debug::Debug,
    &fail::Fail,
    &fetch::Fetch,
    &gather_facts::GatherFacts,
    &group_by::GroupBy,
    &include_vars::IncludeVars,
    &infrastructure::Infrastructure,
    &pause::Pause,
    &raw::Raw,
    &reboot::Reboot,
    &script::Script,
    &set_fact::SetFact,
    &set_stats::SetStats,
    &template::Template,
    &unarchive::Unarchive,
    &uri::Uri,
    &validate_argument_spec::ValidateArgumentSpec,
    &wait_for_connection::WaitForConnection,
];

fn all() -> impl Iterator<Item = &'static dyn Action> {
    ACTIONS.iter().copied().chain(aws::all())
}

/// Finds an action by its short name or an alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Action> {
    all().find(|a| a.spec().name == name || a.spec().aliases.contains(&name))
}

/// The short names of all actions.
#[must_use]
pub fn names() -> Vec<&'static str> {
    all().map(|a| a.spec().name).collect()
}
