//! Command line types, one file a subcommand.
//!
//! Owns: flags, their help, wiring of the stages for each subcommand. Must not: hold logic of a stage.

use clap::{CommandFactory as _, Parser, Subcommand};

pub mod ansible;
pub mod common;
pub mod config;
pub mod destroy;
mod ensembles;
pub mod graph;
mod infrastructure;
pub mod inventory;
pub mod lab;
pub mod lint;
mod listing;
pub mod masters;
pub mod plan;
mod reach;
pub mod report;
pub mod run;
mod setup;
pub mod simulate;
pub mod ssh;

/// Runs Ansible playbooks as a dependency graph over SSH, without Python.
#[derive(Debug, Parser)]
#[command(name = "dcos-play", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run playbooks
    Run(Box<run::RunArgs>),
    /// Run playbooks on a simulated fleet: real scheduler, journal and reports, no hosts
    Simulate(Box<simulate::SimulateArgs>),
    /// Check playbooks without touching a host
    Lint(lint::LintArgs),
    /// Show what would run, in which order, and why something waits
    Plan(plan::PlanArgs),
    /// Delete what the infrastructure plays of playbooks own
    Destroy(destroy::DestroyArgs),
    /// Write the page that shows a run: report.html
    Report(report::ReportArgs),
    /// Draw what waits for what
    Graph(graph::GraphArgs),
    /// Show the inventory
    Inventory(inventory::InventoryArgs),
    /// Real hosts on this machine, for rehearsal and tests
    Lab(lab::LabArgs),
    /// Plan changes of a cluster's masters
    Masters(masters::MastersArgs),
    /// Log in to a host of the inventory as a run does, or run a command there
    Ssh(ssh::SshArgs),
    /// Open a cluster's admin UI on localhost, through a master
    Tunnel(ssh::TunnelArgs),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

/// Ends the help of subcommands that run something; `docs/exit-codes.md` has the whole table.
const RUN_ENDS: &str = "\
Exit status: 0 all is as wanted, 2 a host failed, 4 a host could not be reached, 5 the playbook, the
inventory or the command line is wrong, 6 another run works on one of the hosts, 7 the journal cannot
be written, 130 the user stopped it, 1 anything else.";
/// And of those that only look.
const LOOK_ENDS: &str = "\
Exit status: 0 fine, 5 the playbook, the inventory or the command line is wrong, 1 anything else.";
/// And of `plan`, which says whether infrastructure would change.
const PLAN_ENDS: &str = "\
Exit status: 0 fine, 3 infrastructure would change, 5 the playbook, the inventory or the command line is
wrong, 1 anything else.";
/// And of `destroy`.
const DESTROY_ENDS: &str = "\
Exit status: 0 nothing is left (or nothing was to be deleted), 2 something is left, 5 the playbook, the
inventory or the command line is wrong, 6 a run works on the same infrastructure, 1 anything else.";

/// The command line, with the exit statuses at the end of every help.
#[must_use]
pub fn command() -> clap::Command {
    fn with_exits(command: clap::Command, above: Option<&str>) -> clap::Command {
        let name = above.unwrap_or(command.get_name()).to_owned();
        let text = match name.as_str() {
            "run" | "simulate" | "dcos-play" => RUN_ENDS,
            "plan" => PLAN_ENDS,
            "destroy" => DESTROY_ENDS,
            _ => LOOK_ENDS,
        };
        let below = (name != "dcos-play").then_some(name);
        command.after_help(text).mut_subcommands(|c| with_exits(c, below.as_deref()))
    }
    with_exits(Arguments::command(), None)
}

/// Why a subcommand could not do its work: what `main` prints, and the exit status.
#[derive(Debug)]
pub struct Trouble {
    pub text: String,
    pub exit: u8,
    /// The text tells findings in playbook or inventory, each with its place.
    pub findings: bool,
}

impl Trouble {
    /// Trouble with an exit status.
    pub fn new(exit: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), exit, findings: false }
    }

    /// Findings in a playbook or an inventory.
    pub(crate) fn found(text: String) -> Self {
        Self { text, exit: crate::exit::PLAYBOOK, findings: true }
    }
}

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::new(crate::exit::ERROR, format!("error: {}", crate::cli::common::with_causes(&error)))
    }
}
