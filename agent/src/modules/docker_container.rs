//! `docker_container` (community.docker): containers created, started, changed, stopped, removed.
//!
//! Owns: what a container's state must become and the requests that do it. Must not: know options that only describe a
//! container; those are in `docker_container_options`.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::docker::{self, Args, Body, Docker, covers, escaped, list, on, text, word};
use super::docker_container_options::{Differences, Wishes, image_of, networks, rule};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};

/// The module.
pub struct DockerContainer;

const STATES: &[&str] = &["absent", "present", "healthy", "stopped", "started"];

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("state").choices(STATES),
    Opt::str("image"),
    Opt::raw("pull"),
    Opt::bool("recreate"),
    Opt::bool("restart"),
    Opt::bool("detach"),
    Opt::bool("cleanup"),
    Opt::bool("output_logs").ignored("output is in the result anyway"),
    Opt::bool("force_kill").aliases(&["forcekill"]),
    Opt::str("kill_signal"),
    Opt::bool("keep_volumes"),
    Opt::float("healthy_wait_timeout"),
    Opt::float("removal_wait_timeout"),
    Opt::dict("comparisons"),
    Opt::str("container_default_behavior").ignored("options that are not given are never compared"),
    Opt::str("command_handling").ignored("an empty command is as good as none"),
    Opt::str("image_name_mismatch").choices(&["ignore", "recreate"]),
    Opt::str("platform"),
    Opt::raw_list("networks"),
    Opt::bool("networks_cli_compatible").ignored("it is always so"),
    Opt::bool("purge_networks"),
    Opt::str("default_host_ip"),
    Opt::bool("auto_remove"),
    Opt::int("blkio_weight"),
    Opt::list("capabilities"),
    Opt::list("cap_drop"),
    Opt::str("cgroup_parent"),
    Opt::str("cgroupns_mode").choices(&["private", "host"]),
    Opt::raw("command"),
    Opt::int("cpu_period"),
    Opt::int("cpu_quota"),
    Opt::int("cpu_shares"),
    Opt::float("cpus"),
    Opt::str("cpuset_cpus"),
    Opt::str("cpuset_mems"),
    Opt::list("devices"),
    Opt::list("dns_opts"),
    Opt::list("dns_search_domains"),
    Opt::list("dns_servers"),
    Opt::str("domainname"),
    Opt::raw("entrypoint"),
    Opt::dict("env"),
    Opt::path("env_file"),
    Opt::dict("etc_hosts"),
    Opt::list("exposed_ports").aliases(&["exposed", "expose"]),
    Opt::list("groups"),
    Opt::dict("healthcheck"),
    Opt::str("hostname"),
    Opt::bool("init"),
    Opt::bool("interactive"),
    Opt::str("ipc_mode"),
    Opt::dict("labels"),
    Opt::list("links"),
    Opt::str("log_driver"),
    Opt::dict("log_options").aliases(&["log_opt"]),
    Opt::str("mac_address"),
    Opt::str("memory"),
    Opt::str("memory_reservation"),
    Opt::str("memory_swap"),
    Opt::int("memory_swappiness"),
    Opt::raw_list("mounts"),
    Opt::str("network_mode"),
    Opt::bool("oom_killer"),
    Opt::int("oom_score_adj"),
    Opt::str("pid_mode"),
    Opt::int("pids_limit"),
    Opt::bool("privileged"),
    Opt::bool("publish_all_ports"),
    Opt::list("published_ports").aliases(&["ports"]),
    Opt::bool("read_only"),
    Opt::str("restart_policy").choices(&["no", "on-failure", "always", "unless-stopped"]),
    Opt::int("restart_retries"),
    Opt::str("runtime"),
    Opt::list("security_opts"),
    Opt::str("shm_size"),
    Opt::str("stop_signal"),
    Opt::int("stop_timeout"),
    Opt::dict("storage_opts"),
    Opt::dict("sysctls"),
    Opt::list("tmpfs"),
    Opt::bool("tty"),
    Opt::list("ulimits"),
    Opt::str("user"),
    Opt::str("userns_mode"),
    Opt::str("uts"),
    Opt::str("volume_driver"),
    Opt::list("volumes"),
    Opt::list("volumes_from"),
    Opt::str("working_dir"),
];

/// What must be done; an empty plan is a container that is as wanted.
#[derive(Default)]
pub struct Plan {
    /// Only the pull tells what else must be done.
    pull: bool,
    remove: bool,
    create: bool,
    update: Map<String, Value>,
    disconnect: Vec<String>,
    connect: Vec<(String, Value)>,
    stop: bool,
    start: bool,
    restart: bool,
    /// Nothing to change, but health to be waited for.
    wait: bool,
    before: Map<String, Value>,
    after: Map<String, Value>,
}

impl Plan {
    fn changes(&self) -> bool {
        self.remove
            || self.create
            || self.stop
            || self.start
            || self.restart
            || !(self.update.is_empty() && self.disconnect.is_empty() && self.connect.is_empty())
    }

    fn differs(&mut self, name: &str, before: impl Into<Value>, after: impl Into<Value>) {
        self.before.insert(name.to_owned(), before.into());
        self.after.insert(name.to_owned(), after.into());
    }
}

impl Module for DockerContainer {
    const SPEC: Spec = Spec {
        collections: &["community.docker", "community.general"],
        options: &[OPTIONS, docker::OPTIONS],
        ..Spec::new("docker_container")
    };
    type Args = Args;
    type Change = Plan;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Plan>, Fault> {
        let docker = Docker::new(args, host)?;
        let current = container(&docker, name(args))?;
        let plan = plan(args, &docker, current.as_ref(), true)?;
        if !plan.changes() && !plan.pull && !plan.wait {
            return Ok(Inspection::Same(described(Outcome::same(), current)));
        }
        let mut predicted =
            described(if plan.changes() { Outcome::changed() } else { Outcome::same() }, current);
        if plan.changes() {
            predicted.diff = vec![json!({"before": plan.before, "after": plan.after})];
        }
        Ok(Inspection::Differs { change: plan, predicted })
    }

    fn apply(args: &Args, mut change: Plan, host: &Host<'_>) -> Result<Outcome, Fault> {
        let docker = Docker::new(args, host)?;
        let name = name(args);
        let current = container(&docker, name)?;
        if change.pull {
            let image = image_of(args, current.as_ref()).unwrap_or_default();
            docker::pull(&docker, &image, text(args, "platform"))?;
            change = plan(args, &docker, current.as_ref(), false)?;
        }
        let mut outcome = if change.changes() { Outcome::changed() } else { Outcome::same() };
        carry_out(args, &docker, &change, current.as_ref())?;
        if change.start && args.get("detach") == Some(&json!(false)) {
            outcome = finish(args, &docker, outcome)?;
        }
        if text(args, "state") == Some("healthy") {
            healthy(args, &docker, host)?;
        }
        match outcome.values.contains_key("container") {
            true => Ok(outcome),
            false => Ok(described(outcome, container(&docker, name)?)),
        }
    }
}

fn name(args: &Args) -> &str {
    text(args, "name").unwrap_or_default()
}

fn described(outcome: Outcome, container: Option<Value>) -> Outcome {
    match container {
        Some(container) => outcome.with("container", container),
        None => outcome,
    }
}

fn container(docker: &Docker<'_>, name: &str) -> Result<Option<Value>, Fault> {
    docker.get(&format!("look for the container `{name}`"), &format!("/containers/{name}/json"))
}

fn running(container: &Value) -> bool {
    container["State"]["Running"] == true
}

/// Compares. `may_pull`: a pull may still come first.
fn plan(args: &Args, docker: &Docker<'_>, current: Option<&Value>, may_pull: bool) -> Result<Plan, Fault> {
    let mut plan = Plan::default();
    let state = text(args, "state").unwrap_or("started");
    let status = |c: &Value| c["State"]["Status"].as_str().unwrap_or("present").to_owned();
    let was = current.map_or("absent".to_owned(), status);
    if state == "absent" {
        plan.remove = current.is_some();
        if plan.remove {
            plan.differs("state", was, "absent");
        }
        return Ok(plan);
    }
    let image_name = image_of(args, current).ok_or_else(|| {
        Fault::new(format!(
            "there is no container `{}` yet, so `image` must say what to make it of",
            name(args)
        ))
    })?;
    let image = docker::image(docker, &image_name)?;
    let pull = args.get("pull").map(word).unwrap_or_default().to_lowercase();
    let wanted = text(args, "image").is_some();
    match pull.as_str() {
        "" | "missing" | "false" | "no" | "never" | "always" | "true" | "yes" => {}
        other => {
            return Err(Fault::new(format!(
                "`pull` is `{other}`, and `missing`, `always` or `never` is wanted"
            )));
        }
    }
    let always = matches!(pull.as_str(), "always" | "true" | "yes");
    plan.pull = may_pull && wanted && (always || image.is_none() && pull != "never");
    if wanted && image.is_none() && !plan.pull {
        let why = if pull == "never" { ", and `pull` is `never`" } else { "" };
        return Err(Fault::new(format!("the daemon has no image `{image_name}`{why}")));
    }
    let wishes = Wishes::of(args)?;
    let mut found = Differences::default();
    match current {
        None => plan.create = true,
        Some(current) => {
            found = wishes.differences(args, current, image.as_ref())?;
            let mine = &current["Image"];
            let other_image = wanted
                && rule(args, "image") != Some("ignore")
                && match &image {
                    Some(image) => image["Id"] != *mine,
                    None => true,
                };
            let other_name = text(args, "image_name_mismatch") == Some("recreate")
                && current["Config"]["Image"].as_str().map(docker::image_name).as_ref() != Some(&image_name);
            if other_image || other_name {
                let id = image.as_ref().map_or(json!("unknown"), |i| i["Id"].clone());
                plan.differs("image", mine.clone(), if other_name { json!(image_name) } else { id });
                found.recreate = true;
            }
            plan.create = found.recreate || on(args, "recreate");
            plan.remove = plan.create;
            if plan.create && !found.recreate {
                plan.differs("recreate", false, true);
            }
        }
    }
    plan.before.append(&mut found.before);
    plan.after.append(&mut found.after);
    if !plan.create {
        plan.update = found.update;
        compare_networks(args, current.unwrap_or(&Value::Null), &mut plan)?;
    }
    let runs = current.is_some_and(running);
    match state {
        "stopped" => plan.stop = runs && !plan.create,
        "present" => {}
        _ => {
            plan.start = !runs || plan.create;
            plan.restart = on(args, "restart") && !plan.start;
            plan.wait = state == "healthy";
        }
    }
    let will = match state {
        "stopped" if runs || plan.create => "stopped",
        "present" | "stopped" if plan.create => "present",
        "present" | "stopped" => &was,
        _ => "running",
    };
    if was != will && plan.changes() {
        plan.differs("state", was.clone(), will);
    }
    if plan.restart {
        plan.differs("restarted", false, true);
    }
    Ok(plan)
}

fn compare_networks(args: &Args, current: &Value, plan: &mut Plan) -> Result<(), Fault> {
    let rule = rule(args, "networks");
    if rule == Some("ignore") {
        return Ok(());
    }
    let none = Map::new();
    let there = current["NetworkSettings"]["Networks"].as_object().unwrap_or(&none);
    let wanted = networks(args)?;
    for (name, end) in &wanted {
        let same = match there.get(name) {
            None => false,
            Some(has) => end.as_object().into_iter().flatten().all(|(key, value)| match (&has[key], value) {
                // Docker adds the container's own id.
                (Value::Array(has), Value::Array(value)) => value.iter().all(|v| has.contains(v)),
                (has, value) => covers(has, value),
            }),
        };
        if !same {
            if there.contains_key(name) {
                plan.disconnect.push(name.clone());
            }
            plan.connect.push((name.clone(), end.clone()));
        }
    }
    let purge = on(args, "purge_networks") || rule == Some("strict") && args.contains_key("networks");
    if purge {
        plan.disconnect.extend(there.keys().filter(|n| !wanted.iter().any(|(w, _)| w == *n)).cloned());
    }
    if !plan.connect.is_empty() || !plan.disconnect.is_empty() {
        let after: Vec<&String> = wanted.iter().map(|(n, _)| n).collect();
        plan.differs("networks", there.keys().cloned().collect::<Vec<_>>(), json!(after));
    }
    Ok(())
}

fn carry_out(args: &Args, docker: &Docker<'_>, plan: &Plan, current: Option<&Value>) -> Result<(), Fault> {
    let name = name(args);
    let post = |doing: &str, path: String, body: Body<'_>| {
        // Without a limit: stopping waits for the container.
        let answer = docker.raw("POST", &path, body, &[], None)?;
        if answer.status >= 400 {
            return Err(Fault::new(format!("cannot {doing} the container `{name}`: {}", answer.message())));
        }
        Ok(())
    };
    let stop = || {
        if on(args, "force_kill") {
            let signal = text(args, "kill_signal").unwrap_or("SIGKILL");
            return post(
                "kill",
                format!("/containers/{name}/kill?signal={}", escaped(signal)),
                Body::Nothing,
            );
        }
        let time =
            args.get("stop_timeout").and_then(Value::as_i64).map_or(String::new(), |t| format!("?t={t}"));
        post("stop", format!("/containers/{name}/stop{time}"), Body::Nothing)
    };
    if plan.remove && current.is_some() {
        if current.is_some_and(running) {
            stop()?;
        }
        remove(args, docker)?;
    }
    if plan.create {
        let image = image_of(args, current).unwrap_or_default();
        let mut body = Wishes::of(args)?.body(&image);
        let networks = networks(args)?;
        // As the command line does it: the first network is the container's mode, others are joined.
        if let Some((first, end)) = networks.first() {
            if text(args, "network_mode").is_none() {
                body["HostConfig"]["NetworkMode"] = json!(first);
            }
            body["NetworkingConfig"] = json!({"EndpointsConfig": {first.as_str(): end}});
        }
        if list(args, "published_ports").iter().any(|p| p == "all") {
            body["HostConfig"]["PublishAllPorts"] = json!(true);
        }
        let platform = text(args, "platform").map_or(String::new(), |p| format!("&platform={}", escaped(p)));
        post("create", format!("/containers/create?name={}{platform}", escaped(name)), Body::Json(&body))?;
        for (network, end) in networks.iter().skip(1) {
            connect(docker, name, network, end)?;
        }
    }
    if !plan.update.is_empty() {
        let body = Value::Object(plan.update.clone());
        post("update", format!("/containers/{name}/update"), Body::Json(&body))?;
    }
    for network in &plan.disconnect {
        let doing = format!("disconnect `{name}` from the network `{network}`");
        let body = json!({"Container": name, "Force": true});
        docker.ask(&doing, "POST", &format!("/networks/{network}/disconnect"), Body::Json(&body))?;
    }
    for (network, end) in &plan.connect {
        connect(docker, name, network, end)?;
    }
    if plan.stop {
        stop()?;
    }
    if plan.start {
        post("start", format!("/containers/{name}/start"), Body::Nothing)?;
    }
    if plan.restart {
        let time =
            args.get("stop_timeout").and_then(Value::as_i64).map_or(String::new(), |t| format!("?t={t}"));
        post("restart", format!("/containers/{name}/restart{time}"), Body::Nothing)?;
    }
    Ok(())
}

fn connect(docker: &Docker<'_>, name: &str, network: &str, end: &Value) -> Result<(), Fault> {
    let body = json!({"Container": name, "EndpointConfig": end});
    let doing = format!("connect `{name}` to the network `{network}`");
    docker.ask(&doing, "POST", &format!("/networks/{network}/connect"), Body::Json(&body)).map(drop)
}

fn remove(args: &Args, docker: &Docker<'_>) -> Result<(), Fault> {
    let name = name(args);
    let path = format!("/containers/{name}?force=true&v={}", !on(args, "keep_volumes"));
    let answer = docker.raw("DELETE", &path, Body::Nothing, &[], None)?;
    // With `auto_remove` Docker itself does it after the stop, and both answers say so.
    match answer.status {
        404 | 409 => {}
        400.. => {
            return Err(Fault::new(format!("cannot remove the container `{name}`: {}", answer.message())));
        }
        _ => {}
    }
    let deadline = Instant::now() + seconds(args, "removal_wait_timeout", 60.0);
    while container(docker, name)?.is_some() {
        if Instant::now() > deadline {
            return Err(Fault::new(format!("the container `{name}` was removed and is still there")));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Between two looks at something that Docker only shows when it is asked.
const POLL: Duration = Duration::from_millis(200);

fn seconds(args: &Args, option: &str, usual: f64) -> Duration {
    let given = args.get(option).and_then(Value::as_f64).unwrap_or(usual);
    Duration::try_from_secs_f64(given).unwrap_or(Duration::MAX / 4)
}

/// Waits for the end of a container in the foreground, and gives what it said.
fn finish(args: &Args, docker: &Docker<'_>, outcome: Outcome) -> Result<Outcome, Fault> {
    let name = name(args);
    let waited = docker.raw("POST", &format!("/containers/{name}/wait"), Body::Nothing, &[], None)?;
    let status = waited.json()["StatusCode"].as_i64().unwrap_or(0);
    let logs =
        docker.raw("GET", &format!("/containers/{name}/logs?stdout=1&stderr=1"), Body::Nothing, &[], None)?;
    let said = if on(args, "tty") { logs.body } else { demultiplexed(&logs.body) };
    let said = String::from_utf8_lossy(&said).into_owned();
    let mut there = container(docker, name)?.unwrap_or(json!({}));
    there["Output"] = json!(said);
    if on(args, "cleanup") && !on(args, "auto_remove") {
        remove(args, docker)?;
    }
    if status != 0 {
        let fault = Fault::new(format!("the container `{name}` ended with status {status}"));
        return Err(fault.with("status", status).with("stdout", said).with("container", there));
    }
    Ok(outcome.with("status", status).with("container", there))
}

/// The text in a log that has a head of eight bytes before each piece.
fn demultiplexed(mut bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(8) {
        let size = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let piece = &rest[..size.min(rest.len())];
        text.extend_from_slice(piece);
        bytes = &rest[piece.len()..];
    }
    text
}

fn healthy(args: &Args, docker: &Docker<'_>, host: &Host<'_>) -> Result<(), Fault> {
    let name = name(args);
    let deadline = Instant::now() + seconds(args, "healthy_wait_timeout", 300.0);
    loop {
        let there = container(docker, name)?.unwrap_or_default();
        let problem = match there["State"]["Health"]["Status"].as_str() {
            Some("healthy") => return Ok(()),
            None => Some("has no health check".to_owned()),
            Some("unhealthy") => Some("is unhealthy".to_owned()),
            Some(_) if !running(&there) => Some("does not run".to_owned()),
            Some(status) if Instant::now() > deadline => Some(format!("is still `{status}`")),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            return Err(Fault::new(format!("the container `{name}` {problem}")).with("container", there));
        }
        if host.runner.cancelled() {
            return Err(Fault::new("the step was cancelled while it waited for the container"));
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::docker::fake::Daemon;
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::testing::{changes_once, run};

    /// A daemon with one image, `dcos:latest`, and at most one container, `master`.
    fn daemon() -> Daemon {
        let state: Arc<Mutex<Option<Value>>> = Arc::default();
        let images = Arc::new(Mutex::new(vec!["dcos:latest".to_owned()]));
        Daemon::answering(move |method, path, body| {
            let mut state = state.lock().expect("lock");
            let mut images = images.lock().expect("lock");
            let nothing = (404, json!({"message": "no such thing"}));
            let route = path.split('?').next().unwrap_or_default();
            if let Some(image) = route.strip_prefix("/images/").and_then(|r| r.strip_suffix("/json")) {
                let config = json!({"Env": ["PATH=/bin"], "Labels": {"maintainer": "me"}});
                let there = images.iter().any(|i| i == image);
                return if there {
                    (200, json!({"Id": format!("sha256:{image}"), "Config": config}))
                } else {
                    nothing
                };
            }
            match (method, route) {
                ("POST", "/images/create") => {
                    images.push("other:1".into());
                    (200, json!("{\"status\": \"done\"}\n"))
                }
                ("GET", "/containers/master/json") => state.clone().map_or(nothing, |s| (200, s)),
                ("GET", "/containers/master/logs") => (200, json!("\u{1}\0\0\0\0\0\0\u{3}out")),
                ("POST", "/containers/master/wait") => (200, json!({"StatusCode": 3})),
                ("POST", "/containers/create") => {
                    let mut env = body["Env"].as_array().cloned().unwrap_or_default();
                    env.push("PATH=/bin".into());
                    let mut config = body.clone();
                    config["Env"] = env.into();
                    config["Labels"]["maintainer"] = "me".into();
                    let mut host = body["HostConfig"].clone();
                    if host["NetworkMode"].is_null() {
                        host["NetworkMode"] = "default".into();
                    }
                    let network = host["NetworkMode"].as_str().unwrap_or_default().to_owned();
                    *state = Some(json!({
                        "Id": "c1", "Name": "/master", "Image": format!("sha256:{}", body["Image"].as_str().unwrap_or_default()),
                        "State": {"Status": "created", "Running": false}, "Config": config, "HostConfig": host,
                        "NetworkSettings": {"Networks": {network: {"Aliases": ["c1"]}}},
                    }));
                    (201, json!({"Id": "c1"}))
                }
                ("POST", "/containers/master/start") => {
                    state.as_mut().expect("one")["State"] = json!({"Status": "running", "Running": true});
                    (204, Value::Null)
                }
                ("POST", "/containers/master/stop") => {
                    state.as_mut().expect("one")["State"] = json!({"Status": "exited", "Running": false});
                    (204, Value::Null)
                }
                ("POST", "/containers/master/restart") => (204, Value::Null),
                ("POST", "/containers/master/update") => {
                    for (key, value) in body.as_object().expect("a mapping") {
                        state.as_mut().expect("one")["HostConfig"][key] = value.clone();
                    }
                    (200, json!({}))
                }
                ("POST", "/networks/dcos/connect") => {
                    let mut end = body["EndpointConfig"].clone();
                    end["Extra"] = true.into();
                    state.as_mut().expect("one")["NetworkSettings"]["Networks"]["dcos"] = end;
                    (200, Value::Null)
                }
                ("DELETE", "/containers/master") => {
                    *state = None;
                    (204, Value::Null)
                }
                other => panic!("{other:?}"),
            }
        })
    }

    fn with(daemon: &Daemon, more: Value) -> Value {
        let mut args = json!({"docker_host": daemon.address, "name": "master"});
        for (key, value) in more.as_object().expect("a mapping") {
            args[key] = value.clone();
        }
        args
    }

    /// As DC/OS runs.
    fn master(daemon: &Daemon, more: Value) -> Value {
        let mut args = json!({
            "image": "dcos", "privileged": true, "network_mode": "host", "tty": true, "interactive": true,
            "volumes": ["/var/lib/mesos-master:/data"], "env": {"MESOS_CLUSTER_SIZE": 3, "MESOS_QUORUM": "2"},
            "restart_policy": "always", "published_ports": ["80:80", "127.0.0.1:8000-8001:9000-9001/udp"],
            "command": "sh -c 'a b'", "memory": "1G", "ulimits": ["nofile:10:20"], "capabilities": ["SYS_ADMIN"],
            "healthcheck": {"test": "true", "interval": "1m30s"}, "log_driver": "json-file", "labels": {"role": "master"},
        });
        for (key, value) in more.as_object().expect("a mapping") {
            args[key] = value.clone();
        }
        with(daemon, args)
    }

    #[test]
    fn a_container_is_created_kept_updated_in_place_made_anew_stopped_and_removed() {
        let daemon = daemon();
        let applied = changes_once("docker_container", &master(&daemon, json!({})), || true);
        assert_eq!(
            daemon.changes(),
            ["POST /containers/create?name=master", "POST /containers/master/start"]
        );
        let made = &applied["container"];
        assert_eq!(made["State"]["Status"], "running");
        assert_eq!(made["Config"]["Cmd"], json!(["sh", "-c", "a b"]));
        assert_eq!(made["Config"]["Env"], json!(["MESOS_CLUSTER_SIZE=3", "MESOS_QUORUM=2", "PATH=/bin"]));
        assert_eq!(made["Config"]["ExposedPorts"], json!({"80/tcp": {}, "9000/udp": {}, "9001/udp": {}}));
        let host = &made["HostConfig"];
        assert_eq!(host["PortBindings"]["9001/udp"], json!([{"HostIp": "127.0.0.1", "HostPort": "8001"}]));
        assert_eq!((&host["Memory"], &host["Privileged"]), (&json!(1_u64 << 30), &json!(true)));
        assert_eq!(host["Ulimits"], json!([{"Name": "nofile", "Soft": 10, "Hard": 20}]));
        assert_eq!(
            made["Config"]["Healthcheck"],
            json!({"Test": ["CMD-SHELL", "true"], "Interval": 90_000_000_000_u64})
        );

        let less = json!({"memory": "512M", "restart_policy": "unless-stopped"});
        let applied = changes_once("docker_container", &master(&daemon, less.clone()), || true);
        assert_eq!(daemon.changes(), ["POST /containers/master/update"]);
        assert_eq!(applied["diff"][0]["before"]["memory"], 1_u64 << 30);

        // Fewer variables are no difference unless that is asked for; other values are.
        let mut other = master(&daemon, less);
        other["env"] = json!({"MESOS_QUORUM": "2"});
        assert_eq!(run("docker_container", other.clone(), false)["changed"], false);
        other["comparisons"] = json!({"env": "strict"});
        changes_once("docker_container", &other, || true);
        assert_eq!(
            daemon.changes(),
            [
                "POST /containers/master/stop",
                "DELETE /containers/master?force=true&v=true",
                "POST /containers/create?name=master",
                "POST /containers/master/start"
            ]
        );
        other["privileged"] = false.into();
        other["comparisons"] = json!({"*": "ignore"});
        assert_eq!(run("docker_container", other, false)["changed"], false);

        let restart = run("docker_container", with(&daemon, json!({"restart": true})), false);
        assert_eq!(
            (&restart["changed"], daemon.changes()),
            (&json!(true), vec!["POST /containers/master/restart".into()])
        );
        changes_once("docker_container", &with(&daemon, json!({"state": "stopped"})), || true);
        changes_once("docker_container", &with(&daemon, json!({"state": "started"})), || true);
        changes_once("docker_container", &with(&daemon, json!({"state": "absent"})), || true);
    }

    #[test]
    fn networks_are_joined_when_they_are_missing() {
        let daemon = daemon();
        run("docker_container", with(&daemon, json!({"image": "dcos"})), false);
        let joined = with(&daemon, json!({"networks": [{"name": "dcos", "aliases": ["m"]}]}));
        changes_once("docker_container", &joined, || true);
        assert_eq!(daemon.changes().last().map(String::as_str), Some("POST /networks/dcos/connect"));
    }

    #[test]
    fn an_image_that_is_missing_is_pulled_and_one_that_may_not_be_is_told() {
        let (daemon, _root) = (daemon(), FakeRoot::with(&[]));
        let never =
            run("docker_container", with(&daemon, json!({"image": "other:1", "pull": "never"})), false);
        assert_eq!(never["msg"], "the daemon has no image `other:1`, and `pull` is `never`");
        let none = run("docker_container", with(&daemon, json!({})), false);
        assert_eq!(none["msg"], "there is no container `master` yet, so `image` must say what to make it of");
        changes_once("docker_container", &with(&daemon, json!({"image": "other:1"})), || true);
        assert_eq!(daemon.changes()[0], "POST /images/create?fromImage=other&tag=1");
        // A pull that brings the same image changes nothing.
        let again =
            run("docker_container", with(&daemon, json!({"image": "other:1", "pull": "always"})), false);
        assert_eq!(again["changed"], false, "{again:#}");
        let other = run("docker_container", with(&daemon, json!({"image": "dcos"})), true);
        assert_eq!(other["diff"][0]["after"]["image"], "sha256:dcos:latest");
    }

    #[test]
    fn one_in_the_foreground_gives_its_output_and_its_status() {
        let daemon = daemon();
        let ended = run(
            "docker_container",
            with(&daemon, json!({"image": "dcos", "detach": false, "cleanup": true})),
            false,
        );
        assert_eq!(ended["msg"], "the container `master` ended with status 3");
        assert_eq!((&ended["stdout"], &ended["status"]), (&json!("out"), &json!(3)));
        assert!(daemon.changes().iter().any(|c| c.starts_with("DELETE")));
    }

    #[test]
    fn values_that_docker_would_not_understand_are_told_with_their_option() {
        let daemon = daemon();
        let said = |more: Value| {
            let mut args = with(&daemon, json!({"image": "dcos"}));
            for (key, value) in more.as_object().expect("a mapping") {
                args[key] = value.clone();
            }
            run("docker_container", args, true)["msg"].as_str().unwrap_or_default().to_owned()
        };
        for (more, msg) in [
            (json!({"memory": "lots"}), "`memory` is `lots`, and a size as `512M` is wanted"),
            (
                json!({"published_ports": ["a:b"]}),
                "`published_ports` is `b`, and a port or a range of ports is wanted",
            ),
            (
                json!({"published_ports": ["1-3:1-2"]}),
                "`published_ports` is `1-3:1-2`, and a range as long on both sides is wanted",
            ),
            (
                json!({"healthcheck": {"test": "x", "interval": "soon"}}),
                "`interval` is `soon`, and a time as `1m30s` is wanted",
            ),
            (json!({"ulimits": ["nofile"]}), "`ulimits` is `nofile`, and `name:soft:hard` is wanted"),
            (json!({"mounts": [{"source": "/a"}]}), "`mounts` needs `target` in each of them"),
            (json!({"pull": "often"}), "`pull` is `often`, and `missing`, `always` or `never` is wanted"),
        ] {
            assert_eq!(said(more), msg);
        }
        run("docker_container", with(&daemon, json!({"image": "dcos"})), false);
        assert_eq!(
            said(json!({"comparisons": {"volume": "strict"}})),
            "`comparisons` names `volume`, which is no option to compare, did you mean `volumes`?"
        );
        assert_eq!(
            said(json!({"comparisons": {"env": "loose"}})),
            "`comparisons` wants `strict`, `ignore` or `allow_more_present` for `env`, not `loose`"
        );
    }
}
