//! `dcos_master_order`: the order in which static masters may be replaced, or a failure that says why there is none.
//!
//! Owns: its arguments and its result. Must not: know the rules, or contact a host.

use std::net::Ipv4Addr;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::results::typed;
use super::{Action, Context, Done, Stop};
use crate::dcos::show::{plan_json, refusal_json, refused};
use crate::dcos::{Ensemble, Refusal, Wanted, plan};

static OPTIONS: &[Opt] = &[
    Opt::list("from").required(),
    Opt::list("to").required(),
    Opt::str("leader"),
    // Masters that stay may leave, be wiped and join again where their id has to move.
    Opt::bool("rejoin"),
];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("dcos_master_order") };

#[derive(Deserialize)]
struct Args {
    from: Vec<String>,
    to: Vec<String>,
    leader: Option<Ipv4Addr>,
    #[serde(default)]
    rejoin: bool,
}

pub(super) struct DcosMasterOrder;

impl Action for DcosMasterOrder {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn run<'a>(&'a self, _: &'a Context<'a>, args: Map<String, Json>) -> BoxFuture<'a, Result<Done, Stop>> {
        async move {
            let args: Args = typed(&SPEC, args)?;
            match order(&args) {
                Ok(Json::Object(mut result)) => {
                    result.insert("changed".into(), false.into());
                    Ok(Done { result, effects: Vec::new() })
                }
                Ok(other) => Err(Stop::failed(format!("no order but {other}"))),
                Err(refusal) => {
                    let mut stop = Stop::failed(refused(&refusal).trim_start_matches("error: ").trim_end());
                    if let Json::Object(facts) = refusal_json(&refusal) {
                        for (name, value) in facts {
                            stop = stop.with(&name, value);
                        }
                    }
                    Err(stop)
                }
            }
        }
        .boxed()
    }
}

fn order(args: &Args) -> Result<Json, Refusal> {
    let from = Ensemble::parse(&args.from).map_err(Refusal::From)?;
    let to = Ensemble::parse(&args.to).map_err(Refusal::To)?;
    let found = plan(&from, &to, Wanted { leader: args.leader, rejoin: args.rejoin })?;
    Ok(plan_json(&from, &to, args.leader, &found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn the_result_has_steps_and_both_ensembles_as_dcos_writes_them() {
        let args =
            json!({"from": ["10.0.0.10", "10.0.0.8", "10.0.0.9"], "to": "10.0.0.10,10.0.0.85,10.0.0.9"});
        let found = Stage::new().result("dcos_master_order", args).await;
        assert_eq!(found["ensemble_from"], "1:10.0.0.10,2:10.0.0.8,3:10.0.0.9");
        assert_eq!(found["ensemble_to"], "1:10.0.0.10,2:10.0.0.85,3:10.0.0.9");
        assert_eq!((&found["steps"][0]["id"], &found["changed"]), (&json!(2), &json!(false)));
    }

    #[tokio::test]
    async fn ids_that_would_move_fail_the_step_with_the_ways_out() {
        let args = json!({"from": ["10.0.0.10", "10.0.0.8", "10.0.0.9"], "to": ["10.0.0.8", "10.0.0.9", "10.0.0.99"]});
        let failed = Stage::new().failure("dcos_master_order", args).await;
        let text = failed["msg"].as_str().expect("text");
        assert!(text.starts_with(
            "the masters cannot be changed one at a time: 10.0.0.8 would move from id 2 to id 1"
        ));
        assert!(
            text.contains("another address for id 1 (10.0.0.10): any before 10.0.0.8 in byte order"),
            "{text}"
        );
        assert_eq!(failed["shifted"][1], json!({"address": "10.0.0.9", "from": 3, "to": 2}));
    }
}
