//! `package_facts`: every installed package and its versions.

use std::convert::Infallible;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::packages::{dpkg, rpm};
use crate::system::run::find_program;
use crate::system::{self, fault, outcome};

/// The module.
pub struct PackageFacts;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    #[serde(default)]
    manager: Vec<String>,
    strategy: Option<String>,
}

const OPTIONS: &[Opt] = &[Opt::list("manager"), Opt::str("strategy").choices(&["first", "all"])];

impl Module for PackageFacts {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("package_facts") };
    type Args = Args;
    type Change = Infallible;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Infallible>, Fault> {
        let mut packages = Map::new();
        let mut found = false;
        for manager in managers(&args.manager)? {
            let all = args.strategy.as_deref() == Some("all");
            if found && !all {
                break;
            }
            match manager {
                "apt" if system::exists("/var/lib/dpkg/status") => dpkg_packages(&mut packages)?,
                "rpm" if find_program("rpm").is_some() && has_rpm_database() => {
                    rpm_packages(&mut packages, host)?
                }
                _ => continue,
            }
            found = true;
        }
        if !found {
            return Err(fault(format!(
                "could not detect a supported package manager from the following list: {}",
                if args.manager.is_empty() { "auto".into() } else { args.manager.join(", ") }
            )));
        }
        Ok(Inspection::Same(outcome(false, json!({"ansible_facts": {"packages": packages}}))))
    }

    fn apply(_: &Args, change: Infallible, _: &Host<'_>) -> Result<Outcome, Fault> {
        match change {}
    }
}

fn managers(named: &[String]) -> Result<Vec<&'static str>, Fault> {
    if named.is_empty() || named.iter().any(|n| n == "auto") {
        return Ok(vec!["rpm", "apt"]);
    }
    named
        .iter()
        .map(|name| match name.as_str() {
            "apt" => Ok("apt"),
            "rpm" | "yum" | "dnf" | "dnf5" | "zypper" => Ok("rpm"),
            other => Err(fault(format!(
                "`manager` of `package_facts` must be auto, apt, rpm, yum, dnf or zypper, not `{other}`"
            ))),
        })
        .collect()
}

/// rpm is installed on Debian hosts too, for conversions.
fn has_rpm_database() -> bool {
    ["/var/lib/rpm", "/usr/lib/sysimage/rpm"].iter().any(|folder| {
        ["Packages", "Packages.db", "rpmdb.sqlite"]
            .iter()
            .any(|file| system::exists(format!("{folder}/{file}")))
    })
}

fn add(packages: &mut Map<String, Value>, name: &str, package: Value) {
    match packages.get_mut(name) {
        Some(Value::Array(versions)) => versions.push(package),
        _ => {
            packages.insert(name.to_owned(), json!([package]));
        }
    }
}

fn dpkg_packages(packages: &mut Map<String, Value>) -> Result<(), Fault> {
    for entry in dpkg::Database::read()?.entries().iter().filter(|e| e.installed()) {
        let package = json!({
            "name": entry.name, "version": entry.version, "arch": entry.architecture,
            "category": entry.section, "origin": entry.origin, "source": "apt",
        });
        add(packages, &entry.name, package);
    }
    Ok(())
}

fn rpm_packages(packages: &mut Map<String, Value>, host: &Host<'_>) -> Result<(), Fault> {
    for entry in rpm::installed(host)? {
        let epoch = if entry.epoch == 0 { Value::Null } else { json!(entry.epoch) };
        let package = json!({
            "name": entry.name, "version": entry.version, "release": entry.release, "epoch": epoch,
            "arch": entry.arch, "source": "rpm",
        });
        add(packages, &entry.name, package);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::dpkg::tests::STATUS;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn installed_packages_are_listed_by_name() {
        let _root = FakeRoot::with(&[("/var/lib/dpkg/status", STATUS)]);
        let Ok(Inspection::Same(found)) = PackageFacts::inspect(&args(json!({})), &Script::of(&[]).host())
        else {
            panic!()
        };
        let packages = &found.values["ansible_facts"]["packages"];
        assert_eq!(
            (&packages["curl"][0]["version"], &packages["curl"][0]["source"]),
            (&json!("7.88.1-10"), &json!("apt"))
        );
        assert!(packages.get("old").is_none());
    }

    #[test]
    fn a_wrong_manager_is_told() {
        let _root = FakeRoot::with(&[]);
        let Err(error) = PackageFacts::inspect(&args(json!({"manager": ["apk"]})), &Script::of(&[]).host())
        else {
            panic!()
        };
        assert!(error.msg.ends_with("not `apk`"), "{}", error.msg);
    }
}
