//! `known_hosts`: host keys that ssh trusts.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::Attributes;
use crate::options::{Opt, Spec};
use crate::system::edit::Edit;
use crate::system::run::{find_program, run};
use crate::system::{self, fault, outcome, root};

/// The module.
pub struct KnownHosts;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    key: Option<String>,
    path: Option<String>,
    state: Option<String>,
    #[serde(default)]
    hash_host: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required().aliases(&["host"]),
    Opt::str("key"),
    Opt::path("path"),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::bool("hash_host"),
];

impl Module for KnownHosts {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("known_hosts") };
    type Args = Args;
    type Change = Edit;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Edit>, Fault> {
        let absent = args.state.as_deref() == Some("absent");
        let keys = wanted(args)?;
        if !absent && keys.is_empty() {
            return Err(fault("`known_hosts` needs `key` to add a host"));
        }
        let path = path(args)?;
        let before = system::text(&path);
        let text = before.clone().unwrap_or_default();
        let ours = lines_of(args, &path, &text, host)?;
        let mut lines: Vec<String> = Vec::new();
        let mut there = vec![false; keys.len()];
        for (number, line) in text.lines().enumerate() {
            let parsed = parse(line);
            let about_us = ours.contains(&number)
                || parsed.as_ref().is_some_and(|(names, ..)| names.split(',').any(|n| n == args.name));
            let Some((_, kind, data)) = parsed.filter(|_| about_us) else {
                lines.push(line.to_owned());
                continue;
            };
            let at = keys.iter().position(|(k, d, _)| *k == kind && *d == data);
            match (absent, at) {
                // Without a key every key of the host goes.
                (true, at) if keys.is_empty() || at.is_some() => {}
                (true, _) => lines.push(line.to_owned()),
                (false, Some(at)) => {
                    there[at] = true;
                    lines.push(line.to_owned());
                }
                // A host has one key of a kind: another one replaces it.
                (false, None) if keys.iter().any(|(k, ..)| *k == kind) => {}
                (false, None) => lines.push(line.to_owned()),
            }
        }
        if !absent {
            lines.extend(
                keys.iter().zip(&there).filter(|(_, there)| !**there).map(|((.., line), _)| line.clone()),
            );
        }
        let after: String = lines.iter().map(|l| format!("{l}\n")).collect();
        let same = lines.iter().map(String::as_str).eq(text.lines());
        let after = if same { before } else { Some(after) };
        let result = result(args, &path);
        let Some(edit) = Edit::of(&path, after, &Attributes::default(), host)? else {
            return Ok(Inspection::Same(result));
        };
        let diff = vec![edit.diff()];
        Ok(Inspection::Differs { change: edit, predicted: Outcome { changed: true, diff, ..result } })
    }

    fn apply(args: &Args, edit: Edit, host: &Host<'_>) -> Result<Outcome, Fault> {
        edit.apply(&Attributes::default(), "0644", false, host)?;
        let path = path(args)?;
        if args.hash_host && args.state.as_deref() != Some("absent") {
            let real = root::at(&path).display().to_string();
            run(host, &["ssh-keygen", "-H", "-f", &real])?.or_fault("cannot hash the host names")?;
            std::fs::remove_file(format!("{real}.old")).ok();
        }
        Ok(Outcome { changed: true, ..result(args, &path) })
    }
}

fn path(args: &Args) -> Result<String, Fault> {
    if let Some(path) = &args.path {
        return Ok(path.clone());
    }
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let home = user.map(|u| u.dir.display().to_string());
    home.map(|h| format!("{h}/.ssh/known_hosts"))
        .ok_or_else(|| fault("the remote user has no home: give `path` of `known_hosts`"))
}

/// Names, kind and data of a line; a marker (`@cert-authority`) before them is skipped.
fn parse(line: &str) -> Option<(String, String, String)> {
    let mut words = line.split_whitespace().skip_while(|w| w.starts_with('@'));
    let names = words.next().filter(|n| !n.starts_with('#'))?;
    Some((names.to_owned(), words.next()?.to_owned(), words.next()?.to_owned()))
}

/// The keys to have: kind, data and the line to write.
fn wanted(args: &Args) -> Result<Vec<(String, String, String)>, Fault> {
    let text = args.key.as_deref().unwrap_or_default();
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|line| {
            let (names, kind, data) = parse(line)
                .ok_or_else(|| fault(format!("`key` of `known_hosts` is no line of that file: `{line}`")))?;
            let hashed = names.starts_with("|1|");
            if !hashed && !names.split(',').any(|n| n == args.name) {
                return Err(fault(format!(
                    "`key` of `known_hosts` is for `{names}`, not for `{}`",
                    args.name
                )));
            }
            Ok((kind, data, line.to_owned()))
        })
        .collect()
}

/// Lines with hashed names that are about the host; only ssh-keygen can tell.
fn lines_of(args: &Args, path: &str, text: &str, host: &Host<'_>) -> Result<Vec<usize>, Fault> {
    if !text.lines().any(|l| l.starts_with("|1|")) || find_program("ssh-keygen").is_none() {
        return Ok(Vec::new());
    }
    let real = root::at(path).display().to_string();
    let answer = run(host, &["ssh-keygen", "-F", &args.name, "-f", &real])?;
    Ok(answer
        .out
        .lines()
        .filter_map(|l| {
            l.strip_prefix("# Host ")?
                .rsplit_once("line ")?
                .1
                .split_whitespace()
                .next()?
                .parse::<usize>()
                .ok()
        })
        .filter_map(|n| n.checked_sub(1))
        .collect())
}

fn result(args: &Args, path: &str) -> Outcome {
    let state = args.state.as_deref().unwrap_or("present");
    outcome(
        false,
        json!({"name": args.name, "key": args.key, "path": path, "state": state, "hash_host": args.hash_host}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const FILE: &str = "# c\nweb,10.0.0.1 ssh-rsa AAAA\nother ssh-rsa BBBB\n";

    fn after(arguments: Value) -> Option<String> {
        let root = FakeRoot::with(&[("/kh", FILE)]);
        let script = Script::of(&[]);
        match KnownHosts::inspect(&args(arguments.clone()), &script.host()).expect("inspects") {
            Inspection::Same(_) => None,
            Inspection::Differs { change, .. } => {
                KnownHosts::apply(&args(arguments), change, &script.host()).expect("applies");
                Some(root.get("/kh"))
            }
        }
    }

    #[test]
    fn a_key_is_known_once_and_replaced_by_another_of_its_kind() {
        assert_eq!(after(json!({"name": "web", "key": "web ssh-rsa AAAA", "path": "/kh"})), None);
        assert_eq!(
            after(json!({"name": "web", "key": "web ssh-ed25519 CCCC", "path": "/kh"})),
            Some(format!("{FILE}web ssh-ed25519 CCCC\n"))
        );
        let replaced = "# c\nother ssh-rsa BBBB\nweb ssh-rsa DDDD\n";
        assert_eq!(
            after(json!({"name": "web", "key": "web ssh-rsa DDDD", "path": "/kh"})),
            Some(replaced.into())
        );
        assert_eq!(
            after(json!({"name": "web", "state": "absent", "path": "/kh"})),
            Some("# c\nother ssh-rsa BBBB\n".into())
        );
    }

    #[test]
    fn a_key_for_another_host_is_told() {
        let error = wanted(&args(json!({"name": "web", "key": "db ssh-rsa AAAA"}))).expect_err("refused");
        assert_eq!(error.msg, "`key` of `known_hosts` is for `db`, not for `web`");
    }
}
