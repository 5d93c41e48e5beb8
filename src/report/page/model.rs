//! The page's data: what a journal says, in the order and size that a browser can handle.
//!
//! Owns: the shape of the data and what is left out of it. Must not: know how it is drawn.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::critical::{self, Span};
use crate::journal::{Event, EventKind, Header, HostTotals, Outcome, Place, PlayId, RunMode, StepId, Totals};
use crate::report::plain::{unified, why_not};

/// With more steps than this, results of steps that went well are left out; the journal has them.
const WITH_RESULTS: usize = 20_000;
/// With more steps than this, steps that went well and took under a second are only counted.
const ALL_STEPS: usize = 100_000;
/// Longest text of a result, in bytes; the host's log has all of it.
const LONGEST: usize = 16 << 10;
/// What every result says and nobody looks for.
const DULL: [&str; 5] = ["changed", "invocation", "stdout_lines", "stderr_lines", "failed"];

/// All that the page shows. Times are milliseconds since the run began.
#[derive(Debug, Default, Serialize)]
pub(super) struct Page {
    pub(super) run: String,
    pub(super) program: String,
    pub(super) command: Vec<String>,
    pub(super) check: bool,
    pub(super) resumes: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub(super) began: i64,
    pub(super) took: u64,
    /// `None` when the run has no end in the journal: it still goes on, or was killed.
    pub(super) exit: Option<u8>,
    pub(super) hosts: Vec<Host>,
    pub(super) plays: Vec<Play>,
    pub(super) tasks: Vec<Task>,
    pub(super) steps: Vec<Step>,
    /// Positions in `steps`, first to last.
    pub(super) critical: Vec<usize>,
    pub(super) waits: Vec<Wait>,
    pub(super) reboots: Vec<Reboot>,
    pub(super) warnings: Vec<String>,
    pub(super) not_run: Vec<String>,
    /// Steps that are only counted.
    pub(super) left_out: usize,
    /// Whether results of steps that went well were left out.
    pub(super) results_left_out: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Host {
    pub(super) name: Arc<str>,
    #[serde(flatten)]
    pub(super) totals: HostTotals,
    /// Name of its log in the folder `hosts`.
    pub(super) log: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Play {
    pub(super) name: String,
    pub(super) phase: Option<String>,
    pub(super) place: Place,
    pub(super) hosts: usize,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Positions of the plays it waited for.
    pub(super) after: Vec<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct Task {
    pub(super) play: usize,
    pub(super) name: Arc<str>,
    pub(super) role: Option<Arc<str>>,
    pub(super) action: Arc<str>,
    pub(super) place: Arc<Place>,
}

#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) host: usize,
    pub(super) task: usize,
    pub(super) start: u64,
    pub(super) took: u64,
    pub(super) outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) adopted: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
    /// Output and values, most telling first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) said: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) excerpt: String,
    pub(super) chain: Vec<String>,
    pub(super) ran_as: String,
}

/// A host waited for others.
#[derive(Debug, Serialize)]
pub(super) struct Wait {
    pub(super) host: usize,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) why: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Reboot {
    pub(super) host: usize,
    pub(super) end: u64,
    pub(super) took: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Page {
    /// Reads a journal's events.
    pub(super) fn of(header: &Header, events: &[Event]) -> Self {
        let steps = events.iter().filter(|e| matches!(e.kind, EventKind::StepStarted { .. })).count();
        let mut reading = Reading {
            page: Self {
                run: header.run.clone(),
                program: header.program.clone(),
                results_left_out: steps > WITH_RESULTS,
                ..Self::default()
            },
            began: events.first().map_or(0, |e| e.at),
            thin: steps > ALL_STEPS,
            ..Reading::default()
        };
        for event in events {
            reading.take(event);
        }
        reading.finish(events.last().map_or(0, |e| e.at))
    }
}

#[derive(Default)]
struct Reading {
    page: Page,
    began: i64,
    thin: bool,
    hosts: HashMap<Arc<str>, usize>,
    plays: HashMap<PlayId, usize>,
    tasks: HashMap<(PlayId, Arc<str>, Arc<str>), usize>,
    open: HashMap<StepId, Step>,
    waiting: HashMap<usize, Wait>,
    totals: Totals,
    counted: Option<Totals>,
}

impl Reading {
    fn since(&self, at: i64) -> u64 {
        u64::try_from(at - self.began).unwrap_or(0)
    }

    fn host(&mut self, name: &Arc<str>) -> usize {
        if let Some(at) = self.hosts.get(name) {
            return *at;
        }
        let at = self.page.hosts.len();
        self.hosts.insert(Arc::clone(name), at);
        let log = format!("{}.log", name.replace(['/', '\0'], "_"));
        self.page.hosts.push(Host { name: Arc::clone(name), totals: HostTotals::default(), log });
        at
    }

    fn take(&mut self, event: &Event) {
        let now = self.since(event.at);
        match &event.kind {
            EventKind::RunStarted { command, mode, resumes, .. } => {
                self.page.command.clone_from(command);
                self.page.check = *mode == RunMode::Check;
                self.page.resumes.clone_from(resumes);
            }
            EventKind::PlayStarted { play, name, phase, hosts, place, after } => {
                self.plays.insert(*play, self.page.plays.len());
                for host in hosts {
                    self.host(host);
                }
                self.page.plays.push(Play {
                    name: name.clone(),
                    phase: phase.clone(),
                    place: place.clone(),
                    hosts: hosts.len(),
                    start: now,
                    end: now,
                    after: after.clone(),
                });
            }
            EventKind::PlayFinished { play } => {
                if let Some(play) = self.plays.get(play) {
                    self.page.plays[*play].end = now;
                }
            }
            EventKind::PlayNotRun { name, why, .. } => self.page.not_run.push(why_not(name, why)),
            EventKind::HostWaiting { host, reason, place, .. } => {
                let host = self.host(host);
                let why = format!("{reason} ({place})");
                self.waiting.insert(host, Wait { host, start: now, end: now, why });
            }
            EventKind::StepStarted { step, play, host, path, name, role, action, place, .. } => {
                let host = self.host(host);
                if let Some(mut wait) = self.waiting.remove(&host)
                    && now > wait.start
                {
                    wait.end = now;
                    self.page.waits.push(wait);
                }
                let (plays, tasks) = (&self.plays, &mut self.page.tasks);
                let task = *self.tasks.entry((*play, Arc::clone(path), name.clone())).or_insert_with(|| {
                    tasks.push(Task {
                        play: plays.get(play).copied().unwrap_or(0),
                        name: name.clone(),
                        role: role.clone(),
                        action: Arc::clone(action),
                        place: place.clone(),
                    });
                    tasks.len() - 1
                });
                self.open.insert(
                    *step,
                    Step {
                        host,
                        task,
                        start: now,
                        took: 0,
                        outcome: None,
                        adopted: false,
                        attempts: 0,
                        failure: None,
                        said: Vec::new(),
                    },
                );
            }
            EventKind::StepRetry { step, attempt, .. } => {
                if let Some(step) = self.open.get_mut(step) {
                    step.attempts = *attempt;
                }
            }
            EventKind::StepFinished { step, host, outcome, took_ms, result, failure, adopted, .. } => {
                let changed = result.get("changed") == Some(&Value::Bool(true));
                self.totals.count(host, *outcome, changed, *took_ms);
                let Some(mut step) = self.open.remove(step) else { return };
                let dull = matches!(outcome, Outcome::Ok | Outcome::Skipped);
                if self.thin && dull && *took_ms < 1000 {
                    self.page.left_out += 1;
                    return;
                }
                step.took = now.saturating_sub(step.start);
                step.outcome = Some(*outcome);
                step.adopted = *adopted;
                if let Some(failure) = failure.as_deref() {
                    let hidden = result.contains_key("censored");
                    step.failure = Some(Failure {
                        excerpt: if hidden { String::new() } else { failure.excerpt.clone() },
                        chain: failure.chain.clone(),
                        ran_as: failure.ran_as.clone(),
                    });
                }
                if !(self.page.results_left_out && dull) {
                    step.said = said(result);
                }
                self.page.steps.push(step);
            }
            EventKind::HostUnreachable { step, kind, what, next, .. } => {
                if let Some(step) = self.open.get_mut(step) {
                    step.said.push((format!("unreachable, {kind}"), what.clone()));
                    step.said.extend(next.iter().map(|n| ("next".to_owned(), n.clone())));
                }
            }
            EventKind::HostRebooted { host, took_ms, .. } => {
                let host = self.host(host);
                self.page.reboots.push(Reboot { host, end: now, took: *took_ms });
            }
            EventKind::PlayBroken { why, place, .. } => {
                self.page.warnings.push(format!("{why} ({place})"));
            }
            EventKind::Warning { text, place } => self.page.warnings.push(match place {
                Some(place) => format!("{place}: {text}"),
                None => text.clone(),
            }),
            EventKind::RunFinished { totals, took_ms, exit } => {
                self.counted = Some(totals.clone());
                self.page.took = *took_ms;
                self.page.exit = Some(*exit);
            }
            EventKind::BatchStarted { .. }
            | EventKind::StepOutput { .. }
            | EventKind::HostBusy { .. }
            | EventKind::StepItem { .. }
            | EventKind::HandlersNotified { .. }
            | EventKind::HostRescued { .. }
            | EventKind::HostDeparted { .. }
            | EventKind::CancelBegan { .. } => {}
        }
    }

    fn finish(mut self, last: i64) -> Page {
        let end = self.since(last);
        if self.page.exit.is_none() {
            self.page.took = end;
        }
        // What has no end was going on when the journal ended.
        let mut open: Vec<(StepId, Step)> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_by_key(|(id, _)| *id);
        for (_, mut step) in open {
            step.took = end.saturating_sub(step.start);
            self.page.steps.push(step);
        }
        self.page.steps.sort_by_key(|s| (s.start, s.host));
        for play in &mut self.page.plays {
            // Plays side by side say that they start in any order, so only now all of them are known.
            play.after = play.after.iter().filter_map(|p| self.plays.get(p).copied()).collect();
            if play.end <= play.start {
                play.end = end.max(play.start);
            }
        }
        let totals = self.counted.unwrap_or(self.totals);
        for host in &mut self.page.hosts {
            host.totals = totals.hosts.get(&host.name).copied().unwrap_or_default();
        }
        let spans: Vec<Span> = self
            .page
            .steps
            .iter()
            .map(|s| Span { host: s.host, start: s.start, end: s.start + s.took })
            .collect();
        self.page.critical = critical::path(&spans);
        self.page.began = self.began;
        self.page
    }
}

/// What a result says: words, then output, then differences, then all the rest as JSON.
fn said(result: &Map<String, Value>) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let mut rest = result.clone();
    for key in DULL {
        rest.remove(key);
    }
    for key in ["msg", "cmd", "stdout", "stderr", "censored"] {
        if let Some(value) = rest.remove(key) {
            let text = super::super::failure::plain(&value);
            if !text.trim().is_empty() {
                said.push((key.to_owned(), cut(text)));
            }
        }
    }
    if let Some(diff) = rest.remove("diff") {
        let text = unified(&diff);
        if !text.is_empty() {
            said.push(("diff".to_owned(), cut(text)));
        }
    }
    rest.retain(|_, v| !v.is_null());
    if !rest.is_empty() {
        let text = serde_json::to_string_pretty(&rest).unwrap_or_default();
        said.push(("result".to_owned(), cut(text)));
    }
    said
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let mut end = LONGEST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let more = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("\n… {more} bytes more in the host's log"));
    }
    text
}
