//! All masters of a cluster move, in the order that the planner computes (L3 with the reference's vector V1), and an expansion
//! that moves ids is prepared (L12 with V11).
//!
//! Takes minutes, needs root and what `dcos-play lab` needs. Runs with DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so
//! and passes otherwise.

mod cluster;

use cluster::{Cluster, say, wanted};
use serde_json::Value as Json;

/// Writes the inventory: masters, new masters and spares by their last number, one agent of each kind.
fn inventory(cluster: &Cluster, masters: &[u8], new: &[u8], spares: &[u8]) {
    let list = |all: &[u8]| all.iter().map(|last| format!("m{last}: {last}")).collect::<Vec<_>>().join(", ");
    cluster.inventory(
        "",
        &format!(
            "  bootstrap: {{hosts: {{bootstrap1: 10}}}}
  masters: {{hosts: {{{}}}}}
  new_masters: {{hosts: {{{}}}}}
  private_agents: {{hosts: {{agent1: 31}}}}
  public_agents: {{hosts: {{public1: 41}}}}
  spares: {{hosts: {{{}}}}}
  agents: {{children: [private_agents, public_agents]}}
  dcos: {{children: [bootstrap, masters, agents]}}
",
            list(masters),
            list(new),
            list(spares)
        ),
    );
}

fn names(hosts: &[u8]) -> Vec<String> {
    hosts.iter().map(|last| format!("m{last}")).collect()
}

#[test]
fn all_masters_move_in_the_computed_order() {
    if !wanted() {
        return;
    }
    // V1 with its own last numbers: id 1 can go only after id 2.
    let (from, to) = ([149, 158, 236, 45, 66], [184, 230, 233, 43, 85]);
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &from, &[], &to);
    if !cluster.up() {
        return;
    }
    cluster.play("provision.yml", &[]).fine();
    assert_eq!(cluster.ensemble("m149"), "1:.149,2:.158,3:.236,4:.45,5:.66");

    let all: Vec<String> = names(&from).into_iter().chain(names(&to)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).chain(["agent1", "public1"]).collect();
    let (mut masters, mut spares) = (from.to_vec(), to.to_vec());
    let target = names(&to).join(",");
    let mut order = Vec::new();
    while !spares.is_empty() {
        // Planned anew each time, from what runs.
        let plan = cluster.call(&["masters", "order", "-i", "lab.yml", "--live", "--to", &target, "--json"]);
        let text = String::from_utf8_lossy(&plan.stdout).into_owned();
        let plan: Json = serde_json::from_str(&text).expect("JSON");
        let step = &plan["steps"][0];
        let last = |key: &str| -> u8 {
            let address = step[key].as_str().unwrap_or_else(|| panic!("{key} in {text}"));
            address.rsplit('.').next().and_then(|n| n.parse().ok()).expect("an address")
        };
        let (out, new) = (last("out"), last("in"));
        say(&format!("L3: id {} is .{out} and becomes .{new}", step["id"]));
        let words = [format!("master_out=m{out}"), format!("master_in=m{new}")];
        let words = [words[0].as_str(), words[1].as_str()];
        if order.len() == 1 {
            // kill -9 when the first survivor has the new list: the next run goes on with the others.
            let survivors: Vec<String> =
                names(&masters).into_iter().filter(|one| *one != format!("m{out}")).collect();
            let changed = || survivors.iter().any(|one| cluster.ensemble(one).contains(&format!(".{new}")));
            assert!(
                cluster.killed("replace-master.yml", &words, changed),
                "it ended before a survivor changed"
            );
        }
        cluster.play("replace-master.yml", &words).fine();
        order.push(step["id"].as_u64().expect("an id"));
        masters.iter_mut().filter(|one| **one == out).for_each(|one| *one = new);
        spares.retain(|one| *one != new);
        let others: Vec<u8> = from.iter().copied().filter(|one| !masters.contains(one)).collect();
        inventory(&cluster, &masters, &[], &[spares.clone(), others].concat());
        cluster.no_violations(&all);
    }
    let place = |id: u64| order.iter().position(|one| *one == id);
    assert!(place(2) < place(1), "{order:?}");
    for host in names(&to) {
        assert_eq!(cluster.ensemble(&host), "1:.184,2:.230,3:.233,4:.43,5:.85", "{host}");
    }
}

#[test]
fn an_expansion_that_moves_ids_is_prepared() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, &[11, 12, 16], &[13, 14], &[]);
    if !cluster.up() {
        return;
    }
    cluster.play("provision.yml", &[]).fine();
    say("L12: refused, with the plan that prepares it");
    cluster.play("expand-masters.yml", &[]).refused(&[
        "10.83.0.16 would move from id 3 to id 5",
        "step 1   id 3   10.83.0.16  -> 10.83.0.13   10.83.0.16 comes back later",
        "add      id 4   10.83.0.14",
        "add      id 5   10.83.0.16   joins wiped",
    ]);
    say("L12: the plan, step by step");
    let all = ["m11", "m12", "m13", "m14", "m16", "agent1", "public1"];
    inventory(&cluster, &[11, 12, 16], &[], &[13, 14]);
    cluster.play("replace-master.yml", &["master_out=m16", "master_in=m13"]).fine();
    inventory(&cluster, &[11, 12, 13], &[], &[14, 16]);
    cluster.play("uninstall.yml", &["uninstall_cluster=lab", "uninstall_hosts=m16"]).fine();
    inventory(&cluster, &[11, 12, 13], &[14, 16], &[]);
    let changed = || ["m11", "m12", "m13"].iter().any(|host| cluster.ensemble(host).contains(".16"));
    assert!(cluster.killed("expand-masters.yml", &[], changed), "it ended before a master changed");
    cluster.play("expand-masters.yml", &[]).fine();
    for host in ["m11", "m13", "m14", "m16"] {
        assert_eq!(cluster.ensemble(host), "1:.11,2:.12,3:.13,4:.14,5:.16", "{host}");
    }
    cluster.no_violations(&all);
    inventory(&cluster, &[11, 12, 13, 14, 16], &[], &[]);
    cluster.play("provision.yml", &[]).changed_nothing();

    say("an upgrade that was killed after its first master goes on with the others");
    let config = "{\"dcos_config\": {\"oauth_enabled\": false}}";
    let active = |host: &str| cluster.on(host, "readlink /opt/mesosphere/active/dcos-config");
    let before = active("m11");
    let changed = || {
        ["m11", "m12", "m13", "m14", "m16"]
            .iter()
            .any(|host| ![before.as_str(), ""].contains(&active(host).as_str()))
    };
    assert!(cluster.killed("upgrade.yml", &[config], changed), "it ended before a master changed");
    cluster.play("upgrade.yml", &[config]).fine();
    cluster.no_violations(&all);
    let after = active("m11");
    for host in ["m11", "m12", "m13", "m14", "m16", "agent1", "public1"] {
        assert!(active(host) == after && after != before, "{host}");
    }
    cluster.play("upgrade.yml", &[config]).changed_nothing();

    say("all of it goes, twice, and comes back");
    cluster.play("uninstall.yml", &["uninstall_cluster=lab"]).fine();
    let left = "ls -d /opt/mesosphere /var/lib/dcos /var/lib/mesos /etc/systemd/system/dcos* 2>/dev/null
         ss -Hlnt | grep -oE ':(80|2181|3888|5050|5051|8080|8181) '";
    for host in all.into_iter().chain(["bootstrap1"]) {
        assert_eq!(cluster.on(host, left), "", "{host}");
    }
    cluster.play("uninstall.yml", &["uninstall_cluster=lab"]).changed_nothing();
    cluster.play("provision.yml", &[]).fine();
    cluster.no_violations(&all);
}
