//! The task that gathers facts at the start of a play.

use std::sync::Arc;

use crate::resolve::{Action, ActionKind, Arguments, Play, Task};
use crate::source::{Node, Spanned, Yaml};

const TITLE: &str = "Gathering Facts";

/// Whether a task gathers all that a play begins with; `setup` may ask for a part.
pub(super) fn is_gathering(task: &Task) -> bool {
    match &*task.action.name {
        "gather_facts" => true,
        "setup" => task.path.ends_with(TITLE) && task.chain.is_empty() && task.role.is_none(),
        _ => false,
    }
}

/// The implicit `Gathering Facts` task, or `None` when the agent has no `setup` (never in a real build).
pub(super) fn task(play: &Play) -> Option<Arc<Task>> {
    let spec = dcos_play_agent::modules::find("setup")?;
    let span = play.gather_facts.as_ref().map_or(play.span, |n| n.span);
    let mut entries = Vec::new();
    for (name, node) in [
        ("gather_subset", &play.gather_subset),
        ("gather_timeout", &play.gather_timeout),
        ("fact_path", &play.fact_path),
    ] {
        if let Some(node) = node {
            entries.push((Spanned { value: name.to_owned(), span: node.span }, node.clone()));
        }
    }
    Some(Arc::new(Task {
        name: Some(Node { span, value: Yaml::Str(TITLE.into()) }),
        tags: vec!["always".to_owned()],
        ..Task::implicit(
            format!("{}/{TITLE}", play.id).into(),
            span,
            Action {
                written: Spanned { value: "setup".to_owned(), span },
                name: "setup".into(),
                kind: ActionKind::Module(spec),
                args: Arguments { span, entries, whole: None },
            },
            &play.settings,
            &play.directory,
        )
    }))
}
