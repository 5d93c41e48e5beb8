//! `pause`: waits for a time or for a person.
//!
//! Owns: its words and times. Must not: read the terminal itself.

use std::time::Duration;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::controls::Answer;
use super::results::{Reply, typed};
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] =
    &[Opt::float("minutes"), Opt::float("seconds"), Opt::str("prompt"), Opt::bool("echo")];
static SPEC: Spec =
    Spec { options: &[OPTIONS], mutually_exclusive: &[&["minutes", "seconds"]], ..Spec::new("pause") };

#[derive(Deserialize)]
struct Args {
    minutes: Option<f64>,
    seconds: Option<f64>,
    prompt: Option<String>,
    echo: Option<bool>,
}

pub(super) struct Pause;

impl Action for Pause {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn once_for_all_hosts(&self) -> bool {
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

async fn run(context: &Context<'_>, args: Map<String, Json>) -> Result<Done, Stop> {
    let args: Args = typed(&SPEC, args)?;
    let limit = limit(&args)?;
    let echo = args.echo.unwrap_or(true);
    let (began, start) = (context.clock.now(), context.clock.wall());
    let mut input = String::new();
    let mut warning = None;
    let question = match (&args.prompt, limit) {
        (Some(prompt), _) if echo => format!("{prompt}:"),
        (Some(prompt), _) => format!("{prompt} (output is hidden):"),
        (None, None) => "Press enter to continue:".to_owned(),
        (None, Some(_)) => String::new(),
    };
    match (limit, context.console) {
        (Some(limit), Some(console)) if !question.is_empty() => {
            context.remote.busy(&format!("pausing for {}s", super::results::seconds(limit)));
            // An answer ends the pause early.
            match select(console.ask(&question, echo), context.clock.sleep(limit)).await {
                Either::Left((answer, _)) => input = line(answer)?,
                Either::Right(_) => {}
            }
        }
        (Some(limit), _) => {
            context.remote.busy(&format!("pausing for {}s", super::results::seconds(limit)));
            context.clock.sleep(limit).await;
        }
        (None, Some(console)) => {
            context.remote.busy("waiting for an answer at the terminal");
            input = line(console.ask(&question, echo).await)?;
        }
        (None, None) => warning = Some("Not waiting for response to prompt as stdin is not interactive"),
    }
    let took = context.clock.now().saturating_sub(began);
    let stamp = |zoned: &jiff::Zoned| zoned.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
    let (number, unit) = match args.seconds {
        Some(_) => (took.as_secs_f64(), "seconds"),
        None => (took.as_secs_f64() / 60.0, "minutes"),
    };
    let mut reply = Reply::new(false)
        .with("rc", 0)
        .with("stderr", "")
        .with("stdout", format!("Paused for {:?} {unit}", (number * 100.0).round() / 100.0))
        .with("start", stamp(&start))
        .with("stop", stamp(&context.clock.wall()))
        .with("delta", took.as_secs())
        .with("echo", echo)
        .with("user_input", input);
    if let Some(warning) = warning {
        reply = reply.with("warnings", vec![warning]);
    }
    reply.done()
}

/// How long; below a second Ansible waits a second, and a negative time is none at all.
fn limit(args: &Args) -> Result<Option<Duration>, Stop> {
    let Some(seconds) = args.seconds.or(args.minutes.map(|m| m * 60.0)) else { return Ok(None) };
    Duration::try_from_secs_f64(seconds.max(1.0))
        .map(Some)
        .map_err(|e| Stop::failed(format!("`pause` cannot wait {seconds} seconds: {e}")))
}

fn line(answer: Answer) -> Result<String, Stop> {
    match answer {
        Answer::Line(text) => Ok(text),
        Answer::Abort => Err(Stop::failed("user requested abort!")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn a_time_is_waited_for() {
        let stage = Stage::new();
        let result = stage.result("pause", json!({"seconds": 90.0})).await;
        assert_eq!(stage.elapsed(), Duration::from_secs(90));
        assert_eq!((&result["delta"], &result["stdout"]), (&json!(90), &json!("Paused for 90.0 seconds")));
        assert_eq!(stage.said(), ["pausing for 90s"]);
        let result = stage.result("pause", json!({"minutes": 0.5})).await;
        assert_eq!(result["stdout"], "Paused for 0.5 minutes");
        assert_eq!(result["start"].as_str().map(str::len), Some(26));
    }

    #[tokio::test]
    async fn without_a_terminal_a_prompt_warns_and_goes_on() {
        let result = Stage::new().result("pause", json!({"prompt": "Ready?"})).await;
        assert_eq!(
            result["warnings"],
            json!(["Not waiting for response to prompt as stdin is not interactive"])
        );
        assert_eq!((&result["delta"], &result["user_input"]), (&json!(0), &json!("")));
    }

    #[tokio::test]
    async fn an_answer_is_the_result_and_ends_a_timed_pause() {
        let stage = Stage::new().console(Answer::Line("yes".into()));
        let result =
            stage.result("pause", json!({"prompt": "Ready?", "seconds": 100.0, "echo": false})).await;
        assert_eq!((&result["user_input"], &result["echo"]), (&json!("yes"), &json!(false)));
        assert_eq!(stage.elapsed(), Duration::ZERO);
        assert_eq!(stage.questions(), ["Ready? (output is hidden):"]);
    }

    #[tokio::test]
    async fn an_abort_fails() {
        let stage = Stage::new().console(Answer::Abort);
        assert_eq!(stage.failure("pause", json!({})).await["msg"], "user requested abort!");
        assert_eq!(stage.questions(), ["Press enter to continue:"]);
    }
}
