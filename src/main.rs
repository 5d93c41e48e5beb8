//! Wiring: reads the command line, calls the subcommand, prints the error, picks the exit code.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches};
use dcos_play::cli::config::{self, Config};
use dcos_play::cli::{
    self, Arguments, Command, Trouble, ansible, destroy, graph, inventory, lab, lint, masters, plan, report,
    run, simulate, ssh,
};
use dcos_play::connection::answer_askpass;
use dcos_play::exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(password) = answer_askpass() {
        let written = writeln!(stdout(), "{password}");
        return if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    dcos_play::template::use_agent(|| dcos_play_embedded_agent::agent().bytes());
    let config = Config::load();
    let settings = config.clone().unwrap_or_default();
    if ansible::is_meant() {
        let command = settings.defaults(ansible::AnsiblePlaybook::command());
        return match read::<ansible::AnsiblePlaybook>(command, ansible::usage_status()) {
            Ok(args) => ended(configured(config).and_then(|()| ansible::run(&args))),
            Err(status) => status,
        };
    }
    match read::<Arguments>(settings.defaults(cli::command()), exit::PLAYBOOK) {
        Ok(arguments) => ended(configured(config).and_then(|()| dispatch(&arguments.command))),
        Err(status) => status,
    }
}

/// Reads the command line; what is wrong with it, or its help, is printed.
fn read<A: FromArgMatches>(command: clap::Command, wrong: u8) -> Result<A, ExitCode> {
    command.try_get_matches().and_then(|m| A::from_arg_matches(&m)).map_err(|error| {
        // clap prints help to standard output and faults to standard error.
        let fine = !error.use_stderr();
        drop(error.print());
        ExitCode::from(if fine { exit::FINE } else { wrong })
    })
}

/// Takes over `ansible.cfg`, and says what in it has no effect.
fn configured(config: Result<Config, String>) -> Result<(), Trouble> {
    let config = config.map_err(|text| Trouble::new(exit::PLAYBOOK, text))?;
    for warning in config.warnings() {
        drop(writeln!(stderr(), "warning: {warning}"));
    }
    config::install(config);
    Ok(())
}

fn ended(result: Result<u8, Trouble>) -> ExitCode {
    match result {
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
