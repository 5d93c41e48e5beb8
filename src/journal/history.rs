//! What an earlier run did, as far as a resumed run can build on it.
//!
//! Owns: the pure function from a journal's events to what each host has behind it. Must not: decide whether a step
//! may be taken over; the engine compares fingerprints, since only it can render arguments.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Event, EventKind, Outcome, StepId};

/// What a host's step left behind.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Ended well, and its result is kept.
    Done { outcome: Outcome, result: Map<String, Value>, fingerprint: String },
    /// Ended well, but its result holds a secret (`no_log`, a masked value): it has to run again, what follows has not.
    NotKept,
    /// Failed, was unreachable or cancelled: the host goes on here.
    Stopped,
    /// Began and has no end: whether it did its work is not known.
    Interrupted { step: StepId },
}

/// The steps of all hosts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Id of the run.
    pub run: String,
    /// Playbooks it was given.
    pub playbooks: Vec<String>,
    hosts: HashMap<Arc<str>, HashMap<Arc<str>, Vec<Record>>>,
}

impl History {
    /// Reads the events of a journal. A step that was met several times (a handler, an include in a loop) has a record
    /// for each time, in order.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut history = Self::default();
        let mut open: HashMap<StepId, (Arc<str>, Arc<str>, usize)> = HashMap::new();
        for event in events {
            match &event.kind {
                EventKind::RunStarted { run, playbooks, .. } => {
                    history.run.clone_from(run);
                    history.playbooks.clone_from(playbooks);
                }
                EventKind::StepStarted { step, host, path, .. } => {
                    let records = history
                        .hosts
                        .entry(Arc::clone(host))
                        .or_default()
                        .entry(Arc::clone(path))
                        .or_default();
                    open.insert(*step, (Arc::clone(host), Arc::clone(path), records.len()));
                    records.push(Record::Interrupted { step: *step });
                }
                EventKind::StepFinished { step, outcome, result, fingerprint, kept, .. } => {
                    let Some((host, path, at)) = open.remove(step) else { continue };
                    let record = match outcome {
                        Outcome::Ok | Outcome::Changed | Outcome::Skipped | Outcome::FailureIgnored
                            if *kept =>
                        {
                            Record::Done {
                                outcome: *outcome,
                                result: result.clone(),
                                fingerprint: fingerprint.clone(),
                            }
                        }
                        Outcome::Ok | Outcome::Changed | Outcome::Skipped | Outcome::FailureIgnored => {
                            Record::NotKept
                        }
                        Outcome::Failed
                        | Outcome::Unreachable
                        | Outcome::UnreachableIgnored
                        | Outcome::Cancelled => Record::Stopped,
                    };
                    if let Some(slot) = history
                        .hosts
                        .get_mut(&host)
                        .and_then(|paths| paths.get_mut(&path))
                        .and_then(|records| records.get_mut(at))
                    {
                        *slot = record;
                    }
                }
                _ => {}
            }
        }
        history
    }

    /// What is known of the `nth` time (from 0) that a host met a task.
    #[must_use]
    pub fn get(&self, host: &str, path: &str, nth: usize) -> Option<&Record> {
        self.hosts.get(host)?.get(path)?.get(nth)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    fn started(step: StepId, host: &str, path: &str) -> EventKind {
        EventKind::StepStarted {
            step,
            play: 0,
            host: host.into(),
            path: path.into(),
            name: String::new(),
            role: None,
            action: "command".into(),
            place: Place::default(),
            delegate: None,
        }
    }

    fn finished(step: StepId, host: &str, path: &str, outcome: Outcome, kept: bool) -> EventKind {
        EventKind::StepFinished {
            step,
            play: 0,
            host: host.into(),
            path: path.into(),
            outcome,
            took_ms: 0,
            result: Map::new(),
            failure: None,
            fingerprint: "f".into(),
            kept,
            adopted: false,
        }
    }

    fn history(kinds: Vec<EventKind>) -> History {
        let events: Vec<Event> =
            kinds.into_iter().enumerate().map(|(seq, kind)| Event { seq: seq as u64, at: 0, kind }).collect();
        History::of(&events)
    }

    #[test]
    fn every_end_has_its_record() {
        let h = history(vec![
            started(1, "a", "t"),
            finished(1, "a", "t", Outcome::Changed, true),
            started(2, "a", "t"),
            finished(2, "a", "t", Outcome::Ok, false),
            started(3, "a", "u"),
            finished(3, "a", "u", Outcome::Failed, true),
            started(4, "b", "t"),
        ]);
        assert!(matches!(h.get("a", "t", 0), Some(Record::Done { outcome: Outcome::Changed, .. })));
        assert_eq!(h.get("a", "t", 1), Some(&Record::NotKept));
        assert_eq!(h.get("a", "t", 2), None);
        assert_eq!(h.get("a", "u", 0), Some(&Record::Stopped));
        assert_eq!(h.get("b", "t", 0), Some(&Record::Interrupted { step: 4 }));
    }

    #[test]
    fn a_journal_cut_anywhere_only_loses_what_came_after() {
        let kinds: Vec<EventKind> = (0..20)
            .flat_map(|n| {
                let path = format!("t{n}");
                [started(n, "a", &path), finished(n, "a", &path, Outcome::Ok, true)]
            })
            .collect();
        for cut in 0..=kinds.len() {
            let h = history(kinds[..cut].to_vec());
            for n in 0..20 {
                let record = h.get("a", &format!("t{n}"), 0);
                let whole = cut >= 2 * n + 2;
                let begun = cut == 2 * n + 1;
                match record {
                    Some(Record::Done { .. }) => assert!(whole, "cut {cut}, step {n}"),
                    Some(Record::Interrupted { step }) => {
                        assert!(begun && *step == n as u64, "cut {cut}, step {n}")
                    }
                    Some(other) => panic!("cut {cut}, step {n}: {other:?}"),
                    None => assert!(!whole && !begun, "cut {cut}, step {n}"),
                }
            }
        }
    }
}
