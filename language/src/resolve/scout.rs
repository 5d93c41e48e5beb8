//! A look into dynamic includes whose name is literal, so that their mistakes are found before a host is touched.
//!
//! Owns: what is checked early and thrown away; the run expands such includes again. Must not: count as part of the play.

use std::sync::Arc;

use super::expand::Expander;
use super::{Inherited, Task, inherit, roles};
use crate::source::Severity;
use crate::syntax;

/// Dynamic includes inside dynamic includes are followed this deep before a run.
const SCOUT_DEPTH: usize = 24;

impl Expander<'_> {
    /// Checks what a dynamic include holds when its name is literal.
    pub(super) fn look_into(&mut self, task: &Arc<Task>, context: &Inherited) {
        let find =
            |name: &str| task.action.args.entries.iter().find(|(k, _)| k.value == name).map(|(_, n)| n);
        let (is_role, target) = match task.action.kind {
            super::ActionKind::IncludeTasks => (false, find("file")),
            super::ActionKind::IncludeRole => (true, find("name")),
            _ => return,
        };
        let Some(target) = target else { return };
        if target.is_template() {
            self.handlers_unknown |= is_role;
            return;
        }
        let (Some(inherited), true) = (&task.inherited, self.scout && self.scouting < SCOUT_DEPTH) else {
            return;
        };
        let inherited = Arc::clone(inherited);
        self.scouting += 1;
        if is_role {
            self.scout_role(task, &inherited);
        } else if let Some(name) = target.scalar_text() {
            let before = self.out.list.len();
            let found = self.find_tasks_file(&name, target.span, context);
            self.soften(task, before);
            if let Some(path) = found {
                let key = (path.clone(), context.role.as_ref().map(|r| r.path.clone()));
                if self.scouted_files.insert(key) {
                    // A dynamic include may include itself: its end is decided on the host.
                    let open = std::mem::take(&mut self.open);
                    let mut items = Vec::new();
                    let inner = self.applied(&inherited, task);
                    self.import_file(&path, target.span, task.span, &inner, &mut items);
                    self.open = open;
                    self.scouted.extend(items);
                }
            }
        }
        self.scouting -= 1;
    }

    fn scout_role(&mut self, task: &Arc<Task>, inherited: &Inherited) {
        let literal = |name: &str| {
            task.action
                .args
                .entries
                .iter()
                .find(|(k, _)| k.value == name)
                .is_none_or(|(_, n)| !n.is_template())
        };
        if !["tasks_from", "vars_from", "defaults_from", "handlers_from"].into_iter().all(literal) {
            self.handlers_unknown = true;
            return;
        }
        let Some(mut call) = self.role_call(&task.action.args, inherited) else { return };
        call.link = task.span;
        let before = self.out.list.len();
        let path = roles::find(self.resolver, &call.name, call.at, inherited, &mut self.out);
        self.soften(task, before);
        let Some(path) = path else { return };
        let key = (path.join("tasks").join(call.from.tasks.as_deref().unwrap_or("main")), Some(path));
        if !self.scouted_files.insert(key) {
            return;
        }
        // What is found here must not count as run or as part of the play.
        let open = std::mem::take(&mut self.open);
        let (roles, ran, handlers) = (self.roles.len(), self.ran.len(), self.handlers.len());
        let inner = self.applied(inherited, task);
        if let Some((items, _)) = self.role(&call, &inner) {
            self.scouted.extend(items);
        }
        self.open = open;
        self.roles.truncate(roles);
        self.ran.truncate(ran);
        let found = self.handlers.split_off(handlers);
        self.scouted_handlers.extend(found.into_iter().flat_map(|(_, list)| list));
    }

    /// What an include's children inherit, `apply:` included.
    pub(super) fn applied(&mut self, inherited: &Inherited, task: &Task) -> Inherited {
        let apply =
            task.action.args.entries.iter().find(|(k, _)| k.value == "apply").and_then(|(_, n)| n.as_map());
        match apply {
            Some(map) => {
                let keywords = syntax::only_keywords(map, syntax::Place::BLOCK, &mut self.out);
                inherit::inward(inherited, &keywords, &mut self.out)
            }
            None => inherited.clone(),
        }
    }

    /// A missing file behind a condition may be meant: then it is a warning.
    fn soften(&mut self, task: &Task, from: usize) {
        if !task.when.is_empty() {
            for finding in &mut self.out.list[from..] {
                finding.severity = Severity::Warning;
            }
        }
    }
}
