//! One log a host, written while its commands run.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::words::{Took, clock_ms, outcome, took};
use super::{Context, summary};
use crate::journal::{Event, EventKind, Outcome, RunFolder};
use crate::vars::ByName;

/// The logs of a run, and its summary.
pub struct HostLogs {
    folder: RunFolder,
    open: HashMap<Arc<str>, Log, ByName>,
    /// Hosts with text that is not in their file yet.
    dirty: Vec<Arc<str>>,
    /// Bytes written since the last flush of all.
    waiting: usize,
    not_run: Vec<String>,
    /// The time of the last event, and its text.
    stamp: (i64, String),
}

/// Hosts whose log stays open; those after them cost no file descriptor, of which a process may have few.
const KEPT_OPEN: usize = 128;
/// Bytes that may wait in memory for one host, and for all, while events come faster than they are written.
const WAITING: (usize, usize) = (8 << 10, 32 << 20);

struct Log {
    path: std::path::PathBuf,
    file: Option<std::fs::File>,
    /// Text that is not in the file yet.
    waiting: String,
    /// Lines so far.
    lines: usize,
    /// An output line that has no end yet.
    partial: String,
}

impl Log {
    fn write(&mut self, text: fmt::Arguments<'_>) -> std::io::Result<()> {
        // A text takes everything.
        self.put(|waiting| {
            let _ = waiting.write_fmt(text);
        })
    }

    /// Whole lines, for what is written most: formatting costs more than copying.
    fn put(&mut self, lines: impl FnOnce(&mut String)) -> std::io::Result<()> {
        let from = self.waiting.len();
        lines(&mut self.waiting);
        self.lines += self.waiting.as_bytes()[from..].iter().filter(|byte| **byte == b'\n').count();
        if self.waiting.len() > WAITING.0 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match &mut self.file {
            Some(file) => file.write_all(self.waiting.as_bytes())?,
            None => open(&self.path)?.write_all(self.waiting.as_bytes())?,
        }
        // Ten thousand empty buffers would be memory for nothing.
        self.waiting = String::new();
        Ok(())
    }
}

impl HostLogs {
    /// Logs go to the run's folder.
    #[must_use]
    pub fn new(folder: RunFolder) -> Self {
        Self {
            folder,
            open: HashMap::default(),
            dirty: Vec::new(),
            waiting: 0,
            not_run: Vec::new(),
            stamp: (0, String::new()),
        }
    }

    fn log(&mut self, host: &Arc<str>) -> std::io::Result<&mut Log> {
        if !self.open.contains_key(host) {
            let path = self.folder.host_log(host);
            let file = if self.open.len() < KEPT_OPEN { Some(open(&path)?) } else { None };
            let log = Log { path, file, waiting: String::new(), lines: 0, partial: String::new() };
            self.open.insert(Arc::clone(host), log);
        }
        let log = self.open.get_mut(host).ok_or_else(|| std::io::Error::other("the log was just opened"))?;
        if log.waiting.is_empty() {
            self.dirty.push(Arc::clone(host));
        }
        Ok(log)
    }

    /// Writes everything that waits. Called whenever no event is left to take in, so that logs grow while commands run.
    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        for host in self.dirty.drain(..) {
            if let Some(log) = self.open.get_mut(&host) {
                log.flush()?;
            }
        }
        self.waiting = 0;
        Ok(())
    }

    pub(super) fn on_event(&mut self, event: &Event, context: &mut Context) -> std::io::Result<()> {
        let (before, mut at) = std::mem::take(&mut self.stamp);
        clock_ms(event.at, before, &mut at);
        let taken = self.take_in(event, context, &at);
        self.stamp = (event.at, at);
        taken?;
        // An event is some hundred bytes: near enough for a limit.
        self.waiting += 200;
        if self.waiting > WAITING.1 { self.flush() } else { Ok(()) }
    }

    fn take_in(&mut self, event: &Event, context: &mut Context, at: &str) -> std::io::Result<()> {
        match &event.kind {
            EventKind::StepStarted { host, name, role, action, place, delegate, .. } => {
                let log = self.log(host)?;
                let line = log.lines + 1;
                match context.log_line.get_mut(host) {
                    Some(known) => *known = line,
                    None => drop(context.log_line.insert(Arc::clone(host), line)),
                }
                let (role, colon) = role.as_deref().map_or(("", ""), |role| (role, " : "));
                let (to, delegate) = delegate.as_deref().map_or(("", ""), |host| (" -> ", host));
                log.put(|text| {
                    for part in [at, " TASK ", role, colon, name, " [", action, "]", to, delegate] {
                        text.push_str(part);
                    }
                    let _ = writeln!(text, " {place}");
                })?;
            }
            EventKind::StepOutput { host, text, .. } => {
                let log = self.log(host)?;
                let mut text = Cow::Borrowed(text.as_str());
                if !log.partial.is_empty() {
                    text = Cow::Owned(std::mem::take(&mut log.partial) + &text);
                }
                // Only whole lines get a time stamp; the rest waits for its end.
                let (whole, rest) = text.split_at(text.rfind('\n').map_or(0, |at| at + 1));
                log.partial = rest.to_owned();
                for line in whole.lines() {
                    log.write(format_args!("{at}   | {line}\n"))?;
                }
            }
            EventKind::StepItem { host, label, outcome: how, result, .. } => {
                let mut said = String::new();
                brief(result, &mut said);
                self.log(host)?.write(format_args!("{at}   {} (item={label}){said}\n", outcome(*how)))?;
            }
            EventKind::StepRetry { host, attempt, retries, delay_ms, .. } => {
                self.log(host)?.write(format_args!(
                    "{at}   not yet, attempt {attempt} of {retries}, again in {}\n",
                    took(*delay_ms)
                ))?;
            }
            EventKind::StepFinished { host, outcome: how, adopted: true, .. } => {
                self.log(host)?
                    .write(format_args!("{at}   {} taken over from the run before\n", outcome(*how)))?;
            }
            EventKind::StepFinished { host, outcome: how, took_ms, result, failure, .. } => {
                let log = self.log(host)?;
                if !log.partial.is_empty() {
                    let rest = std::mem::take(&mut log.partial);
                    log.write(format_args!("{at}   | {rest}\n"))?;
                }
                log.put(|text| {
                    for part in [at, "   ", outcome(*how), " after "] {
                        text.push_str(part);
                    }
                    let _ = writeln!(text, "{}", Took(*took_ms));
                })?;
                if matches!(how, Outcome::Failed | Outcome::FailureIgnored) {
                    if let Some(failure) = failure {
                        // With `no_log` the task's own lines may hold what must not be seen.
                        let hidden = result.contains_key("censored");
                        for line in failure.excerpt.lines().filter(|_| !hidden) {
                            log.write(format_args!("{at}     {line}\n"))?;
                        }
                        for link in &failure.chain {
                            log.write(format_args!("{at}   included from {link}\n"))?;
                        }
                    }
                    let shown = serde_json::to_string_pretty(result)?;
                    for line in shown.lines() {
                        log.write(format_args!("{at}     {line}\n"))?;
                    }
                } else if *how != Outcome::Skipped {
                    log.put(|text| {
                        let from = text.len();
                        text.push_str(at);
                        text.push_str("  ");
                        let bare = text.len();
                        brief(result, text);
                        match text.len() == bare {
                            true => text.truncate(from),
                            false => text.push('\n'),
                        }
                    })?;
                }
            }
            EventKind::HostUnreachable { host, kind, what, next, .. } => {
                let next = next.as_ref().map(|n| format!("; next: {n}")).unwrap_or_default();
                self.log(host)?.write(format_args!("{at} UNREACHABLE ({kind}) {what}{next}\n"))?;
            }
            EventKind::HostRebooted { host, before, after, took_ms } => {
                self.log(host)?.write(format_args!(
                    "{at}   rebooted: back after {}, boot id {before} -> {after}\n",
                    took(*took_ms)
                ))?;
            }
            EventKind::HostWaiting { host, reason, place, .. } => {
                self.log(host)?
                    .write(format_args!("{at} waits for the other hosts: {reason} at {place}\n"))?;
            }
            EventKind::PlayStarted { name, hosts, place, .. } => {
                for host in hosts {
                    self.log(host)?.write(format_args!("{at} PLAY {name} {place}\n"))?;
                }
            }
            EventKind::PlayBroken { why, place, .. } => {
                self.not_run.push(format!("{why} ({place})"));
            }
            EventKind::PlayNotRun { name, why, .. } => {
                self.not_run.push(super::plain::why_not(name, why));
            }
            EventKind::RunFinished { totals, took_ms, exit } => {
                summary::write(&self.folder.path, &self.folder.id.0, totals, *took_ms, *exit, &self.not_run)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn open(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    let file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(file.into_parts().0)
}

/// Adds a result in a few words, on one line.
fn brief(result: &Map<String, Value>, said: &mut String) {
    const SHOWN: [&str; 6] = ["msg", "dest", "path", "name", "rc", "state"];
    // In this order, whatever the result's own is.
    let mut found = [None; SHOWN.len()];
    for (name, value) in result {
        if let Some(at) = SHOWN.iter().position(|shown| shown == name) {
            found[at] = Some(value);
        }
    }
    for (key, value) in SHOWN.iter().zip(found) {
        let Some(value) = value.filter(|v| !v.is_null()) else { continue };
        let text: Cow<'_, str> = match value {
            Value::String(text) => text.as_str().into(),
            other => super::failure::plain(other).into(),
        };
        if text.is_empty() {
            continue;
        }
        for part in [" ", key, "="] {
            said.push_str(part);
        }
        match &*text {
            text if text.len() <= 160 && !text.contains('\n') => said.push_str(text),
            text => said.push_str(&super::words::cut(&text.replace('\n', " "), 160)),
        }
    }
}
