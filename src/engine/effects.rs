//! What a finished task leaves behind: variables, facts, new hosts, notified handlers, and errors in words.
//!
//! Owns: the order in which results reach variables. Must not: decide how a task ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::dispatch::{Done, Ended, Legacy, data};
use super::state::lock;
use super::unknown;
use super::walk::Walker;
use crate::actions::Effect;
use crate::inventory::NewHost;
use crate::journal::{EventKind, Outcome, StepId, look};
use crate::resolve::Task;
use crate::source::Node;
use crate::template::TemplateError;
use crate::vars::Table;

impl Walker {
    /// The end of a step whose template could not be rendered; in check mode a value may just not be known yet.
    pub(super) fn template_end(&self, error: &TemplateError) -> Ended {
        if self.is_unknown(error) {
            return Ended::Done(Done::plain(super::dispatch::not_known(&error.to_string())));
        }
        Ended::Failed(self.failed_by(error))
    }

    /// Whether an error only means that check mode cannot know: it says so, or it misses a variable that a task which was
    /// left out for that reason may have made.
    pub(super) fn is_unknown(&self, error: &TemplateError) -> bool {
        use crate::template::ErrorKind;
        error.kind == ErrorKind::Unknown
            || (matches!(error.kind, ErrorKind::Undefined { .. })
                && lock(&self.playing.run.unsure).contains(&self.host))
    }

    pub(super) fn failed_by(&self, error: &TemplateError) -> Map<String, Json> {
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
    pub(super) fn keep(&self, task: &Task, done: &Legacy) {
        let store = &self.playing.run.inputs.store;
        let own = store.host(&self.host);
        for (host, facts) in &done.facts {
            let state = host.as_ref().map_or_else(|| Arc::clone(&own), |h| store.host(h));
            if super::facts::is_gathering(task) {
                state.begin_gathered();
            }
            state.add_facts(facts.iter().map(|(k, v)| (Arc::from(k.as_str()), data(v))));
        }
        for (host, effect) in &done.set_elsewhere {
            if let Effect::SetFact { vars, cacheable } = effect {
                store.host(host).set_facts(vars.iter().cloned(), *cacheable);
            }
        }
        for effect in &done.effects {
            match effect {
                Effect::SetFact { vars, cacheable } => own.set_facts(vars.iter().cloned(), *cacheable),
                Effect::Vars(layer) => own.include(&Table::of([&**layer])),
                Effect::AddHost { .. } | Effect::GroupBy { .. } => {}
            }
        }
        if let Some(text) = store.fact_cache().and_then(crate::vars::FactCache::take_fault) {
            self.playing.run.tell(EventKind::Warning { text, place: None });
        }
        if let Some(name) = &task.register {
            let result = registered(&done.result);
            if unknown::is_whole(&result) {
                own.register_result(Arc::clone(name), result);
            } else {
                own.register(Arc::clone(name), unknown::variable(&result));
            }
        }
        if unknown::is_marked(&done.result) && self.playing.run.inputs.options.check {
            if done.effects.is_empty() {
                let names = unknown::set_by(task).into_iter();
                own.set_facts(names.map(|name| (name, crate::template::unknown())), false);
            }
            if unknown::brings_variables(task) {
                lock(&self.playing.run.unsure).insert(Arc::clone(&self.host));
            }
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
                        .map(|(k, v)| {
                            (Arc::from(k.as_str()), Arc::new(crate::actions::data_node(v, task.span)))
                        })
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
        let (names, found) = self.handlers_of(task)?;
        self.notified.extend(found);
        let host = Arc::clone(&self.host);
        self.playing.run.tell(EventKind::HandlersNotified { step, host, handlers: names });
        Ok(())
    }

    /// Check mode: a task of which it is not known whether it changes anything may notify its handlers.
    pub(super) fn may_notify(&mut self, task: &Task) {
        // What is wrong with a name is told when it is certain that somebody is to be notified.
        if let Ok((_, found)) = self.handlers_of(task) {
            self.perhaps.extend(found);
        }
    }

    /// Tells of a handler that runs if such a task turns out to change something, and what may come of that.
    pub(super) fn may_run(&mut self, task: &Arc<Task>) {
        let options = &self.playing.run.inputs.options;
        if !super::tags::selected(&task.tags, &options.tags, &options.skip_tags) {
            return;
        }
        let result = super::dispatch::not_known("a task that may change something notifies it");
        let title = self.title(task, &self.scope(task));
        self.tell_step(task, title, Outcome::Skipped, result.clone());
        self.keep(task, &Legacy { result: Arc::new(result), ..Legacy::default() });
        if !task.notify.is_empty() {
            self.may_notify(task);
        }
    }

    /// The names that a task notifies, and their handlers.
    fn handlers_of(&self, task: &Task) -> Result<(Vec<String>, BTreeSet<usize>), String> {
        let run = &self.playing.run;
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
        let mut all = BTreeSet::new();
        for name in &names {
            let found = self.playing.handlers.named(name, &render);
            if found.is_empty() {
                return Err(format!("no handler is named `{name}` or listens to it"));
            }
            all.extend(found);
        }
        Ok((names, all))
    }
}

/// A result as variables keep it: without what only reports need.
fn registered(result: &Arc<Map<String, Json>>) -> Arc<Map<String, Json>> {
    if !matches!(look(result, "results"), Some(Json::Array(_))) {
        return Arc::clone(result);
    }
    let mut kept = Map::clone(result);
    if let Some(Json::Array(items)) = kept.get_mut("results") {
        for item in items.iter_mut().filter_map(Json::as_object_mut) {
            item.remove("_ansible_item_label");
        }
    }
    Arc::new(kept)
}
