//! `dcos-play report`: a run that is over, was killed, or still goes on, as a page or for CI servers.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::Trouble;
use crate::report::{junit, page};

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run: its id, or the latest one of this folder
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Where the page goes; default: report.html in the run's folder
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write this instead, for CI servers: plays as test suites, steps as test cases
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub junit: Option<PathBuf>,
}

/// Writes the page and says where it is.
///
/// # Errors
/// No such run, or a journal that cannot be read.
pub fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<u8, Trouble> {
    let directory = std::env::current_dir()?;
    let folder = crate::journal::latest(&directory, args.run.as_deref())?;
    if let Some(path) = &args.junit {
        let (_, events) = crate::journal::read(&folder.journal())?;
        junit::write(path, &events)?;
        writeln!(out, "{}", path.display())?;
        return Ok(crate::exit::FINE);
    }
    let path = page::write(&folder, args.output.as_deref())?;
    let shown = path.strip_prefix(&directory).unwrap_or(&path);
    writeln!(out, "{}", shown.display())?;
    Ok(crate::exit::FINE)
}
