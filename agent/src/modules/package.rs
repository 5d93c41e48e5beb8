//! `package`: packages by whatever manager the host has.
//!
//! Owns: the choice of the manager. Must not: know how any of them works.

use serde_json::{Map, Value};

use super::apt::{self, Apt};
use super::yum::{self, Yum};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::{distribution, services};
use crate::options::{Opt, Spec};
use crate::system::fault;

/// The module.
pub struct Package;

/// What must be done, by manager.
#[derive(Debug)]
pub enum Change {
    Apt(Box<apt::Args>, apt::Change),
    Yum(Box<yum::Args>, yum::Change),
}

/// Options of the managers that users pass through `package`.
const OPTIONS: &[Opt] = &[
    Opt::list("name").required().aliases(&["pkg", "package"]),
    Opt::str("state").required(),
    Opt::str("use"),
    Opt::bool("update_cache").aliases(&["update-cache"]),
    Opt::int("cache_valid_time"),
    Opt::bool("install_recommends"),
    Opt::bool("purge"),
    Opt::bool("autoremove"),
    Opt::bool("force"),
    Opt::str("default_release"),
    Opt::bool("allow_unauthenticated"),
    Opt::bool("allow_downgrade"),
    Opt::bool("only_upgrade"),
    Opt::str("dpkg_options"),
    Opt::int("lock_timeout"),
    Opt::list("enablerepo"),
    Opt::list("disablerepo"),
    Opt::list("exclude"),
    Opt::bool("disable_gpg_check"),
    Opt::bool("skip_broken"),
    Opt::bool("install_weak_deps"),
];

impl Module for Package {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("package") };
    type Args = Map<String, Value>;
    type Change = Change;

    fn inspect(args: &Map<String, Value>, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let tool = match args.get("use").and_then(Value::as_str) {
            None | Some("auto") => services::package_manager(&distribution::detect()).to_owned(),
            Some(tool) => tool.rsplit('.').next().unwrap_or(tool).to_owned(),
        };
        match tool.as_str() {
            "apt" => {
                let args: apt::Args = passed(args, &tool, &Apt::SPEC)?;
                let found = Apt::inspect(&args, host)?;
                Ok(wrapped(found, |change| Change::Apt(Box::new(args), change)))
            }
            "yum" | "dnf" | "dnf5" => {
                let args: yum::Args = passed(args, &tool, &Yum::SPEC)?;
                let found = Yum::inspect(&args, host)?;
                Ok(wrapped(found, |change| Change::Yum(Box::new(args), change)))
            }
            other => Err(fault(format!(
                "`package` cannot use the package manager `{other}` of this host yet: it knows apt, yum and dnf"
            ))),
        }
    }

    fn apply(_: &Map<String, Value>, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        match change {
            Change::Apt(args, change) => Apt::apply(&args, change, host),
            Change::Yum(args, change) => Yum::apply(&args, change, host),
        }
    }
}

fn wrapped<C>(found: Inspection<C>, wrap: impl FnOnce(C) -> Change) -> Inspection<Change> {
    match found {
        Inspection::Same(same) => Inspection::Same(same),
        Inspection::Differs { change, predicted } => Inspection::Differs { change: wrap(change), predicted },
    }
}

/// The arguments as the manager's own module takes them.
fn passed<A: serde::de::DeserializeOwned>(
    args: &Map<String, Value>,
    tool: &str,
    spec: &Spec,
) -> Result<A, Fault> {
    let mut own = Map::new();
    for (name, value) in args.iter().filter(|(n, v)| *n != "use" && !v.is_null()) {
        let Some(option) = spec.option(name) else {
            return Err(fault(format!("`package` uses `{tool}` on this host, which has no option `{name}`")));
        };
        if let (false, Some(text)) = (option.choices.is_empty(), value.as_str())
            && !option.choices.contains(&text)
        {
            let known = option.choices.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
            return Err(fault(format!("`{name}` of `package` must be one of {known}, not `{text}`")));
        }
        own.insert(option.name.to_owned(), value.clone());
    }
    serde_json::from_value(Value::Object(own)).map_err(|e| fault(format!("bad arguments for `package`: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::dpkg::tests::STATUS;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::json;

    fn inspect(arguments: Value) -> Result<Inspection<Change>, Fault> {
        Package::inspect(&args(arguments), &Script::of(&[]).host())
    }

    #[test]
    fn the_hosts_own_manager_is_used() {
        let root = FakeRoot::with(&[("/etc/os-release", "ID=debian\n"), ("/var/lib/dpkg/status", STATUS)]);
        root.program("/usr/bin/apt-get");
        assert!(matches!(inspect(json!({"name": ["curl"], "state": "present"})), Ok(Inspection::Same(_))));
    }

    #[test]
    fn options_and_states_that_the_manager_lacks_are_told() {
        let root = FakeRoot::with(&[("/etc/os-release", "ID=debian\n"), ("/var/lib/dpkg/status", STATUS)]);
        root.program("/usr/bin/apt-get");
        let Err(error) = inspect(json!({"name": ["curl"], "state": "present", "enablerepo": ["x"]})) else {
            panic!()
        };
        assert_eq!(error.msg, "`package` uses `apt` on this host, which has no option `enablerepo`");
        let Err(error) = inspect(json!({"name": ["curl"], "state": "presnt"})) else { panic!() };
        assert!(error.msg.starts_with("`state` of `package` must be one of "), "{}", error.msg);
    }

    #[test]
    fn an_unknown_manager_is_told() {
        let _root = FakeRoot::with(&[("/sbin/apk", "")]);
        let Err(error) = inspect(json!({"name": ["curl"], "state": "present"})) else { panic!() };
        assert!(error.msg.contains("the package manager `apk` of this host"), "{}", error.msg);
    }
}
