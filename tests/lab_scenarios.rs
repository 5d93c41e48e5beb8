//! What goes wrong and what is rare on a lab: the scenarios of the reference that no other test has (L4, L6 to L11, L16,
//! L18 to L20), a master replaced under its address, and the demo.
//!
//! Takes minutes, needs root and what `dcos-play lab` needs. Runs with DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so
//! and passes otherwise.

mod cluster;

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

/// A ZooKeeper that looks for a leader as late as a real one does: who is left alone meanwhile has time to say so on any machine.
const SLOW_ZOOKEEPER: &str = "{\"zk_start_delay\": 50}";

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
        "; no node was touched. It said: Exhibitor TLS bootstrap failed: the CA could not be initialized",
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
        if out == 11 {
            say("L11: a replaced master stays off when it boots; one that somebody enables again is found");
            cluster.lab(&["reboot", "m11"]);
            assert_eq!(cluster.on("m11", "systemctl is-active dcos-exhibitor"), "inactive");
            cluster.no_violations(&["m11"]);
            cluster
                .on("m11", "systemctl enable --now dcos.target dcos-setup; systemctl start dcos-exhibitor");
            cluster.until_violation(&["m11"], "old_master_revived");
            // Off again, as the playbook left it: the others have not been disturbed.
            cluster.on("m11", "systemctl disable dcos.target dcos-setup");
            cluster.lab(&["reboot", "m11"]);
            cluster.no_violations(&["m12", "m13", "m15", "public1"]);
            cluster.forget_violations(&["m11"]);
        }
    }
    assert_eq!(cluster.ensemble("m12"), "1:.12,2:.14,3:.16");

    say("L10: an agent that was never told is found");
    cluster.until_violation(&["agent1"], "stale_agent");
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
    let wrong = cluster.bypassed("replace-master.yml", &[("loop: [2181, 3888, 8181, 5050]", "loop: []")]);
    let limits = ["rolling_deadline=10", "verify_deadline=10"];
    cluster.play(&wrong, &["master_out=m11", "master_in=m12", "master_lost=true", limits[0], limits[1]]);
    cluster.until_any_violation(&["m11", "m12", "m13", "m15"], &["sid_conflict", "two_leaders"]);
}

#[test]
fn three_masters_go_on_after_the_controller_was_killed_between_the_survivors() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 13, 15], &[12, 14], BOTH);
    if !cluster.up() {
        return;
    }
    cluster.play("provision.yml", &[]).fine();
    let all = ["bootstrap1", "m11", "m12", "m13", "m14", "m15", "agent1", "public1"];
    // Which of the two survivors has the newcomer in its list, and which one has not.
    let killed = |words: &[&str], survivors: [&'static str; 2], new: &str| {
        let changed = |host: &str| cluster.ensemble(host).contains(new);
        let far = || survivors.iter().any(|host| changed(host));
        assert!(cluster.killed("replace-master.yml", words, far), "it ended before a survivor changed");
        let [one, other] = survivors;
        let (first, second) = if changed(one) { (one, other) } else { (other, one) };
        assert!(!changed(second), "it was killed too late");
        (first, second)
    };

    say("killed after the first survivor, which serves with the newcomer; the other one cannot join");
    let words = ["master_out=m11", "master_in=m12"];
    let (first, second) = killed(&words, ["m13", "m15"], ".12");
    cluster.until_serving(&[first]);
    // As if its machine had booted meanwhile. These two elect without it, and it does not hear the newcomer's lower id.
    cluster.on(second, "systemctl stop dcos-exhibitor");
    cluster.until_serving(&[first, "m12"]);
    cluster.on(second, "systemctl start dcos-exhibitor");
    let answers = || {
        cluster.on(
            second,
            "curl -s --max-time 2 http://$(/opt/mesosphere/bin/detect_ip):8181/exhibitor/v1/cluster/state",
        )
    };
    cluster.until("its Exhibitor knows that it does not serve", || answers().contains("\"not serving\""));
    assert_eq!(cluster.mode(second), "");
    assert!(cluster.ensemble(second).contains(".11"), "it has the old list");
    // One that is not there at all waits for nothing.
    cluster.lab(&["cut", second]);
    let last = |host: &str| format!("10.83.0.{}", &host[1..]);
    cluster.play("replace-master.yml", &words).refused(&[&format!(
        "refused: only 1 of 3 masters serve without m11 ({}), and 2 are needed; bring masters back, or restore ZooKeeper",
        last(first)
    )]);
    cluster.lab(&["join", second]);
    // The one that waits has just started, which a run gives it time for.
    let ran = cluster.play("replace-master.yml", &[&words[..], &["rolling_start_grace=15"]].concat()).fine();
    let goes_on =
        format!("going on where a run was stopped: {} and 10.83.0.12 serve with the new", last(first));
    let text = ran.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(&goes_on), "{}", ran.text);
    assert!(
        text.contains(&format!("list, and {} joins them when it is upgraded", last(second))),
        "{}",
        ran.text
    );
    for host in ["m12", "m13", "m15"] {
        assert_eq!(cluster.ensemble(host), "1:.12,2:.13,3:.15", "{host}");
    }
    cluster.no_violations(&all);
    inventory(&cluster, &[12, 13, 15], &[11, 14], BOTH);
    cluster.play("provision.yml", &[]).changed_nothing();

    say("killed at the same place, and run again at once");
    let words = ["master_out=m13", "master_in=m14"];
    killed(&words, ["m12", "m15"], ".14");
    cluster.play("replace-master.yml", &words).fine();
    for host in ["m12", "m14", "m15"] {
        assert_eq!(cluster.ensemble(host), "1:.12,2:.14,3:.15", "{host}");
    }
    cluster.no_violations(&all);
    inventory(&cluster, &[12, 14, 15], &[11, 13], BOTH);
    cluster.play("provision.yml", &[]).changed_nothing();
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
    say("L8: two survivors at once: each sees the other's run, and the third one has no majority");
    let masters = ["m11", "m13", "m15"];
    masters.iter().for_each(|host| cluster.knobs(host, SLOW_ZOOKEEPER));
    let wrong = cluster.bypassed(
        "upgrade.yml",
        &[("serial: 1", "serial: 2"), ("rolling_pass: followers", "rolling_pass: all")],
    );
    let config = "{\"dcos_config\": {\"oauth_enabled\": false}}";
    cluster.play(&wrong, &[config, "rolling_deadline=30", "verify_deadline=30"]);
    cluster.until_violation(&masters, "concurrent_upgrade");
    cluster.until_violation(&masters, "quorum_lost");
}

#[test]
fn what_a_host_or_its_running_cluster_refuses_is_told() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 13, 15], &[12], BOTH);
    if !cluster.up() {
        return;
    }
    say("a reboot that is not allowed, and one that does not help");
    cluster.play("provision.yml", &["prerequisites_reboot_allowed=false", "verify_deadline=10"]).refused(&[
        "this host must reboot (the overlay module was not loaded at boot) and prerequisites_reboot_allowed is false",
    ]);
    // A host whose SELinux stays on whatever its file says.
    cluster.on(
        "m13",
        "mkdir -p /etc/selinux && echo SELINUX=permissive >/etc/selinux/config
         printf '#!/bin/sh\necho Permissive\n' >/usr/sbin/getenforce && chmod +x /usr/sbin/getenforce",
    );
    say("ports of DC/OS that are taken; its own installer would find neither");
    cluster.on(
        "m15",
        "for port in 3888 8123; do
           printf '[Service]\nExecStart=/usr/bin/python3 -m http.server '$port'\n[Install]\nWantedBy=multi-user.target\n' \
             >/etc/systemd/system/taken$port.service
           systemctl enable --now taken$port
         done
         until ss -Hlnt | grep -q :3888 && ss -Hlnt | grep -q :8123; do sleep 0.2; done",
    );
    let ran = cluster.play("provision.yml", &["prerequisites_selinux=disabled", "verify_deadline=10"]);
    let taken = ran.text.lines().find(|line| {
        line.contains("msg ") && line.contains("ports that DC/OS needs are taken; stop what holds them: ")
    });
    let taken = taken.unwrap_or_else(|| panic!("{}", ran.text));
    assert!([":3888 ", ":8123 ", "python3"].iter().all(|word| taken.contains(word)), "{taken}");
    ran.refused(&[
        "after its reboot this host still lacks what it was rebooted for: wanted overlay and SELinux disabled, found \
         overlay-loaded selinux-config selinux-permissive",
        "m13, m15 failed, and the masters serve only together; mend it and run this again",
    ]);
    cluster.on("m13", "rm -rf /etc/selinux /usr/sbin/getenforce");
    cluster.on("m15", "systemctl disable --now taken3888 taken8123");
    cluster.play("provision.yml", &[]).fine();

    say("another release, another role, another list");
    cluster.play("provision.yml", &["dcos_version=2.0.6", "verify_deadline=10"]).refused(&[
        "this node runs DC/OS 2.2.0, and dcos_version is 2.0.6; provisioning never upgrades a node: upgrade the cluster, or set \
         dcos_version back",
    ]);
    let lab = cluster.read("lab.yml");
    cluster.file("lab.yml", &lab.replace("agent1: 31", "").replace("public1: 41", "public1: 41, agent1: 31"));
    cluster.play("provision.yml", &["verify_deadline=10"]).refused(&[
        "DC/OS is installed on this node, but not as `slave_public`: see /etc/mesosphere/roles; a node cannot change its role, so \
         put it back into its old group, or uninstall DC/OS and run this again",
    ]);
    cluster.file("lab.yml", &lab);
    let list = "{\"dcos_config\": {\"master_list\": [\"10.83.0.11\", \"10.83.0.13\", \"10.83.0.99\"]}}";
    cluster.play("upgrade.yml", &[list]).refused(&[
        "the generated configuration has the ensemble 1:10.83.0.11,2:10.83.0.13,3:10.83.0.99, and \
         1:10.83.0.11,2:10.83.0.13,3:10.83.0.15 is intended; no node was touched",
    ]);
    for host in ["m11", "m13", "m15"] {
        assert_eq!(cluster.ensemble(host), "1:.11,2:.13,3:.15", "{host}");
    }
    cluster.play("provision.yml", &[]).fine();
    cluster.play("provision.yml", &[]).changed_nothing();
    cluster.no_violations(&["bootstrap1", "m11", "m13", "m15", "agent1", "public1"]);
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
            "detect_ip prints 10.83.0.99, and the masters are 10.83.0.11: Exhibitor does not start with another address; mend \
             dcos_ip_detect or private_ip, then uninstall this node and provision again",
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

    say("what runs does not fit: refused before a node is touched");
    let out = |more: &[&str]| {
        cluster.play("replace-master.yml", &[&["master_out=m14", "master_in=m13"], more].concat())
    };
    out(&["dcos_version=2.0.6"]).refused(&[
        "refused: masters run DC/OS 2.2.0, and dcos_version is 2.0.6; a release and the list of masters are never changed together",
    ]);
    cluster.play("upgrade.yml", &["dcos_version=2.0.6"]).refused(&[
        "refused: masters run DC/OS 2.2.0, and dcos_version is 2.0.6; possible is one release, 1.9 or newer and not newer than \
         dcos_version",
    ]);
    cluster.on("m12", "systemctl stop dcos-exhibitor");
    cluster.until_serving(&["m11", "m14", "m15", "m16"]);
    out(&[]).refused(&["refused: besides m14 also 10.83.0.12 does not serve, and one master can be replaced at a time; mend it first"]);
    cluster
        .play("upgrade.yml", &[])
        .refused(&["refused: 10.83.0.12 does not serve; a cluster is upgraded only when it is whole"]);
    cluster.on("m12", "systemctl start dcos-exhibitor");
    cluster.play("provision.yml", &[]).fine();
    // Three of the five.
    inventory(&cluster, &[11, 12, 14], &[13, 125, 15, 16], BOTH);
    let five = "1:10.83.0.11,2:10.83.0.12,3:10.83.0.14,4:10.83.0.15,5:10.83.0.16";
    let three = "1:10.83.0.11,2:10.83.0.12,3:10.83.0.14";
    out(&[]).refused(&[&format!(
        "refused: masters run with {five}; by the inventory it is {three} (or, half way, \
         1:10.83.0.11,2:10.83.0.12,3:10.83.0.13); make the group masters and every private_ip agree with the cluster"
    )]);
    cluster.play("upgrade.yml", &[]).refused(&[&format!(
        "refused: masters run with {five}, and the inventory gives {three}; an upgrade never changes the list of masters"
    )]);
    inventory(&cluster, &[11, 12, 14, 15, 16], &[13, 125], BOTH);
    cluster.no_violations(&masters);

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
        .find(|host| cluster.mode(host) == "leader")
        .expect("somebody leads");
    let out = if leader == "m15" { ("m14", "m145", 14) } else { ("m15", "m16", 15) };
    say(&format!("  {leader} leads, {} goes", out.0));
    let order =
        format!("serial: 1\n  order: {}", if leader == "m11" { "inventory" } else { "reverse_inventory" });
    inventory(&cluster, &[11, 12, 13, 14, 15], &[16, 125, 145], BOTH);
    cluster.lab(&["up"]);
    let wrong = cluster.bypassed(
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
    let wrong = cluster.bypassed(
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

    say("L4: without the gates the next ones lose the quorum");
    let survivors = ["m12", "m13", "m14", "m15"];
    // Two with the old list are left while the second one restarts: seconds, as with the real ZooKeeper.
    survivors.iter().for_each(|host| cluster.knobs(host, SLOW_ZOOKEEPER));
    for host in survivors {
        cluster.on(
            host,
            "cd /tmp && curl -sfO http://10.83.0.10:8080/2.2.0/genconf/serve/upgrade_from_2.2.0/dcos_node_upgrade.sh && \
             bash dcos_node_upgrade.sh",
        );
    }
    cluster.until_violation(&survivors, "quorum_lost");
    // m12 is the one whose id moves; a leader's turn comes later.
    cluster.until_violation(&["m12"], "id_changed");
}
