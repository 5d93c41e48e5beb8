//! The modules: one file each, listed in [`catalogue`].
//!
//! Owns: the two-step shape every module has (inspect, then apply) and the driver that runs it.
//! Must not: let a module print, or let check mode reach an `apply`.
//! Called by: the agent for each step; the controller reads the specs.

pub mod alternatives;
pub mod apt;
pub mod apt_key;
pub mod apt_repository;
pub mod authorized_key;
pub mod cron;
pub mod custom;
pub mod deb822_repository;
pub mod debconf;
mod docker;
pub mod docker_container;
mod docker_container_options;
pub mod docker_image;
pub mod docker_info;
pub mod docker_network;
pub mod dpkg_selections;
pub mod firewalld;
pub mod getent;
pub mod git;
pub mod group;
pub mod hostname;
pub mod ini_file;
pub mod iptables;
pub mod known_hosts;
pub mod locale_gen;
pub mod lvol;
pub mod modprobe;
pub mod mount;
pub mod mount_facts;
pub mod package;
pub mod package_facts;
pub mod ping;
pub mod pip;
pub mod reboot;
pub mod rpm_key;
pub mod selinux;
pub mod service;
pub mod service_facts;
pub mod setup;
pub mod sysctl;
pub mod systemd;
pub mod sysvinit;
pub mod timezone;
pub mod user;
pub mod wait_for;
pub mod yum;
pub mod yum_repository;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::options::Spec;

pub mod assemble;
pub mod async_status;
pub mod blockinfile;
pub mod command;
pub mod copy;
mod driver;
mod edit;
mod fetched;
pub mod file;
pub mod find;
pub mod get_url;
mod http;
pub mod lineinfile;
mod pattern;
pub mod replace;
pub mod slurp;
pub mod stat;
pub mod tempfile;
pub mod unarchive;
pub mod uri;

pub(crate) use driver::failed;
pub use driver::{catalogue, find, run};

/// A module: `inspect` reads the host and says what it would change, `apply` makes that change.
pub trait Module {
    /// Options and limits.
    const SPEC: Spec;
    /// Typed arguments, read from the coerced ones.
    type Args: DeserializeOwned;
    /// What `inspect` found must be done; carries all that `apply` needs.
    type Change;

    /// Reads the host. Changes nothing, ever.
    ///
    /// # Errors
    /// A fault that Ansible would report as a failed task.
    fn inspect(args: &Self::Args, host: &Host<'_>) -> Result<Inspection<Self::Change>, Fault>;

    /// Makes the change that `inspect` found.
    ///
    /// # Errors
    /// A fault that Ansible would report as a failed task.
    fn apply(args: &Self::Args, change: Self::Change, host: &Host<'_>) -> Result<Outcome, Fault>;
}

/// What `inspect` found.
pub enum Inspection<C> {
    /// The host is as wanted: reported as `ok` with these results (or `changed` when the outcome says so, e.g. `skipped`).
    Same(Outcome),
    /// The host differs. `predicted` is what check mode reports; its `diff` is shown with `--diff` in both modes.
    Differs { change: C, predicted: Outcome },
}

/// What a module reports, before the driver adds `changed`, `invocation` and warnings.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outcome {
    pub changed: bool,
    /// Return values by Ansible's names.
    pub values: Map<String, Value>,
    /// `{before, after, before_header, after_header}` or `{prepared}`, each one entry of the result's `diff`.
    pub diff: Vec<Value>,
    pub warnings: Vec<String>,
    /// Bytes for the result's blob (`fetch`).
    pub blob: Vec<u8>,
}

/// Why a module failed; becomes `failed: true` with `msg` and these values.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub msg: String,
    pub values: Map<String, Value>,
}

impl Fault {
    /// A fault with only a message.
    pub fn new(msg: impl Into<String>) -> Self {
        Self { msg: msg.into(), values: Map::new() }
    }

    /// Adds a return value to the failed result.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// A failed operation on a path, in the words that say what to do about it.
    #[must_use]
    pub fn io(doing: &str, path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        let path = path.as_ref().display();
        Self::new(match error.kind() {
            std::io::ErrorKind::StorageFull => format!("cannot {doing} `{path}`: no space left on `{path}`"),
            _ => format!("cannot {doing} `{path}`: {}", plain(error)),
        })
    }
}

/// The system's words for an error, without Rust's `(os error 2)`.
#[must_use]
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

impl Outcome {
    /// An outcome that changes nothing and says nothing.
    #[must_use]
    pub fn same() -> Self {
        Self::default()
    }

    /// An outcome that changes something.
    #[must_use]
    pub fn changed() -> Self {
        Self { changed: true, ..Self::default() }
    }

    /// Adds a return value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }
}

/// The module's view of the host it runs on: everything that is not the file system.
pub struct Host<'a> {
    pub check: bool,
    pub diff: bool,
    pub environment: &'a [(String, String)],
    /// Starts commands, streams their output and knows about cancel and timeout.
    pub runner: &'a dyn Runner,
}

/// Starts a command for a module.
pub trait Runner: Sync {
    /// Runs to the end; output is captured, and streamed live when `stream` is set.
    ///
    /// # Errors
    /// When the program cannot be started, or the step was cancelled or ran out of time.
    fn run(&self, command: &Command) -> Result<Finished, Fault>;

    /// True once the step was cancelled or its time is over; long loops without commands ask now and then.
    fn cancelled(&self) -> bool;
}

/// A command as an argument vector: no shell ever sees it.
#[derive(Debug, Clone, Default)]
pub struct Command {
    pub argv: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub directory: Option<String>,
    pub stdin: Option<Vec<u8>>,
    /// Send output to the controller as it comes.
    pub stream: bool,
    pub umask: Option<u32>,
}

/// A finished command.
#[derive(Debug, Clone, Default)]
pub struct Finished {
    /// Exit status; 128 + n when a signal n ended it.
    pub rc: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub seconds: f64,
}
