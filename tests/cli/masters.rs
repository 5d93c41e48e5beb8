//! `masters order` with lists from the inventory and from a running master. The `ssh` here answers by the host's name.

use std::os::unix::fs::PermissionsExt as _;

use super::support::{Project, Said};

const SSH: &str = r#"#!/bin/sh
case "$*" in
    *10.0.0.11*) echo "ssh: connect to host 10.0.0.11 port 22: Connection refused" >&2; exit 255 ;;
    *10.0.0.12*) echo 1:10.0.0.11,2:10.0.0.12,3:10.0.0.13; echo
        echo '[{"hostname": "10.0.0.11", "code": 3, "isLeader": true}]' ;;
esac
"#;

const HOSTS: &str = "[masters]\nm1 ansible_host=10.0.0.11\nm2 ansible_host=10.0.0.12\nm3 ansible_host=10.0.0.13\n\
     [new]\nm4 ansible_host=10.0.0.135\n[others]\nb1 ansible_host=10.0.0.9\n\
     [masters:vars]\nprivate_ip=\"{{ ansible_host }}\"\n[new:vars]\nprivate_ip=\"{{ ansible_host }}\"\n";

fn order(ssh: &str, args: &[&str]) -> Said {
    let project = Project::new();
    project.file("hosts", HOSTS).file("bin/ssh", ssh);
    fs_err::set_permissions(project.path("bin/ssh"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let words = [&["masters", "order", "-i", "hosts"], args].concat();
    let output = project.command(&words).env("PATH", path).output().expect("the binary runs");
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: project.scrub(&String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn hosts_and_groups_stand_for_their_private_addresses() {
    let said = order(SSH, &["--from", "masters", "--to", "m1,m2,new", "--leader", "10.0.0.11"]);
    assert_eq!(said.err, "");
    assert!(said.out.contains("step 1   id 3   10.0.0.13  -> 10.0.0.135"), "{}", said.out);
    let said = order(SSH, &["--from", "mastres", "--to", "m1"]);
    let said_to =
        "error: `mastres` is no address, and no host or group of the inventory, did you mean `masters`?\n";
    assert_eq!((said.status, said.err.as_str()), (1, said_to));
    let said = order(SSH, &["--from", "masters", "--to", "m1,m2,b1"]);
    assert_eq!(said.err, "error: b1 has no `private_ip`, which DC/OS knows a master by\n");
}

#[test]
fn the_first_master_that_answers_tells_the_ensemble_and_its_leader() {
    let said = order(SSH, &["--live", "--to", "m1,m2,m4"]);
    assert_eq!(said.err, "");
    assert!(said.out.starts_with("current  1 10.0.0.11 (leader)   2 10.0.0.12"), "{}", said.out);
    let said = order("#!/bin/sh\necho \"it is closed\" >&2\nexit 1\n", &["--live", "--to", "m1,m2,m4"]);
    assert_eq!(
        said.err,
        "error: no master answers what runs\n  m1: it is closed\n  m2: it is closed\n  m3: it is closed\n"
    );
    let said = order("#!/bin/sh\necho\necho '[]'\n", &["--live", "--to", "m1,m2,m4"]);
    assert!(
        said.err.contains("its masters find each other by themselves (no static ensemble)"),
        "{}",
        said.err
    );
}
