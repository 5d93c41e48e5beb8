//! `set_stats`: figures of the playbook itself, for whoever reads its results.
//!
//! Owns: their names and the form of the result. Must not: add anything up; reports may.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json, json};

use super::results::Reply;
use super::set_fact::is_name;
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] = &[Opt::raw("data").required(), Opt::bool("per_host"), Opt::bool("aggregate")];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("set_stats") };

pub(super) struct SetStats;

impl Action for SetStats {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn run<'a>(&'a self, _: &'a Context<'a>, args: Map<String, Json>) -> BoxFuture<'a, Result<Done, Stop>> {
        async move { run(&args) }.boxed()
    }
}

fn run(args: &Map<String, Json>) -> Result<Done, Stop> {
    let Some(Json::Object(data)) = args.get("data") else {
        return Err(Stop::failed("`data` of `set_stats` must be a mapping"));
    };
    if let Some(name) = data.keys().find(|name| !is_name(name)) {
        return Err(Stop::failed(format!(
            "`{name}` is not a variable name: a name starts with a letter or underscore and holds only letters, numbers and \
             underscores"
        )));
    }
    let flag = |name: &str, usual: bool| args.get(name).and_then(Json::as_bool).unwrap_or(usual);
    let stats = json!({
        "data": data, "per_host": flag("per_host", false), "aggregate": flag("aggregate", true),
    });
    Reply::new(false).with("ansible_stats", stats).done()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn figures_are_the_result_and_bad_names_are_refused() {
        let stage = Stage::new();
        let result = stage.result("set_stats", json!({"data": {"built": 3}, "per_host": true})).await;
        assert_eq!(
            result["ansible_stats"],
            json!({"data": {"built": 3}, "per_host": true, "aggregate": true})
        );
        let refused = stage.failure("set_stats", json!({"data": {"no name": 1}})).await;
        assert!(refused["msg"].as_str().is_some_and(|m| m.starts_with("`no name` is not a variable name")));
    }
}
