//! The agent's binary: reads its command line and hands over to the library.
//!
//! Owns: the command line and the greeting line. Must not: do anything else.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use dcos_play_agent::{protocol, server};

/// What the program is, for who finds it on a host.
const HELP: &str = "\
The part of dcos-play that works on a managed host. dcos-play puts it there and starts it.

usage: dcos-play-agent serve            take steps on standard input until it ends
       dcos-play-agent job FOLDER NAME  do the background job that is described there
       dcos-play-agent --version
       dcos-play-agent --help

Exit status: 0 fine, 1 the work could not be begun, 2 the command line is wrong.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => serve(),
        ["job", folder, job] => match dcos_play_agent::jobs::work(Path::new(folder), job) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                let _ = std::io::stderr().write_all(format!("{why}\n").as_bytes());
                ExitCode::FAILURE
            }
        },
        ["--version"] => {
            let line =
                format!("dcos-play-agent {} protocol {}\n", env!("CARGO_PKG_VERSION"), protocol::PROTOCOL);
            finish(std::io::stdout().write_all(line.as_bytes()))
        }
        ["--help" | "-h"] => finish(std::io::stdout().write_all(HELP.as_bytes())),
        _ => {
            let _ = std::io::stderr().write_all(HELP.as_bytes());
            ExitCode::from(2)
        }
    }
}

fn serve() -> ExitCode {
    let Some(private) = dcos_play_agent::private_folder() else {
        let _ = std::io::stderr().write_all(b"dcos-play-agent: cannot tell where its own folder is\n");
        return ExitCode::FAILURE;
    };
    let mut out = std::io::stdout();
    if out.write_all(format!("{}\n", protocol::AGENT_READY).as_bytes()).and_then(|()| out.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    server::serve(std::io::stdin().lock(), out, &private);
    ExitCode::SUCCESS
}

fn finish(written: std::io::Result<()>) -> ExitCode {
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
