//! Infrastructure plays outside of a run: what `plan` and `destroy` share.
//!
//! Owns: finding the declarations of a playbook, their variables and accounts. Must not: change anything in a cloud.

use std::sync::Arc;

use super::Trouble;
use super::setup::Ready;
use crate::engine;
use crate::infra::apply::find_declared;
use crate::infra::cloud::Cloud;
use crate::infra::declare::{self, Declared};
use crate::infra::plan::{Plan, PlanFault, Planner};
use crate::infra::site::{NoCloud, Site, explained};
use crate::infra::tasks::is_module;
use crate::resolve::{Item, Play, Task};
use crate::source::{Diagnostic, Diagnostics, Severity, Span};
use crate::template::{Scope, Templates};

/// One declaration of a playbook.
pub(super) struct Part {
    pub(super) play: Arc<Play>,
    pub(super) declared: Declared,
    pub(super) scope: Arc<dyn Scope>,
    pub(super) site: Site,
}

fn each<'p>(items: &'p [Item], visit: &mut dyn FnMut(&'p Arc<Task>)) {
    for item in items {
        match item {
            Item::Task(task) => visit(task),
            Item::Block(block) => {
                [&block.items, &block.rescue, &block.always].into_iter().for_each(|items| each(items, visit))
            }
        }
    }
}

fn tasks(play: &Play) -> Vec<&Arc<Task>> {
    let mut found = Vec::new();
    each(&play.items, &mut |task| {
        if &*task.action.name == "infrastructure" {
            found.push(task);
        }
    });
    found
}

/// Says what is wrong with the declarations of plays, as far as it can be known before a run.
pub(super) fn check(plays: &[Arc<Play>], templates: &Templates, out: &mut Diagnostics) {
    // Nothing is wrong with the playbook, so this is no error before somebody runs it.
    foreign(plays).for_each(|task| {
        let mut finding = not_built(task);
        finding.severity = Severity::Warning;
        out.push(finding);
    });
    for task in plays.iter().flat_map(|play| tasks(play)) {
        let mut found = Diagnostics::default();
        declare::read(&declare::node_of(&task.action.args), templates, &mut found);
        // Templates have been looked at with those of all tasks.
        found.list.retain(|d| d.code != "bad-template" && d.code != "unknown-key");
        out.extend(found);
    }
}

/// Tasks with modules of AWS that this build cannot run.
fn foreign(plays: &[Arc<Play>]) -> impl Iterator<Item = &Arc<Task>> {
    let mut found = Vec::new();
    if cfg!(not(feature = "aws")) {
        let mut look = |task| found.push(task);
        plays.iter().for_each(|play| each(&play.items, &mut look));
        found.retain(|task: &&Arc<Task>| is_module(&task.action.name));
    }
    found.into_iter()
}

fn not_built(task: &Task) -> Diagnostic {
    let text = format!("`{}` works on AWS, which this dcos-play was built without", task.action.name);
    Diagnostic::error("not-built", text, task.span).help("build it with `make build FEATURES=aws`")
}

/// Ends a run that works on infrastructure where this build has no cloud.
pub(super) fn refuse_without_cloud(ready: &Ready) -> Result<(), Trouble> {
    let plays = &ready.playbook.plays;
    let mut found = Diagnostics::default();
    foreign(plays).for_each(|task| found.push(not_built(task)));
    if found.has_errors() {
        return Err(Trouble::found(super::setup::shown(&found, &ready.sources)));
    }
    refuse_declarations(plays)
}

fn refuse_declarations(plays: &[Arc<Play>]) -> Result<(), Trouble> {
    if cfg!(feature = "aws") || plays.iter().all(|play| tasks(play).is_empty()) {
        return Ok(());
    }
    Err(Trouble::new(crate::exit::PLAYBOOK, format!("error: {}", NoCloud::NotBuilt)))
}

/// Every declaration, with its variables.
pub(super) fn parts(ready: &Ready) -> Result<Vec<Part>, Trouble> {
    refuse_declarations(&ready.playbook.plays)?;
    let mut parts = Vec::new();
    for play in &ready.playbook.plays {
        for task in tasks(play) {
            let mut found = Diagnostics::default();
            let node = declare::node_of(&task.action.args);
            let Some(declared) = declare::read(&node, &ready.templates, &mut found) else { continue };
            let scope = engine::local_scope(play, &ready.store, &ready.templates, &ready.resolver)
                .map_err(|(text, at)| at_place(ready, at, &text))?;
            let site = Site::of(&declared, &ready.templates, &scope)
                .map_err(|fault| trouble(ready, task.span, &fault))?;
            parts.push(Part { play: Arc::clone(play), declared, scope, site });
        }
    }
    // A part of what another play declares in whole is told with the whole.
    let whole: Vec<String> =
        parts.iter().filter(|p| !p.declared.partial).map(|p| p.site.owner.clone()).collect();
    parts.retain(|p| !p.declared.partial || !whole.contains(&p.site.owner));
    Ok(parts)
}

/// Names for the lock against a second run: two at once could each make what the other is making.
pub(super) fn claims(ready: &Ready) -> Vec<String> {
    // What is wrong with a declaration is told when it is worked on.
    parts(ready).unwrap_or_default().iter().map(Part::claim).collect()
}

impl Part {
    /// The name for the lock against a second run.
    pub(super) fn claim(&self) -> String {
        format!("infrastructure `{}`", self.site.owner)
    }

    /// The account.
    pub(super) async fn open(&self) -> Result<Box<dyn Cloud>, Trouble> {
        self.site.open().await.map_err(|error| Trouble::new(crate::exit::PLAYBOOK, format!("error: {error}")))
    }

    /// Everything that planning looks at.
    pub(super) fn planner<'a>(
        &'a self,
        ready: &'a Ready,
        cloud: &'a dyn Cloud,
        replace: &'a [String],
    ) -> Planner<'a> {
        Planner {
            declared: &self.declared,
            owner: &self.site.owner,
            cloud,
            templates: &ready.templates,
            scope: Arc::clone(&self.scope),
            replace,
            leaving: &self.site.leaving,
        }
    }

    /// What would change now.
    pub(super) async fn plan(&self, ready: &Ready, replace: &[String]) -> Result<Plan, Trouble> {
        let cloud = self.open().await?;
        let planner = self.planner(ready, &*cloud, replace);
        let planned = match find_declared(&planner).await {
            Ok(found) => planner.plan(&found),
            Err(fault) => Err(fault.into()),
        };
        match planned {
            Ok(plan) => Ok(plan),
            Err(PlanFault::Cloud(fault)) => {
                let text = explained(&*cloud, &fault).await;
                Err(Trouble::new(crate::exit::ERROR, format!("error: {text}")))
            }
            Err(fault) => Err(trouble(ready, self.declared.span, &fault)),
        }
    }
}

fn at_place(ready: &Ready, at: Span, text: &str) -> Trouble {
    Trouble::new(crate::exit::PLAYBOOK, format!("error: {}: {text}", ready.sources.place(at)))
}

/// A plan that can't be made, with its place.
pub(super) fn trouble(ready: &Ready, play: Span, fault: &PlanFault) -> Trouble {
    let at = match fault {
        PlanFault::Option { at, .. } | PlanFault::Argument { at, .. } => *at,
        _ => play,
    };
    at_place(ready, at, &fault.to_string())
}
