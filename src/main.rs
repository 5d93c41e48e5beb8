//! Wiring: reads the command line, calls the subcommand, prints the error, picks the exit code.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use clap::FromArgMatches as _;
use dcos_play::cli::{
    self, Arguments, Command, Trouble, destroy, graph, inventory, lab, lint, masters, plan, report, run,
    simulate, ssh,
};
use dcos_play::connection::answer_askpass;
use dcos_play::exit;

fn main() -> ExitCode {
    if let Some(password) = answer_askpass() {
        let written = writeln!(stdout(), "{password}");
        return if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let parsed = cli::command().try_get_matches().and_then(|m| Arguments::from_arg_matches(&m));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help to standard output and faults to standard error.
            let fine = !error.use_stderr();
            drop(error.print());
            return ExitCode::from(if fine { exit::FINE } else { exit::PLAYBOOK });
        }
    };
    match dispatch(&arguments.command) {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            drop(writeln!(stderr(), "{}", trouble.text));
            ExitCode::from(trouble.exit)
        }
    }
}

fn dispatch(command: &Command) -> Result<u8, Trouble> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Lint(args) => lint::run(args, &mut stdout()),
        Command::Report(args) => report::run(args, &mut stdout()),
        Command::Plan(args) => plan::run(args, &mut stdout()),
        Command::Destroy(args) => destroy::run(args, &mut stdout()),
        Command::Graph(args) => graph::run(args, &mut stdout()),
        Command::Inventory(args) => inventory::run(args, &mut stdout()),
        Command::Lab(args) => lab::run(args, &mut stdout()).map_err(Trouble::from),
        Command::Masters(args) => masters::run(args, &mut stdout()),
        Command::Ssh(args) => ssh::login(args),
        Command::Tunnel(args) => ssh::tunnel(args),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut cli::command(), "dcos-play", &mut stdout());
            Ok(exit::FINE)
        }
    }
}
