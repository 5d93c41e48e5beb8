//! `reboot`, the host's half: orders the reboot and says which boot this is.
//!
//! Owns: ordering it so that the answer still gets out. Must not: wait for the next boot; the controller does that by
//! comparing boot ids, and it alone looks at the timeouts and the test command.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Repeat, Spec};
use crate::system::run::{find_program, run};
use crate::system::{self, fault, outcome};
use crate::words;

/// The module.
pub struct Reboot;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    #[serde(default)]
    pre_reboot_delay: u64,
    msg: Option<String>,
    reboot_command: Option<String>,
    #[serde(default)]
    search_paths: Vec<String>,
}

const OPTIONS: &[Opt] = &[
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

/// Seconds between the answer and the reboot: enough for a frame to leave the host.
const GRACE: u64 = 1;

/// Runs its arguments after a delay, with nothing of the step left open. The script is constant; all that users say is
/// in its arguments.
const LATER: &str = "{ sleep \"$1\"; shift; exec \"$@\"; } </dev/null >/dev/null 2>&1 &";

impl Module for Reboot {
    const SPEC: Spec = Spec { options: &[OPTIONS], repeat: Repeat::Ask, ..Spec::new("reboot") };
    type Args = Args;
    /// The command that reboots.
    type Change = Vec<String>;

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<Vec<String>>, Fault> {
        let command = command(args)?;
        Ok(Inspection::Differs { change: command, predicted: result() })
    }

    fn apply(args: &Args, command: Vec<String>, host: &Host<'_>) -> Result<Outcome, Fault> {
        let result = result();
        let delay = args.pre_reboot_delay.max(GRACE).to_string();
        // A session of its own survives the end of the connection.
        let mut argv: Vec<String> = find_program("setsid").into_iter().collect();
        argv.extend(["sh", "-c", LATER, "sh", &delay].map(str::to_owned));
        argv.extend(command);
        run(host, &argv)?.or_fault("cannot order the reboot")?;
        Ok(result)
    }
}

fn command(args: &Args) -> Result<Vec<String>, Fault> {
    if let Some(line) = &args.reboot_command {
        let words = words::split(line).map_err(|e| fault(format!("`reboot_command` of `reboot`: {e}")))?;
        return if words.is_empty() {
            Err(fault("`reboot_command` of `reboot` is empty"))
        } else {
            Ok(words)
        };
    }
    let msg = args.msg.as_deref().unwrap_or("Reboot initiated by dcos-play").to_owned();
    let named = args.search_paths.iter().map(|p| format!("{p}/shutdown")).find(|p| find_program(p).is_some());
    if let Some(shutdown) = named.or_else(|| find_program("shutdown")) {
        return Ok(vec![shutdown, "-r".into(), "now".into(), msg]);
    }
    match find_program("reboot") {
        Some(reboot) => Ok(vec![reboot]),
        None => {
            Err(fault("this host has neither `shutdown` nor `reboot`; name a command with `reboot_command`"))
        }
    }
}

fn result() -> Outcome {
    let boot = system::word("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    outcome(true, json!({"rebooted": true, "boot_id": boot}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn the_reboot_comes_after_the_answer() {
        let root = FakeRoot::with(&[("/proc/sys/kernel/random/boot_id", "b-1\n")]);
        root.program("/sbin/shutdown");
        root.program("/usr/bin/setsid");
        let line = format!("/usr/bin/setsid sh -c {LATER} sh 5 /sbin/shutdown -r now kernel");
        let script = Script::of(&[(&line, 0, "")]);
        let arguments: Args = args(json!({"pre_reboot_delay": 5, "msg": "kernel"}));
        let Ok(Inspection::Differs { change, predicted }) = Reboot::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.values["boot_id"], "b-1");
        assert!(Reboot::apply(&arguments, change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn a_command_of_the_users_is_split_into_words() {
        let _root = FakeRoot::with(&[]);
        let found = command(&args(json!({"reboot_command": "systemctl reboot 'now then'"})));
        assert_eq!(found.expect("splits"), ["systemctl", "reboot", "now then"]);
        assert!(command(&args(json!({}))).expect_err("none").msg.contains("neither `shutdown` nor `reboot`"));
    }
}
