//! Makes what is there as it was declared, and takes it down.
//!
//! Owns: the order of calls and what runs side by side. Must not: compare (that is `differ`), or know a cloud.
//!
//! What is to be deleted or replaced goes first, in the order of [`Kind::teardown_rank`]: names and addresses that only one
//! object can have are free again then. Everything that is decided comes from tags, so a run that was killed anywhere
//! is repeated by running it again.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::future::{join_all, try_join_all};
use futures::stream::FuturesUnordered;
use serde_json::Value as Json;

use super::cloud::{Cloud, Found, Options};
use super::differ::{After, differences, tags_after};
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
    #[error(
        "deleting {} needs `--allow-replace`: the playbook declares no such instances any more, and what is on them is lost",
        names.join(", ")
    )]
    Deletion { names: Vec<String> },
    #[error("`{resource}` needs `{option}`, which nothing gave")]
    StillUnknown { resource: String, option: String },
}

/// What may be lost on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// An instance that would be replaced, or that nothing declares any more, stops everything before anything is done.
    Keep,
    /// Instances may be replaced and go.
    Replace,
}

/// Sees what is done, as it is done.
pub trait Watch: Send + Sync {
    /// Work on something begins: `makes nat`.
    fn begins(&self, _what: &str) {}
    /// That work is over, well or not.
    fn ends(&self, _what: &str) {}
    /// An object was made, changed, deleted, or found as it should be.
    fn done(&self, _doing: &Doing) {}
}

/// Looks away.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {}

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

/// Everything that carries the owner's tag. A kind in `optional` that may not be looked at counts as not there.
///
/// # Errors
/// The first call that failed.
pub async fn find_all(
    cloud: &dyn Cloud,
    owner: &str,
    optional: &(dyn Fn(Kind) -> bool + Sync),
) -> Result<Vec<Found>, CloudFault> {
    // No owner is everybody who declared nothing: never what somebody meant.
    if owner.is_empty() {
        return Ok(Vec::new());
    }
    let one = |kind: Kind| async move {
        match cloud.find(kind, owner).await {
            Err(fault) if fault.class == Class::Auth && fault.is_permission() && optional(kind) => {
                Ok(Vec::new())
            }
            end => end,
        }
    };
    let all = try_join_all(Kind::all().map(one)).await?;
    // A cloud's filters are not trusted: somebody else's object must never be touched.
    Ok(all.into_iter().flatten().filter(|f| f.identity.owner == owner).collect())
}

/// Everything of the owner. Buckets and roles need permissions of their own, which nobody needs who declares none.
///
/// # Errors
/// As [`find_all`].
pub async fn find_declared(planner: &Planner<'_>) -> Result<Vec<Found>, CloudFault> {
    let declared: BTreeSet<Kind> = planner.declared.resources.iter().map(|r| r.kind).collect();
    find_all(planner.cloud, planner.owner, &|kind| kind.stands_apart() && !declared.contains(&kind)).await
}

/// Makes everything as declared.
pub async fn apply(planner: &Planner<'_>, leave: Leave, watch: &dyn Watch) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(fault) = run(planner, leave, watch, &mut outcome).await {
        outcome.faults.push(fault);
    }
    outcome
}

async fn run(
    planner: &Planner<'_>,
    leave: Leave,
    watch: &dyn Watch,
    outcome: &mut Outcome,
) -> Result<(), ApplyFault> {
    let mut found = find_declared(planner).await.map_err(PlanFault::from)?;
    let plan = planner.plan(&found)?;
    let lost: Vec<String> = plan
        .items
        .iter()
        .filter(|i| i.act == Act::Replace && i.kind == Kind::Instance)
        .filter(|i| !planner.is_named(&i.identity, i.found.as_ref()))
        .map(|i| format!("`{}`", i.identity))
        .collect();
    if leave == Leave::Keep && !lost.is_empty() {
        return Err(ApplyFault::Replacement { names: lost });
    }
    let dropped: Vec<String> = plan
        .items
        .iter()
        .filter(|i| i.act == Act::Delete && i.kind == Kind::Instance && !planner.declares(&i.identity, &plan))
        .map(|i| format!("`{}`", i.identity))
        .collect();
    if leave == Leave::Keep && !dropped.is_empty() {
        return Err(ApplyFault::Deletion { names: dropped });
    }
    let going: Vec<Found> = goers(&plan);
    if !take_down(planner.cloud, &going, watch, outcome).await {
        return Ok(());
    }
    found.retain(|f| !going.iter().any(|g| g.id == f.id && g.kind == f.kind));
    forward(planner, &found, watch, outcome).await;
    Ok(())
}

fn goers(plan: &Plan) -> Vec<Found> {
    let goes = |item: &&Item| matches!(item.act, Act::Delete | Act::Replace);
    plan.items.iter().filter(goes).filter_map(|i| i.found.clone()).collect()
}

/// Deletes objects, rank by rank; stops after a rank in which something failed.
async fn take_down(cloud: &dyn Cloud, going: &[Found], watch: &dyn Watch, outcome: &mut Outcome) -> bool {
    let mut ranks: Vec<u8> = going.iter().map(|f| f.kind.teardown_rank()).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let delete = |found: &'_ Found| {
        let found = found.clone();
        async move {
            let what = format!("deletes {}", found.identity);
            watch.begins(&what);
            let end = cloud.delete(&found).await;
            watch.ends(&what);
            if end.is_ok() {
                watch.done(&doing(&found, Act::Delete));
            }
            end
        }
    };
    for rank in ranks {
        let mut now: Vec<&Found> = going.iter().filter(|f| f.kind.teardown_rank() == rank).collect();
        let mut faults = Vec::new();
        // Objects of one rank may use each other (groups named in rules): as long as some go, the others get another try.
        loop {
            let ends = join_all(now.iter().map(|found| delete(found))).await;
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
async fn forward(planner: &Planner<'_>, found: &[Found], watch: &dyn Watch, outcome: &mut Outcome) {
    let resources = &planner.declared.resources;
    let mut waiting: Vec<usize> = planner.declared.order.clone();
    let mut running = FuturesUnordered::new();
    loop {
        let ready = |at: &usize| resources[*at].needs.iter().all(|(n, _)| outcome.results.contains_key(n));
        let (start, still): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(ready);
        waiting = still;
        for at in start {
            let known = outcome.results.clone();
            running.push(async move {
                let what = format!("makes {}", planner.declared.resources[at].name.value);
                watch.begins(&what);
                let end = one(planner, at, &known, found, watch).await;
                watch.ends(&what);
                (at, end)
            });
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

async fn one(planner: &Planner<'_>, at: usize, known: &Known, found: &[Found], watch: &dyn Watch) -> End {
    let items = match planner.resource(at, known, found) {
        Ok(items) => items,
        Err(fault) => return (Vec::new(), Err(fault.into())),
    };
    let ends = join_all(items.iter().map(|item| object(planner, at, known, item, watch))).await;
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
    watch: &dyn Watch,
) -> (Vec<Doing>, Result<Found, ApplyFault>) {
    match make(planner, at, known, item).await {
        Ok((found, act)) => {
            let doing = doing(&found, act);
            watch.done(&doing);
            (if act == Act::Keep { Vec::new() } else { vec![doing] }, Ok(found))
        }
        Err((made, fault)) => {
            // Made, but not all that it should be: the next run goes on with it.
            let done: Vec<Doing> = made.iter().map(|found| doing(found, Act::Create)).collect();
            done.iter().for_each(|doing| watch.done(doing));
            (done, Err(fault))
        }
    }
}

async fn make(
    planner: &Planner<'_>,
    at: usize,
    known: &Known,
    item: &Item,
) -> Result<(Found, Act), (Option<Found>, ApplyFault)> {
    let resource = &planner.declared.resources[at];
    let early = |fault: PlanFault| (None, ApplyFault::from(fault));
    let rendered = planner.render(resource, known).map_err(early)?;
    let wanted = planner.wanted(resource, &item.identity, &rendered).map_err(early)?;
    let name = || item.identity.to_string();
    if let Some(option) = wanted.unknown.first() {
        return Err((None, ApplyFault::StillUnknown { resource: name(), option: option.clone() }));
    }
    let failed = |fault| ApplyFault::Cloud { resource: name(), fault };
    let (found, act) = match &item.found {
        Some(found) => (found.clone(), Act::Update),
        None => {
            let made = planner.cloud.create(item.kind, &item.identity, &wanted.tags, &wanted.known).await;
            (made.map_err(|fault| (None, failed(fault)))?, Act::Create)
        }
    };
    let mut open = differences(item.kind, &found, &wanted);
    if planner.declared.partial && item.kind == Kind::Instance && stays_inside(&wanted.known, known) {
        // Whoever works on it waits until it answers; nobody else should.
        open.retain(|d| d.option != "wait");
    }
    if open.is_empty() {
        return Ok((found, if act == Act::Create { act } else { Act::Keep }));
    }
    let changed: Vec<String> = open.into_iter().map(|d| d.option).collect();
    let tags = tags_after(&found.tags, &wanted);
    match planner.cloud.update(&found, &tags, &wanted.known, &changed).await {
        Ok(found) => Ok((found, act)),
        Err(fault) => Err(((act == Act::Create).then_some(found), failed(fault))),
    }
}

/// Whether an instance surely gets no public address, which would show only once it runs.
fn stays_inside(wanted: &Options, known: &Known) -> bool {
    let text = |map: &Json, key: &str| map.get(key).and_then(Json::as_str).map(ToOwned::to_owned);
    match wanted.get("assign_public_ip").and_then(Json::as_bool) {
        Some(public) => !public,
        None => {
            let subnet = wanted.get("vpc_subnet_id").and_then(Json::as_str);
            let declared = known.values().find(|r| subnet.is_some() && text(r, "id").as_deref() == subnet);
            declared.is_some_and(|r| r.get("map_public_ip_on_launch") == Some(&Json::Bool(false)))
        }
    }
}

/// What was made under a declared name and never marked, to be deleted along with what was.
///
/// # Errors
/// A call that failed. A declaration that cannot be planned has nothing to tell.
pub async fn find_unmarked(planner: &Planner<'_>, found: &[Found]) -> Result<Vec<Found>, CloudFault> {
    let Ok(plan) = planner.plan(found) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for item in plan.items.iter().filter(|i| i.act == Act::Create) {
        let name = item.differences.iter().find_map(|d| match &d.after {
            After::Known(Json::String(name)) if d.option == "name" => Some(name),
            _ => None,
        });
        if let Some(name) = name {
            all.extend(planner.cloud.unmarked(item.kind, &item.identity, name).await?);
        }
    }
    Ok(all)
}

/// Deletes everything of an owner, and what `more` names, and says what is left then. Can be repeated after a failure.
///
/// # Errors
/// What is there could not be found out.
pub async fn destroy(
    cloud: &dyn Cloud,
    owner: &str,
    optional: &(dyn Fn(Kind) -> bool + Sync),
    more: &[Found],
    watch: &dyn Watch,
) -> Result<(Outcome, Vec<Found>), CloudFault> {
    let mut found = find_all(cloud, owner, optional).await?;
    found.extend_from_slice(more);
    let mut outcome = Outcome::default();
    take_down(cloud, &found, watch, &mut outcome).await;
    let left = find_all(cloud, owner, optional).await?;
    Ok((outcome, left))
}
