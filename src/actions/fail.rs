//! `fail`: ends the step with a message.
//!
//! Owns: its words. Must not: do anything else.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::results::Reply;
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] = &[Opt::raw("msg")];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("fail") };

pub(super) struct Fail;

impl Action for Fail {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn acts_remotely(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        _: &'a Context<'a>,
        mut args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        async move {
            let msg = args.remove("msg").unwrap_or_else(|| "Failed as requested from task".into());
            Err(Stop::Failed(Reply::new(false).with("msg", msg).0))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn fails_with_the_message_or_with_the_usual_words() {
        let stage = Stage::new();
        assert_eq!(stage.failure("fail", json!({"msg": "no disk"})).await["msg"], "no disk");
        assert_eq!(stage.failure("fail", json!({})).await["msg"], "Failed as requested from task");
    }
}
