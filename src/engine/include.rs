//! `include_tasks` and `include_role`: a node of the plan that expands while the run goes on.
//!
//! Owns: finding the file, one expansion a loop item, and walking what came out. Must not: parse (that is `resolve`).

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::items::with_loop_vars;
use super::state::lock;
use super::task::Finish;
use super::walk::{Flow, Walker};
use crate::journal::Outcome;
use crate::resolve::{ActionKind, Item, RoleInclude, Task};
use crate::source::Node;
use crate::template::{Scope, TemplateError, Value, Var};
use crate::vars::TaskScope;

impl Walker {
    /// Expands an include for this host and walks what it brings.
    pub(super) async fn include(&mut self, task: &Arc<Task>, at: &[u32]) -> Flow {
        let scope = self.typed_scope(task);
        let shared: Arc<dyn Scope> = Arc::new(scope.clone());
        let Some(loop_) = &task.loop_ else {
            let flow = self.include_once(task, &scope, at, Vec::new(), None).await;
            if self.playing.barrier(task).is_some() {
                // Other hosts may have included another file.
                self.goes_around_include(task);
            }
            return flow;
        };
        let items = match self.loop_items(loop_, &shared) {
            Ok(items) => items,
            Err(error) => match self.when(task, &shared) {
                Ok(Some(_)) => return self.include_skipped(task, &shared),
                _ if self.is_unknown(&error) => return self.include_unknown(task, &error),
                _ => {
                    let text = self.explain(&error);
                    return self.fail_outright(task, &text);
                }
            },
        };
        let variable = loop_.control.loop_var.clone().unwrap_or_else(|| "item".to_owned());
        for (number, item) in items.iter().enumerate() {
            let inner = with_loop_vars(scope.clone(), loop_, &variable, &items, number);
            let label = self.label(loop_, item, &(Arc::new(inner.clone()) as Arc<dyn Scope>));
            let mut position = at.to_vec();
            position.push(u32::try_from(number).unwrap_or(u32::MAX));
            let mut locals: Vec<(Arc<str>, Var)> = vec![
                (variable.as_str().into(), Var::Data(item.clone())),
                ("ansible_loop_var".into(), Var::Data(Value::from(variable.as_str()))),
            ];
            if let Some(index_var) = &loop_.control.index_var {
                locals.push((index_var.as_str().into(), Var::Data(Value::from(number))));
            }
            let flow = self.include_once(task, &inner, &position, locals, Some(label)).await;
            if !matches!(flow, Flow::Next) {
                return flow;
            }
        }
        self.goes_around_include(task);
        Flow::Next
    }

    async fn include_once(
        &mut self,
        task: &Arc<Task>,
        scope: &TaskScope,
        at: &[u32],
        locals: Vec<(Arc<str>, Var)>,
        label: Option<String>,
    ) -> Flow {
        let shared: Arc<dyn Scope> = Arc::new(scope.clone());
        match self.when(task, &shared) {
            Ok(None) => {}
            Ok(Some(_)) => return self.include_skipped(task, &shared),
            Err(error) if self.is_unknown(&error) => return self.include_unknown(task, &error),
            Err(error) => {
                let text = self.explain(&error);
                return self.fail_outright(task, &text);
            }
        }
        // What it applies to its tasks is theirs to render.
        let check = self.playing.run.inputs.options.check;
        let args = task.action.args.entries.iter().filter(|(name, _)| check && name.value != "apply");
        for node in args.map(|(_, node)| node) {
            let value = self.playing.run.inputs.templates.node(node, &shared);
            if let Err(error) = value.and_then(super::dispatch::known)
                && self.is_unknown(&error)
            {
                return self.include_unknown(task, &error);
            }
        }
        let expanded = match task.action.kind {
            ActionKind::IncludeRole => self.expand_role(task, &shared),
            _ => self.expand_file(task, &shared),
        };
        let (what, items) = match expanded {
            Ok(expanded) => expanded,
            Err(text) => return self.fail_outright(task, &text),
        };
        let what = label.map_or_else(|| what.clone(), |l| format!("{what} (item={l})"));
        self.tell_included(task, &what);
        let before = self.locals.len();
        self.locals.extend(locals);
        let flow = self.items(&items, at).await;
        self.locals.truncate(before);
        flow
    }

    fn expand_file(&self, task: &Task, scope: &Arc<dyn Scope>) -> Result<(String, Vec<Item>), String> {
        let node =
            self.include_option(task, &["file", "_raw_params"]).ok_or("`include_tasks` needs a file")?;
        let name = self.rendered_text(node, scope)?;
        let inputs = &self.playing.run.inputs;
        let path =
            inputs.resolver.find_tasks_file(task, &name).map_err(|found| found.render(&inputs.sources))?;
        let items = inputs
            .resolver
            .expand_tasks_file(&self.playing.play, task, &path)
            .map_err(|found| rendered(&found, &inputs.sources))?;
        Ok((name, items))
    }

    fn expand_role(&self, task: &Task, scope: &Arc<dyn Scope>) -> Result<(String, Vec<Item>), String> {
        let text = |name: &str| -> Result<Option<String>, String> {
            self.include_option(task, &[name]).map(|n| self.rendered_text(n, scope)).transpose()
        };
        let flag = |name: &str| -> Result<Option<bool>, String> {
            self.include_option(task, &[name])
                .map(|n| self.playing.run.inputs.templates.condition(n, scope).map_err(|e| self.explain(&e)))
                .transpose()
        };
        let options = RoleInclude {
            name: text("name")?.ok_or("`include_role` needs a name")?,
            tasks_from: text("tasks_from")?,
            vars_from: text("vars_from")?,
            defaults_from: text("defaults_from")?,
            handlers_from: text("handlers_from")?,
            public: flag("public")?.unwrap_or(false),
            apply: self.include_option(task, &["apply"]).cloned(),
            allow_duplicates: flag("allow_duplicates")?,
            rolespec_validate: flag("rolespec_validate")?,
        };
        let name = options.name.clone();
        let public = options.public;
        let resolver = &self.playing.run.inputs.resolver;
        let expanded = resolver
            .expand_role(&self.playing.play, task, &options)
            .map_err(|found| rendered(&found, &self.playing.run.inputs.sources))?;
        self.playing.handlers.add(&expanded.handlers);
        if public {
            self.playing.publish(&expanded.role);
        }
        Ok((format!("role {name}"), expanded.items))
    }

    fn include_option<'t>(&self, task: &'t Task, names: &[&str]) -> Option<&'t Node> {
        task.action.args.entries.iter().find(|(n, _)| names.contains(&n.value.as_str())).map(|(_, node)| node)
    }

    fn rendered_text(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<String, String> {
        let value = self.playing.run.inputs.templates.node(node, scope).map_err(|e| self.explain(&e))?;
        crate::template::to_text(&value).map_err(|e| self.explain(&e))
    }

    fn include_skipped(&mut self, task: &Arc<Task>, scope: &Arc<dyn Scope>) -> Flow {
        self.tell_step(task, self.title(task, scope), Outcome::Skipped, Map::new());
        self.goes_around_include(task);
        Flow::Next
    }

    /// Check mode cannot know whether or what it brings: it and what its tasks would make are unknown from here on.
    fn include_unknown(&mut self, task: &Arc<Task>, error: &TemplateError) -> Flow {
        self.left_unknown(task, error);
        self.goes_around_include(task);
        Flow::Next
    }

    /// Tells of an include or meta task that was left out because it is not known whether it runs.
    pub(super) fn left_unknown(&mut self, task: &Arc<Task>, error: &TemplateError) {
        let scope = self.scope(task);
        let result = super::dispatch::not_known(&error.to_string());
        self.tell_step(task, self.title(task, &scope), Outcome::Skipped, result);
        if super::unknown::brings_variables(task) {
            lock(&self.playing.run.unsure).insert(Arc::clone(&self.host));
        }
    }

    fn tell_included(&self, task: &Arc<Task>, what: &str) {
        let mut result = Map::new();
        result.insert("include".into(), Json::String(what.to_owned()));
        self.tell_step(task, format!("include {what}"), Outcome::Ok, result);
    }

    /// An include is a step in the journal and the logs like any other.
    pub(super) fn tell_step(&self, task: &Task, name: String, outcome: Outcome, result: Map<String, Json>) {
        let step = self.playing.run.step_id();
        self.tell_started(task, &self.playing.prepared(task), step, &name.into(), None);
        let result = Arc::new(result);
        self.finished(task, step, Finish { outcome, result, kept: true, ..Finish::default() });
    }
}

fn rendered(found: &crate::source::Diagnostics, sources: &crate::source::Sources) -> String {
    found.list.iter().map(|d| d.render(sources)).collect::<Vec<_>>().join("\n")
}
