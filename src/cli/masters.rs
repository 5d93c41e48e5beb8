//! `dcos-play masters`: what can be said about a cluster's masters without touching one.
//!
//! Owns: the flags, and how an order is shown. Must not: know the rules of an order.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::Trouble;
use crate::dcos::order::{Gap, Impossible};
use crate::dcos::{Ensemble, Plan, Refusal, Wanted, plan};
use crate::exit;

/// Plans changes of a cluster's masters.
#[derive(Debug, clap::Args)]
pub struct MastersArgs {
    #[command(subcommand)]
    pub command: MastersCommand,
}

/// What to plan.
#[derive(Debug, clap::Subcommand)]
pub enum MastersCommand {
    /// The order in which static masters can be replaced one at a time, or why there is none
    Order(OrderArgs),
}

/// Flags of `masters order`.
#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    /// Addresses of the masters as they are, in any order
    #[arg(long, required = true, value_delimiter = ',', value_name = "ADDRESS,..")]
    pub from: Vec<String>,
    /// Addresses as they shall be; two or four more of them expand the cluster
    #[arg(long, required = true, value_delimiter = ',', value_name = "ADDRESS,..")]
    pub to: Vec<String>,
    /// The master that leads ZooKeeper now: it is replaced as late as possible
    #[arg(long, value_name = "ADDRESS")]
    pub leader: Option<Ipv4Addr>,
    /// Masters that stay may leave, be wiped and join again where their id has to move
    #[arg(long)]
    pub rejoin: bool,
    /// As JSON, also when there is no order
    #[arg(long)]
    pub json: bool,
}

/// Prints the plan.
///
/// # Errors
/// The reason why there is none; with `--json` it is printed instead, and the status says it.
pub fn run(args: &MastersArgs, out: &mut dyn std::io::Write) -> Result<u8, Trouble> {
    let MastersCommand::Order(args) = &args.command;
    let found = order(args);
    if args.json {
        let value = match &found {
            Ok((from, to, plan)) => plan_json(from, to, args.leader, plan),
            Err(refusal) => refusal_json(refusal),
        };
        writeln!(out, "{value:#}")?;
        return Ok(if found.is_ok() { exit::FINE } else { exit::ERROR });
    }
    let (from, to, plan) = found.map_err(|refusal| Trouble::new(exit::ERROR, refused(&refusal)))?;
    out.write_all(shown(&from, &to, args.leader, &plan).as_bytes())?;
    Ok(exit::FINE)
}

fn order(args: &OrderArgs) -> Result<(Ensemble, Ensemble, Plan), Refusal> {
    let from = Ensemble::parse(&args.from).map_err(Refusal::From)?;
    let to = Ensemble::parse(&args.to).map_err(Refusal::To)?;
    let plan = plan(&from, &to, Wanted { leader: args.leader, rejoin: args.rejoin })?;
    Ok((from, to, plan))
}

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
    let width =
        |of: fn(&crate::dcos::Step) -> String| plan.steps.iter().map(|s| of(s).len()).max().unwrap_or(0);
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
    if !why.rejoin.additions.is_empty() {
        if let Some(last) = why.gaps.last() {
            found.push(format!("new masters at addresses after {} in byte order", last.address));
        }
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
    let mut value = json!({"possible": true, "from": list(from), "to": list(to)});
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> Result<String, String> {
        let args = <crate::cli::Arguments as clap::Parser>::try_parse_from(
            ["dcos-play", "masters", "order"].iter().chain(words),
        );
        let crate::cli::Command::Masters(args) = args.expect("flags").command else { panic!("masters") };
        let mut out = Vec::new();
        match run(&args, &mut out) {
            Ok(_) => Ok(String::from_utf8(out).expect("text")),
            Err(trouble) => Err(trouble.text),
        }
    }

    #[test]
    fn the_screen_names_each_step_and_the_leader_last() {
        let text = told(&[
            "--from=10.10.0.149,10.10.0.158,10.10.0.236,100.10.0.158,100.10.0.66",
            "--to=10.10.0.184,10.10.0.230,10.10.0.233,100.10.0.147,100.10.0.85",
            "--leader=100.10.0.66",
        ]);
        assert_eq!(
            text.expect("a plan"),
            "current  1 10.10.0.149   2 10.10.0.158   3 10.10.0.236   4 100.10.0.158   5 100.10.0.66 (leader)
target   1 10.10.0.184   2 10.10.0.230   3 10.10.0.233   4 100.10.0.147   5 100.10.0.85

  step 1   id 2   10.10.0.158   -> 10.10.0.230    ids of the other masters stay
  step 2   id 1   10.10.0.149   -> 10.10.0.184    possible only after id 2
  step 3   id 3   10.10.0.236   -> 10.10.0.233
  step 4   id 4   100.10.0.158  -> 100.10.0.147
  step 5   id 5   100.10.0.66   -> 100.10.0.85    the leader, last

Plan again after every step, from the masters as they are then.
"
        );
    }

    #[test]
    fn a_refusal_names_the_ids_that_move_the_interval_and_the_ways_out() {
        let text = told(&[
            "--from=172.31.16.60,172.31.18.152,172.31.29.145,172.31.29.82,172.31.31.63",
            "--to=172.31.16.60,172.31.18.152,172.31.22.240,172.31.29.145,172.31.29.82",
        ]);
        assert_eq!(
            text.expect_err("refused"),
            "error: the masters cannot be changed one at a time: 172.31.29.145 would move from id 3 to id 4, \
             172.31.29.82 would move from id 4 to id 5

No first step exists. What can be done:
  - give the new host the address of the one it replaces: no other node changes
  - another address for id 5 (172.31.31.63): any after 172.31.29.82 in byte order keeps the ids
  - let masters leave and join again wiped, 2 replacements more than masters that really go (--rejoin)
  - a new cluster with the Exhibitor backend aws_s3, where ids are never computed from addresses

The plan with wiped masters:
  step 1   id 3   172.31.29.145  -> 172.31.22.240   172.31.29.145 comes back later
  step 2   id 4   172.31.29.82   -> 172.31.29.145   possible only after id 3, 172.31.29.145 joins wiped, \
             172.31.29.82 comes back later
  step 3   id 5   172.31.31.63   -> 172.31.29.82    possible only after id 4, 172.31.29.82 joins wiped
"
        );
    }

    #[test]
    fn json_tells_a_refusal_too() {
        let text =
            told(&["--json", "--from=10.0.0.10,10.0.0.8,10.0.0.9", "--to=10.0.0.8,10.0.0.9,10.0.0.99"]);
        let value: Value = serde_json::from_str(&text.expect("printed")).expect("json");
        assert_eq!(value["possible"], json!(false));
        assert_eq!(value["shifted"][0], json!({"address": "10.0.0.8", "from": 2, "to": 1}));
        assert_eq!(value["rejoin"]["steps"][0]["in"], json!("10.0.0.99"));
        let text =
            told(&["--json", "--from=10.0.0.10,10.0.0.8,10.0.0.9", "--to=10.0.0.10,10.0.0.85,10.0.0.9"]);
        let value: Value = serde_json::from_str(&text.expect("printed")).expect("json");
        assert_eq!((&value["possible"], &value["steps"][0]["id"]), (&json!(true), &json!(2)));
    }
}
