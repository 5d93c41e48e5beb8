//! What the tests on real hosts share: a lab of their own, runs of the real binary, and the journals of those runs.
//!
//! Owns: bringing a lab up and, whatever happens, down. Must not: know what a single test is about.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dcos_play::lab::{KeepImages, Lab, LabDirs, LabError, LabSpec, Silent};
use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_dcos-play");
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
/// A run that takes longer hangs.
const RUN_DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

/// A lab with a project folder in which runs are started; it goes down with the test, whether that passes or not.
pub(crate) struct TestLab {
    pub(crate) lab: Lab,
    project: PathBuf,
    state_home: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for TestLab {
    fn drop(&mut self) {
        drop(self.lab.down(KeepImages::Yes, &Silent));
    }
}

impl TestLab {
    /// Boots the lab that `inventory` describes; `None`, with the reason on standard error, on a machine that can't.
    pub(crate) fn up(inventory: &str) -> Option<TestLab> {
        let folder = tempfile::tempdir().expect("a folder");
        let project = folder.path().join("project");
        let state_home = folder.path().join("state");
        fs_err::create_dir_all(&project).expect("a folder");
        let file = project.join("lab.yml");
        fs_err::write(&file, inventory).expect("an inventory");
        let spec = LabSpec::read(&file).expect("a lab");
        // Images come from the user's cache: building one takes most of a minute.
        let cache = LabDirs::of_user().expect("the user's folders").cache().to_owned();
        let lab = Lab::new(spec, LabDirs::new(cache, state_home.join("dcos-play/lab")), BINARY);
        let test = TestLab { lab, project, state_home, _folder: folder };
        match test.lab.up(&Silent) {
            Ok(()) => Some(test),
            Err(error @ (LabError::NotRoot | LabError::MissingPrograms { .. } | LabError::NoCgroups)) => {
                drop(writeln!(std::io::stderr(), "skipped: {error}"));
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The folder in which runs are started.
    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    /// Copies a folder of the repository into the project, where a test may change it.
    pub(crate) fn copy(&self, folder: &str) {
        let status = Command::new("cp")
            .args(["-a", &format!("{REPOSITORY}/{folder}"), "."])
            .current_dir(&self.project)
            .status()
            .expect("cp runs");
        assert!(status.success(), "{folder} is copied");
    }

    /// Replaces text that a file of the project has exactly once.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.project.join(file);
        let text = fs_err::read_to_string(&path).expect("a text");
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}");
        fs_err::write(&path, text.replacen(from, to, 1)).expect("written");
    }

    /// Runs a shell line on a host, past the network, and gives what it says.
    pub(crate) fn on(&self, host: &str, line: &str) -> String {
        let output = self
            .lab
            .exec(host, &["sh".to_owned(), "-c".to_owned(), line.to_owned()])
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(output.status.success(), "`{line}` on {host}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .current_dir(&self.project)
            .env("XDG_STATE_HOME", &self.state_home)
            .env("NO_COLOR", "1")
            // A host that is gone for good is given up sooner than users want it.
            .env("DCOS_PLAY_RECONNECT", "15")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .args(["run", "-i", "lab.yml"])
            .args(arguments);
        command
    }

    fn runs(&self) -> BTreeSet<PathBuf> {
        let Ok(list) = fs_err::read_dir(self.project.join(".dcos-play/runs")) else { return BTreeSet::new() };
        list.map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_dir() && !path.is_symlink())
            .collect()
    }

    /// Starts a run and comes back at once.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running<'_> {
        let before = self.runs();
        let started = Instant::now();
        let mut child = self.command(arguments).spawn().expect("the binary starts");
        // A full pipe would stop the run, so both are read while it goes.
        let out = drain(child.stdout.take());
        let err = drain(child.stderr.take());
        Running { lab: self, child: Some(child), before, started, out: Some(out), err: Some(err) }
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).end()
    }

    /// Opens a shell line over SSH as a test's independent witness.
    pub(crate) fn ssh(&self, user: &str, host: &str, line: &str) -> Output {
        let command = self.lab.ssh_command(host, user, &[line.to_owned()]).expect("a known host");
        let mut plain = Command::new("ssh");
        plain.args(["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2"]).args(command.get_args());
        plain.output().expect("ssh runs")
    }
}

type Drained = std::thread::JoinHandle<String>;

fn drain(stream: Option<impl std::io::Read + Send + 'static>) -> Drained {
    let mut stream = stream.expect("a pipe");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A run that is going.
pub(crate) struct Running<'a> {
    lab: &'a TestLab,
    child: Option<Child>,
    before: BTreeSet<PathBuf>,
    started: Instant,
    out: Option<Drained>,
    err: Option<Drained>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Running<'_> {
    fn folder(&self) -> Option<PathBuf> {
        self.lab.runs().difference(&self.before).next().cloned()
    }

    /// Waits until the journal has an event; the run must not end before.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        loop {
            if self.folder().is_some_and(|folder| journal(&folder).iter().any(&wanted)) {
                return;
            }
            let child = self.child.as_mut().expect("a run");
            if child.try_wait().expect("a child").is_some() {
                let ran = self.finish();
                panic!("the run ended before {what}:\n{ran}");
            }
            assert!(self.started.elapsed() < RUN_DEADLINE, "no {what} within {RUN_DEADLINE:?}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a host has begun a task.
    pub(crate) fn wait_for_task(&mut self, host: &str, task: &str) {
        self.wait_for(&format!("`{task}` on {host}"), |event| {
            event["event"] == "step_started" && event["host"] == host && event["name"] == task
        });
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) -> Ran {
        self.child.as_mut().expect("a run").kill().expect("killed");
        self.finish()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ran {
        loop {
            let child = self.child.as_mut().expect("a run");
            if child.try_wait().expect("a child").is_some() {
                return self.finish();
            }
            if self.started.elapsed() > RUN_DEADLINE {
                child.kill().expect("killed");
                let ran = self.finish();
                panic!("the run hangs:\n{ran}");
            }
            std::thread::sleep(POLL);
        }
    }

    fn finish(&mut self) -> Ran {
        let status = self.child.take().expect("a run").wait().expect("ended");
        let took = self.started.elapsed();
        let text = |drained: &mut Option<Drained>| {
            drained.take().expect("read once").join().expect("the reader ends")
        };
        let folder = self.folder();
        let events = folder.as_deref().map(journal).unwrap_or_default();
        Ran { exit: status.code(), out: text(&mut self.out), err: text(&mut self.err), took, folder, events }
    }
}

/// The whole lines of a journal; the last one may be in the middle of being written.
fn journal(folder: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A run that has ended.
pub(crate) struct Ran {
    /// `None` after a signal.
    pub(crate) exit: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) events: Vec<Value>,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran { exit, out, err, took, .. } = self;
        write!(f, "exit {exit:?} after {took:?}\n--- stdout\n{out}\n--- stderr\n{err}")
    }
}

impl Ran {
    /// Panics with everything the run said unless it ended so.
    #[track_caller]
    pub(crate) fn ended(self, exit: i32) -> Ran {
        assert_eq!(self.exit, Some(exit), "{self}");
        self
    }

    /// Both streams.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Panics with everything the run said unless it said this, too.
    #[track_caller]
    pub(crate) fn says(&self, wanted: &[&str]) {
        for text in wanted {
            assert!(self.said().contains(text), "it doesn't say `{text}`: {self}");
        }
    }

    /// Events of one kind.
    pub(crate) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// The block in which a failed host is shown, lines that differ from run to run made equal.
    pub(crate) fn block(&self, host: &str) -> String {
        let said = self.said();
        let mut lines = said.lines().skip_while(|line| !line.contains(&format!("✗ {host} "))).peekable();
        assert!(lines.peek().is_some(), "no failure of {host}: {self}");
        let mut block = String::new();
        for line in lines {
            let last = line.trim_start().starts_with("full log");
            let line = if last { "  full log    LOG" } else { line };
            block.push_str(line.trim_end());
            block.push('\n');
            if last {
                break;
            }
        }
        block
    }

    /// The counters of the recap by host.
    pub(crate) fn totals(&self) -> BTreeMap<String, Value> {
        let finished = self.all("run_finished").last().unwrap_or_else(|| panic!("no end: {self}"));
        let hosts = finished["totals"]["hosts"].as_object().expect("hosts");
        hosts.iter().map(|(host, row)| (host.clone(), row.clone())).collect()
    }

    /// How each task of a host ended: name and outcome, in order.
    pub(crate) fn outcomes(&self, host: &str) -> Vec<(String, String, Value)> {
        let names: BTreeMap<u64, &str> = self
            .all("step_started")
            .map(|event| (event["step"].as_u64().expect("a number"), event["name"].as_str().expect("a name")))
            .collect();
        self.all("step_finished")
            .filter(|event| event["host"] == host)
            .map(|event| {
                let name = names[&event["step"].as_u64().expect("a number")];
                let outcome = event["outcome"].as_str().expect("an outcome");
                (name.to_owned(), outcome.to_owned(), event["result"].clone())
            })
            .collect()
    }
}

/// The repository's own lab inventory under another name and network.
pub(crate) fn shipped_inventory(name: &str, network: &str) -> String {
    let text = fs_err::read_to_string(format!("{REPOSITORY}/inventory/lab.yml")).expect("an inventory");
    let text = text.replace("10.77.0.", &format!("{network}."));
    let text = text.replace("../lab/www/build.sh", &format!("{REPOSITORY}/lab/www/build.sh"));
    text.replacen("plugin: lab\n", &format!("plugin: lab\nname: {name}\n"), 1)
}
