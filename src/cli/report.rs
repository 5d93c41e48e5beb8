//! `dcos-play report`: the page of a run that is over, was killed, or still goes on.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::Trouble;
use crate::report::page;

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run: its id, or the latest one of this folder
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where the page goes; default: report.html in the run's folder
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Writes the page and says where it is.
///
/// # Errors
/// No such run, or a journal that cannot be read.
pub fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<u8, Trouble> {
    let directory = std::env::current_dir()?;
    let folder = crate::journal::latest(&directory, args.run.as_deref())?;
    let path = page::write(&folder, args.output.as_deref())?;
    let shown = path.strip_prefix(&directory).unwrap_or(&path);
    writeln!(out, "{}", shown.display())?;
    Ok(crate::exit::FINE)
}
