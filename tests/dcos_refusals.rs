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
fn refused(playbook: &str, extra: &[&str], text: &str) -> String {
    refused_by(HOSTS, playbook, extra, text)
}

#[track_caller]
fn refused_by(hosts: &str, playbook: &str, extra: &[&str], text: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(playbook);
    let said = refused_in(&Project::new(), hosts, path.to_str().expect("text"), extra, text);
    assert!(!said.contains("unreachable=1"), "{said}");
    said
}

/// Runs a playbook that has to end with this failure, and gives all that it said.
#[track_caller]
fn refused_in(project: &Project, hosts: &str, playbook: &str, extra: &[&str], text: &str) -> String {
    project.file("hosts", hosts);
    let mut words = vec!["run", playbook, "-i", "hosts"];
    for one in extra {
        words.extend(["-e", one]);
    }
    let output = project.command(&words).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(message(&said), text, "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2));
    said
}

/// A playbook of this role alone, on a machine whose facts tell of another system; it refuses before anything is done.
#[track_caller]
fn role_refuses(role: &str, vars: &str, text: &str) {
    let project = Project::new();
    let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("roles");
    std::os::unix::fs::symlink(roles, project.path("roles")).expect("a link");
    let module = "library/other_system";
    project.file(
        module,
        "#!/bin/sh\n# WANT_JSON\necho '{\"changed\": false, \"ansible_facts\": {\"distribution\": \"SLES\", \"os_family\": \"Suse\"}}'\n",
    );
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(project.path(module), executable).expect("a file");
    project.file(
        "play.yml",
        &format!(
            "- hosts: all\n  gather_facts: false\n  vars: {{{vars}}}\n  pre_tasks: [{{other_system: {{}}}}]\n  roles: [{role}]\n"
        ),
    );
    let hosts = "here ansible_connection=local private_ip=192.0.2.11\n";
    let said = refused_in(&project, hosts, "play.yml", &[], text);
    assert!(said.contains("changed=0"), "{said}");
}

/// What is said of addresses of masters that DC/OS would not take.
fn wanted(masters: &str) -> String {
    format!(
        "wanted: 1, 3, 5, 7 or 9 different IPv4 addresses of masters, at most three resolvers and none of 198.51.100.1-3, no \
         slash at the end of bootstrap_url and s3_prefix; found masters {masters}, resolvers 8.8.8.8 8.8.4.4, bootstrap_url \
         http://192.0.2.10:8080/2.2.0/genconf/serve, s3_prefix (none)"
    )
}

/// What the first failure says, all its lines.
fn message(said: &str) -> String {
    let lines = said.lines().skip_while(|line| !line.starts_with("  msg  "));
    let indented =
        |line: &&str| line.starts_with("  msg  ") || line.trim().is_empty() || line.starts_with("     ");
    let own: Vec<&str> = lines.take_while(indented).map(|line| line.get(14..).unwrap_or_default()).collect();
    own.join("\n")
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

/// An inventory with these masters and new hosts.
fn addresses(masters: &[&str], new: &[&str], group: &str) -> String {
    let list = |name: &str, all: &[&str]| -> String {
        (1..).zip(all).map(|(n, ip)| format!("{name}{n} private_ip={ip}\n")).collect()
    };
    format!(
        "[bootstrap]\nb1 private_ip=192.0.2.10\n[masters]\n{}[{group}]\n{}[agents]\n[dcos:children]\nbootstrap\nmasters\n\
         agents\n[all:vars]\ncluster_name=lab\n",
        list("m", masters),
        list("n", new)
    )
}

#[test]
fn a_replacement_that_moves_ids_is_refused_with_intervals_and_the_plan_with_wiped_masters() {
    // V2 of the reference.
    refused_by(
        &addresses(
            &["172.31.16.60", "172.31.18.152", "172.31.29.145", "172.31.29.82", "172.31.31.63"],
            &["172.31.22.240"],
            "spares",
        ),
        "replace-master.yml",
        &["master_out=m5 master_in=n1"],
        "the masters cannot be changed one at a time: 172.31.29.145 would move from id 3 to id 4, 172.31.29.82 would move from id 4 to id 5

No first step exists. What can be done:
  - give the new host the address of the one it replaces: no other node changes
  - another address for id 5 (172.31.31.63): any after 172.31.29.82 in byte order keeps the ids
  - let masters leave and join again wiped, 2 replacements more than masters that really go (--rejoin)
  - a new cluster with the Exhibitor backend aws_s3, where ids are never computed from addresses

The plan with wiped masters:
  step 1   id 3   172.31.29.145  -> 172.31.22.240   172.31.29.145 comes back later
  step 2   id 4   172.31.29.82   -> 172.31.29.145   possible only after id 3, 172.31.29.145 joins wiped, 172.31.29.82 comes back later
  step 3   id 5   172.31.31.63   -> 172.31.29.82    possible only after id 4, 172.31.29.82 joins wiped",
    );
    // V5: a numeric sort would accept it.
    refused_by(
        &addresses(&["10.0.0.10", "10.0.0.8", "10.0.0.9"], &["10.0.0.99"], "spares"),
        "replace-master.yml",
        &["master_out=m1 master_in=n1"],
        "the masters cannot be changed one at a time: 10.0.0.8 would move from id 2 to id 1, 10.0.0.9 would move from id 3 to id 2

No first step exists. What can be done:
  - give the new host the address of the one it replaces: no other node changes
  - another address for id 1 (10.0.0.10): any before 10.0.0.8 in byte order keeps the ids
  - let masters leave and join again wiped, 2 replacements more than masters that really go (--rejoin)
  - a new cluster with the Exhibitor backend aws_s3, where ids are never computed from addresses

The plan with wiped masters:
  step 1   id 3   10.0.0.9   -> 10.0.0.99   10.0.0.9 comes back later
  step 2   id 2   10.0.0.8   -> 10.0.0.9    possible only after id 3, 10.0.0.9 joins wiped, 10.0.0.8 comes back later
  step 3   id 1   10.0.0.10  -> 10.0.0.8    possible only after id 2, 10.0.0.8 joins wiped",
    );
    // V7: a rotation.
    refused_by(
        &addresses(&["10.0.0.21", "10.0.0.22", "10.0.0.23"], &["10.0.0.24"], "spares"),
        "replace-master.yml",
        &["master_out=m1 master_in=n1"],
        "the masters cannot be changed one at a time: 10.0.0.22 would move from id 2 to id 1, 10.0.0.23 would move from id 3 to id 2

No first step exists. What can be done:
  - give the new host the address of the one it replaces: no other node changes
  - another address for id 1 (10.0.0.21): any before 10.0.0.22 in byte order keeps the ids
  - let masters leave and join again wiped, 2 replacements more than masters that really go (--rejoin)
  - a new cluster with the Exhibitor backend aws_s3, where ids are never computed from addresses

The plan with wiped masters:
  step 1   id 3   10.0.0.23  -> 10.0.0.24   10.0.0.23 comes back later
  step 2   id 2   10.0.0.22  -> 10.0.0.23   possible only after id 3, 10.0.0.23 joins wiped, 10.0.0.22 comes back later
  step 3   id 1   10.0.0.21  -> 10.0.0.22   possible only after id 2, 10.0.0.22 joins wiped",
    );
}

#[test]
fn an_expansion_that_moves_ids_is_refused_with_the_preparation() {
    // V11 of the reference.
    let masters = ["172.31.27.182", "172.31.27.57", "172.31.31.133"];
    let book = "expand-masters.yml";
    refused_by(
        &addresses(&masters, &["172.31.30.129", "172.31.30.220"], "new_masters"),
        book,
        &[],
        "the masters cannot be changed one at a time: 172.31.31.133 would move from id 3 to id 5

No first step exists. What can be done:
  - new masters at addresses after 172.31.31.133 in byte order
  - let masters leave and join again wiped, 1 replacement more than masters that really go (--rejoin)
  - a new cluster with the Exhibitor backend aws_s3, where ids are never computed from addresses

The plan with wiped masters:
  step 1   id 3   172.31.31.133  -> 172.31.30.129   172.31.31.133 comes back later
  add      id 4   172.31.30.220
  add      id 5   172.31.31.133   joins wiped
  all added masters come in one configuration: a number between is not possible",
    );
    refused_by(
        &addresses(&masters[..1], &["172.31.30.129", "172.31.30.220"], "new_masters"),
        book,
        &[],
        "a single master cannot be replaced or joined: no majority survives without it, and its state would be lost; back \
         ZooKeeper up, install a new cluster and restore",
    );
    refused_by(
        &addresses(&masters, &["172.31.31.140"], "new_masters"),
        book,
        &[],
        &wanted("172.31.27.182 172.31.27.57 172.31.31.133 172.31.31.140"),
    );
    refused_by(
        &addresses(&masters, &[], "new_masters"),
        book,
        &[],
        "put the new hosts, which have no part in the cluster yet, into the group new_masters, each with its private_ip; it has \
         no host",
    );
}

#[test]
fn a_static_master_is_replaced_by_a_host_of_the_inventory_without_a_part() {
    let book = "replace-master.yml";
    let how = "name a host of the group masters with -e master_out=HOST, and with -e master_in=HOST the host of the inventory \
         that takes its place and has no part in the cluster yet; ";
    for (extra, found) in [
        ("x=1", "master_out is (not set), master_in (not set), masters are m1 m2 m3"),
        ("master_out=m4", "master_out is m4, master_in (not set), masters are m1 m2 m3"),
        ("master_out=m1 master_in=m2", "master_out is m1, master_in m2, masters are m1 m2 m3"),
        ("master_out=m1 master_in=a1", "master_out is m1, master_in a1, masters are m1 m2 m3"),
        ("master_out=m1 master_in=nobody", "master_out is m1, master_in nobody, masters are m1 m2 m3"),
    ] {
        refused(book, &[extra], &format!("{how}{found}"));
    }
    refused(book, &["master_out=m2 master_in=nameless"], "set private_ip for nameless");
    refused(book, &["master_out=m1 master_in=twin"], &wanted("192.0.2.12 192.0.2.12 192.0.2.13"));
    refused_by(
        &addresses(&["10.0.0.1"], &["10.0.0.2"], "spares"),
        book,
        &["master_out=m1 master_in=n1"],
        "a single master cannot be replaced or joined: no majority survives without it, and its state would be lost; back \
         ZooKeeper up, install a new cluster and restore",
    );
}

#[test]
fn nothing_is_removed_without_the_clusters_name() {
    let say = "; say -e uninstall_cluster=lab if that is wanted";
    refused(
        "uninstall.yml",
        &[],
        &format!("this removes DC/OS with all its data from every agent and master{say}"),
    );
    refused(
        "uninstall.yml",
        &["uninstall_cluster=other uninstall_hosts=m2"],
        &format!("this removes DC/OS with all its data from m2{say}"),
    );
}

#[test]
fn hosts_outside_of_the_group_dcos_are_named() {
    refused_by(
        &HOSTS.replace("[dcos:children]\nbootstrap\nmasters\nagents\n", ""),
        "provision.yml",
        &[],
        "the group dcos must have the groups bootstrap, masters and agents as its children; not in it are b1 m1 m2 m3 a1",
    );
}

#[test]
fn settings_that_dcos_would_find_too_late_or_never_are_named() {
    let book = "provision.yml";
    let two = HOSTS.replace("m3 private_ip=192.0.2.13\n", "");
    refused_by(
        &two,
        book,
        &[],
        "a cluster has one bootstrap host, 1, 3, 5, 7 or 9 masters, and no host with two roles; the inventory has bootstrap \
         b1, masters m1 m2, agents a1",
    );
    refused_by(
        &HOSTS.replace("[public_agents]\n", "[public_agents]\na1\n"),
        book,
        &[],
        "a cluster has one bootstrap host, 1, 3, 5, 7 or 9 masters, and no host with two roles; the inventory has bootstrap \
         b1, masters m1 m2 m3, agents a1",
    );
    refused_by(
        &HOSTS.replace("m2 private_ip=192.0.2.12\nm3 private_ip=192.0.2.13\n", "m2\nm3\n"),
        book,
        &[],
        "set cluster_name, and private_ip for m2 m3",
    );
    refused(
        book,
        &["{\"dcos_config\": {\"oauth_enabeld\": false}}"],
        "DC/OS open does not know oauth_enabeld and would ignore it silently; mend the spelling in dcos_config, or list it in \
         dcos_config_extra_keys if you know better",
    );
    // What only Enterprise has is ignored by the open variant, too.
    refused(
        book,
        &["{\"dcos_config\": {\"security\": \"strict\", \"superuser_password_hash\": \"x\"}}"],
        "DC/OS open does not know security, superuser_password_hash and would ignore it silently; mend the spelling in \
         dcos_config, or list it in dcos_config_extra_keys if you know better",
    );
    refused(
        book,
        &["{\"dcos_config\": {\"num_masters\": 3}}"],
        "exhibitor_storage_backend static with master_discovery static is not possible as it stands: backends are static, \
         aws_s3, zookeeper, azure, shared_filesystem, discovery is static or master_http_loadbalancer; the backend static \
         needs static discovery, and num_masters belongs to master_http_loadbalancer only",
    );
    refused(
        book,
        &[
            "{\"dcos_config\": {\"master_list\": [\"192.0.2.11\", \"192.0.2.11\", \"192.0.2.13\"], \"resolvers\": [\"198.51.100.1\"]}}",
        ],
        "wanted: 1, 3, 5, 7 or 9 different IPv4 addresses of masters, at most three resolvers and none of 198.51.100.1-3, no \
         slash at the end of bootstrap_url and s3_prefix; found masters 192.0.2.11 192.0.2.11 192.0.2.13, resolvers \
         198.51.100.1, bootstrap_url http://192.0.2.10:8080/2.2.0/genconf/serve, s3_prefix (none)",
    );
    refused(
        book,
        &["dcos_version=1.13.9 dcos_bootstrap_port=9000"],
        "the installer of DC/OS 1.13.9 needs port 9000; choose another dcos_bootstrap_port",
    );
}

#[test]
fn hosts_that_the_roles_do_not_know_are_refused_first() {
    role_refuses(
        "docker",
        "dcos_version: '3.0.0', docker_packages: []",
        "no Docker version is known for DC/OS 3.0.0; set docker_packages, or add the release to docker_ce_packages in \
         roles/docker/defaults/main.yml",
    );
    role_refuses(
        "prerequisites",
        "",
        "SLES is of neither the Debian nor the RedHat family; remove the host from the inventory or extend roles/prerequisites",
    );
}

#[test]
fn a_machine_is_ended_only_when_the_inventory_and_a_master_know_it() {
    // Without AWS in this build: what would end the machine is a play that must not be reached.
    let project = Project::new();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["playbooks", "roles"] {
        let copied =
            std::process::Command::new("cp").arg("-r").arg(here.join(part)).arg(project.path(part)).status();
        assert!(copied.expect("cp").success());
    }
    project.file(
        "playbooks/infrastructure.yml",
        "- id: infrastructure\n  needs: []\n  hosts: localhost\n  gather_facts: false\n  tasks: [{fail: {msg: a machine was ended}}]\n",
    );
    let refused = |hosts: &str, out: &str, text: &str| {
        let said = refused_in(&project, hosts, "playbooks/replace-master-aws.yml", &[DYNAMIC, out], text);
        assert!(!said.contains("a machine was ended"), "{said}");
    };
    refused(
        HOSTS,
        "master_out=m2",
        "m2 has no instance_id, so its machine cannot be ended: this is for the hosts of inventory/ec2.yml; \
         playbooks/replace-master-dynamic.yml takes any other",
    );
    let one = HOSTS.replace("m2 private_ip=192.0.2.12\nm3 private_ip=192.0.2.13\n", "");
    refused(
        &one.replace("m1 ", "m1 instance_id=i-1 "),
        "master_out=m1",
        "a single master cannot be replaced, its state would be lost; back ZooKeeper up, install a new cluster and restore",
    );
    // On this machine, where no Exhibitor listens.
    let here = (1..4).fold(HOSTS.to_owned(), |hosts, n| {
        let old = format!("m{n} private_ip=192.0.2.1{n}");
        hosts.replace(
            &old,
            &format!("m{n} private_ip=127.0.83.1{n} ansible_connection=local instance_id=i-{n}"),
        )
    });
    refused(
        &here,
        "master_out=m2",
        "refused: no master tells the shared list of masters (port 8181); no machine was ended",
    );
}

#[test]
fn a_run_that_leaves_hosts_out_stops_before_it_touches_one() {
    for book in ["upgrade.yml", "replace-master.yml", "expand-masters.yml", "replace-master-dynamic.yml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(book);
        let project = Project::new();
        project.file("hosts", &format!("{HOSTS}[new_masters]\nm4\nm5 private_ip=192.0.2.15\n"));
        let words = [
            "run",
            path.to_str().expect("text"),
            "-i",
            "hosts",
            "--limit",
            "m1",
            "-e",
            "master_out=m2 master_in=m4",
        ];
        let output = project.command(&words).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            message(&said),
            "nothing more is done, because `settings` did not end well on b1; mend the cause and run the playbook again, it goes \
             on where it stopped",
            "{book}: {said}"
        );
        assert_eq!(output.status.code(), Some(2), "{book}");
        assert!(!said.contains("changed=1") && !said.contains("unreachable=1"), "{book}: {said}");
    }
}
