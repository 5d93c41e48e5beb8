//! Masters that find each other through S3, behind a load balancer: installed, refused, replaced (L17 of the reference).
//!
//! Takes a minute, needs root and what `dcos-play lab` needs. Runs with DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so
//! and passes otherwise.

mod cluster;

use cluster::{Cluster, say, wanted};

const ALL: [&str; 9] = ["bootstrap1", "m11", "m12", "m13", "m14", "m15", "m16", "agent1", "public1"];

fn inventory(cluster: &Cluster, masters: &str, spare: &str) {
    cluster.inventory(
        "  instance_id: \"i-{{ inventory_hostname }}\"\n",
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
    cluster.until_serving(&["m11", "m12", "m14", "m15"]);
    replace(&["master_in=m16"]).refused(&[
        "refused: besides m12 also 10.83.0.13 does not serve, and a newcomer would drop it from the list for good, even if it \
         only reboots; wait for it, or mend it first",
    ]);
    cluster.on("m14", "systemctl stop dcos-exhibitor");
    cluster.on("m15", "systemctl stop dcos-exhibitor");
    replace(&["master_in=m16"]).refused(&["refused: only ", " of 5 masters serve without m12 (", "), and 3 are needed; bring masters back, or restore ZooKeeper from a backup on all of them (dcos-zk restore)"]);
    for host in ["m13", "m14", "m15"] {
        cluster.on(host, "systemctl start dcos-exhibitor");
    }
    cluster.play("provision.yml", &[settings]).fine();
    // Three of five were stopped by hand.
    assert!(cluster.violations(&ALL).iter().all(|line| line.contains("\"quorum_lost\"")));
    cluster.forget_violations(&ALL);
    cluster.on("lb1", "systemctl stop balancer");
    replace(&["master_in=m16"]).refused(&[
        "refused: the load balancer 10.83.0.5 does not lead to a master (port 8181: ",
        "), and agents find the new master through it alone; mend it first",
    ]);
    cluster.on(
        "lb1",
        "systemd-run --unit=balancer python3 /srv/load-balancer.py 10.83.0.5 /srv/masters 80 2181 5050 8080 8181",
    );
    replace(&["master_in=m16", "master_lost=true", "rolling_closed_deadline=4"]).refused(&[
        "port 2181 of m12 still answers; a master that is lost must not be able to come back: terminate it or block its address",
    ]);

    say("L17: the list has the newcomer under the next id, and agents keep running");
    let agent = "systemctl show -p MainPID --value dcos-mesos-slave";
    let before = cluster.on("agent1", agent);
    let leave = cluster.file(
        "leave.yml",
        "- name: Take it out of the load balancer\n  command: sed -i 's/{{ replace_out_ip }}/{{ replace_in_ip }}/' /srv/masters\n  delegate_to: lb1\n  become: true\n",
    );
    let leave = format!("replace_leave_tasks={leave}");
    // kill -9 as soon as the newcomer is in the list: the next run has nothing left to do but to look.
    let listed = || cluster.on("lb1", list).contains("6:10.83.0.16");
    let words = [settings, "master_out=m12", "master_in=m16", leave.as_str()];
    assert!(
        cluster.killed("replace-master-dynamic.yml", &words, listed),
        "it ended before the newcomer joined"
    );
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

    say("what does not fit is refused");
    let replace = |more: &[&str]| {
        cluster.play(
            "replace-master-dynamic.yml",
            &[&[settings, "master_out=m13", "master_in=m12"], more].concat(),
        )
    };
    replace(&["dcos_version=2.0.6"]).refused(&[
        "refused: masters run DC/OS 2.2.0, and dcos_version is 2.0.6; a newcomer of another release cannot join",
    ]);
    inventory(&cluster, "m11: 11, m13: 13, m14: 14", "m12: 12, m15: 15, m16: 16");
    replace(&[]).refused(&[
        "refused: the shared list of masters is 10.83.0.11 10.83.0.13 10.83.0.14 10.83.0.15 10.83.0.16; by the inventory it is \
         10.83.0.11 10.83.0.13 10.83.0.14 (or, half way, 10.83.0.11 10.83.0.12 10.83.0.14); make the group masters and every \
         private_ip agree with the cluster",
    ]);
    inventory(&cluster, "m11: 11, m16: 16, m13: 13, m14: 14, m15: 15", "m12: 12");
    cluster.lab(&["cut", "m13"]);
    cluster.until_serving(&["m11", "m14", "m15", "m16"]);
    replace(&[]).refused(&["refused: m13 cannot be reached, so it cannot be stopped; if it is gone for good, make sure that it cannot come back (terminate it, or block its address) and say -e master_lost=true"]);
    cluster.lab(&["join", "m13"]);
    cluster.play("provision.yml", &[settings]).changed_nothing();

    on_aws(&cluster, settings, list);
}

/// replace-master-aws.yml with an infrastructure that does to the lab what the shipped one does to AWS: the machine goes, the
/// inventory forgets it, another one comes.
fn on_aws(cluster: &Cluster, settings: &str, list: &str) {
    let book = cluster.bypassed("replace-master-aws.yml", &[]);
    let binary = env!("CARGO_BIN_EXE_dcos-play");
    let machines = |more: &str| {
        fs_err::write(
            std::path::Path::new(&book).with_file_name("infrastructure.yml"),
            format!(
                "- name: Infrastructure
  id: infrastructure
  phase: infrastructure
  needs: []
  hosts: localhost
  gather_facts: false
  tasks:
    - name: End the old one
      command: {binary} lab -i lab.yml stop {{{{ item[2:] }}}} --hard
      loop: \"{{{{ replace_instances | default([]) }}}}\"
{more}"
            ),
        )
        .expect("written");
    };
    let replace = |more: &[&str]| cluster.play(&book, &[&[settings, "master_out=m13"], more].concat());

    say("the machine is ended only when it may be");
    machines("    - fail: {msg: a machine was ended}\n");
    cluster.play(&book, &[settings, "master_out=m12"]).refused(&[
        "name a host of the group masters with -e master_out=HOST; if its machine is gone already, its address with -e \
         master_out_ip=ADDRESS, too; master_out is m12, masters are m11 m16 m13 m14 m15",
    ]);
    cluster
        .play(&book, &["master_out=m13"])
        .refused(&["masters of a static list do not find each other by themselves"]);
    cluster
        .play(&book, &[settings, "master_out=m12", "master_out_ip=10.83.0.12"])
        .refused(&[
            "refused: 10.83.0.12 is not in the shared list of masters, which is 10.83.0.11 10.83.0.13 10.83.0.14 10.83.0.15 \
             10.83.0.16; if it was replaced already, playbooks/provision.yml looks whether all is well",
        ]);
    let lab = cluster.read("lab.yml");
    inventory(cluster, "m11: 11, m16: 16, m13: 13, m12: 12, m15: 15", "m14: 14");
    replace(&[]).refused(&[
        "refused: besides m13 also m12 is no member of the shared list, and one master can be replaced at a time; wait until it \
         has joined, or mend it first; no machine was ended",
    ]);
    cluster.file("lab.yml", &lab);
    cluster.on("m14", "systemctl stop dcos-exhibitor");
    cluster.until_serving(&["m11", "m13", "m15", "m16"]);
    replace(&[]).refused(&["refused: besides m13 also 10.83.0.14 does not serve"]);
    cluster.on("m14", "systemctl start dcos-exhibitor");
    cluster.play("provision.yml", &[settings]).changed_nothing();

    say("stopped after the machine has gone, it goes on");
    let agent = "systemctl show -p MainPID --value dcos-mesos-slave";
    let before = cluster.on("agent1", agent);
    let without = cluster.file("without.yml", &lab.replace("m13: 13, ", ""));
    machines(&format!("    - command: cp {without} lab.yml\n    - fail: {{msg: nobody answers}}\n"));
    replace(&[]).refused(&["nobody answers"]);
    machines("");
    replace(&["master_out_ip=10.83.0.13"]).refused(&[
        "m13 is gone, and the infrastructure has 0 new masters instead of one (none); are its machines those of \
         playbooks/infrastructure.yml? Mend that, and run this again",
    ]);
    let with = cluster.file("with.yml", &lab.replace("m13: 13, ", "m17: 17, "));
    let made = cluster.file(
        "made.sh",
        &format!(
            "set -e
cp {with} lab.yml
lab() {{ {binary} lab -i lab.yml \"$@\"; }}
lab up
lab exec m17 sh -c 'mkdir -p /etc/mesosphere; echo \"$0\" >/etc/mesosphere/standin.json' '{{\"s3_endpoint\": \"http://10.83.0.5:9100\"}}'
lab exec lb1 sed -i s/10.83.0.13/10.83.0.17/ /srv/masters
"
        ),
    );
    machines(&format!("    - name: Make the new one\n      command: sh {made}\n"));
    replace(&["master_out_ip=10.83.0.13"]).fine();
    let now = cluster.on("lb1", list);
    assert!(now.contains("7:10.83.0.17") && !now.contains("10.83.0.13"), "{now}");
    assert_eq!(cluster.on("agent1", agent), before, "the agent was not restarted");
    cluster.no_violations(&["bootstrap1", "m11", "m14", "m15", "m16", "m17", "agent1", "public1"]);
    cluster.play("provision.yml", &[settings]).changed_nothing();
}
