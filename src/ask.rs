//! Asking the person at the terminal.
//!
//! Owns: questions on the terminal, echo off for secrets. Must not: decide whether to ask.

use std::io::{BufRead as _, Write as _};
use std::os::fd::AsFd as _;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Turns echo off until dropped.
struct Quiet(Termios);

impl Quiet {
    fn start() -> std::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
    }
}

/// Asks for a line on the terminal; `secret` keeps what is typed unseen.
///
/// # Errors
/// When the terminal cannot be read.
pub fn line(question: &str, default: Option<&str>, secret: bool) -> std::io::Result<String> {
    let mut err = std::io::stderr().lock();
    match default {
        Some(default) if !secret => write!(err, "{question} [{default}]: ")?,
        _ => write!(err, "{question}: ")?,
    }
    err.flush()?;
    let quiet = if secret { Some(Quiet::start()?) } else { None };
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    drop(quiet);
    if secret {
        writeln!(err)?;
    }
    let line = line.trim_end_matches(['\n', '\r']);
    Ok(if line.is_empty() { default.unwrap_or_default().to_owned() } else { line.to_owned() })
}
