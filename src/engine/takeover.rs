//! Taking a step over from the journal of the run that is resumed.
//!
//! Owns: the comparison of a step's fingerprint with the recorded one, and what a taken-over result leaves behind.
//! Must not: contact a host.

use std::sync::Arc;

use futures::FutureExt as _;
use serde_json::{Map, Value as Json};

use super::dispatch::{Legacy, Pass, data};
use super::prepared::Prepared;
use super::resume::{Departure, Interrupted, Prints, Way, way};
use super::task::{Finish, TaskEnd};
use super::walk::Walker;
use crate::actions::Effect;
use crate::connection::Seat;
use crate::journal::{EventKind, Outcome, Record, StepId};
use crate::resolve::{ActionKind, Task};
use crate::template::Scope;
use crate::vars::TaskScope;

/// How to run a step for real while resuming.
#[derive(Debug, Default)]
pub(super) struct Mode {
    /// Ask the agent for the results of this step's calls first.
    pub(super) collect: Option<String>,
    /// Repeat it even if its module cannot promise that this is harmless.
    pub(super) repeat: bool,
}

/// What the journal says of a step.
#[derive(Debug)]
pub(super) enum Journaled {
    TakenOver(TaskEnd, Box<Legacy>),
    Run(Mode),
}

/// Actions of the controller whose effects are not all in their results; running them again costs nothing.
const ALWAYS_RUN: [&str; 4] = ["include_vars", "add_host", "group_by", "validate_argument_spec"];

impl Walker {
    /// Takes the step over from the journal, or says how to run it.
    pub(super) fn journaled(
        &mut self,
        task: &Arc<Task>,
        prepared: &Prepared,
        scope: &Arc<TaskScope>,
    ) -> Journaled {
        let run = Arc::clone(&self.playing.run);
        let Some(resume) = &run.inputs.resume else { return Journaled::Run(Mode::default()) };
        let met = self.met.entry(Arc::clone(&task.path)).or_insert(0);
        let nth = *met;
        *met += 1;
        let past = run.frontier.has(&self.host);
        match way(Some(resume), past, &self.host, &task.path, nth) {
            Way::Run => {}
            _ if run.inputs.options.flush_cache && gathers(task) => {}
            _ if ALWAYS_RUN.contains(&&*task.action.name) => {}
            // Its result does not say on which host; setting it again costs nothing.
            _ if &*task.action.name == "set_fact" && task.settings.delegate_facts.is_some() => {}
            Way::RunOnly if resume.explain => {
                self.depart(task, scope, nth, "its result was not kept (no_log or a secret)")
            }
            Way::RunOnly => {}
            Way::Leave(why) => self.depart(task, scope, nth, why),
            Way::Interrupted(run, step) => return self.interrupted(task, prepared, scope, nth, run, step),
            Way::Compare(record) => {
                if let Some(taken) = self.compare(task, prepared, scope, record) {
                    return taken;
                }
                self.depart(task, scope, nth, "what it does has changed: arguments, a file or a template");
            }
        }
        if resume.explain && run.frontier.has(&self.host) {
            return Journaled::TakenOver(TaskEnd::Explained, Box::default());
        }
        Journaled::Run(Mode::default())
    }

    fn depart(&self, task: &Task, scope: &TaskScope, nth: usize, why: &str) {
        let run = &self.playing.run;
        let shared: Arc<dyn Scope> = Arc::new(scope.clone());
        let departure = Departure {
            task: self.title(task, &shared),
            place: run.inputs.sources.place(task.span),
            why: why.to_owned(),
        };
        if run.frontier.leave(&self.host, departure) {
            run.tell(EventKind::HostDeparted {
                play: self.playing.play.index,
                host: Arc::clone(&self.host),
                path: Arc::clone(&task.path),
                nth,
                why: why.to_owned(),
            });
        }
    }

    fn compare(
        &mut self,
        task: &Arc<Task>,
        prepared: &Prepared,
        scope: &Arc<TaskScope>,
        record: &Record,
    ) -> Option<Journaled> {
        let Record::Done { outcome, result, fingerprint } = record else { return None };
        // Whether a loop with `break_when` stopped depends on results that are not there any more.
        if task.loop_.as_ref().is_some_and(|l| !l.control.break_when.is_empty()) {
            return None;
        }
        let shared: Arc<dyn Scope> = Arc::clone(scope) as _;
        let keywords = self.keywords(task, prepared, &shared).ok()?;
        let prints = Prints::default();
        let pass = Pass {
            walker: self,
            task,
            prepared,
            keywords: &keywords,
            step: 0,
            prints: &prints,
            verify: true,
            collect: None,
            repeat: false,
            seat: Seat::default(),
        };
        // Nothing in a pass that only looks ever waits, so one poll is the whole of it.
        self.all_items(&pass, scope).now_or_never()?;
        (prints.finish() == *fingerprint)
            .then(|| self.take_over(task, prepared, *outcome, result, Arc::clone(fingerprint)))
    }

    fn take_over(
        &mut self,
        task: &Arc<Task>,
        prepared: &Prepared,
        outcome: Outcome,
        result: &Arc<Map<String, Json>>,
        fingerprint: Arc<str>,
    ) -> Journaled {
        let step = self.playing.run.step_id();
        let name = match &prepared.title {
            Some(title) => Arc::clone(title),
            None => task.name.as_ref().and_then(|n| n.as_str()).unwrap_or_default().into(),
        };
        self.tell_started(task, prepared, step, &name, None);
        let done = restored(task, result);
        self.keep(task, &done);
        self.finished(
            task,
            step,
            Finish {
                outcome,
                result: Arc::clone(result),
                fingerprint,
                kept: true,
                adopted: true,
                ..Finish::default()
            },
        );
        if outcome == Outcome::Changed && !task.notify.is_empty() {
            // A handler that is gone since then would fail a real run too; here it has nothing left to do.
            drop(self.notify(task, step));
        }
        let end = match outcome {
            Outcome::Failed => TaskEnd::Failed(Arc::clone(&done.result)),
            _ => TaskEnd::Fine,
        };
        Journaled::TakenOver(end, Box::new(done))
    }

    fn interrupted(
        &mut self,
        task: &Arc<Task>,
        prepared: &Prepared,
        scope: &TaskScope,
        nth: usize,
        earlier: &str,
        step: StepId,
    ) -> Journaled {
        let run = Arc::clone(&self.playing.run);
        let Some(resume) = &run.inputs.resume else { return Journaled::Run(Mode::default()) };
        self.depart(task, scope, nth, "the run was interrupted in it");
        if resume.explain {
            return Journaled::TakenOver(TaskEnd::Explained, Box::default());
        }
        let safe = match &task.action.kind {
            ActionKind::Module(spec) | ActionKind::Controller(spec) => {
                spec.repeat == dcos_play_agent::options::Repeat::Safe
            }
            _ => false,
        };
        let repeat = match resume.interrupted {
            _ if safe => true,
            Interrupted::Repeat => true,
            Interrupted::Skip => {
                let mut result = Map::new();
                result.insert("changed".into(), true.into());
                result.insert("msg".into(), "taken as done: the earlier run was interrupted in it".into());
                return self.take_over(task, prepared, Outcome::Changed, &Arc::new(result), Arc::default());
            }
            Interrupted::Ask => false,
        };
        // The first attempt of each item has a call of its own; one that the host does not know stops it here.
        let key = format!("{earlier}/{}/{step}", self.host);
        Journaled::Run(Mode { collect: Some(key), repeat })
    }
}

fn gathers(task: &Task) -> bool {
    matches!(&*task.action.name, "setup" | "gather_facts")
}

/// What a recorded result leaves behind besides the registered variable.
fn restored(task: &Task, result: &Arc<Map<String, Json>>) -> Legacy {
    let mut done = Legacy { result: Arc::clone(result), ..Legacy::default() };
    let each: Vec<&Map<String, Json>> = match result.get("results") {
        Some(Json::Array(items)) if task.loop_.is_some() => {
            items.iter().filter_map(Json::as_object).collect()
        }
        _ => vec![&**result],
    };
    for one in each {
        let Some(Json::Object(facts)) = one.get("ansible_facts") else { continue };
        if &*task.action.name == "set_fact" {
            let vars = facts.iter().map(|(k, v)| (Arc::from(k.as_str()), data(v))).collect();
            let cacheable = one.get("_ansible_facts_cacheable") == Some(&Json::Bool(true));
            done.effects.push(Effect::SetFact { vars, cacheable });
        } else {
            done.facts.push((None, facts.clone()));
        }
    }
    done
}
