//! `unarchive`: an archive of the controller, of the host or of the web, unpacked on the host.
//!
//! Owns: bringing a local archive there. Must not: unpack; the agent does.

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::copy::FILE_OPTIONS;
use super::local_files::{self, Payload};
use super::results::{Reply, checked, flag, typed};
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] = &[
    Opt::str("src").required(),
    Opt::path("dest").required(),
    Opt::bool("remote_src"),
    Opt::bool("copy"),
    Opt::path("creates"),
    Opt::bool("list_files"),
    Opt::list("exclude"),
    Opt::list("include"),
    Opt::bool("keep_newer"),
    Opt::list("extra_opts"),
    Opt::bool("validate_certs"),
    Opt::bool("decrypt"),
    Opt::list("io_buffer_size").ignored("the buffer's size changes nothing"),
];
static SPEC: Spec = Spec {
    options: &[OPTIONS, FILE_OPTIONS],
    mutually_exclusive: &[&["include", "exclude"], &["copy", "remote_src"]],
    ..Spec::new("unarchive")
};

#[derive(Deserialize)]
struct Args {
    src: String,
    #[serde(default)]
    remote_src: bool,
    copy: Option<bool>,
    creates: Option<String>,
    decrypt: Option<bool>,
}

pub(super) struct Unarchive;

impl Action for Unarchive {
    fn spec(&self) -> &'static Spec {
        &SPEC
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
    let own: Args = typed(&SPEC, args.clone())?;
    for name in ["copy", "decrypt", "io_buffer_size", "remote_src"] {
        args.remove(name);
    }
    let on_host = own.remote_src || own.copy == Some(false) || own.src.contains("://");
    if on_host {
        args.insert("remote_src".into(), true.into());
        let result = context.remote.module("unarchive", args, Vec::new()).await?;
        return Ok(Done { result: checked(result)?, effects: Vec::new() });
    }
    if let Some(path) = &own.creates {
        // Asked before the upload: an archive may be large.
        let question = Map::from_iter([("path".to_owned(), Json::from(path.as_str()))]);
        let (answer, _) = context.remote.module_always("stat", question).await?;
        let answer = checked(answer)?;
        if answer.get("stat").and_then(Json::as_object).is_some_and(|s| flag(s, "exists")) {
            return Reply::skipped(format!("skipped, since {path} exists")).done();
        }
    }
    let path = local_files::find(context, "files", &own.src)?;
    if path.is_dir() {
        return Err(Stop::failed(format!("`{}` is a folder, not an archive", path.display())));
    }
    let payload = Payload::file(context, &path, own.decrypt.unwrap_or(true)).await?;
    args.remove("src");
    let result = context.remote.module("unarchive", args, vec![("src".to_owned(), payload.content)]).await?;
    let mut result = checked(result)?;
    result.insert("src".into(), path.display().to_string().into());
    Ok(Done { result, effects: Vec::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn a_local_archive_is_uploaded_unless_creates_is_there() {
        let stage = Stage::new()
            .answer("stat", json!({"stat": {"exists": false}}))
            .answer("stat", json!({"stat": {"exists": true}}))
            .answer("unarchive", json!({"changed": true, "handler": "TgzArchive"}));
        let path = stage.file("files/a.tgz", "bytes");
        let args = json!({"src": "a.tgz", "dest": "/opt", "creates": "/opt/a"});
        let result = stage.result("unarchive", args.clone()).await;
        assert_eq!((&result["changed"], &result["src"]), (&json!(true), &json!(path)));
        assert_eq!(stage.calls()[1].upload("src"), "bytes");
        assert_eq!(Json::Object(stage.calls()[1].args.clone()), json!({"dest": "/opt", "creates": "/opt/a"}));
        let skipped = stage.result("unarchive", args).await;
        assert_eq!(skipped["msg"], "skipped, since /opt/a exists");
        assert_eq!(stage.calls().len(), 3);
    }

    #[tokio::test]
    async fn archives_of_the_host_and_the_web_stay_there() {
        let stage = Stage::new().always("unarchive", json!({"changed": false}));
        for args in [
            json!({"src": "/tmp/a.tgz", "dest": "/opt", "remote_src": true}),
            json!({"src": "https://example.com/a.tgz", "dest": "/opt"}),
            json!({"src": "/tmp/a.tgz", "dest": "/opt", "copy": false}),
        ] {
            stage.result("unarchive", args).await;
        }
        assert!(stage.calls().iter().all(|c| c.uploads.is_empty() && c.args["remote_src"] == true));
    }
}
