//! The programs of the machine that the lab calls, and how their failures become errors.

use std::path::Path;
use std::process::{Command, Stdio};

use super::error::LabError;

/// Programs and the Debian package of each.
const PROGRAMS: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("ssh-keygen", "openssh-client"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
];

/// Where to look besides `PATH`: users have no `sbin` in theirs.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Checks that this process may and can run a lab.
pub(super) fn require_root_and_programs() -> Result<(), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let (programs, mut packages): (Vec<_>, Vec<_>) =
        PROGRAMS.iter().copied().filter(|(name, _)| !installed(name)).unzip();
    if programs.is_empty() {
        return Ok(());
    }
    packages.dedup();
    Err(LabError::MissingPrograms { programs, packages })
}

fn installed(program: &str) -> bool {
    SYSTEM_PATH.split(':').any(|folder| Path::new(folder).join(program).exists())
}

/// Prepares a program call with a known `PATH` and locale, and nothing on its input.
pub(super) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", SYSTEM_PATH).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a program to its end and returns what it printed.
pub(super) fn run(command: &mut Command) -> Result<String, LabError> {
    let output = command.output().map_err(|error| failed(command, &error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(command, last_line(&said).unwrap_or(&output.status.to_string())))
}

fn failed(command: &Command, last: &str) -> LabError {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let command = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    LabError::Command { command, last: last.to_owned() }
}

/// Runs `ip` and returns what it printed.
pub(super) fn ip(arguments: &[&str]) -> Result<String, LabError> {
    run(program("ip").args(arguments))
}

/// Whether a program ends well; for questions whose failure is an answer.
pub(super) fn succeeds(name: &str, arguments: &[&str]) -> bool {
    program(name)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The last line that says something.
pub(super) fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

/// The last line of a log file, or that there is none.
pub(super) fn last_line_of(log: &Path) -> String {
    let text =
        fs_err::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    last_line(&text).unwrap_or("it said nothing").to_owned()
}
