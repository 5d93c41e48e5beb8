//! When a host must not run ahead of others, although its own next task needs nobody.
//!
//! A barrier makes all hosts arrive before a task looks at others. That alone is not enough: a host that has passed the
//! task, or that went around it (a block not entered or left by a failure, an include that was skipped, a handler that
//! was not notified), could change what a slower host is still to look at there. So such a host waits before its next
//! task. Under `strategy: linear` the same happens at every task.
//!
//! Owns: the question whether tasks a host went around hold a barrier. Must not: wait (that is `walk`).

use crate::resolve::{ActionKind, Item, Meta, RoleInclude, Strategy, Task};
use crate::source::{Node, Span};

use super::state::lock;
use super::walk::Walker;

/// Includes within includes that are looked into; deeper ones count as barriers.
const DEPTH: usize = 8;

impl Walker {
    /// The host has gone around these tasks.
    pub(super) fn goes_around(&mut self, items: &[Item], at: Span) {
        if self.runs_ahead() && self.fence.is_none() && self.opens(items, 0) {
            self.fence = Some(at);
        }
    }

    /// The host has run some of the handlers, others may run more.
    pub(super) fn goes_around_handlers(&mut self) {
        if self.runs_ahead() && self.fence.is_none() {
            let found =
                self.playing.handlers.all().iter().find(|h| self.task_opens(&h.task, 0)).map(|h| h.task.span);
            self.fence = found;
        }
    }

    /// The host has gone around what an include brings, or came back from it; others may get more or other tasks.
    pub(super) fn goes_around_include(&mut self, task: &Task) {
        if self.runs_ahead() && self.fence.is_none() && self.include_opens(task, 0) {
            self.fence = Some(task.span);
        }
    }

    /// Only plays whose barriers are inferred need fences: others have barriers everywhere, or the user wants none.
    fn runs_ahead(&self) -> bool {
        self.playing.play.strategy == Strategy::Inferred
    }

    fn opens(&self, items: &[Item], depth: usize) -> bool {
        items.iter().any(|item| match item {
            Item::Task(task) => self.task_opens(task, depth),
            Item::Block(block) => {
                self.opens(&block.items, depth)
                    || self.opens(&block.rescue, depth)
                    || self.opens(&block.always, depth)
            }
        })
    }

    fn task_opens(&self, task: &Task, depth: usize) -> bool {
        let includes = matches!(task.action.kind, ActionKind::IncludeTasks | ActionKind::IncludeRole);
        let flushes = matches!(task.action.kind, ActionKind::Meta(Meta::FlushHandlers));
        self.playing.barrier(task).is_some()
            || (includes && self.include_opens(task, depth))
            || (flushes && self.playing.handlers.all().iter().any(|h| self.task_opens(&h.task, depth)))
    }

    fn include_opens(&self, task: &Task, depth: usize) -> bool {
        if let Some(known) = lock(&self.playing.opened).get(&task.path) {
            return *known;
        }
        if depth >= DEPTH {
            return true;
        }
        // What cannot be looked into, or is wrong, counts as a barrier: waiting is never wrong.
        let opens = self.included_items(task).is_none_or(|items| self.opens(&items, depth + 1));
        lock(&self.playing.opened).insert(task.path.clone(), opens);
        opens
    }

    /// The tasks of an include whose file is known before the run.
    fn included_items(&self, task: &Task) -> Option<Vec<Item>> {
        let literal = |names: &[&str]| -> Option<Option<String>> {
            let found = task.action.args.entries.iter().find(|(n, _)| names.contains(&n.value.as_str()));
            match found {
                None => Some(None),
                Some((_, node)) => literal_text(node).map(Some),
            }
        };
        let resolver = &self.playing.run.inputs.resolver;
        let play = &self.playing.play;
        if matches!(task.action.kind, ActionKind::IncludeTasks) {
            let path = resolver.find_tasks_file(task, &literal(&["file", "_raw_params"])??).ok()?;
            return resolver.expand_tasks_file(play, task, &path).ok();
        }
        let options = RoleInclude {
            name: literal(&["name"])??,
            tasks_from: literal(&["tasks_from"])?,
            ..RoleInclude::default()
        };
        let expanded = resolver.expand_role(play, task, &options).ok()?;
        // Its handlers may look at others too, wherever they are flushed; then all of it counts.
        let handlers = expanded.handlers.iter().any(|h| self.playing.barrier(&h.task).is_some());
        (!handlers).then_some(expanded.items)
    }
}

fn literal_text(node: &Node) -> Option<String> {
    node.as_str().filter(|text| !text.contains("{{") && !text.contains("{%")).map(str::to_owned)
}
