//! `reboot`: restarts the host and waits until it is really another boot and really usable.
//!
//! Owns: when a host counts as back: a new boot id and a test command that works. Must not: know how a host is reached.

use std::time::Duration;

use dcos_play_agent::options::{Opt, Repeat, Spec};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::clock::within;
use super::raw::quoted;
use super::results::{Reply, flag, seconds, typed};
use super::{Action, Context, Done, Stop};
use crate::connection::{Fault, FaultKind};

static OPTIONS: &[Opt] = &[
    Opt::int("pre_reboot_delay").aliases(&["pre_reboot_delay_sec"]),
    Opt::int("post_reboot_delay").aliases(&["post_reboot_delay_sec"]),
    Opt::int("reboot_timeout").aliases(&["reboot_timeout_sec"]),
    Opt::int("connect_timeout").aliases(&["connect_timeout_sec"]),
    Opt::str("test_command"),
    Opt::str("msg"),
    Opt::list("search_paths"),
    Opt::str("boot_time_command"),
    Opt::str("reboot_command"),
];
static SPEC: Spec = Spec { options: &[OPTIONS], repeat: Repeat::Ask, ..Spec::new("reboot") };

const SEARCH: &[&str] = &["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"];
/// Time for the order to reboot.
const ORDER: Duration = Duration::from_secs(30);
/// Between two looks; the first is the shortest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(1));
/// Time for one look: short at first, for a host that is down does not answer at all; then longer, for a host that has
/// just come up is slow.
const ATTEMPTS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));

#[derive(Deserialize)]
struct Args {
    pre_reboot_delay: Option<u64>,
    post_reboot_delay: Option<u64>,
    reboot_timeout: Option<u64>,
    connect_timeout: Option<u64>,
    test_command: Option<String>,
    msg: Option<String>,
    search_paths: Option<Vec<String>>,
    boot_time_command: Option<String>,
    reboot_command: Option<String>,
}

pub(super) struct Reboot;

impl Action for Reboot {
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
    if context.local {
        return Err(Stop::failed("Running reboot with local connection would reboot the control node.")
            .with("changed", false)
            .with("elapsed", 0)
            .with("rebooted", false));
    }
    if context.check {
        return Reply::new(true).with("elapsed", 0).with("rebooted", true).done();
    }
    let look = args.boot_time_command.as_deref();
    let before = identity(context, look).await.map_err(|why| match why {
        Why::Fault(fault) => Stop::Unreachable(fault),
        Why::Said(text) => Stop::failed(format!("cannot tell this boot from the next: {text}")),
    })?;
    let began = context.clock.now();
    context.remote.busy("rebooting");
    start(context, &args).await?;
    if let Some(delay) = args.post_reboot_delay.filter(|d| *d > 0) {
        context.clock.sleep(Duration::from_secs(delay)).await;
    }
    context.remote.busy("waiting for the host to come back");
    let limit = Duration::from_secs(args.reboot_timeout.unwrap_or(600));
    let mut watch = Watch::new(context, limit, args.connect_timeout);
    let after = watch.new_boot(look, &before).await.map_err(|seen| {
        let text = format!(
            "the host did not come back within {}s after the reboot, last seen: {seen}",
            seconds(limit)
        );
        timed_out(context, began, text, seen.is_up())
    })?;
    let took = context.clock.now().saturating_sub(began);
    context.remote.rebooted(&before, &after, took);
    let test = args.test_command.as_deref().unwrap_or("whoami");
    let mut watch = Watch::new(context, limit, args.connect_timeout);
    watch.test(test).await.map_err(|seen| {
        let text = format!(
            "the host came back but `{test}` did not work within {}s, last seen: {seen}",
            seconds(limit)
        );
        timed_out(context, began, text, false).with("rebooted", true)
    })?;
    let took = context.clock.now().saturating_sub(began);
    Reply::new(true).with("elapsed", took.as_secs()).with("rebooted", true).done()
}

fn timed_out(context: &Context<'_>, began: Duration, text: String, still_up: bool) -> Stop {
    let text = if still_up { format!("{text}; was the reboot command effective?") } else { text };
    Stop::failed(text)
        .with("changed", true)
        .with("rebooted", false)
        .with("elapsed", context.clock.now().saturating_sub(began).as_secs())
}

/// Why one look at a host gave nothing.
enum Why {
    Fault(Fault),
    Said(String),
}

/// What names the current boot: the kernel's boot id, or what the user's command says.
async fn identity(context: &Context<'_>, command: Option<&str>) -> Result<String, Why> {
    let Some(command) = command else { return context.remote.boot_id().await.map_err(Why::Fault) };
    let result = shell(context, command).await?;
    Ok(result.get("stdout").and_then(Json::as_str).unwrap_or_default().trim().to_owned())
}

async fn shell(context: &Context<'_>, command: &str) -> Result<Map<String, Json>, Why> {
    let call = argv(command);
    let (result, _) = context.remote.module_always("command", call).await.map_err(Why::Fault)?;
    if flag(&result, "failed") { Err(Why::Said(words(&result))) } else { Ok(result) }
}

/// Arguments of the module `command`; the shell expands variables, nobody else.
fn argv(text: &str) -> Map<String, Json> {
    Map::from_iter([
        ("argv".to_owned(), json!(["/bin/sh", "-c", text])),
        ("expand_argument_vars".to_owned(), json!(false)),
    ])
}

/// Output of a command that did not work.
fn words(result: &Map<String, Json>) -> String {
    let part = |name: &str| result.get(name).and_then(Json::as_str).unwrap_or_default().trim().to_owned();
    let said =
        [part("stdout"), part("stderr")].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ");
    if said.is_empty() { part("msg") } else { said }
}

/// Tells the host to go down.
async fn start(context: &Context<'_>, args: &Args) -> Result<(), Stop> {
    let paths: Vec<String> =
        args.search_paths.clone().unwrap_or_else(|| SEARCH.iter().map(|s| (*s).to_owned()).collect());
    let minutes = args.pre_reboot_delay.unwrap_or(0) / 60;
    let text = match &args.reboot_command {
        Some(command) => command.clone(),
        None => {
            let message = quoted(args.msg.as_deref().unwrap_or("Reboot initiated by Ansible"));
            format!(
                "if command -v shutdown >/dev/null 2>&1; then exec shutdown -r {minutes} {message}; fi\n\
                 if command -v systemctl >/dev/null 2>&1; then exec systemctl reboot; fi\n\
                 exec reboot"
            )
        }
    };
    let line = format!("PATH={}:$PATH; export PATH\n{text}", quoted(&paths.join(":")));
    let order = context.remote.module("command", argv(&line), Vec::new());
    // A host that went down in the middle of its answer may leave a connection that never says anything again.
    let Some(answer) = within(context.clock, ORDER, order).await else { return Ok(()) };
    match answer {
        Ok(result) if flag(&result, "failed") => {
            Err(Stop::failed(format!("Reboot command failed. Error was: '{}'", words(&result)))
                .with("changed", false)
                .with("rebooted", false)
                .with("rc", result.get("rc").cloned().unwrap_or_default()))
        }
        Ok(_) => Ok(()),
        // The host went down faster than it could answer: whether it did is found out by looking.
        Err(fault) if matches!(fault.kind, FaultKind::Lost | FaultKind::LostInStep | FaultKind::TimedOut) => {
            Ok(())
        }
        Err(fault) => Err(fault.into()),
    }
}

/// What the last look at the host showed.
enum Seen {
    NotLooked,
    /// It answers, with the boot id from before.
    SameBoot,
    Unreachable(Fault),
    NoAnswer(Duration),
    Said(String),
}

impl Seen {
    fn is_up(&self) -> bool {
        matches!(self, Self::SameBoot)
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLooked => f.write_str("nothing, there was no time to look"),
            Self::SameBoot => f.write_str("still up with the boot id from before"),
            Self::Unreachable(fault) => write!(f, "unreachable ({}): {}", fault.kind, fault.what),
            Self::NoAnswer(time) => write!(f, "no answer within {}s", seconds(*time)),
            Self::Said(text) => f.write_str(text),
        }
    }
}

/// Looks again and again, until a deadline.
struct Watch<'a> {
    context: &'a Context<'a>,
    until: Duration,
    attempt: Duration,
    pause: Duration,
    seen: Seen,
}

impl<'a> Watch<'a> {
    fn new(context: &'a Context<'a>, limit: Duration, connect_timeout: Option<u64>) -> Self {
        Self {
            context,
            until: context.clock.now() + limit,
            attempt: connect_timeout.map_or(ATTEMPTS.0, |s| Duration::from_secs(s.max(1))),
            pause: PAUSES.0,
            seen: Seen::NotLooked,
        }
    }

    /// Waits for a boot id other than `before`.
    async fn new_boot(&mut self, look: Option<&str>, before: &str) -> Result<String, Seen> {
        let context = self.context;
        loop {
            // The agent knows the boot id from its start, so an old connection would tell the old one for ever.
            context.remote.reset().await;
            match self.once(identity(context, look).boxed()).await {
                Some(id) if id == before => {
                    self.seen = Seen::SameBoot;
                    // It answers at once: looking again soon costs nothing.
                    self.pause = PAUSES.0;
                }
                Some(id) => return Ok(id),
                None => {}
            }
            self.next().await?;
        }
    }

    /// Waits for a command that works.
    async fn test(&mut self, command: &str) -> Result<(), Seen> {
        let context = self.context;
        loop {
            if self.once(shell(context, command).boxed()).await.is_some() {
                return Ok(());
            }
            self.next().await?;
            context.remote.reset().await;
        }
    }

    async fn once<T>(&mut self, look: BoxFuture<'_, Result<T, Why>>) -> Option<T> {
        let left = self.until.saturating_sub(self.context.clock.now());
        let limit = self.attempt.min(left.max(Duration::from_secs(1)));
        match within(self.context.clock, limit, look).await {
            Some(Ok(value)) => return Some(value),
            Some(Err(Why::Fault(fault))) => self.seen = Seen::Unreachable(fault),
            Some(Err(Why::Said(text))) => self.seen = Seen::Said(text),
            None => {
                self.seen = Seen::NoAnswer(limit);
                self.attempt = self.attempt.mul_f64(1.5).min(ATTEMPTS.1.max(self.attempt));
            }
        }
        None
    }

    async fn next(&mut self) -> Result<(), Seen> {
        if self.context.clock.now() + self.pause >= self.until {
            return Err(std::mem::replace(&mut self.seen, Seen::NotLooked));
        }
        // Pacing: the condition is the look itself.
        self.context.clock.sleep(self.pause).await;
        self.pause = self.pause.mul_f64(1.3).min(PAUSES.1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::Stage;

    #[tokio::test]
    async fn waits_for_another_boot_and_a_working_command() {
        let stage = Stage::new()
            .boot("a")
            .always("command", json!({"changed": true, "rc": 0, "stdout": "root"}))
            .boot("a")
            .boot_fault("connection refused")
            .boot_fault("connection refused")
            .boot("b");
        let result = stage.result("reboot", json!({"post_reboot_delay": 5})).await;
        assert_eq!(result, json!({"changed": true, "elapsed": 6, "rebooted": true}));
        assert_eq!(stage.reboots(), [("a".to_owned(), "b".to_owned())]);
        assert_eq!(stage.said(), ["rebooting", "waiting for the host to come back"]);
        let line = stage.calls()[0].args["argv"][2].as_str().expect("text").to_owned();
        assert!(line.starts_with("PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:$PATH"), "{line}");
        assert!(line.contains("shutdown -r 0 'Reboot initiated by Ansible'"), "{line}");
        assert_eq!(stage.resets(), 4);
    }

    #[tokio::test]
    async fn losing_the_connection_while_rebooting_is_fine() {
        let stage = Stage::new()
            .boot("a")
            .unreachable("command", "the connection broke")
            .boot("b")
            .always("command", json!({"rc": 0}));
        let args = json!({"reboot_command": "/sbin/kexec -e", "test_command": "systemctl is-system-running"});
        assert_eq!(stage.result("reboot", args).await["rebooted"], true);
        assert!(stage.calls()[0].args["argv"][2].as_str().is_some_and(|t| t.ends_with("\n/sbin/kexec -e")));
        assert_eq!(stage.calls()[1].args["argv"][2], "systemctl is-system-running");
    }

    #[tokio::test]
    async fn a_refused_command_fails_with_its_words() {
        let answer = json!({"failed": true, "rc": 1, "stdout": "", "stderr": "Must be root.\n", "msg": "non-zero return code"});
        let stage = Stage::new().boot("a").answer("command", answer);
        let failed = stage.failure("reboot", json!({})).await;
        assert_eq!(failed["msg"], "Reboot command failed. Error was: 'Must be root.'");
        assert_eq!(failed["rebooted"], false);
    }

    #[tokio::test]
    async fn a_host_that_stays_away_is_told_with_what_was_last_seen() {
        let stage = Stage::new().boot("a").always("command", json!({"rc": 0})).boot_fault("no route to host");
        let failed = stage.failure("reboot", json!({"reboot_timeout": 30})).await;
        assert_eq!(
            failed["msg"],
            "the host did not come back within 30s after the reboot, last seen: unreachable (refused): no route to host"
        );
        assert_eq!((&failed["rebooted"], &failed["changed"]), (&json!(false), &json!(true)));
        let stage = Stage::new().boot("a").always("command", json!({"rc": 0})).boot("a");
        let failed = stage.failure("reboot", json!({"reboot_timeout": 3})).await;
        assert!(failed["msg"].as_str().is_some_and(|m| m.contains("still up with the boot id from before")));
    }

    #[tokio::test]
    async fn check_mode_predicts_and_this_machine_is_never_rebooted() {
        let stage = Stage::new().check();
        assert_eq!(
            stage.result("reboot", json!({})).await,
            json!({"changed": true, "elapsed": 0, "rebooted": true})
        );
        assert!(stage.calls().is_empty());
        let failed = Stage::new().local().failure("reboot", json!({})).await;
        assert_eq!(failed["msg"], "Running reboot with local connection would reboot the control node.");
    }
}
