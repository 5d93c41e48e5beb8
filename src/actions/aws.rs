//! Modules that work on AWS from the controller: `ec2_instance`, `ec2_vpc_net`, ...
//!
//! Owns: how their work becomes a result. Must not: call AWS itself.

use dcos_play_agent::options::Spec;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::{Action, Context, Done, Stop};
use crate::infra::tasks::{MODULES, Work};

/// One of the modules, by its row.
pub(super) struct Aws(&'static (Work, Spec));

static ALL: [Aws; MODULES.len()] = {
    let mut all = [const { Aws(&MODULES[0]) }; MODULES.len()];
    let mut at = 0;
    while at < MODULES.len() {
        all[at] = Aws(&MODULES[at]);
        at += 1;
    }
    all
};

/// Every one of them.
pub(super) fn all() -> impl Iterator<Item = &'static dyn Action> {
    ALL.iter().map(|one| one as &dyn Action)
}

impl Action for Aws {
    fn spec(&self) -> &'static Spec {
        &self.0.1
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        async move {
            if !context.clouds {
                return Err(Stop::Unknown("a rehearsal works on no infrastructure".to_owned()));
            }
            run(self.0.0, args, context.check).await
        }
        .boxed()
    }
}

#[cfg(not(feature = "aws"))]
async fn run(_: Work, _: Map<String, Json>, _: bool) -> Result<Done, Stop> {
    Err(Stop::failed(crate::infra::site::NoCloud::NotBuilt.to_string()))
}

#[cfg(feature = "aws")]
async fn run(work: Work, mut args: Map<String, Json>, check: bool) -> Result<Done, Stop> {
    use crate::infra::aws::Account;
    use crate::infra::aws::client::{Access, Keys};
    use crate::infra::aws::task::Task;
    use crate::infra::site::explained;

    let mut text = |name: &str| match args.remove(name) {
        Some(Json::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let (region, profile, endpoint_url) = (text("region"), text("profile"), text("endpoint_url"));
    let (access_key, secret_key, session_token) =
        (text("access_key"), text("secret_key"), text("session_token"));
    let keys = match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Some(Keys { access_key, secret_key, session_token }),
        (None, None) => None,
        _ => return Err(Stop::failed("`access_key` and `secret_key` go together")),
    };
    let access = Access { region, profile, endpoint_url, keys, ..Access::default() };
    let account = Account::shared(access).await.map_err(|e| Stop::failed(e.to_string()))?;
    match (Task { account: &account, check }).perform(work, args).await {
        Ok(result) => Ok(Done { result, effects: Vec::new() }),
        Err(fault) => Err(Stop::failed(explained(&account, &fault).await)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;
    use crate::actions::{Known, Stop};
    use crate::resolve::Catalogue as _;

    #[test]
    fn modules_of_aws_are_known_by_their_new_and_old_names() {
        for name in
            ["ec2_instance", "ec2", "ec2_group", "ec2_elb_lb", "ec2_vpc_subnet_facts", "ec2_group_info"]
        {
            assert!(Known.find(name).is_some(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_rehearsal_calls_no_aws() {
        let end = Stage::new().run("ec2_vpc_net", json!({"name": "a", "cidr_block": "10.0.0.0/16"})).await;
        assert!(matches!(end, Err(Stop::Unknown(_))), "{end:?}");
    }
}
