//! DC/OS in containers on real Docker daemons, with the stand-in's image built on each host.
//!
//! Takes minutes, needs root, what `dcos-play lab` needs, and an apt that has Debian 12's docker.io. Runs with
//! DCOS_PLAY_CLUSTER_TESTS=1 (`make test-cluster`), says so and passes otherwise.

mod cluster;

use std::path::Path;
use std::process::Command;

use cluster::{Cluster, say, wanted};

const HOSTS: [&str; 4] = ["d11", "d12", "d13", "d31"];

/// A Python and a shell of the host, for Dockerfile's `FROM`: nothing can be pulled in a lab.
const BASE: &str = "set -e
libs=$(ldd /usr/bin/python3.11 /usr/bin/dash $(find /usr/lib/python3.11/lib-dynload -name '*.so') | grep -oE '[[:space:]]/lib[^ ]*' | sort -u)
cd / && tar -cf /tmp/base.tar usr/bin/python3 usr/bin/python3.11 usr/lib/python3.11 usr/bin/dash usr/bin/sh bin lib lib64
tar -rhf /tmp/base.tar $(for lib in $libs; do echo \"usr$lib\"; done)
docker import /tmp/base.tar standin-base:1 >/dev/null && rm /tmp/base.tar";

/// A host of the lab has its cgroups read-only, and Docker makes one for each container.
const CGROUPS: &str = "mkdir -p /etc/systemd/system/docker.service.d && cat >/etc/systemd/system/docker.service.d/lab.conf <<'END'
[Service]
ExecStartPre=/bin/sh -c 'for c in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,rw $c 2>/dev/null || mount -o remount,rw,bind $c 2>/dev/null || true; done'
END";

fn context(cluster: &Cluster) -> String {
    let folder = cluster.file("image", "");
    fs_err::remove_file(&folder).expect("a file");
    fs_err::create_dir(&folder).expect("a folder");
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab");
    for part in ["container/Dockerfile", "container/entrypoint.py", "standin/src/standin"] {
        assert!(
            Command::new("cp").arg("-r").arg(lab.join(part)).arg(&folder).status().expect("cp").success()
        );
    }
    let caches = format!("find {folder} -name __pycache__ -prune -exec rm -r {{}} +");
    assert!(Command::new("sh").args(["-c", &caches]).status().expect("find").success());
    folder
}

#[test]
fn a_cluster_in_containers_finds_itself_through_s3_and_is_changed_one_master_at_a_time() {
    if !wanted() {
        return;
    }
    let mut cluster = Cluster::new("10.83.0");
    cluster.www = "build-docker.sh";
    cluster.inventory(
        "",
        "  masters: {docker: true, hosts: {d11: 11, d12: 12, d13: 13}}
  agents: {docker: true, hosts: {d31: 31, d11: }}
  outside: {hosts: {lb1: 5}}
",
    );
    if !cluster.up() {
        return;
    }
    let context = context(&cluster);
    let settings = cluster.file(
        "settings.json",
        &format!(
            "{{\"docker_packages\": [\"docker.io\"], \"docker_storage_driver\": \"vfs\",
            \"docker_apt_repository\": \"deb [trusted=yes] http://10.83.0.1:8077/docker ./\",
            \"dcos_s3_bucket\": \"lab\", \"aws_region\": \"eu-west-1\", \"dcos_exhibitor_address\": \"10.83.0.5\",
            \"container_image_master\": \"standin:master\", \"container_image_slave\": \"standin:slave\",
            \"container_image_source\": \"build\", \"container_image_context\": \"{context}\",
            \"container_privileged\": false, \"container_capabilities\": [\"ALL\"],
            \"container_cap_drop\": [\"SYS_RESOURCE\"],
            \"container_env\": {{\"STANDIN_S3_ENDPOINT\": \"http://10.83.0.5:9100\", \"STANDIN_ROUTE_TO\": \"10.83.0.1\"}},
            \"container_env_extra_prefixes\": [\"STANDIN\"]}}"
        ),
    );
    let settings = format!("@{settings}");
    let play = |more: &[&str]| cluster.play("docker.yml", &[&[settings.as_str()], more].concat());

    say("what cannot work is refused before a host is touched");
    play(&["container_cluster_size=4"]).refused(&[
        "a cluster in containers has 1, 3, 5 or 7 masters; container_cluster_size is 4, and the group masters has 3",
    ]);
    play(&["dcos_s3_bucket="]).refused(&[
        "3 masters in containers find each other through S3 alone: set dcos_s3_bucket, and aws_region or dcos_s3_region",
    ]);
    play(&["dcos_exhibitor_address="])
        .refused(&["set dcos_exhibitor_address, the load balancer in front of the masters"]);
    play(&["{\"container_env_master\": {\"MESSOS_ROLES\": \"x\"}}"])
        .refused(&["MESSOS_ROLES would never reach DC/OS: names begin with MARATHON, MESOS, DCOS"]);
    play(&["container_image_source=push"])
        .refused(&["container_image_source is push: it may be pull, local, load"]);

    say("Docker, a real one");
    for host in HOSTS {
        cluster.on(host, CGROUPS);
    }
    play(&["--tags=docker"]).fine();
    for host in HOSTS {
        let base = cluster.lab(&["exec", host, "sh", "-c", BASE]);
        assert!(base.status.success(), "{host}: {}", String::from_utf8_lossy(&base.stderr));
    }
    cluster.on(
        "lb1",
        "cd /srv && curl -sfO http://10.83.0.1:8077/object-store.py && curl -sfO http://10.83.0.1:8077/load-balancer.py
         echo 10.83.0.11 10.83.0.12 10.83.0.13 >/srv/masters
         systemd-run --unit=store python3 /srv/object-store.py 10.83.0.5:9100 /srv/bucket
         systemd-run --unit=balancer python3 /srv/load-balancer.py 10.83.0.5 /srv/masters 80 5050 8080 8181",
    );

    say("three masters, an agent of its own and one beside a master");
    play(&[]).fine();
    let masters = ["d11", "d12", "d13"];
    let violations = |host: &str| {
        let file = "/var/lib/mesos-master/var/log/dcos-standin/violations.jsonl";
        cluster.on(host, &format!("cat {file} 2>/dev/null | grep -v '\"expected\": true'"))
    };
    for host in masters {
        assert_eq!(violations(host), "", "{host}");
        // The image alone would take three masters less one.
        let read = "docker exec master /usr/bin/python3 -c 'print(open(\"/opt/mesosphere/etc/dcos-docker.env\").read())' 2>&1";
        let environment = cluster.on(host, read);
        assert!(
            environment.contains("MESOS_QUORUM=2"),
            "{host}: {environment}\n{}",
            cluster.on(host, "docker ps -a 2>&1; docker logs --tail 30 master 2>&1; df -h / 2>&1")
        );
    }
    assert_eq!(cluster.on("d11", "docker ps --format '{{.Names}}' | sort | xargs"), "master slave");
    play(&[]).changed_nothing();

    say("a changed setting makes the containers anew, their data stays");
    let ids = cluster.on("lb1", "cat /srv/bucket/*");
    play(&["{\"container_env_master\": {\"MARATHON_ZK_TIMEOUT\": 20000}}"]).fine();
    assert_eq!(cluster.on("lb1", "cat /srv/bucket/*"), ids);
    for host in masters {
        assert_eq!(violations(host), "", "{host}");
        let env = cluster.on(host, "docker inspect -f '{{.Config.Env}}' master");
        assert!(env.contains("MARATHON_ZK_TIMEOUT=20000"), "{env}");
    }

    say("a network of its own, and containers taken away");
    let book = cluster.file(
        "gone.yml",
        "- hosts: d31
  become: true
  gather_facts: false
  tasks:
    - docker_network: {name: lab, ipam_config: [{subnet: 172.30.0.0/24}]}
    - docker_container: &third
        name: third
        image: standin-base:1
        entrypoint: [/usr/bin/python3, -c]
        command: \"'import time; time.sleep(600)'\"
        networks: [{name: lab, aliases: [a], ipv4_address: 172.30.0.9}]
        published_ports: [\"8099:99\"]
        memory: 256M
        stop_timeout: 1
        labels: {a: b}
      register: made
      failed_when: made.container.NetworkSettings.Networks.lab.IPAddress != '172.30.0.9'
    - docker_container: *third
      register: again
      failed_when: again is changed
    - docker_container: {name: third, state: absent}
    - docker_container: {name: second, image: standin-base:1, entrypoint: [/usr/bin/sh, -c], command: \"'echo out; exit 3'\", detach: false, cleanup: true}
      register: ended
      failed_when: ended.status != 3 or ended.container.Output != \"out\\n\"
    - docker_container: {name: slave, state: absent}
    - docker_network: {name: lab, state: absent}
    - docker_image: {name: \"standin:slave\", state: absent}
    - docker_image_info: {name: \"standin:slave\"}
      register: left
      failed_when: left.images | length > 0
",
    );
    cluster.play(&book, &[]).fine();
    assert_eq!(cluster.on("d31", "docker ps -aq | wc -l; docker network ls -qf name=lab | wc -l"), "0\n0");
}
