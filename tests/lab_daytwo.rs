//! Day two on a lab: upgrade, expand, replace, lose, refuse; the numbers are those of the scenarios in the reference.
//!
//! Takes minutes, needs root and what `dcos-play lab` needs. Runs with DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so
//! and passes otherwise.

mod cluster;

use cluster::{Cluster, say, wanted};

const MASTERS: &[(&str, u8)] = &[("m11", 11), ("m12", 12), ("m16", 16)];
const HOSTS: [(&str, u8); 11] = [
    ("bootstrap1", 10),
    ("m11", 11),
    ("m12", 12),
    ("m13", 13),
    ("m14", 14),
    ("m16", 16),
    ("m18", 18),
    ("m19", 19),
    ("m20", 20),
    ("agent1", 31),
    ("public1", 41),
];

/// Writes the inventory with these masters and newcomers; everything else is a host without a part.
fn inventory(cluster: &Cluster, masters: &[(&str, u8)], new: &[(&str, u8)]) {
    let list = |hosts: &[(&str, u8)]| {
        hosts.iter().map(|(name, last)| format!("{name}: {last}")).collect::<Vec<_>>().join(", ")
    };
    let spare: Vec<(&str, u8)> = HOSTS
        .iter()
        .copied()
        .filter(|host| host.0.starts_with('m') && !masters.contains(host) && !new.contains(host))
        .collect();
    let newcomers = match new {
        [] => String::new(),
        new => format!("  new_masters: {{hosts: {{{}}}}}\n", list(new)),
    };
    let groups = format!(
        "  bootstrap: {{hosts: {{bootstrap1: 10}}}}
  masters: {{hosts: {{{masters}}}}}
  private_agents: {{hosts: {{agent1: 31}}}}
  public_agents: {{hosts: {{public1: 41}}}}
{newcomers}  spares: {{hosts: {{{spares}}}}}
  agents: {{children: [private_agents, public_agents]}}
  dcos: {{children: [bootstrap, masters, agents]}}
",
        masters = list(masters),
        spares = list(&spare),
    );
    cluster.inventory("", &groups);
}

/// All hosts but these.
fn hosts(but: &[&str]) -> Vec<&'static str> {
    HOSTS.iter().map(|host| host.0).filter(|host| !but.contains(host)).collect()
}

#[test]
fn a_cluster_is_upgraded_expanded_and_its_masters_replaced_without_a_violation() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.84.0");
    inventory(&cluster, MASTERS, &[]);
    if !cluster.up() {
        return;
    }

    say("L2: a second provision changes nothing");
    cluster.play("provision.yml", &["dcos_version=2.0.6"]).fine();
    cluster.play("provision.yml", &["dcos_version=2.0.6"]).changed_nothing();

    say("L14, L9: the upgrade script never gets a word, and the leader comes last");
    cluster
        .play("upgrade.yml", &["{\"dcos_config\": {\"oauth_enabled\": false}}"])
        .refused(&["refused: besides the release oauth_enabled would change, too; set it back, upgrade, and change it with a second run. No node was touched"]);
    cluster.play("upgrade.yml", &[]).fine();
    cluster.no_violations(&hosts(&[]));
    cluster.play("upgrade.yml", &[]).changed_nothing();

    say("L15: an upgraded master that is not well stops the run, and no other one is touched");
    let config = "{\"dcos_config\": {\"oauth_enabled\": false}}";
    for (host, _) in MASTERS {
        cluster.knobs(host, "{\"fail\": {\"poststart_fail\": true}}");
    }
    cluster
        .play("upgrade.yml", &[config, "verify_deadline=8", "rolling_deadline=30"])
        .refused(&["Wait until DC/OS's own checks pass"]);
    let active = "readlink /opt/mesosphere/active/dcos-config";
    let mut ids: Vec<String> = MASTERS.iter().map(|(host, _)| cluster.on(host, active)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "one master has the new configuration");
    for (host, _) in MASTERS {
        cluster.knobs(host, "{}");
    }
    cluster.play("upgrade.yml", &[config]).fine();
    cluster.no_violations(&hosts(&[]));

    say("L12: an expansion that moves ids is refused, one behind all masters is clean");
    inventory(&cluster, MASTERS, &[("m13", 13), ("m20", 20)]);
    cluster.play("expand-masters.yml", &[config]).refused(&[
        "10.84.0.16 would move from id 3 to id 4",
        "new masters at addresses after 10.84.0.16 in byte order",
    ]);
    inventory(&cluster, MASTERS, &[("m18", 18), ("m20", 20)]);
    cluster.play("expand-masters.yml", &[config, "dcos_version=2.0.6"]).refused(&[
        "refused: masters run DC/OS 2.2.0, and dcos_version is 2.0.6; a release and the list of masters are never changed together",
    ]);
    cluster.on("m12", "systemctl stop dcos-exhibitor");
    cluster.until_serving(&["m11", "m16"]);
    cluster
        .play("expand-masters.yml", &[config])
        .refused(&["refused: 10.84.0.12 does not serve; a cluster is expanded only when it is whole"]);
    cluster.on("m12", "systemctl start dcos-exhibitor");
    cluster.play("provision.yml", &[config]).fine();
    cluster.play("expand-masters.yml", &[config]).fine();
    cluster.no_violations(&hosts(&[]));
    assert_eq!(cluster.ensemble("m11"), "1:.11,2:.12,3:.16,4:.18,5:.20");
    inventory(&cluster, MASTERS, &[("m19", 19), ("m20", 20)]);
    cluster.play("expand-masters.yml", &[config]).refused(&[
        "refused: masters run with 1:10.84.0.11,2:10.84.0.12,3:10.84.0.16,4:10.84.0.18,5:10.84.0.20; by the inventory it is \
         1:10.84.0.11,2:10.84.0.12,3:10.84.0.16 (or, half way, 1:10.84.0.11,2:10.84.0.12,3:10.84.0.16,4:10.84.0.19,5:10.84.0.20); make the groups and every private_ip agree with the cluster",
    ]);

    say("L5: a replacement that moves ids is refused before a host is touched");
    let mut masters = vec![("m11", 11), ("m12", 12), ("m16", 16), ("m18", 18), ("m20", 20)];
    inventory(&cluster, &masters, &[]);
    cluster.play("replace-master.yml", &[config, "master_out=m11", "master_in=m13"]).refused(&[
        "10.84.0.12 would move from id 2 to id 1",
        "another address for id 1 (10.84.0.11): any before 10.84.0.12 in byte order keeps the ids",
    ]);

    say("a master that is said to be lost and still answers stops the run; it goes on when that is not said");
    cluster
        .play("replace-master.yml", &[config, "master_out=m12", "master_in=m14", "master_lost=true", "rolling_closed_deadline=4"])
        .refused(&["port 2181 of m12 still answers; a master that is lost must not be able to come back: terminate it or block its address"]);

    say("L3: two masters move, the second one to where it could not go first");
    cluster.play("replace-master.yml", &[config, "master_out=m12", "master_in=m14"]).fine();
    masters[1] = ("m14", 14);
    inventory(&cluster, &masters, &[]);
    cluster.play("replace-master.yml", &[config, "master_out=m11", "master_in=m13"]).fine();
    assert_eq!(cluster.ensemble("m20"), "1:.13,2:.14,3:.16,4:.18,5:.20");
    assert_eq!(cluster.ensemble("m13"), cluster.ensemble("m20"));
    cluster.no_violations(&hosts(&[]));
    cluster.play("replace-master.yml", &[config, "master_out=m11", "master_in=m13"]).changed_nothing();
    masters[0] = ("m13", 13);
    inventory(&cluster, &masters, &[]);

    say("L13: a lost master is replaced when nobody can bring it back; without a majority nothing is done");
    cluster.lab(&["cut", "m18"]);
    cluster
        .play("replace-master.yml", &[config, "master_out=m18", "master_in=m19"])
        .refused(&["refused: m18 cannot be reached, so it cannot be stopped; if it is gone for good, make sure that it cannot come back (terminate it, or block its address) and say -e master_lost=true"]);
    cluster
        .play("replace-master.yml", &[config, "master_out=m18", "master_in=m19", "master_lost=true"])
        .fine();
    cluster.no_violations(&hosts(&["m18"]));
    masters[3] = ("m19", 19);
    inventory(&cluster, &masters, &[]);
    for host in ["m16", "m19", "m20"] {
        cluster.lab(&["cut", host]);
    }
    cluster
        .play("replace-master.yml", &[config, "master_out=m19", "master_in=m18", "master_lost=true"])
        .refused(&["refused: only ", " of 5 masters serve without m19 (", "), and 3 are needed; bring masters back, or restore ZooKeeper from a backup on all of them (dcos-zk restore)"]);
}
