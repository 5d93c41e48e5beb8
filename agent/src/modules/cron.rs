//! `cron`: entries of users' crontabs and of files in `/etc/cron.d`.
//!
//! Owns: the marker line that names an entry, the entry's line, environment variables. Must not: touch other lines.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::Attributes;
use crate::files::diff;
use crate::options::{Opt, Spec};
use crate::system::edit::Edit;
use crate::system::run::{need_program, run, run_with_input};
use crate::system::{self, fault, outcome};

/// The module.
pub struct Cron;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    user: Option<String>,
    job: Option<String>,
    #[serde(default)]
    state: State,
    cron_file: Option<String>,
    #[serde(default)]
    backup: bool,
    minute: Option<String>,
    hour: Option<String>,
    day: Option<String>,
    month: Option<String>,
    weekday: Option<String>,
    special_time: Option<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    env: bool,
    insertafter: Option<String>,
    insertbefore: Option<String>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("user"),
    Opt::str("job").aliases(&["value"]),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::path("cron_file"),
    Opt::bool("backup"),
    Opt::str("minute"),
    Opt::str("hour"),
    Opt::str("day").aliases(&["dom"]),
    Opt::str("month"),
    Opt::str("weekday").aliases(&["dow"]),
    Opt::str("special_time")
        .choices(&["reboot", "yearly", "annually", "monthly", "weekly", "daily", "hourly"]),
    Opt::bool("disabled"),
    Opt::bool("env"),
    Opt::str("insertafter"),
    Opt::str("insertbefore"),
];

/// The crontab before and after.
#[derive(Debug, PartialEq)]
pub struct Change {
    before: String,
    after: String,
}

/// Ansible's marker: entries made by either tool are found by the other.
const MARK: &str = "#Ansible: ";

impl Module for Cron {
    const SPEC: Spec = Spec {
        options: &[OPTIONS],
        mutually_exclusive: &[&["insertafter", "insertbefore"]],
        required_if: &[("state", "present", &["job"])],
        ..Spec::new("cron")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        check(args)?;
        let before = match file(args) {
            Some(path) => system::text(path).unwrap_or_default(),
            None => crontab(args, host)?,
        };
        let after = if args.env { with_variable(&before, args)? } else { with_entry(&before, args) };
        let mut result = result(&after, after != before);
        if after == before {
            return Ok(Inspection::Same(result));
        }
        result.diff.push(diff::text("crontab", before.as_bytes(), after.as_bytes()));
        Ok(Inspection::Differs { change: Change { before, after }, predicted: result })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let mut done = result(&change.after, true);
        if let Some(path) = file(args) {
            let nothing_left = change.after.trim().is_empty() && args.state == State::Absent;
            let after = (!nothing_left).then_some(change.after);
            if let Some(edit) = Edit::of(&path, after, &Attributes::default(), host)?
                && let Some(saved) = edit.apply(&Attributes::default(), "0644", args.backup, host)?
            {
                done.values.insert("backup_file".into(), json!(saved));
            }
            return Ok(done);
        }
        if args.backup {
            let saved =
                std::env::temp_dir().join(format!("crontab{}", std::process::id())).display().to_string();
            system::write::replace(&saved, &change.before, 0o600)?;
            done.values.insert("backup_file".into(), json!(saved));
        }
        let mut argv = vec![need_program("crontab")?];
        if let Some(user) = &args.user {
            argv.extend(["-u".into(), user.clone()]);
        }
        argv.push("-".into());
        run_with_input(host, &argv, &change.after)?.or_fault("cannot install the crontab")?;
        Ok(done)
    }
}

fn check(args: &Args) -> Result<(), Fault> {
    if args.state == State::Present
        && args.special_time.is_some()
        && [&args.minute, &args.hour, &args.day, &args.month, &args.weekday]
            .iter()
            .any(|t| t.as_deref().is_some_and(|t| t != "*"))
    {
        return Err(fault("`cron` takes `special_time` or the single times, not both"));
    }
    if args.cron_file.is_some() && args.user.is_none() && args.state == State::Present && !args.env {
        return Err(fault("`cron` needs `user` to write a `cron_file`"));
    }
    if (args.insertafter.is_some() || args.insertbefore.is_some()) && !args.env {
        return Err(fault("`insertafter` and `insertbefore` of `cron` are only for `env`"));
    }
    Ok(())
}

fn file(args: &Args) -> Option<String> {
    let name = args.cron_file.as_ref()?;
    Some(if name.starts_with('/') { name.clone() } else { format!("/etc/cron.d/{name}") })
}

fn crontab(args: &Args, host: &Host<'_>) -> Result<String, Fault> {
    let mut argv = vec![need_program("crontab")?];
    if let Some(user) = &args.user {
        argv.extend(["-u".into(), user.clone()]);
    }
    argv.push("-l".into());
    let answer = run(host, &argv)?;
    // The same status and other words: the user has none yet, or is not there, and then there is nothing to remove.
    if answer.ok() {
        // Debian's crontab used to show its own header.
        let mut lines: Vec<&str> = answer.out.lines().collect();
        while lines.first().is_some_and(|l| {
            l.starts_with("# DO NOT EDIT") || l.starts_with("# (/tmp/") || l.starts_with("# (Cron version")
        }) {
            lines.remove(0);
        }
        Ok(lines.iter().map(|l| format!("{l}\n")).collect())
    } else if answer.err.contains("no crontab for")
        || answer.err.contains("can't open")
        || (answer.rc == 1 && args.state == State::Absent)
    {
        Ok(String::new())
    } else {
        Err(answer.to_fault("cannot read the crontab"))
    }
}

fn entry(args: &Args) -> String {
    let job = args.job.as_deref().unwrap_or_default().trim_matches(['\r', '\n']);
    let disabled = if args.disabled { "#" } else { "" };
    // Files in cron.d say whose command it is.
    let user = match (&args.cron_file, &args.user) {
        (Some(_), Some(user)) => format!("{user} "),
        _ => String::new(),
    };
    if let Some(special) = &args.special_time {
        return format!("{disabled}@{special} {user}{job}");
    }
    let time = |t: &Option<String>| t.clone().unwrap_or_else(|| "*".into());
    format!(
        "{disabled}{} {} {} {} {} {user}{job}",
        time(&args.minute),
        time(&args.hour),
        time(&args.day),
        time(&args.month),
        time(&args.weekday)
    )
}

fn with_entry(before: &str, args: &Args) -> String {
    let marker = format!("{MARK}{}", args.name);
    let wanted = entry(args);
    let mut out: Vec<String> = Vec::new();
    let mut done = false;
    let mut lines = before.lines().peekable();
    while let Some(line) = lines.next() {
        if line != marker {
            // An entry of the same words that nobody has named yet is taken over, as Ansible does.
            let unnamed = out.last().is_none_or(|l| !l.starts_with(MARK));
            if line == wanted
                && unnamed
                && args.state == State::Present
                && !before.lines().any(|l| l == marker)
            {
                out.push(marker.clone());
                done = true;
            }
            out.push(line.to_owned());
            continue;
        }
        lines.next();
        if args.state == State::Present && !done {
            out.push(marker.clone());
            out.push(wanted.clone());
            done = true;
        }
    }
    if args.state == State::Present && !done {
        out.push(marker);
        out.push(wanted);
    }
    out.iter().map(|l| format!("{l}\n")).collect()
}

fn with_variable(before: &str, args: &Args) -> Result<String, Fault> {
    let is = |line: &str, name: &str| line.split_once('=').is_some_and(|(n, _)| n.trim() == name);
    let wanted = format!("{}={}", args.name, quoted(args.job.as_deref().unwrap_or_default()));
    let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
    let at = lines.iter().position(|l| is(l, &args.name));
    match (args.state, at) {
        (State::Absent, Some(at)) => {
            lines.remove(at);
        }
        (State::Absent, None) => {}
        (State::Present, Some(at)) => lines[at] = wanted,
        (State::Present, None) => {
            let place = |name: &String| {
                lines
                    .iter()
                    .position(|l| is(l, name))
                    .ok_or_else(|| fault(format!("the crontab has no variable `{name}`")))
            };
            let at = match (&args.insertafter, &args.insertbefore) {
                (Some(name), _) => place(name)? + 1,
                (None, Some(name)) => place(name)?,
                (None, None) => 0,
            };
            lines.insert(at, wanted);
        }
    }
    Ok(lines.iter().map(|l| format!("{l}\n")).collect())
}

fn quoted(value: &str) -> String {
    if value.starts_with(['"', '\'']) { value.to_owned() } else { format!("\"{value}\"") }
}

fn result(text: &str, changed: bool) -> Outcome {
    let jobs: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix(MARK)).collect();
    let envs: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once('=').map(|(n, _)| n.trim()))
        .filter(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    outcome(changed, json!({"jobs": jobs, "envs": envs}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const TAB: &str = "PATH=\"/bin\"\n0 1 * * * other\n#Ansible: clean\n*/5 * * * * /bin/clean\n";

    fn entry_of(mut arguments: Value) -> String {
        arguments["name"] = json!("clean");
        with_entry(TAB, &args(arguments))
    }

    #[test]
    fn a_named_entry_is_kept_changed_and_removed() {
        assert_eq!(entry_of(json!({"job": "/bin/clean", "minute": "*/5"})), TAB);
        assert!(
            entry_of(json!({"job": "/bin/clean", "special_time": "daily"}))
                .ends_with("#Ansible: clean\n@daily /bin/clean\n")
        );
        assert!(
            entry_of(json!({"job": "/bin/clean", "minute": "*/5", "disabled": true}))
                .ends_with("\n#*/5 * * * * /bin/clean\n")
        );
        assert_eq!(entry_of(json!({"state": "absent"})), "PATH=\"/bin\"\n0 1 * * * other\n");
    }

    #[test]
    fn a_users_crontab_is_read_and_installed() {
        let root = FakeRoot::with(&[]);
        root.program("/usr/bin/crontab");
        let arguments: Args = args(json!({"name": "n", "job": "x", "user": "ann"}));
        let script = Script::of(&[
            ("/usr/bin/crontab -u ann -l", 1, "no crontab for ann"),
            ("/usr/bin/crontab -u ann -", 0, ""),
        ]);
        let Ok(Inspection::Differs { change, .. }) = Cron::inspect(&arguments, &script.host()) else {
            panic!()
        };
        let done = Cron::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!(script.inputs(), ["#Ansible: n\n* * * * * x\n"]);
        assert_eq!(done.values["jobs"], json!(["n"]));
        let script = Script::of(&[("/usr/bin/crontab -u ann -l", 0, "#Ansible: n\n* * * * * x\n")]);
        assert!(matches!(Cron::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn nothing_is_removed_for_a_user_who_is_not_there() {
        let root = FakeRoot::with(&[]);
        root.program("/usr/bin/crontab");
        let said = "crontab:  user `gone' unknown";
        let of = |more: Value| {
            let mut arguments = json!({"name": "n", "user": "gone"});
            arguments
                .as_object_mut()
                .expect("a mapping")
                .extend(more.as_object().expect("a mapping").clone());
            let script = Script::of(&[("/usr/bin/crontab -u gone -l", 1, said)]);
            Cron::inspect(&args(arguments), &script.host())
        };
        let Ok(Inspection::Same(done)) = of(json!({"state": "absent"})) else { panic!("it is absent") };
        assert_eq!(done.values["jobs"], json!([]));
        assert!(of(json!({"job": "x"})).is_err());
    }

    #[test]
    fn files_in_cron_d_name_the_user() {
        let root = FakeRoot::with(&[]);
        let arguments: Args = args(
            json!({"name": "n", "job": "x", "user": "root", "cron_file": "mine", "hour": "3", "minute": "0"}),
        );
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, .. }) = Cron::inspect(&arguments, &script.host()) else {
            panic!()
        };
        Cron::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!(root.get("/etc/cron.d/mine"), "#Ansible: n\n0 3 * * * root x\n");
    }

    #[test]
    fn variables_have_their_place() {
        let of = |arguments| with_variable(TAB, &args(arguments)).map_err(|f| f.msg);
        let text =
            of(json!({"name": "MAILTO", "job": "a@b", "env": true, "insertafter": "PATH"})).expect("fits");
        assert!(text.starts_with("PATH=\"/bin\"\nMAILTO=\"a@b\"\n"), "{text}");
        assert_eq!(
            of(json!({"name": "A", "job": "b", "env": true, "insertafter": "X"})),
            Err("the crontab has no variable `X`".into())
        );
    }

    #[test]
    fn times_that_exclude_each_other_are_told() {
        let error = check(&args(json!({"name": "n", "job": "x", "special_time": "daily", "hour": "1"})))
            .expect_err("both");
        assert_eq!(error.msg, "`cron` takes `special_time` or the single times, not both");
    }
}
