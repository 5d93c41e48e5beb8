//! systemd units through `systemctl`.
//!
//! Owns: reading a unit's properties, the words of its states, the command lines. Must not: decide what to change.
//! Called by: `systemd`, `service`, `service_facts`.

use nix::unistd::geteuid;
use serde_json::{Map, Value, json};

use super::run::{self, Answer};
use crate::modules::{Command, Fault, Host};

/// Whose units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    #[default]
    System,
    User,
    Global,
}

/// One unit's properties as `systemctl show` prints them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unit {
    properties: Vec<(String, String)>,
}

impl Unit {
    /// Reads `Key=value` lines; a value in braces may go over several lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut properties: Vec<(String, String)> = Vec::new();
        let mut open = false;
        for line in text.lines() {
            if open && let Some((_, value)) = properties.last_mut() {
                value.push('\n');
                value.push_str(line);
                open = !line.trim_end().ends_with('}');
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            open = key.starts_with("Exec") && value.starts_with('{') && !value.trim_end().ends_with('}');
            properties.push((key.to_owned(), value.to_owned()));
        }
        Self { properties }
    }

    /// One property; empty when systemd did not print it.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        self.properties.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str())
    }

    /// True when systemd knows the unit, if only as masked.
    #[must_use]
    pub fn found(&self) -> bool {
        !matches!(self.get("LoadState"), "" | "not-found")
    }

    /// True when it runs or is about to.
    #[must_use]
    pub fn running(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "activating" | "reloading")
    }

    /// True while it is on its way down.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.get("ActiveState") == "deactivating"
    }

    /// True when it is masked, for good or until the next boot.
    #[must_use]
    pub fn masked(&self) -> bool {
        self.get("LoadState") == "masked" || matches!(self.get("UnitFileState"), "masked" | "masked-runtime")
    }

    /// Whether it starts at boot; `None` when only `is-enabled` can tell (init scripts).
    #[must_use]
    pub fn enabled(&self) -> Option<bool> {
        match self.get("UnitFileState") {
            "enabled" | "enabled-runtime" | "static" | "alias" | "indirect" => Some(true),
            "disabled" | "masked" | "masked-runtime" | "linked" | "linked-runtime" | "bad" => Some(false),
            _ => None,
        }
    }

    /// Properties for the result's `status`.
    #[must_use]
    pub fn status(&self) -> Value {
        let map: Map<String, Value> = self.properties.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        Value::Object(map)
    }
}

/// Runs `systemctl` in a scope.
///
/// # Errors
/// When it cannot be started.
pub fn call(host: &Host<'_>, scope: Scope, arguments: &[&str]) -> Result<Answer, Fault> {
    let mut argv = vec!["systemctl".to_owned()];
    let mut environment = Vec::new();
    match scope {
        Scope::System => {}
        Scope::User => {
            argv.push("--user".into());
            // Without it systemctl does not find the user's manager in a session that sudo opened.
            if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
                environment.push(("XDG_RUNTIME_DIR".into(), format!("/run/user/{}", geteuid().as_raw())));
            }
        }
        Scope::Global => argv.push("--global".into()),
    }
    argv.extend(arguments.iter().map(|a| (*a).to_owned()));
    run::run_command(host, Command { argv, environment, ..Command::default() })
}

/// Reads a unit.
///
/// # Errors
/// When systemd does not answer (not booted with it, no bus).
pub fn show(host: &Host<'_>, scope: Scope, unit: &str) -> Result<Unit, Fault> {
    // A global scope has no manager to ask; the system's knows the unit files.
    let asked = if scope == Scope::Global { Scope::System } else { scope };
    let answer = call(host, asked, &["show", "--", unit])?;
    let parsed = Unit::parse(&answer.out);
    if !answer.ok() && parsed.properties.is_empty() {
        return Err(answer.to_fault(&format!("systemd does not answer about `{unit}`")));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_over_several_lines_stay_whole() {
        let unit = Unit::parse(
            "Id=a.service\nExecStart={ path=/bin/sh ;\n argv[]=x }\nActiveState=active\nLoadState=loaded\nUnitFileState=static\n",
        );
        assert_eq!(unit.get("ExecStart"), "{ path=/bin/sh ;\n argv[]=x }");
        assert!(unit.running() && unit.found());
        assert_eq!(unit.enabled(), Some(true));
    }

    #[test]
    fn a_masked_unit_is_found_but_not_enabled() {
        let unit = Unit::parse("LoadState=masked\nActiveState=inactive\nUnitFileState=masked\n");
        assert!(unit.found() && unit.masked() && !unit.running());
        assert_eq!(unit.enabled(), Some(false));
        assert!(!Unit::parse("LoadState=not-found\n").found());
    }
}
