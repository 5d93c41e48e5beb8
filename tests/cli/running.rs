//! What a run leaves behind and what stops it: the journal's order, masked secrets, a wrong sudo password, `serial`.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;

use crate::{LIMIT, outcomes, project};

#[test]
fn a_step_is_in_the_journal_before_it_acts_and_once_only() {
    let project = project(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - command: echo one\n    - command: echo {{ item }}\n      loop: [a, b]\n    - command: sh -c 'exit 1'\n      ignore_errors: true\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let text = project.read(".dcos-play/runs/latest/journal.jsonl");
    let (mut started, mut finished) = (HashSet::new(), HashSet::new());
    for line in text.lines().skip(1) {
        let event: serde_json::Value = serde_json::from_str(line).expect("every line is JSON");
        let step = event["step"].as_u64();
        match event["event"].as_str() {
            Some("step_started") => assert!(started.insert(step), "started twice: {line}"),
            Some("step_finished") => {
                assert!(started.contains(&step), "finished before it started: {line}");
                assert!(finished.insert(step), "finished twice: {line}");
            }
            _ => {}
        }
    }
    assert_eq!((started.len(), started), (6, finished));
}

#[test]
fn serial_lets_a_batch_end_before_the_next_begins() {
    let project = project(
        "- hosts: web\n  gather_facts: false\n  serial: 1\n  tasks:\n    - shell: echo {{ inventory_hostname }} one >> trace\n      args: {chdir: \"{{ playbook_dir }}\"}\n    - shell: echo {{ inventory_hostname }} two >> trace\n      args: {chdir: \"{{ playbook_dir }}\"}\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(project.read("trace"), "h1 one\nh1 two\nh2 one\nh2 two\n");
    assert_eq!(outcomes(&project, "h2").len(), 2);
}

/// With a file system of its own for `.dcos-play`, which fills up, then grows.
#[test]
fn a_full_disk_under_the_journal_ends_the_run_and_resume_goes_on() {
    let mounts = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    if !mounts.is_ok_and(|o| o.status.success()) {
        drop(writeln!(std::io::stderr(), "skipped: mounting a small file system needs root and `unshare`"));
        return;
    }
    let project = project(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - name: Fills it\n      shell: echo x >> trace; head -c 6000 /dev/zero | tr '\\0' x\n      args: {chdir: \"{{ playbook_dir }}\"}\n      loop: \"{{ range(60) | list }}\"\n    - name: After\n      command: echo after\n",
    );
    fs_err::create_dir(project.path(".dcos-play")).expect("a folder");
    let mut command = std::process::Command::new("unshare");
    let run = project.command(&["run", "play.yml", "-i", "hosts"]);
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let script = "set -u; mount -t tmpfs -o size=128k none .dcos-play
        \"$0\" run play.yml -i hosts; echo \"exit $?\"; grep -c . trace
        ls .dcos-play/runs/latest/
        mount -o remount,size=16m .dcos-play
        \"$0\" run play.yml -i hosts --resume --interrupted repeat; echo \"exit $?\"";
    let output = command
        .current_dir(project.path("."))
        .args(["--mount", "sh", "-c", script])
        .arg(run.get_program())
        .output()
        .expect("unshare runs");
    let out = project.scrub(&String::from_utf8_lossy(&output.stdout));
    let (full, resumed) = out.split_once("exit 7\n").expect(&out);
    assert!(full.contains("journal.jsonl cannot be written: No space left on device"), "{full}");
    assert!(full.contains("the journal cannot be written: no new steps"), "{full}");
    assert!(full.contains("TIME cancelled   h1           Fills it"), "{full}");
    let ran: usize = resumed.lines().next().and_then(|l| l.parse().ok()).expect(resumed);
    assert!((1..60).contains(&ran), "it stopped in the middle: {ran}");
    assert!(!resumed.contains(".new"), "nothing half-written stays: {resumed}");
    assert!(resumed.contains("TIME changed     h1           After"), "{resumed}");
    assert!(resumed.ends_with("exit 0\n"), "{resumed}");
}

#[test]
fn a_sudo_that_neither_asks_nor_starts_is_given_up_and_the_others_finish() {
    let project = project(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - ping:\n      become: \"{{ inventory_hostname == 'h1' }}\"\n",
    );
    project
        .file("hosts", "[web]\nh1\nh2\n[all:vars]\nansible_connection=local\nansible_become_user=daemon\n");
    project.file("bin/sudo", "#!/bin/sh\nread -r nothing\nexec sleep 600\n");
    let mode = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(project.path("bin/sudo"), mode).expect("a mode");
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let output = project
        .command(&["run", "play.yml", "-i", "hosts", "--timeout", "1"])
        .env("PATH", path)
        .output()
        .expect("the binary runs");
    let out = project.scrub(&String::from_utf8_lossy(&output.stdout));
    assert!(
        out.contains("sudo to `daemon` neither asked for a password nor started a shell within TOOK"),
        "{out}"
    );
    assert!(out.contains("next        try it on the host: sudo -n true"), "{out}");
    assert!(out.contains("h2    : ok=1"), "{out}");
    assert_eq!(output.status.code(), Some(4), "{out}");
}

#[test]
fn a_wrong_sudo_password_is_told_as_such_and_is_nowhere() {
    let project = project("- hosts: h1\n  gather_facts: false\n  become: true\n  tasks: [{ping: }]\n");
    project.file(
        "hosts",
        "h1 ansible_connection=local ansible_become_password=hunter2 ansible_become_user=daemon\n",
    );
    // Stands in for sudo: it asks, and takes no password.
    project.file(
        "bin/sudo",
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n  case $1 in -p) printf %s \"$2\" >&2 ;; --) break ;; esac\n  shift\ndone\nread -r password\necho 'Sorry, try again.' >&2\necho 'sudo: 1 incorrect password attempt' >&2\nexit 1\n",
    );
    let mode = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(project.path("bin/sudo"), mode).expect("a mode");
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let output = project
        .command(&["run", "play.yml", "-i", "hosts"])
        .env("PATH", path)
        .output()
        .expect("the binary runs");
    let out = project.scrub(&String::from_utf8_lossy(&output.stdout));
    let block = out.split("\n\n").find(|part| part.starts_with('✗')).expect(&out);
    assert_eq!(
        block,
        "✗ h1 · play.yml:4  \"ping\"\n  unreachable (become) sudo to `daemon`: incorrect password\n  \
         next        check ansible_become_password, or give it again with --ask-become-pass\n  \
         full log    .dcos-play/runs/RUN/hosts/h1.log:2"
    );
    assert!(!out.contains("hunter2"), "{out}");
    assert!(!project.read(".dcos-play/runs/latest/journal.jsonl").contains("hunter2"));
    assert!(matches!(output.status.code(), Some(2 | 4)), "{out}");
}

#[test]
fn the_second_interrupt_ends_a_sudo_that_hangs() {
    let project = project("- hosts: h1\n  gather_facts: false\n  become: true\n  tasks: [{ping: }]\n");
    project.file(
        "hosts",
        &format!(
            "h1 ansible_connection=local ansible_become_user=daemon ansible_become_exe={}\n",
            project.path("sudo").display()
        ),
    );
    // Takes no input and never starts a shell, as with a name service that does not answer.
    project
        .file("sudo", &format!("#!/bin/sh\necho $$ >{}\nexec sleep 1000\n", project.path("pid").display()));
    fs_err::set_permissions(project.path("sudo"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let run = project.start(&["run", "play.yml", "-i", "hosts"]);
    let pid = || fs_err::read_to_string(project.path("pid")).unwrap_or_default().trim().to_owned();
    project.until("sudo to begin", LIMIT, || !pid().is_empty());
    run.signal(Signal::SIGINT);
    project.until("the cancel", LIMIT, || project.journal().iter().any(|e| e["event"] == "cancel_began"));
    let asked = std::time::Instant::now();
    run.signal(Signal::SIGINT);
    let (status, out, err) = run.wait();
    assert_eq!(status, 130, "{out}{err}");
    // Well below the deadline of a login, which would end it, too.
    assert!(asked.elapsed() < std::time::Duration::from_secs(10), "{out}{err}");
    let lives = || std::path::Path::new(&format!("/proc/{}", pid())).exists();
    project.until("sudo to be ended", LIMIT, || !lives());
}
