//! How many connections are opened at once: in all, and through one door.
//!
//! Owns: the permits, and which doors a connection goes through. Must not: open connections.
//!
//! An sshd with default settings refuses some of the connections that have not logged in yet when there are more than ten
//! of them (`MaxStartups 10:30:100`). One host rarely sees that; a bastion through which hundreds of hosts are reached
//! does. So connections through one bastion, or to one address, share a budget below that.

use std::collections::{BTreeSet, HashMap};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::SshTarget;

/// Logins through one door at once; sshd begins to refuse at ten, and others may log in there too.
const TOGETHER: usize = 8;

/// How long ssh may take to print its configuration, for which it contacts nobody.
const PRINTED: Duration = Duration::from_secs(5);

/// The permits of a run.
#[derive(Debug)]
pub(super) struct Pace {
    openings: Semaphore,
    doors: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to log in, until dropped.
pub(super) struct Permit<'a> {
    _doors: Vec<OwnedSemaphorePermit>,
    _opening: Option<SemaphorePermit<'a>>,
}

impl Pace {
    /// So many connections are opened at once in all.
    pub(super) fn new(openings: usize) -> Self {
        Self { openings: Semaphore::new(openings.max(1)), doors: Mutex::default() }
    }

    /// Waits for a place at every door, then for one among all openings: who queues at a door keeps nobody else waiting.
    pub(super) async fn enter(&self, doors: &BTreeSet<String>) -> Permit<'_> {
        let mut held = Vec::with_capacity(doors.len());
        // In order of their names, so that no two wait for what the other holds.
        for name in doors {
            let door = {
                let mut all = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
                match all.get(name) {
                    Some(door) => Arc::clone(door),
                    None => {
                        let door = Arc::new(Semaphore::new(TOGETHER));
                        all.insert(name.clone(), Arc::clone(&door));
                        door
                    }
                }
            };
            // The semaphores are never closed.
            held.extend(door.acquire_owned().await.ok());
        }
        Permit { _doors: held, _opening: self.openings.acquire().await.ok() }
    }
}

/// The addresses that see a login: the host's own, and the bastions before it, also those of the user's ssh configuration.
pub(super) async fn doors(ssh: &SshTarget, options: &[std::ffi::OsString]) -> BTreeSet<String> {
    let mut doors = BTreeSet::from([format!("{}:{}", ssh.address, ssh.port.unwrap_or(22))]);
    let mut command = tokio::process::Command::new(&ssh.executable);
    command.arg("-G").args(options).args(&ssh.extra_args).arg("--").arg(&ssh.address);
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).process_group(0);
    let printed = timeout(PRINTED, command.output()).await.ok().and_then(Result::ok);
    match printed.filter(|p| p.status.success()) {
        Some(printed) => {
            for line in String::from_utf8_lossy(&printed.stdout).lines() {
                if let Some((name, value)) = line.split_once(' ') {
                    add(&mut doors, name, value);
                }
            }
        }
        // Another program than OpenSSH: its arguments are all there is to know.
        None => {
            let mut words = ssh.extra_args.iter().map(String::as_str);
            while let Some(word) = words.next() {
                match (word, word.strip_prefix("-J").or_else(|| word.strip_prefix("-o"))) {
                    ("-J", _) => add(&mut doors, "proxyjump", words.next().unwrap_or_default()),
                    ("-o", _) => setting(&mut doors, words.next().unwrap_or_default()),
                    (_, Some(rest)) if word.starts_with("-J") => add(&mut doors, "proxyjump", rest),
                    (_, Some(rest)) => setting(&mut doors, rest),
                    _ => {}
                }
            }
        }
    }
    doors
}

fn setting(doors: &mut BTreeSet<String>, text: &str) {
    if let Some((name, value)) = text.split_once(['=', ' ']) {
        add(doors, name.trim(), value.trim());
    }
}

fn add(doors: &mut BTreeSet<String>, name: &str, value: &str) {
    if value == "none" || value.is_empty() {
        return;
    }
    if name.eq_ignore_ascii_case("proxyjump") {
        doors.extend(value.split(',').map(|hop| format!("jump {}", hop.trim())));
    } else if name.eq_ignore_ascii_case("proxycommand") {
        // Host and port of the target are not filled in yet: the command of all hosts behind one bastion is one text.
        doors.insert(format!("command {value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use futures::future::join_all;

    use super::super::{FaultKind, Pool, PoolSettings, Target, Transport as _, Via};
    use super::*;

    /// Hosts whose `ssh` is a script; it tells the bastion when it is asked for its configuration.
    fn targets(folder: &Path, count: usize, script: &str) -> Vec<Target> {
        let program = folder.join("ssh");
        let at = folder.display();
        let text = format!(
            "#!/bin/sh\ncase \"$1\" in -G) echo proxyjump door; exit 0;; -o) exit 255;; esac\nlog=$2\ncd {at}\n{script}"
        );
        std::fs::write(&program, text).expect("writes");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let one = |number: usize| Target {
            host: format!("h{number}").into(),
            via: Via::Ssh(Box::new(SshTarget {
                address: format!("h{number}.example"),
                port: None,
                user: None,
                password: None,
                private_key: None,
                extra_args: Vec::new(),
                check_host_keys: true,
                executable: program.display().to_string(),
                connect_timeout: Duration::from_secs(30),
            })),
            r#become: None,
        };
        (0..count).map(one).collect()
    }

    fn pool(folder: &Path) -> Pool {
        Pool::new(PoolSettings {
            run: "r".into(),
            control_directory: folder.to_owned(),
            openings: 32,
            hello: Duration::from_secs(5),
            reconnect: Duration::from_secs(5),
        })
    }

    #[tokio::test]
    async fn logins_through_one_bastion_stay_below_what_sshd_refuses() {
        let folder = tempfile::tempdir().expect("temp dir");
        let script =
            "echo in >>trace; sleep 0.1; echo out >>trace; echo 'Permission denied' >\"$log\"; exit 255\n";
        let targets = targets(folder.path(), 40, script);
        let pool = pool(folder.path());
        let ends = join_all(targets.iter().map(|target| pool.boot_id(target))).await;
        assert!(ends.iter().all(|end| end.as_ref().is_err_and(|f| f.kind == FaultKind::Login)), "{ends:?}");
        let trace = std::fs::read_to_string(folder.path().join("trace")).expect("a trace");
        let (mut now, mut most) = (0_usize, 0);
        for line in trace.lines() {
            now = if line == "in" { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        assert_eq!(trace.lines().count(), 80);
        assert_eq!(most, TOGETHER, "all that is allowed, and no more");
    }

    #[tokio::test]
    async fn a_connection_that_sshd_turned_away_is_tried_again() {
        let folder = tempfile::tempdir().expect("temp dir");
        let script = "echo try >>trace\n\
            if [ $(wc -l <trace) -lt 3 ]; then echo 'kex_exchange_identification: Connection closed by remote host' >\"$log\"\n\
            else echo 'Permission denied (publickey).' >\"$log\"; fi\nexit 255\n";
        let targets = targets(folder.path(), 1, script);
        let fault = pool(folder.path()).boot_id(&targets[0]).await.expect_err("no login");
        assert_eq!(fault.kind, FaultKind::Login, "{fault:?}");
        assert_eq!(std::fs::read_to_string(folder.path().join("trace")).expect("a trace").lines().count(), 3);
    }

    #[tokio::test]
    async fn a_refused_login_is_not_tried_again() {
        let folder = tempfile::tempdir().expect("temp dir");
        let script = "echo try >>trace; echo 'Permission denied (publickey).' >\"$log\"; exit 255\n";
        let targets = targets(folder.path(), 1, script);
        let fault = pool(folder.path()).boot_id(&targets[0]).await.expect_err("no login");
        assert_eq!(fault.kind, FaultKind::Login);
        assert_eq!(std::fs::read_to_string(folder.path().join("trace")).expect("a trace"), "try\n");
    }

    #[tokio::test]
    async fn a_bastion_is_found_in_arguments_too() {
        let mut target = SshTarget {
            address: "h".into(),
            port: Some(2200),
            user: None,
            password: None,
            private_key: None,
            extra_args: ["-J", "a,b:23", "-oProxyJump=c", "-o", "ProxyCommand=nc %h"]
                .map(String::from)
                .to_vec(),
            check_host_keys: true,
            executable: "/bin/false".into(),
            connect_timeout: Duration::from_secs(1),
        };
        let found = doors(&target, &[]).await;
        let wanted = ["command nc %h", "h:2200", "jump a", "jump b:23", "jump c"];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
        target.extra_args = vec!["-o".into(), "ProxyJump=none".into()];
        assert_eq!(doors(&target, &[]).await.len(), 1);
    }
}
