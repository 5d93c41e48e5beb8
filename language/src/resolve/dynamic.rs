//! Includes that a run comes to: the same walk as before the run, for one include.
//!
//! Owns: the doors for the engine. Must not: know hosts; file and role names come in rendered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::expand::Expander;
use super::expand_role::RoleCall;
use super::roles::From;
use super::{ExpandedRole, Inherited, Item, Play, Resolver, RoleInclude, Task, checks, inherit};
use crate::source::{Diagnostic, Diagnostics, Node, Span};
use crate::syntax;
use crate::vars::Layer;

impl Resolver {
    /// Finds the file of an `include_tasks` from its rendered name: beside the including file, in the role, beside the playbook.
    ///
    /// # Errors
    /// When there is none; the place is the include's.
    pub fn find_tasks_file(&self, including: &Task, name: &str) -> Result<PathBuf, Diagnostic> {
        let context = context_of(including)?;
        let mut expander = Expander::new(self, false);
        let at = argument(including, "file").map_or(including.span, |n| n.span);
        expander.find_tasks_file(name, at, &context).ok_or_else(|| first(expander.out, including.span))
    }

    /// Expands an included tasks file. Only warnings are dropped; with an error nothing is returned.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn expand_tasks_file(
        &self,
        play: &Play,
        including: &Task,
        file: &Path,
    ) -> Result<Vec<Item>, Diagnostics> {
        let mut expander = Expander::new(self, false);
        let context = context_of(including).map_err(one)?;
        expander.play_vars = Some(Arc::clone(&play.vars));
        let context = self.included(&mut expander, including, &context, None);
        let mut items = Vec::new();
        let at = argument(including, "file").map_or(including.span, |n| n.span);
        expander.import_file(file, at, including.span, &context, &mut items);
        finish(expander.out).map(|()| items)
    }

    /// Expands an included role, its dependencies first. Dependencies that the play has run already are left out.
    ///
    /// # Errors
    /// Everything that is wrong with the role.
    pub fn expand_role(
        &self,
        play: &Play,
        including: &Task,
        options: &RoleInclude,
    ) -> Result<ExpandedRole, Diagnostics> {
        let mut expander = Expander::new(self, false);
        let context = context_of(including).map_err(one)?;
        expander.play_vars = Some(Arc::clone(&play.vars));
        for role in &play.roles {
            expander.ran_in_play.push((role.path.clone(), role.params.entries.len()));
        }
        let context = self.included(&mut expander, including, &context, options.apply.as_ref());
        let at = argument(including, "name").map_or(including.span, |n| n.span);
        let mut call = RoleCall::new(options.name.clone(), at);
        call.link = including.span;
        call.from = From {
            tasks: options.tasks_from.clone(),
            vars: options.vars_from.clone(),
            defaults: options.defaults_from.clone(),
            handlers: options.handlers_from.clone(),
        };
        call.included = true;
        call.public = options.public;
        call.allow_duplicates = Some(options.allow_duplicates.unwrap_or(true));
        call.validate = options.rolespec_validate.unwrap_or(true);
        if let Some(role) = &context.role {
            call.parents = std::iter::once(Arc::clone(role)).chain(role.parents.iter().cloned()).collect();
        }
        let expanded = expander.role(&call, &context);
        let handlers = expander.all_handlers();
        finish(expander.out)?;
        let nothing =
            || one(Diagnostic::error("unknown-role", format!("no role named `{}`", options.name), at));
        let (items, role) = expanded.ok_or_else(nothing)?;
        Ok(ExpandedRole { items, handlers, role })
    }

    /// Reads a file of `vars_files`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn vars_file(&self, path: &Path, at: Span) -> Result<Layer, Diagnostics> {
        let mut out = Diagnostics::default();
        let Some(node) = self.load(path, at, &mut out) else { return Err(out) };
        if node.as_map().is_none() && !node.is_null() {
            let message =
                format!("`{}` must be a mapping of variables, not {}", self.shown(path), node.kind());
            out.push(Diagnostic::error("vars-file", message, node.span));
        }
        let layer = inherit::file_layer(&node, node.span);
        finish(out).map(|()| layer)
    }

    /// What the included tasks inherit: the surroundings of the include and its `apply:`.
    fn included(
        &self,
        expander: &mut Expander<'_>,
        including: &Task,
        context: &Inherited,
        apply: Option<&Node>,
    ) -> Inherited {
        let mut inner = match apply.and_then(Node::as_map) {
            Some(map) => {
                let keywords = syntax::only_keywords(map, syntax::Place::BLOCK, &mut expander.out);
                inherit::inward(context, &keywords, &mut expander.out)
            }
            None => expander.applied(context, including),
        };
        inner.prefix = Arc::clone(&including.path);
        inner
    }
}

fn context_of(including: &Task) -> Result<Inherited, Diagnostic> {
    including.inherited.as_deref().cloned().ok_or_else(|| {
        Diagnostic::error(
            "not-an-include",
            format!("`{}` includes nothing", including.action.name),
            including.span,
        )
    })
}

fn argument<'t>(task: &'t Task, name: &str) -> Option<&'t Node> {
    task.action.args.entries.iter().find(|(k, _)| k.value == name).map(|(_, n)| n)
}

fn one(finding: Diagnostic) -> Diagnostics {
    Diagnostics { list: vec![finding] }
}

fn first(found: Diagnostics, at: Span) -> Diagnostic {
    found.list.into_iter().next().unwrap_or_else(|| Diagnostic::error("no-file", "no such file", at))
}

fn finish(mut out: Diagnostics) -> Result<(), Diagnostics> {
    out.sort();
    if out.has_errors() { Err(out) } else { Ok(()) }
}

/// All tasks below items, for callers outside of this stage.
pub fn tasks_of(items: &[Item]) -> Vec<Arc<Task>> {
    let mut all = Vec::new();
    checks::each_task(items, &mut |task| all.push(Arc::clone(task)));
    all
}
