//! Small views of the host that several modules and facts share.
//!
//! Owns: reading host files, finding and running programs, replacing a text file, accounts, systemd units.
//! Must not: decide what a task changes.
//! Called by: the modules and the facts.

pub mod accounts;
pub mod edit;
pub mod root;
pub mod run;
pub mod systemctl;
pub mod write;

#[cfg(test)]
pub mod script;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::modules::{Fault, Outcome};

/// Reads a host file as text; bytes that are not UTF-8 are replaced. `None` when it cannot be read.
#[must_use]
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = fs::read(root::at(path)).ok()?;
    Some(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Reads a host file and trims it; `None` when it cannot be read or holds nothing.
#[must_use]
pub fn word(path: impl AsRef<Path>) -> Option<String> {
    text(path)
        .map(|t| t.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
        .filter(|t| !t.is_empty())
}

/// True when the path exists on the host, a dangling link excluded.
#[must_use]
pub fn exists(path: impl AsRef<Path>) -> bool {
    root::at(path).exists()
}

/// Names in a directory, sorted; empty when it cannot be read.
#[must_use]
pub fn names(path: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root::at(path)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The last component of the path that a link leads to.
#[must_use]
pub fn link_name(path: impl AsRef<Path>) -> Option<String> {
    let target = fs::read_link(root::at(path)).ok()?;
    target.file_name().map(|n| n.to_string_lossy().into_owned())
}

/// A fault with just a message.
#[must_use]
pub fn fault(msg: impl Into<String>) -> Fault {
    Fault::new(msg)
}

/// A fault that carries return values beside its message.
#[must_use]
pub fn fault_with(msg: impl Into<String>, values: Value) -> Fault {
    Fault { msg: msg.into(), values: object(values) }
}

/// An outcome from `json!({...})`.
#[must_use]
pub fn outcome(changed: bool, values: Value) -> Outcome {
    Outcome { changed, values: object(values), ..Outcome::default() }
}

/// An outcome that shows `before` and `after` with `--diff`.
#[must_use]
pub fn outcome_diff(values: Value, before: Value, after: Value) -> Outcome {
    let mut diff = Map::new();
    diff.insert("before".into(), before);
    diff.insert("after".into(), after);
    Outcome { changed: true, values: object(values), diff: vec![Value::Object(diff)], ..Outcome::default() }
}

fn object(values: Value) -> Map<String, Value> {
    match values {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
