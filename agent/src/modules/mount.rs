//! `mount` (ansible.posix): lines of fstab, and what is mounted.

use std::fs;

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::storage::unescape;
use crate::files::attributes::Attributes;
use crate::options::{Opt, Spec};
use crate::system::edit::Edit;
use crate::system::run::run;
use crate::system::{self, fault, outcome, root};

/// The module.
pub struct Mount;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Absent,
    AbsentFromFstab,
    Ephemeral,
    Mounted,
    Present,
    Remounted,
    Unmounted,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    path: String,
    state: State,
    src: Option<String>,
    fstype: Option<String>,
    opts: Option<String>,
    dump: Option<String>,
    passno: Option<String>,
    fstab: Option<String>,
    boot: Option<bool>,
    #[serde(default)]
    backup: bool,
}

/// What must be done, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Change {
    fstab: Option<Edit>,
    unmount: bool,
    make_dir: bool,
    /// Arguments of `mount`.
    mount: Option<Vec<String>>,
    remove_dir: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::path("path").required().aliases(&["name"]),
    Opt::str("state").required().choices(&[
        "absent",
        "absent_from_fstab",
        "ephemeral",
        "mounted",
        "present",
        "remounted",
        "unmounted",
    ]),
    Opt::str("src"),
    Opt::str("fstype"),
    Opt::str("opts"),
    Opt::str("dump"),
    Opt::str("passno"),
    Opt::path("fstab"),
    Opt::bool("boot"),
    Opt::bool("backup"),
    Opt::bool("opts_no_log"),
];

impl Module for Mount {
    const SPEC: Spec = Spec {
        collections: &["ansible.posix"],
        options: &[OPTIONS],
        required_if: &[
            ("state", "mounted", &["src", "fstype"]),
            ("state", "present", &["src", "fstype"]),
            ("state", "ephemeral", &["src", "fstype"]),
        ],
        ..Spec::new("mount")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let current = mounted_source(&args.path);
        let mounted = current.is_some();
        let mut change = Change::default();
        let table = system::text(fstab(args)).unwrap_or_default();
        let after = match args.state {
            State::Mounted | State::Present => Some(with_line(&table, args)),
            State::Absent | State::AbsentFromFstab => Some(without_line(&table, args)),
            State::Ephemeral | State::Remounted | State::Unmounted => None,
        };
        if let Some(after) = after.filter(|a| *a != table) {
            change.fstab = Edit::of(fstab(args), Some(after), &Attributes::default(), host)?;
        }
        match args.state {
            State::Present | State::AbsentFromFstab => {}
            State::Mounted if !mounted => {
                change.make_dir = !system::exists(&args.path);
                change.mount = Some(vec![args.path.clone()]);
            }
            State::Mounted if change.fstab.is_some() => {
                change.mount = Some(vec!["-o".into(), format!("remount,{}", opts(args)), args.path.clone()]);
            }
            State::Mounted => {}
            State::Ephemeral => {
                let src = args.src.clone().unwrap_or_default();
                match current {
                    Some(source) if same_source(&source, &src) => {}
                    Some(source) => {
                        return Err(fault(format!(
                            "`{}` is mounted from `{source}`, not from `{src}`",
                            args.path
                        )));
                    }
                    None => {
                        change.make_dir = !system::exists(&args.path);
                        let fstype = args.fstype.clone().unwrap_or_default();
                        change.mount = Some(vec![
                            "-t".into(),
                            fstype,
                            "-o".into(),
                            opts(args).to_owned(),
                            src,
                            args.path.clone(),
                        ]);
                    }
                }
            }
            State::Remounted if !mounted => {
                return Err(fault(format!("`{}` is not mounted, so it cannot be remounted", args.path)));
            }
            State::Remounted => {
                let how =
                    args.opts.as_deref().map_or_else(|| "remount".to_owned(), |o| format!("remount,{o}"));
                change.mount = Some(vec!["-o".into(), how, args.path.clone()]);
            }
            State::Unmounted => change.unmount = mounted,
            State::Absent => {
                change.unmount = mounted;
                change.remove_dir = system::exists(&args.path) && (mounted || change.fstab.is_some());
            }
        }
        let changed = change != Change::default();
        let mut predicted = result(args, changed);
        if !changed {
            return Ok(Inspection::Same(predicted));
        }
        predicted.diff.extend(change.fstab.as_ref().map(Edit::diff));
        Ok(Inspection::Differs { change, predicted })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let mut result = result(args, true);
        if change.unmount {
            run(host, &["umount", &args.path])?.or_fault(&format!("cannot unmount `{}`", args.path))?;
        }
        if let Some(edit) = change.fstab
            && let Some(saved) = edit.apply(&Attributes::default(), "0644", args.backup, host)?
        {
            result.values.insert("backup_file".into(), json!(saved));
        }
        let path = root::at(&args.path);
        if change.make_dir {
            fs::create_dir_all(&path).map_err(|e| Fault::io("make", &path, &e))?;
        }
        if let Some(arguments) = change.mount {
            let mut argv = vec!["mount".to_owned()];
            if fstab(args) != "/etc/fstab" && args.state == State::Mounted {
                argv.extend(["-T".into(), fstab(args).to_owned()]);
            }
            argv.extend(arguments);
            run(host, &argv)?.or_fault(&format!("cannot mount `{}`", args.path))?;
        }
        if change.remove_dir {
            fs::remove_dir(&path).map_err(|e| Fault::io("remove", &path, &e))?;
        }
        Ok(result)
    }
}

fn fstab(args: &Args) -> &str {
    args.fstab.as_deref().unwrap_or("/etc/fstab")
}

fn opts(args: &Args) -> &str {
    args.opts.as_deref().filter(|o| !o.is_empty()).unwrap_or("defaults")
}

fn full_opts(args: &Args) -> String {
    let given = opts(args);
    if args.boot == Some(false) && !given.split(',').any(|o| o == "noauto") {
        format!("{given},noauto")
    } else {
        given.to_owned()
    }
}

fn same_source(a: &str, b: &str) -> bool {
    let real = |p: &str| fs::canonicalize(root::at(p)).ok();
    a == b || (real(a).is_some() && real(a) == real(b))
}

/// The source of what is mounted there last.
fn mounted_source(path: &str) -> Option<String> {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let table = system::text("/proc/self/mountinfo")?;
    table.lines().rev().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if unescape(fields.get(4)?) != path {
            return None;
        }
        let dash = fields.iter().position(|f| *f == "-")?;
        fields.get(dash + 2).map(|source| unescape(source))
    })
}

fn escape(field: &str) -> String {
    field.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011")
}

/// True for the line that this task is about: by mount point, and by source for swap, which has no mount point.
fn is_ours(line: &str, args: &Args) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if line.trim_start().starts_with('#') || fields.len() < 4 {
        return false;
    }
    let swap = fields[1] == "none" || fields[1] == "swap";
    let same_point = unescape(fields[1]) == args.path;
    if swap { same_point && args.src.as_deref().is_none_or(|s| unescape(fields[0]) == s) } else { same_point }
}

fn with_line(table: &str, args: &Args) -> String {
    let wanted = [
        escape(args.src.as_deref().unwrap_or_default()),
        escape(&args.path),
        args.fstype.clone().unwrap_or_default(),
        full_opts(args),
        args.dump.clone().unwrap_or_else(|| "0".into()),
        args.passno.clone().unwrap_or_else(|| "0".into()),
    ];
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for line in table.lines() {
        if !is_ours(line, args) {
            lines.push(line.to_owned());
            continue;
        }
        found = true;
        let mut fields: Vec<&str> = line.split_whitespace().collect();
        fields.resize(6.max(fields.len()), "0");
        // A line that says the same with other blanks stays as its owner wrote it.
        let same = fields.iter().take(6).zip(&wanted).all(|(a, b)| a == b);
        lines.push(if same { line.to_owned() } else { wanted.join(" ") });
    }
    if !found {
        lines.push(wanted.join(" "));
    }
    format!("{}\n", lines.join("\n"))
}

fn without_line(table: &str, args: &Args) -> String {
    if !table.lines().any(|l| is_ours(l, args)) {
        return table.to_owned();
    }
    table.lines().filter(|l| !is_ours(l, args)).map(|l| format!("{l}\n")).collect()
}

fn result(args: &Args, changed: bool) -> Outcome {
    outcome(
        changed,
        json!({
            "name": args.path, "src": args.src, "fstype": args.fstype, "opts": full_opts(args),
            "dump": args.dump.as_deref().unwrap_or("0"), "passno": args.passno.as_deref().unwrap_or("0"),
            "fstab": fstab(args), "boot": if args.boot == Some(false) { "no" } else { "yes" },
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const FSTAB: &str = "# mounts\n/dev/sda1  /  ext4  defaults 0 1\n/dev/sdb1 /data xfs defaults 0 0\n";
    const INFO: &str = "30 1 8:17 / /data rw - xfs /dev/sdb1 rw\n";

    fn inspect(arguments: Value, script: &Script) -> Result<Inspection<Change>, Fault> {
        Mount::inspect(&args(arguments), &script.host())
    }

    #[test]
    fn what_is_mounted_as_wanted_is_left_alone() {
        let _root = FakeRoot::with(&[("/etc/fstab", FSTAB), ("/proc/self/mountinfo", INFO)]);
        let script = Script::of(&[]);
        let wanted = json!({"path": "/data", "src": "/dev/sdb1", "fstype": "xfs", "state": "mounted"});
        assert!(matches!(inspect(wanted, &script), Ok(Inspection::Same(_))));
        assert!(matches!(
            inspect(json!({"path": "/x", "state": "absent"}), &script),
            Ok(Inspection::Same(_))
        ));
        assert!(matches!(
            inspect(json!({"path": "/x", "state": "unmounted"}), &script),
            Ok(Inspection::Same(_))
        ));
    }

    #[test]
    fn a_new_mount_is_written_made_and_mounted() {
        let root = FakeRoot::with(&[("/etc/fstab", FSTAB), ("/proc/self/mountinfo", INFO)]);
        let arguments = json!({"path": "/mnt/new disk", "src": "/dev/sdc1", "fstype": "ext4", "opts": "noatime", "state": "mounted"});
        let script = Script::of(&[("mount /mnt/new disk", 0, "")]);
        let Ok(Inspection::Differs { change, predicted }) = inspect(arguments.clone(), &script) else {
            panic!()
        };
        assert_eq!(predicted.diff.len(), 1);
        Mount::apply(&args(arguments), change, &script.host()).expect("applies");
        assert_eq!(root.get("/etc/fstab"), format!("{FSTAB}/dev/sdc1 /mnt/new\\040disk ext4 noatime 0 0\n"));
        assert!(root.path("/mnt/new disk").is_dir());
        script.done();
    }

    #[test]
    fn changed_options_are_remounted_and_absent_takes_all_away() {
        let root = FakeRoot::with(&[("/etc/fstab", FSTAB), ("/proc/self/mountinfo", INFO)]);
        root.dir("/data");
        let arguments = json!({"path": "/data", "src": "/dev/sdb1", "fstype": "xfs", "opts": "noatime", "state": "mounted"});
        let script = Script::of(&[("mount -o remount,noatime /data", 0, "")]);
        let Ok(Inspection::Differs { change, .. }) = inspect(arguments.clone(), &script) else { panic!() };
        Mount::apply(&args(arguments), change, &script.host()).expect("applies");
        let arguments = json!({"path": "/data", "state": "absent"});
        let script = Script::of(&[("umount /data", 0, "")]);
        let Ok(Inspection::Differs { change, .. }) = inspect(arguments.clone(), &script) else { panic!() };
        Mount::apply(&args(arguments), change, &script.host()).expect("applies");
        assert_eq!(root.get("/etc/fstab"), "# mounts\n/dev/sda1  /  ext4  defaults 0 1\n");
        assert!(!root.path("/data").exists());
    }

    #[test]
    fn remounting_what_is_not_mounted_fails() {
        let _root = FakeRoot::with(&[]);
        let Err(error) = inspect(json!({"path": "/x", "state": "remounted"}), &Script::of(&[])) else {
            panic!()
        };
        assert_eq!(error.msg, "`/x` is not mounted, so it cannot be remounted");
    }
}
