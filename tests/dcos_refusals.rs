//! What the shipped playbooks refuse by their settings alone, word for word: before any host is contacted.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use support::Project;

/// Three masters, a newcomer without a part, and addresses that nobody answers.
const HOSTS: &str = "[bootstrap]\nb1 private_ip=192.0.2.10\n[masters]\nm1 private_ip=192.0.2.11\nm2 private_ip=192.0.2.12\n\
     m3 private_ip=192.0.2.13\n[spares]\nm4 private_ip=192.0.2.14\nnameless\ntwin private_ip=192.0.2.12\n\
     [private_agents]\na1 private_ip=192.0.2.31\n[public_agents]\n[agents:children]\nprivate_agents\npublic_agents\n\
     [dcos:children]\nbootstrap\nmasters\nagents\n[all:vars]\ncluster_name=lab\n";

const DYNAMIC: &str = "dcos_dynamic_masters=true dcos_s3_bucket=b aws_region=r dcos_exhibitor_address=lb";

#[track_caller]
fn refused(playbook: &str, extra: &[&str], text: &str) {
    refused_by(HOSTS, playbook, extra, text);
}

#[track_caller]
fn refused_by(hosts: &str, playbook: &str, extra: &[&str], text: &str) {
    let project = Project::new();
    project.file("hosts", hosts);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(playbook);
    let mut words = vec!["run", path.to_str().expect("text"), "-i", "hosts"];
    for one in extra {
        words.extend(["-e", one]);
    }
    let output = project.command(&words).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let msg = said.lines().find_map(|line| line.strip_prefix("  msg         ")).unwrap_or_default();
    assert_eq!(msg, text, "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2));
    assert!(!said.contains("unreachable=1"), "{said}");
}

#[test]
fn provision_names_what_dynamic_masters_lack() {
    refused(
        "provision.yml",
        &["dcos_dynamic_masters=true", "dcos_s3_bucket=b"],
        "dcos_dynamic_masters needs aws_region or dcos_s3_region, dcos_exhibitor_address (the internal load balancer in \
         front of the masters)",
    );
}

#[test]
fn a_dynamic_master_is_replaced_by_a_host_with_an_address_of_its_own() {
    let book = "replace-master-dynamic.yml";
    refused(
        book,
        &[DYNAMIC, "master_out=m2"],
        "name a host of the group masters with -e master_out=HOST, and with -e master_in=HOST the host of the inventory \
         that takes its place and has no part in the cluster yet; master_out is m2, master_in (not set), masters are m1 m2 m3",
    );
    refused(
        book,
        &[DYNAMIC, "master_out=m2", "master_in=nameless"],
        "nameless needs a private_ip that no master has: the newcomer gets a new id, and an address that the list has \
         already would keep the old one; it is (not set)",
    );
    refused(
        book,
        &[DYNAMIC, "master_out=m2", "master_in=twin"],
        "twin needs a private_ip that no master has: the newcomer gets a new id, and an address that the list has already \
         would keep the old one; it is 192.0.2.12",
    );
    refused(
        book,
        &["master_out=m2", "master_in=m4"],
        "masters of a static list do not find each other by themselves, and switching a running cluster is impossible: \
         playbooks/replace-master.yml replaces one",
    );
    let one = HOSTS.replace("m2 private_ip=192.0.2.12\nm3 private_ip=192.0.2.13\n", "");
    refused_by(
        &one,
        book,
        &[DYNAMIC, "master_out=m1", "master_in=m4"],
        "a single master cannot be replaced, its state would be lost; back ZooKeeper up, install a new cluster and restore",
    );
}

#[test]
fn a_static_way_is_not_taken_for_dynamic_masters() {
    refused(
        "replace-master.yml",
        &[DYNAMIC, "master_out=m2", "master_in=m4"],
        "masters behind a load balancer find each other by themselves: playbooks/replace-master-dynamic.yml replaces one",
    );
    let new = format!("{HOSTS}[new_masters]\nm4\nm5 private_ip=192.0.2.15\n");
    refused_by(
        &new,
        "expand-masters.yml",
        &[DYNAMIC],
        "the number of masters behind a load balancer (num_masters) cannot change; this is for static masters",
    );
}

#[test]
fn the_demo_wants_a_public_agent_and_ports_of_its_own() {
    refused(
        "demo.yml",
        &[],
        "the demo is seen through public agents, and the group public_agents has no host; provision one first",
    );
    refused_by(
        &HOSTS.replace("[public_agents]\n", "[public_agents]\np1 private_ip=192.0.2.41\n"),
        "demo.yml",
        &["demo_nginx=true"],
        "the nginx demo takes the ports 10000 to 10002 of the load balancer; give the hello world another one with \
         demo_hello_port, or switch it off with demo_hello_world=false",
    );
}

#[test]
fn containers_want_a_size_a_bucket_a_balancer_and_names_that_reach_them() {
    let s3 = "dcos_s3_bucket=b aws_region=r";
    let all = &[s3, "dcos_exhibitor_address=lb"];
    let book = "docker.yml";
    refused(
        book,
        &["container_cluster_size=2"],
        "a cluster in containers has 1, 3, 5 or 7 masters; container_cluster_size is 2, and the group masters has 3",
    );
    refused(
        book,
        &[],
        "3 masters in containers find each other through S3 alone: set dcos_s3_bucket, and aws_region or dcos_s3_region",
    );
    refused(
        book,
        &[s3],
        "set dcos_exhibitor_address, the load balancer in front of the masters: agents find them through it, and one \
         master's address would strand them when that one goes",
    );
    refused(
        book,
        &[all[0], all[1], "{\"container_env\": {\"MESSOS_ROLES\": \"x\"}}"],
        "MESSOS_ROLES would never reach DC/OS: names begin with MARATHON, MESOS, DCOS, EXHIBITOR, OAUTH, MASTER, RESOLVER, \
         AWS, SEARCH; mend the spelling, or add the prefix to container_env_extra_prefixes for an image of your own",
    );
    refused(
        book,
        &[all[0], all[1], "container_image_source=build"],
        "container_image_source is build: it may be pull, local, load (with container_image_archive) or build (with \
         container_image_context)",
    );
    refused_by(
        &HOSTS.replace("a1 private_ip=192.0.2.31", "a1"),
        book,
        all,
        "set cluster_name, and private_ip for a1",
    );
}
