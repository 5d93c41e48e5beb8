//! Starts commands for modules: captures and streams their output, ends them on cancel and timeout.
//!
//! Owns: process groups, pipes and the reasons a step is ended early. Must not: know modules or the wire format.
//! Called by: modules through [`Runner`], the server through [`Controls`].

use std::collections::BTreeSet;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::modules::{Command, Fault, Finished, Runner, plain};
use crate::protocol::Stream;

/// Output is sent on when this much has come...
const CHUNK: usize = 64 << 10;
/// ...or when its oldest byte is this old, so that a chatty command does not make a message per line.
const BATCH: Duration = Duration::from_millis(50);
/// Of each stream no more than this is kept for the result; a result has to fit into one message.
const KEPT: usize = 48 << 20;
/// How often the end of processes that are not our children is looked for while a step is being ended.
const LOOK: Duration = Duration::from_millis(20);
/// A write of this size to a pipe that polls writable cannot block.
const PIPE_BUF: usize = 4096;

/// Why a step is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Cancelled,
    /// The step ran longer than its timeout.
    TimedOut {
        after: Duration,
    },
}

impl Ending {
    fn fault(self) -> Fault {
        match self {
            Self::Cancelled => Fault::new("the step was cancelled").with("cancelled", true),
            Self::TimedOut { after } => {
                let seconds = after.as_secs_f64();
                let seconds = if after.subsec_nanos() == 0 {
                    after.as_secs().to_string()
                } else {
                    format!("{seconds:.1}")
                };
                Fault::new(format!("Timed out after {seconds} second(s)."))
                    .with("timedout", serde_json::json!({ "period": after.as_secs_f64() }))
            }
        }
    }
}

#[derive(Default)]
struct State {
    ending: Option<Ending>,
    /// The ending is complete: nothing that the step ran lives any more.
    killed: bool,
    finished: bool,
    /// Leaders of the process groups that run now.
    groups: BTreeSet<i32>,
}

/// The handle by which a running step is ended from outside.
#[derive(Clone, Default)]
pub struct Controls(Arc<(Mutex<State>, Condvar)>);

impl Controls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the step: SIGTERM to everything it runs, SIGKILL to what is left after `grace`. Returns when all that ran
    /// has ended or was killed.
    pub fn end(&self, why: Ending, grace: Duration) {
        let deadline = Instant::now() + grace;
        let tree = {
            let mut state = self.state();
            if state.ending.is_some() {
                return;
            }
            state.ending = Some(why);
            let tree = tree(&state.groups);
            signal_all(&state.groups, &tree, Signal::SIGTERM);
            tree
        };
        // Nothing wakes us when someone else's child ends, so it is looked at until the deadline.
        while tree.iter().any(Process::lives) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let mut state = self.state();
        signal_all(&state.groups, &tree, Signal::SIGKILL);
        state.killed = true;
        self.0.1.notify_all();
    }

    /// Waits for the step's end and ends it itself when that takes longer than `after`.
    pub fn end_after(&self, after: Duration, grace: Duration) {
        let (state, _) = self
            .0
            .1
            .wait_timeout_while(self.state(), after, |s| !s.finished)
            .unwrap_or_else(PoisonError::into_inner);
        let finished = state.finished;
        drop(state);
        if !finished {
            self.end(Ending::TimedOut { after }, grace);
        }
    }

    /// Tells everyone who waits that the step has its result.
    pub fn finish(&self) {
        self.state().finished = true;
        self.0.1.notify_all();
    }

    /// Why the step is being ended, if it is.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending
    }

    fn wait_until_killed(&self) {
        drop(self.0.1.wait_while(self.state(), |s| !s.killed).unwrap_or_else(PoisonError::into_inner));
    }

    /// Registers a child unless the step is being ended already.
    fn enter(&self, child: &mut Child) -> Result<i32, Fault> {
        let pid = child.id().cast_signed();
        let mut state = self.state();
        if let Some(ending) = state.ending {
            signal_all(&BTreeSet::from([pid]), &[], Signal::SIGKILL);
            drop(state);
            // Reaped at once: it has just been killed.
            let _ = child.wait();
            return Err(ending.fault());
        }
        state.groups.insert(pid);
        Ok(pid)
    }

    /// Waits for the child's end. It leaves the list before it is reaped, so that its number can't be someone
    /// else's when a signal is sent.
    fn leave(&self, child: &mut Child, pid: i32) -> std::io::Result<std::process::ExitStatus> {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        while let Err(nix::errno::Errno::EINTR) =
            waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
        {}
        self.state().groups.remove(&pid);
        child.wait()
    }
}

/// A process that can't be mistaken for a later one with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    start: String,
}

impl Process {
    /// Reads `/proc/<pid>/stat`; `None` when it has ended or waits to be reaped.
    fn read(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold blanks and parentheses: the fields start after the last one.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let (state, parent, start) = (*fields.first()?, fields.get(1)?.parse().ok()?, *fields.get(19)?);
        (state != "Z" && state != "X").then(|| Self { pid, parent, start: start.to_owned() })
    }

    fn lives(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.start == self.start)
    }
}

/// The leaders and all their descendants, also those that made themselves groups of their own.
fn tree(leaders: &BTreeSet<i32>) -> Vec<Process> {
    if leaders.is_empty() {
        return Vec::new();
    }
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<Process> =
        names.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter_map(Process::read).collect();
    let mut found: Vec<Process> = all.iter().filter(|p| leaders.contains(&p.pid)).cloned().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|p| p.pid) {
        next += 1;
        for child in all.iter().filter(|p| p.parent == parent) {
            if !found.contains(child) {
                found.push(child.clone());
            }
        }
    }
    found
}

/// Signals the groups and the remembered processes. One that has ended meanwhile is what we want, not a fault.
fn signal_all(groups: &BTreeSet<i32>, tree: &[Process], signal: Signal) {
    for process in tree.iter().filter(|p| p.lives()) {
        let _ = nix::sys::signal::kill(Pid::from_raw(process.pid), signal);
    }
    for group in groups {
        let _ = nix::sys::signal::killpg(Pid::from_raw(*group), signal);
    }
}

/// Receives output as it comes.
pub type Sink = dyn Fn(Stream, Vec<u8>) + Send + Sync;

/// The [`Runner`] of one step.
pub struct Local {
    controls: Controls,
    environment: Vec<(String, String)>,
    sink: Option<Box<Sink>>,
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Local {
    /// A runner that nobody listens to: for tests and for inspection outside of steps.
    #[must_use]
    pub fn new() -> Self {
        Self { controls: Controls::default(), environment: Vec::new(), sink: None }
    }

    /// The runner of a step. `environment` is added to that of every command.
    #[must_use]
    pub fn for_step(controls: Controls, environment: Vec<(String, String)>, sink: Box<Sink>) -> Self {
        Self { controls, environment, sink: Some(sink) }
    }
}

impl Runner for Local {
    fn run(&self, command: &Command) -> Result<Finished, Fault> {
        let started = Instant::now();
        let (mut child, pid) = {
            let mut child = self.spawn(command)?;
            let pid = self.controls.enter(&mut child)?;
            (child, pid)
        };
        let out = child.stdout.take();
        let err = child.stderr.take();
        let stdin = child.stdin.take();
        let mut output = Output::new(self.sink.as_deref().filter(|_| command.stream));
        let (ended, alarm) =
            std::io::pipe().map_err(|e| Fault::new(format!("cannot make a pipe: {}", plain(&e))))?;
        let status = std::thread::scope(|scope| {
            let controls = &self.controls;
            let waiter = scope.spawn(move || {
                let status = controls.leave(&mut child, pid);
                // Wakes the loop below; what background children still hold open is then no longer waited for.
                drop(alarm);
                status
            });
            output.collect(out, err, stdin.zip(command.stdin.as_deref()), &ended);
            waiter.join()
        });
        output.flush();
        let mut finished = Finished {
            rc: 0,
            stdout: std::mem::take(&mut output.stdout.kept),
            stderr: std::mem::take(&mut output.stderr.kept),
            seconds: started.elapsed().as_secs_f64(),
        };
        match status {
            Ok(Ok(status)) => {
                // Python tells a deadly signal as a negative number.
                finished.rc = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
            }
            Ok(Err(e)) => {
                return Err(Fault::new(format!("cannot wait for `{}`: {}", command.argv[0], plain(&e))));
            }
            Err(_) => return Err(Fault::new("waiting for a command failed inside the agent")),
        }
        if let Some(ending) = self.controls.ending() {
            self.controls.wait_until_killed();
            return Err(ending
                .fault()
                .with("stdout", String::from_utf8_lossy(&finished.stdout))
                .with("stderr", String::from_utf8_lossy(&finished.stderr)));
        }
        Ok(finished)
    }

    fn cancelled(&self) -> bool {
        self.controls.ending().is_some()
    }
}

impl Local {
    fn spawn(&self, command: &Command) -> Result<Child, Fault> {
        if let Some(ending) = self.controls.ending() {
            return Err(ending.fault());
        }
        let Some(program) = command.argv.first() else {
            return Err(Fault::new("no command given").with("rc", 256));
        };
        // std has no safe way to set the umask of a child: a shell sets it and becomes the command.
        let mut process = match command.umask {
            None => {
                let mut process = std::process::Command::new(program);
                process.args(&command.argv[1..]);
                process
            }
            Some(umask) => {
                let mut process = std::process::Command::new("/bin/sh");
                process.args(["-c", "umask \"$1\" && shift && exec \"$@\"", "sh", &format!("{umask:04o}")]);
                process.args(&command.argv);
                process
            }
        };
        process.envs(self.environment.iter().map(|(k, v)| (k, v)));
        process.envs(command.environment.iter().map(|(k, v)| (k, v)));
        if let Some(directory) = &command.directory {
            process.current_dir(directory);
        }
        process.stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        process.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        process.spawn().map_err(|e| {
            let errno = e.raw_os_error().unwrap_or(1);
            let words = plain(&e);
            let words = match words.get(..1) {
                Some(first) => format!("{}{}", first.to_uppercase(), &words[1..]),
                None => words,
            };
            // Playbooks match on these words.
            Fault::new(format!("[Errno {errno}] {words}: '{program}'"))
                .with("rc", errno)
                .with("stdout", "")
                .with("stderr", "")
                .with("cmd", command.argv.join(" "))
        })
    }
}

/// One stream's bytes: what is kept for the result and what is still to be sent.
#[derive(Default)]
struct Captured {
    kept: Vec<u8>,
    pending: Vec<u8>,
    dropped: usize,
}

struct Output<'a> {
    stdout: Captured,
    stderr: Captured,
    sink: Option<&'a Sink>,
    oldest: Option<Instant>,
}

impl<'a> Output<'a> {
    fn new(sink: Option<&'a Sink>) -> Self {
        Self { stdout: Captured::default(), stderr: Captured::default(), sink, oldest: None }
    }

    fn of(&mut self, stream: Stream) -> &mut Captured {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let streaming = self.sink.is_some();
        let captured = self.of(stream);
        let room = KEPT.saturating_sub(captured.kept.len()).min(bytes.len());
        captured.kept.extend_from_slice(&bytes[..room]);
        captured.dropped += bytes.len() - room;
        if streaming {
            captured.pending.extend_from_slice(bytes);
            let full = captured.pending.len() >= CHUNK;
            self.oldest.get_or_insert_with(Instant::now);
            if full {
                self.send();
            }
        }
    }

    fn send(&mut self) {
        self.oldest = None;
        let Some(sink) = self.sink else { return };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.of(stream).pending);
            for chunk in pending.chunks(CHUNK) {
                sink(stream, chunk.to_vec());
            }
        }
    }

    fn flush(&mut self) {
        self.send();
        for captured in [&mut self.stdout, &mut self.stderr] {
            if captured.dropped > 0 {
                let note = format!("\n[{} more bytes are not kept]\n", captured.dropped);
                captured.kept.extend_from_slice(note.as_bytes());
            }
        }
    }

    /// Reads both streams and feeds stdin until the command has ended and what it wrote has been read.
    fn collect(
        &mut self,
        mut out: Option<std::process::ChildStdout>,
        mut err: Option<std::process::ChildStderr>,
        mut input: Option<(ChildStdin, &[u8])>,
        ended: &PipeReader,
    ) {
        let mut buffer = vec![0; CHUNK];
        let mut has_ended = false;
        loop {
            if let Some((_, [])) = input {
                input = None;
            }
            if out.is_none() && err.is_none() && (has_ended || input.is_none()) {
                return;
            }
            // poll(2) ignores nothing here: each entry names a live descriptor, so absent ones are left out.
            let mut names = Vec::with_capacity(4);
            let mut fds = Vec::with_capacity(4);
            if let Some(out) = &out {
                names.push(Source::Out);
                fds.push(PollFd::new(out.as_fd(), PollFlags::POLLIN));
            }
            if let Some(err) = &err {
                names.push(Source::Err);
                fds.push(PollFd::new(err.as_fd(), PollFlags::POLLIN));
            }
            if let Some((stdin, _)) = &input {
                names.push(Source::In);
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
            }
            if !has_ended {
                names.push(Source::Ended);
                fds.push(PollFd::new(ended.as_fd(), PollFlags::POLLIN));
            }
            let timeout = if has_ended {
                PollTimeout::ZERO
            } else {
                self.oldest.map_or(PollTimeout::NONE, |oldest| {
                    let left = BATCH.saturating_sub(oldest.elapsed()).as_millis();
                    u16::try_from(left + 1).map_or(PollTimeout::MAX, PollTimeout::from)
                })
            };
            let ready = match nix::poll::poll(&mut fds, timeout) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            };
            if self.oldest.is_some_and(|oldest| oldest.elapsed() >= BATCH) {
                self.send();
            }
            if ready == 0 {
                if has_ended {
                    return;
                }
                continue;
            }
            let events: Vec<Source> = names
                .into_iter()
                .zip(&fds)
                .filter(|(_, fd)| fd.revents().is_some_and(|r| !r.is_empty()))
                .map(|(name, _)| name)
                .collect();
            drop(fds);
            for source in events {
                match source {
                    Source::Out => self.pull(Stream::Stdout, &mut out, &mut buffer),
                    Source::Err => self.pull(Stream::Stderr, &mut err, &mut buffer),
                    Source::In => {
                        if let Some((stdin, rest)) = &mut input {
                            let piece = &rest[..rest.len().min(PIPE_BUF)];
                            match stdin.write(piece) {
                                Ok(written) => *rest = &rest[written..],
                                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                                // The command does not want the rest.
                                Err(_) => input = None,
                            }
                        }
                    }
                    Source::Ended => has_ended = true,
                }
            }
        }
    }

    fn pull(&mut self, stream: Stream, from: &mut Option<impl Read>, buffer: &mut [u8]) {
        let Some(reader) = from else { return };
        match reader.read(buffer) {
            Ok(0) => *from = None,
            Ok(n) => self.add(stream, &buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => *from = None,
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    Out,
    Err,
    In,
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str]) -> Command {
        Command { argv: argv.iter().map(|a| (*a).to_owned()).collect(), ..Command::default() }
    }

    #[test]
    fn output_input_status_and_umask_arrive() {
        let runner = Local::new();
        let big = vec![b'x'; 300_000];
        let done = runner.run(&Command { stdin: Some(big.clone()), ..command(&["cat"]) }).expect("runs");
        assert_eq!((done.rc, done.stdout), (0, big));
        let done = runner
            .run(&Command { umask: Some(0o027), ..command(&["sh", "-c", "umask; echo e >&2; exit 3"]) })
            .expect("runs");
        assert_eq!(
            (done.rc, done.stdout.as_slice(), done.stderr.as_slice()),
            (3, &b"0027\n"[..], &b"e\n"[..])
        );
        let done = runner.run(&command(&["sh", "-c", "kill -9 $$"])).expect("runs");
        assert_eq!(done.rc, -9);
    }

    #[test]
    fn a_missing_program_is_told_in_ansibles_words() {
        let fault = Local::new().run(&command(&["no-such-program"])).expect_err("fails");
        assert_eq!(fault.msg, "[Errno 2] No such file or directory: 'no-such-program'");
        assert_eq!(fault.values["rc"], 2);
    }

    #[test]
    fn a_daemon_that_keeps_the_pipes_open_is_not_waited_for() {
        let started = Instant::now();
        let done =
            Local::new().run(&command(&["sh", "-c", "echo started; sleep 30 & echo $!"])).expect("runs");
        assert!(started.elapsed() < Duration::from_secs(10));
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let pid = text.lines().nth(1).and_then(|l| l.parse::<i32>().ok()).expect("a pid");
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the daemon lives on");
    }

    #[test]
    fn cancelling_ends_the_whole_tree_even_in_other_groups() {
        let runner = Local::new();
        let controls = runner.controls.clone();
        let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo ready; sleep 60; sleep 60'; sleep 60";
        let (told, ready) = std::sync::mpsc::channel();
        let runner = Local::for_step(
            controls.clone(),
            vec![],
            Box::new(move |_, _| {
                let _ = told.send(());
            }),
        );
        let started = Instant::now();
        let run = std::thread::spawn(move || {
            runner.run(&Command { stream: true, ..command(&["sh", "-c", script]) })
        });
        ready.recv().expect("output comes live");
        controls.end(Ending::Cancelled, Duration::from_millis(50));
        let fault = run.join().expect("no panic").expect_err("cancelled");
        assert_eq!(
            (fault.msg.as_str(), &fault.values["stdout"]),
            ("the step was cancelled", &"ready\n".into())
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_step_over_its_time_is_ended() {
        let runner = Local::new();
        let controls = runner.controls.clone();
        let timer = std::thread::spawn(move || {
            controls.end_after(Duration::from_millis(50), Duration::from_millis(100))
        });
        let fault = runner.run(&command(&["sleep", "60"])).expect_err("times out");
        assert_eq!(fault.msg, "Timed out after 0.1 second(s).");
        runner.controls.finish();
        timer.join().expect("no panic");
        assert!(runner.run(&command(&["true"])).is_err(), "nothing starts after the end");
    }
}
