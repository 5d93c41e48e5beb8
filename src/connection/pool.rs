//! The connections of a run: one shell a host, one agent a host and user, opened on first use.
//!
//! Owns: when a connection is opened, kept, given up and reopened. Must not: know what a step means.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dcos_play_agent::protocol::{
    self, AGENT_READY, FromAgent, NEED_AGENT, PROTOCOL, StepKey, StepRequest, StepResult, Stream, ToAgent,
    UploadRef,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::channel::{Answer, Channel, frame};
use super::login::{Login, lost, read_line};
use super::pace::Pace;
use super::shell::Shell;
use super::{
    Become, Call, Content, Fault, FaultKind, OutputSink, RawOutput, Reply, Target, Transport, Via, bootstrap,
};

/// How long the agent's own end of a step may lag behind the step's timeout before the controller stops waiting.
const TIMEOUT_GRACE: Duration = Duration::from_secs(30);

/// What a pool needs to know.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Names the run to agents, so that results of an interrupted run can be collected.
    pub run: String,
    /// Folder for master connection sockets; private to the user, with a short path.
    pub control_directory: PathBuf,
    /// Connections being opened at once.
    pub openings: usize,
    /// How long a shell may take from its start to its first words, sudo included, and the agent to its hello.
    pub hello: Duration,
    /// How long a lost connection may take to come back while a step runs.
    pub reconnect: Duration,
}

/// All connections of a run.
pub struct Pool {
    settings: PoolSettings,
    pace: Pace,
    shells: Slots<Via, Shell>,
    agents: Slots<(Via, Option<Become>), Channel>,
}

/// A connection that may not be open; the lock is held while one caller opens it for all.
type Slot<T> = tokio::sync::Mutex<Option<Arc<T>>>;

type Slots<K, T> = Mutex<HashMap<K, Arc<Slot<T>>>>;

impl Pool {
    /// Starts with nothing open.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        Self {
            pace: Pace::new(settings.openings),
            settings,
            shells: Mutex::default(),
            agents: Mutex::default(),
        }
    }

    fn slot<K: Clone + Eq + std::hash::Hash, T>(
        map: &Mutex<HashMap<K, Arc<Slot<T>>>>,
        key: &K,
    ) -> Arc<Slot<T>> {
        let mut map = map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(slot) = map.get(key) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::new(None));
        map.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    async fn shell(&self, target: &Target) -> Result<Arc<Shell>, Fault> {
        let slot = Self::slot(&self.shells, &target.via);
        let mut shell = slot.lock().await;
        if let Some(open) = shell.as_ref() {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(Shell::open(&target.via, &self.settings.control_directory, &self.pace).await?);
        *shell = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Gives up a shell and its agents: nothing said over it can be trusted to arrive.
    async fn give_up(&self, target: &Target) {
        let taken = Self::slot(&self.shells, &target.via).lock().await.take();
        self.forget(target, taken).await;
    }

    /// Gives up the shell over which an agent was lost, unless another step has opened a new one already: steps of many
    /// hosts that are delegated to one host lose it together, and must not take the new connection from each other.
    async fn give_up_that_of(&self, target: &Target, broken: &Channel) {
        let taken = {
            let slot = Self::slot(&self.shells, &target.via);
            let mut shell = slot.lock().await;
            if shell.as_ref().is_some_and(|open| !Arc::ptr_eq(open, &broken.shell)) {
                return;
            }
            shell.take()
        };
        self.forget(target, taken).await;
    }

    async fn forget(&self, target: &Target, taken: Option<Arc<Shell>>) {
        if let Some(shell) = taken {
            shell.drop_master().await;
        }
        let slots: Vec<_> = {
            let agents = self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            agents
                .iter()
                .filter(|((via, _), _)| *via == target.via)
                .map(|(_, slot)| Arc::clone(slot))
                .collect()
        };
        for slot in slots {
            if let Ok(mut slot) = slot.try_lock() {
                slot.take();
            }
        }
    }

    async fn agent(&self, target: &Target) -> Result<Arc<Channel>, Fault> {
        let slot = Self::slot(&self.agents, &(target.via.clone(), target.r#become.clone()));
        let mut agent = slot.lock().await;
        if let Some(open) = agent.as_ref().filter(|a| a.is_alive()) {
            return Ok(Arc::clone(open));
        }
        *agent = None;
        let open = match self.open_agent(target).await {
            // A master connection of an earlier run, or from before a reboot, may be dead without knowing it.
            Err(fault) if matches!(fault.kind, FaultKind::Lost) && matches!(target.via, Via::Ssh(_)) => {
                let taken = Self::slot(&self.shells, &target.via).lock().await.take();
                if let Some(shell) = taken {
                    shell.drop_master().await;
                }
                self.open_agent(target).await?
            }
            other => other?,
        };
        let open = Arc::new(open);
        *agent = Some(Arc::clone(&open));
        Ok(open)
    }

    async fn open_agent(&self, target: &Target) -> Result<Channel, Fault> {
        let shell = self.shell(target).await?;
        let agent = dcos_play_embedded_agent::agent();
        let line = bootstrap::start(agent.hash);
        let first = self.begin(&shell, target, &line).await?;
        let began = match first {
            Began::Ready(streams) => streams,
            Began::NeedAgent { gzip } => {
                self.install(&shell, target, gzip).await?;
                match self.begin(&shell, target, &line).await? {
                    Began::Ready(streams) => streams,
                    Began::NeedAgent { .. } => {
                        return Err(Fault::new(
                            FaultKind::Agent,
                            "the agent was installed but the host does not find it",
                        ));
                    }
                }
            }
        };
        let (mut stdin, mut stdout) = began;
        let hello = ToAgent::Hello { protocol: PROTOCOL, run: self.settings.run.clone() };
        let bytes =
            protocol::encode(&hello, &[]).map_err(|e| Fault::new(FaultKind::Controller, e.to_string()))?;
        stdin.write_all(&bytes).await.map_err(lost)?;
        stdin.flush().await.map_err(lost)?;
        match timeout(self.settings.hello, frame(&mut stdout)).await {
            Ok(Some((FromAgent::Hello(hello), _))) if hello.protocol == PROTOCOL => {
                Ok(Channel::new(hello, shell, stdin, stdout))
            }
            Ok(Some((FromAgent::Hello(hello), _))) => Err(Fault::new(
                FaultKind::Agent,
                format!("the agent speaks protocol {}, this program {PROTOCOL}", hello.protocol),
            )),
            Ok(Some((FromAgent::Fault { message }, _))) => Err(Fault::new(FaultKind::Agent, message)),
            Ok(_) => Err(Fault::new(FaultKind::Lost, "the agent ended before it said hello")),
            Err(_) => Err(Fault::new(
                FaultKind::TimedOut,
                format!("the agent did not say hello within {}s", self.settings.hello.as_secs()),
            )),
        }
    }

    /// Starts a line as the target's user and reads up to the agent's first words.
    async fn begin(&self, shell: &Shell, target: &Target, line: &str) -> Result<Began, Fault> {
        // A login has a deadline of its own, which knows more about what hangs.
        let mut login = Login::start(shell, target, line, self.settings.hello).await?;
        let deadline = Instant::now() + self.settings.hello;
        let late = |_| {
            Fault::new(
                FaultKind::Lost,
                format!("the host did not start a shell within {}s", self.settings.hello.as_secs()),
            )
        };
        let mut said = String::new();
        loop {
            said.clear();
            let read = timeout_at(deadline, read_line(&mut login.stdout, &mut said)).await.map_err(late)?;
            if read.map_err(lost)? == 0 {
                return Err(login.stderr.why_ended(target).await);
            }
            // A banner may stand on the same line when it has no line end of its own.
            if said.trim_end().ends_with(AGENT_READY) {
                login.running.goes_on();
                return Ok(Began::Ready((login.stdin, login.stdout)));
            }
            if let Some((_, how)) = said.split_once(NEED_AGENT) {
                return Ok(Began::NeedAgent { gzip: how.trim() == bootstrap::GZIP });
            }
        }
    }

    async fn install(&self, shell: &Shell, target: &Target, gzip: bool) -> Result<(), Fault> {
        let agent = dcos_play_embedded_agent::agent();
        let line = bootstrap::install(agent.hash, agent.size, gzip);
        let mut login = Login::start(shell, target, &line, self.settings.hello).await?;
        let plain;
        let bytes: &[u8] = if gzip {
            agent.gzip
        } else {
            plain = agent.bytes().map_err(|e| {
                Fault::new(FaultKind::Controller, format!("the agent inside this program is damaged: {e}"))
            })?;
            &plain
        };
        let installed = timeout(Duration::from_secs(300), async {
            // A host that cannot take it stops reading; why is said on standard error, read below.
            let sent = async {
                login.stdin.write_all(bytes).await?;
                login.stdin.flush().await
            }
            .await;
            drop(sent);
            // Dropping it is what ends a local child's input: shutting a pipe down does nothing.
            drop(std::mem::replace(&mut login.stdin, Box::new(tokio::io::sink())));
            let mut said = String::new();
            let _ = login.stdout.read_to_string(&mut said).await;
            said
        })
        .await;
        match installed {
            Ok(said) if said.contains(bootstrap::INSTALLED) => Ok(()),
            Ok(_) => {
                let fault = login.stderr.why_ended(target).await;
                if fault.kind == FaultKind::Become {
                    return Err(fault);
                }
                let what = format!("the agent could not be put on the host: {}", fault.what);
                let full = what.contains("No space left");
                let fault = Fault::new(FaultKind::Agent, what);
                Err(if full { fault.next("free some space on the host, then run again") } else { fault })
            }
            Err(_) => Err(Fault::new(FaultKind::TimedOut, "sending the agent took over five minutes")),
        }
    }
}

/// Whether a result only says that the user's second Ctrl-C ended the step.
fn was_cancelled(result: &StepResult) -> bool {
    let is = |name: &str| result.get(name) == Some(&true.into());
    let said = result.get("msg").and_then(serde_json::Value::as_str).unwrap_or_default();
    is("failed") && (is("cancelled") || said.starts_with("the step was cancelled"))
}

enum Began {
    Ready((Box<dyn tokio::io::AsyncWrite + Send + Unpin>, Box<dyn AsyncRead + Send + Unpin>)),
    NeedAgent { gzip: bool },
}

impl Transport for Pool {
    fn call<'a>(
        &'a self,
        target: &'a Target,
        call: Call,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<Reply, Fault>> {
        async move {
            let backstop = call.timeout.map(|t| t + TIMEOUT_GRACE);
            let mut agent = call.seat.connecting(self.agent(target)).await?;
            if let Some(earlier) = &call.collect {
                let collect = ToAgent::Collect { step: earlier.clone() };
                let answer = agent.ask(earlier, &collect, Arc::clone(&output)).await;
                // That it was cancelled is no result: it is to be done.
                let cancelled = matches!(&answer, Answer::Done(reply) if was_cancelled(&reply.result));
                if cancelled && !call.repeat_safe {
                    // The agent keeps it, so that the next run is told the same.
                    return Err(Fault::new(
                        FaultKind::Undecided,
                        "the earlier run was stopped in this step, and the host ended it before it was done",
                    )
                    .next("look at the host; then resume with --interrupted repeat, or --interrupted skip if it was done"));
                }
                if let Answer::Done(reply) = answer {
                    let _ = agent.send(&ToAgent::Acknowledge { step: earlier.clone() }, &[]).await;
                    if !cancelled {
                        return Ok(reply);
                    }
                } else if !call.repeat_safe {
                    return Err(Fault::new(
                        FaultKind::Undecided,
                        "the earlier run was interrupted in this step, and the host does not know how it ended",
                    )
                    .next("look at the host; then resume with --interrupted repeat, or --interrupted skip if it was done"));
                }
            }
            let mut sent = false;
            let mut give_up_at: Option<Instant> = None;
            let mut back_at: Option<Instant> = None;
            loop {
                let answer = if sent {
                    let collect = ToAgent::Collect { step: call.step.clone() };
                    agent.ask(&call.step, &collect, Arc::clone(&output)).await
                } else {
                    match self.send_step(&agent, &call, Arc::clone(&output), backstop).await? {
                        Some(answer) => {
                            sent = true;
                            answer
                        }
                        None => Answer::Lost,
                    }
                };
                match answer {
                    Answer::Done(reply) => {
                        // The result is in the controller's hands; the agent need not keep it for a reconnect.
                        let _ = agent.send(&ToAgent::Acknowledge { step: call.step.clone() }, &[]).await;
                        return Ok(reply);
                    }
                    Answer::Unknown if call.repeat_safe => sent = false,
                    Answer::Unknown => {
                        return Err(Fault::new(
                            FaultKind::LostInStep,
                            "the connection broke and the agent ended before the step did: how far it came is not known",
                        )
                        .next("look at the host, then run again"));
                    }
                    Answer::Lost => {
                        // A connection that held for a while was back: this is another loss, with time of its own.
                        if back_at.is_some_and(|at| at.elapsed() > self.settings.reconnect) {
                            give_up_at = None;
                        }
                        let until = *give_up_at.get_or_insert_with(|| Instant::now() + self.settings.reconnect);
                        let back = call.seat.without(self.reconnect(target, &agent, until)).await;
                        agent = back.map_err(|fault| match sent {
                            true => Fault { kind: FaultKind::LostInStep, ..fault },
                            false => fault,
                        })?;
                        back_at = Some(Instant::now());
                    }
                }
            }
        }
        .boxed()
    }

    fn raw<'a>(
        &'a self,
        target: &'a Target,
        command: &'a str,
        limit: Option<Duration>,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<RawOutput, Fault>> {
        async move {
            let shell = self.shell(target).await?;
            let mut login = Login::start(&shell, target, command, self.settings.hello).await?;
            drop(std::mem::replace(&mut login.stdin, Box::new(tokio::io::sink())));
            let mut stdout = Vec::new();
            let Login { stdout: mut from, stderr: complaints, running, .. } = login;
            let all = async {
                drain(&mut from, Stream::Stdout, &output, &mut stdout).await;
                let rc = running.ended().await;
                (rc, complaints.bytes().await)
            };
            let (rc, stderr) = match limit {
                None => all.await,
                Some(limit) => timeout(limit, all).await.map_err(|_| {
                    Fault::new(FaultKind::TimedOut, format!("the command took over {}s", limit.as_secs()))
                })?,
            };
            output(Stream::Stderr, &stderr);
            Ok(RawOutput { rc, stdout, stderr })
        }
        .boxed()
    }

    fn cancel<'a>(&'a self, target: &'a Target, step: &'a StepKey, grace: Duration) -> BoxFuture<'a, bool> {
        async move {
            let slot = Self::slot(&self.agents, &(target.via.clone(), target.r#become.clone()));
            // Whoever holds the slot is opening the agent, and may be stuck in that.
            let agent = slot.try_lock().ok().and_then(|agent| agent.clone()).filter(|a| a.is_alive());
            let Some(agent) = agent else { return false };
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            let message = ToAgent::Cancel { step: step.clone(), grace_ms };
            // A silent host reads nothing: what was sent before may still fill the pipe.
            matches!(timeout(grace, agent.send(&message, &[])).await, Ok(Ok(())))
        }
        .boxed()
    }

    fn reset<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()> {
        self.give_up(target).boxed()
    }

    fn boot_id<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<String, Fault>> {
        async move { Ok(self.agent(target).await?.hello.boot_id.clone()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            let slots: Vec<_> = {
                let agents = self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                agents.values().cloned().collect()
            };
            for slot in slots {
                if let Ok(mut slot) = slot.try_lock()
                    && let Some(agent) = slot.take()
                {
                    let _ = timeout(Duration::from_secs(1), agent.send(&ToAgent::Bye, &[])).await;
                }
            }
        }
        .boxed()
    }
}

impl Pool {
    /// Sends a step and waits; `None` when the connection ended before the agent can have read it.
    async fn send_step(
        &self,
        agent: &Channel,
        call: &Call,
        output: OutputSink,
        backstop: Option<Duration>,
    ) -> Result<Option<Answer>, Fault> {
        let mut uploads = Vec::with_capacity(call.uploads.len());
        for (option, content) in &call.uploads {
            match agent.upload(content).await {
                Ok(id) => uploads.push(UploadRef { id, option: option.clone() }),
                Err(error) => match content {
                    Content::File(path) if agent.is_alive() => {
                        return Err(Fault::new(
                            FaultKind::Controller,
                            format!("{} could not be read: {error}", path.display()),
                        ));
                    }
                    _ => return Ok(None),
                },
            }
        }
        let request = StepRequest {
            step: call.step.clone(),
            module: call.module.to_string(),
            args: (*call.args).clone(),
            check: call.check,
            diff: call.diff,
            environment: call.environment.to_vec(),
            timeout_ms: call.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            uploads,
            no_log: call.no_log,
            background: call.background.clone(),
        };
        let message = ToAgent::Step(Box::new(request));
        let asked = agent.ask(&call.step, &message, output);
        let answer = match backstop {
            None => asked.await,
            Some(limit) => timeout(limit, asked).await.map_err(|_| {
                Fault::new(
                    FaultKind::TimedOut,
                    format!("the agent did not end the step {}s after its timeout", TIMEOUT_GRACE.as_secs()),
                )
            })?,
        };
        Ok(Some(answer))
    }

    /// Opens the connection again until it works or the deadline passes.
    async fn reconnect(
        &self,
        target: &Target,
        broken: &Channel,
        until: Instant,
    ) -> Result<Arc<Channel>, Fault> {
        let mut pause = Duration::from_millis(200);
        let mut fault = Fault::new(FaultKind::Lost, "nobody answered")
            .next("check that the host runs and that sshd listens there");
        // The giving up has the deadline too: another step may be opening the same connection, and get no answer.
        let mut attempt = timeout_at(until, async {
            self.give_up_that_of(target, broken).await;
            self.agent(target).await
        })
        .await;
        loop {
            match attempt {
                Ok(Ok(agent)) => return Ok(agent),
                Ok(Err(why)) => fault = why,
                // The deadline ended this attempt: the one before knows more.
                Err(_) => {}
            }
            if Instant::now() + pause >= until {
                return Err(Fault {
                    kind: FaultKind::Lost,
                    what: format!(
                        "the connection broke while a step ran and did not come back: {}",
                        fault.what
                    ),
                    next: fault.next,
                });
            }
            // Pacing, not waiting for a race: the condition is the connection attempt above.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
            attempt = timeout_at(until, async {
                self.give_up(target).await;
                self.agent(target).await
            })
            .await;
        }
    }
}

async fn drain(from: &mut (impl AsyncRead + Unpin), stream: Stream, sink: &OutputSink, into: &mut Vec<u8>) {
    let mut piece = vec![0; 32 << 10];
    while let Ok(n @ 1..) = from.read(&mut piece).await {
        sink(stream, &piece[..n]);
        into.extend_from_slice(&piece[..n]);
    }
}
