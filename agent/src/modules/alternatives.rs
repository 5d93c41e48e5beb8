//! `alternatives` (community.general): which program a generic name means.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{find_program, run};
use crate::system::{self, fault, outcome, outcome_diff};

/// The module.
pub struct Alternatives;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Present,
    #[default]
    Selected,
    Absent,
    Auto,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    path: Option<String>,
    link: Option<String>,
    priority: Option<i64>,
    #[serde(default)]
    state: State,
    family: Option<String>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::path("path"),
    Opt::path("link"),
    Opt::int("priority"),
    Opt::str("state").choices(&["present", "selected", "absent", "auto"]),
    Opt::str("family"),
];

impl Module for Alternatives {
    const SPEC: Spec = Spec {
        collections: &["community.general"],
        options: &[OPTIONS],
        required_one_of: &[&["path", "family", "state"]],
        ..Spec::new("alternatives")
    };
    type Args = Args;
    /// Commands to run in order.
    type Change = Vec<Vec<String>>;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Vec<Vec<String>>>, Fault> {
        let tool = ["update-alternatives", "alternatives"]
            .iter()
            .find_map(|name| find_program(name))
            .ok_or_else(|| fault("this host has no program `update-alternatives`"))?;
        let group = Group::read(&tool, &args.name, host)?;
        let target = args.path.clone().or_else(|| args.family.clone());
        let mut commands: Vec<Vec<String>> = Vec::new();
        let mut add = |words: &[&str]| {
            commands.push([tool.as_str()].iter().chain(words).map(|w| (*w).to_owned()).collect());
        };
        let name = args.name.as_str();
        match (args.state, target.as_deref()) {
            (State::Auto, _) => {
                if !group.automatic {
                    add(&["--auto", name]);
                }
            }
            (State::Absent, Some(path)) => {
                if group.priority_of(path).is_some() {
                    add(&["--remove", name, path]);
                }
            }
            (_, None) => {
                return Err(fault("`alternatives` needs `path` or `family` unless `state` is `auto`"));
            }
            (state, Some(path)) => {
                let known = group.priority_of(path);
                let stale = known.is_some() && args.priority.is_some() && known != args.priority;
                if args.path.is_some() && (known.is_none() || stale) {
                    if !system::exists(path) {
                        return Err(fault(format!(
                            "`path` of `alternatives` is `{path}`, which does not exist"
                        )));
                    }
                    let link = args.link.clone().or_else(|| group.link.clone()).ok_or_else(|| {
                        fault(format!(
                            "`alternatives` needs `link` to add `{path}` to the unknown name `{name}`"
                        ))
                    })?;
                    add(&["--install", &link, name, path, &args.priority.unwrap_or(50).to_string()]);
                }
                if state == State::Selected && group.value.as_deref() != Some(path) {
                    add(&["--set", name, path]);
                }
            }
        }
        if commands.is_empty() {
            return Ok(Inspection::Same(outcome(false, json!({}))));
        }
        let before = json!({"path": group.value, "state": if group.automatic { "auto" } else { "selected" }});
        let after = json!({"path": target, "state": format!("{:?}", args.state).to_lowercase()});
        Ok(Inspection::Differs { change: commands, predicted: outcome_diff(json!({}), before, after) })
    }

    fn apply(args: &Args, commands: Vec<Vec<String>>, host: &Host<'_>) -> Result<Outcome, Fault> {
        for command in commands {
            run(host, &command)?.or_fault(&format!("cannot change the alternatives of `{}`", args.name))?;
        }
        Ok(outcome(true, json!({})))
    }
}

/// What is registered under a name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    link: Option<String>,
    value: Option<String>,
    automatic: bool,
    known: Vec<(String, i64)>,
}

impl Group {
    fn read(tool: &str, name: &str, host: &Host<'_>) -> Result<Self, Fault> {
        let answer = run(host, &[tool, "--query", name])?;
        if answer.ok() {
            return Ok(Self::of_query(&answer.out));
        }
        // Red Hat's tool has no `--query`, and its `--display` fails for unknown names.
        if answer.err.contains("no alternatives for") {
            return Ok(Self::default());
        }
        let answer = run(host, &[tool, "--display", name])?;
        Ok(if answer.ok() { Self::of_display(&answer.out, name) } else { Self::default() })
    }

    fn of_query(out: &str) -> Self {
        let mut group = Self::default();
        for line in out.lines() {
            let Some((key, value)) = line.split_once(": ") else { continue };
            match key {
                "Link" => group.link = Some(value.to_owned()),
                "Value" => group.value = Some(value.to_owned()).filter(|v| v != "none"),
                "Status" => group.automatic = value == "auto",
                "Alternative" => group.known.push((value.to_owned(), 0)),
                "Priority" => {
                    if let Some((_, priority)) = group.known.last_mut() {
                        *priority = value.trim().parse().unwrap_or(0);
                    }
                }
                _ => {}
            }
        }
        group
    }

    fn of_display(out: &str, name: &str) -> Self {
        let mut group = Self::default();
        for line in out.lines() {
            if line.contains("status is auto") {
                group.automatic = true;
            } else if let Some(path) = line.trim().strip_prefix("link currently points to ") {
                group.value = Some(path.trim().to_owned());
            } else if let Some((path, rest)) = line.split_once(" - ")
                && let Some((_, priority)) = rest.split_once("priority ")
            {
                group.known.push((path.to_owned(), priority.trim().parse().unwrap_or(0)));
            }
        }
        group.link = system::text(format!("/var/lib/alternatives/{name}"))
            .and_then(|t| t.lines().nth(1).map(str::to_owned));
        group
    }

    fn priority_of(&self, path: &str) -> Option<i64> {
        self.known.iter().find(|(p, _)| p == path).map(|(_, priority)| *priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const QUERY: &str =
        "Name: java\nLink: /usr/bin/java\nStatus: auto\nValue: /opt/a\n\nAlternative: /opt/a\nPriority: 10\n";
    const LINE: &str = "/usr/bin/update-alternatives --query java";

    fn commands(arguments: serde_json::Value) -> Vec<String> {
        let root = FakeRoot::with(&[("/opt/b", "")]);
        root.program("/usr/bin/update-alternatives");
        let script = Script::of(&[(LINE, 0, QUERY)]);
        match Alternatives::inspect(&args(arguments), &script.host()).expect("inspects") {
            Inspection::Same(_) => Vec::new(),
            Inspection::Differs { change, .. } => change.iter().map(|c| c[1..].join(" ")).collect(),
        }
    }

    #[test]
    fn what_is_selected_is_left_alone_and_others_are_installed_and_set() {
        assert!(commands(json!({"name": "java", "path": "/opt/a"})).is_empty());
        assert!(commands(json!({"name": "java", "state": "auto"})).is_empty());
        assert_eq!(
            commands(json!({"name": "java", "path": "/opt/b"})),
            ["--install /usr/bin/java java /opt/b 50", "--set java /opt/b"]
        );
        assert_eq!(
            commands(json!({"name": "java", "path": "/opt/a", "state": "absent"})),
            ["--remove java /opt/a"]
        );
    }
}
