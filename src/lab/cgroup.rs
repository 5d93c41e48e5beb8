//! The lab's processes, known by cgroup: which there are, and how to end them all.
//!
//! A folder `dcos-play/<lab>/<what>` in each hierarchy that systemd uses holds all processes of one host (or of the web
//! server), whatever they forked into. So nothing depends on files with process ids, which go stale.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::LabError;

const OURS: &str = "dcos-play";
const KILL_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// The cgroups of one host or server of a lab.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    /// The mount points of the hierarchies.
    hierarchies: Vec<PathBuf>,
    lab: String,
    what: String,
}

/// The hierarchies that systemd works with: `name=systemd` of cgroup v1, and v2.
pub(super) fn hierarchies() -> Result<Vec<PathBuf>, LabError> {
    let found = hierarchies_in(&fs_err::read_to_string("/proc/self/mounts")?);
    if found.is_empty() { Err(LabError::NoCgroups) } else { Ok(found) }
}

fn hierarchies_in(mounts: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(place), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let wanted =
            kind == "cgroup2" || (kind == "cgroup" && options.split(',').any(|o| o == "name=systemd"));
        let place = PathBuf::from(place);
        // Container managers mount the same hierarchy in other places too; systemd looks in this folder.
        if wanted && place.starts_with("/sys/fs/cgroup") && !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

impl Cgroup {
    pub(super) fn new(hierarchies: &[PathBuf], lab: &str, what: &str) -> Self {
        Cgroup { hierarchies: hierarchies.to_vec(), lab: lab.to_owned(), what: what.to_owned() }
    }

    /// Makes the folders and returns them.
    pub(super) fn create(&self) -> Result<Vec<PathBuf>, LabError> {
        let folders: Vec<_> = self.folders().collect();
        for folder in &folders {
            fs_err::create_dir_all(folder)?;
        }
        Ok(folders)
    }

    /// The ids of all processes inside.
    pub(super) fn processes(&self) -> Result<Vec<i32>, LabError> {
        let mut pids = Vec::new();
        for folder in self.folders() {
            collect(&folder, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        // A 0 stands for a process that this process's PID namespace can't see.
        pids.retain(|pid| *pid > 0);
        Ok(pids)
    }

    /// Whether any process is inside.
    pub(super) fn is_alive(&self) -> bool {
        self.processes().is_ok_and(|pids| !pids.is_empty())
    }

    /// Ends all processes inside at once and removes the folders. Fine when there is nothing.
    pub(super) fn kill(&self) -> Result<(), LabError> {
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            let pids = self.processes()?;
            if pids.is_empty() && self.remove_folders()? {
                return Ok(());
            }
            for pid in &pids {
                match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(io::Error::from(errno).into()),
                }
            }
            if Instant::now() > deadline {
                let what = format!("{}/{}", self.lab, self.what);
                return Err(LabError::Unkillable { what, seconds: KILL_DEADLINE.as_secs(), pids });
            }
            std::thread::sleep(POLL);
        }
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.iter().map(|root| root.join(OURS).join(&self.lab).join(&self.what))
    }

    /// Whether all folders are gone; not while a process that was killed is still on its way out.
    fn remove_folders(&self) -> Result<bool, LabError> {
        for folder in self.folders() {
            if !remove_tree(&folder)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Removes the lab's own folders, and the common one after the last lab.
pub(super) fn remove_lab(hierarchies: &[PathBuf], lab: &str) -> Result<(), LabError> {
    for root in hierarchies {
        remove_tree(&root.join(OURS).join(lab))?;
        // Other labs may still be in there; then it stays.
        match fs_err::remove_dir(root.join(OURS)) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ResourceBusy) => {}
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn children(folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => found.push(entry.path()),
            Ok(_) => {}
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn collect(folder: &Path, pids: &mut Vec<i32>) -> Result<(), LabError> {
    match fs_err::read_to_string(folder.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(error) if gone(&error) => return Ok(()),
        // A threaded group of cgroup v2 answers so; its processes are listed by the parent.
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) => return Err(error.into()),
    }
    children(folder)?.iter().try_for_each(|child| collect(child, pids))
}

/// Removes a folder of cgroups from below; false when one is still in use.
fn remove_tree(folder: &Path) -> Result<bool, LabError> {
    for child in children(folder)? {
        if !remove_tree(&child)? {
            return Ok(false);
        }
    }
    match fs_err::remove_dir(folder) {
        Ok(()) => Ok(true),
        Err(error) if gone(&error) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::DirectoryNotEmpty) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// A group may vanish between being listed and being read.
fn gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_machine_has_both_hierarchies() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
                      cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(
            hierarchies_in(mounts),
            [PathBuf::from("/sys/fs/cgroup/systemd"), PathBuf::from("/sys/fs/cgroup/unified")]
        );
    }

    #[test]
    fn unified_machine_has_one_hierarchy() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\ncgroup2 /run/other cgroup2 rw 0 0\n";
        assert_eq!(hierarchies_in(mounts), [PathBuf::from("/sys/fs/cgroup")]);
    }
}
