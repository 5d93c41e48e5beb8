//! The facts of a run.
//!
//! An event says what happened, never how to show it. All but [`EventKind::StepOutput`] and
//! [`EventKind::HostBusy`] are kept in the journal; those two are progress that a reader may miss.

use std::sync::Arc;

use dcos_play_agent::protocol::Stream;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::vars::ByName;

/// The key that marks results which check mode cannot predict: `true` when nothing of the result is known, else the names that
/// are not. Nobody's module answers with it.
pub const UNKNOWN: &str = "_dcos_play_unknown";

/// What a result has under a name. Results have a handful of names, and comparing those is faster than hashing one.
#[must_use]
pub(crate) fn look<'r>(result: &'r Map<String, Value>, name: &str) -> Option<&'r Value> {
    if result.len() > 12 {
        return result.get(name);
    }
    result.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Numbers a step within a run.
pub type StepId = u64;
/// Position of a play in the playbook, imported playbooks expanded.
pub type PlayId = usize;

/// A fact about the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    RunStarted {
        run: String,
        version: String,
        /// The command line, secrets masked.
        command: Vec<String>,
        playbooks: Vec<String>,
        mode: RunMode,
        pid: u32,
        /// The run that is resumed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumes: Option<String>,
    },
    PlayStarted {
        play: PlayId,
        name: String,
        phase: Option<String>,
        hosts: Vec<Arc<str>>,
        place: Place,
        /// Plays whose end it waited for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        after: Vec<PlayId>,
    },
    /// A batch of a play with `serial`.
    BatchStarted {
        play: PlayId,
        batch: usize,
        hosts: Vec<Arc<str>>,
    },
    PlayFinished {
        play: PlayId,
    },
    /// The play could not start or go on, which ends the run.
    PlayBroken {
        play: PlayId,
        why: String,
        place: Place,
    },
    PlayNotRun {
        play: PlayId,
        name: String,
        why: NotRun,
    },
    /// The host waits until the others reach a point, for this reason.
    HostWaiting {
        play: PlayId,
        host: Arc<str>,
        reason: String,
        place: Place,
    },
    StepStarted {
        step: StepId,
        play: PlayId,
        host: Arc<str>,
        path: Arc<str>,
        name: Arc<str>,
        role: Option<Arc<str>>,
        action: Arc<str>,
        place: Arc<Place>,
        /// The host that does it for this one; not told when the items of a loop go to different ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegate: Option<Arc<str>>,
    },
    /// Output of a running step; progress only.
    StepOutput {
        step: StepId,
        host: Arc<str>,
        stream: Stream,
        text: String,
    },
    /// What a busy host is doing now (`waits for ssh`, `1 of 3 serving`); progress only.
    HostBusy {
        host: Arc<str>,
        what: String,
    },
    /// One item of a loop has ended.
    StepItem {
        step: StepId,
        host: Arc<str>,
        label: String,
        outcome: Outcome,
        result: Map<String, Value>,
    },
    /// `until` was not met; another attempt follows.
    StepRetry {
        step: StepId,
        host: Arc<str>,
        attempt: u32,
        retries: u32,
        delay_ms: u64,
    },
    StepFinished {
        step: StepId,
        play: PlayId,
        host: Arc<str>,
        path: Arc<str>,
        outcome: Outcome,
        took_ms: u64,
        /// Ansible's result, masked; empty with `no_log`.
        result: Arc<Map<String, Value>>,
        /// The part of the task that failed, when it can be told, with the include chain outermost first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Box<Failure>>,
        /// Hash of what decided what the step did; a resumed run takes the result over only if its own is the same.
        #[serde(default)]
        fingerprint: Arc<str>,
        /// False when the result above is not the whole truth (`no_log`, masked secrets).
        #[serde(default)]
        kept: bool,
        /// Taken over from the run that is resumed; nothing was done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        adopted: bool,
    },
    /// A resumed run takes over nothing more for this host: it goes on for real at this task.
    HostDeparted {
        play: PlayId,
        host: Arc<str>,
        path: Arc<str>,
        /// The how manyth time that the host meets the task, from 0.
        nth: usize,
        why: String,
    },
    HandlersNotified {
        step: StepId,
        host: Arc<str>,
        handlers: Vec<String>,
    },
    /// The failure was taken up by a `rescue`.
    HostRescued {
        play: PlayId,
        host: Arc<str>,
    },
    HostUnreachable {
        step: StepId,
        host: Arc<str>,
        kind: String,
        what: String,
        next: Option<String>,
        place: Place,
        /// What the host did of the step may be more than is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        open: Option<OpenEnd>,
    },
    HostRebooted {
        host: Arc<str>,
        before: String,
        after: String,
        took_ms: u64,
    },
    Warning {
        text: String,
        place: Option<Place>,
    },
    CancelBegan {
        reason: CancelReason,
        running: usize,
    },
    RunFinished {
        totals: Totals,
        took_ms: u64,
        exit: u8,
    },
}

/// A step whose end is not known, because its host could not be asked any more; a resumed run asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenEnd {
    /// This run sent the step.
    ThisRun,
    /// The run that this one resumes did, and nothing was sent since.
    EarlierRun,
}

/// What is shown of a failed step besides its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub name: String,
    pub place: Place,
    /// Source lines around the place, rendered with a marker.
    pub excerpt: String,
    /// `included from playbooks/provision.yml:31 (role master)`, outermost first.
    pub chain: Vec<String>,
    pub ran_as: String,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Whether the run may change hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    Apply,
    Check,
}

/// How a step (or one item of its loop) ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Changed,
    Skipped,
    Failed,
    FailureIgnored,
    Unreachable,
    UnreachableIgnored,
    Cancelled,
}

/// Why something was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum NotRun {
    NoHosts {
        pattern: String,
    },
    /// `--start-at-task` names a task of a later play.
    BeforeStart,
    HostsLost {
        needs: String,
        hosts: Vec<Arc<str>>,
    },
    Cancelled,
}

/// Who asked for the end, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// First Ctrl-C: no new steps.
    FirstInterrupt,
    /// Second Ctrl-C: running steps are ended.
    SecondInterrupt,
    /// Third Ctrl-C: the run leaves its hosts as they are.
    ThirdInterrupt,
    /// The journal cannot be written.
    JournalFailed,
}

/// Ansible's recap counters of one host, and the time it was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostTotals {
    pub ok: u32,
    pub changed: u32,
    pub unreachable: u32,
    pub failed: u32,
    pub skipped: u32,
    pub rescued: u32,
    pub ignored: u32,
    /// Check mode: steps of which something cannot be known before a real run.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unknown: u32,
    pub busy_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// The counters of all hosts, in inventory order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    pub hosts: IndexMap<Arc<str>, HostTotals, ByName>,
}

impl Totals {
    /// Counts a step of which check mode cannot know everything.
    pub fn count_unknown(&mut self, host: &Arc<str>) {
        self.hosts.entry(Arc::clone(host)).or_default().unknown += 1;
    }

    /// Counts a finished step the way Ansible's recap does.
    pub fn count(&mut self, host: &Arc<str>, outcome: Outcome, changed: bool, took_ms: u64) {
        let row = match self.hosts.get_mut(host) {
            Some(row) => row,
            None => self.hosts.entry(Arc::clone(host)).or_default(),
        };
        row.busy_ms += took_ms;
        match outcome {
            Outcome::Ok => row.ok += 1,
            Outcome::Changed => {
                row.ok += 1;
                row.changed += 1;
            }
            Outcome::Skipped => row.skipped += 1,
            Outcome::Failed => row.failed += 1,
            Outcome::FailureIgnored => {
                row.ok += 1;
                row.ignored += 1;
                row.changed += u32::from(changed);
            }
            Outcome::Unreachable => row.unreachable += 1,
            Outcome::UnreachableIgnored => {
                row.unreachable += 1;
                row.ignored += 1;
            }
            Outcome::Cancelled => {}
        }
    }
}
