//! `sysvinit`: services by their init scripts, whatever else the host runs.
//!
//! Owns: runlevels, states and results of init scripts. Must not: ask systemd or OpenRC (`service` does).

use serde::Deserialize;
use serde_json::json;

use super::service::{pause, process_matches};
use super::systemd::State;
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{Answer, find_program, run};
use crate::system::{self, fault, outcome};
use crate::words;

/// Starts the words after it in a session of their own, with files instead of pipes: a daemon that keeps its output open
/// neither holds the step up nor dies with it.
const DETACHED: &str = r#"d=$(mktemp -d) || exit 125
setsid "$@" </dev/null >"$d/out" 2>"$d/err" &
wait $!; s=$?
cat "$d/out"; cat "$d/err" >&2
rm -rf "$d"; exit $s"#;

/// The module.
pub struct Sysvinit;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    state: Option<State>,
    enabled: Option<bool>,
    #[serde(default = "one")]
    sleep: u64,
    pattern: Option<String>,
    arguments: Option<String>,
    runlevels: Option<Vec<String>>,
    #[serde(default)]
    daemonize: bool,
}

const fn one() -> u64 {
    1
}

/// What must be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    enable: Option<bool>,
    actions: &'static [&'static str],
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").aliases(&["service"]).required(),
    Opt::str("state").choices(&["started", "stopped", "restarted", "reloaded"]),
    Opt::bool("enabled"),
    Opt::int("sleep"),
    Opt::str("pattern"),
    Opt::str("arguments").aliases(&["args"]),
    Opt::list("runlevels"),
    Opt::bool("daemonize"),
];

impl Module for Sysvinit {
    const SPEC: Spec =
        Spec { options: &[OPTIONS], required_one_of: &[&["state", "enabled"]], ..Spec::new("sysvinit") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        if !system::exists(script(args)) {
            return Err(fault(format!("could not find the requested service `{}` on this host", args.name)));
        }
        if args.runlevels.is_some() && args.enabled.is_none() {
            // Ansible takes it for `enabled: false`, which nobody meant who only wrote `state`.
            return Err(fault("`runlevels` of `sysvinit` needs `enabled`, which says what holds in them"));
        }
        let enable = args.enabled.filter(|wanted| match levels(args) {
            [] => enabled(&args.name, "?") != *wanted,
            levels => levels.iter().any(|level| enabled(&args.name, level) != *wanted),
        });
        let actions: &[&str] = match args.state {
            None => &[],
            Some(State::Restarted) => &["stop", "start"],
            Some(State::Reloaded) => &["reload"],
            Some(State::Started) if running(args, host)? => &[],
            Some(State::Started) => &["start"],
            Some(State::Stopped) if running(args, host)? => &["stop"],
            Some(State::Stopped) => &[],
        };
        let change = Change { enable, actions };
        let predicted = result(args, &change, None, None);
        Ok(if predicted.changed {
            Inspection::Differs { change, predicted }
        } else {
            Inspection::Same(predicted)
        })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let enabling = change.enable.map(|on| set_enabled(on, args, host)).transpose()?;
        let mut acting = None;
        for action in change.actions {
            if acting.is_some() {
                pause(args.sleep, host);
            }
            acting = Some(act(action, args, host)?);
        }
        Ok(result(args, &change, enabling.as_ref(), acting.as_ref()))
    }
}

fn levels(args: &Args) -> &[String] {
    args.runlevels.as_deref().unwrap_or_default()
}

fn script(args: &Args) -> String {
    if args.name.starts_with('/') { args.name.clone() } else { format!("/etc/init.d/{}", args.name) }
}

/// The folder of the folders `rcN.d`.
fn links_folder() -> &'static str {
    if system::exists("/etc/rc0.d") { "/etc" } else { "/etc/init.d" }
}

/// Whether a runlevel, or with `?` any, starts the service.
fn enabled(name: &str, level: &str) -> bool {
    let parent = links_folder();
    let one = |level: &str| {
        system::names(format!("{parent}/rc{level}.d")).iter().any(|link| {
            link.strip_prefix('S').is_some_and(|link| {
                let mut rest = link.chars();
                rest.nth(1).is_some() && rest.as_str() == name
            })
        })
    };
    if level != "?" {
        return one(level);
    }
    system::names(parent)
        .iter()
        .filter_map(|folder| folder.strip_prefix("rc")?.strip_suffix(".d"))
        .any(|level| level.chars().count() == 1 && one(level))
}

/// Scripts answer `status` in many ways: words first, for they are more reliable than the exit status.
fn running(args: &Args, host: &Host<'_>) -> Result<bool, Fault> {
    if let Some(pattern) = &args.pattern {
        return Ok(process_matches(pattern));
    }
    let answer = match find_program("service") {
        Some(service) => run(host, &[service.as_str(), &args.name, "status"])?,
        None => run(host, &[script(args).as_str(), "status"])?,
    };
    if args.name == "iptables" && answer.out.contains("ACCEPT") {
        return Ok(true);
    }
    if answer.out.matches('\n').count() <= 1 {
        let words = answer.out.to_lowercase().replace(&args.name.to_lowercase(), "");
        let says = |any: &[&str]| any.iter().any(|word| words.contains(word));
        if says(&["stop", "is dead ", "dead but ", "could not access pid file", "inactive"]) {
            return Ok(false);
        }
        if says(&["run", "start", "active"]) && !words.contains("not ") {
            return Ok(true);
        }
    }
    Ok(match answer.rc {
        0 => true,
        1..=4 | 69 => false,
        _ => process_matches(&args.name),
    })
}

fn set_enabled(on: bool, args: &Args, host: &Host<'_>) -> Result<Answer, Fault> {
    let name = args.name.as_str();
    let levels = levels(args);
    let doing = format!("unable to {} service `{name}`", if on { "enable" } else { "disable" });
    let mut argv: Vec<String> = Vec::new();
    if let Some(tool) = find_program("update-rc.d") {
        // It switches links on and off, and refuses where there are none; `defaults` makes them and leaves those alone that
        // are there.
        let links = match (on, levels) {
            (true, []) => Some("defaults"),
            _ if !linked(name) => Some("defaults-disabled"),
            _ => None,
        };
        if let Some(links) = links {
            run(host, &[tool.as_str(), name, links])?.or_fault(&doing)?;
        }
        argv.extend([tool, name.to_owned(), if on { "enable" } else { "disable" }.to_owned()]);
        argv.extend_from_slice(levels);
    } else if let Some(tool) = find_program("chkconfig") {
        argv.push(tool);
        if !levels.is_empty() {
            argv.extend(["--level".to_owned(), levels.concat()]);
        }
        argv.extend([name.to_owned(), if on { "on" } else { "off" }.to_owned()]);
    } else {
        return Err(fault(format!(
            "this host has neither `update-rc.d` nor `chkconfig` to enable `{name}` with"
        )));
    }
    run(host, &argv)?.or_fault(&doing)
}

/// Whether any runlevel has a link to the script, to start it or to stop it.
fn linked(name: &str) -> bool {
    let parent = links_folder();
    system::names(parent).iter().filter(|folder| folder.starts_with("rc") && folder.ends_with(".d")).any(
        |folder| {
            let links = system::names(format!("{parent}/{folder}"));
            links.iter().any(|link| link.starts_with(['S', 'K']) && link.get(3..) == Some(name))
        },
    )
}

fn act(action: &str, args: &Args, host: &Host<'_>) -> Result<Answer, Fault> {
    let mut argv: Vec<String> = Vec::new();
    if args.daemonize {
        argv.extend(["sh", "-c", DETACHED, "sh"].map(str::to_owned));
    }
    argv.extend([script(args), action.to_owned()]);
    if let Some(more) = &args.arguments {
        argv.extend(words::split(more).map_err(|e| fault(format!("`arguments` of `sysvinit`: {e}")))?);
    }
    run(host, &argv)?.or_fault(&format!("unable to {action} service `{}`", args.name))
}

fn result(args: &Args, change: &Change, enabling: Option<&Answer>, acting: Option<&Answer>) -> Outcome {
    let part = |changed: bool, answer: Option<&Answer>| {
        json!({
            "changed": changed, "rc": answer.map(|a| a.rc), "stdout": answer.map(|a| &*a.out),
            "stderr": answer.map(|a| &*a.err),
        })
    };
    let mut status = json!({"enabled": part(change.enable.is_some(), enabling)});
    if !levels(args).is_empty() {
        status["enabled"]["runlevels"] = json!(levels(args));
    }
    if let Some(state) = args.state {
        let name = match state {
            State::Started => "started",
            State::Stopped => "stopped",
            State::Restarted => "restarted",
            State::Reloaded => "reloaded",
        };
        status[name] = part(!change.actions.is_empty(), acting);
    }
    let changed = change.enable.is_some() || !change.actions.is_empty();
    outcome(changed, json!({"name": args.name, "status": status}))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use crate::testing::temp_dir;

    fn debian() -> FakeRoot {
        let root = FakeRoot::with(&[
            ("/etc/init.d/ntp", ""),
            ("/etc/rc0.d/K01ntp", ""),
            ("/etc/rc2.d/S03ntp", ""),
            ("/etc/rc3.d/S03ntp", ""),
            ("/etc/rc5.d/K01ntp", ""),
        ]);
        root.program("/usr/sbin/service");
        root.program("/usr/sbin/update-rc.d");
        root
    }

    /// What a step says, after the change that it finds is made by these commands.
    fn step(arguments: Value, commands: &[(&str, i32, &str)]) -> Result<Outcome, Fault> {
        let script = Script::of(commands);
        let arguments: Args = args(arguments);
        let outcome = match Sysvinit::inspect(&arguments, &script.host())? {
            Inspection::Same(same) => same,
            Inspection::Differs { change, .. } => Sysvinit::apply(&arguments, change, &script.host())?,
        };
        script.done();
        Ok(outcome)
    }

    #[test]
    fn a_service_is_enabled_in_the_runlevels_that_lack_it() {
        let _root = debian();
        let same = step(json!({"name": "ntp", "enabled": true, "runlevels": ["2", "3"]}), &[]).expect("same");
        assert!(!same.changed);
        let changed = step(
            json!({"name": "ntp", "enabled": true, "runlevels": ["3", "5"]}),
            &[("/usr/sbin/update-rc.d ntp enable 3 5", 0, "done")],
        )
        .expect("enabled");
        assert_eq!(
            Value::Object(changed.values),
            json!({"name": "ntp", "status": {"enabled":
                {"changed": true, "rc": 0, "stdout": "done", "stderr": "", "runlevels": ["3", "5"]}}})
        );
        // Taken out of one runlevel, it stays in the others.
        step(
            json!({"name": "ntp", "enabled": false, "runlevels": ["3"]}),
            &[("/usr/sbin/update-rc.d ntp disable 3", 0, "")],
        )
        .expect("disabled");
    }

    #[test]
    fn a_script_that_no_runlevel_knows_gets_its_links_first() {
        let root = FakeRoot::with(&[("/etc/init.d/ntp", ""), ("/etc/rc0.d/K01other", "")]);
        root.program("/usr/sbin/update-rc.d");
        step(
            json!({"name": "ntp", "enabled": true, "runlevels": ["3", "5"]}),
            &[
                ("/usr/sbin/update-rc.d ntp defaults-disabled", 0, ""),
                ("/usr/sbin/update-rc.d ntp enable 3 5", 0, ""),
            ],
        )
        .expect("enabled");
        // Where it was switched off, the links for the usual runlevels are there and stay as they are.
        step(
            json!({"name": "ntp", "enabled": true}),
            &[("/usr/sbin/update-rc.d ntp defaults", 0, ""), ("/usr/sbin/update-rc.d ntp enable", 0, "")],
        )
        .expect("enabled");
    }

    #[test]
    fn without_runlevels_any_of_them_counts() {
        let _root = debian();
        assert!(!step(json!({"name": "ntp", "enabled": true}), &[]).expect("same").changed);
        step(json!({"name": "ntp", "enabled": false}), &[("/usr/sbin/update-rc.d ntp disable", 0, "")])
            .expect("disabled");
    }

    #[test]
    fn chkconfig_takes_all_runlevels_in_one_word() {
        let root = FakeRoot::with(&[("/etc/init.d/ntp", ""), ("/etc/rc0.d/K01ntp", "")]);
        root.program("/sbin/chkconfig");
        step(
            json!({"name": "ntp", "enabled": true, "runlevels": ["3", "5"]}),
            &[("/sbin/chkconfig --level 35 ntp on", 0, "")],
        )
        .expect("enabled");
        step(json!({"name": "ntp", "enabled": true}), &[("/sbin/chkconfig ntp on", 0, "")]).expect("enabled");
    }

    #[test]
    fn runlevels_without_enabled_are_refused() {
        let _root = debian();
        let refused = step(json!({"name": "ntp", "state": "started", "runlevels": ["3"]}), &[]);
        assert!(refused.is_err_and(|fault| fault.msg.contains("needs `enabled`")));
    }

    #[test]
    fn words_of_status_count_more_than_its_exit_status() {
        let _root = debian();
        let status = "/usr/sbin/service ntp status";
        for (rc, said, runs) in [
            (0, "ntp is stopped.\n", false),
            (3, "ntp is running\n", true),
            (0, "ntp is not running\n", true),
            (1, "no\n", false),
            (0, "", true),
        ] {
            let mut commands = vec![(status, rc, said)];
            if runs {
                commands.push(("/etc/init.d/ntp stop", 0, ""));
            }
            let stopped = step(json!({"name": "ntp", "state": "stopped"}), &commands).expect("stopped");
            assert_eq!(stopped.changed, runs, "{said}");
        }
    }

    #[test]
    fn restarted_stops_and_starts_by_the_script_with_arguments() {
        let _root = debian();
        let restarted = step(
            json!({"name": "ntp", "state": "restarted", "arguments": "-x 'a b'", "sleep": 0}),
            &[("/etc/init.d/ntp stop -x a b", 0, "bye"), ("/etc/init.d/ntp start -x a b", 0, "hello")],
        )
        .expect("restarted");
        assert_eq!(restarted.values["status"]["restarted"]["stdout"], "hello");
    }

    #[test]
    fn a_daemon_of_a_detached_script_neither_holds_the_step_nor_loses_its_output() {
        let folder = temp_dir();
        let file = folder.path().join("daemon");
        let content = "#!/bin/sh\nsleep 30 &\necho $! >\"$0.pid\"\necho started; echo oh >&2; exit 3\n";
        std::fs::write(&file, content).expect("a script");
        let begun = std::time::Instant::now();
        let done = std::process::Command::new("sh")
            .args(["-c", DETACHED, "sh", "sh", file.to_str().expect("UTF-8")])
            .output()
            .expect("sh");
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        assert_eq!(
            (done.status.code(), &*done.stdout, &*done.stderr),
            (Some(3), &b"started\n"[..], &b"oh\n"[..])
        );
        let pid = std::fs::read_to_string(folder.path().join("daemon.pid")).expect("a pid");
        assert!(std::process::Command::new("kill").arg(pid.trim()).status().expect("kill").success());
    }

    #[test]
    fn daemonize_wraps_the_script() {
        let _root = debian();
        let line = format!("sh -c {DETACHED} sh /etc/init.d/ntp start");
        step(
            json!({"name": "ntp", "state": "started", "daemonize": true}),
            &[("/usr/sbin/service ntp status", 3, ""), (&line, 0, "")],
        )
        .expect("started");
    }
}
