//! Runs a plan: plays by their needs, hosts through their plays, steps on hosts.
//!
//! Owns: the state of a run, its limits and its end. Must not: show anything (events do), read playbooks (`resolve`
//! does), or touch a host but through the transport it is given.
//! Called by: the command line; tests and simulations with other edges.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

mod background;
mod dispatch;
mod effects;
mod excerpt;
mod facts;
mod fence;
mod handlers;
mod include;
mod items;
mod line;
mod locks;
mod play;
mod prepared;
mod prompt;
mod quorum;
mod remote;
mod resume;
mod slot;
mod state;
mod tags;
mod takeover;
mod target;
mod task;
mod template_looks;
mod unknown;
mod walk;

pub use resume::{Interrupted, Resume};
pub use state::{ConnectionDefaults, Edges, Inputs, Options, REPORTS_AHEAD};
pub use tags::selected;
pub(crate) use target::via;

use crate::journal::{CancelReason, EventKind, NotRun, RunMode, Totals};
use crate::resolve::{NeedScope, Play, Playbook, Resolver};
use crate::source::Span;
use crate::template::{Scope, Templates, Var};
use crate::vars::Store;
use crate::vars::connection::Given;
use play::{Left, run_play};
use state::RunState;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub totals: Totals,
    /// A host failed.
    pub failed: bool,
    /// A host could not be reached.
    pub unreachable: bool,
    /// The user stopped it.
    pub cancelled: bool,
    /// The journal could not be written: the run stopped, and cannot be resumed past that point.
    pub journal_failed: bool,
    /// A play could not start: why.
    pub fault: Option<String>,
    /// While resuming: where each host went on, and why.
    pub departures: Vec<(Arc<str>, String)>,
}

/// Exit status of a run by its end: Ansible's numbers for what Ansible has.
#[must_use]
pub fn exit_code(ended: &Ended) -> u8 {
    if ended.journal_failed {
        crate::exit::JOURNAL
    } else if ended.cancelled {
        crate::exit::CANCELLED
    } else if ended.fault.is_some() {
        crate::exit::PLAYBOOK
    } else if ended.failed {
        crate::exit::HOSTS_FAILED
    } else if ended.unreachable {
        crate::exit::UNREACHABLE
    } else {
        crate::exit::FINE
    }
}

/// Runs everything and waits for the end.
pub async fn run(inputs: Inputs, edges: Edges) -> Ended {
    let pid = edges.pid;
    let state = Arc::new(RunState::new(inputs, edges));
    let options = &state.inputs.options;
    state.tell(EventKind::RunStarted {
        run: state.inputs.run.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: options.command.clone(),
        playbooks: options.playbooks.clone(),
        mode: if options.check { RunMode::Check } else { RunMode::Apply },
        pid,
        resumes: state.inputs.resume.as_ref().map(|r| r.history.run.clone()),
    });
    let announcer = tokio::spawn(announce_cancel(Arc::clone(&state)));
    let writer = tokio::spawn(write_behind(Arc::clone(&state)));
    let mut interrupts = state.interrupts.clone();
    let fault = tokio::select! {
        fault = run_plays(&state) => {
            announcer.abort();
            state.transport.close().await;
            fault
        }
        // Nobody waits for a host any more: what runs there goes on, and a resumed run collects it.
        Ok(_) = interrupts.wait_for(|n| *n > 2) => {
            announcer.abort();
            state.tell(EventKind::CancelBegan { reason: CancelReason::ThirdInterrupt, running: state.busy() });
            None
        }
    };
    writer.abort();
    let (totals, failed, unreachable) = state.outcome_of_run();
    let mut ended = Ended {
        totals,
        failed,
        unreachable,
        cancelled: *state.interrupts.borrow() > 0,
        journal_failed: state.journal_broken(),
        fault,
        departures: state.departures(),
    };
    let took_ms =
        u64::try_from(state.clock.now().saturating_sub(state.began).as_millis()).unwrap_or(u64::MAX);
    let exit = exit_code(&ended);
    state.tell(EventKind::RunFinished { totals: ended.totals.clone(), took_ms, exit });
    state.sync();
    ended.journal_failed = state.journal_broken();
    ended
}

/// Says on the record when the user asks to stop, and how much still runs.
async fn announce_cancel(state: Arc<RunState>) {
    let mut interrupts = state.interrupts.clone();
    for (level, reason) in [(1, CancelReason::FirstInterrupt), (2, CancelReason::SecondInterrupt)] {
        if interrupts.wait_for(|n| *n >= level).await.is_err() {
            return;
        }
        state.tell(EventKind::CancelBegan { reason, running: state.busy() });
    }
}

/// How long a record may wait when nobody commits before: who is about to ask a host, to wait or to end does.
const UNWRITTEN: Duration = Duration::from_millis(20);

/// Writes records that nobody else does.
async fn write_behind(state: Arc<RunState>) {
    loop {
        state.unwritten.notified().await;
        tokio::time::sleep(UNWRITTEN).await;
        // What goes wrong is told where it is found.
        state.commit();
    }
}

/// Starts every play as soon as the plays it needs are over.
async fn run_plays(state: &Arc<RunState>) -> Option<String> {
    let plays = &state.inputs.playbook.plays;
    let stop = Arc::new(watch::Sender::new(false));
    let mut running = tokio::task::JoinSet::new();
    for (at, play) in plays.iter().enumerate() {
        let (whole, by_host): (Vec<_>, Vec<_>) = state.inputs.plan.plays[at]
            .after
            .iter()
            .copied()
            // A play that holds locks does not wait with them in its hands for a play that may want them.
            .partition(|(_, scope)| *scope == NeedScope::Play || !play.locks.is_empty());
        let by_host: Vec<usize> = by_host.into_iter().map(|(other, _)| other).collect();
        let (state, play, stop) = (Arc::clone(state), Arc::clone(play), Arc::clone(&stop));
        running.spawn(async move {
            if state.inputs.options.start_at.as_ref().is_some_and(|(first, _)| at < *first) {
                let why = NotRun::BeforeStart;
                state.tell(EventKind::PlayNotRun { play: play.index, name: play.name.clone(), why });
                state.progress[at].ends(None);
                return None;
            }
            let mut nobody = None;
            for (other, _) in whole {
                let lost = state.progress[other].until_over().await;
                // Without `needs` plays only follow each other: the hosts of this one may be others.
                if let Some(lost) = lost
                    && (play.needs.is_some() || lost.broke)
                {
                    nobody.get_or_insert((other, lost));
                }
            }
            if let Some((other, lost)) = nobody {
                let needs = match &play.needs {
                    Some(_) => format!("`{}`", state.inputs.playbook.plays[other].name),
                    None => String::new(),
                };
                let why = NotRun::HostsLost { needs, hosts: lost.hosts.clone() };
                state.tell(EventKind::PlayNotRun { play: play.index, name: play.name.clone(), why });
                state.progress[at].ends(Some(lost));
                return None;
            }
            let ended = if *stop.borrow() { Ok(Left::Some) } else { run_play(&state, &play, by_host).await };
            let (nobody, fault) = match ended {
                Ok(Left::Some) => (None, None),
                Ok(Left::Nobody(lost)) => (Some(lost), None),
                Err(fault) => (None, Some(fault)),
            };
            let fault = fault.map(|fault| {
                stop.send_replace(true);
                let place = state.place(fault.at);
                let text = format!("{place}: play `{}`: {}", play.name, fault.text);
                // The command line says it, last of all; the record keeps it for the report.
                state.tell(EventKind::PlayBroken { play: play.index, why: fault.text, place });
                text
            });
            state.progress[at].ends(nobody);
            fault
        });
    }
    let mut first = None;
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Some(fault)) => {
                first.get_or_insert(fault);
            }
            Ok(None) => {}
            Err(error) => {
                first.get_or_insert(format!("internal error: a play's worker ended: {error}"));
            }
        }
    }
    first
}

/// The hosts of a play's pattern; `None` when the pattern can only be known while the run goes on.
#[must_use]
pub fn hosts_of_play(play: &Play, store: &Arc<Store>, templates: &Templates) -> Option<Vec<Arc<str>>> {
    play::select_hosts(play, store, templates).ok().map(|(_, selection)| selection.hosts)
}

/// The variables that a play has on this machine before it starts; prompts have no answers yet.
///
/// # Errors
/// A file of variables that is missing or wrong: what, and the place that names it.
pub fn local_scope(
    play: &Play,
    store: &Arc<Store>,
    templates: &Templates,
    resolver: &Resolver,
) -> Result<Arc<dyn Scope>, (String, Span)> {
    play::local_scope(play, store, templates, resolver).map_err(|fault| (fault.text, fault.at))
}

/// The hosts of all plays; `None` when one of the patterns can only be known while the run goes on.
#[must_use]
pub fn hosts_of(playbook: &Playbook, store: &Arc<Store>, templates: &Templates) -> Option<HashSet<Arc<str>>> {
    let mut all = HashSet::new();
    for play in &playbook.plays {
        all.extend(hosts_of_play(play, store, templates)?);
    }
    Some(all)
}

/// The address that a host has for the lock against a second run: two inventories may name one host differently.
#[must_use]
pub fn address_of(store: &Arc<Store>, templates: &Templates, host: &str) -> String {
    let scope: Arc<dyn Scope> = Arc::new(store.scope(host, &Arc::default()));
    let render = |var: &Var| match var {
        Var::Yaml(node) => templates.node(node, &scope),
        Var::Data(value) => Ok(value.clone()),
    };
    match crate::vars::connection::resolve(scope.as_ref(), host, &Given::default(), &render) {
        Ok(way) if way.kind == "local" => "localhost".to_owned(),
        Ok(way) => match way.port {
            Some(port) if port != 22 => format!("{}:{port}", way.host),
            _ => way.host,
        },
        Err(_) => host.to_owned(),
    }
}
