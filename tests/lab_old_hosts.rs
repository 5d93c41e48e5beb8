//! Hosts that have little and forbid much: old userlands, closed folders, login shells that talk, sudo that wants a
//! terminal. And other people's modules in three languages.
//!
//! Needs root and the programs that `dcos-play lab` needs; says so and passes where they are missing.

mod lab;

use std::path::Path;
use std::process::Command;

use lab::TestLab;

fn lab(name: &str, hosts: &str) -> Option<TestLab> {
    TestLab::up(&format!(
        "plugin: lab\nname: {name}\nnetwork: 10.86.0.0/24\ndefaults: {{image: bare}}\n\
         groups:\n  all_of_them:\n    hosts: {hosts}\n"
    ))
}

/// Work of every kind: files, temporary files, programs, a template, other people's modules, facts.
const WORK: &str = r#"
- name: Play
  hosts: all
  tasks:
    - {name: command, command: id -u}
    - {name: shell, shell: 'cd / && echo "$((1 + 1))" two', register: said}
    - {name: folder, file: {path: "{{ place }}/deep/er", state: directory, mode: "0755"}}
    - {name: copy, copy: {content: "one\ntwo\n", dest: "{{ place }}/a", mode: "0644"}}
    - {name: template, template: {src: t.j2, dest: "{{ place }}/t", mode: "0644"}}
    - {name: line, lineinfile: {path: "{{ place }}/a", line: three, validate: "test -s %s"}}
    - {name: script, script: s.sh word}
    - {name: library, mine: {path: "{{ place }}/mine"}}
    - {name: stat, stat: {path: "{{ place }}/t"}, register: st}
    - {name: slurp, slurp: {src: "{{ place }}/a"}, register: sl}
    - {name: find, find: {paths: "{{ place }}", patterns: "*"}, register: found}
    - name: seen
      assert:
        that:
          - said.stdout == '2 two'
          - st.stat.mode == '0644'
          - sl.content | b64decode == 'one\ntwo\nthree\n'
          - found.matched >= 3
          - ansible_facts.architecture == 'x86_64'
          - ansible_facts.kernel is defined and ansible_facts.memtotal_mb > 0
"#;

fn project(test: &TestLab) {
    let write = |name: &str, text: &str| {
        let path = test.project().join(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs_err::write(path, text).expect("written");
    };
    write("work.yml", WORK);
    write("templates/t.j2", "for {{ inventory_hostname }}\n");
    write("files/s.sh", "#!/bin/sh\ntest \"$1\" = word && echo scripted\n");
    write(
        "library/mine",
        "#!/bin/sh\n. \"$1\"\ntest -e \"$path\" && { echo '{\"changed\": false}'; exit; }\n\
         echo made >\"$path\" && echo '{\"changed\": true}'\n",
    );
}

/// Makes a user who may log in with the lab's key.
fn user(test: &TestLab, host: &str, name: &str, shell: &str) {
    test.on(
        host,
        &format!(
            "useradd -m -s {shell} {name} && echo '{name} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{name}"
        ),
    );
}

fn program(test: &TestLab, host: &str, path: &str, text: &str) {
    test.on(host, &format!("printf '%s' '{}' >{path} && chmod 755 {path}", text.replace('\'', "'\\''")));
}

/// Plays the work once to change and once to find it done.
#[track_caller]
fn works(test: &TestLab, host: &str, variables: &str) {
    let arguments = ["work.yml", "-l", host, "-e", variables];
    let first = test.run(&arguments).ended(0);
    let changed = |ran: &lab::Ran| ran.totals()[host]["changed"].as_u64();
    assert!(changed(&first) >= Some(6), "{variables}: {first}");
    let again = test.run(&arguments).ended(0);
    // `command`, `shell` and `script` always say so, and what `copy` writes loses the line.
    assert_eq!(changed(&again), Some(5), "{variables}: {again}");
}

/// Where busybox is on this machine, if it needs no library.
fn busybox() -> Option<&'static str> {
    ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| {
        let said = Command::new("ldd").arg(path).output();
        Path::new(path).exists() && said.is_ok_and(|o| !o.status.success())
    })
}

#[test]
fn a_host_with_nothing_but_busybox_is_worked_on() {
    let Some(busybox) = busybox() else { return };
    let Some(test) = lab("oldbusy", "[old]") else { return };
    project(&test);
    user(&test, "old", "tiny", "/bin/sh");
    // No glibc, no bash, no coreutils: sshd puts the user where only busybox is.
    test.on(
        "old",
        "mkdir -p /tiny/bin /tiny/proc /tiny/dev /tiny/tmp /tiny/etc /tiny/home/tiny && chmod 1777 /tiny/tmp && \
         chown tiny: /tiny/home/tiny && mount -t proc none /tiny/proc && mount --bind /dev /tiny/dev && \
         grep -e root -e tiny /etc/passwd >/tiny/etc/passwd && grep -e root -e tiny /etc/group >/tiny/etc/group && \
         printf 'Match User tiny\\n  ChrootDirectory /tiny\\n' >>/etc/ssh/sshd_config && systemctl reload ssh",
    );
    let bytes = fs_err::read(busybox).expect("busybox");
    fs_err::write(test.project().join("busybox"), bytes).expect("written");
    fs_err::write(
        test.project().join("put.yml"),
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {src: busybox, dest: /tiny/bin/busybox, mode: \"0755\"}\n\
         \x20   - command: chroot /tiny /bin/busybox --install -s /bin\n",
    )
    .expect("written");
    test.run(&["put.yml"]).ended(0);
    assert_eq!(
        test.on("old", "chroot /tiny /bin/sh -c 'readlink /bin/sh; ls / | tr \"\\n\" \" \"'"),
        "/bin/busybox\nbin dev etc home proc tmp"
    );
    works(&test, "old", "ansible_user=tiny place=/home/tiny");
}

#[test]
fn closed_folders_talking_shells_and_narrow_masks_are_no_obstacle() {
    let Some(test) = lab("oldrules", "[noexec, rohome, banner, mask, full]") else { return };
    project(&test);

    // Nothing may be run from any temporary folder, nor from the home of the other user.
    test.on("noexec", "for d in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o noexec,mode=1777 none $d; done");
    works(&test, "noexec", "ansible_user=ops place=/home/ops");
    test.on("noexec", "rm -rf /home/ops/deep /home/ops/a /home/ops/t /home/ops/mine");
    // Nor from the home.
    test.on("noexec", "mount --bind /home /home && mount -o remount,bind,noexec /home && umount /var/tmp && rm -rf /home/ops/.cache");
    works(&test, "noexec", "ansible_user=ops place=/home/ops");

    test.on(
        "rohome",
        "mkdir /work && chown ops: /work && mount --bind /home /home && mount -o remount,bind,ro /home",
    );
    works(&test, "rohome", "ansible_user=ops place=/work");

    program(
        &test,
        "banner",
        "/usr/local/bin/talks",
        "#!/bin/sh\nprintf 'AUTHORIZED USE ONLY\\nno line end: '\nexec /bin/dash \"$@\"\n",
    );
    user(&test, "banner", "talked", "/usr/local/bin/talks");
    user(&test, "banner", "dash", "/bin/dash");
    user(&test, "banner", "bash", "/bin/bash");
    test.on(
        "banner",
        "echo 'echo WELCOME; echo to this host >&2' | tee ~bash/.bashrc ~bash/.profile >/dev/null",
    );
    for name in ["talked", "dash", "bash"] {
        works(&test, "banner", &format!("ansible_user={name} place=/home/{name}"));
    }
    works(&test, "banner", "ansible_user=talked ansible_become=true place=/root");

    program(&test, "mask", "/usr/local/bin/masked", "#!/bin/sh\numask 077\nexec /bin/sh \"$@\"\n");
    user(&test, "mask", "masked", "/usr/local/bin/masked");
    user(&test, "mask", "other", "/bin/sh");
    works(&test, "mask", "ansible_user=masked place=/home/masked");
    // From one unprivileged user to another, who cannot read the first one's home.
    works(
        &test,
        "mask",
        "ansible_user=masked ansible_become=true ansible_become_user=other place=/home/other",
    );
    assert_eq!(
        test.on("mask", "stat -c '%U %a' /home/other/t /home/other/deep/er | tr '\\n' ' '"),
        "other 644 other 755"
    );

    // sudo that wants a terminal, with and without a password.
    test.on("mask", "printf 'Defaults requiretty\\n' >/etc/sudoers.d/zz-tty");
    test.on("mask", "rm -rf /opt/deep /opt/a /opt/t /opt/mine");
    works(&test, "mask", "ansible_user=ops ansible_become=true place=/opt");
    test.on("mask", "rm -rf /opt/deep /opt/a /opt/t /opt/mine; rm -rf /root/.cache/dcos-play");
    works(
        &test,
        "mask",
        "ansible_user=opspw ansible_become=true ansible_become_password=lab-sudo-pw place=/opt",
    );

    test.on("full", "mount -t tmpfs -o size=64k,mode=1777 none /tmp && dd if=/dev/zero of=/tmp/fill bs=1k count=64 2>/dev/null; true");
    works(&test, "full", "ansible_user=ops place=/home/ops");
}

/// Makes a program that needs no library.
fn compile(source: &str, program: &Path) {
    let file = program.with_extension("rs");
    fs_err::write(&file, source).expect("written");
    let built = Command::new(option_env!("RUSTC").unwrap_or("rustc"))
        .args(["--edition", "2024", "--target", "x86_64-unknown-linux-musl", "-o"])
        .args([program, &file])
        .status()
        .expect("rustc runs");
    assert!(built.success(), "a program without libraries is built");
    fs_err::remove_file(file).expect("removed");
}

const COMPILED: &str = r#"fn main() {
    let path = std::env::args().nth(1).expect("the file with the arguments");
    let text = std::fs::read_to_string(path).expect("it is there");
    let known = text.contains("\"word\": \"hello\"") || text.contains("\"word\":\"hello\"");
    println!("{{\"changed\": {known}, \"language\": \"compiled\"}}");
}"#;

#[test]
fn modules_of_the_project_run_in_sh_python_and_compiled() {
    let Some(test) = TestLab::up(
        "plugin: lab\nname: oldlibrary\nnetwork: 10.86.0.0/24\n\
         groups:\n  all_of_them:\n    hosts: {bare: {image: bare}, full: {image: standard}}\n",
    ) else {
        return;
    };
    let library = test.project().join("library");
    fs_err::create_dir_all(&library).expect("made");
    fs_err::write(
        library.join("in_sh"),
        "#!/bin/sh\n# WANT_JSON\nif grep -q '\"word\": *\"hello\"' \"$1\"; then echo '{\"changed\": true, \"language\": \"sh\"}'\n\
         else echo '{\"failed\": true, \"msg\": \"no word\"}'; fi\n",
    )
    .expect("written");
    fs_err::write(
        library.join("in_python.py"),
        "#!/usr/bin/python3\n# WANT_JSON\nimport json, sys\nargs = json.load(open(sys.argv[1]))\n\
         print(json.dumps({'changed': args['word'] == 'hello', 'language': 'python',\n\
         \x20                 'check': args['_ansible_check_mode']}))\n",
    )
    .expect("written");
    compile(COMPILED, &library.join("compiled"));
    let tasks = "- name: Play\n  hosts: all\n  gather_facts: false\n  tasks:\n\
        \x20   - {name: sh, in_sh: {word: hello}}\n\
        \x20   - {name: compiled, compiled: {word: hello}}\n\
        \x20   - {name: python, in_python: {word: hello}}\n";
    fs_err::write(test.project().join("play.yml"), tasks).expect("written");
    let ran = test.run(&["play.yml"]).ended(2);
    let results = |host: &str| -> Vec<(String, String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        ran.outcomes(host)
            .into_iter()
            .map(|(name, ended, result)| (name, ended, text(&result["language"])))
            .collect()
    };
    let row =
        |name: &str, ended: &str, language: &str| (name.to_owned(), ended.to_owned(), language.to_owned());
    assert_eq!(
        results("full"),
        [
            row("sh", "changed", "sh"),
            row("compiled", "changed", "compiled"),
            row("python", "changed", "python")
        ],
        "{ran}"
    );
    // Without Python only what needs it fails, and says so.
    assert_eq!(
        results("bare")[..2],
        [row("sh", "changed", "sh"), row("compiled", "changed", "compiled")],
        "{ran}"
    );
    assert!(ran.block("bare").contains("python"), "{ran}");
}
