//! What an earlier run did, as far as a resumed run can build on it.
//!
//! Owns: the pure function from a journal's events to what each host has behind it. Must not: decide whether a step
//! may be taken over; the engine compares fingerprints, since only it can render arguments.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Event, EventKind, OpenEnd, Outcome, StepId};

/// What a host's step left behind.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Ended well, or failed and was taken up by a `rescue`; its result is kept.
    Done { outcome: Outcome, result: Arc<Map<String, Value>>, fingerprint: Arc<str> },
    /// Ended well, but its result holds a secret (`no_log`, a masked value): it has to run again, what follows has not.
    NotKept,
    /// Failed, was unreachable or cancelled: the host goes on here.
    Stopped,
    /// Began in that run and has no end: whether it did its work is not known.
    Interrupted { run: Arc<str>, step: StepId },
}

/// The steps of all hosts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Id of the run.
    pub run: String,
    /// Playbooks it was given.
    pub playbooks: Vec<String>,
    /// The run that it resumed.
    pub resumes: Option<String>,
    /// It came to its end and said so.
    pub finished: bool,
    hosts: HashMap<Arc<str>, Steps>,
    /// Where hosts of a resumed run went on for real.
    departed: HashMap<Arc<str>, (Arc<str>, usize)>,
}

/// One host's steps, by task: a record for each time that it was met.
type Steps = HashMap<Arc<str>, Vec<Record>>;

/// A step that has begun: its host, its task, and the how manyth time that is.
type Open = (Arc<str>, Arc<str>, usize);

impl History {
    /// Reads the events of a journal. A step that was met several times (a handler, an include in a loop) has a record
    /// for each time, in order.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut history = Self::default();
        let mut run: Arc<str> = Arc::default();
        let mut open: HashMap<StepId, Open> = HashMap::new();
        let mut unreached: HashMap<StepId, OpenEnd> = HashMap::new();
        let mut failed: HashMap<Arc<str>, (Open, Record)> = HashMap::new();
        for event in events {
            match &event.kind {
                EventKind::RunStarted { run: id, playbooks, resumes, .. } => {
                    run = id.as_str().into();
                    history.run.clone_from(id);
                    history.playbooks.clone_from(playbooks);
                    history.resumes.clone_from(resumes);
                }
                EventKind::RunFinished { .. } => history.finished = true,
                EventKind::HostDeparted { host, path, nth, .. } => {
                    history.departed.insert(Arc::clone(host), (Arc::clone(path), *nth));
                }
                EventKind::StepStarted { step, host, path, .. } => {
                    let records = history
                        .hosts
                        .entry(Arc::clone(host))
                        .or_default()
                        .entry(Arc::clone(path))
                        .or_default();
                    open.insert(*step, (Arc::clone(host), Arc::clone(path), records.len()));
                    records.push(Record::Interrupted { run: Arc::clone(&run), step: *step });
                }
                EventKind::HostUnreachable { step, open: Some(open), .. } => {
                    unreached.insert(*step, *open);
                }
                EventKind::StepFinished { step, outcome, result, fingerprint, kept, adopted, .. } => {
                    let Some(place) = open.remove(step) else { continue };
                    match unreached.remove(step) {
                        // As if it had no end.
                        Some(OpenEnd::ThisRun) => continue,
                        Some(OpenEnd::EarlierRun) => {
                            history.forget(&place);
                            continue;
                        }
                        None => {}
                    }
                    let done = || Record::Done {
                        outcome: *outcome,
                        result: Arc::clone(result),
                        fingerprint: Arc::clone(fingerprint),
                    };
                    let record = match outcome {
                        Outcome::Ok | Outcome::Changed | Outcome::Skipped | Outcome::FailureIgnored => {
                            if *kept {
                                done()
                            } else {
                                Record::NotKept
                            }
                        }
                        // Only one that a rescue took up is ever taken over.
                        Outcome::Failed if *adopted => done(),
                        Outcome::Failed if *kept => {
                            failed.insert(Arc::clone(&place.0), (place.clone(), done()));
                            Record::Stopped
                        }
                        Outcome::Failed
                        | Outcome::Unreachable
                        | Outcome::UnreachableIgnored
                        | Outcome::Cancelled => Record::Stopped,
                    };
                    history.set(&place, record);
                }
                // The failure was no end.
                EventKind::HostRescued { host, .. } => {
                    if let Some((place, record)) = failed.remove(host) {
                        history.set(&place, record);
                    }
                }
                _ => {}
            }
        }
        history
    }

    fn set(&mut self, (host, path, at): &Open, record: Record) {
        let records = self.hosts.get_mut(host).and_then(|paths| paths.get_mut(path));
        if let Some(slot) = records.and_then(|records| records.get_mut(*at)) {
            *slot = record;
        }
    }

    /// The step was met, but what is known of it is what was known before.
    fn forget(&mut self, (host, path, at): &Open) {
        if let Some(records) = self.hosts.get_mut(host).and_then(|paths| paths.get_mut(path)) {
            records.truncate(*at);
        }
    }

    /// What is known after this run and the one that it resumed. A host that never went on for real has behind it what
    /// it had before, however far it got in taking that over; one that did has only what this run says.
    #[must_use]
    pub fn after(mut self, earlier: Self) -> Self {
        for (host, steps) in earlier.hosts {
            match self.departed.get(&host) {
                Some((path, nth)) => {
                    // It may have stopped between leaving the recorded way and beginning the step there.
                    let records = self.hosts.entry(host).or_default().entry(Arc::clone(path)).or_default();
                    if let Some(before) = steps.get(path)
                        && records.len() == *nth
                        && let Some(record) = before.get(*nth)
                    {
                        records.push(record.clone());
                    }
                }
                None => {
                    let own = self.hosts.entry(host).or_default();
                    for (path, before) in steps {
                        let records = own.entry(path).or_default();
                        for (at, record) in before.into_iter().enumerate() {
                            match records.get_mut(at) {
                                None => records.push(record),
                                // It was being taken over, which does nothing; or it ran again because its result was
                                // not kept, and that is what it does in the next run, too.
                                Some(now @ Record::Interrupted { .. })
                                    if matches!(record, Record::Done { .. } | Record::NotKept) =>
                                {
                                    *now = record;
                                }
                                Some(_) => {}
                            }
                        }
                    }
                }
            }
        }
        self.resumes = earlier.resumes;
        self
    }

    /// What is known of the `nth` time (from 0) that a host met a task.
    #[must_use]
    pub fn get(&self, host: &str, path: &str, nth: usize) -> Option<&Record> {
        self.hosts.get(host)?.get(path)?.get(nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Place;

    fn started(step: StepId, host: &str, path: &str) -> EventKind {
        EventKind::StepStarted {
            step,
            play: 0,
            host: host.into(),
            path: path.into(),
            name: "".into(),
            role: None,
            action: "command".into(),
            place: Arc::default(),
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
            result: Arc::default(),
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

    /// What a host was sent may be done however the connection ended: no resumed run repeats it without asking, be it the
    /// first or the third one.
    #[test]
    fn a_step_that_was_lost_on_its_way_stays_open_until_somebody_knows() {
        let began = |run: &str| EventKind::RunStarted {
            run: run.into(),
            version: String::new(),
            command: Vec::new(),
            playbooks: Vec::new(),
            mode: crate::journal::RunMode::Apply,
            pid: 1,
            resumes: None,
        };
        let lost = |open| EventKind::HostUnreachable {
            step: 7,
            host: "a".into(),
            kind: String::new(),
            what: String::new(),
            next: None,
            place: Place::default(),
            open,
        };
        let departed = || {
            let (host, path, why) = ("a".into(), "t".into(), String::new());
            EventKind::HostDeparted { play: 0, host, path, nth: 0, why }
        };
        let run = |name: &str, open| {
            let end = finished(7, "a", "t", Outcome::Unreachable, false);
            history(vec![began(name), departed(), started(7, "a", "t"), lost(open), end])
        };
        let open = |history: &History| match history.get("a", "t", 0) {
            Some(Record::Interrupted { run, step: 7 }) => run.to_string(),
            other => format!("{other:?}"),
        };
        assert!(matches!(run("one", None).get("a", "t", 0), Some(Record::Stopped)), "it was never sent");
        let first = run("one", Some(OpenEnd::ThisRun));
        assert_eq!(open(&first), "one");
        let second = run("two", Some(OpenEnd::EarlierRun)).after(first);
        assert_eq!(open(&second), "one", "the second only asked");
        let third = run("three", Some(OpenEnd::ThisRun)).after(second);
        assert_eq!(open(&third), "three", "the third sent it again");
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
        assert_eq!(h.get("b", "t", 0), Some(&Record::Interrupted { run: "".into(), step: 4 }));
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
                    Some(Record::Interrupted { step, .. }) => {
                        assert!(begun && *step == n as u64, "cut {cut}, step {n}")
                    }
                    Some(other) => panic!("cut {cut}, step {n}: {other:?}"),
                    None => assert!(!whole && !begun, "cut {cut}, step {n}"),
                }
            }
        }
    }
}
