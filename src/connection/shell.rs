//! Starting one command line on a host: through an OpenSSH master connection, or on this machine.
//!
//! Owns: the master connection's life, ssh's options, reading ssh's complaints. Must not: know the agent.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::pace::{Pace, doors};
use super::{Fault, FaultKind, SshTarget, Via};
use crate::vars::secrets::Secret;

/// How often ssh asks a silent server whether it lives, in seconds; three misses end the connection.
const KEEPALIVE_SECONDS: u32 = 5;

/// How long an unused master connection stays for the next run, as Ansible's `ControlPersist` does.
const PERSIST: &str = "60s";

/// How long a master connection on this machine may take to say that it lives.
const KEPT_DEADLINE: Duration = Duration::from_secs(5);

/// Set for the `ssh` child that may need a password; see [`answer_askpass`].
const ASKPASS_VARIABLE: &str = "DCOS_PLAY_ASKPASS_ANSWER";

/// Pauses before a connection that the server turned away is tried again.
const TURNED_AWAY: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1000),
    Duration::from_millis(1000),
];

/// A started command with its three streams.
pub(super) struct Started {
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    pub running: Running,
}

/// The handle to wait on, or to give up.
pub(super) enum Running {
    Local(tokio::process::Child),
    Remote(openssh::Child<std::sync::Arc<openssh::Session>>),
}

impl Running {
    /// Waits for the exit status; 255 when the connection ended first.
    pub(super) async fn wait(self) -> i32 {
        let status = match self {
            Self::Local(mut child) => child.wait().await.ok(),
            Self::Remote(child) => child.wait().await.ok(),
        };
        use std::os::unix::process::ExitStatusExt;
        status.map_or(255, |s| s.code().or_else(|| s.signal().map(|n| 128 + n)).unwrap_or(255))
    }
}

/// A way to start commands on one host as the login user.
#[derive(Debug)]
pub(super) enum Shell {
    Local,
    Ssh { session: std::sync::Arc<openssh::Session>, control: PathBuf, executable: String },
}

impl Shell {
    /// Opens the way, or takes the master connection that an earlier run left.
    pub(super) async fn open(via: &Via, control_directory: &Path, pace: &Pace) -> Result<Self, Fault> {
        let Via::Ssh(ssh) = via else { return Ok(Self::Local) };
        let control = control_directory.join(control_name(ssh));
        let executable = ssh.executable.clone();
        let kept = openssh::Session::resume_mux(control.clone().into_boxed_path(), None);
        // A master that hangs (it was stopped, or swapped out for good) is as good as none.
        if matches!(timeout(KEPT_DEADLINE, kept.check()).await, Ok(Ok(()))) {
            return Ok(Self::Ssh { session: kept.into(), control, executable });
        }
        // Nobody listens: what lies there is the socket of a dead master.
        let _ = fs_err::remove_file(&control);
        let doors = doors(ssh, &login_options(ssh)).await;
        let mut pauses = TURNED_AWAY.iter();
        loop {
            let permit = pace.enter(&doors).await;
            let launched = launch_master(ssh, &control).await;
            drop(permit);
            match (launched, pauses.next()) {
                (Ok(()), _) => break,
                // No step has begun, and the server has not even looked at who we are: trying again is harmless.
                (Err(fault), Some(pause)) if fault.kind == FaultKind::TurnedAway => {
                    // Those who were turned away together do not come back together.
                    let spread = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
                    tokio::time::sleep(*pause + Duration::from_millis(spread)).await;
                }
                (Err(fault), _) => return Err(fault),
            }
        }
        let session = openssh::Session::resume_mux(control.clone().into_boxed_path(), None);
        Ok(Self::Ssh { session: session.into(), control, executable })
    }

    /// Starts a POSIX `sh` command line.
    pub(super) async fn start(&self, line: &str) -> Result<Started, Fault> {
        match self {
            Self::Local => {
                let mut child = tokio::process::Command::new("/bin/sh")
                    .args(["-c", line])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    // A terminal's Ctrl-C is for the controller to handle, not for the local agent.
                    .process_group(0)
                    .spawn()
                    .map_err(|e| {
                        Fault::new(FaultKind::Controller, format!("/bin/sh cannot be started: {e}"))
                    })?;
                let (Some(stdin), Some(stdout), Some(stderr)) =
                    (child.stdin.take(), child.stdout.take(), child.stderr.take())
                else {
                    return Err(Fault::new(FaultKind::Controller, "a started shell has no streams"));
                };
                Ok(Started {
                    stdin: Box::new(stdin),
                    stdout: Box::new(stdout),
                    stderr: Box::new(stderr),
                    running: Running::Local(child),
                })
            }
            Self::Ssh { session, .. } => {
                // Whatever the login shell is, the line is read by a POSIX one.
                let mut command = std::sync::Arc::clone(session).arc_raw_command("exec");
                command.raw_arg("/bin/sh").raw_arg("-c").raw_arg(quote(line));
                let mut child = command
                    .stdin(openssh::Stdio::piped())
                    .stdout(openssh::Stdio::piped())
                    .stderr(openssh::Stdio::piped())
                    .spawn()
                    .await
                    .map_err(|e| {
                        Fault::new(FaultKind::Lost, format!("ssh could not start a command: {}", chain(&e)))
                    })?;
                let (Some(stdin), Some(stdout), Some(stderr)) =
                    (child.stdin().take(), child.stdout().take(), child.stderr().take())
                else {
                    return Err(Fault::new(FaultKind::Controller, "a started ssh command has no streams"));
                };
                Ok(Started {
                    stdin: Box::new(stdin),
                    stdout: Box::new(stdout),
                    stderr: Box::new(stderr),
                    running: Running::Remote(child),
                })
            }
        }
    }

    /// Ends the master connection: what is left of it is not to be trusted (the host reboots, or went silent).
    pub(super) async fn drop_master(&self) {
        let Self::Ssh { control, executable, .. } = self else { return };
        let _ = timeout(
            Duration::from_secs(2),
            tokio::process::Command::new(executable)
                .args(["-o", "BatchMode=yes", "-O", "exit", "-S"])
                .arg(control)
                .arg("-")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status(),
        )
        .await;
        let _ = fs_err::remove_file(control);
    }
}

/// A control socket's name: short, because socket paths are limited, and different for everything that makes a
/// connection different.
fn control_name(ssh: &SshTarget) -> String {
    let mut hash = Sha256::new();
    for part in [
        ssh.address.as_str(),
        ssh.user.as_deref().unwrap_or(""),
        &ssh.port.map(|p| p.to_string()).unwrap_or_default(),
        &ssh.private_key.as_deref().map(|p| p.display().to_string()).unwrap_or_default(),
        &ssh.extra_args.join(" "),
        if ssh.check_host_keys { "checked" } else { "unchecked" },
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

async fn launch_master(ssh: &SshTarget, control: &Path) -> Result<(), Fault> {
    let log = tempfile::NamedTempFile::new().map_err(|e| {
        Fault::new(FaultKind::Controller, format!("no temporary file for ssh's messages: {e}"))
    })?;
    let mut command = tokio::process::Command::new(&ssh.executable);
    command.arg("-E").arg(log.path()).args(["-M", "-f", "-N", "-S"]).arg(control);
    command.args(["-o", &format!("ControlPersist={PERSIST}")]);
    command.args(login_options(ssh));
    match &ssh.password {
        None => {
            command.args(["-o", "BatchMode=yes"]);
        }
        Some(password) => {
            command.args(PASSWORD_OPTIONS).envs(askpass(password)?);
        }
    }
    command.args(&ssh.extra_args);
    // Behind the user's own arguments: the first value that ssh meets counts.
    command.args(keepalive_options());
    command.arg("--").arg(&ssh.address);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // Out of the terminal's foreground group: Ctrl-C must not end connections that running steps need.
    command.process_group(0);
    // ssh bounds only the TCP connect; banner, key exchange and login must not hang either.
    let limit = ssh.connect_timeout * 2 + Duration::from_secs(5);
    let mut child = command.spawn().map_err(|e| {
        Fault::new(FaultKind::Controller, format!("`{}` cannot be started: {e}", ssh.executable))
            .next("install the OpenSSH client (Debian: apt-get install openssh-client)")
    })?;
    let status = match timeout(limit, child.wait()).await {
        Ok(Ok(status)) => status,
        Ok(Err(e)) => {
            return Err(Fault::new(FaultKind::Controller, format!("waiting for ssh failed: {e}")));
        }
        Err(_) => {
            let _ = child.start_kill();
            return Err(Fault::new(
                FaultKind::TimedOut,
                format!("{} did not finish the ssh login within {}s", ssh.address, limit.as_secs()),
            ));
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = fs_err::read_to_string(log.path()).unwrap_or_default();
    Err(classify(ssh, &said))
}

/// With a password nobody is there to be asked, so an unknown host key ends the login.
const PASSWORD_OPTIONS: [&str; 4] = ["-o", "NumberOfPasswordPrompts=1", "-o", "StrictHostKeyChecking=yes"];

/// Who logs in where, with which key, and how long it may take.
fn login_options(ssh: &SshTarget) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        vec!["-o".into(), format!("ConnectTimeout={}", ssh.connect_timeout.as_secs().max(1)).into()];
    if !ssh.check_host_keys {
        words.extend(["-o".into(), "StrictHostKeyChecking=no".into()]);
    }
    if let Some(port) = ssh.port {
        words.extend(["-p".into(), port.to_string().into()]);
    }
    if let Some(user) = &ssh.user {
        words.extend(["-l".into(), user.into()]);
    }
    if let Some(key) = &ssh.private_key {
        words.extend(["-o".into(), "IdentitiesOnly=yes".into(), "-i".into(), key.into()]);
    }
    words
}

fn keepalive_options() -> [String; 4] {
    [
        "-o".into(),
        format!("ServerAliveInterval={KEEPALIVE_SECONDS}"),
        "-o".into(),
        "ServerAliveCountMax=3".into(),
    ]
}

/// What makes ssh ask this program for the password.
fn askpass(password: &Secret) -> Result<[(&'static str, OsString); 3], Fault> {
    let program = std::env::current_exe().map_err(|e| {
        Fault::new(FaultKind::Controller, format!("dcos-play's own program cannot be found: {e}"))
    })?;
    Ok([
        ("SSH_ASKPASS", program.into()),
        ("SSH_ASKPASS_REQUIRE", "force".into()),
        (ASKPASS_VARIABLE, password.reveal().into()),
    ])
}

/// An `ssh` for people, with the options of a run; `own` comes before the address, `line` behind it.
///
/// Unlike a run's, it may ask (an unknown host key, a passphrase), because somebody is there to answer.
///
/// # Errors
/// This program's own path is not known, which a password needs.
pub fn ssh_for_people(
    ssh: &SshTarget,
    own: &[String],
    line: &[String],
) -> Result<std::process::Command, Fault> {
    let mut command = std::process::Command::new(&ssh.executable);
    command.args(own).args(login_options(ssh));
    if let Some(password) = &ssh.password {
        command.args(PASSWORD_OPTIONS).envs(askpass(password)?);
    }
    command.args(&ssh.extra_args).args(keepalive_options());
    command.arg("--").arg(&ssh.address).args(line);
    Ok(command)
}

/// Turns ssh's words into a class and advice.
fn classify(ssh: &SshTarget, said: &str) -> Fault {
    let words = said
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('@') && !l.starts_with("Warning: Permanently added"))
        .collect::<Vec<_>>();
    let text = if words.is_empty() { "ssh gave no reason".to_owned() } else { words.join("; ") };
    let has = |part: &str| said.contains(part);
    let (kind, next) = if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        (
            FaultKind::HostKey,
            Some(format!(
                "if the host was rebuilt, remove its old key: ssh-keygen -R {}",
                host_key_name(&ssh.address, ssh.port)
            )),
        )
    } else if has("Host key verification failed") || has("No matching host key") {
        (
            FaultKind::HostKey,
            Some(format!(
                "check the host's key and add it to known_hosts, for instance by `ssh {}` once",
                ssh.address
            )),
        )
    } else if has("Permission denied") || has("Too many authentication failures") {
        (
            FaultKind::Login,
            Some("check ansible_user, the key (ansible_ssh_private_key_file) or ansible_password".to_owned()),
        )
    } else if has("Could not resolve hostname") {
        (FaultKind::UnknownName, Some("check ansible_host in the inventory".to_owned()))
    } else if has("timed out") {
        (
            FaultKind::TimedOut,
            Some("check that the host runs and that its SSH port is open for this machine".to_owned()),
        )
    } else if has("Connection refused") || has("No route to host") || has("Network is unreachable") {
        (FaultKind::Refused, Some("check that the host runs and that sshd listens there".to_owned()))
    } else if ["kex_exchange_identification", "banner exchange", "Not allowed at this time"]
        .into_iter()
        .any(has)
    {
        (
            FaultKind::TurnedAway,
            Some(
                "check sshd on the host or its bastion: it may be starting, or have too many logins at once"
                    .to_owned(),
            ),
        )
    } else {
        (FaultKind::Lost, None)
    };
    Fault { kind, what: text, next }
}

fn host_key_name(address: &str, port: Option<u16>) -> String {
    match port {
        Some(port) if port != 22 => format!("[{address}]:{port}"),
        _ => address.to_owned(),
    }
}

/// Quotes a word for a POSIX shell.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

/// What `main` must print and exit with when it was started by ssh to ask for a password.
///
/// ssh runs the program named by `SSH_ASKPASS` and reads the password from its standard output; that program is
/// dcos-play itself, so that no helper script with a secret ever lies on disk.
#[must_use]
pub fn answer_askpass() -> Option<String> {
    std::env::var(ASKPASS_VARIABLE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> SshTarget {
        SshTarget {
            address: "10.0.0.9".into(),
            port: Some(2222),
            user: None,
            password: None,
            private_key: None,
            extra_args: vec![],
            check_host_keys: true,
            executable: "ssh".into(),
            connect_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn ssh_complaints_become_classes_with_advice() {
        for (said, kind, advice) in [
            (
                "ssh: connect to host 10.0.0.9 port 22: Connection refused\r\n",
                FaultKind::Refused,
                "sshd listens",
            ),
            ("ssh: connect to host 10.0.0.9 port 22: Connection timed out", FaultKind::TimedOut, "SSH port"),
            ("root@10.0.0.9: Permission denied (publickey).", FaultKind::Login, "ansible_user"),
            (
                "No ED25519 host key is known for 10.0.0.9\nHost key verification failed.",
                FaultKind::HostKey,
                "known_hosts",
            ),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                FaultKind::HostKey,
                "ssh-keygen -R [10.0.0.9]:2222",
            ),
            (
                "kex_exchange_identification: Connection closed by remote host",
                FaultKind::TurnedAway,
                "too many logins",
            ),
            (
                "ssh: Could not resolve hostname nohost: Name or service not known",
                FaultKind::UnknownName,
                "ansible_host",
            ),
        ] {
            let fault = classify(&target(), said);
            assert_eq!(fault.kind, kind, "{said}");
            assert!(fault.next.as_deref().is_some_and(|n| n.contains(advice)), "{said}: {fault:?}");
        }
    }

    #[test]
    fn quoted_words_survive_a_shell() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
