//! Wiring: reads the command line, calls the subcommand, prints the error, picks the exit code.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dcos_play::cli::lab::{self, LabArgs};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    Lab(LabArgs),
}

fn main() -> ExitCode {
    let Subcommands::Lab(arguments) = Arguments::parse().command;
    match lab::run(&arguments, &mut stdout()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            drop(writeln!(stderr(), "error: {error}"));
            ExitCode::from(1)
        }
    }
}
