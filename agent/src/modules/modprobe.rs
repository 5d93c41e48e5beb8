//! `modprobe` (community.general): kernel modules, now and at every boot.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::run;
use crate::system::{self, outcome, write};

/// The module.
pub struct Modprobe;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Persistent {
    #[default]
    Disabled,
    Present,
    Absent,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    #[serde(default)]
    state: State,
    #[serde(default)]
    params: String,
    #[serde(default)]
    persistent: Persistent,
}

/// What must be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Load (or unload) it now.
    now: bool,
    /// Files to write, with their content.
    files: Vec<(String, String)>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::str("params"),
    Opt::str("persistent").choices(&["disabled", "present", "absent"]),
];

const LOAD: &str = "/etc/modules-load.d";
const PARAMETERS: &str = "/etc/modprobe.d";

impl Module for Modprobe {
    const SPEC: Spec =
        Spec { collections: &["community.general"], options: &[OPTIONS], ..Spec::new("modprobe") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let loaded = loaded(&args.name);
        let now = match args.state {
            State::Present => !loaded,
            // What is built in cannot be unloaded, and Ansible leaves it alone.
            State::Absent => loaded && !built_in(&args.name),
        };
        let files = match args.persistent {
            Persistent::Disabled => Vec::new(),
            Persistent::Present => wanted_files(args),
            Persistent::Absent => cleared_files(&args.name),
        };
        let change = Change { now, files };
        let changed = change != Change::default();
        let predicted = result(args, changed);
        Ok(if changed { Inspection::Differs { change, predicted } } else { Inspection::Same(predicted) })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        if change.now {
            let mut argv = vec!["modprobe".to_owned()];
            if args.state == State::Absent {
                argv.push("-r".into());
            }
            argv.push(args.name.clone());
            if args.state == State::Present {
                argv.extend(args.params.split_whitespace().map(str::to_owned));
            }
            let verb = if args.state == State::Absent { "unload" } else { "load" };
            run(host, &argv)?.or_fault(&format!("cannot {verb} kernel module `{}`", args.name))?;
        }
        for (path, content) in &change.files {
            write::replace(path, content, 0o644)?;
        }
        Ok(result(args, true))
    }
}

fn result(args: &Args, changed: bool) -> Outcome {
    let state = if args.state == State::Absent { "absent" } else { "present" };
    outcome(changed, json!({"name": args.name, "params": args.params, "state": state}))
}

/// The kernel writes `_` where file names have `-`.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn loaded(name: &str) -> bool {
    let modules = system::text("/proc/modules").unwrap_or_default();
    modules.lines().any(|l| l.split_whitespace().next() == Some(normal(name).as_str())) || built_in(name)
}

fn built_in(name: &str) -> bool {
    let release = system::word("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = system::text(format!("/lib/modules/{release}/modules.builtin")).unwrap_or_default();
    list.lines()
        .filter_map(|l| l.rsplit('/').next()?.split(".ko").next())
        .any(|module| normal(module) == normal(name))
}

fn is_load_line(line: &str, name: &str) -> bool {
    normal(line.split(['#', ';']).next().unwrap_or_default().trim()) == normal(name)
}

fn is_options_line(line: &str, name: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("options") && words.next().is_some_and(|w| normal(w) == normal(name))
}

fn files_in(folder: &str) -> Vec<(String, String)> {
    system::names(folder)
        .into_iter()
        .filter(|n| n.ends_with(".conf"))
        .filter_map(|n| {
            let path = format!("{folder}/{n}");
            system::text(&path).map(|text| (path, text))
        })
        .collect()
}

fn wanted_files(args: &Args) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let listed = files_in(LOAD).iter().any(|(_, text)| text.lines().any(|l| is_load_line(l, &args.name)));
    if !listed {
        files.push((format!("{LOAD}/{}.conf", args.name), format!("{}\n", args.name)));
    }
    let words: Vec<&str> = args.params.split_whitespace().collect();
    let mut current: Vec<String> = files_in(PARAMETERS)
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter(|l| is_options_line(l, &args.name))
        .flat_map(|l| l.split_whitespace().skip(2))
        .map(str::to_owned)
        .collect();
    current.sort();
    let mut sorted: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    sorted.sort();
    if !words.is_empty() && current != sorted {
        // Options elsewhere would be added to ours.
        let own = format!("{PARAMETERS}/{}.conf", args.name);
        files.extend(
            commented(PARAMETERS, &args.name, is_options_line).into_iter().filter(|(path, _)| *path != own),
        );
        files.push((own, format!("options {} {}\n", args.name, words.join(" "))));
    }
    files
}

fn cleared_files(name: &str) -> Vec<(String, String)> {
    let mut files = commented(LOAD, name, is_load_line);
    files.extend(commented(PARAMETERS, name, is_options_line));
    files
}

fn commented(folder: &str, name: &str, is_ours: fn(&str, &str) -> bool) -> Vec<(String, String)> {
    files_in(folder)
        .into_iter()
        .filter_map(|(path, text)| {
            if !text.lines().any(|l| is_ours(l, name)) {
                return None;
            }
            let lines: Vec<String> =
                text.lines().map(|l| if is_ours(l, name) { format!("#{l}") } else { l.to_owned() }).collect();
            Some((path, format!("{}\n", lines.join("\n"))))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    fn host() -> FakeRoot {
        FakeRoot::with(&[
            ("/proc/modules", "br_netfilter 24576 0 - Live 0x0\n"),
            ("/proc/sys/kernel/osrelease", "6.1\n"),
            ("/lib/modules/6.1/modules.builtin", "kernel/fs/overlayfs/overlay.ko\n"),
        ])
    }

    fn inspect(arguments: Value) -> Inspection<Change> {
        Modprobe::inspect(&args(arguments), &Script::of(&[]).host()).expect("inspects")
    }

    #[test]
    fn loaded_and_built_in_modules_are_left_alone() {
        let _root = host();
        assert!(matches!(inspect(json!({"name": "br-netfilter"})), Inspection::Same(_)));
        assert!(matches!(inspect(json!({"name": "overlay"})), Inspection::Same(_)));
        assert!(matches!(inspect(json!({"name": "overlay", "state": "absent"})), Inspection::Same(_)));
    }

    #[test]
    fn a_module_is_loaded_now_and_at_boot() {
        let root = host();
        let arguments: Args =
            args(json!({"name": "dummy", "params": "numdummies=2", "persistent": "present"}));
        let script = Script::of(&[("modprobe dummy numdummies=2", 0, "")]);
        let Ok(Inspection::Differs { change, .. }) = Modprobe::inspect(&arguments, &script.host()) else {
            panic!()
        };
        Modprobe::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!(root.get("/etc/modules-load.d/dummy.conf"), "dummy\n");
        assert_eq!(root.get("/etc/modprobe.d/dummy.conf"), "options dummy numdummies=2\n");
        root.put("/proc/modules", "dummy 1 0 - Live 0x0\n");
        assert!(matches!(Modprobe::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn what_is_persistent_is_commented_out() {
        let root = host();
        root.put("/etc/modules-load.d/mine.conf", "ip_vs\nbr_netfilter\n");
        let arguments: Args = args(json!({"name": "br_netfilter", "persistent": "absent"}));
        let Inspection::Differs { change, .. } =
            inspect(json!({"name": "br_netfilter", "persistent": "absent"}))
        else {
            panic!()
        };
        Modprobe::apply(&arguments, change, &Script::of(&[]).host()).expect("applies");
        assert_eq!(root.get("/etc/modules-load.d/mine.conf"), "ip_vs\n#br_netfilter\n");
    }

    #[test]
    fn a_failing_load_says_why() {
        let _root = host();
        let script = Script::of(&[("modprobe nix", 1, "modprobe: FATAL: Module nix not found")]);
        let change = Change { now: true, ..Change::default() };
        let error =
            Modprobe::apply(&args(json!({"name": "nix"})), change, &script.host()).expect_err("fails");
        assert_eq!(error.msg, "cannot load kernel module `nix`: modprobe: FATAL: Module nix not found");
    }
}
