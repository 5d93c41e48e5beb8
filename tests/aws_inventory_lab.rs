//! EC2's inventory end to end: instances of an emulated account whose addresses are real hosts, which are provisioned through
//! the shipped inventory and a jump host.
//!
//! Needs the emulator and what a lab needs; says so and passes where they are missing.

#[path = "support/emulator.rs"]
mod emulator;
mod lab;

use std::process::{Command, Stdio};

use emulator::{Emulator, tag};
use lab::{BINARY, TestLab, shipped_inventory};
use serde_json::Value as Json;

const NETWORK: &str = "10.81.0";
const JUMP: &str = "10.81.0.41";

/// One bootstrap host, one master, one private agent and a host that is no node: the door to the others.
fn booted() -> Option<TestLab> {
    let text = shipped_inventory("ec2inv", NETWORK);
    let text = text.replace("masters: {count: 3", "masters: {count: 1");
    let text = text.replace("private_agents: {count: 2", "private_agents: {count: 1");
    let text = text.replace("public_agents: {count: 1", "public_agents: {count: 0");
    let text = text.replace("\ngroups:\n", "\ngroups:\n  jumps: {count: 1, name: jump, address: 41}\n");
    let test = TestLab::up(&text)?;
    test.copy("playbooks");
    test.copy("roles");
    test.copy("inventory");
    Some(test)
}

/// Instances with the addresses of the lab's hosts.
fn account(aws: &Emulator) {
    let region = "eu-west-1";
    let made = aws.ec2(region, &[("Action", "CreateVpc"), ("CidrBlock", "10.81.0.0/16")]);
    let vpc = tag(&made, "vpcId").to_owned();
    let subnet = [("Action", "CreateSubnet"), ("VpcId", &vpc), ("CidrBlock", "10.81.0.0/24")];
    let made = aws.ec2(region, &subnet);
    let subnet = tag(&made, "subnetId").to_owned();
    for (role, last) in [("bootstrap", 10), ("master", 11), ("private_agent", 21), ("jump_host", 41)] {
        let address = format!("{NETWORK}.{last}");
        let made = aws.ec2(
            region,
            &[
                ("Action", "RunInstances"),
                ("ImageId", "ami-12345678"),
                ("InstanceType", "m5.large"),
                ("MinCount", "1"),
                ("MaxCount", "1"),
                ("NetworkInterface.1.DeviceIndex", "0"),
                ("NetworkInterface.1.SubnetId", &subnet),
                ("NetworkInterface.1.AssociatePublicIpAddress", "false"),
                ("NetworkInterface.1.PrivateIpAddress", &address),
                ("TagSpecification.1.ResourceType", "instance"),
                ("TagSpecification.1.Tag.1.Key", "role"),
                ("TagSpecification.1.Tag.1.Value", role),
                ("TagSpecification.1.Tag.2.Key", "dcos-play:owner"),
                ("TagSpecification.1.Tag.2.Value", "c1"),
            ],
        );
        if role == "jump_host" {
            // The emulator gives the public address that one asks for.
            let allocate = [("Action", "AllocateAddress"), ("Domain", "vpc"), ("Address", JUMP)];
            let allocated = aws.ec2(region, &allocate);
            let associate = [
                ("Action", "AssociateAddress"),
                ("AllocationId", tag(&allocated, "allocationId")),
                ("InstanceId", tag(&made, "instanceId")),
            ];
            aws.ec2(region, &associate);
        }
    }
}

/// Runs the binary in the lab's project; its two outputs, and what came back.
fn run(aws: &Emulator, test: &TestLab, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(BINARY)
        .current_dir(test.project())
        .env("XDG_STATE_HOME", test.project().join("../state"))
        .env("XDG_CACHE_HOME", test.project().join("../cache"))
        .env("NO_COLOR", "1")
        .envs(aws.environment())
        .stdin(Stdio::null())
        .args(args)
        .output()
        .expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

#[test]
fn instances_become_a_cluster_through_the_shipped_inventory_and_a_jump_host() {
    let Some(aws) = Emulator::start() else { return };
    let Some(test) = booted() else { return };
    account(&aws);

    // What only the lab has: its key, its host keys, a user, and where it keeps releases.
    let (status, said) = run(&aws, &test, &["inventory", "-i", "lab.yml", "host", "jump1", "--json"]);
    assert_eq!(status, Some(0), "{said}");
    let jump: Json = serde_json::from_str(&said).expect("JSON");
    let word = |text: &str, name: &str| {
        text.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned))
    };
    let args = jump["ansible_ssh_common_args"].as_str().expect("arguments");
    let known_hosts = word(args, "UserKnownHostsFile=").expect("a file of host keys");
    let key = jump["ansible_ssh_private_key_file"].as_str().expect("a key");
    let config = test.project().join("ssh_config");
    let settings = format!(
        "Host {NETWORK}.*\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known_hosts}\n  \
         StrictHostKeyChecking yes\n"
    );
    fs_err::write(&config, settings).expect("written");
    let vars = fs_err::read_to_string(test.project().join("lab.yml")).expect("the lab");
    let vars =
        vars.split_once("\nvars:\n").and_then(|(_, rest)| rest.split_once("\ngroups:")).expect("variables").0;
    let vars: Vec<&str> = vars
        .lines()
        .filter(|line| !line.contains("private_ip:") && !line.contains("cluster_name:"))
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .collect();
    fs_err::write(test.project().join("lab_vars.yml"), vars.join("\n")).expect("written");
    test.edit("inventory/ec2.yml", "role=jump_host, user: centos}", "role=jump_host, user: root}");
    test.edit("inventory/ec2.yml", "ansible_user: \"'centos'\"", "ansible_user: \"'root'\"");
    // The lab's host keys are its own.
    let pinned = r#"  ansible_ssh_extra_args: "'-o \"UserKnownHostsFile=.dcos-play/known_hosts ~/.ssh/known_hosts\"'""#;
    test.edit("inventory/ec2.yml", &format!("{pinned}\n"), "");
    let compose = format!("compose:\n  ansible_ssh_common_args: \"'-F {}'\"\n", config.display());
    test.edit("inventory/ec2.yml", "compose:\n", &compose);

    let common = ["-i", "inventory/ec2.yml", "-e", "cluster_name=c1", "-e", "@lab_vars.yml"];
    let with = |args: &[&'static str]| [args, &common].concat();
    fs_err::write(
        test.project().join("way.yml"),
        "- hosts: dcos
  gather_facts: false
  tasks:
    - raw: echo $SSH_CONNECTION
      register: way
    - assert: {that: \"way.stdout.split()[0] == '10.81.0.41'\", fail_msg: \"{{ way.stdout }}\"}
",
    )
    .expect("written");
    let (status, said) = run(&aws, &test, &with(&["run", "way.yml"]));
    assert_eq!(status, Some(0), "{said}");

    let (status, said) = run(&aws, &test, &with(&["run", "playbooks/provision.yml"]));
    assert_eq!(status, Some(0), "{said}");
    for host in ["bootstrap1", "master1", "agent1"] {
        let found = test.on(host, "cat /var/log/dcos-standin/violations.jsonl 2>/dev/null || true");
        assert_eq!(found, "", "violations on {host}");
    }
    for (host, role) in [("master1", "master"), ("agent1", "slave")] {
        assert_eq!(test.on(host, "ls /etc/mesosphere/roles"), role, "{host}");
    }
    let (status, said) = run(&aws, &test, &with(&["run", "playbooks/provision.yml"]));
    assert_eq!(status, Some(0), "{said}");
    for host in ["bootstrap-10.81.0.10", "master-10.81.0.11", "private_agent-10.81.0.21"] {
        let row = said
            .lines()
            .find(|l| l.starts_with(host) && l.contains("ok="))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(row.contains("changed=0"), "{row}");
    }
}
