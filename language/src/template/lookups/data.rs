//! Lookups of variables, the environment and commands on the controller.

use std::process::Command;
use std::sync::Arc;

use minijinja::Value;

use super::Call;
use crate::template::error::{R, TemplateError};
use crate::template::eval::Cx;
use crate::template::filters::{compile_regex, environment};
use crate::template::marks::{is_missing, missing};
use crate::template::values::text;

pub(super) fn env(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let term = text(term)?;
        let name = term.split_whitespace().next().unwrap_or("");
        out.push(match (environment(cx, name), call.option("default")) {
            (Some(value), _) => Value::from(value),
            (None, Some(default)) if is_missing(default) => missing(TemplateError::undefined(
                name,
                format!("the environment variable `{name}` is not set"),
            )),
            (None, Some(default)) => default.clone(),
            (None, None) => Value::from(""),
        });
    }
    Ok(out)
}

pub(super) fn vars(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let name = text(term)?;
        let engine = Arc::clone(&cx.engine);
        let found = engine.variable(&cx.scope, &name)?.filter(|v| !is_missing(v));
        out.push(match (found, call.option("default")) {
            (Some(value), _) => value,
            (None, Some(default)) => default.clone(),
            (None, None) => {
                return Err(TemplateError::undefined(name.clone(), format!("`{name}` is undefined")));
            }
        });
    }
    Ok(out)
}

/// Names of variables that a regular expression finds.
pub(super) fn varnames(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let names = cx.scope.names();
    let mut out = Vec::new();
    for term in &call.terms {
        let pattern = text(term)?;
        for name in &names {
            let regex = compile_regex(&pattern, crate::template::filters::RegexFlags::default(), name)?;
            if regex.is_match(name).map_err(|e| call.fail(e))? {
                out.push(Value::from(name.as_str()));
            }
        }
    }
    Ok(out)
}

pub(super) fn inventory_hostnames(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let Some(hosts) = cx.engine.options.hosts.clone() else {
        return Err(call.fail("no inventory is at hand here"));
    };
    let terms = call.terms.iter().map(text).collect::<R<Vec<_>>>()?;
    hosts(&terms.join(","))
        .map(|all| all.into_iter().map(Value::from).collect())
        .map_err(|why| call.fail(why))
}

/// The few settings that playbooks ask for; they have Ansible's defaults here.
pub(super) fn config(_: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let name = text(term)?;
        out.push(match name.as_str() {
            "DEFAULT_REMOTE_PORT" | "DEFAULT_REMOTE_USER" | "DEFAULT_PRIVATE_KEY_FILE" => Value::from(()),
            "DEFAULT_BECOME_METHOD" => Value::from("sudo"),
            "DEFAULT_BECOME_USER" => Value::from("root"),
            "DEFAULT_BECOME" => Value::from(false),
            "DEFAULT_MANAGED_STR" => Value::from("Ansible managed"),
            "DEFAULT_TRANSPORT" => Value::from("ssh"),
            "DEFAULT_GATHERING" => Value::from("implicit"),
            "DEFAULT_TIMEOUT" => Value::from(10),
            other => match call.text("on_missing", "error")?.as_str() {
                "skip" | "warn" => continue,
                _ => return Err(call.fail(format!("there is no setting `{other}` here"))),
            },
        });
    }
    Ok(out)
}

/// Versions of installed collections, as their manifests say.
pub(super) fn collection_version(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let or = |name: &str, default: Value| call.option(name).cloned().unwrap_or(default);
    let search = cx.scope.search();
    let beside = search.bases.iter().map(|base| base.join("collections"));
    let places: Vec<_> = beside.chain(cx.engine.options.collections.iter().cloned()).collect();
    let mut out = Vec::new();
    for term in &call.terms {
        let name = text(term)?;
        let Some((namespace, collection)) = name.split_once('.').filter(|(_, rest)| !rest.contains('.'))
        else {
            return Err(call.fail(format!("`{name}` is no collection: write `namespace.name`")));
        };
        let folder = places
            .iter()
            .map(|place| place.join("ansible_collections").join(namespace).join(collection))
            .find(|folder| folder.is_dir());
        let Some(folder) = folder else {
            out.push(or("result_not_found", Value::from(())));
            continue;
        };
        let manifest = fs_err::read(folder.join("MANIFEST.json")).ok();
        let manifest: Option<serde_json::Value> =
            manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let version = manifest.as_ref().and_then(|m| m["collection_info"]["version"].as_str());
        out.push(version.map_or_else(|| or("result_no_version", Value::from("*")), Value::from));
    }
    Ok(out)
}

fn shell(cx: &Cx, call: &Call, command: &str) -> R<String> {
    let mut child = Command::new("/bin/sh");
    child.arg("-c").arg(command).stdin(std::process::Stdio::null());
    if let Some(folder) = cx.scope.search().bases.last() {
        child.current_dir(folder);
    }
    let output = child.output().map_err(|e| call.fail(format!("`{command}` could not be run: {e}")))?;
    if !output.status.success() {
        return Err(call.fail(format!(
            "`{command}` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn pipe(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let printed = shell(cx, call, &text(term)?)?;
        out.push(Value::from(printed.trim_end()));
    }
    Ok(out)
}

pub(super) fn lines(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let printed = shell(cx, call, &text(term)?)?;
        out.extend(printed.lines().map(Value::from));
    }
    Ok(out)
}
