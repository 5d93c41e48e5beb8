//! The order in which static masters may be replaced one at a time.
//!
//! Owns: the rule that no master's ZooKeeper id may move, the orders that keep it, the ways out where there is none.
//! Must not: know hosts, or how a step is carried out.
//! Called by: `dcos-play masters order`, the action `dcos_master_order`.
//!
//! The rule, with the list as it is and as it shall be both sorted (see [`Ensemble`]): each id is a slot, and a
//! replacement puts an address into the slot of the one that leaves. It is possible while the new address sorts between
//! the neighbours that the slot has at that moment. So every slot is replaced once, the only constraints are between
//! neighbouring slots, they cannot form a circle, and an order exists exactly when no master that stays has another id
//! in the wanted list.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::ensemble::{Ensemble, ListError, before};

/// What is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// The master that leads ZooKeeper now; it is replaced as late as the rule allows.
    pub leader: Option<Ipv4Addr>,
    /// Masters that stay may leave and come back wiped, in their new slot.
    pub rejoin: bool,
}

/// A way from one list to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Replacements, in this order, one at a time.
    pub steps: Vec<Step>,
    /// Masters that come on top, all in one configuration, after the last step.
    pub additions: Vec<Addition>,
    /// Ids whose replacement may be the first.
    pub first_ids: Vec<usize>,
    /// Ids whose replacement has to wait for another one.
    pub blocked_ids: Vec<usize>,
    /// The leader is not in the last step, because the rule puts it before others.
    pub leader_early: bool,
}

/// One replacement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub id: usize,
    pub out: Ipv4Addr,
    #[serde(rename = "in")]
    pub into: Ipv4Addr,
    /// The newcomer was a master before: it must come without any of its data.
    pub wiped: bool,
    /// The one that leaves comes back later, in another slot.
    pub returns: bool,
    /// The one that leaves is the leader of now.
    pub leader: bool,
    /// Ids that have to be replaced before.
    pub after: Vec<usize>,
}

/// One master more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addition {
    pub id: usize,
    pub address: Ipv4Addr,
    /// It was a master before: it must come without any of its data.
    pub wiped: bool,
}

/// A master that stays, and whose id would move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shift {
    pub address: Ipv4Addr,
    pub from: usize,
    pub to: usize,
}

/// Which addresses fit a slot: those between its neighbours, in byte order, both excluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub id: usize,
    pub address: Ipv4Addr,
    /// The neighbour below; the first slot has none.
    pub above: Option<Ipv4Addr>,
    /// The neighbour on top; the last slot has none.
    pub below: Option<Ipv4Addr>,
    /// The address is not in the wanted list.
    pub leaves: bool,
    /// Addresses of the wanted list that would fit as things are.
    pub fitting: Vec<Ipv4Addr>,
}

/// Why no order exists, and what can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Impossible {
    pub shifted: Vec<Shift>,
    /// Every slot; those that leave are the ones to find other addresses for.
    pub gaps: Vec<Gap>,
    /// What it takes when masters may come back wiped.
    pub rejoin: Plan,
    /// How many replacements that is more than masters that really leave.
    pub extra: usize,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the current list: {0}")]
    From(#[source] ListError),
    #[error("the wanted list: {0}")]
    To(#[source] ListError),
    #[error("the leader `{0}` is not in the current list")]
    Leader(Ipv4Addr),
    #[error(
        "{from} masters cannot become {to}: a smaller list may lose the majority of the replicated logs; \
         install a new cluster"
    )]
    Shrink { from: usize, to: usize },
    #[error(
        "a single master cannot be replaced or joined: no majority survives without it, and its state would be \
         lost; back ZooKeeper up, install a new cluster and restore"
    )]
    Single,
    #[error("{}", shifts(.0))]
    Shifts(Box<Impossible>),
}

fn shifts(why: &Impossible) -> String {
    let moved: Vec<String> = why
        .shifted
        .iter()
        .map(|s| format!("{} would move from id {} to id {}", s.address, s.from, s.to))
        .collect();
    format!("the masters cannot be changed one at a time: {}", moved.join(", "))
}

/// Finds an order of single replacements that takes masters from one list to another.
///
/// # Errors
/// [`Refusal::Shifts`] when a master that stays would get another id and may not rejoin; else a pair of lists between
/// which DC/OS has no way.
pub fn plan(from: &Ensemble, to: &Ensemble, wanted: Wanted) -> Result<Plan, Refusal> {
    let (current, target) = (from.addresses(), to.addresses());
    if let Some(leader) = wanted.leader.filter(|leader| from.id(*leader).is_none()) {
        return Err(Refusal::Leader(leader));
    }
    if target.len() < current.len() {
        return Err(Refusal::Shrink { from: current.len(), to: target.len() });
    }
    if current.len() == 1 && current != target {
        return Err(Refusal::Single);
    }
    let shifted: Vec<Shift> = current
        .iter()
        .enumerate()
        .filter_map(|(at, address)| {
            let new = to.id(*address)?;
            (new != at + 1).then_some(Shift { address: *address, from: at + 1, to: new })
        })
        .collect();
    let found = slots(current, target, wanted.leader);
    if shifted.is_empty() || wanted.rejoin {
        return Ok(found);
    }
    let leaving = current.iter().filter(|a| to.id(**a).is_none()).count();
    let extra = found.steps.len() - leaving;
    Err(Refusal::Shifts(Box::new(Impossible { shifted, gaps: gaps(current, target), rejoin: found, extra })))
}

/// Replaces slot by slot: each goes to its final address as soon as its neighbours allow.
fn slots(current: &[Ipv4Addr], target: &[Ipv4Addr], leader: Option<Ipv4Addr>) -> Plan {
    // With more masters than before, the first slots are prepared, and the rest comes on top.
    let (slots, rest) = target.split_at(current.len());
    let mut now = current.to_vec();
    let mut todo: Vec<usize> = (0..slots.len()).filter(|at| now[*at] != slots[*at]).collect();
    let waits = |now: &[Ipv4Addr], at: usize| -> Vec<usize> {
        let new = slots[at];
        let mut ids: Vec<usize> =
            now.iter().position(|a| *a == new).map(|other| other + 1).into_iter().collect();
        if at > 0 && !before(now[at - 1], new) {
            ids.push(at);
        }
        if at + 1 < now.len() && !before(new, now[at + 1]) {
            ids.push(at + 2);
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let first = todo.iter().filter(|at| waits(&now, **at).is_empty()).map(|at| at + 1).collect();
    let blocked = todo.iter().filter(|at| !waits(&now, **at).is_empty()).map(|at| at + 1).collect();
    let mut steps: Vec<Step> = Vec::new();
    while !todo.is_empty() {
        let ready: Vec<usize> = todo.iter().copied().filter(|at| waits(&now, *at).is_empty()).collect();
        let late = ready.iter().copied().find(|at| Some(now[*at]) != leader);
        // Never empty: the constraints are between neighbours and point one way.
        let Some(at) = late.or_else(|| ready.first().copied()) else { break };
        steps.push(Step {
            id: at + 1,
            out: now[at],
            into: slots[at],
            wiped: current.contains(&slots[at]),
            returns: target.contains(&now[at]),
            leader: Some(now[at]) == leader,
            after: waits(current, at),
        });
        now[at] = slots[at];
        todo.retain(|other| *other != at);
    }
    let leader_early = steps.iter().rev().skip(1).any(|step| step.leader);
    let additions = rest
        .iter()
        .enumerate()
        .map(|(n, address)| Addition {
            id: current.len() + n + 1,
            address: *address,
            wiped: current.contains(address),
        })
        .collect();
    Plan { steps, additions, first_ids: first, blocked_ids: blocked, leader_early }
}

/// Which addresses fit each slot as things are.
fn gaps(current: &[Ipv4Addr], target: &[Ipv4Addr]) -> Vec<Gap> {
    let newcomers: Vec<Ipv4Addr> = target.iter().copied().filter(|a| !current.contains(a)).collect();
    (0..current.len())
        .map(|at| {
            let above = at.checked_sub(1).map(|n| current[n]);
            let below = current.get(at + 1).copied();
            let fits =
                |a: &Ipv4Addr| above.is_none_or(|n| before(n, *a)) && below.is_none_or(|n| before(*a, n));
            Gap {
                id: at + 1,
                address: current[at],
                above,
                below,
                leaves: !target.contains(&current[at]),
                fitting: newcomers.iter().copied().filter(fits).collect(),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
