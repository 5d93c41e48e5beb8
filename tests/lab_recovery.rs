//! `playbooks/provision.yml` as users run it, on real hosts that really reboot.
//!
//! Needs root and the programs that `dcos-play lab` needs; says so and passes where they are missing.

mod lab;

use std::time::Duration;

use dcos_play::lab::{Silent, Stop};
use lab::{Ran, TestLab, shipped_inventory};

const PLAYBOOK: &str = "playbooks/provision.yml";
const NETWORK: &str = "10.81.0";
const HOSTS: [&str; 7] = ["bootstrap1", "master1", "master2", "master3", "agent1", "agent2", "public1"];
const SMALL: [&str; 3] = ["bootstrap1", "master1", "agent1"];

fn lab(name: &str, edit: impl Fn(String) -> String) -> Option<TestLab> {
    let test = TestLab::up(&edit(shipped_inventory(name, NETWORK)))?;
    test.copy("playbooks");
    test.copy("roles");
    Some(test)
}

/// One bootstrap host, one master, one private agent.
fn small(name: &str) -> Option<TestLab> {
    lab(name, |text| {
        let text = text.replace("masters: {count: 3", "masters: {count: 1");
        let text = text.replace("private_agents: {count: 2", "private_agents: {count: 1");
        text.replace("public_agents: {count: 1", "public_agents: {count: 0")
    })
}

/// The stand-in has seen nothing that would harm a real cluster.
fn no_violations(test: &TestLab, hosts: &[&str]) {
    for host in hosts {
        let found = test.on(host, "cat /var/log/dcos-standin/violations.jsonl 2>/dev/null || true");
        assert_eq!(found, "", "violations on {host}");
    }
}

fn nothing_changes(ran: &Ran, hosts: &[&str]) {
    let totals = ran.totals();
    for host in hosts {
        assert_eq!(totals[*host]["changed"], 0, "{host}: {ran}");
    }
    assert_eq!(ran.all("host_rebooted").count(), 0, "{ran}");
}

fn rebooted(ran: &Ran) -> Vec<String> {
    let mut hosts: Vec<_> = ran
        .all("host_rebooted")
        .map(|event| {
            assert_ne!(event["before"], event["after"], "a new boot id");
            event["host"].as_str().expect("a host").to_owned()
        })
        .collect();
    hosts.sort();
    hosts
}

#[test]
fn cluster_is_made_with_real_reboots_and_the_second_run_changes_nothing() {
    let Some(test) = lab("tprov", |text| text) else { return };
    let boots = HOSTS.map(|host| test.lab.boot_id(host).expect("a boot id"));

    let first = test.run(&[PLAYBOOK]).ended(0);
    let mut all = HOSTS.map(str::to_owned).to_vec();
    all.sort();
    assert_eq!(rebooted(&first), all);
    for (host, before) in HOSTS.iter().zip(&boots) {
        assert_ne!(&test.lab.boot_id(host).expect("a boot id"), before, "{host} has really rebooted");
    }
    no_violations(&test, &HOSTS);

    let boots = HOSTS.map(|host| test.lab.boot_id(host).expect("a boot id"));
    let second = test.run(&[PLAYBOOK]).ended(0);
    nothing_changes(&second, &HOSTS);
    assert!(second.took < Duration::from_secs(10), "{second}");
    assert_eq!(HOSTS.map(|host| test.lab.boot_id(host).expect("a boot id")), boots);
    no_violations(&test, &HOSTS);
}

#[test]
fn killed_controller_leaves_hosts_that_the_next_run_completes() {
    let Some(test) = small("tprovkill") else { return };
    let version = ["-e", "dcos_version=1.9.10"];
    let arguments = [&[PLAYBOOK][..], &version].concat();

    let mut going = test.start(&arguments);
    going.wait_for_task("bootstrap1", "Load overlay at every boot");
    let second = test.run(&arguments).ended(6);
    second.says(&["another run is working on hosts"]);
    going.wait_for_task("bootstrap1", "Run genconf");
    let killed = going.kill();
    assert_eq!(killed.exit, None, "{killed}");

    test.run(&arguments).ended(0);
    nothing_changes(&test.run(&arguments).ended(0), &SMALL);
    no_violations(&test, &SMALL);
}

#[test]
fn every_failure_tells_where_and_the_next_run_completes() {
    let Some(test) = small("tprovfail") else { return };
    let arguments = [PLAYBOOK, "-e", "dcos_version=2.0.6"];

    // Another file than the one that was expected.
    let wrong = format!("bootstrap_installer_checksum=sha256:{}", "0".repeat(64));
    let ran = test.run(&[PLAYBOOK, "-e", "dcos_version=2.0.6", "-e", &wrong]).ended(2);
    let block = ran.block("bootstrap1");
    assert!(block.contains("roles/bootstrap/tasks/generate.yml:14"), "{block}");
    assert!(block.contains("checksum"), "{block}");
    assert!(block.contains(&"0".repeat(64)), "{block}");

    // A misspelt variable in a role.
    let file = "roles/node/tasks/install.yml";
    let (right, wrong) = ("path: \"{{ node_install_dir }}\"", "path: \"{{ node_instal_dir }}\"");
    test.edit(file, right, wrong);
    let ran = test.run(&arguments).ended(2);
    for host in ["master1", "agent1"] {
        let block = ran.block(host);
        assert!(block.contains(&format!("✗ {host} · {file}:2  \"Create the download folder\"")), "{block}");
        let said = "  msg         `node_instal_dir` is undefined\n                at roles/node/tasks/install.yml:4\n                did you mean `node_install_dir`?";
        assert!(block.contains(said), "{block}");
    }
    test.edit(file, wrong, right);

    // An installer that fails.
    test.on(
        "master1",
        "mkdir -p /etc/mesosphere && echo '{\"fail\": {\"install_exit\": 3}}' >/etc/mesosphere/standin.json",
    );
    let ran = test.run(&arguments).ended(2);
    let block = ran.block("master1");
    assert!(block.contains("roles/node/tasks/install.yml:41  \"Run the node installer\""), "{block}");
    assert!(block.contains("exit status 3"), "{block}");
    test.on("master1", "rm /etc/mesosphere/standin.json");

    // A host whose power goes in the middle.
    let mut going = test.start(&arguments);
    going.wait_for_task("master1", "Run the node installer");
    test.lab.stop_host("master1", Stop::Kill, &Silent).expect("stopped");
    let ran = going.end();
    assert!(matches!(ran.exit, Some(2 | 4)), "{ran}");
    let block = ran.block("master1");
    assert!(block.contains("unreachable"), "{block}");
    assert!(block.contains("Run the node installer"), "{block}");

    // The run boots the host again, because it's one of the lab.
    test.run(&arguments).ended(0);
    nothing_changes(&test.run(&arguments).ended(0), &SMALL);
    no_violations(&test, &SMALL);
}
