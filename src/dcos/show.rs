//! A plan or a refusal, in words and as data.
//!
//! Owns: the texts that people read and the keys that scripts read. Must not: decide anything.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::ensemble::Ensemble;
use super::order::{Gap, Impossible, Plan, Refusal, Step};

/// A plan, as `masters order` shows it.
#[must_use]
pub fn shown(from: &Ensemble, to: &Ensemble, leader: Option<Ipv4Addr>, plan: &Plan) -> String {
    let mut text = format!("current  {}\ntarget   {}\n", row(from, leader), row(to, None));
    if plan.steps.is_empty() && plan.additions.is_empty() {
        text.push_str("\n  nothing to do: the lists are the same\n");
        return text;
    }
    text.push('\n');
    text.push_str(&steps(plan));
    if plan.leader_early {
        text.push_str(
            "\nThe leader is not the last: its neighbour's slot waits for it. Expect one election more.\n",
        );
    }
    if plan.steps.len() > 1 {
        text.push_str("\nPlan again after every step, from the masters as they are then.\n");
    }
    text
}

fn row(list: &Ensemble, leader: Option<Ipv4Addr>) -> String {
    let one = |(at, address): (usize, &Ipv4Addr)| {
        let mark = if Some(*address) == leader { " (leader)" } else { "" };
        format!("{} {address}{mark}", at + 1)
    };
    list.addresses().iter().enumerate().map(one).collect::<Vec<_>>().join("   ")
}

fn steps(plan: &Plan) -> String {
    let mut text = String::new();
    let width = |of: fn(&Step) -> String| plan.steps.iter().map(|s| of(s).len()).max().unwrap_or(0);
    let (outs, ins) = (width(|s| s.out.to_string()), width(|s| s.into.to_string()));
    let last = plan.steps.len();
    for (n, step) in plan.steps.iter().enumerate() {
        let mut notes = Vec::new();
        if step.leader {
            notes.push(if n + 1 == last { "the leader, last".to_owned() } else { "the leader".to_owned() });
        }
        if !step.after.is_empty() {
            notes.push(format!("possible only after id {}", listed(&step.after)));
        }
        if step.wiped {
            notes.push(format!("{} joins wiped", step.into));
        }
        if step.returns {
            notes.push(format!("{} comes back later", step.out));
        }
        if n == 0 && notes.is_empty() {
            notes.push("ids of the other masters stay".to_owned());
        }
        let line = format!(
            "  step {}   id {}   {:outs$}  -> {:ins$}   {}",
            n + 1,
            step.id,
            step.out.to_string(),
            step.into.to_string(),
            notes.join(", ")
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for addition in &plan.additions {
        let wiped = if addition.wiped { "   joins wiped" } else { "" };
        let _ = writeln!(text, "  add      id {}   {}{wiped}", addition.id, addition.address);
    }
    if plan.additions.len() > 1 {
        text.push_str("  all added masters come in one configuration: a number between is not possible\n");
    }
    text
}

fn listed(ids: &[usize]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// A refusal, with what can be done instead.
#[must_use]
pub fn refused(refusal: &Refusal) -> String {
    let mut text = format!("error: {refusal}\n");
    let Refusal::Shifts(why) = refusal else { return text };
    text.push_str("\nNo first step exists. What can be done:\n");
    for one in alternatives(why) {
        let _ = writeln!(text, "  - {one}");
    }
    text.push_str("\nThe plan with wiped masters:\n");
    text.push_str(&steps(&why.rejoin));
    text
}

/// The ways out, each as one sentence.
fn alternatives(why: &Impossible) -> Vec<String> {
    let mut found = Vec::new();
    let leaving: Vec<&Gap> = why.gaps.iter().filter(|gap| gap.leaves).collect();
    if !leaving.is_empty() {
        found.push("give the new host the address of the one it replaces: no other node changes".to_owned());
    }
    for gap in leaving {
        found.push(format!(
            "another address for id {} ({}): {} keeps the ids",
            gap.id,
            gap.address,
            interval(gap)
        ));
    }
    if !why.rejoin.additions.is_empty()
        && let Some(last) = why.gaps.last()
    {
        found.push(format!("new masters at addresses after {} in byte order", last.address));
    }
    let times =
        if why.extra == 1 { "1 replacement".to_owned() } else { format!("{} replacements", why.extra) };
    found.push(format!(
        "let masters leave and join again wiped, {times} more than masters that really go (--rejoin)"
    ));
    found.push(
        "a new cluster with the Exhibitor backend aws_s3, where ids are never computed from addresses"
            .to_owned(),
    );
    found
}

/// Which addresses fit, in words.
fn interval(gap: &Gap) -> String {
    match (gap.above, gap.below) {
        (Some(a), Some(b)) => format!("any between {a} and {b} in byte order"),
        (Some(a), None) => format!("any after {a} in byte order"),
        (None, Some(b)) => format!("any before {b} in byte order"),
        (None, None) => "any".to_owned(),
    }
}

/// A plan as data.
#[must_use]
pub fn plan_json(from: &Ensemble, to: &Ensemble, leader: Option<Ipv4Addr>, plan: &Plan) -> Value {
    let list = |all: &Ensemble| -> Vec<Value> {
        all.addresses()
            .iter()
            .enumerate()
            .map(|(at, a)| json!({"id": at + 1, "address": a, "leader": Some(*a) == leader}))
            .collect()
    };
    let mut value = json!({
        "possible": true,
        "from": list(from),
        "to": list(to),
        "ensemble_from": from.to_string(),
        "ensemble_to": to.to_string(),
    });
    merge(&mut value, json!(plan));
    value
}

/// A refusal as data.
#[must_use]
pub fn refusal_json(refusal: &Refusal) -> Value {
    let mut value = json!({"possible": false, "why": refusal.to_string()});
    if let Refusal::Shifts(why) = refusal {
        merge(&mut value, json!(why));
        merge(&mut value, json!({"alternatives": alternatives(why)}));
    }
    value
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
