//! Reaching hosts: OpenSSH or this machine, the agent on the other side, become.
//!
//! Owns: connections and their deadlines, the classes of what can go wrong on the way, bringing up the agent.
//! Must not: know tasks or variables; the engine hands it a [`Target`] and a [`Call`].
//! Called by: the engine, through [`Transport`], so that a simulated fleet can stand in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dcos_play_agent::protocol::{Background, StepKey, StepResult, Stream};
use futures::future::BoxFuture;
use serde_json::{Map, Value};

mod bootstrap;
mod channel;
mod login;
mod pace;
mod pool;
mod shell;

pub use pool::{Pool, PoolSettings};
pub use shell::{answer_askpass, ssh_for_people};

use crate::vars::secrets::Secret;

/// How a host is reached, with every variable resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The inventory name, for messages.
    pub host: Arc<str>,
    pub via: Via,
    pub r#become: Option<Become>,
}

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Via {
    Local,
    Ssh(Box<SshTarget>),
}

/// What `ssh` is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshTarget {
    pub address: String,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub private_key: Option<PathBuf>,
    /// `ansible_ssh_common_args` and kin, split into words.
    pub extra_args: Vec<String>,
    /// `ansible_host_key_checking`; off only when the user says so.
    pub check_host_keys: bool,
    /// `ansible_ssh_executable`.
    pub executable: String,
    pub connect_timeout: Duration,
}

/// Privilege escalation for one user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Become {
    pub method: BecomeMethod,
    pub user: String,
    pub password: Option<Secret>,
    /// `ansible_become_exe`.
    pub executable: Option<String>,
    /// `ansible_become_flags`, split into words.
    pub flags: Vec<String>,
}

impl Become {
    /// The program's usual name, for messages.
    pub(crate) fn program(&self) -> &'static str {
        match self.method {
            BecomeMethod::Sudo => "sudo",
            BecomeMethod::Doas => "doas",
        }
    }
}

/// The program that changes the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BecomeMethod {
    Sudo,
    Doas,
}

/// One module call on a host.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub step: StepKey,
    pub module: Arc<str>,
    pub args: Arc<Map<String, Value>>,
    pub check: bool,
    pub diff: bool,
    pub environment: Arc<[(String, String)]>,
    pub timeout: Option<Duration>,
    pub no_log: bool,
    /// The module says that running it twice gives the same end.
    pub repeat_safe: bool,
    /// A call of an interrupted run whose result the agent may still have; only if it has not, this one is made.
    pub collect: Option<StepKey>,
    /// The step goes on by itself; a call of the same job starts nothing twice.
    pub background: Option<Background>,
    /// Left while the host cannot be reached, and taken again before the call goes on.
    pub seat: Seat,
    /// Contents that the agent spools before the step starts, with the option that receives the path.
    pub uploads: Vec<(String, Content)>,
}

/// A place among the hosts that may work at once.
pub trait Place: Send + Sync {
    /// Lets another host have it.
    fn leave(&self);

    /// Waits until there is one again.
    fn enter(&self) -> BoxFuture<'_, ()>;
}

/// The place of a call, if it has one to give.
#[derive(Clone, Default)]
pub struct Seat(pub Option<Arc<dyn Place>>);

impl Seat {
    /// Waits for something outside without keeping others from working.
    pub async fn without<T>(&self, waiting: impl Future<Output = T>) -> T {
        let Some(place) = &self.0 else { return waiting.await };
        place.leave();
        let done = waiting.await;
        place.enter().await;
        done
    }
}

/// How long a host may keep its place while it is being connected to; most connections are there by then.
const PATIENCE: Duration = Duration::from_secs(1);

impl Seat {
    /// Connects to a host: with the place as long as it goes fast, without it when nobody seems to answer there.
    pub async fn connecting<T>(&self, connection: impl Future<Output = T>) -> T {
        if self.0.is_none() {
            return connection.await;
        }
        let mut connection = std::pin::pin!(connection);
        match tokio::time::timeout(PATIENCE, &mut connection).await {
            Ok(done) => done,
            Err(_) => self.without(connection).await,
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Seat(taken)" } else { "Seat(none)" })
    }
}

/// Bytes to send: from memory, or read from a file while sending so that a large one never fills memory.
#[derive(Debug, Clone)]
pub enum Content {
    Bytes(Arc<[u8]>),
    File(PathBuf),
}

/// A module's answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub result: StepResult,
    pub blob: Vec<u8>,
}

/// A command run without the agent (`raw`).
#[derive(Debug, Clone, Default)]
pub struct RawOutput {
    pub rc: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Receives a running step's output.
pub type OutputSink = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// Why a host could not be used; the engine calls it unreachable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    pub kind: FaultKind,
    /// The full sentence, with ssh's own words where there are any.
    pub what: String,
    /// What to do about it.
    pub next: Option<String>,
}

/// Classes of transport faults. Only those before a step began are ever retried by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Nobody answered within the connect timeout.
    TimedOut,
    /// The address refused, or there is no way to it.
    Refused,
    /// The name has no address.
    UnknownName,
    /// The server closed the connection before any login: it has too many of them at once, or is just starting or ending.
    TurnedAway,
    /// The host key is not the known one, or not known at all.
    HostKey,
    /// The login was refused.
    Login,
    /// `sudo` or `doas` refused, or wants a password that is not there or wrong.
    Become,
    /// The agent could not be put on the host or started.
    Agent,
    /// The connection broke while in use.
    Lost,
    /// It broke while the host had the step, and did not come back in time: the host may have done it all the same.
    LostInStep,
    /// The run that is resumed began the step, and nobody knows how it ended.
    Undecided,
    /// The host was not asked: the step was only looked at.
    NotAsked,
    /// The user cancelled the step and the host did not end it in time.
    Cancelled,
    /// This machine lacks something (the `ssh` program, file descriptors).
    Controller,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "timed out",
            Self::Refused => "refused",
            Self::UnknownName => "unknown name",
            Self::TurnedAway => "turned away",
            Self::HostKey => "host key",
            Self::Login => "login",
            Self::Become => "become",
            Self::Agent => "agent",
            Self::Lost | Self::LostInStep => "connection lost",
            Self::Undecided => "end not known",
            Self::NotAsked => "not asked",
            Self::Cancelled => "cancelled",
            Self::Controller => "controller",
        })
    }
}

impl Fault {
    /// A fault without advice.
    pub(crate) fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), next: None }
    }

    /// Adds what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// Everything the engine asks of hosts. Implemented by [`Pool`] for real ones.
pub trait Transport: Send + Sync {
    /// Runs a module and waits for its result.
    fn call<'a>(
        &'a self,
        target: &'a Target,
        call: Call,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<Reply, Fault>>;

    /// Runs a command line through the login shell, without the agent.
    fn raw<'a>(
        &'a self,
        target: &'a Target,
        command: &'a str,
        timeout: Option<Duration>,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<RawOutput, Fault>>;

    /// Asks the agent to end a running step. False when there is no agent to ask (the host is only being connected to,
    /// or its connection is lost): then no answer will come either.
    fn cancel<'a>(&'a self, target: &'a Target, step: &'a StepKey, grace: Duration) -> BoxFuture<'a, bool>;

    /// Closes the connection (`meta: reset_connection`, before and after a reboot); the next call opens a new one.
    fn reset<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()>;

    /// The host's boot id as the connected agent saw it, connecting if needed.
    fn boot_id<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<String, Fault>>;

    /// Says goodbye to every agent.
    fn close(&self) -> BoxFuture<'_, ()>;
}
