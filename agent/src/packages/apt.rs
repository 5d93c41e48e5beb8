//! `apt-get`: its command line, its lock, what its output means.
//!
//! Owns: those three. Must not: know a module's arguments.
//! Called by: `apt`, `apt_repository`.

use std::fs;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::modules::{Command, Fault, Host};
use crate::system::run::{self, Answer};
use crate::system::{fault, root};

/// Locks that a running apt or dpkg holds.
const LOCKS: [&str; 4] = [
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
];

/// Runs `apt-get` without questions; when another package tool holds the lock, waits for it up to `lock_timeout`.
///
/// # Errors
/// When it cannot be started, or the lock is not freed in time.
pub fn apt_get(host: &Host<'_>, arguments: &[String], lock_timeout: Duration) -> Result<Answer, Fault> {
    let simulated = arguments.iter().any(|a| a == "-s");
    let deadline = Instant::now() + lock_timeout;
    loop {
        if !simulated {
            wait_for_locks(host, deadline)?;
        }
        let mut argv = vec!["apt-get".to_owned()];
        argv.extend_from_slice(arguments);
        let answer = run::run_command(
            host,
            Command {
                argv,
                environment: [("DEBIAN_FRONTEND", "noninteractive"), ("DEBIAN_PRIORITY", "critical")]
                    .map(|(n, v)| (n.to_owned(), v.to_owned()))
                    .into(),
                stream: !simulated,
                ..Command::default()
            },
        )?;
        // Someone may have been faster between our look and apt's start.
        if answer.ok() || !lock_refused(&answer.err) || Instant::now() >= deadline {
            return Ok(answer);
        }
    }
}

fn lock_refused(err: &str) -> bool {
    [
        "Could not get lock",
        "Unable to lock",
        "Unable to acquire the dpkg frontend lock",
        "is another process using it",
    ]
    .iter()
    .any(|m| err.contains(m))
}

fn wait_for_locks(host: &Host<'_>, deadline: Instant) -> Result<(), Fault> {
    loop {
        let Some((path, pid)) = LOCKS.iter().find_map(|path| holder(path).map(|pid| (*path, pid))) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(fault(format!(
                "another package tool (process {pid}) holds `{path}`; wait for it, or raise `lock_timeout`"
            )));
        }
        if host.runner.cancelled() {
            return Err(fault("cancelled while waiting for the package lock"));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// The process that holds a write lock on the file.
fn holder(path: &str) -> Option<i32> {
    let file = fs::OpenOptions::new().read(true).write(true).open(root::at(path)).ok()?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut lock)).ok()?;
    (lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid)
}

/// Upgraded, newly installed, to remove: from apt's summary line. `None` when apt printed none.
#[must_use]
pub fn counts(out: &str) -> Option<(u32, u32, u32)> {
    let line = out.lines().find(|l| l.contains(" upgraded, ") && l.contains(" newly installed, "))?;
    let number = |before: &str| {
        let head = &line[..line.find(before)?];
        head.split_whitespace().next_back()?.parse::<u32>().ok()
    };
    Some((number(" upgraded")?, number(" newly installed")?, number(" to remove")?))
}

/// The part of apt's output that says what it would do, for `--diff`.
#[must_use]
pub fn announced(out: &str) -> String {
    let lines: Vec<&str> = out
        .lines()
        .skip_while(|l| !l.starts_with("The following"))
        .take_while(|l| !l.starts_with("Inst ") && !l.starts_with("Remv ") && !l.starts_with("Need to get"))
        .collect();
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// When the package lists were last fetched, in seconds since the epoch; 0 when never.
#[must_use]
pub fn lists_time() -> u64 {
    ["/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists"]
        .iter()
        .filter_map(|path| fs::metadata(root::at(path)).and_then(|m| m.modified()).ok())
        .filter_map(|time| time.duration_since(UNIX_EPOCH).ok())
        .map(|d| d.as_secs())
        .max()
        .unwrap_or(0)
}

/// True when the lists are not older than that many seconds.
#[must_use]
pub fn lists_fresh(valid: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    lists_time().saturating_add(valid) >= now
}

/// Fetches the package lists, trying again when a mirror fails.
///
/// # Errors
/// When the last try failed too.
pub fn update(
    host: &Host<'_>,
    retries: u32,
    max_delay: u64,
    lock_timeout: Duration,
) -> Result<Answer, Fault> {
    let mut attempt = 0;
    loop {
        let answer = apt_get(host, &["update".into()], lock_timeout)?;
        if answer.ok() {
            return Ok(answer);
        }
        attempt += 1;
        if attempt >= retries.max(1) {
            return Err(answer.to_fault("cannot update the package lists"));
        }
        let delay = Duration::from_secs((1u64 << attempt.min(16)).min(max_delay));
        let until = Instant::now() + delay;
        while Instant::now() < until {
            if host.runner.cancelled() {
                return Err(fault("cancelled while updating the package lists"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::Script;

    const OUT: &str = "Reading package lists...\nThe following NEW packages will be installed:\n  curl\n0 upgraded, 1 newly installed, 2 to remove and 5 not upgraded.\nInst curl (7)\n";

    #[test]
    fn the_summary_line_is_counted() {
        assert_eq!(counts(OUT), Some((0, 1, 2)));
        assert_eq!(counts("nothing"), None);
        assert_eq!(
            announced(OUT),
            "The following NEW packages will be installed:\n  curl\n0 upgraded, 1 newly installed, 2 to remove and 5 not upgraded.\n"
        );
    }

    #[test]
    fn a_lost_race_for_the_lock_is_run_again() {
        let _root = FakeRoot::with(&[]);
        let script = Script::of(&[
            ("apt-get update", 100, "E: Could not get lock /var/lib/apt/lists/lock"),
            ("apt-get update", 0, "done"),
        ]);
        assert!(update(&script.host(), 1, 0, Duration::from_secs(60)).expect("updates").ok());
        script.done();
    }

    #[test]
    fn a_failing_mirror_is_told_after_the_last_try() {
        let _root = FakeRoot::with(&[]);
        let script =
            Script::of(&[("apt-get update", 100, "E: mirror"), ("apt-get update", 100, "E: mirror")]);
        let error = update(&script.host(), 2, 0, Duration::ZERO).expect_err("fails");
        assert_eq!(error.msg, "cannot update the package lists: E: mirror");
    }
}
