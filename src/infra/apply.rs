//! Makes what is there as it was declared, and takes it down.
//!
//! Owns: the order of calls and what runs side by side. Must not: compare (that is `differ`), or know a cloud.
//!
//! What is to be deleted or replaced goes first, in the order of [`Kind::teardown_rank`]: names and addresses that only one
//! object can have are free again then. Everything that is decided comes from tags, so a run that was killed anywhere
//! is repeated by running it again.

use futures::StreamExt as _;
use futures::future::{join_all, try_join_all};
use futures::stream::FuturesUnordered;
use serde_json::Value as Json;

use super::cloud::{Cloud, Found};
use super::differ::{differences, tags_after};
use super::fault::{Class, CloudFault};
use super::identity::Identity;
use super::kinds::Kind;
use super::plan::{Act, Item, Known, Plan, PlanFault, Planner, result_of};

/// One thing that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Doing {
    pub identity: Identity,
    pub kind: Kind,
    pub act: Act,
    pub id: String,
}

/// Why not everything was done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyFault {
    #[error(transparent)]
    Plan(#[from] PlanFault),
    #[error("`{resource}`: {fault}")]
    Cloud { resource: String, fault: CloudFault },
    #[error("replacing {} needs `--allow-replace`: what is on them is lost", names.join(", "))]
    Replacement { names: Vec<String> },
    #[error("`{resource}` needs `{option}`, which nothing gave")]
    StillUnknown { resource: String, option: String },
}

/// How a run over the resources ended: everything that was done, and every failure.
#[derive(Debug, Default)]
pub struct Outcome {
    pub done: Vec<Doing>,
    pub faults: Vec<ApplyFault>,
    /// Resources that were not tried, because one they need failed.
    pub left_out: Vec<String>,
    /// What templates see of each resource that is there, by its position.
    pub results: Known,
}

/// Everything that carries the owner's tag.
///
/// # Errors
/// The first call that failed.
pub async fn find_all(cloud: &dyn Cloud, owner: &str) -> Result<Vec<Found>, CloudFault> {
    let all = try_join_all(Kind::all().map(|kind| cloud.find(kind, owner))).await?;
    // A cloud's filters are not trusted: somebody else's object must never be touched.
    Ok(all.into_iter().flatten().filter(|f| f.identity.owner == owner).collect())
}

/// Makes everything as declared.
pub async fn apply(planner: &Planner<'_>, allow_replace: bool) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(fault) = run(planner, allow_replace, &mut outcome).await {
        outcome.faults.push(fault);
    }
    outcome
}

async fn run(planner: &Planner<'_>, allow_replace: bool, outcome: &mut Outcome) -> Result<(), ApplyFault> {
    let mut found = find_all(planner.cloud, planner.owner).await.map_err(PlanFault::from)?;
    let plan = planner.plan(&found)?;
    let lost: Vec<String> = plan
        .items
        .iter()
        .filter(|i| i.act == Act::Replace && i.kind == Kind::Instance)
        .map(|i| format!("`{}`", i.identity))
        .collect();
    if !allow_replace && !lost.is_empty() {
        return Err(ApplyFault::Replacement { names: lost });
    }
    let going: Vec<Found> = goers(&plan);
    if !take_down(planner.cloud, &going, outcome).await {
        return Ok(());
    }
    found.retain(|f| !going.iter().any(|g| g.id == f.id && g.kind == f.kind));
    forward(planner, &found, outcome).await;
    Ok(())
}

fn goers(plan: &Plan) -> Vec<Found> {
    let goes = |item: &&Item| matches!(item.act, Act::Delete | Act::Replace);
    plan.items.iter().filter(goes).filter_map(|i| i.found.clone()).collect()
}

/// Deletes objects, rank by rank; stops after a rank in which something failed.
async fn take_down(cloud: &dyn Cloud, going: &[Found], outcome: &mut Outcome) -> bool {
    let mut ranks: Vec<u8> = going.iter().map(|f| f.kind.teardown_rank()).collect();
    ranks.sort_unstable();
    ranks.dedup();
    for rank in ranks {
        let mut now: Vec<&Found> = going.iter().filter(|f| f.kind.teardown_rank() == rank).collect();
        let mut faults = Vec::new();
        // Objects of one rank may use each other (groups named in rules): as long as some go, the others get another try.
        loop {
            let ends = join_all(now.iter().map(|found| cloud.delete(found))).await;
            let (mut again, mut some_went) = (Vec::new(), false);
            for (found, end) in now.into_iter().zip(ends) {
                match end {
                    Ok(()) => {
                        some_went = true;
                        outcome.done.push(doing(found, Act::Delete));
                    }
                    Err(fault) if fault.class == Class::Dependency => again.push((found, fault)),
                    Err(fault) => faults.push((found, fault)),
                }
            }
            if again.is_empty() || !some_went {
                faults.extend(again);
                break;
            }
            now = again.into_iter().map(|(found, _)| found).collect();
        }
        let well = faults.is_empty();
        outcome.faults.extend(
            faults
                .into_iter()
                .map(|(found, fault)| ApplyFault::Cloud { resource: found.identity.to_string(), fault }),
        );
        if !well {
            return false;
        }
    }
    true
}

fn doing(found: &Found, act: Act) -> Doing {
    Doing { identity: found.identity.clone(), kind: found.kind, act, id: found.id.clone() }
}

/// Makes and changes, each resource as soon as those it needs are there.
async fn forward(planner: &Planner<'_>, found: &[Found], outcome: &mut Outcome) {
    let resources = &planner.declared.resources;
    let mut waiting: Vec<usize> = planner.declared.order.clone();
    let mut running = FuturesUnordered::new();
    loop {
        let ready = |at: &usize| resources[*at].needs.iter().all(|(n, _)| outcome.results.contains_key(n));
        let (start, still): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(ready);
        waiting = still;
        for at in start {
            let known = outcome.results.clone();
            running.push(async move { (at, one(planner, at, &known, found).await) });
        }
        let Some((at, (done, end))) = running.next().await else { break };
        outcome.done.extend(done);
        match end {
            Ok(result) => {
                outcome.results.insert(at, result);
            }
            Err(fault) => outcome.faults.push(fault),
        }
    }
    outcome.left_out = waiting.iter().map(|at| resources[*at].name.value.clone()).collect();
}

type End = (Vec<Doing>, Result<Json, ApplyFault>);

async fn one(planner: &Planner<'_>, at: usize, known: &Known, found: &[Found]) -> End {
    let items = match planner.resource(at, known, found) {
        Ok(items) => items,
        Err(fault) => return (Vec::new(), Err(fault.into())),
    };
    let ends = join_all(items.iter().map(|item| object(planner, at, known, item))).await;
    let (mut done, mut objects, mut failed) = (Vec::new(), Vec::new(), None);
    for (acts, end) in ends {
        done.extend(acts);
        match end {
            Ok(object) => objects.push(object),
            Err(fault) => failed = failed.or(Some(fault)),
        }
    }
    let all: Vec<&Found> = objects.iter().collect();
    let result = result_of(planner.declared.resources[at].kind, &all);
    (done, failed.map_or(Ok(result), Err))
}

async fn object(
    planner: &Planner<'_>,
    at: usize,
    known: &Known,
    item: &Item,
) -> (Vec<Doing>, Result<Found, ApplyFault>) {
    let mut done = Vec::new();
    let end = make(planner, at, known, item, &mut done).await;
    (done, end)
}

async fn make(
    planner: &Planner<'_>,
    at: usize,
    known: &Known,
    item: &Item,
    done: &mut Vec<Doing>,
) -> Result<Found, ApplyFault> {
    let resource = &planner.declared.resources[at];
    let rendered = planner.render(resource, known)?;
    let wanted = planner.wanted(resource, &item.identity, &rendered)?;
    let name = || item.identity.to_string();
    if let Some(option) = wanted.unknown.first() {
        return Err(ApplyFault::StillUnknown { resource: name(), option: option.clone() });
    }
    let failed = |fault| ApplyFault::Cloud { resource: name(), fault };
    let mut act = item.act;
    let found = match &item.found {
        Some(found) => found.clone(),
        None => {
            act = Act::Create;
            let made = planner
                .cloud
                .create(item.kind, &item.identity, &wanted.tags, &wanted.known)
                .await
                .map_err(failed)?;
            done.push(doing(&made, Act::Create));
            made
        }
    };
    let open = differences(item.kind, &found, &wanted);
    if open.is_empty() {
        return Ok(found);
    }
    let changed: Vec<String> = open.into_iter().map(|d| d.option).collect();
    let tags = tags_after(&found.tags, &wanted);
    let found = planner.cloud.update(&found, &tags, &wanted.known, &changed).await.map_err(failed)?;
    if act != Act::Create {
        done.push(doing(&found, Act::Update));
    }
    Ok(found)
}

/// Deletes everything of an owner. Can be repeated after a failure.
///
/// # Errors
/// What is there could not be found out.
pub async fn destroy(cloud: &dyn Cloud, owner: &str) -> Result<(Outcome, Vec<Found>), CloudFault> {
    let found = find_all(cloud, owner).await?;
    let mut outcome = Outcome::default();
    take_down(cloud, &found, &mut outcome).await;
    let left = find_all(cloud, owner).await?;
    Ok((outcome, left))
}
