//! `dcos-play lint`: everything that can be said about playbooks without a host.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::Trouble;
use super::common::{InventoryFlags, VariableFlags};
use super::setup::{self, Wanted};

/// Flags of `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Playbooks to check
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub variables: VariableFlags,
}

/// Checks, and prints warnings; errors come back as trouble.
///
/// # Errors
/// The findings, when one of them is an error.
pub fn run(args: &LintArgs, out: &mut dyn Write) -> Result<u8, Trouble> {
    let wanted = Wanted { barriers: false, ..Wanted::new(&args.playbooks, &args.inventory, &args.variables) };
    let ready = setup::prepare(&wanted)?;
    for warning in &ready.warnings.list {
        writeln!(out, "{}", warning.render(&ready.sources))?;
    }
    let plays = ready.playbook.plays.len();
    let warnings = ready.warnings.list.len();
    let plural = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    writeln!(out, "{}, no errors, {}", plural(plays, "play"), plural(warnings, "warning"))?;
    // The process ends with this: taking the tree apart would take as long as reading a role.
    std::mem::forget(ready);
    Ok(crate::exit::FINE)
}
