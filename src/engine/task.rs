//! One task on one host: conditions, loop, attempts, result, what follows from it.
//!
//! Owns: Ansible's rules for a task's life. Must not: know how a module or action does its work (that is `dispatch`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::dispatch::{Done, Ended, Pass, data};
use super::line::{Group, Once};
use super::locks::Held;
use super::resume::Prints;
use super::slot::Slot;
use super::state::lock;
use super::takeover::{Journaled, Mode};
use super::walk::{Flow, Walker};
use crate::actions::Effect;
use crate::connection::Seat;
use crate::inventory::NewHost;
use crate::journal::{EventKind, Failure, Outcome, StepId};
use crate::resolve::{ActionKind, Condition, Loop, Task};
use crate::source::{Node, Yaml};
use crate::template::{Scope, TemplateError, Value, Var};
use crate::vars::{ScopeParts, Table, TaskScope};

/// How a task ended for the walker.
#[derive(Debug)]
pub(super) enum TaskEnd {
    Fine,
    Failed(Map<String, Json>),
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
    pub(super) result: Map<String, Json>,
    pub(super) failure: Option<Box<Failure>>,
    pub(super) fingerprint: String,
    pub(super) kept: bool,
    pub(super) adopted: bool,
}

impl Default for Finish {
    fn default() -> Self {
        Self {
            outcome: Outcome::Ok,
            took_ms: 0,
            result: Map::new(),
            failure: None,
            fingerprint: String::new(),
            kept: false,
            adopted: false,
        }
    }
}

/// A task's rendered keywords.
pub(super) struct Keywords {
    pub(super) check: bool,
    pub(super) diff: bool,
    pub(super) no_log: bool,
    ignore_errors: bool,
    ignore_unreachable: bool,
}

impl Walker {
    /// The variables of this host in a task.
    pub(super) fn scope(&self, task: &Task) -> Arc<dyn Scope> {
        Arc::new(self.typed_scope(task))
    }

    pub(super) fn typed_scope(&self, task: &Task) -> TaskScope {
        let parts = self.playing.parts(task);
        let mut scope = self.playing.run.inputs.store.scope(&self.host, &parts);
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

    fn first_false(&self, list: &[Condition], scope: &Arc<dyn Scope>) -> Result<Option<Json>, TemplateError> {
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

    pub(super) fn keywords(&self, task: &Task, scope: &Arc<dyn Scope>) -> Result<Keywords, TemplateError> {
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
    pub(super) async fn once(&mut self, task: &Arc<Task>, group: &Group) -> TaskEnd {
        if group.members.first() == Some(&self.index) {
            let (end, record) = self.run_recorded(task).await;
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

    pub(super) async fn run_task(&mut self, task: &Arc<Task>) -> TaskEnd {
        self.run_recorded(task).await.0
    }

    async fn run_recorded(&mut self, task: &Arc<Task>) -> (TaskEnd, Done) {
        let run = Arc::clone(&self.playing.run);
        let scope = self.typed_scope(task);
        let mut mode = Mode::default();
        if run.inputs.resume.is_some() {
            match self.journaled(task, &scope) {
                Journaled::TakenOver(end, done) => return (end, *done),
                Journaled::Run(found) => mode = found,
            }
        }
        let held = match self.hold(task, &scope).await {
            Ok(Some(held)) => Ok(held),
            Ok(None) => return (TaskEnd::Cancelled, Done::default()),
            Err(error) => Err(error),
        };
        // A slot is held only while the host really works, never while it waits for others.
        let slot = Slot::take(&run.forks).await;
        if run.stopping() {
            return (TaskEnd::Cancelled, Done::default());
        }
        let step = run.step_id();
        let shared: Arc<dyn Scope> = Arc::new(scope.clone());
        let name = self.title(task, &shared);
        run.tell(EventKind::StepStarted {
            step,
            play: self.playing.play.index,
            host: Arc::clone(&self.host),
            path: Arc::clone(&task.path),
            name: name.clone(),
            role: task.role.as_ref().map(|r| r.name.clone()),
            action: Arc::clone(&task.action.name),
            place: run.place(task.span),
            delegate: self.delegate_shown(task, &shared),
        });
        // A step that is not on record must not act: a resumed run would not know of it.
        if run.journal_broken() {
            return self.conclude(task, step, name, Ended::Cancelled, false, false, 0, String::new());
        }
        run.step_begins();
        let began = run.clock.now();
        let prints = Arc::new(Prints::default());
        let keywords = self.keywords(task, &shared);
        let (end, ignore, no_log) = match (&keywords, &held) {
            // Whether the task may be shown is not known then.
            (Err(error), _) => (self.template_end(error), false, task.settings.no_log.is_some()),
            (Ok(keywords), Err(error)) => (self.template_end(error), keywords.ignore_errors, keywords.no_log),
            (Ok(keywords), Ok(_)) => {
                let pass = Pass {
                    walker: self,
                    task,
                    keywords,
                    step,
                    prints: Arc::clone(&prints),
                    verify: false,
                    collect: mode.collect,
                    repeat: mode.repeat,
                    seat: Seat(Some(slot)),
                };
                let ended = self.all_items(&pass, &scope).await;
                let ignore = match &ended {
                    Ended::Unreachable(_) => keywords.ignore_unreachable,
                    _ => keywords.ignore_errors,
                };
                (ended, ignore, keywords.no_log)
            }
        };
        run.step_ends();
        let took_ms = u64::try_from(run.clock.now().saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
        self.conclude(task, step, name, end, ignore, no_log, took_ms, prints.finish())
    }

    /// Waits for the task's locks and for its turn under `throttle`; `None` when the run is to stop.
    async fn hold(&self, task: &Task, scope: &TaskScope) -> Result<Option<Held>, TemplateError> {
        let run = &self.playing.run;
        if task.locks.is_empty() && task.settings.throttle.is_none() {
            return Ok(Some(Held::default()));
        }
        let wrong = |text: String| TemplateError::new(crate::template::ErrorKind::Value, text);
        let scope: Arc<dyn Scope> = Arc::new(scope.clone());
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
        name: String,
        end: Ended,
        ignore: bool,
        no_log: bool,
        took_ms: u64,
        fingerprint: String,
    ) -> (TaskEnd, Done) {
        let run = Arc::clone(&self.playing.run);
        let (done, outcome) = match end {
            Ended::Cancelled => {
                let finish = Finish { outcome: Outcome::Cancelled, took_ms, ..Finish::default() };
                self.finished(task, step, finish);
                return (TaskEnd::Cancelled, Done::default());
            }
            Ended::Unreachable(fault) => {
                run.tell(EventKind::HostUnreachable {
                    step,
                    host: Arc::clone(&self.host),
                    kind: fault.kind.to_string(),
                    what: run.inputs.mask(&fault.what),
                    next: fault.next.clone(),
                    place: run.place(task.span),
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
                let is = |key: &str| done.result.get(key) == Some(&Json::Bool(true));
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
        self.keep(task, &done);
        let failure = matches!(outcome, Outcome::Failed | Outcome::FailureIgnored).then(|| {
            let chain = task
                .chain
                .iter()
                .rev()
                .map(|i| format!("{} ({})", run.inputs.sources.place(i.span), i.what))
                .collect();
            Box::new(Failure {
                name: name.clone(),
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
        let shown = if no_log { censored(&done.result) } else { run.inputs.mask_result(&done.result) };
        let kept = !no_log && (run.inputs.masks.is_empty() || shown == done.result);
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
            return (TaskEnd::Failed(done.result.clone()), done);
        }
        let end = match outcome {
            Outcome::Failed => TaskEnd::Failed(done.result.clone()),
            Outcome::Unreachable => TaskEnd::Unreachable,
            _ => TaskEnd::Fine,
        };
        (end, done)
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

    /// The end of a step whose template could not be rendered; in check mode a value may just not be known yet.
    pub(super) fn template_end(&self, error: &TemplateError) -> Ended {
        if error.kind == crate::template::ErrorKind::Unknown {
            return Ended::Done(Done::plain(super::dispatch::unknown(&error.to_string())));
        }
        Ended::Failed(self.failed_by(error))
    }

    fn failed_by(&self, error: &TemplateError) -> Map<String, Json> {
        let mut result = Map::new();
        result.insert("failed".into(), true.into());
        result.insert("changed".into(), false.into());
        result.insert("msg".into(), self.explain(error).into());
        result
    }

    /// The error with its place, the way to it, and what to do.
    pub(super) fn explain(&self, error: &TemplateError) -> String {
        let sources = &self.playing.run.inputs.sources;
        let mut text = error.to_string();
        if let Some(file) = &error.file {
            text.push_str(&format!("\n  in the template {file}"));
        }
        if let Some(at) = error.at {
            text.push_str(&format!("\n  at {}", sources.place(at)));
        }
        for link in &error.chain {
            let place = link.at.map(|at| format!(", {}", sources.place(at))).unwrap_or_default();
            text.push_str(&format!("\n  needed by `{}`{place}", link.variable));
        }
        if let Some(help) = &error.help {
            text.push_str(&format!("\n  {help}"));
        }
        text
    }

    /// Keeps what a result leaves behind: the registered variable, facts, set facts, included variables.
    pub(super) fn keep(&self, task: &Task, done: &Done) {
        let store = &self.playing.run.inputs.store;
        let own = store.host(&self.host);
        for (host, facts) in &done.facts {
            let state = host.as_ref().map_or_else(|| Arc::clone(&own), |h| store.host(h));
            state.add_facts(facts.iter().map(|(k, v)| (Arc::from(k.as_str()), data(v))));
        }
        for (host, effect) in &done.set_elsewhere {
            if let Effect::SetFact { vars, cacheable } = effect {
                let state = store.host(host);
                for (name, value) in vars {
                    state.set_fact(Arc::clone(name), value.clone(), *cacheable);
                }
            }
        }
        for effect in &done.effects {
            match effect {
                Effect::SetFact { vars, cacheable } => {
                    for (name, value) in vars {
                        own.set_fact(Arc::clone(name), value.clone(), *cacheable);
                    }
                }
                Effect::Vars(layer) => own.include(&Table::of([&**layer])),
                Effect::AddHost { .. } | Effect::GroupBy { .. } => {}
            }
        }
        if let Some(name) = &task.register {
            own.register(Arc::clone(name), data(registered(&done.result)));
        }
    }

    /// Takes over new hosts and groups; says whether the inventory is another one now.
    pub(super) fn change_inventory(&self, task: &Task, effects: &[Effect]) -> bool {
        let store = &self.playing.run.inputs.store;
        let mut found = crate::source::Diagnostics::default();
        let mut changed = false;
        for effect in effects {
            match effect {
                Effect::AddHost { host, groups, vars } => {
                    let vars = vars
                        .iter()
                        .map(|(k, v)| (Arc::from(k.as_str()), Arc::new(data_node(v, task.span))))
                        .collect();
                    let new = NewHost { name: host.clone(), groups: groups.clone(), vars };
                    changed |= store
                        .add_hosts(std::slice::from_ref(&new), task.span, &mut found)
                        .into_iter()
                        .any(|changed| changed);
                }
                Effect::GroupBy { group, parents } => {
                    changed |= store.group_by(&self.host, group, parents, &mut found);
                }
                Effect::SetFact { .. } | Effect::Vars(_) => {}
            }
        }
        self.tell_findings(&found);
        changed
    }

    fn tell_findings(&self, found: &crate::source::Diagnostics) {
        for finding in &found.list {
            let place = finding.labels.first().map(|l| self.playing.run.place(l.span));
            self.playing.run.tell(EventKind::Warning { text: finding.message.clone(), place });
        }
    }

    pub(super) fn notify(&mut self, task: &Task, step: StepId) -> Result<(), String> {
        let run = Arc::clone(&self.playing.run);
        let templates = &run.inputs.templates;
        let scope = self.scope(task);
        let mut names = Vec::new();
        for node in &task.notify {
            let value =
                templates.node(node, &scope).map_err(|e| format!("`notify` cannot be rendered: {e}"))?;
            names.extend(super::play::strings(&value));
        }
        let play_scope = self.play_scope();
        let render = |node: &Node| -> Option<String> {
            let text = node.as_str()?;
            if !crate::template::template_text(text) {
                return Some(text.to_owned());
            }
            templates
                .text(text, Some(node.span), &play_scope)
                .ok()
                .and_then(|v| crate::template::to_text(&v).ok())
        };
        for name in &names {
            let found = self.playing.handlers.named(name, &render);
            if found.is_empty() {
                return Err(format!("no handler is named `{name}` or listens to it"));
            }
            self.notified.extend(found);
        }
        run.tell(EventKind::HandlersNotified { step, host: Arc::clone(&self.host), handlers: names });
        Ok(())
    }

    /// Runs the task for every item, or once.
    pub(super) async fn all_items(&self, pass: &Pass<'_>, scope: &TaskScope) -> Ended {
        let task = pass.task;
        let shared: Arc<dyn Scope> = Arc::new(scope.clone());
        let Some(loop_) = &task.loop_ else { return self.attempts(pass, scope, None).await };
        let items = match self.loop_items(loop_, &shared) {
            Ok(items) => items,
            // A loop over something undefined is no error when the task would be skipped anyway.
            Err(error) => match self.when(task, &shared) {
                Ok(Some(condition)) => return Ended::Done(Done::plain(skipped(&condition))),
                _ => return self.template_end(&error),
            },
        };
        self.each_item(pass, scope, loop_, &items).await
    }

    pub(super) fn loop_items(
        &self,
        loop_: &Loop,
        scope: &Arc<dyn Scope>,
    ) -> Result<Vec<Value>, TemplateError> {
        let templates = &self.playing.run.inputs.templates;
        if let Some(lookup) = &loop_.lookup {
            return templates.lookup(&lookup.value, &loop_.items, scope);
        }
        let value = templates.node(&loop_.items, scope)?;
        match value.kind() {
            minijinja::value::ValueKind::Seq | minijinja::value::ValueKind::Iterable => {
                Ok(value.try_iter().map(Iterator::collect).unwrap_or_default())
            }
            _ => Err(TemplateError::new(
                crate::template::ErrorKind::Value,
                format!("`loop` needs a list, not {}", super::dispatch::kind_of(&value)),
            )),
        }
    }

    async fn each_item(&self, pass: &Pass<'_>, scope: &TaskScope, loop_: &Loop, items: &[Value]) -> Ended {
        let task = pass.task;
        let variable = loop_.control.loop_var.as_deref().unwrap_or("item");
        let mut results: Vec<Json> = Vec::with_capacity(items.len());
        let (mut effects, mut facts, mut set_elsewhere) = (Vec::new(), Vec::new(), Vec::new());
        let (mut changed, mut failed, mut all_skipped) = (false, false, true);
        let mut warnings = Vec::new();
        // What an item sets or registers is seen by the items after it (`acc: "{{ acc | default([]) + [item] }}"`).
        let mut carried = scope.clone();
        for (number, item) in items.iter().enumerate() {
            if number > 0 && !pass.verify {
                if let Some(pause) = &loop_.control.pause
                    && let Err(error) = self.pause(pause, scope).await
                {
                    return self.template_end(&error);
                }
                if self.playing.run.stopping() {
                    return Ended::Cancelled;
                }
            }
            let inner = with_loop_vars(carried.clone(), loop_, variable, items, number);
            let shared: Arc<dyn Scope> = Arc::new(inner.clone());
            let label = self.label(loop_, item, &shared);
            let done = match self.attempts(pass, &inner, Some(number)).await {
                Ended::Done(done) => done,
                Ended::Failed(result) => Done::plain(result),
                other => return other,
            };
            let mut result = done.result;
            for effect in &done.effects {
                if let Effect::SetFact { vars, .. } = effect {
                    for (name, value) in vars {
                        carried.set_local(Arc::clone(name), Var::Data(value.clone()));
                    }
                }
            }
            if let Some(name) = &task.register {
                carried.set_local(Arc::clone(name), Var::Data(data(&result)));
            }
            effects.extend(done.effects);
            facts.extend(done.facts);
            set_elsewhere.extend(done.set_elsewhere);
            let is = |result: &Map<String, Json>, key: &str| result.get(key) == Some(&Json::Bool(true));
            let (bad, skip, change) = (is(&result, "failed"), is(&result, "skipped"), is(&result, "changed"));
            failed |= bad;
            changed |= change;
            all_skipped &= skip;
            result.insert("ansible_loop_var".into(), variable.into());
            result.insert(variable.to_owned(), serde_json::to_value(item).unwrap_or(Json::Null));
            if let Some(Var::Data(extended)) = inner.local("ansible_loop") {
                result.insert("ansible_loop".into(), serde_json::to_value(extended).unwrap_or(Json::Null));
            }
            if let Some(index_var) = &loop_.control.index_var {
                result.insert(index_var.clone(), number.into());
                result.insert("ansible_index_var".into(), index_var.as_str().into());
            }
            if let Some(Json::Array(more)) = result.get("warnings") {
                warnings.extend(more.iter().cloned());
            }
            let outcome = match (bad, skip, change) {
                (true, ..) => Outcome::Failed,
                (_, true, _) => Outcome::Skipped,
                (_, _, true) => Outcome::Changed,
                _ => Outcome::Ok,
            };
            let label = if pass.keywords.no_log { "(censored due to no_log)".to_owned() } else { label };
            result.insert("_ansible_item_label".into(), label.as_str().into());
            let shown = if pass.keywords.no_log {
                censored(&result)
            } else {
                self.playing.run.inputs.mask_result(&result)
            };
            if pass.verify {
                continue;
            }
            self.playing.run.tell(EventKind::StepItem {
                step: pass.step,
                host: Arc::clone(&self.host),
                label: self.playing.run.inputs.mask(&label),
                outcome,
                result: shown,
            });
            let stop = !loop_.control.break_when.is_empty()
                && match self.break_when(task, loop_, &inner, &result) {
                    Ok(stop) => stop,
                    Err(error) => return self.template_end(&error),
                };
            results.push(Json::Object(result));
            if stop {
                break;
            }
        }
        let mut all = Map::new();
        if items.is_empty() {
            all.insert("skipped".into(), true.into());
            all.insert("skipped_reason".into(), "No items in the list".into());
        } else if all_skipped {
            all.insert("msg".into(), "All items skipped".into());
        } else if failed {
            all.insert("failed".into(), true.into());
            all.insert("msg".into(), "One or more items failed".into());
        } else {
            all.insert("msg".into(), "All items completed".into());
        }
        if !items.is_empty() {
            all.insert("skipped".into(), all_skipped.into());
        }
        all.insert("changed".into(), changed.into());
        all.insert("results".into(), Json::Array(results));
        if !warnings.is_empty() {
            all.insert("warnings".into(), Json::Array(warnings));
        }
        Ended::Done(Done { result: all, effects, facts, set_elsewhere })
    }

    fn break_when(
        &self,
        task: &Task,
        loop_: &Loop,
        scope: &TaskScope,
        result: &Map<String, Json>,
    ) -> Result<bool, TemplateError> {
        let mut scope = scope.clone();
        if let Some(name) = &task.register {
            scope = scope.with_local(Arc::clone(name), Var::Data(data(result)));
        }
        Ok(self.first_false(&loop_.control.break_when, &(Arc::new(scope) as Arc<dyn Scope>))?.is_none())
    }

    async fn pause(&self, node: &Node, scope: &TaskScope) -> Result<(), TemplateError> {
        let scope: Arc<dyn Scope> = Arc::new(scope.clone());
        let value = self.playing.run.inputs.templates.node(node, &scope)?;
        let seconds: f64 = value.to_string().parse().unwrap_or(0.0);
        self.wait(Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))).await;
        Ok(())
    }

    /// Waits, but no longer than the user wants the run to go on.
    pub(super) async fn wait(&self, time: Duration) {
        let mut interrupts = self.playing.run.interrupts.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = interrupts.wait_for(|n| *n > 0) => {}
        }
    }

    pub(super) fn label(&self, loop_: &Loop, item: &Value, scope: &Arc<dyn Scope>) -> String {
        let shown = match &loop_.control.label {
            Some(label) => {
                self.playing.run.inputs.templates.node(label, scope).unwrap_or_else(|_| item.clone())
            }
            None => item.clone(),
        };
        match shown.as_str() {
            Some(text) => text.to_owned(),
            None => serde_json::to_string(&shown).unwrap_or_else(|_| shown.to_string()),
        }
    }

    /// One item, or the only one: attempts until it is as `until` wants it.
    async fn attempts(&self, pass: &Pass<'_>, scope: &TaskScope, item: Option<usize>) -> Ended {
        let task = pass.task;
        let shared: Arc<dyn Scope> = Arc::new(scope.clone());
        match self.when(task, &shared) {
            Ok(None) => {}
            Ok(Some(condition)) => {
                pass.prints.feed(b"skipped");
                return Ended::Done(Done::plain(skipped(&condition)));
            }
            Err(error) => return self.template_end(&error),
        }
        if pass.verify {
            // Whatever comes back: the fingerprint is what was wanted.
            drop(pass.run(scope, item, 1).await);
            return Ended::Done(Done::default());
        }
        let (retries, delay) = match self.patience(task, &shared) {
            Ok(both) => both,
            Err(error) => return self.template_end(&error),
        };
        let mut attempt = 1;
        loop {
            let mut done = match pass.run(scope, item, attempt).await {
                Ended::Done(done) => done,
                Ended::Failed(result) => Done::plain(result),
                other => return other,
            };
            if done.result.get("skipped") == Some(&Json::Bool(true)) {
                done.result.entry("failed").or_insert(false.into());
                return Ended::Done(done);
            }
            if let Err(error) = self.judge(task, scope, &mut done.result) {
                let mut result = self.failed_by(&error);
                for (key, value) in done.result {
                    result.entry(key).or_insert(value);
                }
                return Ended::Failed(result);
            }
            let failed = done.result.get("failed") == Some(&Json::Bool(true));
            if retries.is_none() {
                return if failed { Ended::Failed(done.result) } else { Ended::Done(done) };
            }
            let retries = retries.unwrap_or(0);
            done.result.insert("attempts".into(), attempt.into());
            let enough = if task.until.is_empty() {
                Ok(!failed)
            } else {
                self.first_false(&task.until, &self.with_result(task, scope, &done.result))
                    .map(|f| f.is_none())
            };
            match enough {
                Err(error) => {
                    let mut result = self.failed_by(&error);
                    result.insert("attempts".into(), attempt.into());
                    return Ended::Failed(result);
                }
                Ok(true) => return if failed { Ended::Failed(done.result) } else { Ended::Done(done) },
                Ok(false) if attempt > retries => {
                    done.result.insert("failed".into(), true.into());
                    done.result.insert("attempts".into(), retries.into());
                    return Ended::Failed(done.result);
                }
                Ok(false) => {}
            }
            self.playing.run.tell(EventKind::StepRetry {
                step: pass.step,
                host: Arc::clone(&self.host),
                attempt,
                retries,
                delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            });
            self.playing.run.tell(EventKind::HostBusy {
                host: Arc::clone(&self.host),
                what: format!(
                    "{} · attempt {attempt} of {retries}, again in {:.1}s",
                    self.title(task, &shared),
                    delay.as_secs_f64()
                ),
            });
            pass.seat.without(self.wait(delay)).await;
            if self.playing.run.stopping() {
                return Ended::Cancelled;
            }
            attempt += 1;
        }
    }

    /// How often and how fast to try again: `None` when the task has neither `until` nor `retries`.
    fn patience(
        &self,
        task: &Task,
        scope: &Arc<dyn Scope>,
    ) -> Result<(Option<u32>, Duration), TemplateError> {
        if task.until.is_empty() && task.retries.is_none() {
            return Ok((None, Duration::ZERO));
        }
        let number = |node: &Option<Node>, default: f64, name: &str| match node {
            None => Ok(default),
            Some(node) => {
                let value = self.playing.run.inputs.templates.node(node, scope)?;
                value.to_string().parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| {
                    TemplateError::new(
                        crate::template::ErrorKind::Value,
                        format!("`{name}` must be a number, not {}", super::dispatch::kind_of(&value)),
                    )
                })
            }
        };
        let retries = number(&task.retries, 3.0, "retries")?;
        let delay = number(&task.delay, 5.0, "delay")?;
        Ok((Some(retries.max(0.0) as u32), Duration::from_secs_f64(delay.clamp(0.0, 86_400.0))))
    }

    fn with_result(&self, task: &Task, scope: &TaskScope, result: &Map<String, Json>) -> Arc<dyn Scope> {
        let mut scope = scope.clone();
        let value = data(result);
        if let Some(name) = &task.register {
            scope = scope.with_local(Arc::clone(name), Var::Data(value.clone()));
        }
        // Ansible lets these conditions name the result's keys through the registered name only; facts that the
        // module returned are in sight too.
        if let Some(Json::Object(facts)) = result.get("ansible_facts") {
            for (name, fact) in facts {
                scope = scope.with_local(Arc::from(name.as_str()), Var::Data(data(fact)));
            }
        }
        Arc::new(scope)
    }

    /// Applies `changed_when` and `failed_when`.
    fn judge(
        &self,
        task: &Task,
        scope: &TaskScope,
        result: &mut Map<String, Json>,
    ) -> Result<(), TemplateError> {
        result.entry("changed").or_insert(false.into());
        result.entry("failed").or_insert(false.into());
        if task.changed_when.is_empty() && task.failed_when.is_empty() {
            return Ok(());
        }
        if !task.changed_when.is_empty() {
            let scope = self.with_result(task, scope, result);
            let changed = self.first_false(&task.changed_when, &scope)?.is_none();
            result.insert("changed".into(), changed.into());
        }
        if !task.failed_when.is_empty() {
            let scope = self.with_result(task, scope, result);
            let failed = self.first_false(&task.failed_when, &scope)?.is_none();
            result.insert("failed".into(), failed.into());
            result.insert("failed_when_result".into(), failed.into());
        }
        Ok(())
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
        self.target(task, &self.scope(task), &self.host)
            .map(|t| super::target::described(&t))
            .unwrap_or_default()
    }

    /// Fails the host at a task that could not even start.
    pub(super) fn fail_outright(&mut self, task: &Arc<Task>, text: &str) -> Flow {
        let run = Arc::clone(&self.playing.run);
        let step = run.step_id();
        let name = self.title(task, &self.scope(task));
        run.tell(EventKind::StepStarted {
            step,
            play: self.playing.play.index,
            host: Arc::clone(&self.host),
            path: Arc::clone(&task.path),
            name: name.clone(),
            role: task.role.as_ref().map(|r| r.name.clone()),
            action: Arc::clone(&task.action.name),
            place: run.place(task.span),
            delegate: None,
        });
        let mut result = Map::new();
        result.insert("failed".into(), true.into());
        result.insert("msg".into(), text.into());
        match self.conclude(task, step, name, Ended::Failed(result.clone()), false, false, 0, String::new()).0
        {
            TaskEnd::Failed(result) => Flow::Failed(Box::new(super::walk::Failed {
                task: Arc::clone(task),
                result,
                by_others: false,
            })),
            _ => Flow::Failed(Box::new(super::walk::Failed {
                task: Arc::clone(task),
                result,
                by_others: false,
            })),
        }
    }

    /// True when the run has lost this host already (another batch, a delegated step).
    pub(super) fn is_lost(&self, host: &Arc<str>) -> bool {
        lock(&self.playing.run.lost).contains_key(host)
    }
}

/// Adds `item`, `index_var` and `ansible_loop` for one round.
pub(super) fn with_loop_vars(
    mut scope: TaskScope,
    loop_: &Loop,
    variable: &str,
    items: &[Value],
    at: usize,
) -> TaskScope {
    scope = scope.with_local(variable, Var::Data(items[at].clone()));
    scope = scope.with_local("ansible_loop_var", Var::Data(Value::from(variable)));
    if let Some(index_var) = &loop_.control.index_var {
        scope = scope.with_local(index_var.as_str(), Var::Data(Value::from(at)));
        scope = scope.with_local("ansible_index_var", Var::Data(Value::from(index_var.as_str())));
    }
    if loop_.control.extended {
        let len = items.len();
        let mut extended = vec![
            ("index", Value::from(at + 1)),
            ("index0", Value::from(at)),
            ("first", Value::from(at == 0)),
            ("last", Value::from(at + 1 == len)),
            ("length", Value::from(len)),
            ("revindex", Value::from(len - at)),
            ("revindex0", Value::from(len - at - 1)),
        ];
        if loop_.control.extended_allitems {
            extended.push(("allitems", Value::from_iter(items.iter().cloned())));
        }
        if at > 0 {
            extended.push(("previtem", items[at - 1].clone()));
        }
        if at + 1 < len {
            extended.push(("nextitem", items[at + 1].clone()));
        }
        scope = scope.with_local(
            "ansible_loop",
            Var::Data(Value::from(extended.into_iter().collect::<std::collections::BTreeMap<_, _>>())),
        );
    }
    scope
}

fn skipped(condition: &Json) -> Map<String, Json> {
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

/// A result as variables keep it: without what only reports need.
fn registered(result: &Map<String, Json>) -> Map<String, Json> {
    let mut kept = result.clone();
    if let Some(Json::Array(items)) = kept.get_mut("results") {
        for item in items.iter_mut().filter_map(Json::as_object_mut) {
            item.remove("_ansible_item_label");
        }
    }
    kept
}

/// What `no_log` leaves of a result.
fn censored(result: &Map<String, Json>) -> Map<String, Json> {
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

fn text_of(node: &Node) -> String {
    node.scalar_text().unwrap_or_default()
}

/// Data of a result as a node that is never rendered, for `add_host`.
fn data_node(value: &Json, span: crate::source::Span) -> Node {
    let value = match value {
        Json::Null => Yaml::Null,
        Json::Bool(flag) => Yaml::Bool(*flag),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Yaml::Float(number.as_f64().unwrap_or(f64::NAN)), Yaml::Int)
        }
        Json::String(text) => Yaml::Unsafe(text.as_str().into()),
        Json::Array(items) => Yaml::Seq(items.iter().map(|v| data_node(v, span)).collect()),
        Json::Object(map) => Yaml::Map(crate::source::Mapping {
            entries: map
                .iter()
                .map(|(k, v)| crate::source::Entry {
                    key: Node { span, value: Yaml::Unsafe(k.as_str().into()) },
                    value: data_node(v, span),
                })
                .collect(),
        }),
    };
    Node { span, value }
}
