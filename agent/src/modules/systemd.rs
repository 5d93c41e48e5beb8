//! `systemd`, alias `systemd_service`: states of systemd units.
//!
//! Owns: options and the order mask, enable, start. `service` uses it on hosts that systemd manages.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::systemctl::{self, Scope, Unit};
use crate::system::{fault, outcome};

/// The module.
pub struct Systemd;

/// What a unit's state may be asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

/// Typed arguments.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    name: Option<String>,
    state: Option<State>,
    enabled: Option<bool>,
    pub(super) masked: Option<bool>,
    force: bool,
    pub(super) daemon_reload: bool,
    pub(super) daemon_reexec: bool,
    scope: Scope,
    no_block: bool,
}

impl Args {
    /// The arguments that `service` shares.
    pub(super) fn service(name: &str, state: Option<State>, enabled: Option<bool>) -> Self {
        Self { name: Some(name.to_owned()), state, enabled, ..Self::default() }
    }
}

/// What must be done to the unit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Change {
    mask: Option<bool>,
    enable: Option<bool>,
    action: Option<&'static str>,
    /// Managers read their files again first; that alone is no change.
    reload: bool,
}

impl Change {
    fn changes_unit(&self) -> bool {
        self.mask.is_some() || self.enable.is_some() || self.action.is_some()
    }
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").aliases(&["service", "unit"]),
    Opt::str("state").choices(&["started", "stopped", "restarted", "reloaded"]),
    Opt::bool("enabled"),
    Opt::bool("masked"),
    Opt::bool("force"),
    Opt::bool("daemon_reload").aliases(&["daemon-reload"]),
    Opt::bool("daemon_reexec").aliases(&["daemon-reexec"]),
    Opt::str("scope").choices(&["system", "user", "global"]),
    Opt::bool("no_block"),
];

impl Module for Systemd {
    const SPEC: Spec = Spec {
        aliases: &["systemd_service"],
        options: &[OPTIONS],
        required_one_of: &[&["state", "enabled", "masked", "daemon_reload", "daemon_reexec"]],
        ..Spec::new("systemd")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let reload = args.daemon_reload || args.daemon_reexec;
        let Some(name) = &args.name else {
            for (option, given) in [
                ("state", args.state.is_some()),
                ("enabled", args.enabled.is_some()),
                ("masked", args.masked.is_some()),
            ] {
                if given {
                    return Err(fault(format!("`systemd` needs `name` when `{option}` is given")));
                }
            }
            let predicted = outcome(false, json!({"name": null, "status": {}}));
            return Ok(if reload {
                Inspection::Differs { change: Change { reload, ..Change::default() }, predicted }
            } else {
                Inspection::Same(predicted)
            });
        };
        let unit = systemctl::show(host, args.scope, name)?;
        // A unit file written just now may be unknown until the reload.
        if reload && !unit.found() && !host.check {
            let predicted = result(args, name, &unit, true);
            return Ok(Inspection::Differs { change: Change { reload, ..Change::default() }, predicted });
        }
        let change = plan(args, name, &unit, host)?;
        let predicted = result(args, name, &unit, change.changes_unit());
        Ok(if change.changes_unit() || change.reload {
            Inspection::Differs { change, predicted }
        } else {
            Inspection::Same(predicted)
        })
    }

    fn apply(args: &Args, mut change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        if change.reload {
            if args.daemon_reload {
                systemctl::call(host, args.scope, &["daemon-reload"])?
                    .or_fault("systemd cannot reload its units")?;
            }
            if args.daemon_reexec {
                systemctl::call(host, args.scope, &["daemon-reexec"])?
                    .or_fault("systemd cannot execute itself again")?;
            }
        }
        let Some(name) = &args.name else { return Ok(outcome(false, json!({"name": null, "status": {}}))) };
        let unit = systemctl::show(host, args.scope, name)?;
        if change.reload {
            // What stood in memory before the reload says nothing about the unit file now on disk.
            change = plan(args, name, &unit, host)?;
        }
        if let Some(mask) = change.mask {
            act(args, host, if mask { "mask" } else { "unmask" }, name)?;
        }
        if let Some(enable) = change.enable {
            act(args, host, if enable { "enable" } else { "disable" }, name)?;
        }
        if let Some(action) = change.action {
            act(args, host, action, name)?;
        }
        Ok(result(args, name, &unit, change.changes_unit()))
    }
}

fn act(args: &Args, host: &Host<'_>, action: &str, name: &str) -> Result<(), Fault> {
    let mut argv = Vec::new();
    if args.no_block {
        argv.push("--no-block");
    }
    if args.force {
        argv.push("--force");
    }
    argv.extend([action, "--", name]);
    systemctl::call(host, args.scope, &argv)?.or_fault(&format!("unable to {action} service `{name}`"))?;
    Ok(())
}

fn plan(args: &Args, name: &str, unit: &Unit, host: &Host<'_>) -> Result<Change, Fault> {
    let mut change = Change { reload: args.daemon_reload || args.daemon_reexec, ..Change::default() };
    if let Some(mask) = args.masked
        && mask != unit.masked()
    {
        change.mask = Some(mask);
    }
    if (args.state.is_some() || args.enabled.is_some()) && !unit.found() {
        return Err(fault(format!("could not find the requested service `{name}` on this host")));
    }
    if let Some(enable) = args.enabled
        && enable != enabled(args, name, unit, host)?
    {
        change.enable = Some(enable);
    }
    change.action = match args.state {
        None => None,
        Some(State::Started) => (!unit.running()).then_some("start"),
        Some(State::Stopped) => (unit.running() || unit.stopping()).then_some("stop"),
        Some(_) if !unit.running() => Some("start"),
        Some(State::Restarted) => Some("restart"),
        Some(State::Reloaded) => Some("reload"),
    };
    Ok(change)
}

fn enabled(args: &Args, name: &str, unit: &Unit, host: &Host<'_>) -> Result<bool, Fault> {
    if args.scope != Scope::Global
        && let Some(enabled) = unit.enabled()
    {
        return Ok(enabled);
    }
    Ok(systemctl::call(host, args.scope, &["is-enabled", "--", name])?.ok())
}

fn result(args: &Args, name: &str, unit: &Unit, changed: bool) -> Outcome {
    let mut result = outcome(changed, json!({"name": name, "status": unit.status()}));
    if let Some(state) = args.state {
        let state = if state == State::Stopped { "stopped" } else { "started" };
        result.values.insert("state".into(), json!(state));
    }
    if let Some(enabled) = args.enabled {
        result.values.insert("enabled".into(), json!(enabled));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const RUNNING: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n";
    const STOPPED: &str = "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n";

    fn inspect(arguments: Value, script: &Script) -> Result<Inspection<Change>, Fault> {
        Systemd::inspect(&args(arguments), &script.host())
    }

    #[test]
    fn a_running_and_enabled_unit_is_left_alone() {
        let script = Script::of(&[("systemctl show -- nginx", 0, RUNNING)]);
        let found = inspect(json!({"name": "nginx", "state": "started", "enabled": true}), &script)
            .expect("inspects");
        let Inspection::Same(outcome) = found else { panic!("nothing to do") };
        assert_eq!((outcome.changed, &outcome.values["state"]), (false, &json!("started")));
        assert_eq!(outcome.values["status"]["ActiveState"], "active");
    }

    #[test]
    fn a_stopped_unit_is_enabled_then_started() {
        let script = Script::of(&[
            ("systemctl show -- nginx", 0, STOPPED),
            ("systemctl show -- nginx", 0, STOPPED),
            ("systemctl enable -- nginx", 0, ""),
            ("systemctl start -- nginx", 0, ""),
        ]);
        let arguments = json!({"name": "nginx", "state": "started", "enabled": true});
        let Ok(Inspection::Differs { change, predicted }) = inspect(arguments.clone(), &script) else {
            panic!("differs")
        };
        assert!(predicted.changed);
        let done = Systemd::apply(&args(arguments), change, &script.host()).expect("applies");
        assert!(done.changed);
        script.done();
    }

    #[test]
    fn restarting_a_stopped_unit_starts_it_and_a_running_one_restarts() {
        for (shown, action) in [(STOPPED, "start"), (RUNNING, "restart")] {
            let script = Script::of(&[("systemctl show -- a", 0, shown)]);
            let Ok(Inspection::Differs { change, .. }) =
                inspect(json!({"name": "a", "state": "restarted"}), &script)
            else {
                panic!("always differs")
            };
            assert_eq!(change.action, Some(action));
        }
    }

    #[test]
    fn a_reload_alone_is_no_change_but_happens() {
        let script = Script::of(&[("systemctl daemon-reload", 0, "")]);
        let arguments = json!({"daemon_reload": true});
        let Ok(Inspection::Differs { change, predicted }) = inspect(arguments.clone(), &script) else {
            panic!("acts")
        };
        assert!(!predicted.changed);
        assert!(!Systemd::apply(&args(arguments), change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn a_unit_unknown_before_the_reload_is_looked_at_after_it() {
        let script = Script::of(&[
            ("systemctl show -- new", 0, "LoadState=not-found\n"),
            ("systemctl daemon-reload", 0, ""),
            ("systemctl show -- new", 0, STOPPED),
            ("systemctl start -- new", 0, ""),
        ]);
        let arguments = json!({"name": "new", "state": "started", "daemon_reload": true});
        let Ok(Inspection::Differs { change, .. }) = inspect(arguments.clone(), &script) else {
            panic!("acts")
        };
        assert!(Systemd::apply(&args(arguments), change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn an_unknown_unit_and_a_missing_name_are_told() {
        let script = Script::of(&[("systemctl show -- nix", 0, "LoadState=not-found\n")]);
        let Err(error) = inspect(json!({"name": "nix", "enabled": true}), &script) else { panic!("fails") };
        assert_eq!(error.msg, "could not find the requested service `nix` on this host");
        let Err(error) = inspect(json!({"state": "started"}), &script) else { panic!("fails") };
        assert_eq!(error.msg, "`systemd` needs `name` when `state` is given");
    }

    #[test]
    fn a_failing_start_carries_what_systemd_said() {
        let script =
            Script::of(&[("systemctl show -- a", 0, STOPPED), ("systemctl start -- a", 1, "Job failed.")]);
        let arguments = json!({"name": "a", "state": "started"});
        let change = Change { action: Some("start"), ..Change::default() };
        let error = Systemd::apply(&args(arguments), change, &script.host()).expect_err("fails");
        assert_eq!(error.msg, "unable to start service `a`: Job failed.");
        assert_eq!(error.values["rc"], 1);
    }

    #[test]
    fn masking_compares_with_the_unit_file() {
        let script = Script::of(&[("systemctl show -- a", 0, "LoadState=masked\nUnitFileState=masked\n")]);
        assert!(matches!(inspect(json!({"name": "a", "masked": true}), &script), Ok(Inspection::Same(_))));
        let script = Script::of(&[("systemctl --user show -- a", 0, RUNNING)]);
        let found = inspect(json!({"name": "a", "masked": true, "scope": "user"}), &script);
        assert!(matches!(found, Ok(Inspection::Differs { change: Change { mask: Some(true), .. }, .. })));
    }
}
