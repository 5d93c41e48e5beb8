//! The rounds of a task: its items, and the attempts at each.
//!
//! Owns: `loop`, `loop_control`, `until`, `retries`, `delay`, `changed_when`, `failed_when`. Must not: tell of the task's end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::dispatch::{Done, Ended, Pass, data, known};
use super::task::{censored, skipped};
use super::unknown;
use super::walk::Walker;
use crate::actions::Effect;
use crate::journal::{EventKind, Outcome, look};
use crate::resolve::{Condition, Loop, Task};
use crate::source::{Node, Yaml};
use crate::template::{Scope, TemplateError, Value, Var};
use crate::vars::TaskScope;

impl Walker {
    /// Runs the task for every item, or once.
    pub(super) async fn all_items(&self, pass: &Pass<'_>, scope: &Arc<TaskScope>) -> Ended {
        let task = pass.task;
        let Some(loop_) = &task.loop_ else { return self.attempts(pass, scope, None).await };
        let shared: Arc<dyn Scope> = Arc::clone(scope) as _;
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
        let value = known(templates.node(&loop_.items, scope)?)?;
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
            let inner = Arc::new(with_loop_vars(carried.clone(), loop_, variable, items, number));
            let shared: Arc<dyn Scope> = Arc::clone(&inner) as _;
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
                carried.set_local(Arc::clone(name), Var::Data(unknown::variable(&result)));
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
        unknown::mark_loop(&mut all, &results);
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
            scope = scope.with_local(Arc::clone(name), Var::Data(unknown::variable(result)));
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
    async fn attempts(&self, pass: &Pass<'_>, scope: &Arc<TaskScope>, item: Option<usize>) -> Ended {
        let task = pass.task;
        let shared: Arc<dyn Scope> = Arc::clone(scope) as _;
        match self.when(task, &shared) {
            Ok(None) => {}
            Ok(Some(condition)) => {
                pass.skipped();
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
            if look(&done.result, "skipped") == Some(&Json::Bool(true)) {
                done.result.entry("failed").or_insert(false.into());
                return Ended::Done(done);
            }
            if let Err(error) = self.judge(task, scope, &mut done.result) {
                if self.is_unknown(&error) {
                    return self.template_end(&error);
                }
                let mut result = self.failed_by(&error);
                for (key, value) in done.result {
                    result.entry(key).or_insert(value);
                }
                return Ended::Failed(result);
            }
            let failed = look(&done.result, "failed") == Some(&Json::Bool(true));
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
                Err(error) if self.is_unknown(&error) => return self.template_end(&error),
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
        if let Some(name) = &task.register {
            scope = scope.with_local(Arc::clone(name), Var::Data(unknown::variable(result)));
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
        for name in ["changed", "failed"] {
            if look(result, name).is_none() {
                result.insert(name.to_owned(), false.into());
            }
        }
        if task.changed_when.is_empty() && task.failed_when.is_empty() {
            return Ok(());
        }
        let holds = |list: &[Condition], result: &Map<String, Json>| match list {
            // `changed_when: false`, by far the most common one, asks for no variable.
            [Condition { expression: Node { value: Yaml::Bool(flag), .. }, .. }] => Ok(*flag),
            _ => Ok(self.first_false(list, &self.with_result(task, scope, result))?.is_none()),
        };
        if !task.changed_when.is_empty() {
            let changed = holds(&task.changed_when, result)?;
            result.insert("changed".into(), changed.into());
            unknown::learn(result, "changed");
        }
        if !task.failed_when.is_empty() {
            let failed = holds(&task.failed_when, result)?;
            result.insert("failed".into(), failed.into());
            result.insert("failed_when_result".into(), failed.into());
            unknown::learn(result, "failed");
        }
        Ok(())
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
