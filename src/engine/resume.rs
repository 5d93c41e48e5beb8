//! Going on where an earlier run stopped.
//!
//! Owns: which steps are taken over from the journal, and why a host leaves the recorded way. Must not: read journals
//! (that is `journal`) or run steps.
//!
//! A host walks its play as always. As long as every step it meets has a kept result of the same fingerprint, the
//! result is taken over and nothing is sent. The first step without one is where the host goes on for real, and all
//! its later steps run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use super::state::lock;
use crate::journal::{History, Record, StepId};
use crate::source::{Node, Yaml};

/// What the command line says about resuming.
#[derive(Debug, Clone)]
pub struct Resume {
    pub history: Arc<History>,
    /// Only say where each host would go on and why.
    pub explain: bool,
    /// What to do with an interrupted step of a module that may not be repeated blindly.
    pub interrupted: Interrupted,
}

/// The answer for interrupted steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// Ask on the terminal; without one the host fails there.
    Ask,
    Repeat,
    /// Take it as done.
    Skip,
}

/// How hosts left the recorded way.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    hosts: Mutex<HashMap<Arc<str>, Departure>>,
}

/// Where and why a host goes on for real.
#[derive(Debug, Clone)]
pub(super) struct Departure {
    pub(super) task: String,
    pub(super) place: String,
    pub(super) why: String,
}

impl Frontier {
    /// True when the host is past its recorded steps.
    pub(super) fn has(&self, host: &Arc<str>) -> bool {
        lock(&self.hosts).contains_key(host)
    }

    pub(super) fn leave(&self, host: &Arc<str>, departure: Departure) {
        lock(&self.hosts).entry(Arc::clone(host)).or_insert(departure);
    }

    pub(super) fn all(&self) -> HashMap<Arc<str>, Departure> {
        lock(&self.hosts).clone()
    }
}

/// What to do with a step that a host meets.
#[derive(Debug)]
pub(super) enum Way<'h> {
    /// Not resuming, or past the recorded steps.
    Run,
    /// Run it without leaving the recorded way: its result was not kept.
    RunOnly,
    /// Take it over if the fingerprint is this one.
    Compare(&'h Record),
    /// It began and has no end.
    Interrupted(StepId),
    /// The host goes on here, because of this.
    Leave(&'static str),
}

/// Looks up what is known of a step.
pub(super) fn way<'h>(resume: Option<&'h Resume>, past: bool, host: &str, path: &str, nth: usize) -> Way<'h> {
    let Some(resume) = resume.filter(|_| !past) else { return Way::Run };
    match resume.history.get(host, path, nth) {
        None => Way::Leave("it had not come further"),
        Some(Record::Stopped) => Way::Leave("it failed here, could not be reached or was stopped"),
        Some(Record::NotKept) => Way::RunOnly,
        Some(Record::Interrupted { step }) => Way::Interrupted(*step),
        Some(record @ Record::Done { .. }) => Way::Compare(record),
    }
}

/// Hashes everything that decides what a step does: rendered arguments, contents that are sent, conditions.
#[derive(Debug, Default)]
pub(super) struct Prints(Mutex<Sha256>);

impl Prints {
    pub(super) fn feed(&self, part: &[u8]) {
        let mut hash = lock(&self.0);
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }

    /// A value as written, without its place: moving lines changes nothing.
    pub(super) fn feed_node(&self, node: &Node) {
        match &node.value {
            Yaml::Seq(items) => {
                self.feed(b"[");
                items.iter().for_each(|n| self.feed_node(n));
                self.feed(b"]");
            }
            Yaml::Map(map) => {
                self.feed(b"{");
                for entry in &map.entries {
                    self.feed_node(&entry.key);
                    self.feed_node(&entry.value);
                }
                self.feed(b"}");
            }
            scalar => self.feed(format!("{scalar:?}").as_bytes()),
        }
    }

    /// The fingerprint in hex, short: it guards against edits, not against enemies.
    pub(super) fn finish(&self) -> String {
        lock(&self.0).clone().finalize().iter().take(12).map(|b| format!("{b:02x}")).collect()
    }
}
