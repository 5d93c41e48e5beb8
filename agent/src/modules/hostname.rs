//! `hostname`: the host's name, now and after the next boot.

use std::fs;

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::services::service_manager;
use crate::options::{Opt, Spec};
use crate::system::run::{find_program, run};
use crate::system::{self, fault, outcome_diff, root, write};

/// The module.
pub struct Hostname;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    #[serde(rename = "use")]
    strategy: Option<String>,
}

/// Which of the two names must be set.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    current: bool,
    permanent: bool,
}

const STRATEGIES: &[&str] = &[
    "alpine", "debian", "freebsd", "generic", "macos", "macosx", "darwin", "openbsd", "openrc", "redhat",
    "sles", "solaris", "systemd",
];
const OPTIONS: &[Opt] = &[Opt::str("name").required(), Opt::str("use").choices(STRATEGIES)];

impl Module for Hostname {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("hostname") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        if args.name.is_empty() || args.name.len() > 64 || args.name.contains(char::is_whitespace) {
            return Err(fault(format!(
                "`name` of `hostname` is no host name of at most 64 characters: `{}`",
                args.name
            )));
        }
        let current = system::word("/proc/sys/kernel/hostname").unwrap_or_default();
        let permanent = permanent(args);
        let change = Change { current: current != args.name, permanent: permanent != args.name };
        let mut result = result(args, &permanent);
        if change.current || change.permanent {
            return Ok(Inspection::Differs { change, predicted: result });
        }
        result.changed = false;
        result.diff.clear();
        Ok(Inspection::Same(result))
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let before = permanent(args);
        if by_systemd(args) && find_program("hostnamectl").is_some() {
            if change.current {
                ctl(host, "--transient", &args.name)?;
            }
            if change.permanent {
                // The pretty name is what people wrote; the static one what it becomes.
                ctl(host, "--pretty", &args.name)?;
                ctl(host, "--static", &args.name)?;
            }
        } else {
            if change.permanent {
                write_permanent(args)?;
            }
            if change.current {
                fs::write(root::at("/proc/sys/kernel/hostname"), &args.name)
                    .map_err(|e| fault(format!("cannot set the host name: {e}")))?;
            }
        }
        Ok(result(args, &before))
    }
}

fn by_systemd(args: &Args) -> bool {
    args.strategy.as_deref().map_or_else(|| service_manager() == "systemd", |s| s == "systemd")
}

fn ctl(host: &Host<'_>, which: &str, name: &str) -> Result<(), Fault> {
    run(host, &["hostnamectl", which, "set-hostname", name])?.or_fault("cannot set the host name")?;
    Ok(())
}

/// Red Hat before systemd keeps the name in a file of settings.
fn in_sysconfig(args: &Args) -> bool {
    match args.strategy.as_deref() {
        Some(strategy) => strategy == "redhat",
        None => {
            !system::exists("/etc/hostname")
                && system::text("/etc/sysconfig/network").is_some_and(|t| t.contains("HOSTNAME="))
        }
    }
}

fn permanent(args: &Args) -> String {
    if in_sysconfig(args) {
        let text = system::text("/etc/sysconfig/network").unwrap_or_default();
        return text
            .lines()
            .find_map(|l| l.strip_prefix("HOSTNAME="))
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
    }
    let file = if args.strategy.as_deref() == Some("sles") { "/etc/HOSTNAME" } else { "/etc/hostname" };
    let text = system::text(file).unwrap_or_default();
    text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#')).unwrap_or_default().to_owned()
}

fn write_permanent(args: &Args) -> Result<(), Fault> {
    if in_sysconfig(args) {
        let text = system::text("/etc/sysconfig/network").unwrap_or_default();
        let mut lines: Vec<String> =
            text.lines().filter(|l| !l.starts_with("HOSTNAME=")).map(str::to_owned).collect();
        lines.push(format!("HOSTNAME={}", args.name));
        return write::replace("/etc/sysconfig/network", &format!("{}\n", lines.join("\n")), 0o644);
    }
    let file = if args.strategy.as_deref() == Some("sles") { "/etc/HOSTNAME" } else { "/etc/hostname" };
    write::replace(file, &format!("{}\n", args.name), 0o644)
}

fn result(args: &Args, before: &str) -> Outcome {
    let name = &args.name;
    let (short, domain) = name.split_once('.').unwrap_or((name, ""));
    outcome_diff(
        json!({
            "name": name,
            "ansible_facts": {"ansible_hostname": short, "ansible_nodename": name, "ansible_fqdn": name, "ansible_domain": domain},
        }),
        json!(format!("hostname = {before}\n")),
        json!(format!("hostname = {name}\n")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    fn host(current: &str, permanent: &str) -> FakeRoot {
        FakeRoot::with(&[
            ("/proc/sys/kernel/hostname", current),
            ("/etc/hostname", permanent),
            ("/proc/1/comm", "systemd\n"),
        ])
    }

    #[test]
    fn a_host_of_that_name_is_left_alone() {
        let _root = host("web1\n", "web1\n");
        let found = Hostname::inspect(&args(json!({"name": "web1"})), &Script::of(&[]).host());
        assert!(matches!(found, Ok(Inspection::Same(o)) if !o.changed && o.diff.is_empty()));
    }

    #[test]
    fn systemd_sets_only_the_names_that_differ() {
        let root = host("old\n", "web1.example.com\n");
        root.program("/usr/bin/hostnamectl");
        let arguments: Args = args(json!({"name": "web1.example.com"}));
        let script = Script::of(&[("hostnamectl --transient set-hostname web1.example.com", 0, "")]);
        let Ok(Inspection::Differs { change, predicted }) = Hostname::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.values["ansible_facts"]["ansible_domain"], "example.com");
        Hostname::apply(&arguments, change, &script.host()).expect("applies");
        script.done();
    }

    #[test]
    fn without_systemd_the_files_are_written() {
        let root = host("old\n", "old\n");
        root.put("/proc/1/comm", "init\n");
        let arguments: Args = args(json!({"name": "new"}));
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, predicted }) = Hostname::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.diff, [json!({"before": "hostname = old\n", "after": "hostname = new\n"})]);
        assert!(Hostname::apply(&arguments, change, &script.host()).expect("applies").changed);
        assert_eq!(root.get("/etc/hostname"), "new\n");
        assert_eq!(root.get("/proc/sys/kernel/hostname"), "new");
    }

    #[test]
    fn a_name_with_spaces_is_refused() {
        let found = Hostname::inspect(&args(json!({"name": "a b"})), &Script::of(&[]).host());
        assert!(matches!(found, Err(f) if f.msg.contains("`a b`")));
    }
}
