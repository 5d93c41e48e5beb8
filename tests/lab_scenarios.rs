//! What goes wrong and what is rare on a lab: the scenarios of the reference that no other test has (L4, L6 to L11, L16,
//! L18 to L20), a master replaced under its address, and the demo.
//!
//! Takes minutes, needs root and what `dcos-play lab` needs. Runs with DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so
//! and passes otherwise.

mod cluster;

use std::path::Path;
use std::process::Command;

use cluster::{Cluster, say, wanted};

/// Writes the inventory: masters by their last number, everything else a spare.
fn inventory(cluster: &Cluster, masters: &[u8], spares: &[u8], agents: &str) {
    let list = |all: &[u8]| all.iter().map(|last| format!("m{last}: {last}")).collect::<Vec<_>>().join(", ");
    cluster.inventory(
        &format!("  demo_cli_url: http://{}.1:8077/cli/dcos\n", cluster.network),
        &format!(
            "  bootstrap: {{hosts: {{bootstrap1: 10}}}}
  masters: {{hosts: {{{}}}}}
  private_agents: {{hosts: {{agent1: 31}}}}
  public_agents: {{hosts: {{public1: 41}}}}
  spares: {{hosts: {{{}}}}}
  agents: {{children: [{agents}]}}
  dcos: {{children: [bootstrap, masters, agents]}}
",
            list(masters),
            list(spares)
        ),
    );
}

const BOTH: &str = "private_agents, public_agents";

/// The playbooks, changed in one place: so that what they forbid can be done.
fn bypassed(cluster: &Cluster, playbook: &str, changes: &[(&str, &str)]) -> String {
    let folder = cluster.file("bypass", "");
    fs_err::remove_file(&folder).expect("a file");
    fs_err::create_dir(&folder).expect("a folder");
    for part in ["playbooks", "roles"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
        assert!(Command::new("cp").arg("-r").arg(from).arg(&folder).status().expect("cp").success());
    }
    let path = format!("{folder}/playbooks/{playbook}");
    let mut text = fs_err::read_to_string(&path).expect("a playbook");
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` in {playbook}");
        text = text.replace(from, to);
    }
    fs_err::write(&path, text).expect("written");
    path
}

#[test]
fn three_masters_reboots_demo_slots_lost_agents_and_the_same_address() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 13, 15], &[12, 14, 16], BOTH);
    if !cluster.up() {
        return;
    }
    let all = ["bootstrap1", "m11", "m12", "m13", "m14", "m15", "m16", "agent1", "public1"];

    say("L16: genconf that ends well and makes nothing is noticed");
    cluster.knobs("bootstrap1", "{\"fail\": {\"tls_bootstrap_fails\": true}}");
    // These two have all that a reboot would bring.
    for host in ["m11", "agent1"] {
        cluster.on(host, "echo overlay >/etc/modules-load.d/overlay.conf");
    }
    let boot = |host: &str| cluster.on(host, "cat /proc/sys/kernel/random/boot_id");
    let boots: Vec<String> = ["m11", "agent1", "m13", "public1"].into_iter().map(boot).collect();
    cluster.play("provision.yml", &[]).refused(&[
        "genconf ended with status 0 and made no /opt/dcos-bootstrap/2.2.0/genconf/serve/dcos_install.sh",
        "no node was touched. It said: Exhibitor TLS bootstrap failed: the CA could not be initialized",
    ]);
    cluster.knobs("bootstrap1", "{}");

    say("L19: only hosts that need it rebooted, and the play went on by itself");
    cluster.play("provision.yml", &[]).fine();
    let now: Vec<String> = ["m11", "agent1", "m13", "public1"].into_iter().map(boot).collect();
    assert_eq!((&now[0], &now[1]), (&boots[0], &boots[1]), "these had no reason");
    assert!(now[2] != boots[2] && now[3] != boots[3], "these had one");
    cluster.no_violations(&all);

    say("the demo: seen through the public agent, scaled, taken away");
    cluster
        .play("demo.yml", &["demo_nginx=true"])
        .refused(&["the nginx demo takes the ports 10000 to 10002 of the load balancer"]);
    cluster.play("demo.yml", &["demo_nginx=true", "demo_hello_port=10009"]).fine();
    assert_eq!(
        cluster.on("bootstrap1", "dcos marathon app list"),
        "/dockercloud-hello-world 1\n/marathon-lb 1\n/marathon-lb-internal 1\n/nginx-everywhere 1\n/nginx-external 1\n/nginx-internal 1"
    );
    assert!(cluster.on("bootstrap1", "curl -s http://10.83.0.41:10009/").contains("Hello world!"));
    cluster.play("demo.yml", &["demo_remove=true"]).fine();
    assert_eq!(cluster.on("bootstrap1", "dcos marathon app list"), "");
    cluster.play("demo.yml", &["demo_remove=true"]).changed_nothing();

    say("the same address: a new machine takes the place, nobody else is touched");
    cluster.lab(&["reset", "m13"]);
    let agent = "systemctl show -p MainPID --value dcos-mesos-slave";
    let before = cluster.on("agent1", agent);
    cluster.play("replace-master.yml", &["master_out=m13"]).fine();
    assert_eq!(cluster.on("agent1", agent), before);
    assert_eq!(cluster.ensemble("m13"), "1:.11,2:.13,3:.15");
    cluster.no_violations(&all);
    cluster.play("provision.yml", &[]).changed_nothing();

    say("L20: slots 1, 2, 3; the short outage of the first two is announced");
    // agent1 is left out: L10 below.
    inventory(&cluster, &[11, 13, 15], &[12, 14, 16], "public_agents");
    for (out, new, masters, spares) in [
        (11, 12, [12, 13, 15], [11, 14, 16]),
        (13, 14, [12, 14, 15], [11, 13, 16]),
        (15, 16, [12, 14, 16], [11, 13, 15]),
    ] {
        let ran = cluster
            .play("replace-master.yml", &[&format!("master_out=m{out}"), &format!("master_in=m{new}")])
            .fine();
        assert_eq!(ran.text.contains("expect no leader for some seconds, once"), out != 15, "{}", ran.text);
        inventory(&cluster, &masters, &spares, "public_agents");
        cluster.no_violations(&all[..7]);
    }
    assert_eq!(cluster.ensemble("m12"), "1:.12,2:.14,3:.16");

    say("L10: an agent that was never told is found");
    cluster.until_violation(&["agent1"], "stale_agent");

    say("L11: a replaced master stays off when it boots, and is found when somebody starts it");
    cluster.lab(&["reboot", "m11"]);
    assert_eq!(cluster.on("m11", "systemctl is-active dcos-exhibitor"), "inactive");
    cluster.no_violations(&["m11"]);
    cluster.on("m11", "systemctl start dcos-exhibitor");
    cluster.until_violation(&["m11"], "old_master_revived");
}

#[test]
fn an_old_master_that_runs_on_is_found() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 13, 15], &[12], BOTH);
    if !cluster.up() {
        return;
    }
    cluster.play("provision.yml", &[]).fine();
    say("L7: the old master runs on, which the playbook would never allow");
    let wrong = bypassed(&cluster, "replace-master.yml", &[("loop: [2181, 3888, 8181, 5050]", "loop: []")]);
    let limits = ["rolling_deadline=10", "verify_deadline=10"];
    cluster.play(&wrong, &["master_out=m11", "master_in=m12", "master_lost=true", limits[0], limits[1]]);
    cluster.until_any_violation(&["m11", "m12", "m13", "m15"], &["sid_conflict", "two_leaders"]);
}

#[test]
fn two_survivors_at_once_are_found() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 13, 15], &[], BOTH);
    if !cluster.up() {
        return;
    }
    cluster.play("provision.yml", &[]).fine();
    say("L8: two survivors at once");
    let wrong = bypassed(
        &cluster,
        "upgrade.yml",
        &[("serial: 1", "serial: 3"), ("rolling_pass: followers", "rolling_pass: all")],
    );
    let config = "{\"dcos_config\": {\"oauth_enabled\": false}}";
    cluster.play(&wrong, &[config, "rolling_deadline=10", "verify_deadline=10"]);
    cluster.until_violation(&["m11", "m13", "m15"], "concurrent_upgrade");
}

#[test]
fn an_address_outside_of_the_list_is_told_with_what_the_node_says() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11], &[], "");
    if !cluster.up() {
        return;
    }
    say("L18: ip-detect prints an address that is no master's");
    let wrong = cluster.file("ip-detect.j2", "#!/bin/sh\necho 10.83.0.99\n");
    cluster
        .play("provision.yml", &[&format!("dcos_ip_detect_template={wrong}"), "verify_deadline=10"])
        .refused(&[
            "this node did not pass the gate \"Check that the node finds an address of the list of masters\"",
            "detect_ip prints 10.83.0.99, and the masters are 10.83.0.11: Exhibitor does not start with another address",
        ]);
}

#[test]
fn five_masters_wiped_ones_and_two_wrong_orders() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 12, 14, 15, 16], &[13, 125], BOTH);
    if !cluster.up() {
        return;
    }
    cluster.play("provision.yml", &[]).fine();
    let masters = ["m11", "m12", "m13", "m14", "m15", "m16"];

    say("L6: an order that moves ids, with wiped masters");
    cluster
        .play("replace-master.yml", &["master_out=m16", "master_in=m13"])
        .refused(&["10.83.0.14 would move from id 3 to id 4", "10.83.0.15 would move from id 4 to id 5"]);
    let plan = cluster.call(&[
        "masters",
        "order",
        "-i",
        "lab.yml",
        "--live",
        "--to",
        "m11,m12,m13,m14,m15",
        "--rejoin",
    ]);
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    for step in [
        "id 3   10.83.0.14  -> 10.83.0.13",
        "id 4   10.83.0.15  -> 10.83.0.14",
        "id 5   10.83.0.16  -> 10.83.0.15",
    ] {
        assert!(plan.contains(step), "{plan}");
    }
    let mut now = vec![11, 12, 14, 15, 16];
    for (slot, (out, new)) in [(2, (14, 13)), (3, (15, 14)), (4, (16, 15))] {
        cluster
            .play("replace-master.yml", &[&format!("master_out=m{out}"), &format!("master_in=m{new}")])
            .fine();
        now[slot] = new;
        inventory(&cluster, &now, &[out, 125], BOTH);
        cluster.play("uninstall.yml", &["uninstall_cluster=lab", &format!("uninstall_hosts=m{out}")]).fine();
        cluster.no_violations(&masters);
    }
    assert_eq!(cluster.ensemble("m11"), "1:.11,2:.12,3:.13,4:.14,5:.15");

    say("L9: the leader first, which the playbook would never do");
    let leader = ["m15", "m14", "m13", "m12", "m11"]
        .into_iter()
        .find(|host| {
            let script = "exec 3<>/dev/tcp/$(/opt/mesosphere/bin/detect_ip)/2181; printf srvr >&3; cat <&3";
            cluster.on(host, &format!("bash -c '{script}'")).contains("Mode: leader")
        })
        .expect("somebody leads");
    let out = if leader == "m15" { ("m14", "m145", 14) } else { ("m15", "m16", 15) };
    say(&format!("  {leader} leads, {} goes", out.0));
    let order =
        format!("serial: 1\n  order: {}", if leader == "m11" { "inventory" } else { "reverse_inventory" });
    inventory(&cluster, &[11, 12, 13, 14, 15], &[16, 125, 145], BOTH);
    cluster.lab(&["up"]);
    let wrong = bypassed(
        &cluster,
        "replace-master.yml",
        &[("serial: 1", &order), ("rolling_pass: followers", "rolling_pass: all")],
    );
    cluster.play(&wrong, &[&format!("master_out={}", out.0), &format!("master_in={}", out.1)]);
    cluster.until_violation(&["m11", "m12", "m13", "m14", "m15"], "leader_not_last");
}

#[test]
fn ids_that_move_are_caught_by_the_first_gate() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 12, 13, 14, 15], &[125], BOTH);
    if !cluster.up() {
        return;
    }
    cluster.play("provision.yml", &[]).fine();
    say(
        "L4: id 1 first, the planner bypassed: the first survivor does not come back, and no other one is touched",
    );
    let wrong = bypassed(
        &cluster,
        "replace-master.yml",
        &[("to: \"{{ replace_target_ips }}\"", "to: \"{{ replace_target_ips }}\"\n        rejoin: true")],
    );
    cluster
        .play(&wrong, &["master_out=m11", "master_in=m125", "rolling_deadline=25", "verify_deadline=25"])
        .refused(&["masters serve ZooKeeper with exactly one leader"]);
    cluster.until_violation(&["m12", "m13", "m14", "m15", "m125"], "id_mismatch");
    let changed =
        ["m12", "m13", "m14", "m15"].iter().filter(|host| cluster.ensemble(host).contains(".125")).count();
    assert_eq!(changed, 1, "the gate stopped the run at the first survivor");
}
