//! Facts that administrators put on the host, and the host's Python.
//!
//! Owns: `local` (`/etc/ansible/facts.d/*.fact`), `python`, `python_version`, `systemd`: the only facts that need a
//! subprocess.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Map, Value, json};

use super::Facts;
use crate::modules::Host;
use crate::system::{self, root, run};

/// Reads every `*.fact` of the folder; executables are run and their output read.
pub(super) fn gather(facts: &mut Facts, folder: &str, host: &Host<'_>, warnings: &mut Vec<String>) {
    let mut found = Map::new();
    for name in system::names(folder) {
        let Some(fact) = name.strip_suffix(".fact") else { continue };
        let path = format!("{folder}/{name}");
        let executable = fs::metadata(root::at(&path)).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
        let text = if executable { run_fact(&path, host) } else { read_fact(&path) };
        let value = text.and_then(|t| parse(&t)).unwrap_or_else(|why| {
            let message = format!("local fact `{path}`: {why}");
            warnings.push(message.clone());
            json!(message)
        });
        found.insert(fact.to_owned(), value);
    }
    facts.put("local", Value::Object(found));
}

fn read_fact(path: &str) -> Result<String, String> {
    fs::read(root::at(path)).map(|b| String::from_utf8_lossy(&b).into_owned()).map_err(|e| e.to_string())
}

fn run_fact(path: &str, host: &Host<'_>) -> Result<String, String> {
    let real = root::at(path).to_string_lossy().into_owned();
    let answer = run::run(host, &[real]).map_err(|f| f.msg)?;
    if answer.ok() {
        Ok(answer.out)
    } else {
        Err(format!("ended with status {}: {}", answer.rc, answer.err.trim()))
    }
}

/// JSON, or an INI file as a mapping of sections.
fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).or_else(|_| parse_ini(text))
}

fn parse_ini(text: &str) -> Result<Value, String> {
    let mut sections = Map::new();
    let mut defaults = Map::new();
    let mut section: Option<String> = None;
    let mut last_key: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|r| r.split_once(']')).map(|(n, _)| n) {
            section = Some(name.to_owned());
            last_key = None;
            if name != "DEFAULT" {
                sections.entry(name).or_insert_with(|| json!({}));
            }
            continue;
        }
        let Some(name) = &section else {
            return Err(format!("neither JSON nor INI: line {} stands before any section", number + 1));
        };
        let values = if name == "DEFAULT" {
            &mut defaults
        } else {
            match sections.get_mut(name) {
                Some(Value::Object(values)) => values,
                _ => continue,
            }
        };
        // An indented line goes on with the value above.
        if line.starts_with(char::is_whitespace)
            && let Some(Value::String(value)) = last_key.as_ref().and_then(|k| values.get_mut(k))
        {
            value.push('\n');
            value.push_str(trimmed);
            continue;
        }
        let Some(at) = trimmed.find(['=', ':']) else {
            return Err(format!("neither JSON nor INI: line {} has no `=`", number + 1));
        };
        let key = trimmed[..at].trim().to_lowercase();
        values.insert(key.clone(), json!(trimmed[at + 1..].trim()));
        last_key = Some(key);
    }
    for (_, values) in &mut sections {
        if let Value::Object(values) = values {
            for (key, value) in &defaults {
                if !values.contains_key(key) {
                    values.insert(key.clone(), value.clone());
                }
            }
        }
    }
    Ok(Value::Object(sections))
}

/// Asks the host's Python, if it has one, for its version.
pub(super) fn python(facts: &mut Facts, host: &Host<'_>) {
    let Some(executable) = run::find_program("python3") else { return };
    let script = "import sys;v=sys.version_info;print(*v[:3],v[3],v[4],sys.implementation.name)";
    let Ok(answer) = run::run(host, &[executable.as_str(), "-I", "-S", "-c", script]) else { return };
    if let Some((version, value)) = python_fact(&executable, &answer.out) {
        facts.put("python_version", json!(version));
        facts.put("python", value);
    }
}

/// Asks systemd for its version and what it was built with.
pub(super) fn systemd(facts: &mut Facts, host: &Host<'_>) {
    let Some(systemctl) = run::find_program("systemctl") else { return };
    let Ok(answer) = run::run(host, &[systemctl.as_str(), "--version"]) else { return };
    let mut lines = answer.out.lines();
    let version = lines.next().and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    if let (Some(version), Some(features)) = (version, lines.next()) {
        facts.put("systemd", json!({"version": version, "features": features}));
    }
}

fn python_fact(executable: &str, out: &str) -> Option<(String, Value)> {
    let words: Vec<&str> = out.split_whitespace().collect();
    let [major, minor, micro, level, serial, kind] = words.as_slice() else { return None };
    let number = |text: &str| text.parse::<u64>().ok();
    let (a, b, c, s) = (number(major)?, number(minor)?, number(micro)?, number(serial)?);
    Some((
        format!("{a}.{b}.{c}"),
        json!({
            "executable": executable,
            "has_sslcontext": true,
            "type": kind,
            "version": {"major": a, "minor": b, "micro": c, "releaselevel": level, "serial": s},
            "version_info": [a, b, c, level, s],
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::Script;

    #[test]
    fn local_facts_are_json_or_ini_or_programs() {
        let root = FakeRoot::with(&[
            ("/etc/ansible/facts.d/a.fact", "{\"n\": 1}"),
            ("/etc/ansible/facts.d/b.fact", "[Sec]\nKey = value\nmore: 2\n"),
            ("/etc/ansible/facts.d/bad.fact", "nonsense"),
            ("/etc/ansible/facts.d/readme.txt", "x"),
        ]);
        root.program("/etc/ansible/facts.d/c.fact");
        let command = root.path("/etc/ansible/facts.d/c.fact").to_string_lossy().into_owned();
        let script = Script::of(&[(&command, 0, "[1, 2]")]);
        let (mut facts, mut warnings) = (Facts::default(), Vec::new());
        gather(&mut facts, "/etc/ansible/facts.d", &script.host(), &mut warnings);
        let local = facts.get("local").expect("local");
        assert_eq!(local["a"], json!({"n": 1}));
        assert_eq!(local["b"], json!({"Sec": {"key": "value", "more": "2"}}));
        assert_eq!(local["c"], json!([1, 2]));
        assert_eq!(
            warnings,
            [
                "local fact `/etc/ansible/facts.d/bad.fact`: neither JSON nor INI: line 1 stands before any section"
            ]
        );
    }

    #[test]
    fn python_says_its_version() {
        let (version, value) = python_fact("/usr/bin/python3", "3 11 2 final 0 cpython\n").expect("a fact");
        assert_eq!((version.as_str(), value["version"]["minor"].as_u64()), ("3.11.2", Some(11)));
        assert_eq!(python_fact("/x", "error"), None);
    }
}
