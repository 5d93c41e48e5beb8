//! `raw`: a shell line without the agent.
//!
//! Owns: its result. Must not: quote or change what the user wrote.

use dcos_play_agent::options::{CheckSupport, Opt, Repeat, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::results::{Reply, add_lines, typed};
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] = &[Opt::str("cmd").aliases(&["_raw_params"]).required(), Opt::str("executable")];
static SPEC: Spec = Spec {
    options: &[OPTIONS],
    free_form: Some("cmd"),
    check: CheckSupport::None,
    repeat: Repeat::Ask,
    ..Spec::new("raw")
};

#[derive(Deserialize)]
struct Args {
    #[serde(rename = "cmd")]
    command: String,
    executable: Option<String>,
}

pub(super) struct Raw;

impl Action for Raw {
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
    if context.check {
        return Reply::skipped("skipped, running in check mode").done();
    }
    let command = match &args.executable {
        Some(shell) => format!("{shell} -c {}", quoted(&args.command)),
        None => args.command,
    };
    let output = context.remote.raw(&command, None).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let mut result = Reply::new(true)
        .with("rc", output.rc)
        .with("stdout", text(&output.stdout))
        .with("stderr", text(&output.stderr))
        .0;
    add_lines(&mut result);
    if output.rc != 0 {
        result.insert("msg".into(), "non-zero return code".into());
        return Err(Stop::Failed(result));
    }
    Ok(Done { result, effects: Vec::new() })
}

/// One word for a POSIX shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn output_and_status_are_reported() {
        let stage = Stage::new().raw_answer(0, "a\r\nb\n").raw_answer(3, "");
        assert_eq!(
            stage.result("raw", json!({"cmd": "uptime"})).await,
            json!({
                "changed": true, "rc": 0, "stdout": "a\nb\n", "stderr": "",
                "stdout_lines": ["a", "b"], "stderr_lines": [],
            })
        );
        let failed = stage.failure("raw", json!({"cmd": "it's", "executable": "/bin/bash"})).await;
        assert_eq!((&failed["rc"], &failed["msg"]), (&json!(3), &json!("non-zero return code")));
        assert_eq!(stage.raw_lines(), ["uptime", r"/bin/bash -c 'it'\''s'"]);
    }

    #[tokio::test]
    async fn check_mode_skips() {
        let stage = Stage::new().check();
        assert_eq!(stage.result("raw", json!({"cmd": "reboot"})).await["skipped"], true);
        assert!(stage.raw_lines().is_empty());
    }
}
