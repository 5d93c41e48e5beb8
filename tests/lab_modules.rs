//! Modules on real hosts without Python: predicted, applied, and found done. As root, through sudo with and without a
//! password. Needs root and the programs of `dcos-play lab`; says so and passes where they are missing.

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use support::{Project, Said};

/// A lab of bare hosts that goes down with the test.
struct Bare {
    project: Project,
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.command(&["lab", "down", "-i", "lab.yml"]).output());
    }
}

impl Bare {
    /// `None` where there can be no lab; the reason is printed.
    fn new(network: &str) -> Option<Self> {
        let project = Project::new();
        project.file("served/hello.txt", "hello from the lab\n");
        project.file(
            "lab.yml",
            &format!(
                "plugin: lab\nname: m{}\nnetwork: {network}.0/24\nwww: {{dir: served}}\nvars: {{www: \"http://{network}.1:8077\"}}\ngroups:\n  bare: {{image: bare, count: 2, name: bare, address: 11}}\n",
                std::process::id()
            ),
        );
        let bare = Self { project };
        let said = bare.run(&["lab", "up", "-i", "lab.yml"]);
        if said.status != 0 {
            let lacking = ["root", "missing", "cgroup"].iter().any(|w| said.err.contains(w));
            assert!(lacking, "{}{}", said.out, said.err);
            drop(writeln!(std::io::stderr(), "skipped: {}", said.err.trim()));
            return None;
        }
        Some(bare)
    }

    /// With the user's own home, where the lab's image is cached.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command(args);
        for name in ["HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"] {
            match std::env::var_os(name) {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().expect("the binary runs");
        Said {
            status: output.status.code().unwrap_or(-1),
            out: self.project.scrub(&String::from_utf8_lossy(&output.stdout)),
            err: self.project.scrub(&String::from_utf8_lossy(&output.stderr)),
        }
    }

    fn play(&self, more: &[&str]) -> Said {
        let mut args = vec!["run", "play.yml", "-i", "lab.yml", "-l", "bare1"];
        args.extend(more);
        self.run(&args)
    }

    /// Outcome of every task by name.
    fn outcomes(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        let mut out = BTreeMap::new();
        for event in self.project.journal() {
            let step = event["step"].as_u64();
            match event["event"].as_str() {
                Some("step_started") => {
                    names.insert(step, event["name"].as_str().unwrap_or_default().to_owned());
                }
                Some("step_finished") => {
                    let name = names.get(&step).cloned().unwrap_or_default();
                    out.insert(name, event["outcome"].as_str().unwrap_or_default().to_owned());
                }
                _ => {}
            }
        }
        out
    }
}

/// Every task changes a fresh host once and then never again.
const MODULES: &str = r#"
- hosts: all
  become: "{{ escalate | default(false) }}"
  # What stands on an earlier task fails in a dry run.
  ignore_errors: "{{ ansible_check_mode }}"
  tasks:
    - {name: no python, raw: "! command -v python3", changed_when: false}
    - {name: folder, file: {path: /opt/m/deep, state: directory, mode: "0750"}}
    - {name: copy, copy: {content: "one\ntwo\n", dest: /opt/m/a, mode: "u=rw,g=r"}}
    - {name: template, template: {src: t.j2, dest: /opt/m/t}}
    - {name: link, file: {src: /opt/m/a, dest: /opt/m/l, state: link}}
    - {name: line, lineinfile: {path: /etc/issue, line: "hello there"}}
    - {name: block, blockinfile: {path: /etc/issue, block: "x\ny"}}
    - {name: replace, replace: {path: /etc/issue.net, regexp: "Debian", replace: "Lab"}}
    - {name: group, group: {name: crew, gid: 4242}}
    - {name: user, user: {name: sailor, groups: crew, append: true, shell: /bin/sh, comment: A sailor}}
    - {name: key, authorized_key: {user: sailor, key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGu1nJrZ9uGzC0bQ5m7v0bq1S0kqf2k3c4d5e6f7a8b9 test"}}
    - {name: get, get_url: {url: "{{ www }}/hello.txt", dest: /opt/m/hello}}
    - {name: unit, copy: {content: "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n", dest: /etc/systemd/system/snooze.service}}
    - {name: service, systemd: {name: snooze, state: started, enabled: true, daemon_reload: true}}
    - {name: cron, cron: {name: tick, cron_file: tick, user: root, minute: "5", job: /bin/true}}
    - {name: ini, ini_file: {path: /opt/m/i.ini, section: s, option: o, value: v}}
    - {name: sysctl, sysctl: {name: net.ipv4.ip_forward, value: "1", sysctl_file: /etc/sysctl.d/90-m.conf}}
    - {name: hostname, hostname: {name: renamed}}
    - {name: once, command: {cmd: touch /opt/m/once, creates: /opt/m/once}}
    - {name: archive, command: {cmd: tar czf /opt/m/x.tgz -C /opt/m a, creates: /opt/m/x.tgz}}
    - {name: unpack, unarchive: {src: /opt/m/x.tgz, dest: /opt/m/deep, remote_src: true}}
    - {name: source, apt_repository: {repo: "deb [trusted=yes] {{ www }}/debian ./", filename: lab, update_cache: false}}
    - {name: script, script: {cmd: s.sh, creates: /opt/m/scripted}}
"#;

const READS: &str = r#"
    - {name: stat, stat: {path: /opt/m/a}, register: st}
    - {name: slurp, slurp: {src: /opt/m/t}, register: sl}
    - {name: uri, uri: {url: "{{ www }}/hello.txt", return_content: true}, register: u}
    - {name: services, service_facts: }
    - {name: wait, wait_for: {port: 22, timeout: 5}}
    - name: seen
      assert:
        that:
          - st.stat.mode == '0644'
          - (sl.content | b64decode) == 'host ' ~ inventory_hostname ~ ' on ' ~ ansible_facts.distribution ~ '\n'
          - u.status == 200 and u.content == 'hello from the lab\n'
          - ansible_facts.services['snooze.service'].state == 'running'
          - ansible_facts.python is not defined
"#;

#[test]
fn modules_predict_apply_and_find_done_on_a_host_without_python() {
    let Some(bare) = Bare::new("10.85.0") else { return };
    let mut exec = bare.command(&["lab", "exec", "-i", "lab.yml", "bare1", "cat"]);
    let mut exec = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary runs");
    exec.stdin.take().expect("a pipe").write_all(b"our input\n").expect("it is taken");
    assert_eq!(exec.wait_with_output().expect("its end").stdout, b"our input\n");
    bare.project.file("templates/t.j2", "host {{ inventory_hostname }} on {{ ansible_distribution }}\n");
    bare.project.file("files/s.sh", "#!/bin/sh\ntouch /opt/m/scripted\n");
    bare.project.file("play.yml", MODULES);
    let unchanging = ["no python", "Gathering Facts"];
    // What a dry run cannot know, because an earlier task has not happened.
    let depends = ["link", "service", "unpack", "key"];
    for (who, flags) in [
        ("root", vec![]),
        ("sudo without password", vec!["-e", "ansible_user=ops escalate=true"]),
        (
            "sudo with password",
            vec!["-e", "ansible_user=opspw escalate=true ansible_become_password=lab-sudo-pw"],
        ),
    ] {
        let said = bare.run(&["lab", "reset", "-i", "lab.yml", "bare1"]);
        assert_eq!(said.status, 0, "{}{}", said.out, said.err);
        let with = |more: &[&'static str]| -> Vec<&str> {
            flags.iter().copied().chain(more.iter().copied()).collect()
        };
        bare.project.file("play.yml", MODULES);
        bare.run(&["lab", "exec", "-i", "lab.yml", "bare1", "--", "mkdir", "/opt/m"]);
        let said = bare.play(&with(&["--check", "--diff"]));
        assert_eq!(said.status, 0, "{who}: {}{}", said.out, said.err);
        let predicted = bare.outcomes();
        let said = bare.play(&with(&[]));
        assert_eq!(said.status, 0, "{who}: {}{}", said.out, said.err);
        let applied = bare.outcomes();
        for (name, outcome) in &applied {
            if unchanging.contains(&name.as_str()) {
                continue;
            }
            assert_eq!(outcome, "changed", "{who}: {name}\n{}", said.out);
            if !depends.contains(&name.as_str()) {
                assert_eq!(&predicted[name], outcome, "{who}: the prediction of {name}");
            }
        }
        bare.project.file("play.yml", &format!("{MODULES}{READS}"));
        let said = bare.play(&with(&[]));
        assert_eq!(said.status, 0, "{who}: {}{}", said.out, said.err);
        let again = bare.outcomes();
        let changed: Vec<_> = again.iter().filter(|(_, o)| *o == "changed").collect();
        assert!(changed.is_empty(), "{who}: {changed:?}\n{}", said.out);
    }
}

#[test]
fn wrong_passwords_keys_full_disks_and_cut_connections_are_told() {
    let Some(bare) = Bare::new("10.86.0") else { return };
    bare.project.file(
        "play.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: touch, command: id -u}\n",
    );
    let host_line = "✗ bare1 · play.yml:4  \"touch\"\n";

    // A wrong sudo password, and none.
    let said = bare.play(&["-b", "-e", "ansible_user=opspw ansible_become_password=wrong-one"]);
    let expected = format!(
        "{host_line}  unreachable (become) sudo to `root`: incorrect password\n  next        check ansible_become_password, or give it again with --ask-become-pass\n"
    );
    assert!(said.out.contains(&expected), "{}", said.out);
    assert!(!said.out.contains("wrong-one"), "the password is shown: {}", said.out);
    assert_eq!(said.status, 4);
    let said = bare.play(&["-b", "-e", "ansible_user=opspw"]);
    let expected = format!(
        "{host_line}  unreachable (become) sudo to `root` wants a password, and none was given\n  next        set ansible_become_password (in a vault), or use --ask-become-pass\n"
    );
    assert!(said.out.contains(&expected), "{}", said.out);

    // A host key that is not the known one.
    bare.project.file(
        "known",
        "10.86.0.11 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGu1nJrZ9uGzC0bQ5m7v0bq1S0kqf2k3c4d5e6f7a8b9\n",
    );
    let known = bare.project.path("known").display().to_string();
    let said = bare.play(&["-e", &format!("ansible_ssh_common_args='-o UserKnownHostsFile={known}'")]);
    assert!(said.out.contains("unreachable (host key)"), "{}", said.out);
    assert!(
        said.out.contains("known_hosts") || said.out.contains("ssh-keygen -R 10.86.0.11"),
        "{}",
        said.out
    );
    assert_eq!(said.status, 4);

    // No space for the agent: every folder it could live in is full.
    bare.run(&["lab", "exec", "-i", "lab.yml", "bare1", "--", "sh", "-c",
        "for d in /root /var/tmp /tmp /dev/shm /run/user; do mkdir -p $d; mount -t tmpfs -o size=64k none $d; done; mkdir -p /root/.ssh"]);
    let said = bare.play(&["-e", "ansible_user=ops"]);
    assert_eq!(said.status, 0, "ops has its own home: {}", said.out);

    // Cut off: the other host finishes meanwhile.
    let cut = bare.run(&["lab", "cut", "-i", "lab.yml", "bare1"]);
    assert_eq!(cut.status, 0, "{}", cut.err);
    let said = bare.run(&["run", "play.yml", "-i", "lab.yml", "--timeout", "2"]);
    assert!(said.out.contains("unreachable (timed out)"), "{}", said.out);
    assert!(said.out.contains("bare2 : ok=1 "), "{}", said.out);
    assert_eq!(said.status, 4);
}
