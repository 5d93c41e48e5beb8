//! `copy`: puts a file, a folder or text on the host.
//!
//! Owns: which of the three it is. Must not: compare with the host; the agent's `copy` does.

use std::path::Path;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::local_files::{self, Payload};
use super::results::{checked, typed};
use super::transfer::{self, Sending};
use super::{Action, Context, Done, Stop, copy_tree};

/// Options of the written file, shared by all actions that end in the agent's `copy`.
pub(super) static FILE_OPTIONS: &[Opt] = &[
    Opt::bool("backup"),
    Opt::bool("force").aliases(&["thirsty"]),
    Opt::bool("follow"),
    Opt::str("validate"),
    Opt::mode("mode"),
    Opt::str("owner"),
    Opt::str("group"),
    Opt::str("attributes").aliases(&["attr"]),
    Opt::str("selevel"),
    Opt::str("serole"),
    Opt::str("setype"),
    Opt::str("seuser"),
    Opt::bool("unsafe_writes"),
];

static OPTIONS: &[Opt] = &[
    Opt::str("src"),
    Opt::raw("content"),
    Opt::path("dest").required(),
    Opt::bool("remote_src"),
    Opt::bool("decrypt"),
    Opt::bool("local_follow"),
    Opt::mode("directory_mode"),
    Opt::str("checksum"),
];
static SPEC: Spec = Spec { options: &[OPTIONS, FILE_OPTIONS], ..Spec::new("copy") };

#[derive(Deserialize)]
struct Args {
    src: Option<String>,
    content: Option<Json>,
    dest: String,
    #[serde(default)]
    remote_src: bool,
    decrypt: Option<bool>,
    local_follow: Option<bool>,
    checksum: Option<String>,
    mode: Option<String>,
}

pub(super) struct Copy;

impl Action for Copy {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn acts_remotely(&self) -> bool {
        true
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
    let written = match (own.src, own.content) {
        (Some(_), Some(_)) => return Err(Stop::failed("src and content are mutually exclusive")),
        (None, None) => return Err(Stop::failed("src (or content) is required")),
        (None, Some(content)) => {
            if own.dest.ends_with('/') {
                return Err(Stop::failed("can not use content with a dir as dest"));
            }
            let sending = Sending {
                payload: Payload::bytes(as_bytes(&content)?),
                basename: None,
                shown_source: "dynamically generated".to_owned(),
            };
            return text(context, args, &sending).await;
        }
        (Some(src), None) => src,
    };
    if own.remote_src {
        for name in ["decrypt", "local_follow"] {
            args.remove(name);
        }
        let result = context.remote.module("copy", args, Vec::new()).await?;
        return Ok(Done { result: checked(result)?, effects: Vec::new() });
    }
    if written.is_empty() {
        return Err(Stop::failed("src (or content) is required"));
    }
    let path = local_files::find(context, "files", &written)?;
    let decrypt = own.decrypt.unwrap_or(true);
    if path.is_dir() {
        let follow = own.local_follow.unwrap_or(true);
        let tree = copy_tree::Tree { root: path, contents_only: written.ends_with('/'), follow, decrypt };
        return tree.send(context, args, &own.dest, own.mode.as_deref()).boxed().await;
    }
    if own.mode.as_deref() == Some("preserve") {
        args.insert("mode".into(), local_files::mode_of(&path)?.into());
    }
    let payload = Payload::file(context, &path, decrypt).await?;
    if let Some(wanted) = &own.checksum
        && *wanted != payload.checksum
    {
        return Err(Stop::failed(format!(
            "`{}` has the checksum {}, not {wanted}",
            path.display(),
            payload.checksum
        ))
        .with("checksum", payload.checksum)
        .with("expected_checksum", wanted.clone()));
    }
    let basename = Path::new(&written).file_name().map(|n| n.to_string_lossy().into_owned());
    let sending = Sending { payload, basename, shown_source: path.display().to_string() };
    transfer::send(context, args, &sending).await
}

async fn text(context: &Context<'_>, args: Map<String, Json>, sending: &Sending) -> Result<Done, Stop> {
    let mut done = transfer::send(context, args, sending).await?;
    // There is no source that a later task could use.
    done.result.remove("src");
    Ok(done)
}

/// `content`: text as it is, structures as JSON.
fn as_bytes(content: &Json) -> Result<Vec<u8>, Stop> {
    Ok(match content {
        Json::String(text) => text.clone().into_bytes(),
        Json::Bool(true) => b"True".to_vec(),
        Json::Bool(false) => b"False".to_vec(),
        Json::Array(_) | Json::Object(_) => python_json(content).into_bytes(),
        other => other.to_string().into_bytes(),
    })
}

/// JSON with a blank after `:` and `,` and no letter beyond ASCII, as Python writes it: the same bytes that Ansible
/// puts there, so that a host changed by Ansible is not changed again.
fn python_json(value: &Json) -> String {
    let text = |text: &str| {
        let quoted = Json::from(text).to_string();
        quoted.chars().fold(String::with_capacity(quoted.len()), |mut out, c| {
            if c.is_ascii() {
                out.push(c);
            } else {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            out
        })
    };
    match value {
        Json::String(s) => text(s),
        Json::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(k, v)| format!("{}: {}", text(k), python_json(v))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn content_goes_as_text_and_structures_as_json() {
        let stage = Stage::new().always("copy", json!({"changed": true, "dest": "/x"}));
        let result = stage.result("copy", json!({"content": {"a": [1, "\u{e9}"]}, "dest": "/x"})).await;
        assert_eq!(stage.calls()[0].upload("src"), r#"{"a": [1, "\u00e9"]}"#);
        assert_eq!(result.get("src"), None);
        stage.result("copy", json!({"content": "", "dest": "/x"})).await;
        assert_eq!(stage.calls()[1].upload("src"), "");
    }

    #[tokio::test]
    async fn wrong_arguments_have_ansibles_words() {
        let stage = Stage::new();
        for (args, msg) in [
            (json!({"dest": "/x"}), "src (or content) is required"),
            (json!({"dest": "/x", "src": "a", "content": "b"}), "src and content are mutually exclusive"),
            (json!({"dest": "/x/", "content": "b"}), "can not use content with a dir as dest"),
        ] {
            assert_eq!(stage.failure("copy", args).await["msg"], msg);
        }
    }

    #[tokio::test]
    async fn a_source_on_the_host_is_the_agents_business() {
        let stage = Stage::new().answer("copy", json!({"changed": false}));
        stage.result("copy", json!({"src": "/a", "dest": "/b", "remote_src": true, "decrypt": false})).await;
        assert_eq!(
            Json::Object(stage.calls()[0].args.clone()),
            json!({"src": "/a", "dest": "/b", "remote_src": true})
        );
        assert!(stage.calls()[0].uploads.is_empty());
    }

    #[tokio::test]
    async fn preserve_takes_the_local_mode_and_a_wrong_checksum_stops() {
        let stage = Stage::new().answer("copy", json!({"changed": true}));
        let path = stage.file("files/run.sh", "#!/bin/sh\n");
        stage.mode(&path, 0o750);
        stage.result("copy", json!({"src": "run.sh", "dest": "/opt/", "mode": "preserve"})).await;
        assert_eq!(stage.calls()[0].args["mode"], "0750");
        assert_eq!(stage.calls()[0].args["_original_basename"], "run.sh");
        let failed = stage.failure("copy", json!({"src": "run.sh", "dest": "/x", "checksum": "00"})).await;
        assert_eq!(failed["expected_checksum"], "00");
        assert_eq!(stage.calls().len(), 1);
    }

    #[tokio::test]
    async fn a_failure_on_the_host_is_the_tasks_failure() {
        let stage = Stage::new().answer("copy", json!({"failed": true, "msg": "no space left on `/x`"}));
        assert_eq!(
            stage.failure("copy", json!({"content": "a", "dest": "/x"})).await["msg"],
            "no space left on `/x`"
        );
    }

    #[tokio::test]
    async fn the_diff_gets_the_new_text_and_the_sources_name() {
        let before = json!({"changed": true, "diff": [{"before": "a\n", "before_header": "/x"}]});
        let stage = Stage::new().check().diff().answer("copy", before.clone()).answer("copy", before);
        let result = stage.result("copy", json!({"content": "b\n", "dest": "/x"})).await;
        assert_eq!(
            result["diff"],
            json!([{"before": "a\n", "before_header": "/x", "after": "b\n", "after_header": "dynamically generated"}])
        );
        let result = stage.result("copy", json!({"content": "b\u{0}", "dest": "/x"})).await;
        assert_eq!(result["diff"][0]["src_binary"], 1);
    }

    #[tokio::test]
    async fn vault_files_arrive_in_clear_unless_told_otherwise() {
        let stage = Stage::new()
            .vault("secret")
            .answer("copy", json!({"changed": true}))
            .answer("copy", json!({"changed": true}));
        stage.file("files/key", "$ANSIBLE_VAULT;1.1;AES256\n3030\n");
        stage.result("copy", json!({"src": "key", "dest": "/x"})).await;
        stage.result("copy", json!({"src": "key", "dest": "/x", "decrypt": false})).await;
        assert_eq!(stage.calls()[0].upload("src"), "secret");
        assert!(stage.calls()[1].upload("src").starts_with("$ANSIBLE_VAULT"));
    }
}
