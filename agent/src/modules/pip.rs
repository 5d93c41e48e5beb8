//! `pip`: Python packages, in the system or in a virtual environment.
//!
//! Owns: which requirements are unmet, making the environment. Must not: judge version ranges itself when pip can.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Command, Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{Answer, find_program, run_command};
use crate::system::{self, fault, outcome};
use crate::words;

/// The module.
pub struct Pip;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
    Latest,
    ForceReinstall,
}

/// Typed arguments.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    name: Vec<String>,
    version: Option<String>,
    requirements: Option<String>,
    virtualenv: Option<String>,
    virtualenv_site_packages: bool,
    virtualenv_command: Option<String>,
    virtualenv_python: Option<String>,
    state: State,
    extra_args: Option<String>,
    editable: bool,
    chdir: Option<String>,
    executable: Option<String>,
    umask: Option<Value>,
    break_system_packages: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::list("name"),
    Opt::str("version"),
    Opt::str("requirements"),
    Opt::path("virtualenv"),
    Opt::bool("virtualenv_site_packages"),
    Opt::path("virtualenv_command"),
    Opt::str("virtualenv_python"),
    Opt::str("state").choices(&["absent", "forcereinstall", "latest", "present"]),
    Opt::str("extra_args"),
    Opt::bool("editable"),
    Opt::path("chdir"),
    Opt::path("executable"),
    Opt::raw("umask"),
    Opt::bool("break_system_packages"),
];

/// What must be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    make_environment: bool,
    /// Arguments of pip; `None`: nothing beyond the environment.
    pip: Option<Vec<String>>,
}

impl Module for Pip {
    const SPEC: Spec = Spec {
        options: &[OPTIONS],
        required_one_of: &[&["name", "requirements"]],
        mutually_exclusive: &[&["name", "requirements"], &["executable", "virtualenv"]],
        ..Spec::new("pip")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        if args.version.is_some() && (args.name.len() != 1 || args.state == State::Latest) {
            return Err(fault("`version` of `pip` is for a single `name`, and not for `state: latest`"));
        }
        let make_environment =
            args.virtualenv.as_ref().is_some_and(|v| !system::exists(format!("{v}/bin/activate")));
        let installed = if make_environment { Vec::new() } else { installed(args, host)? };
        let change = Change { make_environment, pip: due(args, &installed, make_environment) };
        let changed = change != Change::default();
        let predicted = result(args, changed, None);
        Ok(if changed { Inspection::Differs { change, predicted } } else { Inspection::Same(predicted) })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        if change.make_environment {
            make_environment(args, host)?;
        }
        let Some(arguments) = change.pip else { return Ok(result(args, true, None)) };
        let before = installed(args, host)?;
        let mut argv = pip(args)?;
        argv.extend(arguments);
        let answer = call(args, argv, true, host)?.or_fault("pip failed")?;
        // Names from elsewhere and requirement files are judged by what was there before and after.
        let changed = change.make_environment
            || args.state == State::ForceReinstall
            || installed(args, host)? != before
            || (args.editable && answer.out.contains("Successfully installed"));
        Ok(result(args, changed, Some(answer)))
    }
}

/// `name`, or `name` with `version`, as pip wants it.
fn requirements(args: &Args) -> Vec<String> {
    // `foo>=1,<2` was split at its comma: a piece that starts with an operator belongs to the one before.
    let mut joined: Vec<String> = Vec::new();
    for name in args.name.iter().map(|n| n.trim()).filter(|n| !n.is_empty()) {
        match joined.last_mut() {
            Some(last) if name.starts_with(['<', '>', '=', '!', '~']) => {
                last.push(',');
                last.push_str(name);
            }
            _ => joined.push(name.to_owned()),
        }
    }
    if let (Some(version), Some(first)) = (&args.version, joined.first_mut()) {
        let operator = if version.starts_with(['<', '>', '=', '!', '~']) { "" } else { "==" };
        first.push_str(operator);
        first.push_str(version);
    }
    joined
}

/// The name in PyPI's normal form and the rest of a requirement; `None` for addresses and files.
fn split(requirement: &str) -> Option<(String, &str)> {
    if requirement.contains("://") || requirement.starts_with(['.', '/']) || requirement.contains(" @ ") {
        return None;
    }
    let end = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    // Extras say nothing about the version.
    let rest = match rest.trim_start().strip_prefix('[') {
        Some(extras) => extras.split_once(']').map_or("", |(_, r)| r),
        None => rest,
    };
    Some((normal(name), rest.split(';').next().unwrap_or_default().trim()))
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

fn due(args: &Args, installed: &[(String, String)], fresh: bool) -> Option<Vec<String>> {
    let version_of = |name: &str| installed.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut words: Vec<String> = match args.state {
        State::Absent => vec!["uninstall".into(), "-y".into()],
        _ => vec!["install".into()],
    };
    match args.state {
        State::Latest => words.push("-U".into()),
        State::ForceReinstall => words.extend(["-U".into(), "--force-reinstall".into()]),
        _ => {}
    }
    if let Some(extra) = &args.extra_args {
        words.extend(words::split(extra).unwrap_or_else(|_| vec![extra.clone()]));
    }
    if args.break_system_packages && args.state != State::Absent {
        words.push("--break-system-packages".into());
    }
    if let Some(file) = &args.requirements {
        words.extend(["-r".into(), file.clone()]);
        return (args.state != State::Absent || !fresh).then_some(words);
    }
    let mut unmet = Vec::new();
    for requirement in requirements(args) {
        let met = match split(&requirement) {
            None => args.state == State::Absent,
            Some((name, range)) => match (args.state, version_of(&name)) {
                (State::Absent, version) => version.is_none(),
                (State::Present, Some(version)) => satisfies(version, range),
                _ => false,
            },
        };
        if !met {
            unmet.push(requirement);
        }
    }
    if unmet.is_empty() {
        return None;
    }
    for requirement in unmet {
        if args.editable && args.state != State::Absent {
            words.push("-e".into());
        }
        words.push(requirement);
    }
    Some(words)
}

/// A subset of PEP 440 that decides release versions; anything it does not know counts as unmet, and then pip decides.
fn satisfies(version: &str, range: &str) -> bool {
    let parts = |v: &str| -> Option<Vec<u64>> { v.trim().split('.').map(|p| p.parse().ok()).collect() };
    let compare = |a: &[u64], b: &[u64]| {
        let length = a.len().max(b.len());
        let at = |v: &[u64], n: usize| v.get(n).copied().unwrap_or(0);
        (0..length).map(|n| at(a, n).cmp(&at(b, n))).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    };
    range.split(',').map(str::trim).filter(|c| !c.is_empty()).all(|clause| {
        let end = clause.find(|c: char| !"<>=!~".contains(c)).unwrap_or(clause.len());
        let (operator, wanted) = (&clause[..end], clause[end..].trim());
        if let Some(prefix) = wanted.strip_suffix(".*") {
            let inside = version == prefix || version.starts_with(&format!("{prefix}."));
            return match operator {
                "==" => inside,
                "!=" => !inside,
                _ => false,
            };
        }
        if matches!(operator, "==" | "===") && version == wanted {
            return true;
        }
        let (Some(have), Some(want)) = (parts(version), parts(wanted)) else { return false };
        let order = compare(&have, &want);
        match operator {
            "==" | "===" => order.is_eq(),
            "!=" => order.is_ne(),
            ">=" => order.is_ge(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            "<" => order.is_lt(),
            "~=" => order.is_ge() && want.len() > 1 && have.starts_with(&want[..want.len() - 1]),
            _ => false,
        }
    })
}

fn pip(args: &Args) -> Result<Vec<String>, Fault> {
    if let Some(environment) = &args.virtualenv {
        return Ok(vec![format!("{environment}/bin/pip")]);
    }
    if let Some(executable) = &args.executable {
        return match find_program(executable) {
            Some(path) => Ok(vec![path]),
            None => {
                Err(fault(format!("`executable` of `pip` is `{executable}`, which this host does not have")))
            }
        };
    }
    match ["pip3", "pip"].iter().find_map(|name| find_program(name)) {
        Some(path) => Ok(vec![path]),
        None => Err(fault("this host has neither `pip3` nor `pip`; install its package first")),
    }
}

fn call(args: &Args, argv: Vec<String>, stream: bool, host: &Host<'_>) -> Result<Answer, Fault> {
    let umask = args.umask.as_ref().and_then(|u| match u {
        Value::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        Value::String(text) => u32::from_str_radix(text, 8).ok(),
        _ => None,
    });
    run_command(host, Command { argv, stream, umask, directory: args.chdir.clone(), ..Command::default() })
}

fn installed(args: &Args, host: &Host<'_>) -> Result<Vec<(String, String)>, Fault> {
    let mut argv = pip(args)?;
    argv.extend(["list", "--format=freeze", "--disable-pip-version-check"].map(str::to_owned));
    let answer = call(args, argv, false, host)?.or_fault("cannot list installed Python packages")?;
    Ok(answer
        .out
        .lines()
        .filter_map(|l| l.split_once("=="))
        .map(|(n, v)| (normal(n), v.trim().to_owned()))
        .collect())
}

fn make_environment(args: &Args, host: &Host<'_>) -> Result<(), Fault> {
    let environment = args.virtualenv.clone().unwrap_or_default();
    let line = args.virtualenv_command.as_deref().unwrap_or("virtualenv");
    let mut argv = words::split(line).map_err(|e| fault(format!("`virtualenv_command` of `pip`: {e}")))?;
    let found = argv.first().and_then(|name| find_program(name));
    match (found, args.virtualenv_command.is_some()) {
        (Some(path), _) => argv[0] = path,
        // Without a command of the user's, Python's own module does where virtualenv is missing.
        (None, false) => {
            let python = args.virtualenv_python.as_deref().unwrap_or("python3");
            let python = find_program(python)
                .ok_or_else(|| fault(format!("this host has neither `virtualenv` nor `{python}`")))?;
            argv = vec![python, "-m".into(), "venv".into()];
        }
        (None, true) => {
            return Err(fault(format!(
                "`virtualenv_command` of `pip` is `{line}`, which this host does not have"
            )));
        }
    }
    let is_venv = argv.iter().any(|w| w == "venv" || w.ends_with("pyvenv"));
    if args.virtualenv_site_packages {
        argv.push("--system-site-packages".into());
    }
    if let Some(python) = args.virtualenv_python.as_ref().filter(|_| !is_venv) {
        argv.push(format!("-p{python}"));
    }
    argv.push(environment.clone());
    call(args, argv, false, host)?.or_fault(&format!("cannot make the environment `{environment}`"))?;
    Ok(())
}

fn result(args: &Args, changed: bool, answer: Option<Answer>) -> Outcome {
    let mut result = outcome(
        changed,
        json!({"name": args.name, "version": args.version, "requirements": args.requirements, "virtualenv": args.virtualenv}),
    );
    if let Some(answer) = answer {
        result.values.insert("cmd".into(), json!(answer.argv));
        result.values.insert("stdout".into(), json!(answer.out));
        result.values.insert("stderr".into(), json!(answer.err));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const LIST: &str = "/usr/bin/pip3 list --format=freeze --disable-pip-version-check";
    const FREEZE: &str = "Jinja2==3.1.2\nzope.interface==5.0\n";

    fn host() -> FakeRoot {
        let root = FakeRoot::with(&[]);
        root.program("/usr/bin/pip3");
        root
    }

    #[test]
    fn met_requirements_are_left_alone() {
        let _root = host();
        for name in [
            json!(["jinja2"]),
            json!(["Jinja2>=3", "<4"]),
            json!(["zope_interface==5.0"]),
            json!(["jinja2[i18n]~=3.1"]),
        ] {
            let script = Script::of(&[(LIST, 0, FREEZE)]);
            assert!(
                matches!(Pip::inspect(&args(json!({"name": name})), &script.host()), Ok(Inspection::Same(_))),
                "{name}"
            );
        }
        let script = Script::of(&[(LIST, 0, FREEZE)]);
        assert!(matches!(
            Pip::inspect(&args(json!({"name": ["x"], "state": "absent"})), &script.host()),
            Ok(Inspection::Same(_))
        ));
    }

    #[test]
    fn unmet_requirements_are_installed() {
        let _root = host();
        let arguments = json!({"name": ["jinja2"], "version": "3.2", "extra_args": "--no-cache-dir"});
        let script = Script::of(&[
            (LIST, 0, FREEZE),
            (LIST, 0, FREEZE),
            ("/usr/bin/pip3 install --no-cache-dir jinja2==3.2", 0, "Successfully installed"),
            (LIST, 0, "Jinja2==3.2\n"),
        ]);
        let Ok(Inspection::Differs { change, .. }) = Pip::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        assert!(Pip::apply(&args(arguments), change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn a_missing_environment_is_made_first() {
        let root = host();
        root.program("/usr/bin/python3");
        let arguments = json!({"name": ["x"], "virtualenv": "/opt/v"});
        let Ok(Inspection::Differs { change, .. }) = Pip::inspect(&args(arguments), &Script::of(&[]).host())
        else {
            panic!()
        };
        assert!(change.make_environment);
        let script = Script::of(&[("/usr/bin/python3 -m venv /opt/v", 0, "")]);
        make_environment(&args(json!({"name": ["x"], "virtualenv": "/opt/v"})), &script.host())
            .expect("makes");
        script.done();
    }

    #[test]
    fn a_host_without_pip_is_told() {
        let _root = FakeRoot::with(&[]);
        let Err(error) = Pip::inspect(&args(json!({"name": ["x"]})), &Script::of(&[]).host()) else {
            panic!()
        };
        assert!(error.msg.starts_with("this host has neither `pip3` nor `pip`"), "{}", error.msg);
    }
}
