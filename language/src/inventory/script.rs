//! Inventories that an executable prints, and files of the same JSON.
//!
//! Owns: calling `--list` and `--host`, the shape of that JSON. Must not: know other formats.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::model::Inventory;
use super::reader::{Reader, from_json};
use crate::source::{Diagnostic, Node, Span};

/// True for a file that is meant to be run: it may be, and it is a script or a binary.
///
/// On some file systems everything may be run, so the permission alone says nothing.
pub(super) fn is_executable(path: &Path) -> bool {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    let allowed = fs_err::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if !allowed {
        return false;
    }
    let mut start = [0; 256];
    let read = fs_err::File::open(path).and_then(|mut file| file.read(&mut start));
    read.is_ok_and(|length| start.starts_with(b"#!") || start[..length].contains(&0))
}

/// Runs the script and adds what it prints.
pub(super) fn add(inventory: &mut Inventory, path: &Path, source: &Arc<PathBuf>, reader: &mut Reader<'_>) {
    let Some((list, span)) = call(path, &["--list"], reader) else { return };
    add_list(inventory, &list, span, source, reader);
    // Without `_meta` the script wants one call a host.
    if list.get("_meta").is_none() {
        let hosts: Vec<Arc<str>> = inventory
            .hosts()
            .filter(|h| h.source.as_ref() == Some(source))
            .map(|h| Arc::clone(&h.name))
            .collect();
        for host in hosts {
            if let Some((vars, span)) = call(path, &["--host", &host], reader) {
                set_host_vars(inventory, &host, &vars, span);
            }
        }
    }
}

/// Adds groups and `_meta.hostvars`.
pub(super) fn add_list(
    inventory: &mut Inventory,
    list: &Map<String, Value>,
    span: Span,
    source: &Arc<PathBuf>,
    reader: &mut Reader<'_>,
) {
    for (group, body) in list.iter().filter(|(name, _)| *name != "_meta") {
        inventory.add_group(group);
        let wrong = |what: &str| {
            Diagnostic::error(
                "script-inventory",
                format!("group `{group}` of the inventory script: {what}"),
                span,
            )
        };
        match body {
            Value::Array(hosts) => {
                add_hosts(inventory, group, hosts, source);
            }
            Value::Object(body) if !["hosts", "vars", "children"].iter().any(|k| body.contains_key(*k)) => {
                // The oldest form: the "group" is a host with variables.
                inventory.add_host(group, Some(source));
                inventory.add_member(group, group);
                for (name, value) in body {
                    inventory.set_group_var(group, Arc::from(&**name), Arc::new(from_json(value, span)));
                }
            }
            Value::Object(body) => {
                match body.get("hosts") {
                    None | Some(Value::Null) => {}
                    Some(Value::Array(hosts)) => add_hosts(inventory, group, hosts, source),
                    Some(_) => reader.found.push(wrong("`hosts` must be a list")),
                }
                match body.get("vars") {
                    None | Some(Value::Null) => {}
                    Some(Value::Object(vars)) => {
                        for (name, value) in vars {
                            inventory.set_group_var(
                                group,
                                Arc::from(&**name),
                                Arc::new(from_json(value, span)),
                            );
                        }
                    }
                    Some(_) => reader.found.push(wrong("`vars` must be an object")),
                }
                match body.get("children") {
                    None | Some(Value::Null) => {}
                    Some(Value::Array(children)) => {
                        for child in children.iter().filter_map(Value::as_str) {
                            if let Err(fault) = inventory.add_child(group, child) {
                                reader.found.push(wrong(&fault.to_string()));
                            }
                        }
                    }
                    Some(_) => reader.found.push(wrong("`children` must be a list")),
                }
            }
            _ => reader.found.push(wrong("it must be a list of hosts or an object")),
        }
    }
    let hostvars = list.get("_meta").and_then(|m| m.get("hostvars")).and_then(Value::as_object);
    for (host, vars) in hostvars.into_iter().flatten() {
        // Ansible ignores variables of hosts that no group lists.
        if let (true, Some(vars)) = (inventory.host(host).is_some(), vars.as_object()) {
            set_host_vars(inventory, host, vars, span);
        }
    }
}

fn add_hosts(inventory: &mut Inventory, group: &str, hosts: &[Value], source: &Arc<PathBuf>) {
    for host in hosts {
        let name = host.as_str().map_or_else(|| host.to_string(), str::to_owned);
        inventory.add_host(&name, Some(source));
        inventory.add_member(group, &name);
    }
}

fn set_host_vars(inventory: &mut Inventory, host: &str, vars: &Map<String, Value>, span: Span) {
    for (name, value) in vars {
        let node: Node = from_json(value, span);
        inventory.set_host_var(host, Arc::from(&**name), Arc::new(node));
    }
}

/// Runs the script once; its output becomes a source, so that findings can show it.
fn call(path: &Path, args: &[&str], reader: &mut Reader<'_>) -> Option<(Map<String, Value>, Span)> {
    let shown = format!("{} {}", path.display(), args.join(" "));
    let mut fail = |code, message: String, output: String, help: Option<String>| {
        let span = Span { file: reader.sources.add(PathBuf::from(&shown), output), start: 0, end: 0 };
        let mut error = Diagnostic::error(code, message, span);
        error.help = help;
        reader.found.push(error);
    };
    let output = match Command::new(path).args(args).stdin(std::process::Stdio::null()).output() {
        Ok(output) => output,
        Err(fault) => {
            let help = "an inventory file that is no script must not be executable: `chmod -x` it".to_owned();
            fail(
                "script-inventory",
                format!("can't run the inventory script: {fault}"),
                String::new(),
                Some(help),
            );
            return None;
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() {
        let last = errors.lines().last().unwrap_or("it wrote no message").to_owned();
        fail(
            "script-inventory",
            format!("the inventory script ended with {}: {last}", output.status),
            errors,
            None,
        );
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // An empty answer to `--host` means no variables.
    let parsed =
        if text.trim().is_empty() { Ok(Value::Object(Map::new())) } else { serde_json::from_str(&text) };
    match parsed {
        Ok(Value::Object(map)) => {
            let span = Span { file: reader.sources.add(PathBuf::from(&shown), text), start: 0, end: 0 };
            Some((map, span))
        }
        Ok(_) => {
            fail(
                "script-inventory",
                "the inventory script printed JSON that is no object".into(),
                text,
                None,
            );
            None
        }
        Err(fault) => {
            fail(
                "script-inventory",
                format!("the inventory script printed no valid JSON: {fault}"),
                text,
                None,
            );
            None
        }
    }
}
