//! `lvol` (community.general): logical volumes, snapshots and thin pools of LVM.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::run;
use crate::system::{fault, outcome};

/// The module.
pub struct Lvol;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    vg: String,
    lv: Option<String>,
    size: Option<String>,
    opts: Option<String>,
    state: Option<String>,
    #[serde(default = "yes")]
    active: bool,
    #[serde(default)]
    force: bool,
    #[serde(default = "yes")]
    shrink: bool,
    snapshot: Option<String>,
    #[serde(default)]
    pvs: Vec<String>,
    thinpool: Option<String>,
    #[serde(default)]
    resizefs: bool,
}

const fn yes() -> bool {
    true
}

const OPTIONS: &[Opt] = &[
    Opt::str("vg").required(),
    Opt::str("lv"),
    Opt::str("size"),
    Opt::str("opts"),
    Opt::str("state").choices(&["absent", "present"]),
    Opt::bool("active"),
    Opt::bool("force"),
    Opt::bool("shrink"),
    Opt::str("snapshot"),
    Opt::list("pvs"),
    Opt::str("thinpool"),
    Opt::bool("resizefs"),
];

/// The commands to run, and what they mean.
#[derive(Debug)]
pub struct Change {
    commands: Vec<Vec<String>>,
    said: String,
}

impl Module for Lvol {
    const SPEC: Spec = Spec {
        collections: &["community.general"],
        options: &[OPTIONS],
        required_one_of: &[&["lv", "thinpool"]],
        ..Spec::new("lvol")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let absent = args.state.as_deref() == Some("absent");
        let Some(group) = group(&args.vg, host)? else {
            return if absent {
                Ok(Inspection::Same(outcome(false, json!({"msg": ""}))))
            } else {
                Err(fault(format!("there is no volume group `{}`", args.vg)))
            };
        };
        let volumes = volumes(&args.vg, host)?;
        let name = args.snapshot.as_ref().or(args.lv.as_ref()).or(args.thinpool.as_ref());
        let name = name.map(String::as_str).unwrap_or_default();
        let path = format!("{}/{name}", args.vg);
        let mut commands = Vec::new();
        let mut said = String::new();
        match (volumes.iter().find(|v| v.name == name), absent) {
            (None, true) => {}
            (Some(_), true) => {
                if !args.force {
                    return Err(fault(format!(
                        "`{path}` is only removed with `force: true`: its data goes too"
                    )));
                }
                commands.push(words(&["lvremove", "--force", &path]));
                said = format!("Volume {path} removed.");
            }
            (None, false) => {
                commands.push(create(args, name)?);
                if !args.active {
                    commands.push(words(&["lvchange", "-an", &path]));
                }
                said = format!("Volume {path} created.");
            }
            (Some(volume), false) => {
                if let Some(size) = &args.size {
                    let wanted = Size::read(size)?;
                    if let Some(command) = resize(args, &path, &wanted, volume, &group, &volumes)? {
                        said = format!("Volume {path} resized to {size}.");
                        commands.push(command);
                    }
                }
                if volume.active != args.active {
                    commands.push(words(&["lvchange", if args.active { "-ay" } else { "-an" }, &path]));
                    if said.is_empty() {
                        said = format!(
                            "Volume {path} {}.",
                            if args.active { "activated" } else { "deactivated" }
                        );
                    }
                }
            }
        }
        let predicted = outcome(!commands.is_empty(), json!({"msg": said, "vg": args.vg, "lv": name}));
        Ok(if commands.is_empty() {
            Inspection::Same(predicted)
        } else {
            Inspection::Differs { change: Change { commands, said }, predicted }
        })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        for command in &change.commands {
            run(host, command)?.or_fault("cannot change the volume")?;
        }
        let name = args.snapshot.as_ref().or(args.lv.as_ref()).or(args.thinpool.as_ref());
        Ok(outcome(true, json!({"msg": change.said, "vg": args.vg, "lv": name})))
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// A volume group, in bytes.
struct Group {
    size: u64,
    free: u64,
    extent: u64,
}

struct Volume {
    name: String,
    size: u64,
    active: bool,
}

/// Fields of a table that an LVM tool prints, sizes in bytes.
fn table(tool: &str, fields: &str, vg: &str, host: &Host<'_>) -> Result<Option<Vec<Vec<String>>>, Fault> {
    let said = run(
        host,
        &[tool, "--noheadings", "--nosuffix", "--units", "b", "--separator", ";", "-o", fields, vg],
    )?;
    // It says the same with this status when there is no such group.
    if said.rc == 5 {
        return Ok(None);
    }
    let said = said.or_fault("cannot read LVM's tables")?;
    Ok(Some(said.out.lines().map(|l| l.trim().split(';').map(str::to_owned).collect()).collect()))
}

fn number(text: Option<&String>) -> u64 {
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn group(vg: &str, host: &Host<'_>) -> Result<Option<Group>, Fault> {
    let rows = table("vgs", "vg_size,vg_free,vg_extent_size", vg, host)?.unwrap_or_default();
    Ok(rows.first().map(|row| Group {
        size: number(row.first()),
        free: number(row.get(1)),
        extent: number(row.get(2)).max(1),
    }))
}

fn volumes(vg: &str, host: &Host<'_>) -> Result<Vec<Volume>, Fault> {
    let rows = table("lvs", "lv_name,lv_size,lv_attr", vg, host)?.unwrap_or_default();
    Ok(rows
        .iter()
        .map(|row| Volume {
            name: row.first().cloned().unwrap_or_default(),
            size: number(row.get(1)),
            active: row.get(2).is_some_and(|attributes| attributes.as_bytes().get(4) == Some(&b'a')),
        })
        .collect())
}

/// `10g`, `+512m`, `80%VG`.
#[derive(Debug, PartialEq)]
struct Size {
    /// `+` or `-`.
    sign: Option<char>,
    amount: f64,
    /// Bytes, or percent of what.
    unit: Unit,
}

#[derive(Debug, PartialEq)]
enum Unit {
    Bytes,
    Percent(String),
}

impl Size {
    fn read(text: &str) -> Result<Self, Fault> {
        let bad = || fault(format!("`{text}` is no size of a logical volume"));
        let sign = text.chars().next().filter(|c| matches!(c, '+' | '-'));
        let rest = &text[sign.map_or(0, char::len_utf8)..];
        if let Some((amount, of)) = rest.split_once('%') {
            let amount = amount.parse().map_err(|_| bad())?;
            if !matches!(of, "VG" | "PVS" | "FREE" | "ORIGIN") || !(0.0..=100.0).contains(&amount) {
                return Err(bad());
            }
            return Ok(Self { sign, amount, unit: Unit::Percent(of.to_owned()) });
        }
        let digits = rest.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match rest[digits.len()..].to_ascii_lowercase().as_str() {
            "b" => 0,
            "s" => 9,
            "k" => 10,
            "" | "m" => 20,
            "g" => 30,
            "t" => 40,
            "p" => 50,
            "e" => 60,
            _ => return Err(bad()),
        };
        let amount: f64 = digits.parse().map_err(|_| bad())?;
        #[expect(clippy::cast_precision_loss, reason = "sizes of disks in whole extents")]
        let amount = amount * (1u64 << shift) as f64;
        Ok(Self { sign, amount, unit: Unit::Bytes })
    }

    fn flag(&self) -> &'static str {
        if self.unit == Unit::Bytes { "-L" } else { "-l" }
    }
}

fn create(args: &Args, name: &str) -> Result<Vec<String>, Fault> {
    let mut command = words(&["lvcreate", "--yes"]);
    let sized = |command: &mut Vec<String>, flag: Option<&str>| -> Result<(), Fault> {
        let Some(text) = &args.size else {
            return Err(fault(format!("`lvol` needs `size` to make `{name}`")));
        };
        let size = Size::read(text)?;
        if size.sign.is_some() {
            return Err(fault(format!("`{text}` is relative, and there is no volume `{name}` yet")));
        }
        // Without a unit LVM and Ansible both mean megabytes.
        command.extend([flag.unwrap_or(size.flag()).to_owned(), text.clone()]);
        Ok(())
    };
    match (&args.snapshot, &args.thinpool, &args.lv) {
        (Some(_), _, Some(origin)) => {
            if args.size.is_some() {
                sized(&mut command, None)?;
            }
            command.extend(words(&["-s", "-n", name]));
            command.extend(args.opts.iter().flat_map(|o| o.split_whitespace()).map(str::to_owned));
            command.push(format!("{}/{origin}", args.vg));
        }
        (Some(_), _, None) => return Err(fault("`lvol` needs `lv` for a `snapshot`")),
        (None, Some(pool), Some(_)) => {
            sized(&mut command, Some("-V"))?;
            command.extend(words(&["-n", name]));
            command.extend(args.opts.iter().flat_map(|o| o.split_whitespace()).map(str::to_owned));
            command.extend(["-T".to_owned(), format!("{}/{pool}", args.vg)]);
        }
        (None, Some(pool), None) => {
            sized(&mut command, None)?;
            command.extend(args.opts.iter().flat_map(|o| o.split_whitespace()).map(str::to_owned));
            command.extend(["-T".to_owned(), format!("{}/{pool}", args.vg)]);
        }
        (None, None, _) => {
            sized(&mut command, None)?;
            command.extend(words(&["-n", name]));
            command.extend(args.opts.iter().flat_map(|o| o.split_whitespace()).map(str::to_owned));
            command.push(args.vg.clone());
            command.extend(args.pvs.iter().cloned());
        }
    }
    Ok(command)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of disks in whole extents"
)]
fn resize(
    args: &Args,
    path: &str,
    wanted: &Size,
    volume: &Volume,
    group: &Group,
    volumes: &[Volume],
) -> Result<Option<Vec<String>>, Fault> {
    let amount = match &wanted.unit {
        Unit::Bytes => wanted.amount,
        Unit::Percent(of) => {
            let whole = match of.as_str() {
                "FREE" => group.free,
                "ORIGIN" => {
                    let origin = args.lv.as_deref().unwrap_or_default();
                    volumes.iter().find(|v| v.name == origin).map_or(0, |v| v.size)
                }
                _ => group.size,
            };
            whole as f64 * wanted.amount / 100.0
        }
    };
    let size = match wanted.sign {
        Some('+') => volume.size as f64 + amount,
        Some(_) => volume.size as f64 - amount,
        None => amount,
    };
    // A share is rounded down to whole extents, a size up, as LVM does.
    let extents = size / group.extent as f64;
    let extents = if wanted.unit == Unit::Bytes { extents.ceil() } else { extents.floor() };
    let size = extents.max(0.0) as u64 * group.extent;
    let text = args.size.as_deref().unwrap_or_default();
    let tool = if size > volume.size {
        if size - volume.size > group.free {
            return Err(fault(format!(
                "`{path}` cannot grow by {} bytes: volume group `{}` has {} free",
                size - volume.size,
                args.vg,
                group.free
            )));
        }
        "lvextend"
    } else if args.shrink && size < volume.size {
        if size == 0 {
            return Err(fault(format!("`{path}` cannot shrink to nothing")));
        }
        if !args.force {
            return Err(fault(format!("`{path}` only shrinks with `force: true`: data may be lost")));
        }
        "lvreduce"
    } else {
        return Ok(None);
    };
    let mut command = words(&[tool]);
    if tool == "lvreduce" {
        command.push("--force".into());
    }
    if args.resizefs {
        command.push("--resizefs".into());
    }
    command.extend(words(&[wanted.flag(), text, path]));
    if tool == "lvextend" {
        command.extend(args.pvs.iter().cloned());
    }
    Ok(Some(command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const VGS: &str =
        "vgs --noheadings --nosuffix --units b --separator ; -o vg_size,vg_free,vg_extent_size vg0";
    const LVS: &str = "lvs --noheadings --nosuffix --units b --separator ; -o lv_name,lv_size,lv_attr vg0";
    /// 10 GiB with 4 GiB free.
    const GROUP: &str = "  10737418240;4294967296;4194304\n";
    const VOLUMES: &str = "  data;1073741824;-wi-a-----\n  old;1073741824;-wi-------\n";

    fn commands(arguments: Value) -> Result<Vec<String>, String> {
        let script = Script::of(&[(VGS, 0, GROUP), (LVS, 0, VOLUMES)]);
        match Lvol::inspect(&args(arguments), &script.host()) {
            Ok(Inspection::Differs { change, .. }) => {
                Ok(change.commands.iter().map(|c| c.join(" ")).collect())
            }
            Ok(Inspection::Same(_)) => Ok(Vec::new()),
            Err(fault) => Err(fault.msg),
        }
    }

    #[test]
    fn volumes_are_made_and_left_alone() {
        let made = commands(json!({"vg": "vg0", "lv": "new", "size": "100%FREE"}));
        assert_eq!(made, Ok(vec!["lvcreate --yes -l 100%FREE -n new vg0".into()]));
        let made = commands(json!({"vg": "vg0", "lv": "data", "snapshot": "s", "size": "512m"}));
        assert_eq!(made, Ok(vec!["lvcreate --yes -L 512m -s -n s vg0/data".into()]));
        let made = commands(json!({"vg": "vg0", "lv": "thin", "thinpool": "pool", "size": "10g"}));
        assert_eq!(made, Ok(vec!["lvcreate --yes -V 10g -n thin -T vg0/pool".into()]));
        assert_eq!(commands(json!({"vg": "vg0", "lv": "data", "size": "1024"})), Ok(Vec::new()));
        let on = commands(json!({"vg": "vg0", "lv": "old"}));
        assert_eq!(on, Ok(vec!["lvchange -ay vg0/old".into()]));
    }

    #[test]
    fn volumes_grow_where_there_is_room_and_shrink_by_force() {
        let grown = commands(json!({"vg": "vg0", "lv": "data", "size": "2g", "resizefs": true}));
        assert_eq!(grown, Ok(vec!["lvextend --resizefs -L 2g vg0/data".into()]));
        let grown = commands(json!({"vg": "vg0", "lv": "data", "size": "+100%FREE"}));
        assert_eq!(grown, Ok(vec!["lvextend -l +100%FREE vg0/data".into()]));
        assert!(
            commands(json!({"vg": "vg0", "lv": "data", "size": "9g"}))
                .is_err_and(|e| e.contains("cannot grow"))
        );
        let smaller = json!({"vg": "vg0", "lv": "data", "size": "512m"});
        assert!(commands(smaller).is_err_and(|e| e.contains("force")));
        assert_eq!(
            commands(json!({"vg": "vg0", "lv": "data", "size": "512m", "shrink": false})),
            Ok(Vec::new())
        );
        let less = commands(json!({"vg": "vg0", "lv": "data", "size": "512m", "force": true}));
        assert_eq!(less, Ok(vec!["lvreduce --force -L 512m vg0/data".into()]));
    }

    #[test]
    fn removing_needs_force_and_an_unknown_group_is_told() {
        let gone = json!({"vg": "vg0", "lv": "data", "state": "absent"});
        assert!(commands(gone).is_err_and(|e| e.contains("force")));
        let gone = commands(json!({"vg": "vg0", "lv": "data", "state": "absent", "force": true}));
        assert_eq!(gone, Ok(vec!["lvremove --force vg0/data".into()]));
        let script = Script::of(&[(VGS, 5, "Volume group \"vg0\" not found")]);
        let error = Lvol::inspect(&args(json!({"vg": "vg0", "lv": "x"})), &script.host());
        assert!(matches!(error, Err(f) if f.msg == "there is no volume group `vg0`"));
    }

    #[test]
    fn sizes_without_sense_are_refused() {
        for bad in ["", "x", "120%VG", "10%SOMETHING", "5q"] {
            assert!(Size::read(bad).is_err(), "{bad}");
        }
    }
}
