//! `uri`: the body that lies in a file of the controller.
//!
//! Owns: bringing that file to the host. Must not: speak HTTP; the agent does, and its options are the options.

use dcos_play_agent::modules;
use dcos_play_agent::options::{CheckSupport, Repeat, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::local_files::{self, Payload};
use super::results::checked;
use super::{Action, Context, Done, Stop};

/// For an agent without the module: it then refuses the step itself.
static WITHOUT: Spec =
    Spec { any_options: true, check: CheckSupport::None, repeat: Repeat::Ask, ..Spec::new("uri") };

pub(super) struct Uri;

impl Action for Uri {
    fn spec(&self) -> &'static Spec {
        modules::find("uri").unwrap_or(&WITHOUT)
    }

    fn run<'a>(
        &'a self,
        context: &'a Context<'a>,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<Done, Stop>> {
        run(context, args).boxed()
    }
}

async fn run(context: &Context<'_>, mut args: Map<String, Json>) -> Result<Done, Stop> {
    let on_host = args.remove("remote_src").and_then(|v| v.as_bool()).unwrap_or(false);
    let mut uploads = Vec::new();
    if !on_host && let Some(Json::String(src)) = args.get("src") {
        let path = local_files::find(context, "files", src)?;
        uploads.push(("src".to_owned(), Payload::file(context, &path, true).await?.content));
        args.remove("src");
    }
    let result = context.remote.module("uri", args, uploads).await?;
    Ok(Done { result: checked(result)?, effects: Vec::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn a_local_body_is_sent_along_and_one_on_the_host_is_not() {
        let stage = Stage::new().always("uri", json!({"changed": false, "status": 200}));
        stage.file("files/body.json", "{}");
        stage.result("uri", json!({"url": "http://x/", "src": "body.json"})).await;
        stage.result("uri", json!({"url": "http://x/", "src": "/b", "remote_src": true})).await;
        assert_eq!(stage.calls()[0].upload("src"), "{}");
        assert_eq!((&stage.calls()[1].args["src"], stage.calls()[1].uploads.len()), (&json!("/b"), 0));
    }
}
