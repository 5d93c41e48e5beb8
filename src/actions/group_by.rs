//! `group_by`: the host joins a group named by a value.
//!
//! Owns: its arguments and its result. Must not: touch the inventory; the engine takes the effect over.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::results::{Reply, typed};
use super::{Action, Context, Done, Effect, Stop};

static OPTIONS: &[Opt] = &[Opt::str("key").required(), Opt::list("parents")];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("group_by") };

#[derive(Deserialize)]
struct Args {
    key: String,
    #[serde(default)]
    parents: Vec<String>,
}

pub(super) struct GroupBy;

impl Action for GroupBy {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn run<'a>(&'a self, _: &'a Context<'a>, args: Map<String, Json>) -> BoxFuture<'a, Result<Done, Stop>> {
        async move {
            let args: Args = typed(&SPEC, args)?;
            let name = |text: &str| text.replace(' ', "-");
            let group = name(&args.key);
            let mut parents: Vec<String> = args.parents.iter().map(|p| name(p)).collect();
            if parents.is_empty() {
                parents.push("all".to_owned());
            }
            Reply::new(false)
                .with("add_group", group.clone())
                .with("parent_groups", parents.clone())
                .effect(Effect::GroupBy { group, parents })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn blanks_become_dashes_and_all_is_the_parent() {
        let done = Stage::new().run("group_by", json!({"key": "os_Red Hat"})).await.expect("works");
        assert_eq!(
            Json::Object(done.result),
            json!({"changed": false, "add_group": "os_Red-Hat", "parent_groups": ["all"]})
        );
        let [Effect::GroupBy { group, parents }] = done.effects.as_slice() else { panic!("one effect") };
        assert_eq!((group.as_str(), parents), ("os_Red-Hat", &vec!["all".to_owned()]));
    }
}
