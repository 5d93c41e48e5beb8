//! The name `ansible-playbook`, and `ansible.cfg`: the command lines and settings that people have keep working.

use std::process::Command;

use crate::support::Project;

const PLAY: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - command: \"{{ program }}\"\n";
const HOSTS: &str = "here ansible_connection=local\n";

/// Runs the binary under the name of Ansible's.
fn ansible(project: &Project, args: &[&str]) -> (i32, String, String) {
    let link = project.home().join("ansible-playbook");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dcos-play"), &link).expect("a link");
    }
    let told = project.command(&[]);
    let mut command = Command::new(link);
    command.args(args).current_dir(project.path(""));
    command.env_clear().envs(told.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let output = command.output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The statuses are those that ansible-core 2.19 gave for the same files.
#[test]
fn the_link_ends_as_ansible_playbook_does() {
    let project = Project::new();
    let gone = "away ansible_host=127.0.0.1 ansible_port=1\n";
    project
        .file("site.yml", PLAY)
        .file("hosts", HOSTS)
        .file("mixed", &format!("{HOSTS}{gone}"))
        .file("gone", gone);
    project.file("broken.yml", "- hosts: [\n").file("key.yml", "- hosts: all\n  tsaks: []\n");
    project.file("module.yml", "- hosts: all\n  tasks: [{no_such_module: {}}]\n");
    for (args, status) in [
        (&["-i", "hosts", "site.yml", "-e", "program=true"][..], 0),
        (&["-i", "hosts", "site.yml", "-e", "program=false"], 2),
        (&["-i", "gone", "site.yml", "-e", "program=true"], 4),
        (&["-i", "mixed", "site.yml", "-e", "program=false"], 4),
        (&["-i", "hosts", "broken.yml"], 4),
        (&["-i", "hosts", "key.yml"], 4),
        (&["-i", "hosts", "module.yml"], 4),
        (&["-i", "hosts", "--syntax-check", "broken.yml"], 4),
        (&["-i", "hosts", "nowhere.yml"], 1),
        (&["-i", "hosts", "site.yml", "-l", "nobody"], 1),
        (&["-i", "hosts", "site.yml", "-e", "@nowhere"], 1),
        (&["--no-such-flag", "site.yml"], 2),
        (&[], 2),
        (&["--help"], 0),
    ] {
        let (found, out, err) = ansible(&project, args);
        assert_eq!(found, status, "{args:?}\n{out}\n{err}");
    }
}

#[test]
fn the_link_takes_all_flags_of_ansible_playbook() {
    let project = Project::new();
    project
        .file("site.yml", PLAY)
        .file("hosts", HOSTS)
        .file("word", "secret\n")
        .file("mods/hello", "#!/bin/sh\necho '{}'\n");
    let (status, out, err) = ansible(
        &project,
        &[
            "--inventory-file",
            "hosts",
            "-e",
            "program=true",
            "--become-password-file",
            "word",
            "--connection-password-file",
            "word",
            "-M",
            "mods",
            "--ssh-extra-args=-o X=y",
            "--scp-extra-args=-C",
            "--sftp-extra-args",
            "-C",
            "--ssh-common-args",
            "-C",
            "-f",
            "3",
            "-T",
            "9",
            "-u",
            "me",
            "-c",
            "local",
            "--private-key",
            "word",
            "--vault-pass-file",
            "word",
            "--flush-cache",
            "--force-handlers",
            "-vvv",
            "-D",
            "-C",
            "-t",
            "all",
            "--skip-tags",
            "none",
            "-l",
            "here",
            "site.yml",
        ],
    );
    assert_eq!(status, 0, "{out}\n{err}");
    assert!(out.contains("PLAY RECAP"), "{out}");
}

#[test]
fn ansible_cfg_names_inventory_roles_and_privileges() {
    let project = Project::new();
    project
        .file(
            "ansible.cfg",
            "[defaults]\ninventory = inv/hosts\nroles_path = shared\ngathering = explicit\nretry_files_enabled = no\nfact_caching = memory\n",
        )
        .file("inv/hosts", HOSTS)
        .file("shared/greet/tasks/main.yml", "- debug: {msg: \"facts {{ ansible_facts | length }}\"}\n")
        .file("site.yml", "- hosts: all\n  roles: [greet]\n");
    let said = project.run(&["run", "site.yml"]);
    assert_eq!((said.status, said.out.contains("facts 0")), (0, true), "{}\n{}", said.out, said.err);
    assert!(
        said.err.contains(
            "warning: ansible.cfg:6: `fact_caching` in [defaults] is not supported and has no effect"
        ),
        "{}",
        said.err
    );
}

#[test]
fn ansible_cfg_that_cannot_be_read_is_refused() {
    let project = Project::new();
    project.file("site.yml", PLAY).file("hosts", HOSTS);
    project.file("ansible.cfg", "[defaults]\nforks\n");
    let said = project.run(&["run", "site.yml", "-i", "hosts"]);
    let why = "error: `forks` is not `name = value`\n  at ansible.cfg:2";
    assert_eq!((said.status, said.err.trim_end()), (5, why));
}

/// The result is what ansible-core 2.19 printed for these files, once with each setting.
#[test]
fn mappings_replace_each_other_unless_ansible_cfg_merges_them() {
    let project = Project::new();
    project
        .file("hosts", "[web]\nhere ansible_connection=local\n")
        .file("group_vars/all.yml", "d: {a: all, b: {x: all, y: all}, l: [1]}\n")
        .file("group_vars/web.yml", "d: {b: {y: web}, l: [2]}\n")
        .file("host_vars/here.yml", "d: {h: host}\n")
        .file("roles/r/defaults/main.yml", "d: {r: role}\n")
        .file(
            "roles/r/tasks/main.yml",
            "- debug: {msg: \"{{ d | to_json(sort_keys=true) }}\"}\n  vars: {d: {t: task}}\n",
        )
        .file("site.yml", "- hosts: all\n  gather_facts: false\n  vars: {d: {p: play}}\n  roles: [r]\n");
    let said = project.run(&["run", "site.yml", "-i", "hosts"]);
    assert!(said.out.contains(r#"{"t": "task"}"#), "{}\n{}", said.out, said.err);
    project.file("ansible.cfg", "[defaults]\nhash_behaviour = merge\n");
    let said = project.run(&["run", "site.yml", "-i", "hosts"]);
    let merged = r#"{"a": "all", "b": {"x": "all", "y": "web"}, "h": "host", "l": [2], "p": "play", "r": "role", "t": "task"}"#;
    assert!(said.out.contains(merged), "{}\n{}", said.out, said.err);
}
