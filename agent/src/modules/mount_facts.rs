//! `mount_facts`: every mount point from the tables of the kernel and of administrators.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::storage::{device_uuid, sizes_of, unescape};
use crate::files::glob;
use crate::options::{Opt, Spec};
use crate::system::run::{need_program, run};
use crate::system::{self, fault, outcome};

/// The module.
pub struct MountFacts;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    devices: Option<Vec<String>>,
    fstypes: Option<Vec<String>>,
    include_aggregate_mounts: Option<bool>,
    mount_binary: Option<String>,
    on_timeout: Option<String>,
    sources: Option<Vec<String>>,
    timeout: Option<f64>,
}

const OPTIONS: &[Opt] = &[
    Opt::list("devices"),
    Opt::list("fstypes"),
    Opt::bool("include_aggregate_mounts"),
    Opt::str("mount_binary"),
    Opt::str("on_timeout").choices(&["error", "warn", "ignore"]),
    Opt::list("sources"),
    Opt::float("timeout"),
];
const DYNAMIC: [&str; 2] = ["/etc/mtab", "/proc/mounts"];
const STATIC: [&str; 1] = ["/etc/fstab"];
/// A dead network mount must not hold the step up when nobody said how long to wait.
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);

impl Module for MountFacts {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("mount_facts") };
    type Args = Args;
    type Change = ();

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<()>, Fault> {
        let timeout = match args.timeout {
            None => USUAL_TIMEOUT,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|t| !t.is_zero())
                .ok_or_else(|| fault(format!("`timeout` must be a positive number, not {seconds}")))?,
        };
        let mut warnings = Vec::new();
        let mut mounts = Vec::new();
        for (source, line, fields) in lines(args, host)? {
            let (device, fstype) = (unescape(&fields[0]), unescape(&fields[2]));
            let fits = |patterns: &Option<Vec<String>>, text: &str| {
                patterns
                    .as_ref()
                    .is_none_or(|all| all.iter().any(|p| glob::fnmatch(p).is_some_and(|p| p.is_match(text))))
            };
            let stated = device.strip_prefix("UUID=").map(str::to_owned);
            if !fits(&args.devices, &device) || !fits(&args.fstypes, &fstype) {
                continue;
            }
            let mount = unescape(&fields[1]);
            let mut entry = Map::new();
            match sizes_of(&mount, &fstype, timeout) {
                Some(Some(sizes)) => entry.extend(sizes),
                Some(None) => {}
                None => {
                    let late = format!("Timed out getting mount size for mount {mount} (type {fstype})");
                    match args.on_timeout.as_deref() {
                        Some("warn") => warnings.push(late),
                        Some("ignore") => {}
                        _ => return Err(fault(late)),
                    }
                }
            }
            let number = |at: usize| fields.get(at).and_then(|n| n.parse::<i64>().ok());
            if let (Some(dump), Some(pass)) = (number(4), number(5)) {
                entry.insert("dump".into(), dump.into());
                entry.insert("passno".into(), pass.into());
            }
            let uuid = stated.or_else(|| device_uuid(&device));
            let fixed = json!({
                "device": device, "mount": mount, "fstype": fstype, "options": unescape(&fields[3]), "uuid": uuid,
                "ansible_context": {"source": source, "source_data": line},
            });
            if let Value::Object(fixed) = fixed {
                entry.extend(fixed);
            }
            mounts.push((mount, entry));
        }
        let mut points = Map::new();
        for (point, entry) in &mounts {
            if !points.contains_key(point) {
                points.insert(point.clone(), Value::Object(entry.clone()));
            }
        }
        let all: Vec<Map<String, Value>> = if args.include_aggregate_mounts == Some(true) {
            mounts.into_iter().map(|(_, entry)| entry).collect()
        } else {
            Vec::new()
        };
        let facts = json!({"ansible_facts": {"mount_points": points, "aggregate_mounts": all}});
        Ok(Inspection::Same(Outcome { warnings, ..outcome(false, facts) }))
    }

    fn apply(_: &Args, (): (), _: &Host<'_>) -> Result<Outcome, Fault> {
        Ok(Outcome::default())
    }
}

/// Source, line and fields of every mount; four fields at least.
fn lines(args: &Args, host: &Host<'_>) -> Result<Vec<(String, String, Vec<String>)>, Fault> {
    let mut sources: Vec<&str> = Vec::new();
    let usual = ["all".to_owned()];
    for source in args.sources.as_deref().unwrap_or(&usual) {
        match source.as_str() {
            "" => return Err(fault("`sources` of `mount_facts` holds an empty text")),
            "all" => sources.extend(DYNAMIC.iter().chain(&STATIC)),
            "dynamic" => sources.extend(DYNAMIC),
            "static" => sources.extend(STATIC),
            other => sources.push(other),
        }
    }
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for source in sources {
        let real = std::fs::canonicalize(system::root::at(source)).unwrap_or_else(|_| source.into());
        if seen.contains(&real) {
            continue;
        }
        seen.push(real);
        if source == "mount" {
            let program = need_program(args.mount_binary.as_deref().unwrap_or("mount"))?;
            let said = run(host, &[program])?.or_fault("cannot list the mounts")?;
            found.extend(said.out.lines().filter_map(|line| {
                let (device, rest) = line.split_once(" on ")?;
                let (mount, rest) = rest.rsplit_once(" type ")?;
                let (fstype, options) = rest.split_once(' ')?;
                let options = options.trim().trim_start_matches('(').trim_end_matches(')');
                let fields = [device, mount, fstype, options].map(str::to_owned).to_vec();
                Some(("mount".to_owned(), line.to_owned(), fields))
            }));
            continue;
        }
        for line in system::text(source).unwrap_or_default().lines().map(str::trim) {
            let fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if !line.starts_with('#') && fields.len() >= 4 {
                found.push((source.to_owned(), line.to_owned(), fields));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn mounts_come_from_each_table_once_and_can_be_chosen() {
        let _root = FakeRoot::with(&[
            ("/proc/mounts", "tmpfs /a\\040b tmpfs rw 0 0\nproc /proc proc rw,nosuid 0 0\n"),
            ("/etc/fstab", "# comment\nUUID=1-2 /data ext4 defaults 0 2\n"),
        ]);
        let script = Script::of(&[]);
        let seen = |arguments: Value| match MountFacts::inspect(&args(arguments), &script.host()) {
            Ok(Inspection::Same(outcome)) => outcome.values["ansible_facts"].clone(),
            _ => panic!(),
        };
        let all = seen(json!({"include_aggregate_mounts": true}));
        assert_eq!(all["mount_points"]["/a b"]["fstype"], "tmpfs");
        assert_eq!(all["mount_points"]["/a b"]["ansible_context"]["source"], "/proc/mounts");
        assert_eq!(all["mount_points"]["/data"]["uuid"], "1-2");
        assert_eq!(all["mount_points"]["/data"]["passno"], 2);
        assert_eq!(all["aggregate_mounts"].as_array().map(Vec::len), Some(3));
        let some = seen(json!({"fstypes": ["pr*"], "sources": ["dynamic"]}));
        assert_eq!(
            some["mount_points"].as_object().map(|m| m.keys().collect::<Vec<_>>()),
            Some(vec![&"/proc".to_owned()])
        );
    }
}
