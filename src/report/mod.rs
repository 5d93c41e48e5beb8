//! Views of a run: terminal, plain lines, JSON, host logs, summary.
//!
//! Owns: how events are shown. Must not: reach into the engine; it sees events only.
//! Called by: the command line, which gives each reporter its writer; one thread feeds them all.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use crate::journal::{Event, EventKind};
use crate::vars::ByName;

mod console;
mod failure;
mod host_log;
mod json;
pub mod junit;
pub mod page;
mod plain;
mod recap;
mod summary;
mod terminal;
mod words;

pub use console::Console;
pub use host_log::HostLogs;
pub use json::Json;
pub use plain::Plain;
pub use recap::closing;
pub use terminal::Terminal;

/// What all reporters are told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The run's folder as people type it: relative to the current folder.
    pub folder: String,
    /// Where its page will be; none when nobody keeps it.
    pub page: Option<String>,
    /// The command that runs it again.
    pub again: String,
    /// `-v` count.
    pub verbosity: u8,
    /// `--diff`.
    pub diff: bool,
    pub colour: bool,
    /// Columns of the terminal, or 100.
    pub width: usize,
}

/// A step that has started, as reporters show it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started<'e> {
    pub(crate) name: &'e str,
    pub(crate) role: Option<&'e str>,
    pub(crate) action: &'e str,
    pub(crate) delegate: Option<&'e str>,
}

impl<'e> Started<'e> {
    /// Of the event that tells of it.
    pub(crate) fn of(event: &'e EventKind) -> Option<Self> {
        let EventKind::StepStarted { name, role, action, delegate, .. } = event else { return None };
        Some(Self { name, role: role.as_deref(), action, delegate: delegate.as_deref() })
    }

    /// `role : task` as Ansible names a task.
    pub(crate) fn title(&self) -> String {
        match self.role {
            Some(role) => format!("{role} : {}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// `host -> delegate` as Ansible shows who does the work.
    pub(crate) fn at(&self, host: &str) -> String {
        match self.delegate {
            Some(delegate) => format!("{host} -> {delegate}"),
            None => host.to_owned(),
        }
    }
}

/// What reporters know besides the event itself.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// The events of steps that have not ended. Whole, as copies of their parts would be counted on two threads at once.
    running: HashMap<u64, Arc<Event>, ByName>,
    /// Line in the host's log at which its current step starts.
    pub(crate) log_line: HashMap<Arc<str>, usize, ByName>,
}

impl Context {
    /// A step that has started and not ended.
    pub(crate) fn started(&self, step: u64) -> Option<Started<'_>> {
        self.running.get(&step).and_then(|event| Started::of(&event.kind))
    }
}

/// Shows events.
pub(crate) trait Reporter: Send {
    /// Takes in one event.
    fn on_event(&mut self, event: &Event, context: &Context) -> std::io::Result<()>;
}

/// Writes a file whole or not at all. Only its user can read it: results may be private.
fn write_whole(path: &std::path::Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let named =
        |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(named)?;
    fresh.write_all(text).map_err(named)?;
    fresh.persist(path).map_err(|e| named(e.error))?;
    Ok(())
}

/// Without events for this long, the logs are brought up to date.
const QUIET: Duration = Duration::from_millis(50);
/// And this long after the last time in any case, or later when there are so many that it takes long: it is to cost no more
/// than a part of [`SHARE`] of the time.
const LATEST: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;

fn flush(logs: &mut Option<HostLogs>, complaints: &mut dyn Write) {
    if let Some(Err(error)) = logs.as_mut().map(HostLogs::flush) {
        let _ = writeln!(complaints, "warning: host logs end here: {error}");
        *logs = None;
    }
}

/// How long events may gather before they are shown.
const REST: Duration = Duration::from_millis(2);

/// The next event, if one comes while it is not [`QUIET`] yet. Resting instead of waiting: a thread that waits has to be
/// woken for every single event, which costs the engine more than making the event.
fn gathered(events: &Receiver<Arc<Event>>) -> Result<Arc<Event>, RecvTimeoutError> {
    let began = Instant::now();
    loop {
        std::thread::sleep(REST);
        match events.try_recv() {
            Ok(event) => return Ok(event),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) if began.elapsed() > QUIET => return Err(RecvTimeoutError::Timeout),
            Err(TryRecvError::Empty) => {}
        }
    }
}

/// Feeds every reporter until the run is over or the engine drops its end. A reporter that fails is silenced and named at
/// the end: a full disk under the logs must not end a run.
pub fn run(events: &Receiver<Arc<Event>>, logs: HostLogs, console: Console, complaints: &mut dyn Write) {
    let mut logs = Some(logs);
    let mut console: Option<Box<dyn Reporter>> = Some(console.into_reporter());
    let mut context = Context::default();
    let mut written = Instant::now();
    let mut latest = LATEST;
    let mut seen: u64 = 0;
    loop {
        seen += 1;
        // Not even the clock is looked at for each event.
        if seen.is_multiple_of(64) && written.elapsed() > latest {
            let began = Instant::now();
            flush(&mut logs, complaints);
            written = Instant::now();
            latest = LATEST.max((written - began) * SHARE);
        }
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => match gathered(events) {
                Ok(event) => event,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    flush(&mut logs, complaints);
                    written = Instant::now();
                    let Ok(event) = events.recv() else { break };
                    event
                }
            },
        };
        if let EventKind::StepStarted { step, .. } = &event.kind {
            context.running.insert(*step, Arc::clone(&event));
        }
        if let Some(reporter) = &mut logs
            && let Err(error) = reporter.on_event(&event, &mut context)
        {
            let _ = writeln!(complaints, "warning: host logs end here: {error}");
            logs = None;
        }
        if let Some(reporter) = &mut console
            && reporter.on_event(&event, &context).is_err()
        {
            // The reader of our output went away (`| head`): nothing is left to tell it.
            console = None;
        }
        if let EventKind::StepFinished { step, .. } = &event.kind {
            context.running.remove(step);
        }
        // A run that left its hosts at once may still have workers, and they hold the engine's end.
        if let EventKind::RunFinished { .. } = &event.kind {
            break;
        }
    }
    flush(&mut logs, complaints);
}
