//! Provisions that go wrong in the middle on real hosts: what is told, and that the next run completes.
//!
//! Needs root and the programs that `dcos-play lab` needs; says so and passes where they are missing.

mod lab;

use dcos_play::lab::{Silent, Stop};
use lab::{Ran, TestLab, shipped_inventory};

const PLAYBOOK: &str = "playbooks/provision.yml";
const NETWORK: &str = "10.88.0";
const HOSTS: [&str; 3] = ["bootstrap1", "master1", "agent1"];

/// One bootstrap host, one master, one private agent, and the shipped content in the project.
fn lab(name: &str) -> Option<TestLab> {
    let text = shipped_inventory(name, NETWORK);
    let text = text.replace("masters: {count: 3", "masters: {count: 1");
    let text = text.replace("private_agents: {count: 2", "private_agents: {count: 1");
    let text = text.replace("public_agents: {count: 1", "public_agents: {count: 0");
    let test = TestLab::up(&text)?;
    test.copy("playbooks");
    test.copy("roles");
    Some(test)
}

/// The cluster serves, nothing is left to do, and the stand-in has seen nothing that would harm a real cluster.
fn complete(test: &TestLab, arguments: &[&str]) {
    test.run(arguments).ended(0);
    let again: Ran = test.run(arguments).ended(0);
    let totals = again.totals();
    for host in HOSTS {
        assert_eq!(totals[host]["changed"], 0, "{host}: {again}");
        let found = test.on(host, "cat /var/log/dcos-standin/violations.jsonl 2>/dev/null || true");
        assert_eq!(found, "", "violations on {host}");
    }
    assert_eq!(again.all("host_rebooted").count(), 0, "{again}");
}

#[test]
fn killed_controller_leaves_hosts_that_the_next_run_completes() {
    let Some(test) = lab("trkill") else { return };
    let arguments = [PLAYBOOK, "-e", "dcos_version=1.9.10"];

    let mut going = test.start(&arguments);
    going.wait_for_task("bootstrap1", "Load overlay at every boot");
    let second = test.run(&arguments).ended(6);
    second.says(&["another run is working on hosts 10.88.0.10, 10.88.0.11, 10.88.0.21"]);
    assert!(second.events.is_empty(), "it has begun nothing: {second}");
    going.wait_for_task("bootstrap1", "Run genconf");
    let killed = going.kill();
    assert_eq!(killed.exit, None, "{killed}");

    complete(&test, &arguments);
}

#[test]
fn wrong_checksum_and_lost_power_are_told_and_the_next_run_completes() {
    let Some(test) = lab("trfail") else { return };
    let arguments = [PLAYBOOK, "-e", "dcos_version=2.0.6"];

    // Another file than the one that was expected.
    let expected = "0".repeat(64);
    let wrong = format!("bootstrap_installer_checksum=sha256:{expected}");
    let ran = test.run(&[&arguments[..], &["-e", &wrong]].concat()).ended(2);
    let block = ran.block("bootstrap1");
    assert!(
        block.contains("roles/bootstrap/tasks/generate.yml:14  \"bootstrap : Fetch the release\""),
        "{block}"
    );
    assert!(block.contains("checksum") && block.contains(&expected), "{block}");
    let left = test.on("bootstrap1", "find /opt/dcos-bootstrap -name '*.sh*'");
    assert_eq!(left, "", "nothing of the wrong file stays");

    // A host whose power goes in the middle.
    let mut going = test.start(&arguments);
    going.wait_for_task("agent1", "Run the node installer");
    test.lab.stop_host("agent1", Stop::Kill, &Silent).expect("stopped");
    let ran = going.end().ended(4);
    let block = ran.block("agent1");
    let told = "✗ agent1 · roles/node/tasks/install.yml:43  \"node : Run the node installer\"\n  \
                unreachable (connection lost) the connection broke while a step ran and did not come back: \
                ssh: connect to host 10.88.0.21 port 22: ";
    assert!(block.starts_with(told), "{block}");
    // The kernel says one or the other, by what it still knows of the neighbour.
    assert!(block.contains(": No route to host\n") || block.contains(": Connection timed out\n"), "{block}");
    assert!(block.contains("\n  next        check that the host runs and that "), "{block}");
    assert_eq!(ran.totals()["master1"]["failed"], 0, "the master isn't held up: {ran}");
    assert!(ran.took < std::time::Duration::from_secs(120), "{ran}");

    // The run boots the host again, because it's one of the lab.
    complete(&test, &arguments);
}
