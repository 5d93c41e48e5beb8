//! A full disk under the project: the run says so, stops, and is left in a state that the next one can go on from.

use std::io::Write as _;

use crate::support::{Project, Said};

/// Runs below a limit for the size of files, which needs no root. The agent must be in place by then.
fn limited(project: &Project, kilobytes: u32, args: &[&str]) -> Said {
    let inner = project.command(args);
    let mut command = std::process::Command::new("/bin/sh");
    // Blocks of 512 bytes. Without the trap the kernel would end the process.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kilobytes * 2);
    command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(project.path(".")).env_clear().stdin(std::process::Stdio::null());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = command.output().expect("it runs");
    Said {
        status: output.status.code().unwrap_or(-1),
        out: project.scrub(&String::from_utf8_lossy(&output.stdout)),
        err: project.scrub(&String::from_utf8_lossy(&output.stderr)),
    }
}

const FULL: &str = "- hosts: h1
  gather_facts: false
  tasks:
    - {name: Begin, shell: echo begin >>trace, args: {chdir: \"{{ playbook_dir }}\"}}
    - {name: Much, command: \"echo {{ 'x' * 6000 }}\", loop: \"{{ range(20) | list }}\", loop_control: {label: \"{{ item }}\"}}
    - {name: After, shell: echo after >>trace, args: {chdir: \"{{ playbook_dir }}\"}}
";

#[test]
fn a_journal_that_cannot_grow_stops_the_run_and_the_next_goes_on() {
    let project = crate::project(FULL);
    // Puts the agent in place.
    assert_eq!(project.run(&["run", "play.yml", "-i", "hosts", "--tags", "never_there"]).status, 0);
    let first = project.run(&["run", "play.yml", "-i", "hosts", "--limit", "h1", "--check"]);
    assert_eq!(first.status, 0, "{}{}", first.out, first.err);
    let said = limited(&project, 32, &["run", "play.yml", "-i", "hosts"]);
    let all = format!("{}--- stderr\n{}", said.out, said.err);
    assert_eq!(said.status, 7, "{all}");
    let journal = "the journal PROJECT/.dcos-play/runs/RUN/journal.jsonl cannot be written: File too large (os error 27)";
    assert!(said.out.contains(journal), "{all}");
    assert!(said.out.contains("cancel      the journal cannot be written: no new steps"), "{all}");
    assert!(
        said.err.contains("error: the run stopped because its journal could not be written any more\n"),
        "{all}"
    );
    assert!(said.out.contains("PLAY RECAP"), "{all}");
    assert_eq!(project.read("trace"), "begin\n", "{all}");

    // What was written can be read, also by a run that goes on.
    let said = project.run(&["run", "play.yml", "-i", "hosts", "--resume", "--interrupted", "repeat"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert_eq!(project.read("trace"), "begin\nafter\n");
}

#[test]
fn a_run_that_cannot_claim_its_hosts_runs_nothing() {
    let project = crate::project(FULL);
    let said = limited(&project, 0, &["run", "play.yml", "-i", "hosts"]);
    let all = format!("{}--- stderr\n{}", said.out, said.err);
    assert!(!project.path("trace").exists(), "{all}");
    assert_eq!(said.status, 1, "{all}");
    assert!(said.err.starts_with("error: the run's hosts cannot be claimed in "), "{all}");
    assert!(said.err.ends_with("/claims: File too large (os error 27)\n"), "{all}");
}

#[test]
fn a_file_system_without_room_for_a_journal_begins_no_run() {
    let mounts = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    if !mounts.is_ok_and(|o| o.status.success()) {
        let why = "skipped: mounting a small file system needs root and `unshare`";
        drop(writeln!(std::io::stderr(), "{why}"));
        return;
    }
    let project = crate::project(FULL);
    fs_err::create_dir_all(project.path(".dcos-play/runs")).expect("a folder");
    // In a mount namespace of its own, so that nothing is left behind.
    let script = "mount -t tmpfs -o size=64k none .dcos-play/runs || exit 99
        head -c 100000 /dev/zero >.dcos-play/runs/fill 2>/dev/null
        exec \"$@\"";
    let inner = project.command(&["run", "play.yml", "-i", "hosts"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(project.path(".")).env_clear().stdin(std::process::Stdio::null());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = command.output().expect("it runs");
    let err = project.scrub(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{err}");
    assert!(err.starts_with("error: ") && err.contains("No space left on device"), "{err}");
    assert!(err.contains("\n  nothing was run: "), "{err}");
    assert!(!project.path("trace").exists(), "{err}");
}
