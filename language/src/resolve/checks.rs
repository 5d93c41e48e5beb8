//! Checks that need the whole playbook: handler names, templates, variable names.

use std::sync::Arc;

use super::plays::Made;
use super::{ActionKind, Block, Handler, Item, Resolver, Task, names};
use crate::source::{Diagnostic, Diagnostics, Node, nearest};

/// Calls `each` for every task of a list, blocks included.
pub(super) fn each_task(items: &[Item], each: &mut dyn FnMut(&Arc<Task>)) {
    for item in items {
        match item {
            Item::Task(task) => each(task),
            Item::Block(block) => each_of_block(block, each),
        }
    }
}

fn each_of_block(block: &Block, each: &mut dyn FnMut(&Arc<Task>)) {
    each_task(&block.items, each);
    each_task(&block.rescue, each);
    each_task(&block.always, each);
}

/// Literal `notify` names that no handler of the play answers to.
pub(super) fn handlers(made: &[Made], out: &mut Diagnostics) {
    for made in made {
        let all = || made.play.handlers.iter().chain(&made.scouted_handlers);
        let names: Vec<String> = all().flat_map(|h| answers(h)).collect();
        let templated = all().any(|h| {
            h.task.name.as_ref().is_some_and(Node::is_template) || h.listen.iter().any(Node::is_template)
        });
        if made.handlers_unknown || templated {
            continue;
        }
        let mut check = |task: &Arc<Task>| {
            for wanted in task.notify.iter().filter(|n| !n.is_template()) {
                let Some(text) = wanted.scalar_text() else { continue };
                if names.contains(&text) {
                    continue;
                }
                let finding =
                    Diagnostic::error("unknown-handler", format!("no handler named `{text}`"), wanted.span);
                out.push(match nearest(&text, names.iter().map(String::as_str)) {
                    Some(near) => finding.label(format!("did you mean `{near}`?")),
                    None if names.is_empty() => finding.help("the play has no handlers"),
                    None => finding.help(format!("the play's handlers are {}", listed(&names))),
                });
            }
        };
        each_task(&made.play.items, &mut check);
        each_task(&made.scouted, &mut check);
        for handler in all() {
            check(&handler.task);
        }
    }
}

fn answers(handler: &Handler) -> Vec<String> {
    let name = handler.task.name.as_ref().and_then(Node::scalar_text);
    let mut all: Vec<String> = handler.listen.iter().filter_map(Node::scalar_text).collect();
    if let Some(name) = name {
        if let Some(role) = &handler.task.role {
            all.push(format!("{} : {name}", role.name));
        }
        all.push(name);
    }
    all
}

fn listed(names: &[String]) -> String {
    let mut plain: Vec<&String> = names.iter().filter(|n| !n.contains(" : ")).collect();
    plain.sort();
    plain.dedup();
    let more = if plain.len() > 6 { format!(" and {} more", plain.len() - 6) } else { String::new() };
    format!("{}{more}", plain.iter().take(6).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
}

/// Every template and condition of the playbook: syntax, filters, and names that nothing defines.
pub(super) fn templates(resolver: &Resolver, made: &[Made], out: &mut Diagnostics) {
    let mut walk = names::Walk::new(resolver);
    for made in made {
        let play = &made.play;
        walk.define_play(play);
        walk.define_lost(&made.lost);
        walk.play(play, out);
        let mut all: Vec<Arc<Task>> = Vec::new();
        each_task(&play.items, &mut |t| all.push(Arc::clone(t)));
        each_task(&made.scouted, &mut |t| all.push(Arc::clone(t)));
        all.extend(play.handlers.iter().chain(&made.scouted_handlers).map(|h| Arc::clone(&h.task)));
        for task in &all {
            walk.define_task(task);
            walk.task(task, out);
            if matches!(task.action.kind, ActionKind::IncludeRole | ActionKind::IncludeTasks) {
                walk.unknown_includes(task);
            }
        }
    }
    walk.finish(out);
}
