//! Going on where an earlier run stopped.
//!
//! Owns: which steps are taken over from the journal, and why a host leaves the recorded way. Must not: read journals
//! (that is `journal`) or run steps.
//!
//! A host walks its play as always. As long as every step it meets has a kept result of the same fingerprint, the
//! result is taken over and nothing is sent. The first step without one is where the host goes on for real, and all
//! its later steps run.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

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

    /// True when the host was on its recorded way until now.
    pub(super) fn leave(&self, host: &Arc<str>, departure: Departure) -> bool {
        let mut hosts = lock(&self.hosts);
        let first = !hosts.contains_key(host);
        hosts.entry(Arc::clone(host)).or_insert(departure);
        first
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
    /// It began in that run and has no end.
    Interrupted(&'h Arc<str>, StepId),
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
        Some(Record::Interrupted { run, step }) => Way::Interrupted(run, *step),
        Some(record @ Record::Done { .. }) => Way::Compare(record),
    }
}

/// Hashes everything that decides what a step does: rendered arguments, contents that are sent, conditions.
#[derive(Debug, Default)]
pub(super) struct Prints(Mutex<Fed>);

/// What a fingerprint has been fed with.
#[derive(Debug, Default)]
enum Fed {
    #[default]
    Nothing,
    /// What many steps have in common, and nothing else.
    Known(Arc<Known>),
    Parts(Sha256),
}

/// A fingerprint that steps of many hosts have in common.
#[derive(Debug)]
pub(super) struct Known {
    hash: Sha256,
    text: Arc<str>,
}

impl Known {
    /// What `feed` feeds.
    pub(super) fn of(feed: impl FnOnce(&Prints)) -> Arc<Self> {
        let prints = Prints::default();
        feed(&prints);
        let hash = match &*lock(&prints.0) {
            Fed::Nothing => Sha256::new(),
            Fed::Known(known) => known.hash.clone(),
            Fed::Parts(hash) => hash.clone(),
        };
        Arc::new(Self { text: text_of(&hash), hash })
    }

    /// Of a step that its condition left out.
    pub(super) fn skipped() -> &'static Arc<Self> {
        static SKIPPED: LazyLock<Arc<Known>> = LazyLock::new(|| Known::of(|prints| prints.feed(b"skipped")));
        &SKIPPED
    }
}

impl Prints {
    pub(super) fn feed(&self, part: &[u8]) {
        let mut fed = lock(&self.0);
        let opened = match &*fed {
            Fed::Parts(_) => None,
            Fed::Nothing => Some(Sha256::new()),
            Fed::Known(known) => Some(known.hash.clone()),
        };
        if let Some(hash) = opened {
            *fed = Fed::Parts(hash);
        }
        if let Fed::Parts(hash) = &mut *fed {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }

    /// True as long as nothing was fed.
    pub(super) fn is_new(&self) -> bool {
        matches!(*lock(&self.0), Fed::Nothing)
    }

    /// Feeds all that `known` was fed, if it is the first.
    pub(super) fn begin(&self, known: &Arc<Known>) {
        let mut fed = lock(&self.0);
        debug_assert!(matches!(*fed, Fed::Nothing), "a whole fingerprint goes behind nothing else");
        *fed = Fed::Known(Arc::clone(known));
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
    pub(super) fn finish(&self) -> Arc<str> {
        static NOTHING: LazyLock<Arc<str>> = LazyLock::new(|| text_of(&Sha256::new()));
        match &*lock(&self.0) {
            Fed::Nothing => Arc::clone(&NOTHING),
            Fed::Known(known) => Arc::clone(&known.text),
            Fed::Parts(hash) => text_of(hash),
        }
    }
}

fn text_of(hash: &Sha256) -> Arc<str> {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let hash = hash.clone().finalize();
    let mut text = String::with_capacity(24);
    text.extend(hash.iter().take(12).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::{Event, EventKind, Outcome, RunMode};

    /// One step of a host: its task (a host may meet one several times), whether its result may be kept, and how it ends
    /// when it runs.
    #[derive(Debug, Clone)]
    struct Planned {
        path: String,
        kept: bool,
        ends: Vec<Ending>,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Ending {
        Fine,
        /// A rescue goes on from here.
        Rescued,
        Fails,
    }

    /// What is true of a step, kept beside the journal.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Truth {
        /// It did its work and the run knows.
        done: bool,
        /// It began last in this run, under this number, and nobody knows its end.
        open: Option<(String, StepId)>,
        runs: usize,
    }

    #[derive(Debug, Clone)]
    struct Case {
        hosts: Vec<Vec<Planned>>,
        /// Of each run: in which order hosts move, and after how many records the run dies.
        runs: Vec<(Vec<usize>, usize)>,
    }

    fn cases() -> impl Strategy<Value = Case> {
        let ending =
            prop_oneof![6 => Just(Ending::Fine), 1 => Just(Ending::Rescued), 1 => Just(Ending::Fails)];
        let step = (0..4_u8, prop::bool::weighted(0.8), prop::collection::vec(ending, 6))
            .prop_map(|(path, kept, ends)| Planned { path: format!("t{path}"), kept, ends });
        let hosts = prop::collection::vec(prop::collection::vec(step, 1..7), 1..4);
        let run = (prop::collection::vec(0..3_usize, 1..8), 1..40_usize);
        (hosts, prop::collection::vec(run, 1..5)).prop_map(|(hosts, runs)| Case { hosts, runs })
    }

    /// A host on its way through one run.
    struct Walk {
        at: usize,
        met: HashMap<String, usize>,
        past: bool,
        over: bool,
    }

    /// Plays one run as the engine does: records first, what is true after each of them.
    fn play(case: &Case, number: usize, truths: &mut [Vec<Truth>], resume: Option<&Resume>) -> Vec<Event> {
        let (turns, most) = &case.runs[number];
        let run = format!("run{number}");
        let mut events = Vec::new();
        let mut tell = |kind: EventKind| {
            let room = events.len() < *most;
            if room {
                events.push(Event { seq: events.len() as u64, at: 0, kind });
            }
            room
        };
        let resumes = (number > 0).then(|| format!("run{}", number - 1));
        tell(EventKind::RunStarted {
            run: run.clone(),
            version: String::new(),
            command: Vec::new(),
            playbooks: Vec::new(),
            mode: RunMode::Apply,
            pid: 0,
            resumes,
        });
        let mut walks: Vec<Walk> = case
            .hosts
            .iter()
            .map(|_| Walk { at: 0, met: HashMap::new(), past: false, over: false })
            .collect();
        let mut step = 0;
        for turn in 0.. {
            let live: Vec<usize> = (0..walks.len()).filter(|host| !walks[*host].over).collect();
            if live.is_empty() {
                return events;
            }
            let host = live[turns[turn % turns.len()] % live.len()];
            let walk = &mut walks[host];
            let Some(planned) = case.hosts[host].get(walk.at) else {
                walk.over = true;
                continue;
            };
            let name: Arc<str> = format!("h{host}").into();
            let path: Arc<str> = planned.path.as_str().into();
            let met = walk.met.entry(planned.path.clone()).or_insert(0);
            let nth = *met;
            *met += 1;
            step += 1;
            let at = walk.at;
            walk.at += 1;
            let way = way(resume, walk.past, &name, &path, nth);
            let begun = EventKind::StepStarted {
                step,
                play: 0,
                host: Arc::clone(&name),
                path: Arc::clone(&path),
                name: "".into(),
                role: None,
                action: "command".into(),
                place: Arc::default(),
                delegate: None,
            };
            let ended = |outcome: Outcome, kept: bool, adopted: bool| EventKind::StepFinished {
                step,
                play: 0,
                host: Arc::clone(&name),
                path: Arc::clone(&path),
                outcome,
                took_ms: 0,
                result: Arc::default(),
                failure: None,
                fingerprint: Arc::default(),
                kept,
                adopted,
            };
            let rescued = EventKind::HostRescued { play: 0, host: Arc::clone(&name) };
            if let Way::Compare(record) = &way {
                let Record::Done { outcome, .. } = record else { panic!("only those are compared") };
                if !(tell(begun) && tell(ended(*outcome, true, true))) {
                    return events;
                }
                if *outcome == Outcome::Failed && !tell(rescued) {
                    return events;
                }
                continue;
            }
            if matches!(way, Way::Leave(_) | Way::Interrupted(..)) {
                walk.past = true;
                let why = String::new();
                let (host_name, path) = (Arc::clone(&name), Arc::clone(&path));
                if !tell(EventKind::HostDeparted { play: 0, host: host_name, path, nth, why }) {
                    return events;
                }
                // Later steps may build on this one: whatever they did, they will do it again.
                for later in &mut truths[host][at + 1..] {
                    *later = Truth { runs: later.runs, ..Truth::default() };
                }
            }
            if !tell(begun) {
                return events;
            }
            let truth = &mut truths[host][at];
            let ending = planned.ends[truth.runs % planned.ends.len()];
            truth.runs += 1;
            if !matches!(way, Way::RunOnly) {
                *truth = Truth { done: false, open: Some((run.clone(), step)), runs: truth.runs };
            }
            let outcome = if ending == Ending::Fine { Outcome::Changed } else { Outcome::Failed };
            if !tell(ended(outcome, planned.kept, false)) {
                return events;
            }
            truth.open = None;
            truth.done = ending == Ending::Fine;
            match ending {
                Ending::Fine => {}
                Ending::Fails => walk.over = true,
                Ending::Rescued => {
                    if !tell(rescued) {
                        return events;
                    }
                    truth.done = planned.kept;
                    // A failure that may not be kept stops a resumed run here, as any failure does.
                    walk.over = !planned.kept;
                }
            }
        }
        events
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// However often a run dies and is resumed: what remains is what was not done, an open step is known as such
        /// with the run that began it, and no step that is known as done ever runs again.
        #[test]
        fn what_remains_is_what_was_not_done(case in cases()) {
            let mut truths: Vec<Vec<Truth>> =
                case.hosts.iter().map(|steps| vec![Truth::default(); steps.len()]).collect();
            let mut history: Option<History> = None;
            for number in 0..case.runs.len() {
                let before = truths.clone();
                let resume = history.clone().map(|history| Resume {
                    history: Arc::new(history),
                    explain: false,
                    interrupted: Interrupted::Repeat,
                });
                let events = play(&case, number, &mut truths, resume.as_ref());
                for (host, steps) in truths.iter().enumerate() {
                    let mut past = false;
                    for (at, truth) in steps.iter().enumerate() {
                        let kept = case.hosts[host][at].kept;
                        let ran = truth.runs > before[host][at].runs;
                        // Steps after one that ran for real run again, as they may build on it.
                        prop_assert!(!(ran && before[host][at].done && kept && !past), "host {} step {}", host, at);
                        past |= ran && !before[host][at].done;
                    }
                }
                let own = History::of(&events);
                history = Some(match history {
                    Some(earlier) => own.after(earlier),
                    None => own,
                });
            }
            let history = history.expect("a run");
            let resume = Resume { history: Arc::new(history), explain: false, interrupted: Interrupted::Repeat };
            for (host, steps) in truths.iter().enumerate() {
                let mut met: HashMap<&str, usize> = HashMap::new();
                for (at, truth) in steps.iter().enumerate() {
                    let planned = &case.hosts[host][at];
                    let nth = met.entry(planned.path.as_str()).or_insert(0);
                    let way = way(Some(&resume), false, &format!("h{host}"), &planned.path, *nth);
                    *nth += 1;
                    match (&way, truth) {
                        (Way::Compare(_), Truth { done: true, .. }) if planned.kept => {}
                        (Way::RunOnly, Truth { done: true, .. }) if !planned.kept => {}
                        (Way::Interrupted(run, step), Truth { open: Some((truly, number)), .. }) => {
                            prop_assert_eq!((&***run, step), (truly.as_str(), number));
                        }
                        (Way::Leave(_), Truth { done: false, open: None, .. }) => {}
                        _ => prop_assert!(false, "host {host} step {at}: {way:?} of {truth:?}"),
                    }
                    if !matches!(way, Way::Compare(_) | Way::RunOnly) {
                        // Everything after it runs again, whatever is known of it.
                        break;
                    }
                }
            }
        }
    }
}
