//! `apt_repository`: one-line sources of apt.
//!
//! Owns: finding, adding and removing a source line, and fetching its lists. Must not: handle keys.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::distribution;
use crate::files::attributes::{self, Attributes};
use crate::options::{Opt, Spec};
use crate::packages::apt::update;
use crate::system::edit::Edit;
use crate::system::{self, fault, outcome};

/// The module.
pub struct AptRepository;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    repo: String,
    state: Option<String>,
    filename: Option<String>,
    codename: Option<String>,
    update_cache: Option<bool>,
    update_cache_retries: Option<u32>,
    update_cache_retry_max_delay: Option<u64>,
    #[serde(flatten)]
    attributes: Attributes,
}

const OPTIONS: &[Opt] = &[
    Opt::str("repo").required(),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::str("filename"),
    Opt::str("codename"),
    Opt::bool("update_cache").aliases(&["update-cache"]),
    Opt::int("update_cache_retries"),
    Opt::int("update_cache_retry_max_delay"),
    Opt::bool("validate_certs").ignored("apt checks its mirrors by its own settings"),
    Opt::bool("install_python_apt").ignored("the module needs no Python packages"),
];

/// Files to edit, and what to say about them.
pub struct Change {
    edits: Vec<Edit>,
    added: Vec<String>,
    removed: Vec<String>,
}

const LIST: &str = "/etc/apt/sources.list";
const FOLDER: &str = "/etc/apt/sources.list.d";

impl Module for AptRepository {
    const SPEC: Spec = Spec { options: &[OPTIONS, attributes::OPTIONS], ..Spec::new("apt_repository") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let wanted = source(args)?;
        let files = files();
        let holds = |text: &String| text.lines().any(|l| normal(l).is_some_and(|n| n == wanted));
        let mut change = Change { edits: Vec::new(), added: Vec::new(), removed: Vec::new() };
        if args.state.as_deref() == Some("absent") {
            for (path, text) in files.iter().filter(|(_, text)| holds(text)) {
                let rest: String = text
                    .lines()
                    .filter(|l| normal(l).is_none_or(|n| n != wanted))
                    .map(|l| format!("{l}\n"))
                    .collect();
                let nothing_left = rest.lines().all(|l| l.trim().is_empty());
                let goes = nothing_left && path != LIST;
                if goes {
                    change.removed.push(path.clone());
                }
                change.edits.extend(Edit::of(path, (!goes).then_some(rest), &Attributes::default(), host)?);
            }
        } else if let Some((path, text)) = files.iter().find(|(_, text)| holds(text)) {
            change.edits.extend(Edit::of(path, Some(text.clone()), &args.attributes, host)?);
        } else {
            let path = file(args, &wanted);
            let before = system::text(&path);
            let mut text = before.clone().unwrap_or_default();
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!("{wanted}\n"));
            if before.is_none() {
                change.added.push(path.clone());
            }
            change.edits.extend(Edit::of(&path, Some(text), &args.attributes, host)?);
        }
        let changed = !change.edits.is_empty();
        let mut predicted = result(args, &change, changed);
        if !changed {
            return Ok(Inspection::Same(predicted));
        }
        predicted.diff = change.edits.iter().map(Edit::diff).collect();
        Ok(Inspection::Differs { change, predicted })
    }

    fn apply(args: &Args, mut change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        for edit in std::mem::take(&mut change.edits) {
            edit.apply(&args.attributes, "0644", false, host)?;
        }
        if args.update_cache.unwrap_or(true) {
            let retries = args.update_cache_retries.unwrap_or(5);
            update(host, retries, args.update_cache_retry_max_delay.unwrap_or(12), Duration::from_secs(60))?;
        }
        Ok(result(args, &change, true))
    }
}

fn result(args: &Args, change: &Change, changed: bool) -> Outcome {
    let state = args.state.as_deref().unwrap_or("present");
    outcome(
        changed,
        json!({"repo": args.repo, "state": state, "sources_added": change.added, "sources_removed": change.removed}),
    )
}

fn files() -> Vec<(String, String)> {
    let mut paths = vec![LIST.to_owned()];
    paths.extend(
        system::names(FOLDER).into_iter().filter(|n| n.ends_with(".list")).map(|n| format!("{FOLDER}/{n}")),
    );
    paths.into_iter().filter_map(|p| system::text(&p).map(|t| (p, t))).collect()
}

/// An active source line with single blanks and without its comment; `None` for anything else.
fn normal(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
    let is_source = matches!(words.first(), Some(&("deb" | "deb-src"))) && words.len() >= 3;
    is_source.then(|| words.join(" ").replace("[ ", "[").replace(" ]", "]"))
}

/// The wanted line; a PPA becomes its address.
fn source(args: &Args) -> Result<String, Fault> {
    let repo = args.repo.trim();
    if let Some(ppa) = repo.strip_prefix("ppa:") {
        let (owner, name) = ppa.split_once('/').unwrap_or((ppa, "ppa"));
        let found = distribution::detect();
        if found.name != "Ubuntu" && args.codename.is_none() {
            return Err(fault(
                "`repo` of `apt_repository` is a PPA, which only Ubuntu has; give `codename` to use it here",
            ));
        }
        let codename = args.codename.as_deref().unwrap_or(&found.release);
        return Ok(format!("deb https://ppa.launchpadcontent.net/{owner}/{name}/ubuntu {codename} main"));
    }
    normal(repo).ok_or_else(|| fault(format!("`repo` of `apt_repository` is no source line: `{repo}`")))
}

/// The file that a new source goes to, named after its address unless told.
fn file(args: &Args, line: &str) -> String {
    let name = match &args.filename {
        Some(name) if name.starts_with('/') => {
            return if name.ends_with(".list") { name.clone() } else { format!("{name}.list") };
        }
        Some(name) => name.trim_end_matches(".list").to_owned(),
        None => {
            let is_option =
                |w: &&str| w.starts_with('[') || w.ends_with(']') || (w.contains('=') && !w.contains("://"));
            let address = line.split_whitespace().skip(1).find(|w| !is_option(w)).unwrap_or_default();
            let address = address.split_once("://").map_or(address, |(_, rest)| rest);
            let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
            let clean: String =
                address.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
            clean.split_whitespace().collect::<Vec<_>>().join("_")
        }
    };
    format!("{FOLDER}/{name}.list")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const DOCKER: &str =
        "deb [arch=amd64 signed-by=/etc/k.asc] https://download.docker.com/linux/debian bookworm stable";

    #[test]
    fn a_source_is_added_to_a_file_of_its_name_and_fetched() {
        let root = FakeRoot::with(&[("/etc/apt/sources.list", "deb http://d bookworm main # base\n")]);
        let arguments = json!({"repo": DOCKER});
        let script = Script::of(&[("apt-get update", 0, "")]);
        let Ok(Inspection::Differs { change, predicted }) =
            AptRepository::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        let path = "/etc/apt/sources.list.d/download_docker_com_linux_debian.list";
        assert_eq!(predicted.values["sources_added"], json!([path]));
        AptRepository::apply(&args(arguments.clone()), change, &script.host()).expect("applies");
        assert_eq!(root.get(path), format!("{DOCKER}\n"));
        assert!(matches!(AptRepository::inspect(&args(arguments), &script.host()), Ok(Inspection::Same(_))));
        let known = json!({"repo": "deb  http://d   bookworm main"});
        assert!(matches!(AptRepository::inspect(&args(known), &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn removing_the_last_source_removes_its_file() {
        let root = FakeRoot::with(&[("/etc/apt/sources.list.d/x.list", &format!("{DOCKER}\n"))]);
        let arguments = json!({"repo": DOCKER, "state": "absent", "update_cache": false});
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, .. }) =
            AptRepository::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        AptRepository::apply(&args(arguments), change, &script.host()).expect("applies");
        assert!(!root.path("/etc/apt/sources.list.d/x.list").exists());
    }

    #[test]
    fn ppas_have_addresses_on_ubuntu_and_nonsense_is_told() {
        let _root = FakeRoot::with(&[("/etc/os-release", "ID=ubuntu\nVERSION_CODENAME=jammy\n")]);
        let of = |repo: &str| source(&args(json!({"repo": repo}))).map_err(|f| f.msg);
        assert_eq!(
            of("ppa:nginx/stable").as_deref(),
            Ok("deb https://ppa.launchpadcontent.net/nginx/stable/ubuntu jammy main")
        );
        assert_eq!(of("http://x"), Err("`repo` of `apt_repository` is no source line: `http://x`".into()));
    }
}
