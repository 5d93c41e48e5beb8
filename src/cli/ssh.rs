//! `dcos-play ssh` and `dcos-play tunnel`: the user's OpenSSH with the options of a run.
//!
//! Owns: the flags, ssh's own options for each. Must not: know how variables make a connection.

use std::os::unix::process::CommandExt as _;

use super::Trouble;
use super::reach::{Hosts, ReachFlags};
use crate::connection::{SshTarget, ssh_for_people};

/// Logs in to a host.
#[derive(Debug, clap::Args)]
pub struct SshArgs {
    #[command(flatten)]
    pub reach: ReachFlags,
    /// Name of the host in the inventory
    pub host: String,
    /// Command line to run there; its words are joined by blanks, as ssh does it
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Opens the admin UI.
#[derive(Debug, clap::Args)]
pub struct TunnelArgs {
    #[command(flatten)]
    pub reach: ReachFlags,
    /// Name of a master in the inventory; without it the first host of the group `masters`
    pub host: Option<String>,
    /// Port on this machine
    #[arg(short, long, default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Port on the master; 443 is the admin UI
    #[arg(long, default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    pub to: u16,
}

/// Becomes `ssh`; its status is the command's.
///
/// # Errors
/// Findings in the inventory, an unknown host, no `ssh` on this machine.
pub fn login(args: &SshArgs) -> Result<u8, Trouble> {
    let ssh = Hosts::read(&args.reach)?.ssh(&args.host)?;
    become_ssh(&ssh, &[], &args.command)
}

/// Becomes an `ssh` that forwards a port until it is ended.
///
/// # Errors
/// As [`login`], and no master when no host is named.
pub fn tunnel(args: &TunnelArgs) -> Result<u8, Trouble> {
    let hosts = Hosts::read(&args.reach)?;
    let inventory = hosts.inventory();
    let host = match &args.host {
        Some(host) => host.clone(),
        None => inventory
            .group("masters")
            .and_then(|g| g.hosts.first())
            .map(ToString::to_string)
            .ok_or_else(|| {
                Trouble::new(
                    crate::exit::ERROR,
                    "error: no host in a group `masters` of the inventory: name one, `dcos-play tunnel HOST`",
                )
            })?,
    };
    let ssh = hosts.ssh(&host)?;
    become_ssh(&ssh, &forwarding(args.port, args.to), &[])
}

/// A connection of its own that runs no command. ssh runs the local command when the port is open.
fn forwarding(port: u16, to: u16) -> Vec<String> {
    let scheme = if to == 80 { "http" } else { "https" };
    [
        "-N",
        "-S",
        "none",
        "-o",
        "ExitOnForwardFailure=yes",
        "-L",
        &format!("127.0.0.1:{port}:127.0.0.1:{to}"),
        "-o",
        "PermitLocalCommand=yes",
        "-o",
        &format!("LocalCommand=echo '{scheme}://localhost:{port} is open until Ctrl-C'"),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn become_ssh(ssh: &SshTarget, own: &[String], line: &[String]) -> Result<u8, Trouble> {
    let error = ssh_for_people(ssh, own, line)?.exec();
    Err(Trouble::new(
        crate::exit::ERROR,
        format!(
            "error: `{}` cannot be started: {error}\n  install the OpenSSH client (Debian: apt-get install openssh-client)",
            ssh.executable
        ),
    ))
}
