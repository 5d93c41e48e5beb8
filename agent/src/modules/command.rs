//! `command` and `shell`: runs what the user wrote.
//!
//! Owns: both modules, for they differ only in who splits the words. Must not: let a shell see `command`'s text.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Command as Process, Fault, Finished, Host, Inspection, Module, Outcome};
use crate::files::{expand_path, glob::glob};
use crate::options::{CheckSupport, Opt, Repeat, Spec};
use crate::{times, words};

static SHARED: &[Opt] = &[
    Opt::str("cmd").aliases(&["_raw_params"]),
    Opt::path("chdir"),
    Opt::path("creates"),
    Opt::path("removes"),
    Opt::path("executable"),
    Opt::str("stdin"),
    Opt::bool("stdin_add_newline"),
    Opt::bool("strip_empty_ends"),
    Opt::bool("warn").ignored("Ansible removed the warnings that it switched off"),
];

static COMMAND: &[Opt] = &[Opt::list("argv"), Opt::bool("expand_argument_vars")];

/// Runs a program with arguments.
pub struct Command;
/// Runs text in a shell.
pub struct Shell;

/// Arguments of both.
#[derive(Debug, Deserialize)]
pub struct Args {
    cmd: Option<String>,
    argv: Option<Vec<String>>,
    chdir: Option<String>,
    creates: Option<String>,
    removes: Option<String>,
    executable: Option<String>,
    stdin: Option<String>,
    #[serde(default = "yes")]
    stdin_add_newline: bool,
    #[serde(default = "yes")]
    strip_empty_ends: bool,
    #[serde(default = "yes")]
    expand_argument_vars: bool,
}

const fn yes() -> bool {
    true
}

/// The command to run, and how it is shown in the result.
pub struct Ready {
    argv: Vec<String>,
    shown: Value,
}

impl Module for Command {
    const SPEC: Spec = Spec {
        options: &[SHARED, COMMAND],
        free_form: Some("cmd"),
        mutually_exclusive: &[&["cmd", "argv"]],
        check: CheckSupport::None,
        repeat: Repeat::Ask,
        ..Spec::new("command")
    };
    type Args = Args;
    type Change = Ready;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Ready>, Fault> {
        let mut argv = match (&args.cmd, &args.argv) {
            (_, Some(argv)) => argv.clone(),
            (Some(cmd), None) => words::split(cmd)
                .map_err(|e| Fault::new(format!("the command cannot be split into words: {e}")))?,
            (None, None) => Vec::new(),
        };
        // The result tells the words as given; only the process sees them expanded.
        let shown = argv.clone().into();
        if args.expand_argument_vars {
            argv = argv.iter().map(|word| expand_path(word, host.environment)).collect();
        }
        if argv.is_empty() {
            return Err(Fault::new("no command given").with("rc", 256));
        }
        inspect(args, Ready { argv, shown }, host)
    }

    fn apply(args: &Args, ready: Ready, host: &Host<'_>) -> Result<Outcome, Fault> {
        let mut outcome = apply(args, ready, host)?;
        if args.executable.is_some() {
            outcome.warnings.push("`executable` has no effect with `command`, use `shell`".to_owned());
        }
        Ok(outcome)
    }
}

impl Module for Shell {
    const SPEC: Spec = Spec {
        options: &[SHARED],
        free_form: Some("cmd"),
        check: CheckSupport::None,
        repeat: Repeat::Ask,
        ..Spec::new("shell")
    };
    type Args = Args;
    type Change = Ready;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Ready>, Fault> {
        let text = args.cmd.as_deref().unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Fault::new("no command given").with("rc", 256));
        }
        let shell = args.executable.clone().unwrap_or_else(|| "/bin/sh".to_owned());
        let argv = vec![shell, "-c".to_owned(), text.to_owned()];
        inspect(args, Ready { argv, shown: text.into() }, host)
    }

    fn apply(args: &Args, ready: Ready, host: &Host<'_>) -> Result<Outcome, Fault> {
        apply(args, ready, host)
    }
}

fn inspect(args: &Args, ready: Ready, host: &Host<'_>) -> Result<Inspection<Ready>, Fault> {
    let base = args.chdir.as_deref().map_or_else(|| PathBuf::from("."), PathBuf::from);
    if let Some(dir) = &args.chdir
        && let Err(e) = std::fs::read_dir(dir)
        && e.kind() != std::io::ErrorKind::PermissionDenied
    {
        return Err(Fault::io("change directory to", dir, &e));
    }
    let did = if host.check { "Would not" } else { "Did not" };
    let skipped = |path: &str, word: &str| {
        Inspection::Same(
            Outcome::same()
                .with("cmd", ready.shown.clone())
                .with("rc", 0)
                .with("stdout", format!("skipped, since {path} {word}"))
                .with("stderr", "")
                .with("msg", format!("{did} run command since '{path}' {word}")),
        )
    };
    let exists = |path: &str, base: &Path| !glob(path, base).is_empty();
    if let Some(creates) = &args.creates
        && exists(creates, &base)
    {
        return Ok(skipped(creates, "exists"));
    }
    if let Some(removes) = &args.removes
        && !exists(removes, &base)
    {
        return Ok(skipped(removes, "does not exist"));
    }
    let predictable = args.creates.is_some() || args.removes.is_some();
    let mut predicted = Outcome { changed: predictable, ..Outcome::default() }
        .with("cmd", ready.shown.clone())
        .with("rc", 0)
        .with("stdout", "")
        .with("stderr", "")
        .with("msg", "Command would have run if not in check mode");
    if !predictable {
        predicted = predicted.with("skipped", true);
    }
    Ok(Inspection::Differs { change: ready, predicted })
}

fn apply(args: &Args, ready: Ready, host: &Host<'_>) -> Result<Outcome, Fault> {
    let stdin = args.stdin.as_ref().map(|text| {
        let mut bytes = text.clone().into_bytes();
        if args.stdin_add_newline {
            bytes.push(b'\n');
        }
        bytes
    });
    let start = SystemTime::now();
    let finished = host.runner.run(&Process {
        argv: ready.argv,
        directory: args.chdir.clone(),
        stdin,
        stream: true,
        ..Process::default()
    });
    let end = SystemTime::now();
    let mut values = Map::new();
    values.insert("cmd".to_owned(), ready.shown);
    values.insert("start".to_owned(), times::stamp(start).into());
    values.insert("end".to_owned(), times::stamp(end).into());
    let finished = finished.map_err(|mut fault| {
        if let Some(Value::Array(shown)) = values.get("cmd") {
            let line = shown.iter().filter_map(Value::as_str).map(words::quote).collect::<Vec<_>>().join(" ");
            values.insert("cmd".to_owned(), line.into());
        }
        // What the runner knows of a command that never ended belongs into the result, under the user's own words.
        for (name, value) in std::mem::take(&mut values) {
            fault.values.insert(name, value);
        }
        fault
    })?;
    values.insert("delta".to_owned(), times::delta(Duration::from_secs_f64(finished.seconds)).into());
    report(&finished, args.strip_empty_ends, values)
}

fn report(finished: &Finished, strip: bool, mut values: Map<String, Value>) -> Result<Outcome, Fault> {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if strip { text.trim_end_matches(['\r', '\n']).to_owned() } else { text.into_owned() }
    };
    values.insert("rc".to_owned(), finished.rc.into());
    values.insert("stdout".to_owned(), text(&finished.stdout).into());
    values.insert("stderr".to_owned(), text(&finished.stderr).into());
    if finished.rc != 0 {
        values.insert("changed".to_owned(), true.into());
        return Err(Fault { msg: "non-zero return code".to_owned(), values });
    }
    values.insert("msg".to_owned(), "".into());
    Ok(Outcome { changed: true, values, ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{run, temp_dir};

    #[test]
    fn a_command_sees_words_and_a_shell_sees_text() {
        let result = run("command", json!({"_raw_params": "printf '%s|' 'a b' $NOT_SET ~root"}), false);
        assert_eq!(result["stdout"], "a b|$NOT_SET|/root|");
        assert_eq!(result["cmd"], json!(["printf", "%s|", "a b", "$NOT_SET", "~root"]));
        assert_eq!((&result["changed"], &result["rc"]), (&json!(true), &json!(0)));
        let result =
            run("shell", json!({"cmd": "echo one; echo two >&2; cat; exit 4", "stdin": "in"}), false);
        assert_eq!(result["stdout_lines"], json!(["one", "in"]));
        assert_eq!(result["stderr"], "two");
        assert_eq!((&result["failed"], &result["rc"]), (&json!(true), &json!(4)));
        assert_eq!((&result["msg"], &result["changed"]), (&json!("non-zero return code"), &json!(true)));
        let result = run("shell", json!({"cmd": "echo; echo x; echo", "executable": "/bin/bash"}), false);
        assert_eq!(result["stdout"], "\nx");
        assert_eq!(run("command", json!({}), false)["rc"], 256);
    }

    #[test]
    fn creates_and_removes_decide_also_in_check_mode() {
        let dir = temp_dir();
        let args = json!({"cmd": "touch made", "chdir": dir.path(), "creates": "mad*"});
        let checked = run("command", args.clone(), true);
        assert_eq!((&checked["changed"], checked.get("skipped")), (&json!(true), None));
        assert!(!dir.path().join("made").exists());
        assert_eq!(run("command", args.clone(), false)["changed"], true);
        let again = run("command", args, false);
        assert_eq!(again["stdout"], "skipped, since mad* exists");
        assert_eq!(again["changed"], false);
        let removed = run("command", json!({"cmd": "true", "removes": dir.at("nope")}), false);
        assert_eq!(removed["changed"], false);
        let skipped = run("shell", json!({"cmd": "true"}), true);
        assert_eq!((&skipped["skipped"], &skipped["changed"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn a_bad_directory_is_named() {
        let result = run("command", json!({"cmd": "true", "chdir": "/no/such"}), false);
        assert_eq!(result["msg"], "cannot change directory to `/no/such`: no such file or directory");
    }
}
