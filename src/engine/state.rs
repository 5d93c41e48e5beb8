//! What all workers of a run share.
//!
//! Owns: the one way events are made (numbered, journaled, then shown), the limit on busy hosts, the state of cancel,
//! and which hosts the run has lost. Must not: know what a task does.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value as Json};
use tokio::sync::{Notify, Semaphore, watch};

use super::locks::Locks;
use super::resume::{Frontier, Resume};
use crate::actions::Clock;
use crate::connection::Transport;
use crate::journal::{CancelReason, Event, EventKind, Journal, JournalError, Place, StepId, Totals, look};
use crate::plan::Plan;
use crate::resolve::{Playbook, Resolver, TaskPath};
use crate::source::{Sources, Span};
use crate::template::{Templates, VaultOpener};
use crate::vars::Store;
use crate::vars::secrets::Masks;

/// Events that reports may lag behind before the run waits for them: slow reports must not fill the memory.
pub const REPORTS_AHEAD: usize = 16_384;

/// What the run was asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Hosts working at once.
    pub forks: usize,
    pub check: bool,
    pub diff: bool,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    /// `--limit`, already parsed into a pattern text.
    pub limit: Option<String>,
    pub force_handlers: bool,
    /// `--start-at-task`: the position of its play, and the task. Plays and tasks before it are left out.
    pub start_at: Option<(usize, TaskPath)>,
    /// `--step`: ask before each task.
    pub step: bool,
    /// `--flush-cache`: a resumed run gathers facts anew.
    pub flush_cache: bool,
    /// `gathering: smart`: hosts whose facts are known are not asked again.
    pub smart_gathering: bool,
    /// Infrastructure is worked on; a rehearsal leaves it alone.
    pub clouds: bool,
    /// Instances may be replaced, and what is on them lost.
    pub allow_replace: bool,
    /// Objects of infrastructure that are made anew, as a plan names them.
    pub replace: Vec<String>,
    /// `task_timeout` for tasks that say none.
    pub task_timeout: Option<Duration>,
    pub connection: ConnectionDefaults,
    pub playbook_directory: PathBuf,
    /// Absolute paths of the playbooks on the command line.
    pub playbooks: Vec<String>,
    pub verbosity: u8,
    /// Shown in the journal, secrets masked.
    pub command: Vec<String>,
}

/// What the command line says about connections; variables of a host win over it as in Ansible.
#[derive(Debug, Clone, Default)]
pub struct ConnectionDefaults {
    pub connection: Option<String>,
    pub user: Option<String>,
    pub private_key: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub check_host_keys: bool,
    pub common_args: Option<String>,
    pub extra_args: Option<String>,
    /// Arguments from `ansible.cfg`.
    pub ssh_args: Option<String>,
    pub r#become: bool,
    pub become_user: Option<String>,
    pub become_method: Option<String>,
    pub password: Option<crate::vars::secrets::Secret>,
    pub become_password: Option<crate::vars::secrets::Secret>,
}

/// The outside world, passed in so that a simulated one can stand in.
pub struct Edges {
    pub transport: Arc<dyn Transport>,
    /// Milliseconds since the Unix epoch.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub journal: Journal,
    pub reports: SyncSender<Arc<Event>>,
    /// How often the user asked to stop: 0, 1 or 2.
    pub interrupts: watch::Receiver<u8>,
    pub clock: Arc<dyn Clock>,
    /// Of the process that runs it; a simulated run has none.
    pub pid: u32,
}

/// What the run works with.
pub struct Inputs {
    pub run: String,
    pub playbook: Playbook,
    pub plan: Plan,
    pub sources: Arc<Sources>,
    pub store: Arc<Store>,
    pub templates: Arc<Templates>,
    pub resolver: Arc<Resolver>,
    pub options: Options,
    /// Secrets that no event may show.
    pub masks: Arc<Masks>,
    pub vault: Option<VaultOpener>,
    /// Where people can answer; `None` without a terminal.
    pub console: Option<Box<dyn crate::actions::Console>>,
    /// What an earlier run left, when this one goes on with it.
    pub resume: Option<Resume>,
    /// Reads the inventory again (`meta: refresh_inventory`); the error is a sentence.
    pub reload_inventory: Option<Box<dyn Fn() -> Result<crate::inventory::Inventory, String> + Send + Sync>>,
}

impl Inputs {
    /// The text with every secret masked.
    pub(super) fn mask(&self, text: &str) -> String {
        self.masks.mask(text).into_owned()
    }

    /// A result with every secret masked; the same one where nothing is to be hidden.
    pub(super) fn mask_shared(&self, result: &Arc<Map<String, Json>>) -> Arc<Map<String, Json>> {
        let hides = |text: &str| matches!(self.masks.mask(text), std::borrow::Cow::Owned(_));
        if self.masks.is_empty() || !result.iter().any(|(k, v)| hides(k) || any_text(v, &hides)) {
            return Arc::clone(result);
        }
        Arc::new(self.mask_result(result))
    }

    /// A result with every secret masked.
    pub(super) fn mask_result(&self, result: &Map<String, Json>) -> Map<String, Json> {
        if self.masks.is_empty() {
            return result.clone();
        }
        result.iter().map(|(k, v)| (self.mask(k), self.mask_value(v))).collect()
    }

    fn mask_value(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.mask(text)),
            Json::Array(items) => Json::Array(items.iter().map(|v| self.mask_value(v)).collect()),
            Json::Object(map) => Json::Object(self.mask_result(map)),
            other => other.clone(),
        }
    }
}

/// Whether some text in a value, names included, is as asked.
fn any_text(value: &Json, holds: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Json::String(text) => holds(text),
        Json::Array(items) => items.iter().any(|v| any_text(v, holds)),
        Json::Object(map) => map.iter().any(|(k, v)| holds(k) || any_text(v, holds)),
        _ => false,
    }
}

/// Shared by all workers.
pub(super) struct RunState {
    pub(super) inputs: Inputs,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) forks: Arc<Semaphore>,
    pub(super) locks: Locks,
    pub(super) interrupts: watch::Receiver<u8>,
    pub(super) lost: Mutex<HashMap<Arc<str>, Lost>>,
    /// Check mode: hosts that a task was left out for which may have made variables of any name.
    pub(super) unsure: Mutex<HashSet<Arc<str>>>,
    /// Check mode: the paths that tasks would have changed, by host.
    pub(super) foreseen: Mutex<HashMap<Arc<str>, Vec<String>>>,
    /// What modules warned of so far: each text is told once in a run.
    pub(super) warned: Mutex<HashSet<String>>,
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    record: Mutex<Record>,
    next_step: AtomicU64,
    running: AtomicU64,
    /// The journal cannot be written.
    broken: AtomicBool,
    /// Told when the first record begins to wait for its commit.
    pub(super) unwritten: Notify,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) frontier: Frontier,
    /// `--step`: the user said to go on without asking.
    pub(super) step_on: AtomicBool,
    /// One for each play.
    pub(super) progress: Vec<Progress>,
    /// By the run's clock.
    pub(super) began: Duration,
}

/// How far a play is, for plays that need it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<ProgressState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct ProgressState {
    /// The play's hosts, once they are known.
    hosts: Option<HashSet<Arc<str>>>,
    done: HashSet<Arc<str>>,
    over: bool,
    /// Set when hosts are missing for plays after it.
    nobody_left: Option<Nobody>,
}

/// A play that left no host to go on with.
#[derive(Debug, Clone)]
pub(super) struct Nobody {
    pub(super) hosts: Vec<Arc<str>>,
    /// It lost a whole batch while it ran. As in Ansible, plays that only follow it are not run either.
    pub(super) broke: bool,
}

impl Progress {
    /// The play's hosts are known now.
    pub(super) fn starts(&self, hosts: &[Arc<str>]) {
        lock(&self.state).hosts = Some(hosts.iter().cloned().collect());
        self.changed.notify_waiters();
    }

    /// A host has done its part of the play.
    pub(super) fn host_done(&self, host: &Arc<str>) {
        lock(&self.state).done.insert(Arc::clone(host));
        self.changed.notify_waiters();
    }

    /// The play is over, or will not run; `lost` says so when none of its hosts is left.
    pub(super) fn ends(&self, lost: Option<Nobody>) {
        {
            let mut state = lock(&self.state);
            state.over = true;
            state.nobody_left = lost;
        }
        self.changed.notify_waiters();
    }

    /// Waits until the play is over; what it lost, when no host of it is left.
    pub(super) async fn until_over(&self) -> Option<Nobody> {
        self.until(|state| state.over).await;
        lock(&self.state).nobody_left.clone()
    }

    /// Waits until a host has done its part, or has none.
    pub(super) async fn until_host(&self, host: &Arc<str>) {
        let passed = |state: &ProgressState| {
            state.over
                || state.done.contains(host)
                || state.hosts.as_ref().is_some_and(|hosts| !hosts.contains(host))
        };
        self.until(passed).await;
    }

    async fn until(&self, holds: impl Fn(&ProgressState) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            if holds(&lock(&self.state)) {
                return;
            }
            changed.await;
        }
    }
}

/// Why a host takes no further part in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    Failed,
    Unreachable,
    /// What happened to another host ended the play for this one.
    Aborted,
}

struct Record {
    journal: Journal,
    reports: SyncSender<Arc<Event>>,
    seq: u64,
    totals: Totals,
    /// Events that the reports may not be done with.
    shown: VecDeque<Arc<Event>>,
}

impl Record {
    /// Hands an event to the reports, and drops those that they are done with. Who made an event drops it, too: memory that
    /// goes back from another thread costs the allocator several times as much, and a result has a dozen pieces.
    fn show(&mut self, event: Event) {
        let event = Arc::new(event);
        self.shown.push_back(Arc::clone(&event));
        // A report thread that is gone has said so itself.
        let _ = self.reports.send(event);
        for _ in 0..2 {
            let Some(first) = self.shown.front() else { return };
            if Arc::strong_count(first) == 1 || self.shown.len() > REPORTS_AHEAD {
                self.shown.pop_front();
            } else if matches!(first.kind, EventKind::StepStarted { .. }) {
                // The reports keep what a running step is called: it must not hold up those behind it.
                self.shown.rotate_left(1);
            } else {
                return;
            }
        }
    }
}

impl RunState {
    pub(super) fn new(inputs: Inputs, edges: Edges) -> Self {
        Self {
            forks: Arc::new(Semaphore::new(inputs.options.forks.max(1))),
            locks: Locks::default(),
            transport: edges.transport,
            interrupts: edges.interrupts,
            began: edges.clock.now(),
            clock: edges.clock,
            frontier: Frontier::default(),
            step_on: AtomicBool::new(false),
            progress: inputs.playbook.plays.iter().map(|_| Progress::default()).collect(),
            lost: Mutex::default(),
            unsure: Mutex::default(),
            foreseen: Mutex::default(),
            warned: Mutex::default(),
            now: edges.now,
            record: Mutex::new(Record {
                journal: edges.journal,
                reports: edges.reports,
                seq: 0,
                totals: Totals::default(),
                shown: VecDeque::new(),
            }),
            next_step: AtomicU64::new(1),
            running: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            unwritten: Notify::new(),
            inputs,
        }
    }

    /// Makes an event, for the journal and to be shown. Progress is not journaled. Who acts on a record commits first.
    pub(super) fn tell(&self, kind: EventKind) {
        let at = (self.now)();
        let mut record = lock(&self.record);
        let event = Event { seq: record.seq, at, kind };
        record.seq += 1;
        if let EventKind::StepFinished { host, outcome, result, took_ms, adopted: false, .. } = &event.kind {
            let changed = look(result, "changed") == Some(&serde_json::Value::Bool(true));
            record.totals.count(host, *outcome, changed, *took_ms);
            if super::unknown::is_marked(result) {
                record.totals.count_unknown(host);
            }
        }
        let progress = matches!(event.kind, EventKind::StepOutput { .. } | EventKind::HostBusy { .. });
        // Nothing goes behind a record that is torn: a journal is torn at its end only.
        if !progress && !self.journal_broken() {
            if !record.journal.waits() {
                self.unwritten.notify_one();
            }
            if let Err(error) = record.journal.add(&event) {
                self.breaks(&mut record, &error);
            }
        }
        record.show(event);
    }

    /// Writes all records so far; false when that is not possible, and then nothing may be done that rests on one of them.
    pub(super) fn commit(&self) -> bool {
        if self.journal_broken() {
            return false;
        }
        let mut record = lock(&self.record);
        match record.journal.commit() {
            Ok(()) => true,
            Err(error) => {
                self.breaks(&mut record, &error);
                false
            }
        }
    }

    /// Resume rests on the journal: without it no step may start.
    fn breaks(&self, record: &mut Record, error: &JournalError) {
        if self.broken.swap(true, Ordering::AcqRel) {
            return;
        }
        let at = (self.now)();
        let cancel = EventKind::CancelBegan { reason: CancelReason::JournalFailed, running: self.busy() };
        for kind in [EventKind::Warning { text: error.to_string(), place: None }, cancel] {
            let event = Event { seq: record.seq, at, kind };
            record.seq += 1;
            record.show(event);
        }
    }

    /// A host with no step yet still has a row in the recap.
    pub(super) fn count_host(&self, host: &Arc<str>) {
        lock(&self.record).totals.hosts.entry(Arc::clone(host)).or_default();
    }

    pub(super) fn count_rescue(&self, host: &Arc<str>) {
        let mut record = lock(&self.record);
        let row = record.totals.hosts.entry(Arc::clone(host)).or_default();
        row.rescued += 1;
        // Ansible counts a failure that a rescue took up as rescued, not as failed.
        row.failed = row.failed.saturating_sub(1);
    }

    pub(super) fn totals(&self) -> Totals {
        lock(&self.record).totals.clone()
    }

    pub(super) fn sync(&self) {
        // The last chance to say that a disk lost something; the totals are shown all the same.
        if let Err(error) = lock(&self.record).journal.sync() {
            self.broken.store(true, Ordering::Release);
            drop(error);
        }
    }

    /// True once no new step may start.
    pub(super) fn stopping(&self) -> bool {
        *self.interrupts.borrow() > 0 || self.journal_broken()
    }

    pub(super) fn journal_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn step_id(&self) -> StepId {
        self.next_step.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn step_begins(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn step_ends(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Steps running now.
    pub(super) fn busy(&self) -> usize {
        usize::try_from(self.running.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(super) fn place(&self, span: Span) -> Place {
        let file = self.inputs.sources.file(span.file);
        let at = file.position(span.start);
        Place { file: file.name.clone(), line: at.line, column: at.column }
    }

    pub(super) fn lose(&self, host: &Arc<str>, why: Lost) {
        lock(&self.lost).entry(Arc::clone(host)).or_insert(why);
    }

    /// Where each host of a resumed run went on, in inventory order.
    pub(super) fn departures(&self) -> Vec<(Arc<str>, String)> {
        let all = self.frontier.all();
        let order = self.inputs.store.inventory();
        order
            .hosts()
            .filter_map(|h| {
                let d = all.get(&h.name)?;
                Some((Arc::clone(&h.name), format!("\"{}\" ({}): {}", d.task, d.place, d.why)))
            })
            .collect()
    }

    pub(super) fn outcome_of_run(&self) -> (Totals, bool, bool) {
        let totals = self.totals();
        let lost = lock(&self.lost);
        // A host that another's failure kept from its work has not done it either.
        let failed = lost.values().any(|l| matches!(l, Lost::Failed | Lost::Aborted));
        let unreachable = lost.values().any(|l| *l == Lost::Unreachable);
        drop(lost);
        (totals, failed, unreachable)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{FORMAT, Header};

    #[test]
    fn an_event_is_kept_until_the_reports_are_done_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let header =
            Header { dcos_play_journal: FORMAT, run: "r".into(), program: "t".into(), agent_run: "r".into() };
        let (reports, told) = std::sync::mpsc::sync_channel(REPORTS_AHEAD);
        let mut record = Record {
            journal: Journal::create(folder.path().join("journal.jsonl"), &header).expect("a journal"),
            reports,
            seq: 0,
            totals: Totals::default(),
            shown: VecDeque::new(),
        };
        let event = |seq| Event { seq, at: 0, kind: EventKind::PlayFinished { play: 0 } };
        for seq in 0..5 {
            record.show(event(seq));
        }
        assert_eq!(record.shown.len(), 5);
        let taken: Vec<_> = (0..5).map(|_| told.recv().expect("an event")).collect();
        record.show(event(5));
        assert_eq!(record.shown.len(), 6, "they are being shown");
        drop(taken);
        for (seq, left) in [(6, 5), (7, 4), (8, 4)] {
            record.show(event(seq));
            assert_eq!(record.shown.len(), left);
        }
        let begun = EventKind::StepStarted {
            step: 0,
            play: 0,
            host: "h".into(),
            path: "p".into(),
            name: "n".into(),
            role: None,
            action: "a".into(),
            place: Arc::default(),
            delegate: None,
        };
        record.show(Event { seq: 9, at: 0, kind: begun });
        let running = told.iter().take(5).last().expect("the step");
        for seq in 10..20 {
            record.show(event(seq));
            drop(told.recv().expect("an event"));
        }
        assert!(record.shown.len() < 4, "a step that runs holds nothing up: {}", record.shown.len());
        drop((running, told));
        (20..24).for_each(|seq| record.show(event(seq)));
        assert!(record.shown.is_empty(), "nobody shows them");
    }
}
