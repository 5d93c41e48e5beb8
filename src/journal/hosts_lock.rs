//! Keeps a second run off hosts that one is working on.
//!
//! Each run writes a file that lists its hosts and holds a lock on it while it lives; a run that wants to start reads
//! the files of the others. The kernel drops the lock of a dead process, so nothing needs cleaning after `kill -9`.

use std::collections::BTreeSet;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Held while a run works; dropping it frees the hosts.
#[derive(Debug)]
pub struct HostsLock {
    path: PathBuf,
    _held: Flock<std::fs::File>,
}

impl Drop for HostsLock {
    fn drop(&mut self) {
        // Best effort: a file without a lock holder means nothing and is removed by the next run.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Another run has some of the hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another run is working on {}: run {run}, process {pid}", listed(hosts))]
pub struct Conflict {
    pub run: String,
    pub pid: u32,
    pub hosts: Vec<String>,
}

fn listed(hosts: &[String]) -> String {
    match hosts {
        [] => "these hosts".to_owned(),
        [one] => format!("host {one}"),
        [a, b, c] => format!("hosts {a}, {b}, {c}"),
        [a, b] => format!("hosts {a}, {b}"),
        [a, b, rest @ ..] => format!("hosts {a}, {b} and {} more", rest.len()),
    }
}

#[derive(Serialize, Deserialize)]
struct Claim {
    run: String,
    pid: u32,
    hosts: BTreeSet<String>,
}

impl HostsLock {
    /// Claims hosts for a run. `hosts` are addresses where known, so that two inventories cannot name one host twice.
    ///
    /// # Errors
    /// [`Conflict`] inside the `Ok`, when another run has one of them; an I/O error otherwise.
    pub fn claim(
        folder: &Path,
        run: &str,
        hosts: BTreeSet<String>,
    ) -> std::io::Result<Result<Self, Conflict>> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // One claim at a time, or two runs could each miss the other's file.
        let gate = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("gate"))?
            .into_parts()
            .0;
        let gate = Flock::lock(gate, FlockArg::LockExclusive).map_err(|(_, e)| std::io::Error::from(e))?;
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "claim") {
                continue;
            }
            let Ok(mut file) = std::fs::OpenOptions::new().read(true).write(true).open(&path) else {
                continue;
            };
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(_dead) => {
                    fs_err::remove_file(&path)?;
                }
                Err(_) => {
                    if let Ok(other) = serde_json::from_str::<Claim>(&text) {
                        let shared: Vec<_> = other.hosts.intersection(&hosts).cloned().collect();
                        if !shared.is_empty() {
                            return Ok(Err(Conflict { run: other.run, pid: other.pid, hosts: shared }));
                        }
                    }
                }
            }
        }
        let path = folder.join(format!("{run}.claim"));
        let file =
            std::fs::OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        let mut held =
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| std::io::Error::from(e))?;
        let claim = Claim { run: run.to_owned(), pid: std::process::id(), hosts };
        held.write_all(&serde_json::to_vec(&claim)?)?;
        held.flush()?;
        held.rewind()?;
        drop(gate);
        Ok(Ok(Self { path, _held: held }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    /// A machine that goes down frees all locks; the number in a file that is left may be another process's by then.
    #[test]
    fn what_a_controller_left_that_is_gone_is_no_obstacle_though_its_pid_lives() {
        let folder = tempfile::tempdir().expect("temp dir");
        let left = Claim { run: "gone".into(), pid: std::process::id(), hosts: set(&["h1"]) };
        for (name, text) in
            [("gone", serde_json::to_string(&left).expect("JSON")), ("torn", "{\"run\":\"to\0\0".to_owned())]
        {
            std::fs::write(folder.path().join(format!("{name}.claim")), text).expect("writes");
        }
        let held = HostsLock::claim(folder.path(), "next", set(&["h1"])).expect("io").expect("free");
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).expect("lists").map(|e| e.expect("entry").file_name()).collect();
        assert!(!names.iter().any(|n| *n == *"gone.claim" || *n == *"torn.claim"), "{names:?}");
        drop(held);
    }

    #[test]
    fn overlapping_hosts_are_refused_until_the_holder_is_gone() {
        let folder = tempfile::tempdir().expect("temp dir");
        let first = HostsLock::claim(folder.path(), "a", set(&["h1", "h2"])).expect("io").expect("free");
        let refused =
            HostsLock::claim(folder.path(), "b", set(&["h2", "h3"])).expect("io").expect_err("taken");
        assert_eq!(
            refused.to_string(),
            format!("another run is working on host h2: run a, process {}", std::process::id())
        );
        let other = HostsLock::claim(folder.path(), "c", set(&["h3"])).expect("io");
        assert!(other.is_ok(), "hosts that nobody has are free");
        drop(first);
        assert!(HostsLock::claim(folder.path(), "b", set(&["h2"])).expect("io").is_ok());
    }
}
