//! A project folder and the real binary: what every test of the command line needs.

#![allow(unreachable_pub, dead_code, reason = "each test binary takes this file in and uses what it needs")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A temporary project.
pub struct Project {
    folder: tempfile::TempDir,
    home: tempfile::TempDir,
}

/// What a command said, with everything that differs from run to run replaced.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Project {
    /// An empty project with a home of its own.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), home: tempfile::tempdir().expect("a folder") }
    }

    /// Writes a file.
    pub fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
        self
    }

    /// A path inside the project.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The home of whoever runs the binary here.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// What a file of the project holds.
    pub fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).expect("a file")
    }

    /// The command, with nothing of the caller's environment but its path.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dcos-play"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", "")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().expect("the binary runs");
        Said {
            status: output.status.code().unwrap_or(-1),
            out: self.scrub(&String::from_utf8_lossy(&output.stdout)),
            err: self.scrub(&String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Starts it and leaves it running.
    pub fn start(&self, args: &[&str]) -> Running {
        let child = self
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Running(Some(child))
    }

    /// Times, run ids and this folder replaced; the rest is compared as it is.
    pub fn scrub(&self, text: &str) -> String {
        let text = text.replace(&self.folder.path().display().to_string(), "PROJECT");
        let rules = [
            (r"\d{8}-\d{4}-[a-z0-9]{3}", "RUN"),
            (r"(?m)^\d\d:\d\d:\d\d ", "TIME "),
            (r"\b\d+(\.\d+)?(ms|s)\b", "TOOK"),
            (r"process \d+", "process PID"),
            (r"kill -INT \d+", "kill -INT PID"),
        ];
        rules.iter().fold(text, |text, (pattern, with)| {
            regex::Regex::new(pattern).expect("a pattern").replace_all(&text, *with).into_owned()
        })
    }

    /// The newest run's journal, an event a line.
    pub fn journal(&self) -> Vec<serde_json::Value> {
        journal(&self.path(".dcos-play/runs/latest/journal.jsonl"))
    }

    /// Waits until a condition holds; fails the test when it does not within the deadline.
    pub fn until(&self, what: &str, limit: Duration, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + limit;
        while !holds() {
            assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The whole records of a journal; the last may be torn.
pub fn journal(path: &Path) -> Vec<serde_json::Value> {
    let Ok(text) = fs_err::read_to_string(path) else { return Vec::new() };
    text.lines().skip(1).filter_map(|l| serde_json::from_str(l).ok()).collect()
}

/// A started run that ends with the test.
pub struct Running(Option<Child>);

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.as_ref().expect("it runs").id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("it lives");
    }

    /// Waits for the end.
    pub fn wait(mut self) -> (i32, String, String) {
        let output = self.0.take().expect("it runs").wait_with_output().expect("it ends");
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status, text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
