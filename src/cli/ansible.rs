//! The name `ansible-playbook`: a link to the binary under it takes that program's command line and ends with its exit
//! statuses, so that scripts keep working.
//!
//! Owns: the flags that only that program has, and the statuses. Must not: run anything another way than `run`.

use clap::Parser;

use super::Trouble;
use super::run::{self, RunArgs};
use crate::engine::Ended;
use crate::exit;

/// The file name that asks for all this.
const NAME: &str = "ansible-playbook";
/// `ansible-playbook` was interrupted.
const INTERRUPTED: u8 = 99;
/// What it ends with when it cannot read a playbook.
const PARSER: u8 = 4;
/// A wrong command line, as Python's own parser ends.
const USAGE: u8 = 2;

/// Runs Ansible playbooks; this is dcos-play under the name of ansible-playbook
#[derive(Debug, Parser)]
#[command(name = "ansible-playbook", version, max_term_width = 100)]
pub struct AnsiblePlaybook {
    #[command(flatten)]
    pub run: RunArgs,
    /// Accepted; files travel through the one connection, without scp
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, hide = true)]
    pub scp_extra_args: Option<String>,
    /// Accepted; files travel through the one connection, without sftp
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, hide = true)]
    pub sftp_extra_args: Option<String>,
}

/// Whether the process was started under that name.
#[must_use]
pub fn is_meant() -> bool {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    name.as_deref().and_then(|n| n.file_name()).is_some_and(|n| n == NAME)
}

/// Runs, and gives the exit status that `ansible-playbook` would.
///
/// # Errors
/// As [`run::run`], with that program's status.
pub fn run(args: &AnsiblePlaybook) -> Result<u8, Trouble> {
    // It looks for the files first, and tells them apart from what is in them.
    if let Some(missing) = args.run.playbooks.iter().find(|p| !p.exists()) {
        let text = format!("error: no playbook `{}`", missing.display());
        return Err(Trouble::new(exit::ERROR, text));
    }
    let variables = args.run.variables.extra_vars.iter().filter_map(|text| text.strip_prefix('@'));
    if let Some(missing) = variables.into_iter().find(|file| !std::path::Path::new(file).exists()) {
        return Err(Trouble::new(exit::ERROR, format!("error: no file `{missing}` for --extra-vars")));
    }
    run::run_to(&args.run, ended).map_err(|trouble| Trouble {
        exit: match trouble.exit {
            exit::PLAYBOOK if trouble.findings => PARSER,
            _ => exit::ERROR,
        },
        ..trouble
    })
}

/// The status of a command line that cannot be read.
#[must_use]
pub fn usage_status() -> u8 {
    USAGE
}

fn ended(ended: &Ended) -> u8 {
    if ended.journal_failed || ended.fault.is_some() {
        exit::ERROR
    } else if ended.cancelled {
        INTERRUPTED
    } else if ended.unreachable {
        // Here, unlike in `dcos-play run`, a host that cannot be reached counts more than one that failed.
        exit::UNREACHABLE
    } else if ended.failed {
        exit::HOSTS_FAILED
    } else {
        exit::FINE
    }
}
