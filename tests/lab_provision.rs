//! The whole provision on real hosts: reboot, second run, a host lost in the middle, an installer that fails, a controller
//! that dies. Needs root and the programs of `dcos-play lab`; says so and passes where they are missing.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Project, Said, journal};

const LIMIT: Duration = Duration::from_secs(180);

/// A copy of the shipped content with a lab of its own, which goes down with the test.
struct Cluster {
    project: Project,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.command(&["lab", "down", "-i", "inventory/lab.yml"]).output());
    }
}

/// Why there can be no lab here; `None`: there can.
fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("a lab needs root".to_owned());
    }
    for program in ["systemd-nspawn", "debootstrap", "ip", "ssh"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|p: std::path::PathBuf| p.join(program).exists());
        if !found {
            return Some(format!("`{program}` is missing"));
        }
    }
    None
}

impl Cluster {
    /// The shipped playbooks and roles, linked, and an inventory with these numbers of hosts.
    fn new(network: &str, masters: u32, private: u32, public: u32) -> Self {
        let project = Project::new();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["playbooks", "roles", "lab"] {
            let copied = Command::new("cp")
                .arg("-r")
                .arg(here.join(folder))
                .arg(project.path(folder))
                .status()
                .expect("cp runs");
            assert!(copied.success());
        }
        let shipped = fs_err::read_to_string(here.join("inventory/lab.yml")).expect("the shipped lab");
        let text = shipped
            .replace(
                "network: 10.77.0.0/24",
                &format!("name: p{}\nnetwork: {network}.0/24", std::process::id()),
            )
            .replace("10.77.0.1", &format!("{network}.1"))
            .replace("masters: {count: 3", &format!("masters: {{count: {masters}"))
            .replace("private_agents: {count: 2", &format!("private_agents: {{count: {private}"))
            .replace("public_agents: {count: 1", &format!("public_agents: {{count: {public}"));
        project.file("inventory/lab.yml", &text);
        Self { project }
    }

    /// With the user's own home: the lab's image is cached there, and building one takes most of a minute.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command(args);
        for name in ["HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"] {
            match std::env::var_os(name) {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().expect("the binary runs");
        Said {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn provision(&self, more: &[&str]) -> Said {
        let mut args = vec!["run", "playbooks/provision.yml", "-i", "inventory/lab.yml"];
        args.extend(more);
        self.run(&args)
    }

    fn on(&self, host: &str, script: &str) -> String {
        let said = self.run(&["lab", "exec", "-i", "inventory/lab.yml", host, "--", "sh", "-c", script]);
        said.out
    }

    fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        self.project.journal().into_iter().filter(|e| e["event"] == kind).collect()
    }

    /// `changed` of every host in the recap.
    fn changed(&self) -> BTreeMap<String, u64> {
        let end = self.events("run_finished").pop().expect("an end");
        let hosts = end["totals"]["hosts"].as_object().expect("hosts").clone();
        hosts.into_iter().map(|(host, row)| (host, row["changed"].as_u64().expect("a number"))).collect()
    }
}

fn skipped() -> bool {
    let Some(why) = obstacle() else { return false };
    drop(writeln!(std::io::stderr(), "skipped: {why}"));
    true
}

fn fine(said: &Said) {
    assert_eq!(said.status, 0, "{}\n{}", said.out, said.err);
}

#[test]
fn seven_hosts_become_a_cluster_and_the_second_run_changes_nothing() {
    if skipped() {
        return;
    }
    let cluster = Cluster::new("10.81.0", 3, 2, 1);
    fine(&cluster.provision(&[]));
    let rebooted: BTreeSet<String> = cluster
        .events("host_rebooted")
        .iter()
        .map(|e| e["host"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(rebooted.len(), 7, "every host really rebooted: {rebooted:?}");
    let status = cluster
        .on("master1", "curl -s http://$(hostname -I | cut -d' ' -f1):8181/exhibitor/v1/cluster/status");
    let servers: Vec<serde_json::Value> = serde_json::from_str(&status).expect("Exhibitor answers");
    assert_eq!(servers.iter().filter(|s| s["code"] == 3).count(), 3, "{status}");
    assert_eq!(servers.iter().filter(|s| s["isLeader"] == true).count(), 1, "{status}");

    fine(&cluster.provision(&[]));
    let changed = cluster.changed();
    assert_eq!(changed.len(), 7);
    assert!(changed.values().all(|n| *n == 0), "{changed:?}");
    assert!(cluster.events("host_rebooted").is_empty(), "nobody reboots again");
    for host in changed.keys() {
        let violations = cluster.on(host, "cat /var/log/dcos-standin/violations.jsonl 2>/dev/null");
        assert_eq!(violations, "", "{host}");
    }
}

#[test]
fn wrong_input_and_a_dying_controller_are_survived() {
    if skipped() {
        return;
    }
    let cluster = Cluster::new("10.83.0", 1, 1, 0);

    // A typo in a role's variable: told with its place before a host is touched, or when it is used.
    let defaults = "roles/node/tasks/install.yml";
    let good = cluster.project.read(defaults);
    cluster.project.file(defaults, &good.replace("{{ node_role }}", "{{ node_rolle }}"));
    let said = cluster.provision(&[]);
    assert_eq!(said.status, 2, "{}\n{}", said.out, said.err);
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("`node_rolle`") && all.contains("roles/node/tasks/install.yml:45"), "{all}");
    assert!(all.contains("did you mean `node_role`?"), "{all}");
    cluster.project.file(defaults, &good);

    // An installer that fails.
    cluster.on(
        "master1",
        "mkdir -p /etc/mesosphere; echo '{\"fail\": {\"install_exit\": 3}}' > /etc/mesosphere/standin.json",
    );
    // The agent would wait for a master as long as the gates allow.
    let said = cluster.provision(&["-e", "verify_deadline=10"]);
    assert_eq!(said.status, 2, "{}\n{}", said.out, said.err);
    assert!(
        said.out.contains("master1 · roles/node/tasks/install.yml:43  \"node : Run the node installer\""),
        "{}",
        said.out
    );
    assert!(said.out.contains("exit status 3"), "{}", said.out);
    cluster.on("master1", "rm -rf /etc/mesosphere /opt/mesosphere");

    // The controller dies in the middle.
    let child = cluster
        .command(&["run", "playbooks/provision.yml", "-i", "inventory/lab.yml"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the run starts");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let path = cluster.project.path(".dcos-play/runs/latest/journal.jsonl");
    cluster.project.until("the installer to start", LIMIT, || {
        journal(&path).iter().any(|e| e["event"] == "step_started" && e["name"] == "Run the node installer")
    });
    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("it lives");
    let mut child = child;
    child.wait().expect("it ends");
    fine(&cluster.provision(&["--resume"]));
    fine(&cluster.provision(&[]));
    assert!(cluster.changed().values().all(|n| *n == 0), "{:?}", cluster.changed());
}

#[test]
fn a_host_lost_in_the_middle_is_told_and_the_next_run_completes() {
    if skipped() {
        return;
    }
    let cluster = Cluster::new("10.82.0", 1, 1, 1);
    fine(&cluster.run(&["lab", "up", "-i", "inventory/lab.yml"]));
    let mut command =
        cluster.command(&["run", "playbooks/provision.yml", "-i", "inventory/lab.yml", "--timeout", "3"]);
    command.env("DCOS_PLAY_RECONNECT", "3");
    let child = command.stdout(std::process::Stdio::piped()).spawn().expect("the run starts");
    let path = cluster.project.path(".dcos-play/runs/latest/journal.jsonl");
    cluster.project.until("the agent's host to work after its reboot", LIMIT, || {
        journal(&path)
            .iter()
            .any(|e| e["event"] == "step_started" && e["host"] == "agent1" && e["name"] == "Install Docker")
    });
    fine(&cluster.run(&["lab", "stop", "-i", "inventory/lab.yml", "agent1", "--hard"]));
    let output = child.wait_with_output().expect("the run ends");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(2 | 4)), "{out}");
    assert!(out.contains("agent1 ·") && out.contains("unreachable"), "{out}");
    let end = cluster.events("run_finished").pop().expect("an end");
    assert_eq!(end["totals"]["hosts"]["agent1"]["unreachable"], 1, "{out}");

    // The inventory is the lab's: the next run boots what does not run.
    fine(&cluster.provision(&[]));
    fine(&cluster.provision(&[]));
    assert!(cluster.changed().values().all(|n| *n == 0));
}
