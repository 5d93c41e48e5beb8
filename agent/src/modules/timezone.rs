//! `timezone` (community.general): the host's time zone, and whether its hardware clock keeps local time.

use std::fs;

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{find_program, run};
use crate::system::{self, fault, outcome_diff, root, write};

/// The module.
pub struct Timezone;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: Option<String>,
    hwclock: Option<String>,
}

/// What must be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    zone: bool,
    clock: bool,
}

const OPTIONS: &[Opt] = &[Opt::str("name"), Opt::str("hwclock").aliases(&["rtc"]).choices(&["local", "UTC"])];

impl Module for Timezone {
    const SPEC: Spec = Spec {
        collections: &["community.general"],
        options: &[OPTIONS],
        required_one_of: &[&["name", "hwclock"]],
        ..Spec::new("timezone")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        if let Some(name) = &args.name
            && (name.contains("..") || !system::exists(format!("/usr/share/zoneinfo/{name}")))
        {
            return Err(fault(format!(
                "this host knows no time zone `{name}` (`/usr/share/zoneinfo/{name}`)"
            )));
        }
        let (zone, clock) = (current(), hardware_clock());
        let change = Change {
            zone: args.name.as_ref().is_some_and(|n| *n != zone),
            clock: args.hwclock.as_ref().is_some_and(|c| *c != clock),
        };
        let after =
            (args.name.clone().unwrap_or(zone.clone()), args.hwclock.clone().unwrap_or(clock.to_owned()));
        let mut predicted = outcome_diff(
            json!({}),
            json!(format!("name: {zone}\nhwclock: {clock}\n")),
            json!(format!("name: {}\nhwclock: {}\n", after.0, after.1)),
        );
        if change.zone || change.clock {
            return Ok(Inspection::Differs { change, predicted });
        }
        predicted.changed = false;
        predicted.diff.clear();
        Ok(Inspection::Same(predicted))
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let systemd = find_program("timedatectl").filter(|_| system::exists("/run/systemd/system"));
        if let Some(name) = args.name.as_deref().filter(|_| change.zone) {
            match &systemd {
                Some(tool) => {
                    run(host, &[tool.as_str(), "set-timezone", name])?
                        .or_fault("cannot set the time zone")?;
                }
                None => link(name)?,
            }
            if system::exists("/etc/timezone") {
                write::replace("/etc/timezone", &format!("{name}\n"), 0o644)?;
            }
        }
        if let Some(clock) = args.hwclock.as_deref().filter(|_| change.clock) {
            let local = clock == "local";
            match &systemd {
                Some(tool) => {
                    let word = if local { "yes" } else { "no" };
                    run(host, &[tool.as_str(), "set-local-rtc", word])?
                        .or_fault("cannot set the hardware clock")?;
                }
                None => {
                    let flag = if local { "--localtime" } else { "--utc" };
                    run(host, &["hwclock", "--systohc", flag])?.or_fault("cannot set the hardware clock")?;
                }
            }
        }
        Ok(system::outcome(true, json!({})))
    }
}

fn current() -> String {
    let linked = fs::read_link(root::at("/etc/localtime")).ok().and_then(|target| {
        let target = target.to_string_lossy().into_owned();
        target.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned())
    });
    linked.or_else(|| system::word("/etc/timezone")).unwrap_or_else(|| "UTC".into())
}

fn hardware_clock() -> &'static str {
    let local =
        system::text("/etc/adjtime").is_some_and(|t| t.lines().nth(2).map(str::trim) == Some("LOCAL"));
    if local { "local" } else { "UTC" }
}

/// A new link is made beside the old one and renamed over it: at no moment is there no time zone.
fn link(name: &str) -> Result<(), Fault> {
    let (new, old) = (root::at("/etc/.localtime.dcos-play"), root::at("/etc/localtime"));
    fs::remove_file(&new).ok();
    std::os::unix::fs::symlink(format!("/usr/share/zoneinfo/{name}"), &new)
        .and_then(|()| fs::rename(&new, &old))
        .map_err(|e| Fault::io("write", "/etc/localtime", &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn a_zone_is_linked_once() {
        let root =
            FakeRoot::with(&[("/usr/share/zoneinfo/Europe/Paris", ""), ("/etc/timezone", "Etc/UTC\n")]);
        root.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
        let arguments: Args = args(json!({"name": "Europe/Paris"}));
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, predicted }) = Timezone::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.diff[0]["before"], "name: Etc/UTC\nhwclock: UTC\n");
        Timezone::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!(
            (current().as_str(), root.get("/etc/timezone").as_str()),
            ("Europe/Paris", "Europe/Paris\n")
        );
        assert!(matches!(Timezone::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn an_unknown_zone_is_told() {
        let _root = FakeRoot::with(&[]);
        let Err(error) = Timezone::inspect(&args(json!({"name": "Mars/Base"})), &Script::of(&[]).host())
        else {
            panic!()
        };
        assert!(error.msg.starts_with("this host knows no time zone `Mars/Base`"), "{}", error.msg);
    }
}
