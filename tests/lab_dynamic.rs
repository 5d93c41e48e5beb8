//! Masters that find each other through S3, behind a load balancer: installed, refused, replaced (L17 of the reference).
//!
//! Takes a minute, needs root and what `dcos-play lab` needs. Runs with DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so
//! and passes otherwise.

mod cluster;

use cluster::{Cluster, say, wanted};

const ALL: [&str; 9] = ["bootstrap1", "m11", "m12", "m13", "m14", "m15", "m16", "agent1", "public1"];

fn inventory(cluster: &Cluster, masters: &str, spare: &str) {
    cluster.inventory(
        "",
        &format!(
            "  bootstrap: {{hosts: {{bootstrap1: 10}}}}
  masters: {{hosts: {{{masters}}}}}
  private_agents: {{hosts: {{agent1: 31}}}}
  public_agents: {{hosts: {{public1: 41}}}}
  spares: {{hosts: {{{spare}}}}}
  outside: {{hosts: {{lb1: 5}}}}
  agents: {{children: [private_agents, public_agents]}}
  dcos: {{children: [bootstrap, masters, agents]}}
"
        ),
    );
}

#[test]
fn a_master_behind_a_load_balancer_is_replaced_and_nobody_else_is_touched() {
    if !wanted() {
        return;
    }
    let cluster = Cluster::new("10.83.0");
    inventory(&cluster, "m11: 11, m12: 12, m13: 13, m14: 14, m15: 15", "m16: 16");
    if !cluster.up() {
        return;
    }
    // What AWS has: the bucket and the load balancer, here on a host of their own.
    cluster.on(
        "lb1",
        "cd /srv && curl -sfO http://10.83.0.1:8077/object-store.py && curl -sfO http://10.83.0.1:8077/load-balancer.py
         echo 10.83.0.11 10.83.0.12 10.83.0.13 10.83.0.14 10.83.0.15 >/srv/masters
         systemd-run --unit=store python3 /srv/object-store.py 10.83.0.5:9100 /srv/bucket
         systemd-run --unit=balancer python3 /srv/load-balancer.py 10.83.0.5 /srv/masters 80 2181 5050 8080 8181",
    );
    for host in &ALL[1..7] {
        cluster.knobs(host, "{\"s3_endpoint\": \"http://10.83.0.5:9100\"}");
    }

    say("what is missing is named before a host is touched");
    cluster.play("provision.yml", &["dcos_dynamic_masters=true"]).refused(&[
        "dcos_dynamic_masters needs aws_region or dcos_s3_region, \
         dcos_s3_bucket (the bucket where the list of masters is kept), dcos_exhibitor_address (the internal load balancer in front of the masters)",
    ]);

    say("the first installation");
    let settings = "{\"dcos_dynamic_masters\": true, \"dcos_s3_bucket\": \"lab\", \"aws_region\": \"eu-west-1\", \
         \"dcos_exhibitor_address\": \"10.83.0.5\"}";
    cluster.play("provision.yml", &[settings]).fine();
    cluster.no_violations(&ALL);
    let list = "sed -n 's/.*servers-spec=//p' /srv/bucket/*exhibitor* | tr -d '\\\\'";
    let first = cluster.on("lb1", list);
    assert_eq!(first.matches(':').count(), 5, "{first}");

    let replace = |more: &[&str]| {
        cluster.play("replace-master-dynamic.yml", &[&[settings, "master_out=m12"], more].concat())
    };
    say("what must not be done is refused");
    cluster.play("replace-master.yml", &[settings, "master_out=m12", "master_in=m16"]).refused(&[
        "masters behind a load balancer find each other by themselves: playbooks/replace-master-dynamic.yml",
    ]);
    cluster
        .play("replace-master-dynamic.yml", &["master_out=m12", "master_in=m16"])
        .refused(&["masters of a static list do not find each other by themselves"]);
    replace(&["master_in=agent1"])
        .refused(&["has no part in the cluster yet; master_out is m12, master_in agent1"]);
    cluster.on("m13", "systemctl stop dcos-exhibitor");
    replace(&["master_in=m16"]).refused(&[
        "refused: besides m12 also 10.83.0.13 does not serve",
        "a newcomer would drop it from the list for good, even if it only reboots",
    ]);
    cluster.on("m14", "systemctl stop dcos-exhibitor");
    cluster.on("m15", "systemctl stop dcos-exhibitor");
    replace(&["master_in=m16"]).refused(&["of 5 masters serve without m12", "and 3 are needed"]);
    for host in ["m13", "m14", "m15"] {
        cluster.on(host, "systemctl start dcos-exhibitor");
    }
    cluster.play("provision.yml", &[settings]).fine();
    cluster.on("lb1", "systemctl stop balancer");
    replace(&["master_in=m16"])
        .refused(&["refused: the load balancer 10.83.0.5 does not lead to a master (port 8181"]);
    cluster.on(
        "lb1",
        "systemd-run --unit=balancer python3 /srv/load-balancer.py 10.83.0.5 /srv/masters 80 2181 5050 8080 8181",
    );

    say("L17: the list has the newcomer under the next id, and agents keep running");
    let agent = "systemctl show -p MainPID --value dcos-mesos-slave";
    let before = cluster.on("agent1", agent);
    let leave = cluster.file(
        "leave.yml",
        "- name: Take it out of the load balancer\n  command: sed -i 's/{{ replace_out_ip }}/{{ replace_in_ip }}/' /srv/masters\n  delegate_to: lb1\n  become: true\n",
    );
    let leave = format!("replace_leave_tasks={leave}");
    replace(&["master_in=m16", &leave]).fine();
    let now = cluster.on("lb1", list);
    assert!(now.contains("6:10.83.0.16") && !now.contains("10.83.0.12"), "{now}");
    for (id, address) in
        first.split(',').filter_map(|one| one.split_once(':')).filter(|one| one.1 != "10.83.0.12")
    {
        assert!(now.contains(&format!("{id}:{address}")), "ids stay: {first}, {now}");
    }
    assert_eq!(cluster.on("agent1", agent), before, "the agent was not restarted");
    assert_eq!(
        cluster.on("lb1", "cat /srv/masters"),
        "10.83.0.11 10.83.0.16 10.83.0.13 10.83.0.14 10.83.0.15"
    );
    cluster.no_violations(&ALL);
    inventory(&cluster, "m11: 11, m16: 16, m13: 13, m14: 14, m15: 15", "m12: 12");
    cluster.play("provision.yml", &[settings]).changed_nothing();
}
