//! Running programs for modules: found on the host's path, answered as text.
//!
//! Owns: the search path, the message about a failed command. Must not: use a shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::root;
use crate::modules::{Command, Fault, Host};

/// Folders searched besides `PATH`: administrators' tools are often missing from a remote user's `PATH`.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A finished program's answer as text.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub rc: i32,
    pub out: String,
    pub err: String,
    pub argv: Vec<String>,
}

impl Answer {
    /// True when the program said it worked.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.rc == 0
    }

    /// The answer when it is good, otherwise a fault that starts with `what` and holds `rc`, `stdout` and `stderr`.
    ///
    /// # Errors
    /// When the exit status is not 0.
    pub fn or_fault(self, what: &str) -> Result<Self, Fault> {
        if self.ok() { Ok(self) } else { Err(self.to_fault(what)) }
    }

    /// The fault that this answer is.
    #[must_use]
    pub fn to_fault(&self, what: &str) -> Fault {
        let err = if self.err.trim().is_empty() { self.out.trim() } else { self.err.trim() };
        let msg = if err.is_empty() {
            format!("{what}: `{}` ended with status {}", self.argv.join(" "), self.rc)
        } else {
            format!("{what}: {err}")
        };
        super::fault_with(
            msg,
            json!({"rc": self.rc, "cmd": self.argv, "stdout": self.out, "stderr": self.err}),
        )
    }
}

/// Runs a program in the C locale, so that its words can be compared.
///
/// # Errors
/// When it cannot be started, or the step ended.
pub fn run<S: AsRef<str>>(host: &Host<'_>, argv: &[S]) -> Result<Answer, Fault> {
    run_command(host, Command { argv: strings(argv), ..Command::default() })
}

/// Runs a program with text on its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input<S: AsRef<str>>(host: &Host<'_>, argv: &[S], stdin: &str) -> Result<Answer, Fault> {
    run_command(
        host,
        Command { argv: strings(argv), stdin: Some(stdin.as_bytes().to_vec()), ..Command::default() },
    )
}

/// Runs a program whose output the user wants to see as it comes.
///
/// # Errors
/// As [`run`].
pub fn run_streaming<S: AsRef<str>>(host: &Host<'_>, argv: &[S]) -> Result<Answer, Fault> {
    run_command(host, Command { argv: strings(argv), stream: true, ..Command::default() })
}

/// Runs a prepared command; the C locale and the task's environment are added unless it sets them itself.
///
/// # Errors
/// As [`run`].
pub fn run_command(host: &Host<'_>, mut command: Command) -> Result<Answer, Fault> {
    for (name, value) in [("LC_ALL", "C"), ("LANGUAGE", "C")] {
        if !command.environment.iter().any(|(n, _)| n == name) {
            command.environment.push((name.into(), value.into()));
        }
    }
    let argv = command.argv.clone();
    let done = host.runner.run(&command)?;
    Ok(Answer {
        rc: done.rc,
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
        argv,
    })
}

/// The full path of a program, or `None`.
#[must_use]
pub fn find_program(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return executable(name).then(|| name.to_owned());
    }
    FOLDERS.iter().map(|folder| format!("{folder}/{name}")).find(|path| executable(path))
}

/// The full path of a program that the module cannot do without.
///
/// # Errors
/// When no folder of the search path holds it.
pub fn need_program(name: &str) -> Result<String, Fault> {
    find_program(name).ok_or_else(|| super::fault(format!("this host has no program `{name}`")))
}

fn executable(path: &str) -> bool {
    fs::metadata(root::at(path)).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn strings<S: AsRef<str>>(argv: &[S]) -> Vec<String> {
    argv.iter().map(|a| a.as_ref().to_owned()).collect()
}
