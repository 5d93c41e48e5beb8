//! The connections of a run: one shell a host, one agent a host and user, opened on first use.
//!
//! Owns: when a connection is opened, kept, given up and reopened. Must not: know what a step means.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dcos_play_agent::protocol::{
    self, AGENT_READY, FromAgent, NEED_AGENT, PROTOCOL, StepKey, StepRequest, Stream, ToAgent, UploadRef,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::channel::{Answer, Channel, frame};
use super::shell::{Shell, Started};
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
    openings: Semaphore,
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
            openings: Semaphore::new(settings.openings.max(1)),
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
        let _opening = self.openings.acquire().await;
        let open = Arc::new(Shell::open(&target.via, &self.settings.control_directory).await?);
        *shell = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Gives up a shell and its agents: nothing said over it can be trusted to arrive.
    async fn give_up(&self, target: &Target) {
        let taken = Self::slot(&self.shells, &target.via).lock().await.take();
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
                Ok(Channel::new(hello, stdin, stdout))
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
        let deadline = Instant::now() + self.settings.hello;
        let late = |_| {
            Fault::new(
                FaultKind::Lost,
                format!("the host did not start a shell within {}s", self.settings.hello.as_secs()),
            )
        };
        let mut login = self.login(shell, target, line).await?;
        let mut said = String::new();
        loop {
            said.clear();
            let read = timeout_at(deadline, read_line(&mut login.stdout, &mut said)).await.map_err(late)?;
            if read.map_err(lost)? == 0 {
                return Err(login.stderr.why_ended(target).await);
            }
            // A banner may stand on the same line when it has no line end of its own.
            if said.trim_end().ends_with(AGENT_READY) {
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
        let mut login = self.login(shell, target, &line).await?;
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

    /// Starts a line as the login user or, through sudo, as another; a `sudo` that neither asks nor starts is given up.
    async fn login(&self, shell: &Shell, target: &Target, line: &str) -> Result<Login, Fault> {
        timeout(self.settings.hello, self.log_in(shell, target, line)).await.unwrap_or_else(|_| {
            let seconds = self.settings.hello.as_secs();
            Err(match &target.r#become {
                Some(escalation) => Fault::new(
                    FaultKind::Become,
                    format!(
                        "sudo to `{}` neither asked for a password nor started a shell within {seconds}s",
                        escalation.user
                    ),
                )
                .next("try it on the host: sudo -n true; a slow one needs a longer --timeout"),
                None => Fault::new(
                    FaultKind::TimedOut,
                    format!("no shell had started on the host after {seconds}s"),
                ),
            })
        })
    }

    /// Answers the password prompt.
    async fn log_in(&self, shell: &Shell, target: &Target, line: &str) -> Result<Login, Fault> {
        let Some(escalation) = &target.r#become else {
            return Ok(Login::new(shell.start(line).await?, None));
        };
        let prompt = format!("[dcos-play {}] password:", uuid::Uuid::new_v4().simple());
        let line = bootstrap::escalated(escalation, &prompt, &format!("echo {LOGGED_IN}; {line}"));
        let mut login = Login::new(shell.start(&line).await?, Some(prompt));
        let Some(password) = &escalation.password else { return login.past_sudo(target).await };
        // Either sudo asks on standard error, or the shell behind it has started on standard output.
        tokio::select! {
            biased;
            asked = login.stderr.prompted() => {
                if asked {
                    let answer = format!("{}\n", password.reveal());
                    login.stdin.write_all(answer.as_bytes()).await.map_err(lost)?;
                    login.stdin.flush().await.map_err(lost)?;
                }
            }
            started = login.stdout.fill_buf() => { started.map_err(lost)?; }
        }
        login.past_sudo(target).await
    }
}

/// Printed by the shell behind sudo before the line itself.
const LOGGED_IN: &str = "dcos-play-logged-in";

enum Began {
    Ready((Box<dyn tokio::io::AsyncWrite + Send + Unpin>, Box<dyn AsyncRead + Send + Unpin>)),
    NeedAgent { gzip: bool },
}

/// A started line with its error output collected beside it.
struct Login {
    stdin: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    stdout: Box<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    stderr: Complaints,
    /// Gives the exit status.
    ended: tokio::task::JoinHandle<i32>,
}

impl Login {
    fn new(started: Started, prompt: Option<String>) -> Self {
        // The streams outlive the handle: a local child is reaped by the runtime, a remote one by ssh.
        let ended = tokio::spawn(started.running.wait());
        Self {
            ended,
            stdin: started.stdin,
            stdout: Box::new(BufReader::new(started.stdout)),
            stderr: Complaints::collect(started.stderr, prompt),
        }
    }

    /// Waits until the shell behind sudo speaks; otherwise says why it does not.
    async fn past_sudo(mut self, target: &Target) -> Result<Self, Fault> {
        let mut said = String::new();
        loop {
            said.clear();
            let again = self.stderr.prompted_again();
            tokio::select! {
                biased;
                read = read_line(&mut self.stdout, &mut said) => {
                    if read.map_err(lost)? == 0 {
                        return Err(self.stderr.why_ended(target).await);
                    }
                    if said.contains(LOGGED_IN) {
                        return Ok(self);
                    }
                }
                () = again => {
                    let user = target.r#become.as_ref().map_or("root", |b| b.user.as_str());
                    return Err(Fault::new(FaultKind::Become, format!("sudo to `{user}`: incorrect password"))
                        .next("check ansible_become_password, or give it again with --ask-become-pass"));
                }
            }
        }
    }
}

/// Collects the last few lines of error output, and notices sudo's prompt.
struct Complaints {
    shared: Arc<Said>,
    prompt: Option<String>,
}

#[derive(Default)]
struct Said {
    text: Mutex<String>,
    ended: AtomicBool,
    grew: tokio::sync::Notify,
}

impl Said {
    fn count(&self, what: &str) -> usize {
        self.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner).matches(what).count()
    }

    /// Waits until `what` was said `count` times; false when the stream ends before.
    async fn until(&self, what: &str, count: usize) -> bool {
        loop {
            let grew = self.grew.notified();
            tokio::pin!(grew);
            // Registered before looking, so that nothing said in between is missed.
            grew.as_mut().enable();
            if self.count(what) >= count {
                return true;
            }
            if self.ended.load(Ordering::Acquire) {
                return false;
            }
            grew.await;
        }
    }

    async fn until_end(&self) {
        loop {
            let grew = self.grew.notified();
            tokio::pin!(grew);
            grew.as_mut().enable();
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            grew.await;
        }
    }
}

impl Complaints {
    fn collect(mut from: Box<dyn AsyncRead + Send + Unpin>, prompt: Option<String>) -> Self {
        const KEEP: usize = 1 << 20;
        let shared = Arc::new(Said::default());
        let said = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut piece).await {
                {
                    let mut text = said.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    text.push_str(&String::from_utf8_lossy(&piece[..n]));
                    if text.len() > KEEP {
                        let cut = text.ceil_char_boundary(text.len() - KEEP);
                        text.drain(..cut);
                    }
                }
                said.grew.notify_waiters();
            }
            said.ended.store(true, Ordering::Release);
            said.grew.notify_waiters();
        });
        Self { shared, prompt }
    }

    /// Waits for the password prompt; false when the stream ends before.
    async fn prompted(&self) -> bool {
        match &self.prompt {
            Some(prompt) => self.shared.until(prompt, 1).await,
            None => false,
        }
    }

    /// Ends when the prompt shows up a second time: the first answer was wrong. Otherwise never.
    fn prompted_again(&self) -> impl Future<Output = ()> + use<> {
        let (shared, prompt) = (Arc::clone(&self.shared), self.prompt.clone());
        async move {
            match prompt {
                Some(prompt) if shared.until(&prompt, 2).await => {}
                _ => std::future::pending().await,
            }
        }
    }

    /// The fault for a line that ended before it said what was expected.
    async fn why_ended(&self, target: &Target) -> Fault {
        let said = self.all().await;
        if let Some(escalation) = &target.r#become {
            let user = &escalation.user;
            let missing = escalation.password.is_none()
                && ["a password is required", "a terminal is required", "Authentication required"]
                    .iter()
                    .any(|s| said.contains(s));
            if missing {
                return Fault::new(
                    FaultKind::Become,
                    format!("sudo to `{user}` wants a password, and none was given"),
                )
                .next("set ansible_become_password (in a vault), or use --ask-become-pass");
            }
            if said.contains("incorrect password") || said.contains("Sorry, try again") {
                return Fault::new(FaultKind::Become, format!("sudo to `{user}`: incorrect password"))
                    .next("check ansible_become_password, or give it again with --ask-become-pass");
            }
            if !said.is_empty() {
                return Fault::new(FaultKind::Become, format!("becoming `{user}` failed: {said}"));
            }
        }
        if said.is_empty() {
            Fault::new(FaultKind::Lost, "the connection ended before the host answered")
        } else {
            Fault::new(FaultKind::Agent, said)
        }
    }

    /// All error output as it came, without the prompt, once the stream has ended (or a second has passed).
    async fn bytes(&self) -> Vec<u8> {
        let _ = timeout(Duration::from_secs(1), self.shared.until_end()).await;
        let mut text = self.shared.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(prompt) = &self.prompt {
            text = text.replace(prompt.as_str(), "");
        }
        text.into_bytes()
    }

    /// Everything said, once the stream has ended (or a second has passed).
    async fn all(&self) -> String {
        let _ = timeout(Duration::from_secs(1), self.shared.until_end()).await;
        let mut text = self.shared.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(prompt) = &self.prompt {
            text = text.replace(prompt.as_str(), "");
        }
        text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// Reads a line of bytes as text; a login shell's banner need not be UTF-8.
async fn read_line(from: &mut (impl AsyncBufReadExt + Unpin), into: &mut String) -> std::io::Result<usize> {
    let mut bytes = Vec::new();
    let n = from.read_until(b'\n', &mut bytes).await?;
    into.push_str(&String::from_utf8_lossy(&bytes));
    Ok(n)
}

fn lost(error: std::io::Error) -> Fault {
    Fault::new(FaultKind::Lost, format!("the connection broke: {error}"))
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
            let mut agent = self.agent(target).await?;
            if let Some(earlier) = &call.collect {
                let collect = ToAgent::Collect { step: earlier.clone() };
                if let Answer::Done(reply) = agent.ask(earlier, &collect, Arc::clone(&output)).await {
                    let _ = agent.send(&ToAgent::Acknowledge { step: earlier.clone() }, &[]).await;
                    return Ok(reply);
                }
                if !call.repeat_safe {
                    return Err(Fault::new(
                        FaultKind::Lost,
                        "the earlier run was interrupted in this step, and the host does not know how it ended",
                    )
                    .next("look at the host; then resume with --interrupted repeat, or --interrupted skip if it was done"));
                }
            }
            let mut sent = false;
            let mut give_up_at: Option<Instant> = None;
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
                            FaultKind::Lost,
                            "the connection broke and the agent ended before the step did: how far it came is not known",
                        )
                        .next("look at the host, then run again"));
                    }
                    Answer::Lost => {
                        let until = *give_up_at.get_or_insert_with(|| Instant::now() + self.settings.reconnect);
                        agent = call.seat.without(self.reconnect(target, until)).await?;
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
            let mut login = self.login(&shell, target, command).await?;
            drop(std::mem::replace(&mut login.stdin, Box::new(tokio::io::sink())));
            let mut stdout = Vec::new();
            let Login { stdout: mut from, stderr: complaints, ended, .. } = login;
            let all = async {
                drain(&mut from, Stream::Stdout, &output, &mut stdout).await;
                let rc = ended.await.unwrap_or(255);
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

    fn cancel<'a>(&'a self, target: &'a Target, step: &'a StepKey, grace: Duration) -> BoxFuture<'a, ()> {
        async move {
            let slot = Self::slot(&self.agents, &(target.via.clone(), target.r#become.clone()));
            let agent = slot.lock().await.clone();
            if let Some(agent) = agent {
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                let _ = agent.send(&ToAgent::Cancel { step: step.clone(), grace_ms }, &[]).await;
            }
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
            args: call.args.clone(),
            check: call.check,
            diff: call.diff,
            environment: call.environment.clone(),
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
    async fn reconnect(&self, target: &Target, until: Instant) -> Result<Arc<Channel>, Fault> {
        let mut pause = Duration::from_millis(200);
        let mut fault = Fault::new(FaultKind::Lost, "nobody answered")
            .next("check that the host runs and that sshd listens there");
        loop {
            self.give_up(target).await;
            match timeout_at(until, self.agent(target)).await {
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
