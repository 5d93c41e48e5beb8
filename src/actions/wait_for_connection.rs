//! `wait_for_connection`: goes on when the host can be used.
//!
//! Owns: how often and how long it is tried. Must not: know how a host is reached.

use std::time::Duration;

use dcos_play_agent::options::{Opt, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::clock::within;
use super::results::{Reply, flag, seconds, typed};
use super::{Action, Context, Done, Stop};

static OPTIONS: &[Opt] =
    &[Opt::int("connect_timeout"), Opt::int("delay"), Opt::int("sleep"), Opt::int("timeout")];
static SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("wait_for_connection") };

/// Bringing the agent to a slow host takes longer than connecting: later attempts get more time, up to this.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Args {
    connect_timeout: Option<u64>,
    delay: Option<u64>,
    sleep: Option<u64>,
    timeout: Option<u64>,
}

pub(super) struct WaitForConnection;

impl Action for WaitForConnection {
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
    let time = |given: Option<u64>, default| Duration::from_secs(given.unwrap_or(default));
    let limit = time(args.timeout, 600);
    let pause = time(args.sleep, 1);
    let mut attempt = time(args.connect_timeout, 5).max(Duration::from_secs(1));
    let clock = context.clock;
    let began = clock.now();
    let delay = time(args.delay, 0);
    if !delay.is_zero() {
        clock.sleep(delay).await;
    }
    context.remote.busy("waiting for the connection");
    loop {
        // A master connection from before may be dead without knowing it.
        context.remote.reset().await;
        let left = limit.saturating_sub(clock.now().saturating_sub(began));
        let tried = within(clock, attempt.min(left.max(Duration::from_secs(1))), ping(context)).await;
        let elapsed = clock.now().saturating_sub(began);
        let seen = match tried {
            Some(Ok(())) => return Reply::new(false).with("elapsed", elapsed.as_secs()).done(),
            Some(Err(seen)) => seen,
            None => format!("no answer within {}s", seconds(attempt.min(left))),
        };
        if elapsed + pause >= limit {
            return Err(Stop::failed(format!("timed out waiting for ping module test: {seen}"))
                .with("elapsed", elapsed.as_secs()));
        }
        attempt = attempt.mul_f64(1.5).min(LONGEST_ATTEMPT);
        // Pacing: the condition is the attempt above.
        clock.sleep(pause).await;
    }
}

fn ping<'a>(context: &'a Context<'a>) -> BoxFuture<'a, Result<(), String>> {
    async move {
        match context.remote.module_always("ping", Map::new()).await {
            Ok((result, _)) if flag(&result, "failed") => {
                Err(result.get("msg").and_then(Json::as_str).unwrap_or("`ping` failed").to_owned())
            }
            Ok(_) => Ok(()),
            Err(fault) => Err(fault.what),
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn tries_until_the_host_answers() {
        let stage = Stage::new()
            .unreachable("ping", "refused")
            .unreachable("ping", "refused")
            .answer("ping", json!({"ping": "pong"}));
        let result = stage.result("wait_for_connection", json!({"delay": 10, "sleep": 2})).await;
        assert_eq!(result, json!({"changed": false, "elapsed": 14}));
        assert_eq!(stage.resets(), 3);
    }

    #[tokio::test]
    async fn the_last_reason_is_told_at_the_end() {
        let stage = Stage::new().always_unreachable("ping", "connection refused");
        let failed = stage.failure("wait_for_connection", json!({"timeout": 5})).await;
        assert_eq!(failed["msg"], "timed out waiting for ping module test: connection refused");
        assert_eq!(failed["elapsed"], 4);
    }

    #[tokio::test]
    async fn a_host_that_hangs_does_not_hang_the_run() {
        let stage = Stage::new().always_hanging("ping");
        let failed = stage.failure("wait_for_connection", json!({"timeout": 20, "connect_timeout": 3})).await;
        assert!(failed["msg"].as_str().is_some_and(|m| m.contains("no answer within")), "{failed}");
    }

    #[tokio::test]
    async fn check_mode_skips() {
        let result = Stage::new().check().result("wait_for_connection", json!({})).await;
        assert_eq!(result["skipped"], true);
    }
}
