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

/// Every spelling in `ansible-playbook --help` of ansible-core 2.19, each alone; `=` before what it takes.
#[test]
fn every_flag_of_ansible_playbooks_help_is_taken() {
    let project = Project::new();
    project.file("site.yml", "- hosts: all\n  gather_facts: false\n  tasks: [{name: first, debug: }]\n");
    project.file("hosts", HOSTS).file("word", "secret\n").file("mods/hello", "#!/bin/sh\necho '{}'\n");
    let flags = "-h --help --version -v --verbose -vv -vvvvvv --private-key=word --key-file=word -u=me --user=me \
        -c=local --connection=local -T=9 --timeout=9 --ssh-common-args=-C --sftp-extra-args=-C --scp-extra-args=-C \
        --ssh-extra-args=-C -k --ask-pass --connection-password-file=word --conn-pass-file=word --force-handlers -b \
        --become --become-method=sudo --become-user=me -K --ask-become-pass --become-password-file=word \
        --become-pass-file=word -t=all --tags=all --skip-tags=none -C --check -D --diff -i=hosts --inventory=hosts \
        --inventory-file=hosts --list-hosts -l=here --limit=here --flush-cache -e=a=b --extra-vars=a=b \
        --vault-id=word -J --ask-vault-pass --ask-vault-password --vault-password-file=word --vault-pass-file=word \
        -f=3 --forks=3 -M=mods --module-path=mods --syntax-check --list-tasks --list-tags --step \
        --start-at-task=first";
    for flag in flags.split_whitespace() {
        let (name, value) = flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v)));
        let mut args = vec!["-i", "hosts", name];
        let joined = value.filter(|v| v.starts_with('-')).map(|v| format!("{name}={v}"));
        match (&joined, value) {
            (Some(joined), _) => args[2] = joined,
            (None, Some(value)) => args.push(value),
            (None, None) => {}
        }
        // What asks for a password is only read: there is nobody who could answer.
        let asks =
            ["-k", "--ask-pass", "-K", "--ask-become-pass", "-J", "--ask-vault-pass", "--ask-vault-password"];
        args.extend(if asks.contains(&name) {
            ["site.yml", "--help"]
        } else {
            ["site.yml", "--syntax-check"]
        });
        if name == "--syntax-check" {
            args.pop();
        }
        let (status, out, err) = ansible(&project, &args);
        assert_eq!(status, 0, "{flag}: {args:?}\n{out}\n{err}");
    }
}

#[test]
fn ansible_cfg_names_inventory_roles_and_privileges() {
    let project = Project::new();
    project
        .file(
            "ansible.cfg",
            "[defaults]\ninventory = inv/hosts\nroles_path = shared\ngathering = explicit\nretry_files_enabled = no\nlibvirt_lxc_noseclabel = yes\n",
        )
        .file("inv/hosts", HOSTS)
        .file("shared/greet/tasks/main.yml", "- debug: {msg: \"facts {{ ansible_facts | length }}\"}\n")
        .file("site.yml", "- hosts: all\n  roles: [greet]\n");
    let said = project.run(&["run", "site.yml"]);
    assert_eq!((said.status, said.out.contains("facts 0")), (0, true), "{}\n{}", said.out, said.err);
    assert!(
        said.err.contains(
            "warning: ansible.cfg:6: `libvirt_lxc_noseclabel` in [defaults] is not supported and has no effect"
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

#[test]
fn conditions_of_old_playbooks_count_where_the_setting_says_so() {
    let project = Project::new();
    project.file("hosts", HOSTS).file(
        "play.yml",
        "- hosts: all\n  gather_facts: false\n  vars: {version: '', name: x}\n  tasks:\n    - debug: {msg: ran}\n      when: name\n    - debug: {msg: never}\n      when: version and name\n",
    );
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 2, "{}{}", said.out, said.err);
    assert!(said.out.contains("a condition has to be true or false"), "{}", said.out);
    project.file("ansible.cfg", "[defaults]\nallow_broken_conditionals = True\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("ran") && !said.out.contains("never"), "{}", said.out);
}

#[test]
fn roles_of_installed_collections_are_found_where_galaxy_puts_them() {
    let project = Project::new();
    project.file("hosts", "h1 ansible_connection=local\n").file(
        "play.yml",
        "- hosts: h1\n  gather_facts: false\n  collections: [acme.base]\n  roles: [acme.base.web, {role: web, vars: {n: 2}}]\n  tasks:\n    - debug: {msg: \"version {{ lookup('collection_version', 'acme.base') }} {{ query('community.general.collection_version', 'no.such') }}\"}\n",
    );
    let home = project.home().join(".ansible/collections/ansible_collections/acme/base");
    fs_err::create_dir_all(home.join("roles/web/tasks")).expect("a folder");
    fs_err::write(home.join("roles/web/tasks/main.yml"), "- debug: {msg: \"role {{ n | default(1) }}\"}\n")
        .expect("a role");
    fs_err::write(home.join("MANIFEST.json"), "{\"collection_info\": {\"version\": \"1.2.3\"}}")
        .expect("a manifest");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    for text in ["role 1", "role 2", "version 1.2.3 [None]"] {
        assert!(said.out.contains(text), "{text}: {}", said.out);
    }
    project.file("ansible.cfg", "[defaults]\ncollections_path = elsewhere\n");
    let said = project.run(&["run", "play.yml", "-i", "hosts"]);
    assert!(said.err.contains("error: the collection role `acme.base.web` is not here"), "{}", said.err);
}
