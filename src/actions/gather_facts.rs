//! `gather_facts`: runs `setup`.
//!
//! Owns: nothing but the name; the facts stand in the result as `ansible_facts`.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::results::checked;
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] = &[
    Opt::list("gather_subset"),
    Opt::int("gather_timeout"),
    Opt::list("filter"),
    Opt::path("fact_path"),
    Opt::bool("parallel").ignored("there is one source of facts"),
];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("gather_facts") };

pub(super) struct GatherFacts;

impl Action for GatherFacts {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        mut args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        async move {
            args.remove("parallel");
            // Facts are read in check mode too.
            let (result, _) = context.remote.module_always("setup", args).await?;
            Ok(Done { result: checked(result)?, effects: Vec::new() })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn setup_is_asked_in_check_mode_too() {
        let stage =
            Stage::new().check().answer("setup", json!({"ansible_facts": {"ansible_system": "Linux"}}));
        let result = stage.result("gather_facts", json!({"gather_subset": "min"})).await;
        assert_eq!(result["ansible_facts"]["ansible_system"], "Linux");
        assert_eq!(stage.calls()[0].module, "setup");
        assert!(stage.calls()[0].always);
    }
}
