//! `infrastructure`: makes the resources that a play declares, or says in check mode what would change.
//!
//! Owns: how the reconciler's doings become items and a result. Must not: compare or call a cloud itself.

use std::collections::BTreeSet;
use std::sync::Mutex;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json, json};

use super::{Action, Context, Done, Remote, Stop};
use crate::infra::apply::{ApplyFault, Doing, Leave, Watch, apply, find_declared};
use crate::infra::cloud::Cloud;
use crate::infra::declare::{self, Declared};
use crate::infra::plan::{Act, PlanFault, Planner};
use crate::infra::site::{Site, explained};
use crate::source::Diagnostics;
use crate::template::{self, Var};

static OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::raw("resources").required(),
    Opt::str("region").aliases(&["aws_region"]),
    Opt::str("profile").aliases(&["aws_profile"]),
    Opt::str("endpoint_url"),
    Opt::raw("replace"),
    Opt::raw("only"),
];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("infrastructure") };

pub(super) struct Infrastructure;

impl Action for Infrastructure {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    // Templates in it refer to resources that aren't made yet.
    fn renders_itself(&self) -> bool {
        true
    }

    fn once_for_all_hosts(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        _: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        async move {
            if !context.clouds {
                return Err(Stop::Unknown("a rehearsal works on no infrastructure".to_owned()));
            }
            let mut found = Diagnostics::default();
            let node = declare::node_of(context.raw);
            let declared =
                declare::read(&node, context.templates, &mut found).filter(|_| !found.has_errors());
            let Some(declared) = declared else {
                let text = found.list.first().map_or_else(String::new, |d| d.message.clone());
                return Err(Stop::failed(text));
            };
            let site = Site::of(&declared, context.templates, &context.scope).map_err(stopped)?;
            // What a play before this one has made anew in this run is new enough.
            let renewed = renewed(context, &site.owner);
            let replace: Vec<String> =
                context.replace.iter().filter(|name| !renewed.contains(*name)).cloned().collect();
            let cloud = site.open().await.map_err(|e| Stop::failed(e.to_string()))?;
            let planner = Planner {
                declared: &declared,
                owner: &site.owner,
                cloud: &*cloud,
                templates: context.templates,
                scope: std::sync::Arc::clone(&context.scope),
                replace: &replace,
                leaving: &site.leaving,
            };
            if context.check {
                return planned(context, &planner).await;
            }
            applied(context, &planner, &declared).await
        }
        .boxed()
    }
}

/// Names of objects that an earlier play of this run over a part of the same infrastructure made anew.
fn renewed(context: &Context<'_>, owner: &str) -> BTreeSet<String> {
    let Some(Var::Data(value)) = context.scope.get("infrastructure") else { return BTreeSet::new() };
    let earlier = template::to_json(&value).unwrap_or_default();
    if earlier.get("owner").and_then(Json::as_str) != Some(owner) {
        return BTreeSet::new();
    }
    let changes = earlier.get("changes").and_then(Json::as_array).cloned().unwrap_or_default();
    let gone = changes.iter().filter(|c| c["act"] == Act::Delete.word());
    let names = gone.filter_map(|c| c["resource"].as_str());
    names.flat_map(|name| [name.to_owned(), format!("{name}[0]")]).collect()
}

fn stopped(fault: PlanFault) -> Stop {
    match fault {
        PlanFault::Template(error) => Stop::Template(error),
        other => Stop::failed(other.to_string()),
    }
}

async fn told(cloud: &dyn Cloud, fault: PlanFault) -> Stop {
    match fault {
        PlanFault::Cloud(fault) => Stop::failed(explained(cloud, &fault).await),
        other => stopped(other),
    }
}

/// Check mode: the plan, the same that `dcos-play plan` shows.
async fn planned(context: &Context<'_>, planner: &Planner<'_>) -> Result<Done, Stop> {
    let found = match find_declared(planner).await {
        Ok(found) => found,
        Err(fault) => return Err(told(planner.cloud, fault.into()).await),
    };
    let plan = match planner.plan(&found) {
        Ok(plan) => plan,
        Err(fault) => return Err(told(planner.cloud, fault).await),
    };
    for item in &plan.items {
        let doing = Doing {
            identity: item.identity.clone(),
            kind: item.kind,
            act: item.act,
            id: item.found.as_ref().map(|f| f.id.clone()).unwrap_or_default(),
        };
        tell(context.remote, &doing, Some(item.show()));
    }
    let mut result = Map::new();
    result.insert("changed".into(), (!plan.is_empty()).into());
    let mut resources = Map::new();
    for (at, value) in planner.results(&plan) {
        resources.insert(planner.declared.resources[at].name.value.clone(), value);
    }
    result.insert("owner".into(), planner.owner.into());
    result.insert("resources".into(), resources.into());
    result.insert("plan".into(), plan.show().into());
    result.insert("msg".into(), plan.summary().into());
    Ok(Done { result, effects: Vec::new() })
}

async fn applied(context: &Context<'_>, planner: &Planner<'_>, declared: &Declared) -> Result<Done, Stop> {
    let screen = Screen { remote: context.remote, busy: Mutex::default() };
    let leave = if context.allow_replace { Leave::Replace } else { Leave::Keep };
    let outcome = apply(planner, leave, &screen).await;
    let mut changes = Vec::new();
    for doing in outcome.done.iter().filter(|d| d.act != Act::Keep) {
        changes.push(json!({
            "resource": doing.identity.to_string(),
            "kind": doing.kind.name(),
            "act": doing.act.word(),
            "id": doing.id,
        }));
    }
    let mut resources = Map::new();
    for (at, value) in outcome.results {
        resources.insert(declared.resources[at].name.value.clone(), value);
    }
    let mut texts = Vec::new();
    for fault in outcome.faults {
        texts.push(match fault {
            ApplyFault::Plan(PlanFault::Template(error)) if texts.is_empty() && changes.is_empty() => {
                return Err(Stop::Template(error));
            }
            ApplyFault::Plan(PlanFault::Cloud(fault)) => explained(planner.cloud, &fault).await,
            ApplyFault::Cloud { resource, fault } => {
                format!("`{resource}`: {}", explained(planner.cloud, &fault).await)
            }
            other => other.to_string(),
        });
    }
    if !texts.is_empty() {
        if !outcome.left_out.is_empty() {
            texts.push(format!("not tried because of that: {}", outcome.left_out.join(", ")));
        }
        let changed = !changes.is_empty();
        return Err(Stop::failed(texts.join("\n")).with("changes", changes).with("changed", changed));
    }
    let mut result = Map::new();
    result.insert("changed".into(), (!changes.is_empty()).into());
    result.insert("changes".into(), changes.into());
    result.insert("owner".into(), planner.owner.into());
    result.insert("resources".into(), resources.into());
    Ok(Done { result, effects: Vec::new() })
}

/// Shows doings as items of the step.
struct Screen<'a> {
    remote: &'a dyn Remote,
    busy: Mutex<BTreeSet<String>>,
}

impl Screen<'_> {
    fn say(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let mut busy = self.busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut busy);
        if !busy.is_empty() {
            let names: Vec<&str> = busy.iter().map(String::as_str).collect();
            self.remote.busy(&names.join(", "));
        }
    }
}

impl Watch for Screen<'_> {
    fn begins(&self, what: &str) {
        self.say(|busy| {
            busy.insert(what.to_owned());
        });
    }

    fn ends(&self, what: &str) {
        self.say(|busy| {
            busy.remove(what);
        });
    }

    fn done(&self, doing: &Doing) {
        tell(self.remote, doing, None);
    }
}

fn tell(remote: &dyn Remote, doing: &Doing, shown: Option<String>) {
    let id = if doing.id.is_empty() { String::new() } else { format!(" {}", doing.id) };
    let label = match doing.act {
        Act::Keep => format!("{} ({}){id}", doing.identity, doing.kind),
        act => format!("{} {} ({}){id}", act.word(), doing.identity, doing.kind),
    };
    let mut result = Map::new();
    result.insert("resource".into(), doing.identity.to_string().into());
    result.insert("kind".into(), doing.kind.name().into());
    result.insert("act".into(), doing.act.word().into());
    result.insert("id".into(), doing.id.as_str().into());
    if let Some(shown) = shown.filter(|s| !s.is_empty()) {
        result.insert("plan".into(), shown.into());
    }
    remote.item(&label, doing.act != Act::Keep, result);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn a_rehearsal_works_on_no_cloud() {
        let args =
            json!({"name": "prod", "resources": {"vpc": {"ec2_vpc_net": {"cidr_block": "10.0.0.0/16"}}}});
        let end = Stage::new().run("infrastructure", args).await;
        assert!(matches!(end, Err(crate::actions::Stop::Unknown(_))), "{end:?}");
    }
}
