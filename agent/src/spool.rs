//! The agent's private folder: uploads on their way in, results on their way out.
//!
//! Owns: the files under the private folder, and how agents of one run tell each other apart there. Must not: know
//! modules, or speak on the connection.
//! Called by: the server.
//!
//! ```text
//! <private>/tmp/<pid>-<start>/lock     held while that agent lives; beside it its uploads
//! <private>/spool/<run>/<step>.lock    held by the agent that runs the step; its text names the step and the pid
//! <private>/spool/<run>/<step>.result  the `Done` frame; written before the lock is let go
//! ```
//!
//! A result is written before it is sent and removed when the controller has it. It is not fsynced while the
//! connection lives (it has to outlive the agent, not the host); at the connection's end it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::modules::Fault;
use crate::protocol::{self, StepKey};

/// Results that nobody asked for are removed after this time.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The private folder as one agent process sees it.
pub struct Spool {
    results: PathBuf,
    own: PathBuf,
    /// Held as long as this agent lives, so that others leave its uploads alone.
    _alive: File,
}

/// The claim on a step that this process runs.
#[derive(Debug)]
pub struct Claim {
    lock: PathBuf,
    result: PathBuf,
    _held: File,
}

/// What is known about a step of an earlier connection.
pub enum Known {
    /// The encoded `Done` frame.
    Result(Vec<u8>),
    /// Another agent runs it: take the shared lock of this file to wait for its end.
    Running(File),
    Nothing,
}

impl Spool {
    /// Opens the private folder and removes what agents that are gone have left.
    ///
    /// # Errors
    /// When the folder can't be made or written, in words for the user.
    pub fn open(private: &Path) -> Result<Self, Fault> {
        let results = private.join("spool");
        let tmp = private.join("tmp");
        for folder in [private, &results, &tmp] {
            make_dir(folder).map_err(|e| Fault::io("create", folder, &e))?;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let own = tmp.join(format!("{}-{}", std::process::id(), now.as_nanos()));
        make_dir(&own).map_err(|e| Fault::io("create", &own, &e))?;
        let lock = own.join("lock");
        let alive = locked(&lock, b"").map_err(|e| Fault::io("create", &lock, &e))?;
        sweep_uploads(&tmp, &own);
        sweep_results(&results, SystemTime::now());
        Ok(Self { results, own, _alive: alive })
    }

    /// A new file for an upload.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn upload(&self, id: u64) -> Result<(PathBuf, File), Fault> {
        let path = self.own.join(format!("upload-{id}"));
        // The same number again replaces what was there.
        let _ = fs::remove_file(&path);
        let file = private_file(&path).map_err(|e| Fault::io("create", &path, &e))?;
        Ok((path, file))
    }

    fn run_dir(&self, run: &str) -> PathBuf {
        let plain = !run.is_empty()
            && run.len() <= 64
            && !run.starts_with('.')
            && run.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        self.results.join(if plain { run.to_owned() } else { hash(run) })
    }

    /// Claims a step: from now on other agents know that it runs here.
    ///
    /// # Errors
    /// When another agent runs it, or the folder can't be written.
    pub fn claim(&self, run: &str, step: &StepKey) -> Result<Claim, Fault> {
        let dir = self.run_dir(run);
        make_dir(&dir).map_err(|e| Fault::io("create", &dir, &e))?;
        let name = hash(step);
        let (lock, result) = (dir.join(format!("{name}.lock")), dir.join(format!("{name}.result")));
        // Others only ever take the lock shared and for a moment, so this fails for a running step alone.
        if File::open(&lock).is_ok_and(|file| file.try_lock_shared().is_err()) {
            return Err(Fault::new(format!("step `{step}` still runs in another agent on this host")));
        }
        let text = format!("{}\n{step}\n", std::process::id());
        let file = locked(&lock, text.as_bytes()).map_err(|e| Fault::io("write", &lock, &e))?;
        // An attempt with the same name was given up on: its result must not be taken for ours.
        let _ = fs::remove_file(&result);
        Ok(Claim { lock, result, _held: file })
    }

    /// Steps of this run whose results wait, or that other agents still run.
    #[must_use]
    pub fn pending(&self, run: &str) -> Vec<StepKey> {
        let mut steps = Vec::new();
        for path in files(&self.run_dir(run)) {
            match path.extension().and_then(|e| e.to_str()) {
                Some("result") => steps.extend(read_result(&path).map(|(step, _)| step)),
                // A lock that can be had belongs to an agent that was killed: there is no result to come.
                Some("lock") if File::open(&path).is_ok_and(|file| file.try_lock_shared().is_err()) => {
                    steps.extend(read_lock(&path).map(|(_, step)| step));
                }
                _ => {}
            }
        }
        steps.sort();
        steps.dedup();
        steps
    }

    /// What is known about a step.
    #[must_use]
    pub fn known(&self, run: &str, step: &StepKey) -> Known {
        let dir = self.run_dir(run);
        let name = hash(step);
        let (lock, result) = (dir.join(format!("{name}.lock")), dir.join(format!("{name}.result")));
        // The other agent writes the result before it removes the lock, so looking in the order result, lock, result
        // misses nothing.
        if let Some((_, frame)) = read_result(&result) {
            return Known::Result(frame);
        }
        if let Ok(file) = File::open(&lock)
            && file.try_lock_shared().is_err()
        {
            return Known::Running(file);
        }
        read_result(&result).map_or(Known::Nothing, |(_, frame)| Known::Result(frame))
    }

    /// The process that runs this step, when it is another one.
    #[must_use]
    pub fn runner_of(&self, run: &str, step: &StepKey) -> Option<i32> {
        let lock = self.run_dir(run).join(format!("{}.lock", hash(step)));
        let file = File::open(&lock).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        read_lock(&lock).map(|(pid, _)| pid)
    }

    /// Forgets the result of a step.
    pub fn forget(&self, run: &str, step: &StepKey) {
        let dir = self.run_dir(run);
        // Not there is as good as removed; a file that stays is swept after a week.
        let _ = fs::remove_file(dir.join(format!("{}.result", hash(step))));
        let _ = fs::remove_dir(dir);
    }

    /// Puts this run's results on the disk, for the connection has ended and nobody has them.
    pub fn settle(&self, run: &str) {
        let dir = self.run_dir(run);
        for path in files(&dir) {
            if let Ok(file) = File::open(&path) {
                let _ = file.sync_all();
            }
        }
        if let Ok(dir) = File::open(&dir) {
            let _ = dir.sync_all();
        }
    }

    /// Removes everything of this process but its results.
    pub fn clean(&self) {
        let _ = fs::remove_dir_all(&self.own);
    }
}

impl Claim {
    /// Keeps the step's result and lets the claim go.
    ///
    /// # Errors
    /// When the file can't be written; the claim is gone all the same.
    pub fn keep(self, frame: &[u8]) -> Result<(), Fault> {
        let part = self.result.with_extension("part");
        let _ = fs::remove_file(&part);
        let written = private_file(&part)
            .and_then(|mut file| file.write_all(frame))
            .and_then(|()| fs::rename(&part, &self.result))
            .map_err(|e| Fault::io("keep a result in", &self.result, &e));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        let _ = fs::remove_file(&self.lock);
        written
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A new locked file with this text. It gets its name last, so that nobody finds it unlocked.
fn locked(path: &Path, text: &[u8]) -> io::Result<File> {
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = private_file(&fresh)?;
    file.lock()?;
    file.set_len(0)?;
    file.write_all(text)?;
    fs::rename(&fresh, path)?;
    Ok(file)
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn read_lock(path: &Path) -> Option<(i32, StepKey)> {
    let text = fs::read_to_string(path).ok()?;
    let (pid, step) = text.split_once('\n')?;
    Some((pid.parse().ok()?, step.strip_suffix('\n')?.to_owned()))
}

fn read_result(path: &Path) -> Option<(StepKey, Vec<u8>)> {
    let mut frame = Vec::new();
    File::open(path).ok()?.read_to_end(&mut frame).ok()?;
    match protocol::read::<Spooled>(&mut frame.as_slice()) {
        Ok(Some((Spooled { kind, step, .. }, _))) if kind == "done" => Some((step, frame)),
        _ => None,
    }
}

/// As much of [`protocol::FromAgent::Done`] as the spool looks at: a reader of all that an agent says has 12 kB on every host.
#[derive(serde::Deserialize)]
struct Spooled {
    #[serde(rename = "type")]
    kind: String,
    step: StepKey,
    #[serde(rename = "result")]
    _result: serde::de::IgnoredAny,
}

fn sweep_uploads(tmp: &Path, own: &Path) {
    for dir in files(tmp).into_iter().filter(|dir| dir != own) {
        // A folder whose lock can be had belongs to nobody. One without a lock may just be starting up.
        if let Ok(lock) = File::open(dir.join("lock"))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(&dir);
        }
    }
}

fn sweep_results(results: &Path, now: SystemTime) {
    for run in files(results) {
        for path in files(&run) {
            let age = fs::metadata(&path)
                .and_then(|m| m.modified())
                .ok()
                .and_then(|at| now.duration_since(at).ok());
            let held = path.extension().is_some_and(|e| e == "lock")
                && File::open(&path).is_ok_and(|file| file.try_lock_shared().is_err());
            if age.is_some_and(|age| age > KEPT) && !held {
                let _ = fs::remove_file(&path);
            }
        }
        // Only an empty one goes.
        let _ = fs::remove_dir(&run);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::FromAgent;
    use crate::testing::temp_dir;

    fn frame(step: &str) -> Vec<u8> {
        let serde_json::Value::Object(result) = json!({"rc": 0}) else { unreachable!("a mapping") };
        protocol::encode(&FromAgent::Done { step: step.to_owned(), result }, b"bytes").expect("encodes")
    }

    #[test]
    fn a_result_waits_until_it_is_acknowledged() {
        let dir = temp_dir();
        let step = "run/host/1".to_owned();
        let spool = Spool::open(dir.path()).expect("opens");
        let claim = spool.claim("r1", &step).expect("claims");
        let other = Spool::open(dir.path()).expect("opens twice");
        assert_eq!(other.pending("r1"), [step.as_str()]);
        assert_eq!(other.runner_of("r1", &step), Some(std::process::id().cast_signed()));
        assert!(other.claim("r1", &step).expect_err("taken").msg.contains("still runs"));
        let Known::Running(file) = other.known("r1", &step) else { panic!("it runs") };
        let waiter = std::thread::spawn(move || file.lock_shared());
        claim.keep(&frame(&step)).expect("keeps");
        waiter.join().expect("no panic").expect("the lock is let go");
        let Known::Result(kept) = other.known("r1", &step) else { panic!("it has ended") };
        assert_eq!(kept, frame(&step));
        assert_eq!(other.pending("r1"), [step.as_str()]);
        assert!(other.pending("r2").is_empty());
        spool.settle("r1");
        other.forget("r1", &step);
        assert!(matches!(spool.known("r1", &step), Known::Nothing));
        assert!(other.pending("r1").is_empty());
    }

    #[test]
    fn a_killed_agent_leaves_nothing_pending() {
        let dir = temp_dir();
        let spool = Spool::open(dir.path()).expect("opens");
        let step = "a".to_owned();
        drop(spool.claim("r", &step).expect("claims"));
        assert!(matches!(spool.known("r", &step), Known::Nothing));
        assert!(spool.pending("r").is_empty());
    }

    #[test]
    fn uploads_of_dead_agents_and_old_results_are_swept() {
        let dir = temp_dir();
        let spool = Spool::open(dir.path()).expect("opens");
        let (path, _) = spool.upload(1).expect("a file");
        let other = Spool::open(dir.path()).expect("opens");
        assert!(path.exists(), "its agent lives");
        drop(spool);
        let third = Spool::open(dir.path()).expect("opens");
        assert!(!path.exists(), "its agent is gone");
        let claim = third.claim("r", &"s".to_owned()).expect("claims");
        claim.keep(&frame("s")).expect("keeps");
        sweep_results(&third.results, SystemTime::now() + KEPT / 2);
        assert_eq!(other.pending("r"), ["s"]);
        sweep_results(&third.results, SystemTime::now() + KEPT * 2);
        assert!(other.pending("r").is_empty());
    }
}
