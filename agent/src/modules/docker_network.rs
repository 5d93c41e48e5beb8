//! `docker_network` (community.docker): networks of a Docker daemon, and who is connected to them.

use serde_json::{Map, Value, json};

use super::docker::{self, Args, Body, Docker, dict, list, on, text};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};

/// The module.
pub struct DockerNetwork;

const OPTIONS: &[Opt] = &[
    Opt::str("name").required().aliases(&["network_name"]),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::str("driver"),
    Opt::dict("driver_options"),
    Opt::raw_list("ipam_config"),
    Opt::str("ipam_driver"),
    Opt::dict("ipam_driver_options"),
    Opt::bool("enable_ipv4"),
    Opt::bool("enable_ipv6"),
    Opt::bool("internal"),
    Opt::bool("attachable"),
    Opt::bool("ingress"),
    Opt::dict("labels"),
    Opt::str("scope").choices(&["local", "global", "swarm"]),
    Opt::list("connected").aliases(&["containers"]),
    Opt::bool("appends").aliases(&["incremental"]),
    Opt::bool("force"),
];

/// What must be done, in this order.
#[derive(Default)]
pub struct Change {
    /// Disconnects everyone and removes what is there.
    remove: bool,
    create: Option<Value>,
    disconnect: Vec<String>,
    connect: Vec<String>,
}

impl Module for DockerNetwork {
    const SPEC: Spec = Spec {
        collections: &["community.docker", "community.general"],
        options: &[OPTIONS, docker::OPTIONS],
        ..Spec::new("docker_network")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let docker = Docker::new(args, host)?;
        let name = text(args, "name").unwrap_or_default();
        let current = network(&docker, name)?;
        let mut change = Change::default();
        let mut before = Map::new();
        let mut after = Map::new();
        if text(args, "state") == Some("absent") {
            change.remove = current.is_some();
            before.insert("exists".into(), current.is_some().into());
            after.insert("exists".into(), false.into());
        } else {
            let wanted = wanted(args);
            match &current {
                None => {
                    before.insert("exists".into(), false.into());
                    after.insert("exists".into(), true.into());
                }
                Some(current) => differences(&wanted, current, &mut before, &mut after),
            }
            change.remove = current.is_some() && (!before.is_empty() || on(args, "force"));
            let fresh = current.is_none() || change.remove;
            let there: Vec<String> = current
                .iter()
                .filter_map(|c| c["Containers"].as_object())
                .flat_map(|c| c.values())
                .filter_map(|c| c["Name"].as_str().map(str::to_owned))
                .collect();
            let mut members: Vec<String> = list(args, "connected").iter().map(docker::word).collect();
            // Who was connected stays so, also on the network that takes the old one's place.
            if args.get("connected").is_none() || on(args, "appends") {
                members.extend(there.iter().filter(|t| !members.contains(t)).cloned().collect::<Vec<_>>());
            }
            change.connect = members.iter().filter(|m| fresh || !there.contains(m)).cloned().collect();
            if !fresh {
                change.disconnect = there.iter().filter(|t| !members.contains(t)).cloned().collect();
            }
            if there != members && !(change.connect.is_empty() && change.disconnect.is_empty()) {
                before.insert("connected".into(), there.into());
                after.insert("connected".into(), members.into());
            }
            change.create = fresh.then(|| create_body(name, wanted));
        }
        let same = !change.remove
            && change.create.is_none()
            && change.connect.is_empty()
            && change.disconnect.is_empty();
        if same {
            let outcome = Outcome::same();
            return Ok(Inspection::Same(match current {
                Some(current) => outcome.with("network", current),
                None => outcome,
            }));
        }
        let mut predicted = Outcome::changed();
        predicted.diff = vec![json!({"before": before, "after": after})];
        Ok(Inspection::Differs { change, predicted })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let docker = Docker::new(args, host)?;
        let name = text(args, "name").unwrap_or_default();
        let members = |verb: &str, who: &str, body: Value| {
            let doing = format!("{verb} `{who}` and the network `{name}`");
            docker.ask(&doing, "POST", &format!("/networks/{name}/{verb}"), Body::Json(&body)).map(drop)
        };
        if change.remove {
            let there = network(&docker, name)?.unwrap_or_default();
            for id in there["Containers"].as_object().into_iter().flat_map(Map::keys) {
                members("disconnect", id, json!({"Container": id, "Force": true}))?;
            }
            docker.ask(
                &format!("remove the network `{name}`"),
                "DELETE",
                &format!("/networks/{name}"),
                Body::Nothing,
            )?;
        }
        if let Some(body) = &change.create {
            docker.ask(
                &format!("create the network `{name}`"),
                "POST",
                "/networks/create",
                Body::Json(body),
            )?;
        }
        for who in &change.disconnect {
            members("disconnect", who, json!({"Container": who, "Force": true}))?;
        }
        for who in &change.connect {
            members("connect", who, json!({"Container": who}))?;
        }
        let outcome = Outcome::changed();
        Ok(match network(&docker, name)? {
            Some(network) => outcome.with("network", network),
            None => outcome,
        })
    }
}

/// The network of exactly this name or id.
fn network(docker: &Docker<'_>, name: &str) -> Result<Option<Value>, Fault> {
    docker.get(&format!("look for the network `{name}`"), &format!("/networks/{name}"))
}

/// What was asked for, by Docker's names.
fn wanted(args: &Args) -> Map<String, Value> {
    let mut wanted = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            wanted.insert(name.to_owned(), value);
        }
    };
    put("Driver", text(args, "driver").map(Value::from));
    put("Options", dict(args, "driver_options").map(docker::words));
    put("Labels", dict(args, "labels").map(docker::words));
    put("Scope", text(args, "scope").map(Value::from));
    for (option, name) in [
        ("enable_ipv4", "EnableIPv4"),
        ("enable_ipv6", "EnableIPv6"),
        ("internal", "Internal"),
        ("attachable", "Attachable"),
        ("ingress", "Ingress"),
    ] {
        put(name, args.get(option).filter(|v| v.is_boolean()).cloned());
    }
    let pools: Vec<Value> = list(args, "ipam_config").iter().map(pool).collect();
    let mut ipam = Map::new();
    if !pools.is_empty() {
        ipam.insert("Config".into(), pools.into());
    }
    if let Some(driver) = text(args, "ipam_driver") {
        ipam.insert("Driver".into(), driver.into());
    }
    if let Some(options) = dict(args, "ipam_driver_options") {
        ipam.insert("Options".into(), docker::words(options));
    }
    put("IPAM", (!ipam.is_empty()).then_some(Value::Object(ipam)));
    wanted
}

fn pool(given: &Value) -> Value {
    let names = [
        ("subnet", "Subnet"),
        ("gateway", "Gateway"),
        ("iprange", "IPRange"),
        ("aux_addresses", "AuxiliaryAddresses"),
    ];
    let parts = names.iter().filter_map(|(own, theirs)| {
        given.get(own).filter(|v| !v.is_null()).map(|v| ((*theirs).to_owned(), v.clone()))
    });
    parts.collect()
}

fn create_body(name: &str, mut wanted: Map<String, Value>) -> Value {
    wanted.insert("Name".into(), name.into());
    wanted.insert("CheckDuplicate".into(), true.into());
    Value::Object(wanted)
}

/// Everything wanted that the network has otherwise. It may have more: defaults of its driver, other labels.
fn differences(
    wanted: &Map<String, Value>,
    current: &Value,
    before: &mut Map<String, Value>,
    after: &mut Map<String, Value>,
) {
    for (name, value) in wanted {
        let there = &current[name];
        if !docker::covers(there, value) {
            before.insert(name.clone(), there.clone());
            after.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::docker::fake::Daemon;
    use super::*;
    use crate::testing::{changes_once, run};

    fn daemon() -> Daemon {
        let state: Arc<Mutex<Option<Value>>> = Arc::default();
        Daemon::answering(move |method, path, body| {
            let mut state = state.lock().expect("lock");
            match (method, path) {
                ("GET", "/networks/dcos") => {
                    state.clone().map_or((404, json!({"message": "not found"})), |s| (200, s))
                }
                ("POST", "/networks/create") => {
                    let mut made = body.clone();
                    made["Driver"] = "bridge".into();
                    made["Containers"] = json!({});
                    *state = Some(made);
                    (201, json!({"Id": "1"}))
                }
                ("POST", "/networks/dcos/connect") => {
                    let network = state.as_mut().expect("a network");
                    network["Containers"]["c1"] = json!({"Name": body["Container"]});
                    (200, Value::Null)
                }
                ("POST", "/networks/dcos/disconnect") => {
                    state.as_mut().expect("a network")["Containers"] = json!({});
                    (200, Value::Null)
                }
                ("DELETE", "/networks/dcos") => {
                    *state = None;
                    (204, Value::Null)
                }
                other => panic!("{other:?}"),
            }
        })
    }

    #[test]
    fn a_network_is_made_kept_changed_with_its_members_and_removed() {
        let daemon = daemon();
        let args = json!({
            "docker_host": daemon.address, "name": "dcos", "labels": {"a": 1},
            "ipam_config": [{"subnet": "172.31.0.0/24"}], "connected": ["master"],
        });
        let applied = changes_once("docker_network", &args, || true);
        assert_eq!(applied["network"]["Labels"], json!({"a": "1"}));
        assert_eq!(daemon.changes(), ["POST /networks/create", "POST /networks/dcos/connect"]);
        let mut other = args.clone();
        other["internal"] = true.into();
        changes_once("docker_network", &other, || true);
        assert_eq!(
            daemon.changes(),
            [
                "POST /networks/dcos/disconnect",
                "DELETE /networks/dcos",
                "POST /networks/create",
                "POST /networks/dcos/connect"
            ]
        );
        let none = json!({"docker_host": daemon.address, "name": "dcos", "connected": []});
        changes_once("docker_network", &none, || true);
        assert_eq!(daemon.changes(), ["POST /networks/dcos/disconnect"]);
        let gone = json!({"docker_host": daemon.address, "name": "dcos", "state": "absent"});
        changes_once("docker_network", &gone, || true);
        assert_eq!(run("docker_network", gone, false)["changed"], false);
    }
}
