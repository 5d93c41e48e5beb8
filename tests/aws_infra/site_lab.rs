//! From nothing to a cluster and back in three commands: instances of the emulator whose addresses are real hosts.
//!
//! Needs what a lab needs; says so and passes where that is missing.

use std::collections::HashMap;
use std::process::Command;

use crate::emulator::{Emulator, Fault};
use crate::lab::{BINARY, TestLab, shipped_inventory};
use crate::site::{edit, shipped};

const NETWORK: &str = "10.88.0";
const JUMP: &str = "10.88.0.141";

/// A bootstrap host, a master and an agent on one subnet, and the jump host and a public agent on another one.
fn booted() -> Option<TestLab> {
    let text = shipped_inventory("awssite", NETWORK);
    let text = text.replace("masters: {count: 3", "masters: {count: 1");
    let text = text.replace("private_agents: {count: 2", "private_agents: {count: 1");
    let text = text.replace("name: public, address: 31", "name: public, address: 131");
    TestLab::up(&text.replace("\ngroups:\n", "\ngroups:\n  jumps: {count: 1, name: jump, address: 141}\n"))
}

/// What only the lab knows: the key to log in with, and every host's own keys by its address.
fn keys(test: &TestLab) -> (String, HashMap<String, Vec<String>>) {
    let output = Command::new(BINARY)
        .current_dir(test.project())
        .env("XDG_STATE_HOME", test.project().join("../state"))
        .args(["inventory", "-i", "lab.yml", "host", "jump1", "--json"])
        .output()
        .unwrap();
    let jump: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let args = jump["ansible_ssh_common_args"].as_str().unwrap();
    let file = args.split_once("UserKnownHostsFile=").and_then(|(_, rest)| rest.split_whitespace().next());
    let mut all: HashMap<String, Vec<String>> = HashMap::new();
    for line in std::fs::read_to_string(file.unwrap().trim_matches(['\'', '"'])).unwrap().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = words[0].split(',').find(|name| name.starts_with(NETWORK)).unwrap();
        all.entry(address.to_owned()).or_default().push(format!("{} {} root@host", words[1], words[2]));
    }
    (jump["ansible_ssh_private_key_file"].as_str().unwrap().to_owned(), all)
}

fn console(keys: &[String]) -> String {
    let keys = keys.join("\r\n");
    format!(
        "[ 3.1] cloud-init: done\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n{keys}\r\n-----END SSH HOST KEY KEYS-----\r\nlogin: "
    )
}

/// The shipped playbooks with what this machine cannot have otherwise: addresses, users, the place of releases.
fn project(emulator: &Emulator, test: &TestLab, key: &str) {
    shipped(emulator);
    let folder = emulator.folder.path();
    for (role, address) in [
        ("jump_host", "141"),
        ("bootstrap", "10"),
        ("masters", "11"),
        ("private_agents", "21"),
        ("public_agents", "131"),
    ] {
        let named = if role.ends_with('s') { format!("{role}.type") } else { role.to_owned() };
        let line = format!("          instance_type: \"{{{{ sizes[size].{named} }}}}\"\n");
        let address = format!("          private_ip_addresses: [{NETWORK}.{address}]\n");
        edit(emulator, "playbooks/infrastructure.yml", &line, &format!("{line}{address}"));
    }
    let pinned = folder.join(".dcos-play/known_hosts");
    let config = folder.join("ssh_config");
    let settings = format!(
        "Host {JUMP}\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\nHost {NETWORK}.*\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n",
        pinned.display()
    );
    std::fs::write(&config, settings).unwrap();
    edit(emulator, "inventory/ec2.yml", "role=jump_host, user: centos}", "role=jump_host, user: root}");
    edit(emulator, "inventory/ec2.yml", "ansible_user: \"'centos'\"", "ansible_user: \"'root'\"");
    let compose = format!("compose:\n  ansible_ssh_common_args: \"'-F {}'\"\n", config.display());
    edit(emulator, "inventory/ec2.yml", "compose:\n", &compose);
    let lab = std::fs::read_to_string(test.project().join("lab.yml")).unwrap();
    let vars = lab.split_once("\nvars:\n").and_then(|(_, rest)| rest.split_once("\ngroups:")).unwrap().0;
    let vars: Vec<&str> = vars
        .lines()
        .filter(|line| !line.contains("private_ip:") && !line.contains("cluster_name:"))
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .collect();
    let more = format!(
        "cluster_name: c1\naws_image: ami-785db401\nadmin_cidr: 10.9.0.0/16\nsize: minimal\nssh_public_key_file: key.pub\n\
         network: 10.88.0.0/16\nprivate_network: {NETWORK}.0/25\npublic_networks: [{NETWORK}.128/25, 10.88.1.0/24]\n\
         host_key_timeout: 2\nknown_hosts_file: {}\n",
        pinned.display()
    );
    std::fs::write(folder.join("settings.yml"), format!("{more}{}\n", vars.join("\n"))).unwrap();
}

fn rows<'t>(text: &'t str, of: &str) -> Vec<&'t str> {
    text.lines().filter(|l| l.starts_with(of) && l.contains("ok=")).collect()
}

#[test]
fn three_commands_go_from_nothing_to_a_cluster_on_real_hosts_and_back() {
    let emulator = Emulator::start();
    let Some(test) = booted() else { return };
    let (key, host_keys) = keys(&test);
    project(&emulator, &test, &key);
    emulator.has_one_address();
    // The public agent's image prints no keys.
    for (address, keys) in host_keys.iter().filter(|(address, _)| !address.ends_with(".131")) {
        emulator.shows(address, &console(keys));
    }
    let play = |words: &[&str]| {
        emulator.play(&[words, &["-i", "inventory/ec2.yml", "-e", "@settings.yml"]].concat())
    };
    let (status, text) = play(&["plan", "playbooks/infrastructure.yml"]);
    assert_eq!(status, Some(3), "{text}");
    let (status, text) = play(&["run", "playbooks/site.yml"]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(emulator.running(), 5);
    for (host, role) in [("master1", "master"), ("agent1", "slave"), ("public1", "slave_public")] {
        assert_eq!(test.on(host, "ls /etc/mesosphere/roles"), role, "{host}");
    }
    assert_eq!(
        text.matches("shows no host keys after 2 s: the key of 10.88.0.131 is accepted").count(),
        1,
        "{text}"
    );
    let pinned = std::fs::read_to_string(emulator.folder.path().join(".dcos-play/known_hosts")).unwrap();
    assert_eq!(pinned.lines().filter(|l| l.contains(" i-") && !l.starts_with('#')).count(), 4, "{pinned}");

    // Again: nothing is made, nothing is changed, nobody's key is taken on trust.
    emulator.breaks(Fault::None);
    let (status, text) = play(&["run", "playbooks/site.yml"]);
    assert_eq!((status, emulator.calls()), (Some(0), Vec::new()), "{text}");
    for host in ["localhost", "jump_host-", "bootstrap-", "master-", "private_agent-", "public_agent-"] {
        let rows = rows(&text, host);
        assert!(rows.len() == 1 && rows[0].contains("changed=0"), "{host}: {text}");
    }
    assert!(!text.contains("shows no host keys"), "{text}");

    // Day two works over the same inventory, with the keys that are pinned.
    let (status, text) = play(&["run", "playbooks/provision.yml"]);
    assert_eq!(status, Some(0), "{text}");
    for host in ["bootstrap-", "master-", "private_agent-", "public_agent-"] {
        assert!(rows(&text, host)[0].contains("changed=0"), "{host}: {text}");
    }

    // A host that has another key than its console showed is not spoken to.
    let wrong = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC1Hn8Zl0PbGxAEhZxjQ1sCXDTX8bJGjVkXIcZ7hM3Ui".to_owned();
    emulator.shows("10.88.0.21", &console(&[wrong]));
    let book = "- hosts: private_agents\n  gather_facts: false\n  tasks:\n    - import_tasks: playbooks/tasks/first-contact.yml\n";
    std::fs::write(emulator.folder.path().join("wrong.yml"), book).unwrap();
    edit(&emulator, "playbooks/tasks/first-contact.yml", "timeout: 600", "timeout: 3");
    let other = format!("known_hosts_file: {}/other\n", emulator.folder.path().display());
    std::fs::write(emulator.folder.path().join("other.yml"), other).unwrap();
    let inventory = ["-i", "inventory/ec2.yml", "-e", "@settings.yml", "-e", "@other.yml"];
    let (status, text) = emulator.play(&[&["run", "wrong.yml"], &inventory[..]].concat());
    assert_ne!(status, Some(0), "{text}");
    assert!(text.to_lowercase().contains("host key"), "{text}");

    let (status, text) = play(&["destroy", "-y", "playbooks/infrastructure.yml"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.ends_with("nothing is left of `c1`\n"), "{text}");
    assert_eq!(emulator.running(), 0);
}
