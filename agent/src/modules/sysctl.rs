//! `sysctl` (ansible.posix): kernel settings, in a file and at once.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{find_program, run};
use crate::system::{self, fault, outcome, outcome_diff, root, write};

/// The module.
pub struct Sysctl;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    value: Option<String>,
    #[serde(default)]
    state: State,
    reload: Option<bool>,
    #[serde(default)]
    sysctl_set: bool,
    #[serde(default)]
    ignoreerrors: bool,
    sysctl_file: Option<String>,
}

/// What must be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New content of the file.
    content: Option<String>,
    /// Set the value in the running kernel.
    set: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required().aliases(&["key"]),
    Opt::str("value").aliases(&["val"]),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::bool("reload"),
    Opt::bool("sysctl_set"),
    Opt::bool("ignoreerrors"),
    Opt::path("sysctl_file"),
];

impl Module for Sysctl {
    const SPEC: Spec = Spec {
        collections: &["ansible.posix"],
        options: &[OPTIONS],
        required_if: &[("state", "present", &["value"])],
        ..Spec::new("sysctl")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let value = wanted(args)?;
        let before = system::text(file(args)).unwrap_or_default();
        let after = edited(&before, &args.name, value.as_deref());
        let mut change = Change { content: (after != before).then_some(after), set: false };
        if let Some(value) = value.as_deref().filter(|_| args.sysctl_set) {
            let current = system::word(proc_path(&args.name));
            if current.is_none() && !args.ignoreerrors {
                return Err(fault(format!("this kernel has no setting `{}`", args.name)));
            }
            change.set = current.is_some_and(|c| !same(&c, value));
        }
        if change == Change::default() {
            return Ok(Inspection::Same(outcome(false, json!({}))));
        }
        let predicted = match &change.content {
            Some(after) => outcome_diff(json!({}), json!(before), json!(after)),
            None => outcome(true, json!({})),
        };
        Ok(Inspection::Differs { change, predicted })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let value = wanted(args)?;
        if let Some(value) = value.as_deref().filter(|_| change.set) {
            set(args, value, host)?;
        }
        if let Some(content) = &change.content {
            write::replace(file(args), content, 0o644)?;
            if args.reload.unwrap_or(true) {
                reload(args, value.as_deref(), host)?;
            }
        }
        Ok(outcome(true, json!({})))
    }
}

fn file(args: &Args) -> &str {
    args.sysctl_file.as_deref().unwrap_or("/etc/sysctl.conf")
}

/// The value in the kernel's spelling; YAML's booleans mean 1 and 0.
fn wanted(args: &Args) -> Result<Option<String>, Fault> {
    if args.state == State::Absent {
        return Ok(None);
    }
    let value = args.value.as_deref().map(str::trim).unwrap_or_default();
    if value.is_empty() {
        return Err(fault(format!("`sysctl` needs `value` to set `{}`", args.name)));
    }
    Ok(Some(match value.to_lowercase().as_str() {
        "true" | "yes" | "on" => "1".to_owned(),
        "false" | "no" | "off" => "0".to_owned(),
        _ => value.to_owned(),
    }))
}

fn same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

/// `net.ipv4.ip_forward`; with a slash anywhere before the first dot, slashes separate and dots belong to names.
fn proc_path(name: &str) -> String {
    let separators =
        name.find(['.', '/']).map_or('.', |at| if name[at..].starts_with('/') { '/' } else { '.' });
    let path: String = name
        .chars()
        .map(|c| match c {
            c if c == separators => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    format!("/proc/sys/{path}")
}

/// The file with the key set or gone; lines of the same key after the first go too.
fn edited(before: &str, name: &str, value: Option<&str>) -> String {
    let mut done = false;
    let mut lines: Vec<String> = Vec::new();
    for line in before.lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        let is_ours = !line.trim_start().starts_with(['#', ';'])
            && line.contains('=')
            && key.trim_start_matches('-') == name;
        if !is_ours {
            lines.push(line.to_owned());
            continue;
        }
        let Some(value) = value.filter(|_| !done) else { continue };
        done = true;
        let current = line.split_once('=').map_or("", |(_, v)| v.trim());
        lines.push(if same(current, value) { line.to_owned() } else { format!("{name}={value}") });
    }
    if let Some(value) = value.filter(|_| !done) {
        lines.push(format!("{name}={value}"));
    }
    if lines.is_empty() { String::new() } else { format!("{}\n", lines.join("\n")) }
}

fn set(args: &Args, value: &str, host: &Host<'_>) -> Result<(), Fault> {
    let what = format!("cannot set `{}` to `{value}`", args.name);
    if let Some(sysctl) = find_program("sysctl") {
        let assignment = format!("{}={value}", args.name);
        let mut argv = vec![sysctl.as_str()];
        if args.ignoreerrors {
            argv.push("-e");
        }
        argv.extend(["-w", &assignment]);
        let answer = run(host, &argv)?;
        // Some versions answer 0 and only write the refusal.
        let refused = !answer.ok()
            || answer.err.contains("Invalid argument")
            || answer.err.contains("Read-only file system");
        return if refused && !args.ignoreerrors { Err(answer.to_fault(&what)) } else { Ok(()) };
    }
    match std::fs::write(root::at(proc_path(&args.name)), value) {
        Err(e) if !args.ignoreerrors => Err(fault(format!("{what}: {}", super::plain(&e)))),
        _ => Ok(()),
    }
}

fn reload(args: &Args, value: Option<&str>, host: &Host<'_>) -> Result<(), Fault> {
    let Some(sysctl) = find_program("sysctl") else {
        return value.map_or(Ok(()), |value| set(args, value, host));
    };
    let mut argv = vec![sysctl.as_str()];
    if args.ignoreerrors {
        argv.push("-e");
    }
    argv.extend(["-p", file(args)]);
    let answer = run(host, &argv)?;
    if answer.ok() || args.ignoreerrors {
        Ok(())
    } else {
        Err(answer.to_fault(&format!("failed to reload `{}`", file(args))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn a_value_that_stands_in_file_and_kernel_is_left_alone() {
        let _root = FakeRoot::with(&[
            ("/etc/sysctl.conf", "# c\nnet.ipv4.ip_forward = 1\nnet.ipv4.ip_local_port_range=1024 65000\n"),
            ("/proc/sys/net/ipv4/ip_forward", "1\n"),
            ("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65000\n"),
        ]);
        for (name, value) in [("net.ipv4.ip_forward", "yes"), ("net.ipv4.ip_local_port_range", "1024  65000")]
        {
            let arguments = args(json!({"name": name, "value": value, "sysctl_set": true}));
            assert!(
                matches!(Sysctl::inspect(&arguments, &Script::of(&[]).host()), Ok(Inspection::Same(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn the_file_is_written_and_loaded_and_the_kernel_set() {
        let root = FakeRoot::with(&[
            ("/etc/sysctl.conf", "vm.swappiness=60\nvm.swappiness=30\n"),
            ("/proc/sys/vm/swappiness", "60\n"),
        ]);
        root.program("/sbin/sysctl");
        let script = Script::of(&[
            ("/sbin/sysctl -w vm.swappiness=1", 0, ""),
            ("/sbin/sysctl -p /etc/sysctl.conf", 0, ""),
        ]);
        let arguments: Args = args(json!({"name": "vm.swappiness", "value": "1", "sysctl_set": true}));
        let Ok(Inspection::Differs { change, predicted }) = Sysctl::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.diff[0]["after"], "vm.swappiness=1\n");
        assert_eq!(
            root.get("/etc/sysctl.conf"),
            "vm.swappiness=60\nvm.swappiness=30\n",
            "check mode writes nothing"
        );
        assert!(Sysctl::apply(&arguments, change, &script.host()).expect("applies").changed);
        assert_eq!(root.get("/etc/sysctl.conf"), "vm.swappiness=1\n");
        script.done();
    }

    #[test]
    fn absent_takes_the_line_away() {
        assert_eq!(edited("a=1\nb=2\n", "a", None), "b=2\n");
        assert_eq!(edited("b=2\n", "a", None), "b=2\n");
        assert_eq!(edited("#a=1\n", "a", Some("2")), "#a=1\na=2\n");
    }

    #[test]
    fn interface_names_with_dots_use_slashes() {
        assert_eq!(proc_path("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(proc_path("net/ipv4/conf/eth0.1/forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(proc_path("net.ipv4.conf.eth0/1.forwarding"), "/proc/sys/net/ipv4/conf/eth0.1/forwarding");
    }

    #[test]
    fn a_missing_value_and_an_unknown_setting_are_told() {
        let _root = FakeRoot::with(&[]);
        let message = |arguments| match Sysctl::inspect(&args(arguments), &Script::of(&[]).host()) {
            Err(fault) => fault.msg,
            Ok(_) => String::new(),
        };
        assert_eq!(message(json!({"name": "a.b"})), "`sysctl` needs `value` to set `a.b`");
        assert_eq!(
            message(json!({"name": "a.b", "value": "1", "sysctl_set": true})),
            "this kernel has no setting `a.b`"
        );
    }
}
