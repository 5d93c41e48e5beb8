//! What must hold after every event of a run, whatever goes wrong on its hosts.
//!
//! Owns: these rules. Must not: make events or know the engine; it sees what the reports see.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::journal::{Event, EventKind, PlayId, StepId, Totals};

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("after event {seq}: {what}")]
pub struct Broken {
    pub seq: u64,
    pub what: String,
}

/// The run as its events so far tell it.
#[derive(Debug, Default)]
pub struct Invariants {
    next: u64,
    at: i64,
    /// Running plays with their hosts.
    plays: HashMap<PlayId, HashSet<Arc<str>>>,
    begun: HashSet<PlayId>,
    /// Steps without an end.
    open: HashMap<StepId, (PlayId, Arc<str>, Arc<str>)>,
    steps: HashSet<StepId>,
    /// The step that each host is at, by play.
    at_work: HashMap<(PlayId, Arc<str>), StepId>,
    counted: Totals,
    rescued: HashMap<Arc<str>, u32>,
    over: bool,
}

impl Invariants {
    /// Takes in the next event.
    ///
    /// # Errors
    /// The rule that does not hold any more.
    pub fn after(&mut self, event: &Event) -> Result<(), Broken> {
        self.check(event).map_err(|what| Broken { seq: event.seq, what })
    }

    fn check(&mut self, event: &Event) -> Result<(), String> {
        holds(event.seq == self.next, || format!("event {} is missing", self.next))?;
        self.next += 1;
        holds(event.at >= self.at, || "time went back".to_owned())?;
        self.at = event.at;
        holds(!self.over, || "the run was over".to_owned())?;
        match &event.kind {
            EventKind::PlayStarted { play, hosts, .. } => {
                holds(self.begun.insert(*play), || format!("play {play} began twice"))?;
                self.plays.insert(*play, hosts.iter().cloned().collect());
            }
            EventKind::PlayFinished { play } => {
                holds(self.plays.remove(play).is_some(), || {
                    format!("play {play} ended without having begun")
                })?;
                let left = self.open.values().find(|(of, ..)| of == play);
                holds(left.is_none(), || format!("play {play} ended before a step of it: {left:?}"))?;
            }
            EventKind::StepStarted { step, play, host, path, .. } => {
                holds(self.steps.insert(*step), || format!("step {step} began twice"))?;
                let known = self.plays.get(play).is_some_and(|hosts| hosts.contains(host));
                holds(known, || format!("step {step} is of `{host}`, which play {play} does not run on"))?;
                self.open.insert(*step, (*play, Arc::clone(host), Arc::clone(path)));
                let other = self.at_work.insert((*play, Arc::clone(host)), *step);
                holds(other.is_none(), || format!("`{host}` began step {step} within step {other:?}"))?;
            }
            EventKind::StepFinished { step, play, host, path, outcome, took_ms, result, adopted, .. } => {
                let begun = self.open.remove(step);
                let same = begun.as_ref().is_some_and(|(p, h, t)| (p, h, t) == (play, host, path));
                holds(same, || format!("step {step} of `{host}` ended, but {begun:?} had begun"))?;
                self.at_work.remove(&(*play, Arc::clone(host)));
                if !adopted {
                    let changed = result.get("changed") == Some(&serde_json::Value::Bool(true));
                    self.counted.count(host, *outcome, changed, *took_ms);
                }
            }
            EventKind::StepOutput { step, .. }
            | EventKind::StepItem { step, .. }
            | EventKind::StepRetry { step, .. } => {
                holds(self.open.contains_key(step), || format!("step {step} is not running"))?;
            }
            EventKind::HostRescued { host, .. } => *self.rescued.entry(Arc::clone(host)).or_default() += 1,
            EventKind::RunFinished { totals, .. } => {
                self.over = true;
                holds(self.open.is_empty(), || {
                    format!("the run ended before {:?}", self.open.values().next())
                })?;
                self.recap(totals)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The recap is what the events told.
    fn recap(&self, totals: &Totals) -> Result<(), String> {
        for (host, row) in &totals.hosts {
            let mut counted = self.counted.hosts.get(host).copied().unwrap_or_default();
            counted.rescued = self.rescued.get(host).copied().unwrap_or(0);
            counted.failed = counted.failed.saturating_sub(counted.rescued);
            counted.unknown = row.unknown;
            holds(counted == *row, || {
                format!("the recap of `{host}` is {row:?}, its steps were {counted:?}")
            })?;
        }
        let missing = self.counted.hosts.keys().find(|host| !totals.hosts.contains_key(*host));
        holds(missing.is_none(), || format!("the recap lacks {missing:?}"))
    }
}

fn holds(rule: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if rule { Ok(()) } else { Err(what()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Outcome, Place};

    fn started(step: StepId, host: &str) -> EventKind {
        EventKind::StepStarted {
            step,
            play: 0,
            host: host.into(),
            path: "p".into(),
            name: "".into(),
            role: None,
            action: "command".into(),
            place: Arc::default(),
            delegate: None,
        }
    }

    fn finished(step: StepId, host: &str) -> EventKind {
        EventKind::StepFinished {
            step,
            play: 0,
            host: host.into(),
            path: "p".into(),
            outcome: Outcome::Ok,
            took_ms: 0,
            result: Arc::default(),
            failure: None,
            fingerprint: Arc::default(),
            kept: true,
            adopted: false,
        }
    }

    fn told(kinds: Vec<EventKind>) -> Result<(), Broken> {
        let play = EventKind::PlayStarted {
            play: 0,
            name: String::new(),
            phase: None,
            hosts: vec!["a".into(), "b".into()],
            place: Place::default(),
            after: Vec::new(),
        };
        let mut all = Invariants::default();
        let kinds = [play].into_iter().chain(kinds).zip(0..);
        kinds.into_iter().try_for_each(|(kind, seq)| all.after(&Event { seq, at: 0, kind }))
    }

    #[test]
    fn what_may_not_happen_is_found_at_the_event_where_it_does() {
        let play = || EventKind::PlayFinished { play: 0 };
        assert_eq!(
            told(vec![started(1, "a"), started(2, "b"), finished(2, "b"), finished(1, "a"), play()]),
            Ok(())
        );
        for (kinds, seq, what) in [
            (vec![started(1, "a"), started(2, "a")], 2, "within step"),
            (vec![started(1, "a"), started(1, "b")], 2, "began twice"),
            (vec![started(1, "c")], 1, "does not run on"),
            (vec![started(1, "a"), finished(1, "a"), finished(1, "a")], 3, "ended, but None had begun"),
            (vec![started(1, "a"), play()], 2, "ended before a step"),
            (vec![finished(1, "a")], 1, "ended, but None"),
        ] {
            let broken = told(kinds).expect_err(what);
            assert!(broken.seq == seq && broken.what.contains(what), "{broken}");
        }
    }

    #[test]
    fn a_recap_that_tells_something_else_is_found() {
        let end = |totals| EventKind::RunFinished { totals, took_ms: 0, exit: 0 };
        let mut right = Totals::default();
        right.count(&"a".into(), Outcome::Ok, false, 0);
        assert_eq!(told(vec![started(1, "a"), finished(1, "a"), end(right.clone())]), Ok(()));
        right.count(&"a".into(), Outcome::Ok, false, 0);
        let broken = told(vec![started(1, "a"), finished(1, "a"), end(right)]).expect_err("one too many");
        assert!(broken.what.contains("recap of `a`"), "{broken}");
    }
}
