//! `dcos-play lab`: the lab's hosts from the command line. Turns words into calls of `lab`, and its events into lines.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use clap::Subcommand;

use crate::lab::{HostState, KeepImages, Lab, LabDirs, LabError, LabEvent, LabSpec, Progress, Stop, serve};

/// Runs real hosts on this machine, for rehearsal and tests.
#[derive(Debug, clap::Args)]
pub struct LabArgs {
    /// The lab's inventory file
    #[arg(short, long, global = true, default_value = "inventory/lab.yml", value_name = "FILE")]
    pub inventory: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What `dcos-play lab` can do.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Boot the hosts that don't run, and wait until they answer
    Up,
    /// Show every host, its address and what it does
    Status,
    /// Run a program in a host as root, past the network
    Exec {
        host: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Log in to a host, or run a command there
    Ssh {
        /// `HOST` or `USER@HOST`; users are root, ops (sudo) and opspw (sudo with a password)
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Boot a host that was stopped
    Start { host: String },
    /// Shut a host down
    Stop {
        host: String,
        /// End it at once, as if its power went
        #[arg(long)]
        hard: bool,
    },
    /// Reboot a host and wait until it answers
    Reboot { host: String },
    /// Throw a host's disk away and boot it as new
    Reset { host: String },
    /// Drop all packets to and from a host
    Cut { host: String },
    /// Let a host's packets pass again
    Join { host: String },
    /// End all hosts and remove all that the lab made
    Down {
        /// Remove the cached images too
        #[arg(long)]
        purge: bool,
    },
    /// Serve a folder over HTTP; `up` starts it for the hosts
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        listen: SocketAddr,
    },
}

/// Runs a command and returns the exit code; `exec` and `ssh` become the program that they run.
pub fn run(arguments: &LabArgs, out: &mut (dyn Write + Send)) -> Result<u8, LabError> {
    if let LabCommand::Serve { dir, listen } = &arguments.command {
        serve(dir, *listen)?;
        return Ok(0);
    }
    let spec = LabSpec::read(&arguments.inventory)?;
    let lab = Lab::new(spec, LabDirs::of_user()?, std::env::current_exe()?);
    let lines = Lines(Mutex::new(out));
    match &arguments.command {
        LabCommand::Up => lab.up(&lines)?,
        LabCommand::Status => return status(&lab, &lines),
        LabCommand::Exec { host, command } => {
            return Err(become_program(&mut lab.exec_command(host, command)?));
        }
        LabCommand::Ssh { host, command } => {
            let (user, host) = host.split_once('@').unwrap_or(("root", host));
            return Err(become_program(&mut lab.ssh_command(host, user, command)?));
        }
        LabCommand::Start { host } => lab.start_host(host, &lines)?,
        LabCommand::Stop { host, hard } => {
            lab.stop_host(host, if *hard { Stop::Kill } else { Stop::ShutDown }, &lines)?;
        }
        LabCommand::Reboot { host } => lab.reboot_host(host, &lines)?,
        LabCommand::Reset { host } => lab.reset_host(host, &lines)?,
        LabCommand::Cut { host } => lab.cut_off(host)?,
        LabCommand::Join { host } => lab.reconnect(host)?,
        LabCommand::Down { purge } => {
            lab.down(if *purge { KeepImages::No } else { KeepImages::Yes }, &lines)?
        }
        LabCommand::Serve { .. } => {}
    }
    Ok(0)
}

/// Becomes the program, so that its signals, its input, its terminal and its exit code are its own; returns only when that
/// fails.
fn become_program(command: &mut Command) -> LabError {
    command.stdin(Stdio::inherit());
    if let Some(terminal) = std::env::var_os("TERM") {
        command.env("TERM", terminal);
    }
    command.exec().into()
}

fn status(lab: &Lab, lines: &Lines<'_>) -> Result<u8, LabError> {
    let all = lab.status()?;
    let widest = all.iter().map(|one| one.host.name.len()).max().unwrap_or(0);
    for one in &all {
        let (name, address) = (&one.host.name, one.host.address.to_string());
        lines.say(&format!(
            "{name:widest$}  {address:15}  {:8}  {:13}  {}",
            one.host.image.name(),
            one.state.word(),
            if one.processes == 0 { String::new() } else { format!("{} processes", one.processes) }
        ))?;
    }
    Ok(if all.iter().all(|one| one.state == HostState::Up) { 0 } else { 3 })
}

/// Writes one line for each event.
pub(super) struct Lines<'a>(Mutex<&'a mut (dyn Write + Send)>);

impl<'a> Lines<'a> {
    /// Writes to `out`.
    pub(super) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self(Mutex::new(out))
    }

    fn say(&self, text: &str) -> io::Result<()> {
        let mut out = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(out, "{}", text.trim_end())?;
        out.flush()
    }
}

impl Progress for Lines<'_> {
    fn on_event(&self, event: &LabEvent<'_>) {
        let line = match event {
            LabEvent::ImageStage(stage) => format!("image: {stage}"),
            LabEvent::ImageBuilt { took } => format!("image: built in {:.0} s", took.as_secs_f64()),
            LabEvent::WwwBuilding => "web server: building its content".to_owned(),
            LabEvent::WwwReady { url } => format!("web server: {url}"),
            LabEvent::HostStarting { host } => format!("{host}: booting"),
            LabEvent::HostReady { host, took } => format!("{host}: up after {:.1} s", took.as_secs_f64()),
            LabEvent::HostStopped { host } => format!("{host}: stopped"),
            LabEvent::HostWiped { host, why } => format!("{host}: disk thrown away, {why}"),
            LabEvent::Note(note) => format!("note: {note}"),
        };
        // Progress is a courtesy: a closed terminal must not end the work.
        drop(self.say(&line));
    }
}
