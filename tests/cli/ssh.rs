//! `ssh` and `tunnel`: what OpenSSH is called with, and what is refused. The `ssh` here writes its words down.

use std::os::unix::fs::PermissionsExt as _;

use super::support::{Project, Said};

const SSH: &str =
    "#!/bin/sh\nfor word; do echo \"$word\"; done\nenv | grep -c ^DCOS_PLAY_ASKPASS_ANSWER=hunter2\nexit 7\n";

const HOSTS: &str = "[bootstrap]\nb1 ansible_connection=local\n[masters]\nm1 ansible_host=10.0.0.11 ansible_port=2222\n\
     m2 ansible_host=10.0.0.12\n[masters:vars]\nansible_user=\"{{ login }}\"\nlogin=core\n\
     ansible_ssh_private_key_file=/keys/one\nansible_ssh_common_args=-o ProxyCommand=\"ssh -W %h:%p jump\"\n";

fn project(hosts: &str) -> Project {
    let project = Project::new();
    project.file("hosts", hosts).file("bin/ssh", SSH);
    fs_err::set_permissions(project.path("bin/ssh"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    project
}

fn said(project: &Project, path: &str, args: &[&str]) -> Said {
    let output = project.command(args).env("PATH", path).output().expect("the binary runs");
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: project.scrub(&String::from_utf8_lossy(&output.stderr)),
    }
}

fn called(project: &Project, args: &[&str]) -> Said {
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    said(project, &path, args)
}

#[test]
fn ssh_gets_the_options_of_a_run_and_its_status_is_ours() {
    let said = called(&project(HOSTS), &["ssh", "-i", "hosts", "m1", "--", "uptime", "-p"]);
    assert_eq!(
        said.out.lines().collect::<Vec<_>>(),
        [
            "-o",
            "ConnectTimeout=10",
            "-p",
            "2222",
            "-l",
            "core",
            "-o",
            "IdentitiesOnly=yes",
            "-i",
            "/keys/one",
            "-o",
            "ProxyCommand=ssh -W %h:%p jump",
            "-o",
            "ServerAliveInterval=5",
            "-o",
            "ServerAliveCountMax=3",
            "--",
            "10.0.0.11",
            "uptime",
            "-p",
            "0",
        ]
    );
    assert_eq!((said.status, said.err.as_str()), (7, ""));
}

#[test]
fn a_password_goes_by_askpass_and_never_by_an_argument() {
    let project = project("m1 ansible_password=hunter2\n");
    let said = called(&project, &["ssh", "-i", "hosts", "m1"]);
    let (words, found) = said.out.trim_end().rsplit_once('\n').expect("words");
    assert_eq!(found, "1");
    assert!(!words.contains("hunter2"), "{words}");
    assert!(words.contains("StrictHostKeyChecking=yes"), "{words}");
}

#[test]
fn host_keys_are_checked_unless_the_host_says_otherwise() {
    let checked = called(&project("m1\n"), &["ssh", "-i", "hosts", "m1"]);
    assert!(!checked.out.contains("StrictHostKeyChecking"), "{}", checked.out);
    let unchecked = called(&project("m1 ansible_host_key_checking=false\n"), &["ssh", "-i", "hosts", "m1"]);
    assert!(unchecked.out.contains("StrictHostKeyChecking=no"), "{}", unchecked.out);
}

#[test]
fn a_tunnel_goes_through_the_first_master_and_listens_on_localhost_alone() {
    let said = called(&project(HOSTS), &["tunnel", "-i", "hosts"]);
    let words: Vec<_> = said.out.lines().collect();
    assert_eq!(
        words[..10],
        [
            "-N",
            "-S",
            "none",
            "-o",
            "ExitOnForwardFailure=yes",
            "-L",
            "127.0.0.1:8443:127.0.0.1:443",
            "-o",
            "PermitLocalCommand=yes",
            "-o",
        ]
    );
    assert_eq!(words[10], "LocalCommand=echo 'https://localhost:8443 is open until Ctrl-C'");
    assert!(words.contains(&"ProxyCommand=ssh -W %h:%p jump"), "{words:?}");
    assert_eq!(words[words.len() - 2], "10.0.0.11");
    let said = called(&project(HOSTS), &["tunnel", "-i", "hosts", "m2", "--port", "9000", "--to", "80"]);
    assert!(said.out.contains("127.0.0.1:9000:127.0.0.1:80\n"), "{}", said.out);
    assert!(said.out.contains("http://localhost:9000 is open"), "{}", said.out);
    assert!(said.out.contains("10.0.0.12\n"), "{}", said.out);
}

#[test]
fn what_cannot_be_reached_by_ssh_is_refused_word_for_word() {
    let project = project(HOSTS);
    let refused = called(&project, &["ssh", "-i", "hosts", "m3"]);
    assert_eq!(refused.err, "error: no host named `m3` in the inventory; did you mean `m1`?\n");
    let refused = called(&project, &["ssh", "-i", "hosts", "b1"]);
    assert_eq!(
        refused.err,
        "error: b1: is this machine (`ansible_connection: local`), there is nothing to log in to\n"
    );
    let refused = called(&project, &["tunnel", "-i", "m1,"]);
    assert_eq!(
        refused.err,
        "error: no host in a group `masters` of the inventory: name one, `dcos-play tunnel HOST`\n"
    );
    let refused = said(&project, "/nowhere", &["ssh", "-i", "hosts", "m1"]);
    assert!(refused.err.starts_with("error: `ssh` cannot be started: No such file"), "{}", refused.err);
    assert!(refused.err.ends_with("install the OpenSSH client (Debian: apt-get install openssh-client)\n"));
    assert_eq!((refused.status, refused.out.as_str()), (1, ""));
}
