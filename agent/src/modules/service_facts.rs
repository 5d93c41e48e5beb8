//! `service_facts`: every service of the host and its state.

use std::convert::Infallible;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::Spec;
use crate::system::run::{find_program, run};
use crate::system::systemctl::{Scope, call};
use crate::system::{self, outcome};

/// The module.
pub struct ServiceFacts;

/// It has no options.
#[derive(Debug, Deserialize)]
pub struct Args {}

impl Module for ServiceFacts {
    const SPEC: Spec = Spec::new("service_facts");
    type Args = Args;
    type Change = Infallible;

    fn inspect(_: &Args, host: &Host<'_>) -> Result<Inspection<Infallible>, Fault> {
        let mut services = Map::new();
        init_scripts(&mut services, host)?;
        if find_program("rc-status").is_some() && find_program("rc-update").is_some() {
            openrc(&mut services, host)?;
        }
        if find_program("systemctl").is_some() && system::exists("/run/systemd/system") {
            let units = call(
                host,
                Scope::System,
                &["list-units", "--no-pager", "--no-legend", "--type", "service", "--all", "--plain"],
            )?
            .or_fault("cannot list the units")?;
            let files = call(
                host,
                Scope::System,
                &["list-unit-files", "--no-pager", "--no-legend", "--type", "service", "--all"],
            )?
            .or_fault("cannot list the unit files")?;
            systemd(&mut services, &units.out, &files.out);
        }
        let mut result = outcome(false, json!({}));
        if services.is_empty() {
            result.warnings.push("no service manager was found on this host".into());
            result.values.insert("skipped".into(), json!(true));
        }
        result.values.insert("ansible_facts".into(), json!({"services": services}));
        Ok(Inspection::Same(result))
    }

    fn apply(_: &Args, change: Infallible, _: &Host<'_>) -> Result<Outcome, Fault> {
        match change {}
    }
}

fn service(name: &str, state: &str, status: Option<&str>, source: &str) -> Value {
    let mut value = json!({"name": name, "state": state});
    if let Some(status) = status {
        value["status"] = json!(status);
    }
    value["source"] = json!(source);
    value
}

/// States that make a unit's status, whatever its file says.
const BAD: [&str; 3] = ["not-found", "masked", "failed"];

fn systemd(services: &mut Map<String, Value>, units: &str, files: &str) {
    for line in units.lines() {
        let fields: Vec<&str> = line.split_whitespace().filter(|f| *f != "●" && *f != "*").collect();
        let [name, load, active, sub, ..] = fields.as_slice() else { continue };
        let bad = BAD.iter().find(|b| *b == load || *b == active || *b == sub);
        let state = if bad.is_none() && *sub == "running" { "running" } else { "stopped" };
        services.insert((*name).to_owned(), service(name, state, Some(bad.unwrap_or(&"unknown")), "systemd"));
    }
    for line in files.lines() {
        let mut fields = line.split_whitespace();
        let (Some(name), Some(status)) = (fields.next(), fields.next()) else { continue };
        match services.get_mut(name) {
            Some(known) => {
                let is_bad = known["status"].as_str().is_some_and(|s| BAD.contains(&s));
                if !is_bad {
                    known["status"] = json!(status);
                }
            }
            // What the manager has not loaded is inactive; a template is nothing that could run.
            None => {
                let state = if name.contains("@.") { "unknown" } else { "inactive" };
                services.insert(name.to_owned(), service(name, state, Some(status), "systemd"));
            }
        }
    }
}

/// `service --status-all` of Debian's family prints ` [ + ]  name`.
fn init_scripts(services: &mut Map<String, Value>, host: &Host<'_>) -> Result<(), Fault> {
    let Some(tool) = find_program("service") else { return Ok(()) };
    if !system::exists("/etc/init.d") || !system::exists("/etc/debian_version") {
        return Ok(());
    }
    let answer = run(host, &[tool.as_str(), "--status-all"])?;
    for line in answer.out.lines().chain(answer.err.lines()) {
        let Some((mark, name)) = line.split_once(']') else { continue };
        let (Some(mark), name) = (mark.split_once('[').map(|(_, m)| m.trim()), name.trim()) else { continue };
        let state = if mark == "+" { "running" } else { "stopped" };
        if !name.is_empty() {
            services.insert(name.to_owned(), service(name, state, None, "sysv"));
        }
    }
    Ok(())
}

fn openrc(services: &mut Map<String, Value>, host: &Host<'_>) -> Result<(), Fault> {
    let answer = run(host, &["rc-status", "-a", "-s"])?;
    for line in answer.out.lines() {
        let Some((name, rest)) = line.split_once('[') else { continue };
        let state = rest.split(']').next().unwrap_or_default().split_whitespace().next().unwrap_or("unknown");
        let (name, state) = (name.trim(), if state == "started" { "running" } else { state });
        services.insert(name.to_owned(), service(name, state, None, "openrc"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn units_and_unit_files_make_one_list() {
        let root = FakeRoot::with(&[]);
        root.program("/usr/bin/systemctl");
        root.dir("/run/systemd/system");
        let script = Script::of(&[
            (
                "systemctl list-units --no-pager --no-legend --type service --all --plain",
                0,
                "ssh.service loaded active running OpenSSH\ncron.service loaded inactive dead Cron\nbad.service loaded failed failed Bad\n",
            ),
            (
                "systemctl list-unit-files --no-pager --no-legend --type service --all",
                0,
                "ssh.service enabled enabled\nbad.service enabled enabled\ngetty@.service enabled enabled\nx.service disabled enabled\n",
            ),
        ]);
        let Ok(Inspection::Same(found)) = ServiceFacts::inspect(&args(json!({})), &script.host()) else {
            panic!()
        };
        let services = &found.values["ansible_facts"]["services"];
        assert_eq!(
            services["ssh.service"],
            json!({"name": "ssh.service", "state": "running", "status": "enabled", "source": "systemd"})
        );
        assert_eq!(
            (&services["bad.service"]["status"], &services["bad.service"]["state"]),
            (&json!("failed"), &json!("stopped"))
        );
        assert_eq!(
            (&services["getty@.service"]["state"], &services["x.service"]["state"]),
            (&json!("unknown"), &json!("inactive"))
        );
        assert_eq!(services["cron.service"]["status"], "unknown");
    }

    #[test]
    fn a_host_without_services_is_skipped_with_a_warning() {
        let _root = FakeRoot::with(&[]);
        let Ok(Inspection::Same(found)) = ServiceFacts::inspect(&args(json!({})), &Script::of(&[]).host())
        else {
            panic!()
        };
        assert_eq!((found.warnings.len(), &found.values["skipped"]), (1, &json!(true)));
    }
}
