//! `service`: states of services under whatever manages them.
//!
//! Owns: the choice of the manager, and init scripts and OpenRC; systemd's units are [`super::systemd`]'s.

use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::systemd::{self, State, Systemd};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::services::service_manager;
use crate::options::{Opt, Spec};
use crate::system::run::{find_program, need_program, run};
use crate::system::{self, fault, outcome};

/// The module.
pub struct Service;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    state: Option<State>,
    enabled: Option<bool>,
    pattern: Option<String>,
    sleep: Option<u64>,
    runlevel: Option<String>,
    arguments: Option<String>,
    masked: Option<bool>,
    #[serde(default)]
    daemon_reload: bool,
    #[serde(default)]
    daemon_reexec: bool,
    #[serde(rename = "use")]
    tool: Option<String>,
}

/// What must be done, by manager.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Systemd(systemd::Change),
    Script(ScriptChange),
}

/// What must be done to an init script.
#[derive(Debug, PartialEq, Eq)]
pub struct ScriptChange {
    manager: Manager,
    enable: Option<bool>,
    action: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Systemd,
    OpenRc,
    SysV,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("state").choices(&["started", "stopped", "restarted", "reloaded"]),
    Opt::bool("enabled"),
    Opt::str("pattern"),
    Opt::int("sleep"),
    Opt::str("runlevel"),
    Opt::str("arguments").aliases(&["args"]),
    Opt::str("use"),
    // Ansible hands these on to `systemd`, and people rely on it.
    Opt::bool("masked"),
    Opt::bool("daemon_reload").aliases(&["daemon-reload"]),
    Opt::bool("daemon_reexec").aliases(&["daemon-reexec"]),
];

impl Module for Service {
    const SPEC: Spec =
        Spec { options: &[OPTIONS], required_one_of: &[&["state", "enabled"]], ..Spec::new("service") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let manager = manager(args)?;
        if manager == Manager::Systemd {
            return Ok(match Systemd::inspect(&for_systemd(args), host)? {
                Inspection::Same(same) => Inspection::Same(same),
                Inspection::Differs { change, predicted } => {
                    Inspection::Differs { change: Change::Systemd(change), predicted }
                }
            });
        }
        if args.masked.is_some() || args.daemon_reload || args.daemon_reexec {
            return Err(fault(
                "`masked`, `daemon_reload` and `daemon_reexec` are for systemd, which this host does not run",
            ));
        }
        let enable = match args.enabled {
            Some(wanted) if wanted != enabled(manager, args, host)? => Some(wanted),
            _ => None,
        };
        let action = match args.state {
            Some(state) => {
                let running = running(manager, args, host)?;
                match state {
                    State::Started => (!running).then_some("start"),
                    State::Stopped => running.then_some("stop"),
                    _ if !running => Some("start"),
                    State::Restarted => Some("restart"),
                    State::Reloaded => Some("reload"),
                }
            }
            None => None,
        };
        let changed = enable.is_some() || action.is_some();
        let predicted = result(args, changed);
        Ok(if changed {
            Inspection::Differs {
                change: Change::Script(ScriptChange { manager, enable, action }),
                predicted,
            }
        } else {
            Inspection::Same(predicted)
        })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let change = match change {
            Change::Systemd(change) => return Systemd::apply(&for_systemd(args), change, host),
            Change::Script(change) => change,
        };
        if let Some(enable) = change.enable {
            set_enabled(change.manager, enable, args, host)?;
        }
        if let Some(action) = change.action {
            // Some init scripts return from `stop` before the daemon is gone; `sleep` is for them.
            if action == "restart"
                && let Some(seconds) = args.sleep
            {
                act(change.manager, "stop", args, host)?;
                pause(seconds, host);
                act(change.manager, "start", args, host)?;
            } else {
                act(change.manager, action, args, host)?;
            }
        }
        Ok(result(args, true))
    }
}

/// Waits so many seconds, unless the step is cancelled.
pub(super) fn pause(seconds: u64, host: &Host<'_>) {
    for _ in 0..seconds.saturating_mul(10) {
        if host.runner.cancelled() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn result(args: &Args, changed: bool) -> Outcome {
    let mut result = outcome(changed, json!({"name": args.name}));
    if let Some(state) = args.state {
        let state = if state == State::Stopped { "stopped" } else { "started" };
        result.values.insert("state".into(), json!(state));
    }
    if let Some(enabled) = args.enabled {
        result.values.insert("enabled".into(), json!(enabled));
    }
    result
}

fn for_systemd(args: &Args) -> systemd::Args {
    let mut all = systemd::Args::service(&args.name, args.state, args.enabled);
    all.masked = args.masked;
    all.daemon_reload = args.daemon_reload;
    all.daemon_reexec = args.daemon_reexec;
    all
}

fn manager(args: &Args) -> Result<Manager, Fault> {
    let named = match args.tool.as_deref() {
        None | Some("auto" | "service") => service_manager(),
        Some(tool) => tool.rsplit('.').next().unwrap_or(tool).to_owned(),
    };
    match named.as_str() {
        "systemd" => Ok(Manager::Systemd),
        "openrc" => Ok(Manager::OpenRc),
        "upstart" | "runit" | "svc" | "openwrt_init" | "dinit" => {
            Err(fault(format!("`service` cannot talk to the service manager `{named}` of this host yet")))
        }
        _ => Ok(Manager::SysV),
    }
}

fn act(manager: Manager, action: &str, args: &Args, host: &Host<'_>) -> Result<(), Fault> {
    let mut argv = vec![tool(manager)?, args.name.clone(), action.to_owned()];
    argv.extend(args.arguments.iter().flat_map(|a| a.split_whitespace()).map(str::to_owned));
    run(host, &argv)?.or_fault(&format!("unable to {action} service `{}`", args.name))?;
    Ok(())
}

fn tool(manager: Manager) -> Result<String, Fault> {
    need_program(if manager == Manager::OpenRc { "rc-service" } else { "service" })
}

fn running(manager: Manager, args: &Args, host: &Host<'_>) -> Result<bool, Fault> {
    if let Some(pattern) = &args.pattern {
        return Ok(process_matches(pattern));
    }
    if manager == Manager::SysV && !system::exists(format!("/etc/init.d/{}", args.name)) {
        return Err(fault(format!("could not find the requested service `{}` on this host", args.name)));
    }
    let answer = run(host, &[tool(manager)?.as_str(), &args.name, "status"])?;
    if answer.out.contains("does not exist") || answer.err.contains("unrecognized service") {
        return Err(fault(format!("could not find the requested service `{}` on this host", args.name)));
    }
    // LSB: 0 runs, 1 to 3 does not, 4 and more is unknown and then the words must do.
    Ok(match answer.rc {
        0 => !says_stopped(&answer.out),
        1..=3 => false,
        _ => answer.out.contains("running") && !says_stopped(&answer.out),
    })
}

/// Scripts that answer 0 to `status` whatever happens still say it.
fn says_stopped(out: &str) -> bool {
    let out = out.to_lowercase();
    ["not running", "is stopped", "stop/waiting", "is not started"].iter().any(|s| out.contains(s))
}

/// Whether a process other than this one has this in its command line.
pub(super) fn process_matches(pattern: &str) -> bool {
    let own = std::process::id().to_string();
    system::names("/proc").iter().filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && **n != own).any(|pid| {
        system::text(format!("/proc/{pid}/cmdline"))
            .is_some_and(|line| line.replace('\0', " ").contains(pattern))
    })
}

fn enabled(manager: Manager, args: &Args, host: &Host<'_>) -> Result<bool, Fault> {
    if manager == Manager::OpenRc {
        let answer =
            run(host, &[need_program("rc-update")?.as_str(), "show"])?.or_fault("cannot list services")?;
        let level = args.runlevel.as_deref().unwrap_or("default");
        return Ok(answer.out.lines().any(|line| {
            line.split_once('|').is_some_and(|(service, levels)| {
                service.trim() == args.name && levels.split_whitespace().any(|l| l == level)
            })
        }));
    }
    Ok(["/etc/rc2.d", "/etc/rc3.d", "/etc/rc5.d", "/etc/rc.d/rc3.d", "/etc/rc.d/rc5.d"].iter().any(
        |folder| {
            system::names(folder).iter().any(|link| {
                link.starts_with('S')
                    && link
                        .get(1..)
                        .is_some_and(|l| l.trim_start_matches(|c: char| c.is_ascii_digit()) == args.name)
            })
        },
    ))
}

fn set_enabled(manager: Manager, enable: bool, args: &Args, host: &Host<'_>) -> Result<(), Fault> {
    let name = args.name.as_str();
    let argv: Vec<String> = if manager == Manager::OpenRc {
        let level = args.runlevel.as_deref().unwrap_or("default");
        [need_program("rc-update")?.as_str(), if enable { "add" } else { "delete" }, name, level]
            .map(str::to_owned)
            .into()
    } else if let Some(tool) = find_program("update-rc.d") {
        if enable {
            // Links must exist before they can be enabled.
            run(host, &[tool.as_str(), name, "defaults"])?
                .or_fault(&format!("unable to enable service `{name}`"))?;
        }
        [tool.as_str(), name, if enable { "enable" } else { "disable" }].map(str::to_owned).into()
    } else if let Some(tool) = find_program("chkconfig") {
        [tool.as_str(), name, if enable { "on" } else { "off" }].map(str::to_owned).into()
    } else {
        return Err(fault(format!(
            "this host has neither `update-rc.d` nor `chkconfig` to enable `{name}` with"
        )));
    };
    run(host, &argv)?
        .or_fault(&format!("unable to {} service `{name}`", if enable { "enable" } else { "disable" }))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn systemd_hosts_are_managed_by_systemd() {
        let _root = FakeRoot::with(&[("/proc/1/comm", "systemd\n")]);
        let script = Script::of(&[(
            "systemctl show -- ntp",
            0,
            "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
        )]);
        let found = Service::inspect(&args(json!({"name": "ntp", "state": "started"})), &script.host());
        assert!(matches!(found, Ok(Inspection::Same(_))));
    }

    #[test]
    fn what_only_systemd_knows_is_handed_on_or_refused() {
        let all = for_systemd(&args(
            json!({"name": "ntp", "state": "started", "masked": false, "daemon_reload": true}),
        ));
        assert_eq!((all.masked, all.daemon_reload, all.daemon_reexec), (Some(false), true, false));
        let _root = FakeRoot::with(&[("/proc/1/comm", "init\n")]);
        let found = Service::inspect(
            &args(json!({"name": "ntp", "state": "started", "daemon_reload": true})),
            &Script::of(&[]).host(),
        );
        assert!(found.is_err_and(|fault| fault.msg.ends_with("which this host does not run")));
    }

    #[test]
    fn an_init_script_is_enabled_and_started() {
        let root = FakeRoot::with(&[("/proc/1/comm", "init\n"), ("/etc/init.d/ntp", "")]);
        root.program("/usr/sbin/service");
        root.program("/usr/sbin/update-rc.d");
        let script = Script::of(&[
            ("/usr/sbin/service ntp status", 3, ""),
            ("/usr/sbin/update-rc.d ntp defaults", 0, ""),
            ("/usr/sbin/update-rc.d ntp enable", 0, ""),
            ("/usr/sbin/service ntp start", 0, ""),
        ]);
        let arguments: Args = args(json!({"name": "ntp", "state": "started", "enabled": true}));
        let Ok(Inspection::Differs { change, .. }) = Service::inspect(&arguments, &script.host()) else {
            panic!("differs")
        };
        assert!(Service::apply(&arguments, change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn openrc_is_asked_for_runlevels() {
        let root = FakeRoot::with(&[("/proc/1/comm", "openrc-init\n")]);
        root.program("/sbin/rc-service");
        root.program("/sbin/rc-update");
        let script = Script::of(&[
            ("/sbin/rc-update show", 0, " ntpd | default\n sshd | boot default\n"),
            ("/sbin/rc-service ntpd status", 0, " * status: started\n"),
        ]);
        let found = Service::inspect(
            &args(json!({"name": "ntpd", "state": "started", "enabled": true})),
            &script.host(),
        );
        assert!(matches!(found, Ok(Inspection::Same(_))));
    }

    #[test]
    fn an_unknown_service_is_told() {
        let _root = FakeRoot::with(&[("/proc/1/comm", "init\n")]);
        let script = Script::of(&[]);
        let Err(error) = Service::inspect(&args(json!({"name": "x", "state": "started"})), &script.host())
        else {
            panic!()
        };
        assert_eq!(error.msg, "could not find the requested service `x` on this host");
    }
}
