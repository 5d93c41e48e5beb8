//! The agent's binary: reads its command line and hands over to the library.
//!
//! Owns: the command line and the greeting line. Must not: do anything else.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use dcos_play_agent::{protocol, server};

/// Where the agent keeps uploads and results; default: the folder of its binary.
const PRIVATE_DIR: &str = "DCOS_PLAY_AGENT_DIR";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve"] => serve(),
        ["--version"] => {
            let line =
                format!("dcos-play-agent {} protocol {}\n", env!("CARGO_PKG_VERSION"), protocol::PROTOCOL);
            finish(std::io::stdout().write_all(line.as_bytes()))
        }
        _ => {
            let _ = std::io::stderr().write_all(b"usage: dcos-play-agent serve | --version\n");
            ExitCode::from(2)
        }
    }
}

fn serve() -> ExitCode {
    let private = std::env::var_os(PRIVATE_DIR)
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from)));
    let Some(private) = private else {
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
