//! Where the hosts of a play wait for each other, and why.

use serde::Serialize;

use super::Looks;
use crate::resolve::{ActionKind, Condition, Meta, Play, Settings, Strategy, Task};
use crate::source::{Node, Span, Yaml};

/// Why a task needs all hosts to have come as far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum BarrierReason {
    RunOnce,
    DelegateTo,
    /// Names a variable that looks at other hosts (`through` when it is not the name itself).
    Looks {
        name: String,
        through: Option<String>,
    },
    /// `pause`: people are asked once, not once a host.
    OnceForAll {
        action: String,
    },
    /// `add_host`, `group_by`: changes what other hosts see.
    Inventory {
        action: String,
    },
    Meta {
        action: String,
    },
    /// An include whose file is only known at run time.
    DynamicInclude,
    /// Hosts that came here another way, or sooner, must not change what others still look at in a task before.
    After,
    /// The play wants every task in step: `strategy: linear`, `any_errors_fatal`, `max_fail_percentage`.
    Play {
        keyword: &'static str,
    },
}

impl std::fmt::Display for BarrierReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RunOnce => f.write_str("run_once"),
            Self::DelegateTo => f.write_str("delegate_to"),
            Self::Looks { name, through: None } => write!(f, "it looks at other hosts through `{name}`"),
            Self::Looks { name, through: Some(through) } => {
                write!(f, "it looks at other hosts through `{through}`, which uses `{name}`")
            }
            Self::OnceForAll { action } => write!(f, "`{action}` is done once for all hosts"),
            Self::Inventory { action } => write!(f, "`{action}` changes what all hosts see"),
            Self::Meta { action } => write!(f, "`meta: {action}` acts on all hosts"),
            Self::DynamicInclude => f.write_str("the included file is only known at run time"),
            Self::After => f.write_str("a task before it looks at other hosts or acts on them"),
            Self::Play { keyword: "--step" } => f.write_str("`--step` asks once for all hosts"),
            Self::Play { keyword } => write!(f, "the play says `{keyword}`"),
        }
    }
}

impl BarrierReason {
    /// Whether hosts must also wait *after* such a task: a host that ran ahead could change what a slower one still
    /// looks at. Where a play has barriers everywhere, the next one does it.
    #[must_use]
    pub fn fences(&self) -> bool {
        !matches!(
            self,
            Self::Play { keyword: "strategy: linear" | "max_fail_percentage" | "--step" } | Self::After
        )
    }
}

/// The barrier before a task, if it needs one, with the place that causes it.
#[must_use]
pub fn barrier_of(play: &Play, task: &Task, looks: &Looks) -> Option<(BarrierReason, Span)> {
    match play.strategy {
        Strategy::Free | Strategy::HostPinned => {
            return run_once(&task.settings).map(|at| (BarrierReason::RunOnce, at));
        }
        Strategy::Linear => return Some((BarrierReason::Play { keyword: "strategy: linear" }, play.span)),
        Strategy::Inferred => {}
    }
    if let Some(node) = &play.max_fail_percentage {
        return Some((BarrierReason::Play { keyword: "max_fail_percentage" }, node.span));
    }
    if let Some(node) = task.settings.any_errors_fatal.as_ref().filter(|n| maybe_true(n)) {
        return Some((BarrierReason::Play { keyword: "any_errors_fatal" }, node.span));
    }
    if let Some(at) = run_once(&task.settings) {
        return Some((BarrierReason::RunOnce, at));
    }
    if let Some(node) = &task.settings.delegate_to {
        return Some((BarrierReason::DelegateTo, node.span));
    }
    match (&task.action.kind, &*task.action.name) {
        (_, name @ ("add_host" | "group_by")) => {
            return Some((BarrierReason::Inventory { action: name.to_owned() }, task.span));
        }
        (_, "pause") => return Some((BarrierReason::OnceForAll { action: "pause".to_owned() }, task.span)),
        (ActionKind::Meta(meta), _) => {
            let all = matches!(
                meta,
                Meta::RefreshInventory | Meta::EndPlay | Meta::EndBatch | Meta::ClearHostErrors
            );
            if all {
                let action = format!("{meta:?}");
                return Some((BarrierReason::Meta { action: snake(&action) }, task.span));
            }
        }
        (ActionKind::IncludeTasks | ActionKind::IncludeRole, _) => {
            let templated = task.action.args.entries.iter().find(|(key, node)| {
                matches!(key.value.as_str(), "file" | "_raw_params" | "name" | "tasks_from")
                    && is_template(node)
            });
            let public =
                task.action.args.entries.iter().find(|(key, node)| key.value == "public" && maybe_true(node));
            if let Some((_, node)) = public {
                // The role's variables are the whole play's from there on.
                return Some((
                    BarrierReason::Inventory { action: "include_role, public".to_owned() },
                    node.span,
                ));
            }
            if let Some((_, node)) = templated {
                return Some((BarrierReason::DynamicInclude, node.span));
            }
        }
        _ => {}
    }
    looks_in(task, looks).map(|(word, seed, at)| {
        let through = (word != seed).then_some(word);
        (BarrierReason::Looks { name: seed.to_owned(), through }, at)
    })
}

fn looks_in(task: &Task, looks: &Looks) -> Option<(String, &'static str, Span)> {
    let in_conditions = |list: &[Condition]| list.iter().find_map(|c| looks.in_node(&c.expression));
    let settings = &task.settings;
    task.name
        .iter()
        .chain(task.loop_.iter().map(|l| &l.items))
        .chain(task.action.args.entries.iter().map(|(_, node)| node))
        .chain(&task.action.args.whole)
        .chain(&settings.environment)
        .chain(&settings.module_defaults)
        .chain([&settings.become_user, &settings.remote_user, &settings.port].into_iter().flatten())
        .chain(
            [&settings.ignore_errors, &settings.no_log, &settings.timeout, &settings.check_mode]
                .into_iter()
                .flatten(),
        )
        .chain([&settings.r#become, &settings.connection, &task.retries, &task.delay].into_iter().flatten())
        .chain(task.loop_.iter().flat_map(|l| [&l.control.label, &l.control.pause].into_iter().flatten()))
        .chain(&task.notify)
        .find_map(|node| looks.in_node(node))
        .or_else(|| in_conditions(&task.when))
        .or_else(|| in_conditions(&task.changed_when))
        .or_else(|| in_conditions(&task.failed_when))
        .or_else(|| in_conditions(&task.until))
        .or_else(|| task.loop_.as_ref().and_then(|l| in_conditions(&l.control.break_when)))
        // Own vars are rendered lazily, where the task names them; an outer layer's names are in `looks` already.
        .or_else(|| task.vars.last().and_then(|l| l.entries.iter().find_map(|(_, node)| looks.in_node(node))))
}

fn run_once(settings: &Settings) -> Option<Span> {
    settings.run_once.as_ref().filter(|n| maybe_true(n)).map(|n| n.span)
}

/// True unless the value is a literal no: what is only known at run time counts as yes.
fn maybe_true(node: &Node) -> bool {
    !matches!(&node.value, Yaml::Bool(false) | Yaml::Null)
}

fn is_template(node: &Node) -> bool {
    node.is_template()
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
