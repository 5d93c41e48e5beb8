//! What the tests share that run the shipped playbooks on a lab of DC/OS hosts.
//!
//! Owns: the inventory's head, runs of the real binary, what hosts say. Must not: know a scenario.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

/// A lab that goes down with the test, whether it passes or not.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    name: String,
    /// The first three numbers of its addresses.
    pub(crate) network: &'static str,
    /// What fills the folder that its hosts download from, a file of lab/www.
    pub(crate) www: &'static str,
}

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.text);
        self
    }

    /// Ends with a failed host, and says this.
    #[track_caller]
    pub(crate) fn refused(self, words: &[&str]) {
        assert_eq!(self.code, 2, "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "`{word}` is missing:\n{}", self.text);
        }
    }

    #[track_caller]
    pub(crate) fn changed_nothing(self) {
        let ran = self.fine();
        assert!(ran.text.contains(" 0 steps changed"), "{}", ran.text);
    }
}

/// Whether to run at all: these tests take minutes.
pub(crate) fn wanted() -> bool {
    let wanted = std::env::var_os("DCOS_PLAY_CLUSTER_TESTS").is_some_and(|value| value == "1");
    if !wanted {
        say("skipped: set DCOS_PLAY_CLUSTER_TESTS=1 to run DC/OS on a lab");
    }
    wanted
}

impl Cluster {
    /// A lab with this network, not booted yet.
    pub(crate) fn new(network: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let own: String = network.chars().filter(char::is_ascii_digit).collect();
        Self { folder, name: format!("c{own}x{}", std::process::id()), network, www: "build.sh" }
    }

    /// Writes the inventory: what every lab of DC/OS hosts has, then these variables and groups, each line indented by two.
    pub(crate) fn inventory(&self, vars: &str, groups: &str) {
        let www = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/www").join(self.www);
        let text = format!(
            "plugin: lab
name: {name}
network: {network}.0/24
www: {{build: {www}, port: 8077}}
vars:
  cluster_name: lab
  private_ip: \"{{{{ ansible_host }}}}\"
  bootstrap_installer_base_url: http://{network}.1:8077/dcos/stable
  bootstrap_installer_checksum: \"sha256:{{{{ bootstrap_installer_url }}}}.sha256\"
  dcos_version: \"2.2.0\"
  dcos_resolvers: []
  dcos_ip_detect_target: {network}.1
  docker_packages: [docker-ce, docker-ce-cli, containerd.io]
  docker_apt_repository: \"deb [trusted=yes] http://{network}.1:8077/debian ./\"
  docker_apt_key_url: \"\"
  prerequisites_update_cache: false
  prerequisites_time_wait: false
  verify_interval: 0.5
  verify_deadline: 120
  bootstrap_web_interval: 0.5
  bootstrap_web_deadline: 60
{vars}groups:
{groups}",
            name = self.name,
            network = self.network,
            www = www.display(),
        );
        fs_err::write(self.folder.path().join("lab.yml"), text).expect("a file");
    }

    /// Writes a file beside the inventory and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs_err::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// The text of a file beside the inventory.
    pub(crate) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.folder.path().join(name)).expect("a file")
    }

    /// Boots the lab; false, with the reason on standard error, on a machine that can't.
    pub(crate) fn up(&self) -> bool {
        let up = self.lab(&["up"]);
        let text = String::from_utf8_lossy(&up.stderr);
        if !up.status.success() {
            let missing = ["root", "needs", "cgroup"].iter().any(|word| text.contains(word));
            assert!(missing, "{text}");
            say(&format!("skipped: {text}"));
        }
        up.status.success()
    }

    /// The playbooks, changed in one place: so that what they forbid can be done. Once in each test.
    pub(crate) fn bypassed(&self, playbook: &str, changes: &[(&str, &str)]) -> String {
        let folder = self.folder.path().join("bypass");
        fs_err::create_dir(&folder).expect("a folder");
        for part in ["playbooks", "roles"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
            assert!(Command::new("cp").arg("-r").arg(from).arg(&folder).status().expect("cp").success());
        }
        let path = folder.join("playbooks").join(playbook);
        let mut text = fs_err::read_to_string(&path).expect("a playbook");
        for (from, to) in changes {
            assert!(text.contains(from), "`{from}` in {playbook}");
            text = text.replace(from, to);
        }
        fs_err::write(&path, text).expect("written");
        path.display().to_string()
    }

    pub(crate) fn call(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dcos-play"))
            .args(words)
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("NO_COLOR", "1")
            .output()
            .expect("dcos-play runs")
    }

    /// Starts a playbook, and kills it when the cluster has come so far; false when it ended before.
    pub(crate) fn killed(&self, playbook: &str, extra: &[&str], far: impl Fn() -> bool) -> bool {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(playbook);
        let mut child = Command::new(env!("CARGO_BIN_EXE_dcos-play"))
            .args(["run", path.to_str().expect("text"), "-i", "lab.yml"])
            .args(extra.iter().flat_map(|one| ["-e", *one]))
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("dcos-play runs");
        while child.try_wait().expect("a child").is_none() {
            if far() {
                child.kill().expect("killed");
                child.wait().expect("a child");
                say(&format!("  {playbook} {}: killed half way", extra.join(" ")));
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        false
    }

    pub(crate) fn lab(&self, words: &[&str]) -> Output {
        self.call(&[&["lab", "-i", "lab.yml"], words].concat())
    }

    pub(crate) fn play(&self, playbook: &str, extra: &[&str]) -> Ran {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(playbook);
        let mut words = vec!["run", path.to_str().expect("text"), "-i", "lab.yml"];
        for one in extra {
            // Flags as they are, everything else is a variable.
            if !one.starts_with("--") {
                words.push("-e");
            }
            words.push(one);
        }
        let started = Instant::now();
        let output = self.call(&words);
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().unwrap_or(-1);
        say(&format!(
            "  {playbook} {}: status {code}, {:.1} s",
            extra.join(" "),
            started.elapsed().as_secs_f64()
        ));
        Ran { code, text }
    }

    pub(crate) fn on(&self, host: &str, script: &str) -> String {
        String::from_utf8_lossy(&self.lab(&["exec", host, "sh", "-c", script]).stdout).trim().to_owned()
    }

    /// What the host's ZooKeeper says it is: leader, follower, or nothing.
    pub(crate) fn mode(&self, host: &str) -> String {
        let ask = "exec 3<>/dev/tcp/$(/opt/mesosphere/bin/detect_ip)/2181; printf srvr >&3; sed -n s/^Mode:.//p <&3";
        self.on(host, &format!("timeout 5 bash -c '{ask}' 2>/dev/null"))
    }

    /// Waits until these serve, as after an election.
    #[track_caller]
    pub(crate) fn until_serving(&self, hosts: &[&str]) {
        let serves = |host: &&str| ["leader", "follower"].contains(&self.mode(host).as_str());
        self.until(&format!("{hosts:?} serve"), || hosts.iter().all(serves));
    }

    /// Waits for a condition.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "never true: {what}");
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }

    /// What hosts accuse anyone of, but for the short gap that three masters cannot avoid.
    pub(crate) fn violations(&self, hosts: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        for host in hosts {
            let found = self.on(host, "cat /var/log/dcos-standin/violations.jsonl 2>/dev/null");
            let bad = found.lines().filter(|line| !line.contains("\"expected\": true"));
            all.extend(bad.map(|line| format!("{host}: {line}")));
        }
        all
    }

    /// Forgets what was said so far: for what a test has done to the cluster itself.
    pub(crate) fn forget_violations(&self, hosts: &[&str]) {
        for host in hosts {
            self.on(host, "rm -f /var/log/dcos-standin/violations.jsonl");
        }
    }

    #[track_caller]
    pub(crate) fn no_violations(&self, hosts: &[&str]) {
        assert_eq!(self.violations(hosts), Vec::<String>::new());
    }

    /// Waits until a host accuses somebody of this.
    #[track_caller]
    pub(crate) fn until_violation(&self, hosts: &[&str], kind: &str) {
        self.until_any_violation(hosts, &[kind]);
    }

    /// Waits until a host accuses somebody of one of these.
    #[track_caller]
    pub(crate) fn until_any_violation(&self, hosts: &[&str], kinds: &[&str]) {
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let mut found = Vec::new();
        while Instant::now() < deadline {
            found = self.violations(hosts);
            let said = |kind: &&&str| found.iter().any(|line| line.contains(&format!("\"{kind}\"")));
            if let Some(kind) = kinds.iter().find(said) {
                say(&format!("  found: {kind}"));
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        panic!("nobody says {kinds:?}: {found:?}");
    }

    pub(crate) fn ensemble(&self, host: &str) -> String {
        self.on(host, "sed -n s/^EXHIBITOR_STATICENSEMBLE=//p /opt/mesosphere/etc/exhibitor")
            .replace(&format!("{}.", self.network), ".")
    }

    pub(crate) fn knobs(&self, host: &str, json: &str) {
        self.on(host, &format!("mkdir -p /etc/mesosphere && echo '{json}' >/etc/mesosphere/standin.json"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.lab(&["down"]));
    }
}

pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
