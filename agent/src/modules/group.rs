//! `group`: groups of the host.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::accounts::{self, Group as Found};
use crate::system::outcome;
use crate::system::run::{need_program, run};

/// The module.
pub struct Group;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    #[serde(default)]
    state: State,
    gid: Option<u32>,
    gid_min: Option<u32>,
    gid_max: Option<u32>,
    #[serde(default)]
    system: bool,
    #[serde(default)]
    local: bool,
    #[serde(default)]
    non_unique: bool,
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::int("gid"),
    Opt::int("gid_min"),
    Opt::int("gid_max"),
    Opt::bool("system"),
    Opt::bool("local"),
    Opt::bool("non_unique"),
    Opt::bool("force"),
];

impl Module for Group {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("group") };
    type Args = Args;
    /// The command that makes the change.
    type Change = Vec<String>;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Vec<String>>, Fault> {
        let found =
            if args.local { accounts::local_group(&args.name) } else { accounts::group(host, &args.name)? };
        let found = found.filter(|g| g.name == args.name);
        let Some(command) = command(args, found.as_ref())? else {
            return Ok(Inspection::Same(result(args, found.map(|g| g.gid), false)));
        };
        let predicted = result(args, args.gid.or(found.map(|g| g.gid)), true);
        Ok(Inspection::Differs { change: command, predicted })
    }

    fn apply(args: &Args, command: Vec<String>, host: &Host<'_>) -> Result<Outcome, Fault> {
        let verb = if args.state == State::Absent { "remove" } else { "set" };
        run(host, &command)?.or_fault(&format!("cannot {verb} group `{}`", args.name))?;
        Ok(result(args, accounts::local_group(&args.name).map(|g| g.gid), true))
    }
}

fn command(args: &Args, found: Option<&Found>) -> Result<Option<Vec<String>>, Fault> {
    let prefix = if args.local { "l" } else { "" };
    let program = |name: &str| need_program(&format!("{prefix}{name}"));
    let gid_flags = |gid: u32| {
        let mut flags = vec!["-g".to_owned(), gid.to_string()];
        if args.non_unique {
            flags.push("-o".into());
        }
        flags
    };
    let mut argv = match (args.state, found) {
        (State::Absent, None) => return Ok(None),
        (State::Absent, Some(_)) => {
            let mut argv = vec![program("groupdel")?];
            if args.force {
                argv.push("-f".into());
            }
            argv
        }
        (State::Present, None) => {
            let mut argv = vec![program("groupadd")?];
            if let Some(gid) = args.gid {
                argv.extend(gid_flags(gid));
            }
            if args.system {
                argv.push("-r".into());
            }
            for (key, value) in [("GID_MIN", args.gid_min), ("GID_MAX", args.gid_max)] {
                if let Some(value) = value {
                    argv.extend(["-K".into(), format!("{key}={value}")]);
                }
            }
            argv
        }
        (State::Present, Some(group)) => match args.gid {
            Some(gid) if gid != group.gid => {
                let mut argv = vec![program("groupmod")?];
                argv.extend(gid_flags(gid));
                argv
            }
            _ => return Ok(None),
        },
    };
    argv.push(args.name.clone());
    Ok(Some(argv))
}

fn result(args: &Args, gid: Option<u32>, changed: bool) -> Outcome {
    let state = if args.state == State::Absent { "absent" } else { "present" };
    let mut result = outcome(changed, json!({"name": args.name, "state": state}));
    if args.state == State::Present {
        result.values.insert("system".into(), json!(args.system));
        result.values.insert("gid".into(), json!(gid));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    fn host() -> FakeRoot {
        let root = FakeRoot::with(&[("/etc/group", "docker:x:998:\n")]);
        for tool in ["groupadd", "groupmod", "groupdel"] {
            root.program(&format!("/usr/sbin/{tool}"));
        }
        root
    }

    fn inspect(arguments: Value) -> Inspection<Vec<String>> {
        Group::inspect(&args(arguments), &Script::of(&[]).host()).expect("inspects")
    }

    #[test]
    fn a_present_group_is_left_alone_and_says_its_gid() {
        let _root = host();
        let Inspection::Same(same) = inspect(json!({"name": "docker"})) else { panic!() };
        assert_eq!(same.values["gid"], 998);
        assert!(matches!(inspect(json!({"name": "x", "state": "absent"})), Inspection::Same(_)));
    }

    #[test]
    fn groups_are_added_changed_and_removed() {
        let _root = host();
        for (arguments, line) in [
            (json!({"name": "nogroup", "system": true}), "/usr/sbin/groupadd -r nogroup"),
            (json!({"name": "docker", "gid": 999}), "/usr/sbin/groupmod -g 999 docker"),
            (json!({"name": "docker", "state": "absent"}), "/usr/sbin/groupdel docker"),
        ] {
            let Inspection::Differs { change, .. } = inspect(arguments.clone()) else { panic!() };
            let script = Script::of(&[(line, 0, "")]);
            assert!(Group::apply(&args(arguments), change, &script.host()).expect("applies").changed);
            script.done();
        }
    }
}
