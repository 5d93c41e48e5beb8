//! `assemble`: one file from the fragments in a folder.
//!
//! Owns: the fragments of the controller. Must not: assemble on the host; the agent does.

use std::path::Path;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::copy::FILE_OPTIONS;
use super::local_files::{self, Payload};
use super::results::{checked, typed};
use super::transfer::{self, Sending};
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] = &[
    Opt::str("src").required(),
    Opt::path("dest").required(),
    Opt::str("delimiter"),
    Opt::str("regexp"),
    Opt::bool("remote_src"),
    Opt::bool("ignore_hidden"),
    Opt::bool("decrypt"),
];
static SPEC: Spec = Spec { options: &[OPTIONS, FILE_OPTIONS], ..Spec::new("assemble") };

#[derive(Deserialize)]
struct Args {
    src: String,
    delimiter: Option<String>,
    regexp: Option<String>,
    remote_src: Option<bool>,
    #[serde(default)]
    ignore_hidden: bool,
    decrypt: Option<bool>,
}

pub(super) struct Assemble;

impl Action for Assemble {
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
    args.remove("decrypt");
    if own.remote_src.unwrap_or(true) {
        let result = context.remote.module("assemble", args, Vec::new()).await?;
        return Ok(Done { result: checked(result)?, effects: Vec::new() });
    }
    let folder = local_files::find(context, "files", &own.src)?;
    if !folder.is_dir() {
        return Err(Stop::failed(format!("Source ({}) is not a directory", folder.display())));
    }
    let bytes = assembled(context, &own, &folder)?;
    for name in ["delimiter", "regexp", "remote_src", "ignore_hidden"] {
        args.remove(name);
    }
    let sending = Sending {
        payload: Payload::bytes(bytes),
        basename: None,
        shown_source: folder.display().to_string(),
    };
    transfer::send(context, args, &sending).await
}

fn assembled(context: &Context<'_>, own: &Args, folder: &Path) -> Result<Vec<u8>, Stop> {
    let pattern = own
        .regexp
        .as_deref()
        .map(Regex::new)
        .transpose()
        .map_err(|e| Stop::failed(format!("invalid regexp in `regexp`: {e}")))?;
    let unreadable =
        |e: std::io::Error| Stop::failed(format!("cannot read a fragment on the controller: {e}"));
    let mut names = fs_err::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    names.sort();
    // In YAML's single quotes `\n` stays two characters; Ansible turns them into a line end here.
    let delimiter = own.delimiter.as_ref().map(|d| d.replace("\\n", "\n").replace("\\t", "\t"));
    let mut out: Vec<u8> = Vec::new();
    let mut first = true;
    for name in names {
        let path = folder.join(&name);
        let wanted = pattern.as_ref().is_none_or(|p| p.is_match(&name))
            && !(own.ignore_hidden && name.starts_with('.'));
        if !wanted || !path.is_file() {
            continue;
        }
        let mut bytes = fs_err::read(&path).map_err(unreadable)?;
        if own.decrypt.unwrap_or(true) {
            bytes = local_files::opened(&path, bytes, context.vault.as_ref())?;
        }
        if !first {
            // Fragments never run into each other.
            if out.last().is_some_and(|b| *b != b'\n') {
                out.push(b'\n');
            }
            if let Some(delimiter) = &delimiter {
                out.extend_from_slice(delimiter.as_bytes());
                if !delimiter.ends_with('\n') {
                    out.push(b'\n');
                }
            }
        }
        first = false;
        out.extend_from_slice(&bytes);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn fragments_are_joined_in_order_of_their_names() {
        let stage = Stage::new().always("copy", json!({"changed": true}));
        stage.file("files/d/20-b.conf", "b");
        stage.file("files/d/10-a.conf", "a");
        stage.file("files/d/.hidden.conf", "h\n");
        stage.file("files/d/note.txt", "n");
        let args = json!({
            "src": "d", "dest": "/x", "remote_src": false, "regexp": "conf$", "ignore_hidden": true, "delimiter": "--",
        });
        stage.result("assemble", args).await;
        assert_eq!(stage.calls()[0].upload("src"), "a\n--\nb");
    }

    #[tokio::test]
    async fn the_host_assembles_by_default() {
        let stage = Stage::new().answer("assemble", json!({"changed": false}));
        stage.result("assemble", json!({"src": "/d", "dest": "/x"})).await;
        assert_eq!(stage.calls()[0].module, "assemble");
    }
}
