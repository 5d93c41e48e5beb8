//! `script`: runs a file of the controller on the host.
//!
//! Owns: how the file gets there. It travels as standard input of one `shell` call, which stores it under a private
//! name, runs it and removes it whatever happens: one message instead of four.
//! Must not: change what the user's arguments mean; the host's shell reads them, as with Ansible.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dcos_play_agent::options::{CheckSupport, Opt, Repeat, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::local_files::{self, Payload};
use super::raw::quoted;
use super::results::{Reply, flag, typed};
use super::{Action, Context, Done, Stop};
use crate::connection::Content;

static OPTIONS: &[Opt] = &[
    Opt::str("cmd").aliases(&["_raw_params"]).required(),
    Opt::path("creates"),
    Opt::path("removes"),
    Opt::path("chdir"),
    Opt::str("executable"),
    Opt::bool("decrypt"),
];
static SPEC: Spec = Spec {
    options: &[OPTIONS],
    free_form: Some("cmd"),
    check: CheckSupport::None,
    repeat: Repeat::Ask,
    ..Spec::new("script")
};

#[derive(Deserialize)]
struct Args {
    cmd: String,
    creates: Option<String>,
    removes: Option<String>,
    chdir: Option<String>,
    executable: Option<String>,
    decrypt: Option<bool>,
}

pub(super) struct Script;

impl Action for Script {
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

async fn run(context: &Context<'_>, args: Map<String, Json>) -> Result<Done, Stop> {
    let args: Args = typed(&SPEC, args)?;
    let text = args.cmd.trim();
    let (file, rest) = first_word(text);
    if file.is_empty() {
        return Err(Stop::failed("`script` needs the name of a file"));
    }
    let path = local_files::find(context, "files", &file)?;
    let payload = Payload::file(context, &path, args.decrypt.unwrap_or(true)).await?;
    let bytes = match payload.content {
        Content::Bytes(bytes) => bytes.to_vec(),
        Content::File(path) => fs_err::read(path)
            .map_err(|e| Stop::failed(format!("cannot read a file on the controller: {e}")))?,
    };
    // The protocol's text is UTF-8: a script that is not (a binary) travels as base64.
    let (input, decode) = match String::from_utf8(bytes) {
        Ok(text) => (text, "cat"),
        Err(bytes) => (STANDARD.encode(bytes.as_bytes()), "base64 -d"),
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut call = Map::new();
    call.insert(
        "cmd".into(),
        shell_text(&name, input.len() / 1024 + 1, decode, args.executable.as_deref(), rest).into(),
    );
    call.insert("stdin".into(), input.into());
    call.insert("stdin_add_newline".into(), false.into());
    call.insert("strip_empty_ends".into(), false.into());
    for (option, value) in [("creates", &args.creates), ("removes", &args.removes), ("chdir", &args.chdir)] {
        if let Some(value) = value {
            call.insert(option.into(), value.clone().into());
        }
    }
    let mut result = context.remote.module("shell", call, Vec::new()).await?;
    // How the script got there is nobody's business.
    result.remove("invocation");
    for own in ["cmd", "start", "end", "delta"] {
        result.remove(own);
    }
    if !flag(&result, "failed") {
        result.remove("msg");
    }
    let ran = !result.get("stdout").and_then(Json::as_str).is_some_and(|s| s.starts_with("skipped, since "));
    if !ran && !flag(&result, "changed") {
        return Reply::skipped(match (&args.creates, &args.removes) {
            (Some(path), _) if result["stdout"] == json!(format!("skipped, since {path} exists")) => {
                format!("{path} exists, matching creates option")
            }
            (_, Some(path)) => format!("{path} does not exist, matching removes option"),
            _ => "skipped".to_owned(),
        })
        .done();
    }
    if flag(&result, "failed") { Err(Stop::Failed(result)) } else { Ok(Done { result, effects: Vec::new() }) }
}

/// Stores standard input in a file that only this user can read, where programs may be executed, and runs it.
/// A folder must have room for `kilobytes`: the input can be read only once.
fn shell_text(name: &str, kilobytes: usize, decode: &str, executable: Option<&str>, rest: &str) -> String {
    let safe: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let safe = if safe.is_empty() { "script".to_owned() } else { safe };
    let run = match executable {
        Some(program) => format!("{program} \"$__script\""),
        None => "\"$__script\"".to_owned(),
    };
    let arguments = if rest.is_empty() { String::new() } else { format!(" {rest}") };
    format!(
        "umask 077\n\
         for __base in \"${{TMPDIR:-/tmp}}\" \"$HOME\" /var/tmp; do\n\
         __folder=$(mktemp -d \"$__base/.dcos-play-XXXXXXXX\" 2>/dev/null) || continue\n\
         trap 'rm -rf \"$__folder\"' EXIT\n\
         trap 'exit 143' HUP INT TERM\n\
         __script=\"$__folder\"/{name}\n\
         dd if=/dev/zero of=\"$__script\" bs=1024 count={kilobytes} 2>/dev/null && chmod 700 \"$__script\" && test -x \"$__script\" && break\n\
         rm -rf \"$__folder\"; __script=\n\
         done\n\
         test -n \"$__script\" || {{ echo 'no folder in which a program may be executed' >&2; exit 126; }}\n\
         {decode} > \"$__script\" || exit 126\n\
         umask 022\n\
         {run}{arguments} < /dev/null\n",
        name = quoted(&safe),
    )
}

/// The file's name, without quotes, and the arguments as they are.
fn first_word(text: &str) -> (String, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote)
            && let Some((word, rest)) = inner.split_once(quote)
        {
            return (word.to_owned(), rest.trim_start());
        }
    }
    // A template in the name may have brought blanks; a file of the whole text's name wins.
    if Path::new(text).is_file() {
        return (text.to_owned(), "");
    }
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word.to_owned(), rest.trim_start()),
        None => (text.to_owned(), ""),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::actions::testing::Stage;

    /// Runs the shell text here as the agent would.
    fn really(call: &Map<String, Json>) -> (String, i32) {
        let text = call["cmd"].as_str().expect("text");
        let mut child = Command::new("/bin/sh")
            .args(["-c", text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let input = call["stdin"].as_str().expect("text");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("ends");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().unwrap_or(-1))
    }

    #[tokio::test]
    async fn the_file_runs_with_its_arguments_and_leaves_nothing() {
        let stage = Stage::new().answer("shell", json!({"changed": true, "rc": 0, "cmd": "long"}));
        stage.file("files/hello.sh", "#!/bin/sh\necho \"$1|$2|$0\"\nexit 7\n");
        let result = stage.result("script", json!({"cmd": "hello.sh 'a b' $((1+1))"})).await;
        assert_eq!(result, json!({"changed": true, "rc": 0}));
        let (stdout, rc) = really(&stage.calls()[0].args);
        let (head, path) = stdout.trim_end().rsplit_once('|').expect("three parts");
        assert_eq!((head, rc), ("a b|2", 7));
        assert!(path.ends_with("/hello.sh") && !Path::new(path).exists(), "{path}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_text_arrives_whole_and_executable_is_obeyed() {
        let stage = Stage::new().answer("shell", json!({"changed": true}));
        stage.bytes("files/blob", b"\xff\xfe\x00");
        stage.result("script", json!({"cmd": "blob", "executable": "od -An -tx1"})).await;
        let (stdout, _) = really(&stage.calls()[0].args);
        assert_eq!(stdout.trim(), "ff fe 00");
    }

    #[tokio::test]
    async fn creates_and_removes_skip_with_ansibles_words() {
        let stage = Stage::new()
            .answer("shell", json!({"changed": false, "stdout": "skipped, since /x exists", "rc": 0}))
            .answer(
                "shell",
                json!({"changed": false, "stdout": "skipped, since /y does not exist", "rc": 0}),
            );
        stage.file("files/s", "");
        let result = stage.result("script", json!({"cmd": "s", "creates": "/x"})).await;
        assert_eq!(
            result,
            json!({"changed": false, "skipped": true, "msg": "/x exists, matching creates option"})
        );
        let result = stage.result("script", json!({"cmd": "s", "removes": "/y"})).await;
        assert_eq!(result["msg"], "/y does not exist, matching removes option");
    }

    #[tokio::test]
    async fn a_status_other_than_zero_fails() {
        let answer = json!({"failed": true, "changed": true, "rc": 2, "msg": "non-zero return code"});
        let stage = Stage::new().answer("shell", answer);
        stage.file("files/s", "exit 2");
        assert_eq!(stage.failure("script", json!({"cmd": "s"})).await["rc"], 2);
    }
}
