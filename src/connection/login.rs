//! Starting a line on a host as the login user or, through sudo or doas, as another.
//!
//! Owns: the password prompt, what the host complains about, ending a line that nobody waits for. Must not: know the agent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::{Instant, timeout, timeout_at};

use super::shell::{Running, Shell, Started};
use super::{Become, BecomeMethod, Fault, FaultKind, Target, bootstrap};

/// Printed by the shell behind sudo before the line itself.
const LOGGED_IN: &str = "dcos-play-logged-in";

/// A started line with its error output collected beside it.
pub(super) struct Login {
    pub(super) stdin: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    pub(super) stdout: Box<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    pub(super) stderr: Complaints,
    pub(super) running: Watched,
}

impl Login {
    /// Starts a line as the login user or, through sudo, as another; what neither asks nor starts within the limit is
    /// given up.
    pub(super) async fn start(
        shell: &Shell,
        target: &Target,
        line: &str,
        limit: Duration,
    ) -> Result<Self, Fault> {
        match Self::start_with(shell, target, line, limit, false).await {
            // `requiretty` in sudoers, the rule on hosts of RHEL 6 and 7: only then is it worth a terminal.
            Err(fault) if fault.kind == FaultKind::Become && fault.what.contains("must have a tty") => {
                Self::start_with(shell, target, line, limit, true).await
            }
            other => other,
        }
    }

    async fn start_with(
        shell: &Shell,
        target: &Target,
        line: &str,
        limit: Duration,
        terminal: bool,
    ) -> Result<Self, Fault> {
        let deadline = Instant::now() + limit;
        let within = format!("within {}s", limit.as_secs());
        let (whole, prompt) = match &target.r#become {
            None => (line.to_owned(), None),
            Some(escalation) => {
                let prompt = format!("[dcos-play {}] password:", uuid::Uuid::new_v4().simple());
                let line = format!("echo {LOGGED_IN}; {line}");
                let line = bootstrap::escalated(escalation, &prompt, &line);
                (if terminal { bootstrap::with_terminal(&line) } else { line }, Some(prompt))
            }
        };
        let started = timeout_at(deadline, shell.start(&whole)).await.map_err(|_| {
            Fault::new(FaultKind::Lost, format!("the host did not take a command {within}"))
        })??;
        let login = Self::new(started, prompt);
        let Some(escalation) = &target.r#become else { return Ok(login) };
        timeout_at(deadline, login.escalate(escalation, target)).await.unwrap_or_else(|_| {
            let (program, user) = (escalation.program(), &escalation.user);
            let what =
                format!("{program} to `{user}` neither asked for a password nor started a shell {within}");
            let next = match escalation.method {
                BecomeMethod::Sudo => "try it on the host: sudo -n true; a slow one needs a longer --timeout",
                BecomeMethod::Doas => "try it on the host: doas -n true; a slow one needs a longer --timeout",
            };
            Err(Fault::new(FaultKind::Become, what).next(next))
        })
    }

    /// Answers the password prompt, and waits until the shell behind it speaks.
    async fn escalate(mut self, escalation: &Become, target: &Target) -> Result<Self, Fault> {
        if let Some(password) = &escalation.password {
            // Either sudo asks on standard error, or the shell behind it has started on standard output.
            tokio::select! {
                biased;
                asked = self.stderr.prompted() => {
                    if asked {
                        let answer = format!("{}\n", password.reveal());
                        self.stdin.write_all(answer.as_bytes()).await.map_err(lost)?;
                        self.stdin.flush().await.map_err(lost)?;
                    }
                }
                started = self.stdout.fill_buf() => { started.map_err(lost)?; }
            }
        }
        self.past_sudo(target).await
    }

    fn new(started: Started, prompt: Option<String>) -> Self {
        Self {
            running: Watched::new(started.running),
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

/// A started line that is ended when nobody waits for it any more, such as a `sudo` that hangs.
pub(super) struct Watched {
    /// The group of a line that runs on this machine; a remote one ends with its streams.
    group: Option<Pid>,
    /// Gives the exit status; none when the line may go on by itself.
    waiting: Option<tokio::task::JoinHandle<i32>>,
}

impl Watched {
    fn new(running: Running) -> Self {
        let group = match &running {
            Running::Local(child) => child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw),
            Running::Remote(_) => None,
        };
        Self { group, waiting: Some(tokio::spawn(running.wait())) }
    }

    /// Lets the line go on: its streams are all that is needed of it, and the task reaps it.
    pub(super) fn goes_on(&mut self) {
        self.waiting = None;
    }

    /// The exit status; 255 when it cannot be known.
    pub(super) async fn ended(mut self) -> i32 {
        match &mut self.waiting {
            Some(waiting) => waiting.await.unwrap_or(255),
            None => 255,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(waiting) = self.waiting.take().filter(|w| !w.is_finished()) else { return };
        match self.group {
            // The task goes on, to reap what is ended here.
            Some(group) => {
                let _ = killpg(group, Signal::SIGKILL);
            }
            None => waiting.abort(),
        }
    }
}

/// Collects the last few lines of error output, and notices sudo's prompt.
pub(super) struct Complaints {
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
    pub(super) async fn why_ended(&self, target: &Target) -> Fault {
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
    pub(super) async fn bytes(&self) -> Vec<u8> {
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
pub(super) async fn read_line(
    from: &mut (impl AsyncBufReadExt + Unpin),
    into: &mut String,
) -> std::io::Result<usize> {
    let mut bytes = Vec::new();
    let n = from.read_until(b'\n', &mut bytes).await?;
    into.push_str(&String::from_utf8_lossy(&bytes));
    Ok(n)
}

pub(super) fn lost(error: std::io::Error) -> Fault {
    Fault::new(FaultKind::Lost, format!("the connection broke: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Via;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A target whose sudo is this script.
    fn target(folder: &std::path::Path, script: &str, password: Option<&str>) -> Target {
        let program = folder.join("sudo");
        std::fs::write(&program, format!("#!/bin/sh\necho $$ >{}/pid\n{script}", folder.display()))
            .expect("writes");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let escalation = Become {
            method: BecomeMethod::Sudo,
            user: "daemon".into(),
            password: password.map(crate::vars::secrets::Secret::new),
            executable: Some(program.display().to_string()),
            flags: vec![],
        };
        Target { host: "h1".into(), via: Via::Local, r#become: Some(escalation) }
    }

    /// Waits until a process is gone or only waits to be reaped.
    fn ended(folder: &std::path::Path) -> bool {
        let pid = std::fs::read_to_string(folder.join("pid")).expect("it has begun");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return true;
            }
            if std::time::Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[tokio::test]
    async fn a_sudo_that_hangs_is_given_up_and_ended() {
        // One reads and never asks; one asks and then does nothing; one takes no input at all.
        for (script, password) in [
            ("read -r word", Some("secret")),
            ("printf %s \"$4\" >&2; read -r word; exec sleep 1000", Some("secret")),
            ("exec sleep 1000", None),
        ] {
            let folder = tempfile::tempdir().expect("temp dir");
            let target = target(folder.path(), script, password);
            let login =
                tokio::spawn(async move { Login::start(&Shell::Local, &target, "true", LIMIT).await });
            // The clock runs only once the script does.
            let begun = folder.path().join("pid");
            while std::fs::read_to_string(&begun).map_or(true, |pid| pid.is_empty()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::pause();
            tokio::time::advance(LIMIT).await;
            let fault = login.await.expect("ends").err().expect("no shell");
            tokio::time::resume();
            assert_eq!(fault.kind, FaultKind::Become, "{script}");
            assert_eq!(
                fault.what,
                "sudo to `daemon` neither asked for a password nor started a shell within 30s"
            );
            assert!(ended(folder.path()), "{script}");
        }
    }
}
