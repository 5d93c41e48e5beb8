//! Every release that the stand-in emulates: installed (L1), upgraded one after the other, and the upgrade script's word that
//! works before 1.13 and hangs since (L14).
//!
//! Takes minutes, needs root and what `dcos-play lab` needs. Runs with DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so
//! and passes otherwise.

mod cluster;

use cluster::{Cluster, say, wanted};

const MASTERS: [&str; 3] = ["m11", "m13", "m15"];
const ALL: [&str; 6] = ["bootstrap1", "m11", "m13", "m15", "agent1", "public1"];

fn inventory(cluster: &Cluster, masters: &str, spares: &str) {
    cluster.inventory(
        "",
        &format!(
            "  bootstrap: {{hosts: {{bootstrap1: 10}}}}
  masters: {{hosts: {{{masters}}}}}
  private_agents: {{hosts: {{agent1: 31}}}}
  public_agents: {{hosts: {{public1: 41}}}}
  spares: {{hosts: {{{spares}}}}}
  agents: {{children: [private_agents, public_agents]}}
  dcos: {{children: [bootstrap, masters, agents]}}
"
        ),
    );
}

#[test]
fn releases_are_installed_and_upgraded_and_their_scripts_get_no_word() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, "m11: 11", "m13: 13, m15: 15");
    if !cluster.up() {
        return;
    }

    say("L1: one master of 1.12.3, then three of 1.9.10");
    cluster.play("provision.yml", &["dcos_version=1.12.3"]).fine();
    cluster.no_violations(&ALL);
    cluster.play("provision.yml", &["dcos_version=1.12.3"]).changed_nothing();
    for host in ["bootstrap1", "m11", "agent1", "public1"] {
        assert!(cluster.lab(&["reset", host]).status.success(), "{host}");
    }
    inventory(&cluster, "m11: 11, m13: 13, m15: 15", "");
    cluster.play("provision.yml", &["dcos_version=1.9.10"]).fine();
    cluster.no_violations(&ALL);
    cluster.play("provision.yml", &["dcos_version=1.9.10"]).changed_nothing();

    let version = "sed -n 's/.*\"version\": *\"\\([^\"]*\\)\".*/\\1/p' /opt/mesosphere/etc/dcos-version.json";
    let upgraded = |to: &str, extra: &str| {
        cluster.play("upgrade.yml", &[&format!("dcos_version={to}"), extra]).fine();
        for host in &ALL[1..] {
            assert_eq!(cluster.on(host, version), to, "{host}");
        }
        cluster.no_violations(&ALL);
    };
    let script = "cd /opt/dcos_install_tmp && timeout 5 bash dcos_node_upgrade.sh";
    let config = "{\"dcos_config\": {\"resolvers\": [\"10.83.0.1\"]}}";

    say("L14: a word after the script works with 1.12, and our role gives none");
    upgraded("1.12.3", "x=1");
    // The script for the release that is installed: a change of the configuration.
    upgraded("1.12.3", config);
    let follower = MASTERS.into_iter().find(|host| cluster.mode(host) == "follower").expect("a follower");
    let said =
        cluster.on(follower, "cd /opt/dcos_install_tmp && bash dcos_node_upgrade.sh master; echo status $?");
    assert!(said.contains("Upgrading DC/OS master 1.12.3 -> 1.12.3") && said.ends_with("status 0"), "{said}");
    cluster.play("provision.yml", &["dcos_version=1.12.3", config]).changed_nothing();

    for release in ["2.0.6", "2.2.0"] {
        say(&format!("L14: with {release} a word hangs, and the release is brought without"));
        upgraded(release, config);
        for host in MASTERS {
            assert_eq!(cluster.on(host, &format!("{script} master >/dev/null; echo $?")), "124", "{release}");
            assert_eq!(cluster.on(host, &format!("{script} -x >/dev/null 2>&1; echo $?")), "1", "{release}");
        }
    }
    cluster.play("upgrade.yml", &["dcos_version=2.2.0", config]).changed_nothing();
    cluster.no_violations(&ALL);
}
