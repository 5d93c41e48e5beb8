//! Steps that go on by themselves (`async`): each is a process of its own that outlives the agent and its connection.
//!
//! Owns: starting such a job, its files, and what is told of it. Must not: know what any module does.
//! Called by: the server (starts), `main` (the job's own process), the module `async_status` (asks).
//!
//! ```text
//! <folder>/<job>          the result, as JSON: at first only that it has started, at the end what the module says
//! <folder>/<job>.lock     held while the job lives; its text is the process id
//! <folder>/<job>.request  what to do; read once and removed, since arguments may be secret
//! <folder>/<job>.files/   what the controller sent along
//! ```
//!
//! The folder is `async` in the agent's private folder, or what `ANSIBLE_ASYNC_DIR` in the step's environment names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Map, Value};

use crate::files::expand_path;
use crate::modules::{self, Fault, Host, failed};
use crate::protocol::{StepRequest, StepResult};
use crate::runner::{Controls, Ending, Local};

/// What a job's process prints when it holds its lock.
const UNDER_WAY: &str = "under way";
/// Between SIGTERM and SIGKILL when a job runs out of time.
const GRACE: Duration = Duration::from_secs(5);
/// How often a wait for a job's end looks.
const LOOK: Duration = Duration::from_millis(20);
/// Results that nobody asked for are removed after this time.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The jobs of one folder.
#[derive(Debug, Clone)]
pub struct Jobs {
    folder: PathBuf,
}

/// How a job is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    Running,
    /// What the module said.
    Finished(StepResult),
    /// It ended without a word: it was killed, or the host restarted.
    Vanished,
}

impl Jobs {
    /// The folder that a step with this environment uses; `None` when this process doesn't know its private folder.
    #[must_use]
    pub fn of(environment: &[(String, String)]) -> Option<Self> {
        let named =
            environment.iter().rev().find(|(name, dir)| name == "ANSIBLE_ASYNC_DIR" && !dir.is_empty());
        let folder = match named {
            Some((_, dir)) => PathBuf::from(expand_path(dir, environment)),
            None => crate::private_folder()?.join("async"),
        };
        Some(Self { folder })
    }

    /// Where a job's result is, when its name is one that a job can have.
    ///
    /// # Errors
    /// A name that would lead elsewhere.
    pub fn file(&self, job: &str) -> Result<PathBuf, Fault> {
        let plain = !job.is_empty()
            && job.len() <= 100
            && !job.starts_with('.')
            && job.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if plain { Ok(self.folder.join(job)) } else { Err(Fault::new(format!("`{job}` is no job id"))) }
    }

    /// Starts a job, unless there is one of that name already: a request may come twice when a connection breaks.
    /// `uploads` are moved to the job.
    ///
    /// # Errors
    /// When it can't be started, in words for the user.
    pub fn start(
        &self,
        job: &str,
        limit: Duration,
        mut request: StepRequest,
        uploads: &[(String, PathBuf)],
    ) -> Result<StepResult, Fault> {
        let result = self.file(job)?;
        let fault = |doing: &str, e: &io::Error| Fault::io(doing, &result, e);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|e| Fault::io("create", &self.folder, &e))?;
        if result.exists() {
            return Ok(self.started(job, &result));
        }
        self.sweep();
        if !uploads.is_empty() {
            let files = self.part(job, "files");
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&files)
                .map_err(|e| fault("create", &e))?;
            for (number, (option, path)) in uploads.iter().enumerate() {
                let to = files.join(number.to_string());
                moved(path, &to).map_err(|e| fault("keep a file for", &e))?;
                request.args.insert(option.clone(), Value::from(to.display().to_string()));
            }
        }
        request.uploads.clear();
        request.timeout_ms = Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let text = serde_json::to_vec(&request).map_err(|e| Fault::new(format!("cannot keep a job: {e}")))?;
        write(&self.part(job, "request"), &text).map_err(|e| fault("create", &e))?;
        write(&result, &line(&self.started(job, &result))).map_err(|e| fault("create", &e))?;
        let begun = std::env::current_exe()
            .and_then(|agent| launch(&agent, &self.folder, job))
            .map_err(|e| Fault::new(format!("the job cannot be started: {}", modules::plain(&e))));
        if begun.is_err() {
            self.forget(job)?;
        }
        begun.map(|()| self.started(job, &result))
    }

    fn started(&self, job: &str, result: &Path) -> StepResult {
        let mut told = Map::new();
        told.insert("ansible_job_id".to_owned(), job.into());
        told.insert("results_file".to_owned(), result.display().to_string().into());
        told.insert("started".to_owned(), true.into());
        told.insert("finished".to_owned(), false.into());
        told
    }

    /// How a job is; waits so long for its end.
    ///
    /// # Errors
    /// When there is no such job, or its result can't be read.
    pub fn progress(
        &self,
        job: &str,
        wait: Duration,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Progress, Fault> {
        let file = self.file(job)?;
        if !file.exists() {
            return Err(Fault::new("could not find job"));
        }
        let deadline = Instant::now() + wait;
        // Between the request and the lock it is being started.
        while self.lives(job) || self.part(job, "request").exists() {
            if Instant::now() >= deadline || given_up() {
                return Ok(Progress::Running);
            }
            // Nothing wakes us when someone else's lock is let go and there is a deadline, so it is looked at.
            std::thread::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now())));
        }
        let mut text = Vec::new();
        File::open(&file)
            .and_then(|mut file| file.read_to_end(&mut text))
            .map_err(|e| Fault::io("read", &file, &e))?;
        let Ok(Value::Object(result)) = serde_json::from_slice(&text) else {
            return Err(Fault::new(format!("the job's result in `{}` makes no sense", file.display())));
        };
        Ok(match result.get("finished") {
            Some(Value::Bool(true)) => Progress::Finished(result),
            _ => Progress::Vanished,
        })
    }

    /// Ends a job that runs; its result says so.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn end(&self, job: &str) -> Result<(), Fault> {
        if !self.file(job)?.exists() {
            return Err(Fault::new("could not find job"));
        }
        let pid = fs::read_to_string(self.part(job, "lock")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.filter(|_| self.lives(job)) {
            // One that has ended meanwhile is what we want.
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        Ok(())
    }

    /// Removes what is kept of a job.
    ///
    /// # Errors
    /// When it has no result file, or that can't be removed.
    pub fn forget(&self, job: &str) -> Result<(), Fault> {
        let file = self.file(job)?;
        fs::remove_file(&file).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Fault::new("could not find job"),
            _ => Fault::io("remove", &file, &e),
        })?;
        if !self.lives(job) {
            self.tidy(job);
        }
        Ok(())
    }

    /// Removes everything beside the result.
    fn tidy(&self, job: &str) {
        let _ = fs::remove_file(self.part(job, "request"));
        let _ = fs::remove_file(self.part(job, "lock"));
        let _ = fs::remove_dir_all(self.part(job, "files"));
    }

    fn part(&self, job: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{job}.{kind}"))
    }

    fn lives(&self, job: &str) -> bool {
        File::open(self.part(job, "lock")).is_ok_and(|file| file.try_lock_shared().is_err())
    }

    fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let old = entry.metadata().and_then(|m| m.modified()).ok();
            let old = old.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > KEPT);
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|_| old) else { continue };
            let job = ["lock", "request", "files"]
                .iter()
                .find_map(|kind| name.strip_suffix(&format!(".{kind}")))
                .unwrap_or(name);
            if !self.lives(job) {
                let _ = fs::remove_file(self.folder.join(job));
                self.tidy(job);
            }
        }
    }
}

/// A job's own process: reads what to do, does it, and leaves the result.
///
/// # Errors
/// A sentence for whoever started it.
pub fn work(folder: &Path, job: &str) -> Result<(), String> {
    // Not of the agent's session any more: a hang-up of the connection is none of ours.
    let _ = nix::unistd::setsid();
    let jobs = Jobs { folder: folder.to_owned() };
    let result = jobs.file(job).map_err(|fault| fault.msg)?;
    let request = jobs.part(job, "request");
    let read = fs::read(&request).map_err(|e| format!("{}: {}", request.display(), modules::plain(&e)))?;
    let mut request: StepRequest = serde_json::from_slice(&read).map_err(|e| e.to_string())?;
    let lock = jobs.part(job, "lock");
    let held = locked(&lock).map_err(|e| format!("{}: {}", lock.display(), modules::plain(&e)))?;
    let _ = fs::remove_file(jobs.part(job, "request"));
    let mut out = io::stdout();
    // Whoever started us may be gone already; the job runs all the same.
    let _ = out.write_all(format!("{UNDER_WAY}\n").as_bytes()).and_then(|()| out.flush());
    let controls = Controls::default();
    end_on_sigterm(&controls);
    let limit = Duration::from_millis(request.timeout_ms.unwrap_or(u64::MAX));
    let watched = controls.clone();
    std::thread::spawn(move || watched.end_after(limit, GRACE));
    let runner = Local::for_step(controls.clone(), request.environment.clone(), Box::new(|_, _| {}));
    let host =
        Host { check: request.check, diff: request.diff, environment: &request.environment, runner: &runner };
    let (mut said, _) = modules::run(&request.module, std::mem::take(&mut request.args), &host)
        .unwrap_or_else(|| {
            (failed(Fault::new(format!("this agent has no module `{}`", request.module))), Vec::new())
        });
    if let Some(Ending::TimedOut { .. }) = controls.ending() {
        said.insert("msg".to_owned(), "Timeout exceeded".into());
        said.insert("child_pid".to_owned(), std::process::id().into());
    }
    controls.finish();
    said.extend(jobs.started(job, &result));
    said.insert("finished".to_owned(), true.into());
    let _ = fs::remove_dir_all(jobs.part(job, "files"));
    // Who cleaned the job up meanwhile does not want its result.
    let kept = if result.exists() { write(&result, &line(&said)) } else { Ok(()) };
    let _ = fs::remove_file(&lock);
    drop(held);
    kept.map_err(|e| format!("{}: {}", result.display(), modules::plain(&e)))
}

fn end_on_sigterm(controls: &Controls) {
    use signal_hook::consts::{SIGHUP, SIGTERM};
    let Ok((mut wake, terminate)) = std::os::unix::net::UnixStream::pair() else { return };
    // A handler, not "ignore": programs that we start must get the default back.
    let registered = signal_hook::flag::register(SIGHUP, std::sync::Arc::default())
        .and_then(|_| signal_hook::low_level::pipe::register(SIGTERM, terminate));
    if registered.is_err() {
        return;
    }
    let controls = controls.clone();
    std::thread::spawn(move || {
        let mut byte = [0];
        if wake.read_exact(&mut byte).is_ok() {
            controls.end(Ending::Cancelled, GRACE);
        }
    });
}

/// Starts the job's process and waits until it holds its lock.
fn launch(agent: &Path, folder: &Path, job: &str) -> io::Result<()> {
    let mut child = Command::new(agent)
        .arg("job")
        .arg(folder)
        .arg(job)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut said)?;
    }
    if said.trim_end() == UNDER_WAY {
        // Reaped whenever it ends; when this agent ends first, that is init's business.
        std::thread::spawn(move || child.wait());
        return Ok(());
    }
    let mut why = String::new();
    if let Some(mut err) = child.stderr.take() {
        err.read_to_string(&mut why)?;
    }
    child.wait()?;
    Err(io::Error::other(why.trim().to_owned()))
}

/// A locked file with our process id. It gets its name last, so that nobody finds it unlocked.
fn locked(path: &Path) -> io::Result<File> {
    let fresh = path.with_extension("lock-new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.lock()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    fs::rename(&fresh, path)?;
    Ok(file)
}

/// Writes a file that only its owner may read, whole or not at all.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn line(result: &StepResult) -> Vec<u8> {
    let mut text = serde_json::to_vec(result).unwrap_or_default();
    text.push(b'\n');
    text
}

fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => fs::copy(from, to).map(drop),
        other => other,
    }
}
