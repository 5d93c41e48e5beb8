//! One conversation with the controller.
//!
//! Owns: the steps that run now, the uploads that wait, and what happens when the connection ends. Must not: know
//! what any module does.
//! Called by: `main`.
//!
//! The calling thread reads frames; each step and each wait for another agent's step has a thread; one thread writes,
//! so that a controller that doesn't read never holds up a step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::jobs::Jobs;
use crate::modules::{self, Fault, Host, failed};
use crate::protocol::{
    self, AgentHello, FrameError, FromAgent, MAX_BLOB, PROTOCOL, StepKey, StepRequest, StepResult, Stream,
    ToAgent, UploadId,
};
use crate::runner::{Controls, Ending, Local};
use crate::spool::{Claim, Known, Spool};

/// Live output that the controller has not taken yet; beyond this it is left out (the result has all of it).
const UNSENT: usize = 8 << 20;
/// Between SIGTERM and SIGKILL when a step runs out of time.
const GRACE: Duration = Duration::from_secs(5);

/// Serves one connection to its end, and the steps that are still running then to theirs.
pub fn serve(mut from: impl Read, to: impl Write + Send + 'static, private: &Path) {
    let outbox = Outbox::start(to);
    let spool = match Spool::open(private) {
        Ok(spool) => spool,
        Err(fault) => {
            outbox.say(&FromAgent::Fault { message: fault.msg });
            outbox.close();
            return;
        }
    };
    let server = Arc::new(Server { outbox, spool, state: Mutex::default(), changed: Condvar::new() });
    watch_signals(&server);
    let run = match server.converse(&mut from) {
        Ok(run) => run,
        Err(message) => {
            server.outbox.say(&FromAgent::Fault { message: message.0 });
            message.1
        }
    };
    // Whether said goodbye or lost: what runs is brought to its end, and its result kept for the next connection.
    server.wait_until_idle();
    if let Some(run) = run {
        server.spool.settle(&run);
    }
    server.spool.clean();
    server.outbox.close();
}

struct Server {
    outbox: Outbox,
    spool: Spool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: BTreeMap<StepKey, Controls>,
    uploads: BTreeMap<UploadId, Upload>,
    /// Steps of other agents that a thread waits for.
    awaited: BTreeSet<StepKey>,
}

struct Upload {
    path: PathBuf,
    /// `None` when it is complete.
    file: Option<File>,
    fault: Option<Fault>,
}

type Stop = (String, Option<String>);

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the connection ends. Gives the run's id, if it was told; or why the conversation can't go on.
    fn converse(self: &Arc<Self>, from: &mut impl Read) -> Result<Option<String>, Stop> {
        let run = match protocol::read::<ToAgent>(from) {
            Ok(None) | Err(FrameError::Io(_) | FrameError::Torn) => return Ok(None),
            Err(e) => return Err((e.to_string(), None)),
            Ok(Some((ToAgent::Hello { protocol, run }, _))) if protocol == PROTOCOL => run,
            Ok(Some((ToAgent::Hello { protocol, .. }, _))) => {
                let message =
                    format!("this agent speaks version {PROTOCOL}, the controller version {protocol}");
                return Err((message, None));
            }
            Ok(Some(_)) => return Err(("the conversation must start with `hello`".to_owned(), None)),
        };
        self.outbox.say(&FromAgent::Hello(hello(self.spool.pending(&run))));
        loop {
            match protocol::read::<ToAgent>(from) {
                Ok(None) | Err(FrameError::Io(_) | FrameError::Torn) => return Ok(Some(run)),
                Err(e) => return Err((e.to_string(), Some(run))),
                Ok(Some((ToAgent::Bye, _))) => return Ok(Some(run)),
                Ok(Some((message, blob))) => self.handle(&run, message, &blob),
            }
        }
    }

    fn handle(self: &Arc<Self>, run: &str, message: ToAgent, blob: &[u8]) {
        match message {
            ToAgent::Upload { id, last } => self.receive(id, last, blob),
            ToAgent::Step(request) => self.start(run, *request),
            ToAgent::Cancel { step, grace_ms } => self.cancel(run, &step, Duration::from_millis(grace_ms)),
            ToAgent::Acknowledge { step } => self.spool.forget(run, &step),
            ToAgent::Collect { step } => self.collect(run, step),
            // A second greeting is harmless.
            ToAgent::Hello { .. } => self.outbox.say(&FromAgent::Hello(hello(self.spool.pending(run)))),
            ToAgent::Bye => {}
        }
    }

    /// Adds a piece to an upload. What goes wrong is told by the step that uses it.
    fn receive(&self, id: UploadId, last: bool, piece: &[u8]) {
        let mut state = self.state();
        let fresh = state.uploads.get(&id).is_none_or(|upload| upload.file.is_none());
        if fresh {
            let upload = match self.spool.upload(id) {
                Ok((path, file)) => Upload { path, file: Some(file), fault: None },
                Err(fault) => Upload { path: PathBuf::new(), file: None, fault: Some(fault) },
            };
            state.uploads.insert(id, upload);
        }
        let Some(upload) = state.uploads.get_mut(&id) else { return };
        if upload.fault.is_none()
            && let Some(file) = &mut upload.file
            && let Err(e) = file.write_all(piece)
        {
            upload.fault = Some(Fault::io("receive a file in", &upload.path, &e));
        }
        if last {
            upload.file = None;
        }
    }

    fn start(self: &Arc<Self>, run: &str, mut request: StepRequest) {
        let controls = Controls::default();
        let step = request.step.clone();
        {
            let mut state = self.state();
            if state.running.contains_key(&step) {
                drop(state);
                self.done(step.clone(), failed(Fault::new(format!("step `{step}` runs already"))), &[], None);
                return;
            }
            state.running.insert(step.clone(), controls.clone());
        }
        let (claim, warning) = match self.spool.claim(run, &step) {
            Ok(claim) => (Some(claim), None),
            Err(fault) if fault.msg.contains("still runs") => {
                self.end(&step);
                self.done(step, failed(fault), &[], None);
                return;
            }
            // A full disk must not keep the step from running that cleans it up.
            Err(fault) => {
                (None, Some(format!("a lost connection would lose this step's result: {}", fault.msg)))
            }
        };
        if let Some(timeout) = request.timeout_ms {
            let controls = controls.clone();
            std::thread::spawn(move || controls.end_after(Duration::from_millis(timeout), GRACE));
        }
        let server = Arc::clone(self);
        std::thread::spawn(move || {
            let uploads = server.take_uploads(&request);
            let (mut result, blob) = match &uploads {
                Ok(uploads) if request.background.is_some() => (begun(request.clone(), uploads), Vec::new()),
                Ok(uploads) => {
                    for (option, path) in uploads {
                        request.args.insert(option.clone(), Value::from(path.display().to_string()));
                    }
                    server.run(&mut request, &controls)
                }
                Err(fault) => (failed(fault.clone()), Vec::new()),
            };
            for (_, path) in uploads.iter().flatten() {
                // A module may have moved it into place.
                let _ = std::fs::remove_file(path);
            }
            if let Some(warning) = warning {
                warn(&mut result, warning);
            }
            controls.finish();
            server.done(request.step.clone(), result, &blob, claim);
            server.end(&request.step);
        });
    }

    fn run(self: &Arc<Self>, request: &mut StepRequest, controls: &Controls) -> (StepResult, Vec<u8>) {
        let server = Arc::clone(self);
        let step = request.step.clone();
        let sink = move |stream, bytes: Vec<u8>| server.outbox.output(&step, stream, &bytes);
        let runner = Local::for_step(controls.clone(), request.environment.clone(), Box::new(sink));
        let host = Host {
            check: request.check,
            diff: request.diff,
            environment: &request.environment,
            runner: &runner,
        };
        modules::run(&request.module, std::mem::take(&mut request.args), &host).unwrap_or_else(|| {
            (failed(Fault::new(format!("this agent has no module `{}`", request.module))), Vec::new())
        })
    }

    /// The uploads of a step leave the waiting list with it.
    fn take_uploads(&self, request: &StepRequest) -> Result<Vec<(String, PathBuf)>, Fault> {
        let mut state = self.state();
        let mut taken = Vec::new();
        for reference in &request.uploads {
            match state.uploads.remove(&reference.id) {
                Some(Upload { fault: Some(fault), path, .. }) => {
                    let _ = std::fs::remove_file(path);
                    return Err(fault);
                }
                Some(Upload { file: None, path, .. }) => taken.push((reference.option.clone(), path)),
                _ => {
                    let (id, option) = (reference.id, &reference.option);
                    return Err(Fault::new(format!("upload {id} for `{option}` did not arrive completely")));
                }
            }
        }
        Ok(taken)
    }

    /// Keeps and sends a result.
    fn done(&self, step: StepKey, mut result: StepResult, blob: &[u8], claim: Option<Claim>) {
        if blob.len() > MAX_BLOB as usize {
            result =
                failed(Fault::new(format!("the result's {} bytes do not fit into one message", blob.len())));
        }
        let blob = if blob.len() > MAX_BLOB as usize { &[] } else { blob };
        let frame = |result: StepResult| {
            protocol::encode(&FromAgent::Done { step: step.clone(), result }, blob).or_else(|e| {
                let fault = Fault::new(format!("the result cannot be sent: {e}"));
                protocol::encode(&FromAgent::Done { step: step.clone(), result: failed(fault) }, &[])
            })
        };
        let Ok(mut bytes) = frame(result.clone()) else { return };
        if let Some(Err(fault)) = claim.map(|claim| claim.keep(&bytes)) {
            warn(&mut result, format!("a lost connection would lose this step's result: {}", fault.msg));
            if let Ok(again) = frame(result) {
                bytes = again;
            }
        }
        self.outbox.put(bytes);
    }

    fn end(&self, step: &StepKey) {
        self.state().running.remove(step);
        self.changed.notify_all();
    }

    fn cancel(self: &Arc<Self>, run: &str, step: &StepKey, grace: Duration) {
        let controls = self.state().running.get(step).cloned();
        if let Some(controls) = controls {
            std::thread::spawn(move || controls.end(Ending::Cancelled, grace));
        } else if let Some(pid) = self.spool.runner_of(run, step) {
            // The agent of a lost connection ends its steps on SIGTERM and keeps their results for `Collect`.
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    fn collect(self: &Arc<Self>, run: &str, step: StepKey) {
        {
            let mut state = self.state();
            // `Done` will come by itself.
            if state.running.contains_key(&step) || !state.awaited.insert(step.clone()) {
                return;
            }
        }
        match self.spool.known(run, &step) {
            Known::Running(file) => {
                let (server, run) = (Arc::clone(self), run.to_owned());
                std::thread::spawn(move || {
                    // Let go when the other agent has kept the result, or was killed.
                    let _ = file.lock_shared();
                    server.answer(&run, &step);
                });
            }
            _ => self.answer(run, &step),
        }
    }

    fn answer(&self, run: &str, step: &StepKey) {
        match self.spool.known(run, step) {
            Known::Result(frame) => self.outbox.put(frame),
            _ => self.outbox.say(&FromAgent::Unknown { step: step.clone() }),
        }
        self.state().awaited.remove(step);
    }

    fn wait_until_idle(&self) {
        let idle = self.changed.wait_while(self.state(), |state| !state.running.is_empty());
        drop(idle.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Starts a step that goes on by itself.
fn begun(mut request: StepRequest, uploads: &[(String, PathBuf)]) -> StepResult {
    let Some(background) = request.background.take() else { return StepResult::new() };
    let Some(jobs) = Jobs::of(&request.environment) else {
        return failed(Fault::new("the agent cannot tell where its own folder is"));
    };
    let limit = Duration::from_millis(background.limit_ms);
    match jobs.start(&background.job, limit, request, uploads) {
        Ok(mut result) => {
            result.insert("changed".to_owned(), true.into());
            result
        }
        Err(fault) => failed(fault),
    }
}

fn warn(result: &mut StepResult, warning: String) {
    match result.entry("warnings").or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(warnings) => warnings.push(warning.into()),
        other => *other = Value::Array(vec![warning.into()]),
    }
}

/// SIGHUP means nothing to us (the connection's end shows on stdin); SIGTERM ends the running steps.
fn watch_signals(server: &Arc<Server>) {
    use signal_hook::consts::{SIGHUP, SIGTERM};
    let Ok((mut wake, hangup)) = std::os::unix::net::UnixStream::pair() else { return };
    let registered = hangup.try_clone().and_then(|terminate| {
        // A handler, not "ignore": programs that we start must get the default back.
        signal_hook::flag::register(SIGHUP, Arc::default())?;
        signal_hook::low_level::pipe::register(SIGTERM, terminate)
    });
    if registered.is_err() {
        return;
    }
    let server = Arc::downgrade(server);
    std::thread::spawn(move || {
        // Kept so that the reading end never sees an end of file.
        let _hangup = hangup;
        let mut byte = [0];
        while wake.read_exact(&mut byte).is_ok() {
            let Some(server) = server.upgrade() else { return };
            let running: Vec<Controls> = server.state().running.values().cloned().collect();
            if running.is_empty() {
                server.spool.clean();
                // Nothing runs and someone wants us gone; stdin may never end by itself.
                std::process::exit(0);
            }
            for controls in running {
                controls.end(Ending::Cancelled, GRACE);
            }
        }
    });
}

fn hello(pending: Vec<StepKey>) -> AgentHello {
    let uid = nix::unistd::getuid();
    let account = crate::files::accounts::user_by_id(uid.as_raw());
    let home =
        std::env::var("HOME").ok().or_else(|| account.as_ref().map(|a| a.home.clone())).unwrap_or_default();
    AgentHello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        user: account.map_or_else(|| uid.to_string(), |a| a.name),
        uid: uid.as_raw(),
        home,
        hostname: nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default(),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        pending,
    }
}

/// What is to be written, in order.
struct Outbox {
    queue: Arc<(Mutex<Queue>, Condvar)>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    /// Bytes of the output frames in the queue.
    unsent: usize,
    /// Output bytes left out since the last output frame.
    left_out: usize,
    closed: bool,
    /// All is written.
    written: bool,
    /// Nobody reads any more.
    lost: bool,
}

impl Outbox {
    fn start(mut to: impl Write + Send + 'static) -> Self {
        let queue = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
        let shared = Arc::clone(&queue);
        std::thread::spawn(move || {
            let (lock, wake) = &*shared;
            loop {
                let waiting = lock.lock().unwrap_or_else(PoisonError::into_inner);
                let mut waiting = wake
                    .wait_while(waiting, |q| q.frames.is_empty() && !q.closed)
                    .unwrap_or_else(PoisonError::into_inner);
                let Some(frame) = waiting.frames.pop_front() else {
                    waiting.written = true;
                    wake.notify_all();
                    return;
                };
                drop(waiting);
                let written = to.write_all(&frame).and_then(|()| to.flush());
                let mut queue = lock.lock().unwrap_or_else(PoisonError::into_inner);
                queue.unsent = queue.unsent.saturating_sub(frame.len());
                if written.is_err() {
                    queue.lost = true;
                    queue.frames.clear();
                    queue.unsent = 0;
                    wake.notify_all();
                    return;
                }
            }
        });
        Self { queue }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, frame: Vec<u8>) {
        let mut queue = self.queue();
        if !queue.lost {
            queue.unsent += frame.len();
            queue.frames.push_back(frame);
            self.queue.1.notify_all();
        }
    }

    fn say(&self, message: &FromAgent) {
        if let Ok(frame) = protocol::encode(message, &[]) {
            self.put(frame);
        }
    }

    /// Live output: never waits for the controller. When it reads too slowly, a gap is shown in place of the bytes.
    fn output(&self, step: &StepKey, stream: Stream, bytes: &[u8]) {
        let left_out = {
            let mut queue = self.queue();
            if queue.lost {
                return;
            }
            if queue.unsent + bytes.len() > UNSENT {
                queue.left_out += bytes.len();
                return;
            }
            std::mem::take(&mut queue.left_out)
        };
        let message = FromAgent::Output { step: step.clone(), stream };
        if left_out > 0
            && let Ok(frame) =
                protocol::encode(&message, format!("\n[{left_out} bytes not shown live]\n").as_bytes())
        {
            self.put(frame);
        }
        if let Ok(frame) = protocol::encode(&message, bytes) {
            self.put(frame);
        }
    }

    /// Waits until all is written, nobody reads any more, or the reader has had time enough.
    fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        self.queue.1.notify_all();
        let waited = self.queue.1.wait_timeout_while(queue, GRACE, |q| !q.written && !q.lost);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
