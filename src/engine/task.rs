//! One task on one host: conditions, loop, attempts, result, what follows from it.
//!
//! Owns: Ansible's rules for a task's life. Must not: know how a module or action does its work (that is `dispatch`).

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::dispatch::{Done, Ended, Legacy, Pass};
use super::line::{Group, Once};
use super::locks::Held;
use super::prepared::{Prepared, constant_flag};
use super::resume::Prints;
use super::slot::Slot;
use super::state::{Options, lock};
use super::takeover::{Journaled, Mode};
use super::walk::{Flow, Walker};
use crate::connection::{FaultKind, Seat};
use crate::journal::{EventKind, Failure, OpenEnd, Outcome, StepId, look};
use crate::resolve::{ActionKind, Condition, Settings, Task};
use crate::source::{Node, Yaml};
use crate::template::{Scope, TemplateError, Var};
use crate::vars::{ScopeParts, TaskScope};

/// How a task ended for the walker.
#[derive(Debug)]
pub(super) enum TaskEnd {
    Fine,
    Failed(Arc<Map<String, Json>>),
    Unreachable,
    Cancelled,
    Aborted,
    /// `--explain`: the host goes on here, which is all that was asked.
    Explained,
}

/// The parts of a finished step's event.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) outcome: Outcome,
    pub(super) took_ms: u64,
    pub(super) result: Arc<Map<String, Json>>,
    pub(super) failure: Option<Box<Failure>>,
    pub(super) fingerprint: Arc<str>,
    pub(super) kept: bool,
    pub(super) adopted: bool,
}

impl Default for Finish {
    fn default() -> Self {
        Self {
            outcome: Outcome::Ok,
            took_ms: 0,
            result: Arc::default(),
            failure: None,
            fingerprint: Arc::default(),
            kept: false,
            adopted: false,
        }
    }
}

/// A task's rendered keywords.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keywords {
    pub(super) check: bool,
    pub(super) diff: bool,
    pub(super) no_log: bool,
    ignore_errors: bool,
    ignore_unreachable: bool,
}

impl Keywords {
    /// The keywords of a task whose variables have no say in them.
    pub(super) fn constant(settings: &Settings, options: &Options) -> Option<Self> {
        Some(Self {
            check: constant_flag(settings.check_mode.as_ref(), options.check)?,
            diff: constant_flag(settings.diff.as_ref(), options.diff)?,
            no_log: constant_flag(settings.no_log.as_ref(), false)?,
            ignore_errors: constant_flag(settings.ignore_errors.as_ref(), false)?,
            ignore_unreachable: constant_flag(settings.ignore_unreachable.as_ref(), false)?,
        })
    }
}

impl Walker {
    /// The variables of this host in a task.
    pub(super) fn scope(&self, task: &Task) -> Arc<dyn Scope> {
        Arc::new(self.typed_scope(task))
    }

    pub(super) fn typed_scope(&self, task: &Task) -> TaskScope {
        self.prepared_scope(&self.playing.prepared(task))
    }

    pub(super) fn prepared_scope(&self, prepared: &Prepared) -> TaskScope {
        let mut last = lock(&self.last_scope);
        let scope = last.as_ref().and_then(|last| last.for_task(&prepared.parts));
        let mut scope = scope.unwrap_or_else(|| {
            let fresh = self.playing.run.inputs.store.scope(&self.host, &prepared.parts);
            last.insert(fresh).clone()
        });
        drop(last);
        if let Some(info) = &self.info {
            for name in ["ansible_play_hosts", "ansible_play_batch", "play_hosts"] {
                if let Some(value) = info.get(name) {
                    scope = scope.with_local(name, Var::Data(value));
                }
            }
        }
        for (name, value) in &self.locals {
            scope = scope.with_local(Arc::clone(name), value.clone());
        }
        scope
    }

    /// The variables of this host in the play, outside any task.
    pub(super) fn play_scope(&self) -> Arc<dyn Scope> {
        let parts = Arc::new(ScopeParts {
            play: Some(self.playing.vars()),
            play_state: Some(Arc::clone(&self.playing.state)),
            search: crate::template::SearchPath { bases: vec![self.playing.play.directory.clone()] },
            ..ScopeParts::default()
        });
        Arc::new(self.playing.run.inputs.store.scope(&self.host, &parts))
    }

    /// `None` when all conditions hold, else the text of the first that does not.
    pub(super) fn when(&self, task: &Task, scope: &Arc<dyn Scope>) -> Result<Option<Json>, TemplateError> {
        self.first_false(&task.when, scope)
    }

    pub(super) fn first_false(
        &self,
        list: &[Condition],
        scope: &Arc<dyn Scope>,
    ) -> Result<Option<Json>, TemplateError> {
        for condition in list {
            if !self.playing.run.inputs.templates.condition(&condition.expression, scope)? {
                return Ok(Some(match &condition.expression.value {
                    // `when: false` is told as what was written.
                    Yaml::Bool(flag) => Json::Bool(*flag),
                    _ => text_of(&condition.expression).into(),
                }));
            }
        }
        Ok(None)
    }

    fn flag_or(
        &self,
        node: Option<&Node>,
        scope: &Arc<dyn Scope>,
        default: bool,
    ) -> Result<bool, TemplateError> {
        match node {
            None => Ok(default),
            Some(Node { value: Yaml::Bool(flag), .. }) => Ok(*flag),
            Some(node) => self.playing.run.inputs.templates.condition(node, scope),
        }
    }

    pub(super) fn keywords(
        &self,
        task: &Task,
        prepared: &Prepared,
        scope: &Arc<dyn Scope>,
    ) -> Result<Keywords, TemplateError> {
        if let Some(known) = prepared.keywords {
            return Ok(known);
        }
        let settings = &task.settings;
        let options = &self.playing.run.inputs.options;
        Ok(Keywords {
            check: self.flag_or(settings.check_mode.as_ref(), scope, options.check)?,
            diff: self.flag_or(settings.diff.as_ref(), scope, options.diff)?,
            no_log: self.flag_or(settings.no_log.as_ref(), scope, false)?,
            ignore_errors: self.flag_or(settings.ignore_errors.as_ref(), scope, false)?,
            ignore_unreachable: self.flag_or(settings.ignore_unreachable.as_ref(), scope, false)?,
        })
    }

    /// Runs a `run_once` task on the first host of the group, and gives all the others its result.
    pub(super) async fn once(&mut self, task: &Arc<Task>, prepared: &Prepared, group: &Group) -> TaskEnd {
        if group.members.first() == Some(&self.index) {
            let (end, record) = self.run_recorded(task, prepared).await;
            let failed = !matches!(end, TaskEnd::Fine);
            group.once.send_replace(Some(Once { done: Arc::new(record), failed }));
            return end;
        }
        let mut once = group.once.subscribe();
        let Ok(shared) = once.wait_for(Option::is_some).await.map(|o| o.clone()) else {
            return TaskEnd::Cancelled;
        };
        let Some(shared) = shared else { return TaskEnd::Cancelled };
        if shared.failed {
            return TaskEnd::Aborted;
        }
        // A module that acts for all hosts by nature answers to its first host alone; `run_once` shares the answer.
        if self.flag(&task.settings.run_once, task) {
            self.keep(task, &shared.done);
        }
        TaskEnd::Fine
    }

    pub(super) async fn run_task(&mut self, task: &Arc<Task>, prepared: &Prepared) -> TaskEnd {
        self.run_recorded(task, prepared).await.0
    }

    async fn run_recorded(&mut self, task: &Arc<Task>, prepared: &Prepared) -> (TaskEnd, Legacy) {
        let run = Arc::clone(&self.playing.run);
        let scope = Arc::new(self.prepared_scope(prepared));
        let mut mode = Mode::default();
        if run.inputs.resume.is_some() {
            match self.journaled(task, prepared, &scope) {
                Journaled::TakenOver(end, done) => return (end, *done),
                Journaled::Run(found) => mode = found,
            }
        }
        if !task.locks.is_empty() || task.settings.throttle.is_some() {
            self.rests();
        }
        let held = match self.hold(task, &scope).await {
            Ok(Some(held)) => Ok(held),
            Ok(None) => return (TaskEnd::Cancelled, Legacy::default()),
            Err(error) => Err(error),
        };
        // A slot is held only while the host really works, never while it waits for others. From step to step it is kept:
        // a few hosts that get on touch less memory than all of them in turns.
        let slot = match self.slot.take().filter(|slot| slot.is_held()) {
            Some(slot) => {
                // A long line of steps that ask nobody must not keep a thread for itself.
                tokio::task::coop::consume_budget().await;
                slot
            }
            None => {
                self.rests();
                Slot::take(&run.forks).await
            }
        };
        if run.stopping() {
            return (TaskEnd::Cancelled, Legacy::default());
        }
        let step = run.step_id();
        let shared: Arc<dyn Scope> = Arc::clone(&scope) as _;
        let name = match &prepared.title {
            Some(title) => Arc::clone(title),
            None => self.title(task, &shared).into(),
        };
        self.tell_started(task, prepared, step, &name, self.delegate_shown(task, &shared));
        // A step that is not on record must not act: a resumed run would not know of it.
        if run.journal_broken() {
            return self.conclude(task, step, &name, Ended::Cancelled, false, false, 0, Arc::default());
        }
        run.step_begins();
        let began = run.clock.now();
        let prints = Prints::default();
        let keywords = self.keywords(task, prepared, &shared);
        let (end, ignore, no_log) = match (&keywords, &held) {
            // Whether the task may be shown is not known then.
            (Err(error), _) => (self.template_end(error), false, task.settings.no_log.is_some()),
            (Ok(keywords), Err(error)) => (self.template_end(error), keywords.ignore_errors, keywords.no_log),
            (Ok(keywords), Ok(_)) => {
                let pass = Pass {
                    walker: self,
                    task,
                    prepared,
                    keywords,
                    step,
                    prints: &prints,
                    verify: false,
                    collect: mode.collect,
                    repeat: mode.repeat,
                    seat: Seat(Some(Arc::clone(&slot) as _)),
                };
                let ended = self.all_items(&pass, &scope).await;
                let ignore = match &ended {
                    Ended::Unreachable(_) => keywords.ignore_unreachable,
                    _ => keywords.ignore_errors,
                };
                (ended, ignore, keywords.no_log)
            }
        };
        self.slot = Some(slot);
        run.step_ends();
        let took_ms = u64::try_from(run.clock.now().saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
        self.conclude(task, step, &name, end, ignore, no_log, took_ms, prints.finish())
    }

    /// Waits for the task's locks and for its turn under `throttle`; `None` when the run is to stop.
    async fn hold(&self, task: &Task, scope: &Arc<TaskScope>) -> Result<Option<Held>, TemplateError> {
        let run = &self.playing.run;
        if task.locks.is_empty() && task.settings.throttle.is_none() {
            return Ok(Some(Held::default()));
        }
        let wrong = |text: String| TemplateError::new(crate::template::ErrorKind::Value, text);
        let scope: Arc<dyn Scope> = Arc::clone(scope) as _;
        let templates = &run.inputs.templates;
        let mut names = std::collections::BTreeSet::new();
        for node in &task.locks {
            names.extend(
                super::play::strings(&templates.node(node, &scope)?).into_iter().map(Arc::<str>::from),
            );
        }
        let whole = &self.playing.locks;
        if let Some(name) = names.iter().find(|n| !whole.is_empty() && !whole.contains(*n)) {
            // Two plays that hold one lock and wait for the other's would wait for ever.
            return Err(wrong(format!(
                "the play holds locks, so its tasks can wait for those alone: add `{name}` to the play's `locks`"
            )));
        }
        let within = (!whole.is_empty()).then_some((self.playing.play.index, whole));
        if let Some(name) = run.locks.taken(&names, within) {
            let place = task.locks.first().map_or(task.span, |n| n.span);
            run.tell(EventKind::HostWaiting {
                play: self.playing.play.index,
                host: Arc::clone(&self.host),
                reason: format!("another host has the lock `{name}`"),
                place: run.place(place),
            });
        }
        let mut interrupts = run.interrupts.clone();
        let taken = async {
            let mut held = run.locks.take(&names, within).await;
            if let Some(node) = &task.settings.throttle {
                let value = templates.node(node, &scope)?;
                let most: i64 = value
                    .to_string()
                    .trim()
                    .parse()
                    .map_err(|_| wrong(format!("`throttle` must be a number of hosts, not `{value}`")))?;
                if let Ok(most @ 1..) = usize::try_from(most) {
                    run.locks.throttle(&task.path, most, &mut held).await;
                }
            }
            Ok(held)
        };
        tokio::select! {
            held = taken => held.map(Some),
            _ = interrupts.wait_for(|n| *n > 0) => Ok(None),
        }
    }

    /// Turns the end into outcome, events, registered variables and notifications.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one event; a struct would only repeat their names"
    )]
    fn conclude(
        &mut self,
        task: &Arc<Task>,
        step: StepId,
        name: &str,
        end: Ended,
        ignore: bool,
        no_log: bool,
        took_ms: u64,
        fingerprint: Arc<str>,
    ) -> (TaskEnd, Legacy) {
        let run = Arc::clone(&self.playing.run);
        let (done, outcome) = match end {
            Ended::Cancelled => {
                let finish = Finish { outcome: Outcome::Cancelled, took_ms, ..Finish::default() };
                self.finished(task, step, finish);
                return (TaskEnd::Cancelled, Legacy::default());
            }
            Ended::Unreachable(fault) => {
                run.tell(EventKind::HostUnreachable {
                    step,
                    host: Arc::clone(&self.host),
                    kind: fault.kind.to_string(),
                    what: run.inputs.mask(&fault.what),
                    next: fault.next.clone(),
                    place: run.place(task.span),
                    open: match fault.kind {
                        FaultKind::LostInStep => Some(OpenEnd::ThisRun),
                        FaultKind::Undecided => Some(OpenEnd::EarlierRun),
                        _ => None,
                    },
                });
                let mut result = Map::new();
                result.insert("unreachable".into(), true.into());
                result.insert("changed".into(), false.into());
                result.insert("msg".into(), fault.what.into());
                let outcome = if ignore { Outcome::UnreachableIgnored } else { Outcome::Unreachable };
                (Done::plain(result), outcome)
            }
            Ended::Failed(result) => {
                let outcome = if ignore { Outcome::FailureIgnored } else { Outcome::Failed };
                (Done::plain(result), outcome)
            }
            Ended::Done(done) => {
                let is = |key: &str| look(&done.result, key) == Some(&Json::Bool(true));
                let outcome = if is("failed") {
                    if ignore { Outcome::FailureIgnored } else { Outcome::Failed }
                } else if is("skipped") {
                    Outcome::Skipped
                } else if is("changed") {
                    Outcome::Changed
                } else {
                    Outcome::Ok
                };
                (done, outcome)
            }
        };
        let done = Legacy::from(done);
        self.keep(task, &done);
        let failure = matches!(outcome, Outcome::Failed | Outcome::FailureIgnored).then(|| {
            let chain = task
                .chain
                .iter()
                .rev()
                .map(|i| format!("{} ({})", run.inputs.sources.place(i.span), i.what))
                .collect();
            Box::new(Failure {
                name: name.to_owned(),
                place: run.place(task.span),
                // With `no_log` even the task's own lines may hold the secret.
                excerpt: if no_log {
                    String::new()
                } else {
                    super::excerpt::around(&run.inputs.sources, task)
                },
                chain,
                ran_as: self.ran_as(task),
            })
        });
        let shown =
            if no_log { Arc::new(censored(&done.result)) } else { run.inputs.mask_shared(&done.result) };
        let kept = !no_log && (Arc::ptr_eq(&shown, &done.result) || shown == done.result);
        self.tell_warnings(task, &shown);
        self.finished(
            task,
            step,
            Finish { outcome, took_ms, result: shown, failure, fingerprint, kept, adopted: false },
        );
        if matches!(outcome, Outcome::Changed)
            && !task.notify.is_empty()
            && let Err(text) = self.notify(task, step)
        {
            run.tell(EventKind::Warning { text, place: Some(run.place(task.span)) });
            return (TaskEnd::Failed(Arc::clone(&done.result)), done);
        }
        if !task.notify.is_empty() && super::unknown::may_change(task, &done.result) {
            self.may_notify(task);
        }
        let end = match outcome {
            Outcome::Failed => TaskEnd::Failed(Arc::clone(&done.result)),
            Outcome::Unreachable => TaskEnd::Unreachable,
            _ => TaskEnd::Fine,
        };
        (end, done)
    }

    pub(super) fn tell_started(
        &self,
        task: &Task,
        prepared: &Prepared,
        step: StepId,
        name: &Arc<str>,
        delegate: Option<Arc<str>>,
    ) {
        self.playing.run.tell(EventKind::StepStarted {
            step,
            play: self.playing.play.index,
            host: Arc::clone(&self.host),
            path: Arc::clone(&task.path),
            name: Arc::clone(name),
            role: prepared.role.clone(),
            action: Arc::clone(&task.action.name),
            place: Arc::clone(&prepared.place),
            delegate,
        });
    }

    /// Tells what a module warned of.
    fn tell_warnings(&self, task: &Task, result: &Map<String, Json>) {
        let Some(Json::Array(warnings)) = look(result, "warnings") else { return };
        let run = &self.playing.run;
        for text in warnings.iter().filter_map(Json::as_str) {
            if lock(&run.warned).insert(text.to_owned()) {
                let text = format!("{}: {text}", self.host);
                run.tell(EventKind::Warning { text, place: Some(run.place(task.span)) });
            }
        }
    }

    pub(super) fn finished(&self, task: &Task, step: StepId, finish: Finish) {
        let Finish { outcome, took_ms, result, failure, fingerprint, kept, adopted } = finish;
        self.playing.run.tell(EventKind::StepFinished {
            step,
            play: self.playing.play.index,
            host: Arc::clone(&self.host),
            path: Arc::clone(&task.path),
            outcome,
            took_ms,
            result,
            failure,
            fingerprint,
            kept,
            adopted,
        });
    }

    /// The task's name as people see it.
    pub(super) fn title(&self, task: &Task, scope: &Arc<dyn Scope>) -> String {
        let Some(name) = task.name.as_ref().and_then(|n| n.as_str()) else {
            return task.action.written.value.clone();
        };
        if !crate::template::template_text(name) {
            return name.to_owned();
        }
        // A name that cannot be rendered (it names the loop's item) is shown as written, as Ansible does.
        self.playing
            .run
            .inputs
            .templates
            .text(name, None, scope)
            .ok()
            .and_then(|v| crate::template::to_text(&v).ok())
            .map_or_else(|| name.to_owned(), |text| self.playing.run.inputs.mask(&text))
    }

    /// The host that a task is delegated to, for people; none when it can't be told before the loop runs.
    fn delegate_shown(&self, task: &Task, scope: &Arc<dyn Scope>) -> Option<Arc<str>> {
        let node = task.settings.delegate_to.as_ref()?;
        let value = self.playing.run.inputs.templates.node(node, scope).ok()?;
        let name = value.as_str().filter(|n| !n.trim().is_empty() && !crate::template::is_omit(&value))?;
        Some(self.playing.run.inputs.mask(name).into())
    }

    fn ran_as(&self, task: &Task) -> String {
        if !matches!(task.action.kind, ActionKind::Module(_) | ActionKind::Custom(_)) {
            return String::new();
        }
        self.own_target(task).map(|t| super::target::described(&t)).unwrap_or_default()
    }

    /// Fails the host at a task that could not even start.
    pub(super) fn fail_outright(&mut self, task: &Arc<Task>, text: &str) -> Flow {
        let run = Arc::clone(&self.playing.run);
        let step = run.step_id();
        let name: Arc<str> = self.title(task, &self.scope(task)).into();
        self.tell_started(task, &self.playing.prepared(task), step, &name, None);
        let mut result = Map::new();
        result.insert("failed".into(), true.into());
        result.insert("msg".into(), text.into());
        let end = self
            .conclude(task, step, &name, Ended::Failed(result.clone()), false, false, 0, Arc::default())
            .0;
        match end {
            TaskEnd::Failed(result) => Flow::Failed(Box::new(super::walk::Failed {
                task: Arc::clone(task),
                result,
                by_others: false,
            })),
            _ => Flow::Failed(Box::new(super::walk::Failed {
                task: Arc::clone(task),
                result: Arc::new(result),
                by_others: false,
            })),
        }
    }

    /// True when the run has lost this host already (another batch, a delegated step).
    pub(super) fn is_lost(&self, host: &Arc<str>) -> bool {
        lock(&self.playing.run.lost).contains_key(host)
    }
}

pub(super) fn skipped(condition: &Json) -> Map<String, Json> {
    match json!({
        "changed": false,
        "skipped": true,
        "skip_reason": "Conditional result was False",
        "false_condition": condition,
    }) {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// What `no_log` leaves of a result.
pub(super) fn censored(result: &Map<String, Json>) -> Map<String, Json> {
    let mut out = Map::new();
    out.insert(
        "censored".into(),
        "the output has been hidden due to the fact that 'no_log: true' was specified for this result".into(),
    );
    for key in ["changed", "failed", "skipped"] {
        if let Some(value) = result.get(key) {
            out.insert(key.into(), value.clone());
        }
    }
    out
}

pub(super) fn text_of(node: &Node) -> String {
    node.scalar_text().unwrap_or_default()
}
