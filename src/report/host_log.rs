//! One log a host, written while its commands run.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::words::{clock_ms, outcome, took};
use super::{Context, summary};
use crate::journal::{Event, EventKind, Outcome, RunFolder};

/// The logs of a run, and its summary.
pub struct HostLogs {
    folder: RunFolder,
    open: HashMap<Arc<str>, Log>,
    /// Hosts with text that is not in their file yet.
    dirty: Vec<Arc<str>>,
    /// Bytes written since the last flush of all.
    waiting: usize,
    not_run: Vec<String>,
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
    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.lines += text.matches('\n').count();
        self.waiting.push_str(text);
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
        Self { folder, open: HashMap::new(), dirty: Vec::new(), waiting: 0, not_run: Vec::new() }
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
        self.take_in(event, context)?;
        // An event is some hundred bytes: near enough for a limit.
        self.waiting += 200;
        if self.waiting > WAITING.1 { self.flush() } else { Ok(()) }
    }

    fn take_in(&mut self, event: &Event, context: &mut Context) -> std::io::Result<()> {
        let at = clock_ms(event.at);
        match &event.kind {
            EventKind::StepStarted { host, name, role, action, place, delegate, .. } => {
                let title = role.as_ref().map_or_else(|| name.clone(), |r| format!("{r} : {name}"));
                let log = self.log(host)?;
                context.log_line.insert(Arc::clone(host), log.lines + 1);
                let to = delegate.as_ref().map(|d| format!(" -> {d}")).unwrap_or_default();
                log.write(&format!("{at} TASK {title} [{action}]{to} {place}\n"))?;
            }
            EventKind::StepOutput { host, text, .. } => {
                let log = self.log(host)?;
                let mut whole = std::mem::take(&mut log.partial);
                whole.push_str(text);
                // Only whole lines get a time stamp; the rest waits for its end.
                let end = whole.rfind('\n').map_or(0, |at| at + 1);
                log.partial = whole.split_off(end);
                let mut lines = String::new();
                for line in whole.lines() {
                    lines.push_str(&format!("{at}   | {line}\n"));
                }
                log.write(&lines)?;
            }
            EventKind::StepItem { host, label, outcome: how, result, .. } => {
                self.log(host)?.write(&format!(
                    "{at}   {} (item={label}){}\n",
                    outcome(*how),
                    brief(result)
                ))?;
            }
            EventKind::StepRetry { host, attempt, retries, delay_ms, .. } => {
                self.log(host)?.write(&format!(
                    "{at}   not yet, attempt {attempt} of {retries}, again in {}\n",
                    took(*delay_ms)
                ))?;
            }
            EventKind::StepFinished { host, outcome: how, adopted: true, .. } => {
                self.log(host)?
                    .write(&format!("{at}   {} taken over from the run before\n", outcome(*how)))?;
            }
            EventKind::StepFinished { host, outcome: how, took_ms, result, failure, .. } => {
                let log = self.log(host)?;
                if !log.partial.is_empty() {
                    let rest = std::mem::take(&mut log.partial);
                    log.write(&format!("{at}   | {rest}\n"))?;
                }
                let mut text = format!("{at}   {} after {}\n", outcome(*how), took(*took_ms));
                if matches!(how, Outcome::Failed | Outcome::FailureIgnored) {
                    if let Some(failure) = failure {
                        // With `no_log` the task's own lines may hold what must not be seen.
                        let hidden = result.contains_key("censored");
                        for line in failure.excerpt.lines().filter(|_| !hidden) {
                            text.push_str(&format!("{at}     {line}\n"));
                        }
                        for link in &failure.chain {
                            text.push_str(&format!("{at}   included from {link}\n"));
                        }
                    }
                    let shown = serde_json::to_string_pretty(result)?;
                    for line in shown.lines() {
                        text.push_str(&format!("{at}     {line}\n"));
                    }
                } else if *how != Outcome::Skipped {
                    let said = brief(result);
                    if !said.is_empty() {
                        text.push_str(&format!("{at}  {said}\n"));
                    }
                }
                log.write(&text)?;
            }
            EventKind::HostUnreachable { host, kind, what, next, .. } => {
                let next = next.as_ref().map(|n| format!("; next: {n}")).unwrap_or_default();
                self.log(host)?.write(&format!("{at} UNREACHABLE ({kind}) {what}{next}\n"))?;
            }
            EventKind::HostRebooted { host, before, after, took_ms } => {
                self.log(host)?.write(&format!(
                    "{at}   rebooted: back after {}, boot id {before} -> {after}\n",
                    took(*took_ms)
                ))?;
            }
            EventKind::HostWaiting { host, reason, place, .. } => {
                self.log(host)?.write(&format!("{at} waits for the other hosts: {reason} at {place}\n"))?;
            }
            EventKind::PlayStarted { name, hosts, place, .. } => {
                for host in hosts {
                    self.log(host)?.write(&format!("{at} PLAY {name} {place}\n"))?;
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

/// A result in a few words, on one line.
fn brief(result: &Map<String, Value>) -> String {
    let mut parts = Vec::new();
    for key in ["msg", "dest", "path", "name", "rc", "state"] {
        if let Some(value) = result.get(key).filter(|v| !v.is_null()) {
            let text = super::failure::plain(value);
            if !text.is_empty() {
                parts.push(format!("{key}={}", super::words::cut(&text.replace('\n', " "), 160)));
            }
        }
    }
    if parts.is_empty() { String::new() } else { format!(" {}", parts.join(" ")) }
}
