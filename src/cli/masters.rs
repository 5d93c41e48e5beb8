//! `dcos-play masters`: what can be said about a cluster's masters without touching one.
//!
//! Owns: the flags. Must not: know the rules of an order, or how one is told.

use std::net::Ipv4Addr;

use super::Trouble;
use super::ensembles::{Live, Origin};
use super::reach::ReachFlags;
use crate::dcos::show::{plan_json, refusal_json, refused, shown};
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
    /// The masters as they are, in any order: addresses, or hosts and groups of the inventory (their `private_ip`)
    #[arg(long, required_unless_present = "live", value_delimiter = ',', value_name = "MASTER,..")]
    pub from: Vec<String>,
    /// Ask a running master for the masters and their leader, by SSH, instead of --from
    #[arg(long, conflicts_with_all = ["from", "leader"])]
    pub live: bool,
    /// The masters as they shall be; two or four more of them expand the cluster
    #[arg(long, required = true, value_delimiter = ',', value_name = "MASTER,..")]
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
    #[command(flatten)]
    pub reach: ReachFlags,
}

/// Prints the plan.
///
/// # Errors
/// The reason why there is none; with `--json` it is printed instead, and the status says it.
pub fn run(args: &MastersArgs, out: &mut dyn std::io::Write) -> Result<u8, Trouble> {
    let MastersCommand::Order(args) = &args.command;
    let (from, to, leader) = lists(args)?;
    let found = order(&from, &to, leader, args.rejoin);
    if args.json {
        let value = match &found {
            Ok((from, to, plan)) => plan_json(from, to, leader, plan),
            Err(refusal) => refusal_json(refusal),
        };
        writeln!(out, "{value:#}")?;
        return Ok(if found.is_ok() { exit::FINE } else { exit::ERROR });
    }
    let (from, to, plan) = found.map_err(|refusal| Trouble::new(exit::ERROR, refused(&refusal)))?;
    out.write_all(shown(&from, &to, leader, &plan).as_bytes())?;
    Ok(exit::FINE)
}

/// Addresses as they are, as they shall be, and who leads.
fn lists(args: &OrderArgs) -> Result<(Vec<String>, Vec<String>, Option<Ipv4Addr>), Trouble> {
    let mut origin = Origin::new(&args.reach);
    let to = origin.addresses(&args.to)?;
    if args.live {
        let Live { ensemble, leader } = origin.live()?;
        return Ok((ensemble.addresses().iter().map(ToString::to_string).collect(), to, leader));
    }
    Ok((origin.addresses(&args.from)?, to, args.leader))
}

fn order(
    from: &[String],
    to: &[String],
    leader: Option<Ipv4Addr>,
    rejoin: bool,
) -> Result<(Ensemble, Ensemble, Plan), Refusal> {
    let from = Ensemble::parse(from).map_err(Refusal::From)?;
    let to = Ensemble::parse(to).map_err(Refusal::To)?;
    let plan = plan(&from, &to, Wanted { leader, rejoin })?;
    Ok((from, to, plan))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
