//! `apt`: packages of Debian's family.
//!
//! Owns: options, what is to be installed or removed, predictions by `apt-get -s`.
//! Must not: start a process when the dpkg database already shows that nothing is to do.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome, fetched};
use crate::files::checksum::sha1;
use crate::options::{Opt, Spec};
use crate::packages::apt::{announced, apt_get, counts, lists_fresh, lists_time, update};
use crate::packages::dpkg::Database;
use crate::packages::version::matches;
use crate::system::run::{Answer, run};
use crate::system::{self, fault, outcome, write};

/// The module.
pub struct Apt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    #[default]
    #[serde(alias = "installed")]
    Present,
    #[serde(alias = "removed")]
    Absent,
    Latest,
    BuildDep,
    Fixed,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Args {
    name: Vec<String>,
    state: State,
    update_cache: Option<bool>,
    cache_valid_time: u64,
    update_cache_retries: u32,
    update_cache_retry_max_delay: u64,
    purge: bool,
    default_release: Option<String>,
    install_recommends: Option<bool>,
    force: bool,
    allow_unauthenticated: bool,
    allow_downgrade: bool,
    allow_change_held_packages: bool,
    upgrade: Option<String>,
    dpkg_options: String,
    deb: Option<String>,
    autoremove: bool,
    autoclean: bool,
    clean: bool,
    only_upgrade: bool,
    fail_on_autoremove: bool,
    policy_rc_d: Option<i64>,
    lock_timeout: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            name: Vec::new(),
            state: State::Present,
            update_cache: None,
            cache_valid_time: 0,
            update_cache_retries: 5,
            update_cache_retry_max_delay: 12,
            purge: false,
            default_release: None,
            install_recommends: None,
            force: false,
            allow_unauthenticated: false,
            allow_downgrade: false,
            allow_change_held_packages: false,
            upgrade: None,
            dpkg_options: "force-confdef,force-confold".into(),
            deb: None,
            autoremove: false,
            autoclean: false,
            clean: false,
            only_upgrade: false,
            fail_on_autoremove: false,
            policy_rc_d: None,
            lock_timeout: 60,
        }
    }
}

const OPTIONS: &[Opt] = &[
    Opt::list("name").aliases(&["package", "pkg"]),
    Opt::str("state").choices(&["absent", "build-dep", "installed", "latest", "present", "removed", "fixed"]),
    Opt::bool("update_cache").aliases(&["update-cache"]),
    Opt::int("cache_valid_time"),
    Opt::int("update_cache_retries"),
    Opt::int("update_cache_retry_max_delay"),
    Opt::bool("purge"),
    Opt::str("default_release").aliases(&["default-release"]),
    Opt::bool("install_recommends").aliases(&["install-recommends"]),
    Opt::bool("force"),
    Opt::bool("allow_unauthenticated").aliases(&["allow-unauthenticated"]),
    Opt::bool("allow_downgrade").aliases(&["allow-downgrade", "allow_downgrades", "allow-downgrades"]),
    Opt::bool("allow_change_held_packages"),
    Opt::str("upgrade").choices(&["dist", "full", "no", "safe", "yes"]),
    Opt::str("dpkg_options"),
    Opt::str("deb"),
    Opt::bool("autoremove"),
    Opt::bool("autoclean"),
    Opt::bool("clean"),
    Opt::bool("only_upgrade"),
    Opt::bool("fail_on_autoremove"),
    Opt::int("policy_rc_d"),
    Opt::int("lock_timeout"),
    Opt::bool("force_apt_get").ignored("apt-get is what is used anyway"),
    Opt::bool("auto_install_module_deps").ignored("the module needs no Python packages"),
];

/// What `apt-get` is to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    update: bool,
    /// Arguments without the options that every call gets; `None`: nothing to do by what is known before the update.
    request: Option<Vec<String>>,
    clean: bool,
}

impl Module for Apt {
    const SPEC: Spec = Spec {
        options: &[OPTIONS],
        required_one_of: &[&[
            "autoremove",
            "autoclean",
            "clean",
            "deb",
            "name",
            "update_cache",
            "upgrade",
            "cache_valid_time",
            "state",
        ]],
        mutually_exclusive: &[&["deb", "name", "upgrade"]],
        ..Spec::new("apt")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let mut spool = Spool(args.deb.as_deref().and_then(spooled));
        let update = update_due(args);
        let wanted = request(args, host)?;
        // With fresh lists an upgrade may look different, so a normal run decides only after the update.
        let decides_later = update && !host.check && wanted.as_ref().is_some_and(|w| w.by_simulation);
        let mut predicted = outcome(false, json!({}));
        let mut change = Change { update, request: None, clean: args.clean };
        if let Some(wanted) = wanted {
            if decides_later {
                change.request = Some(wanted.arguments);
                predicted.changed = true;
            } else if wanted.by_simulation || host.check || host.diff {
                let answer = simulate(args, &wanted.arguments, host)?;
                if would_change(&answer.out) || wanted.certain {
                    predicted = told(&answer, host);
                    change.request = Some(wanted.arguments);
                }
            } else {
                predicted.changed = true;
                change.request = Some(wanted.arguments);
            }
        }
        if change.request.is_none() && (args.clean || (update && only_updates(args))) {
            predicted.changed = true;
        }
        predicted.values.insert("cache_updated".into(), json!(update));
        predicted.values.insert("cache_update_time".into(), json!(lists_time()));
        if change.request.is_some() && !host.check {
            spool.0 = None;
        }
        Ok(if change.request.is_some() || change.update || change.clean {
            Inspection::Differs { change, predicted }
        } else {
            Inspection::Same(predicted)
        })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let _spool = Spool(args.deb.as_deref().and_then(spooled));
        let lock = Duration::from_secs(args.lock_timeout);
        let mut result = outcome(false, json!({}));
        if change.update {
            update(host, args.update_cache_retries, args.update_cache_retry_max_delay, lock)?;
            result.changed = only_updates(args);
        }
        let mut request_now = change.request;
        if change.update && request_now.is_some() {
            let wanted = request(args, host)?;
            request_now = match wanted {
                Some(wanted) if wanted.by_simulation && !wanted.certain => {
                    let answer = simulate(args, &wanted.arguments, host)?;
                    would_change(&answer.out).then_some(wanted.arguments)
                }
                Some(wanted) => Some(wanted.arguments),
                None => None,
            };
        }
        if let Some(request) = request_now {
            let _guard = PolicyGuard::set(args.policy_rc_d)?;
            let answer = apt_get(host, &full(args, &request, false), lock)?;
            let answer = answer.or_fault_in_apt(&request)?;
            result.changed =
                counts(&answer.out).is_none_or(|c| c != (0, 0, 0)) || args.state == State::BuildDep;
            if args.autoclean {
                result.changed |= answer.out.lines().any(|l| l.starts_with("Del "));
            }
            result.values.insert("stdout".into(), json!(answer.out));
            result.values.insert("stderr".into(), json!(answer.err));
        }
        if change.clean {
            let answer =
                apt_get(host, &["clean".into()], lock)?.or_fault("cannot clean the package cache")?;
            result.changed = true;
            result.values.entry("stdout").or_insert_with(|| json!(answer.out));
        }
        result.values.insert("cache_updated".into(), json!(change.update));
        result.values.insert("cache_update_time".into(), json!(lists_time()));
        Ok(result)
    }
}

/// A request that might change something.
struct Wanted {
    arguments: Vec<String>,
    /// Only `apt-get -s` can tell whether anything would change.
    by_simulation: bool,
    /// The database shows already that something changes.
    certain: bool,
}

impl Wanted {
    fn certainly(arguments: Vec<String>) -> Self {
        Self { arguments, by_simulation: false, certain: true }
    }

    fn perhaps(arguments: Vec<String>) -> Self {
        Self { arguments, by_simulation: true, certain: false }
    }
}

fn update_due(args: &Args) -> bool {
    match args.update_cache {
        Some(false) => false,
        None if args.cache_valid_time == 0 => false,
        Some(true) | None => args.cache_valid_time == 0 || !lists_fresh(args.cache_valid_time),
    }
}

/// True when the task is about the lists alone: then fetching them is its change.
fn only_updates(args: &Args) -> bool {
    args.name.is_empty()
        && args.deb.is_none()
        && !upgrades(args)
        && !args.autoremove
        && !args.autoclean
        && !args.clean
}

fn upgrades(args: &Args) -> bool {
    args.upgrade.as_deref().is_some_and(|u| u != "no")
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn request(args: &Args, host: &Host<'_>) -> Result<Option<Wanted>, Fault> {
    if upgrades(args) {
        let arguments = match args.upgrade.as_deref() {
            Some("dist" | "full") => strings(&["dist-upgrade"]),
            _ => strings(&["upgrade", "--with-new-pkgs"]),
        };
        return Ok(Some(Wanted::perhaps(arguments)));
    }
    if let Some(deb) = &args.deb {
        return deb_request(deb, host);
    }
    // A bare `*` is the older way to ask for an upgrade.
    if args.name.iter().any(|n| n == "*") && args.state == State::Latest {
        return Ok(Some(Wanted::perhaps(strings(&["dist-upgrade"]))));
    }
    if args.name.is_empty() {
        return Ok(match args.state {
            State::Fixed => Some(Wanted::perhaps(strings(&["-f", "install"]))),
            _ if args.autoclean => Some(Wanted::certainly(strings(&["autoclean"]))),
            _ if args.autoremove => Some(Wanted::perhaps(strings(&["autoremove"]))),
            _ => None,
        });
    }
    let database = Database::read()?;
    let names = expanded(&args.name, host)?;
    match args.state {
        State::Absent => Ok(removal(args, &names, &database)),
        State::BuildDep => Ok(Some(Wanted::perhaps([strings(&["build-dep"]), names].concat()))),
        State::Latest => {
            let arguments = [strings(&["install"]), names].concat();
            Ok(Some(Wanted::perhaps(arguments)))
        }
        State::Present | State::Fixed => present(args, &names, &database, host),
    }
}

fn removal(args: &Args, names: &[String], database: &Database) -> Option<Wanted> {
    let gone = |name: &&String| {
        let bare = name.split('=').next().unwrap_or(name);
        match database.get(bare) {
            Some(entry) if entry.state == "not-installed" => false,
            Some(entry) if entry.state == "config-files" => args.purge,
            Some(_) => true,
            None => false,
        }
    };
    let names: Vec<String> =
        names.iter().filter(gone).map(|n| n.split('=').next().unwrap_or(n).to_owned()).collect();
    if names.is_empty() {
        return args.autoremove.then(|| Wanted::perhaps(strings(&["autoremove"])));
    }
    Some(Wanted::certainly([strings(&["remove"]), names].concat()))
}

fn present(
    args: &Args,
    names: &[String],
    database: &Database,
    host: &Host<'_>,
) -> Result<Option<Wanted>, Fault> {
    let mut missing = Vec::new();
    for spec in names {
        let (name, constraint) = split_spec(spec);
        let satisfied = match (database.installed(name), constraint) {
            (Some(_), None) => true,
            (Some(entry), Some(constraint)) => constraint.holds(&entry.version),
            (None, None) => database.provided(name) && !real(name, host)?,
            (None, Some(_)) => args.only_upgrade,
        };
        let skip = args.only_upgrade && database.installed(name).is_none();
        if !satisfied && !skip {
            missing.push(match constraint {
                Some(Constraint::AtLeast(_)) => name.to_owned(),
                _ => spec.clone(),
            });
        }
    }
    if missing.is_empty() {
        return Ok(match args.state {
            State::Fixed => Some(Wanted::perhaps(strings(&["-f", "install"]))),
            _ if args.autoremove => Some(Wanted::perhaps(strings(&["autoremove"]))),
            _ => None,
        });
    }
    Ok(Some(Wanted::certainly([strings(&["install"]), missing].concat())))
}

#[derive(Debug, Clone, Copy)]
enum Constraint<'a> {
    Pattern(&'a str),
    AtLeast(&'a str),
}

impl Constraint<'_> {
    fn holds(&self, version: &str) -> bool {
        match self {
            Self::Pattern(pattern) => matches(pattern, version),
            Self::AtLeast(least) => crate::packages::version::compare_debian(version, least).is_ge(),
        }
    }
}

fn split_spec(spec: &str) -> (&str, Option<Constraint<'_>>) {
    if let Some((name, version)) = spec.split_once(">=") {
        (name, Some(Constraint::AtLeast(version)))
    } else if let Some((name, version)) = spec.split_once('=') {
        (name, Some(Constraint::Pattern(version)))
    } else {
        (spec, None)
    }
}

/// True when a package of that name can be installed, so that what another one provides does not stand for it.
fn real(name: &str, host: &Host<'_>) -> Result<bool, Fault> {
    let answer = run(host, &["apt-cache", "policy", "--", name])?;
    Ok(answer.out.lines().any(|l| l.trim().strip_prefix("Candidate:").is_some_and(|c| c.trim() != "(none)")))
}

/// Replaces names with `*` or `?` by the packages they match.
fn expanded(names: &[String], host: &Host<'_>) -> Result<Vec<String>, Fault> {
    let mut known: Option<Vec<String>> = None;
    let mut found = Vec::new();
    for spec in names.iter().map(|n| n.trim()).filter(|n| !n.is_empty()) {
        let name = split_spec(spec).0;
        if !name.contains(['*', '?', '[']) {
            found.push(spec.to_owned());
            continue;
        }
        if known.is_none() {
            let answer = run(host, &["apt-cache", "pkgnames"])?.or_fault("cannot list package names")?;
            known = Some(answer.out.lines().map(str::to_owned).collect());
        }
        let rest = &spec[name.len()..];
        let mut matching: Vec<String> =
            known.iter().flatten().filter(|k| matches(name, k)).map(|k| format!("{k}{rest}")).collect();
        if matching.is_empty() {
            return Err(fault(format!("no package(s) matching `{spec}` available")));
        }
        matching.sort();
        found.append(&mut matching);
    }
    Ok(found)
}

/// Where a package given by address lies while the step runs.
fn spooled(deb: &str) -> Option<String> {
    let name = format!("dcos-play-{}-{}.deb", std::process::id(), sha1(deb.as_bytes()));
    deb.contains("://").then(|| std::env::temp_dir().join(name).display().to_string())
}

/// Throws the fetched package away when the step needs it no more.
struct Spool(Option<String>);

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            std::fs::remove_file(system::root::at(file)).ok();
        }
    }
}

fn deb_request(deb: &str, host: &Host<'_>) -> Result<Option<Wanted>, Fault> {
    let spooled = spooled(deb);
    let deb = match &spooled {
        Some(file) => {
            if !system::exists(file) {
                let bytes = fetched::bytes(deb, true, host)?;
                std::fs::write(system::root::at(file), bytes).map_err(|e| Fault::io("write", file, &e))?;
            }
            file.as_str()
        }
        None => deb,
    };
    if !system::exists(deb) {
        return Err(fault(format!("`deb` of `apt` is `{deb}`, which does not exist")));
    }
    let answer = run(host, &["dpkg-deb", "-f", deb, "Package", "Version", "Architecture"])?
        .or_fault(&format!("`{deb}` is no Debian package"))?;
    let field = |key: &str| {
        answer
            .out
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(": "))
            .unwrap_or_default()
            .to_owned()
    };
    let (name, version, architecture) = (field("Package"), field("Version"), field("Architecture"));
    let database = Database::read()?;
    let wanted_name = if architecture == "all" { name } else { format!("{name}:{architecture}") };
    if database.installed(&wanted_name).is_some_and(|e| e.version == version) {
        return Ok(None);
    }
    // apt takes a word with a slash for a file.
    let path = if deb.contains('/') { deb.to_owned() } else { format!("./{deb}") };
    Ok(Some(Wanted::certainly(vec!["install".into(), path])))
}

/// Options that every call gets, then the request.
fn full(args: &Args, request: &[String], simulated: bool) -> Vec<String> {
    let mut all = strings(&["-y"]);
    for option in args.dpkg_options.split(',').map(str::trim).filter(|o| !o.is_empty()) {
        all.push("-o".into());
        all.push(format!("Dpkg::Options::=--{option}"));
    }
    if simulated {
        all.push("-s".into());
    }
    let flags = [
        (args.force, "--force-yes"),
        (args.allow_unauthenticated, "--allow-unauthenticated"),
        (args.allow_downgrade, "--allow-downgrades"),
        (args.allow_change_held_packages, "--allow-change-held-packages"),
        (args.only_upgrade, "--only-upgrade"),
        (args.fail_on_autoremove, "--no-remove"),
    ];
    all.extend(flags.iter().filter(|(given, _)| *given).map(|(_, flag)| (*flag).to_owned()));
    if let Some(release) = &args.default_release {
        all.extend(["-t".into(), release.clone()]);
    }
    if let Some(recommends) = args.install_recommends {
        all.extend([
            "-o".into(),
            format!("APT::Install-Recommends={}", if recommends { "yes" } else { "no" }),
        ]);
    }
    let removing = request.iter().any(|w| w == "remove" || w == "autoremove");
    if args.purge && removing {
        all.push("--purge".into());
    }
    if args.autoremove && !request.iter().any(|w| w == "autoremove") {
        all.push("--auto-remove".into());
    }
    all.extend_from_slice(request);
    all
}

fn simulate(args: &Args, request: &[String], host: &Host<'_>) -> Result<Answer, Fault> {
    apt_get(host, &full(args, request, true), Duration::ZERO)?.or_fault_in_apt(request)
}

fn would_change(out: &str) -> bool {
    counts(out).is_some_and(|c| c != (0, 0, 0))
        || out.lines().any(|l| l.starts_with("Conf ") || l.starts_with("Del "))
}

fn told(answer: &Answer, host: &Host<'_>) -> Outcome {
    let mut told = outcome(true, json!({"stdout": answer.out, "stderr": answer.err}));
    if host.diff {
        told.diff.push(json!({"prepared": announced(&answer.out)}));
    }
    told
}

trait AptAnswer: Sized {
    fn or_fault_in_apt(self, request: &[String]) -> Result<Self, Fault>;
}

impl AptAnswer for Answer {
    /// Says an unknown package in one line, everything else as apt does.
    fn or_fault_in_apt(self, request: &[String]) -> Result<Self, Fault> {
        if self.ok() {
            return Ok(self);
        }
        let unknown = self.err.lines().find_map(|l| l.strip_prefix("E: Unable to locate package "));
        let mut fault = match unknown {
            Some(name) => {
                let mut fault = self.to_fault("");
                fault.msg = format!("no package matching `{}` is available", name.trim());
                fault
            }
            None => self.to_fault(&format!("`apt-get {}` failed", request.join(" "))),
        };
        fault.values.insert("stdout".into(), json!(self.out));
        Err(fault)
    }
}

/// While it lives, services may not be started by package scripts as `policy_rc_d` says.
struct PolicyGuard(Option<Option<String>>);

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl PolicyGuard {
    fn set(code: Option<i64>) -> Result<Self, Fault> {
        let Some(code) = code else { return Ok(Self(None)) };
        let before = system::text(POLICY);
        write::replace(POLICY, &format!("#!/bin/sh\nexit {code}\n"), 0o755)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for PolicyGuard {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Some(before)) => {
                write::replace(POLICY, &before, 0o755).ok();
            }
            Some(None) => {
                std::fs::remove_file(system::root::at(POLICY)).ok();
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::dpkg::tests::STATUS;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const CONF: &str = "apt-get -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold";

    fn debian() -> FakeRoot {
        FakeRoot::with(&[("/var/lib/dpkg/status", STATUS)])
    }

    fn inspect(arguments: Value, script: &Script, check: bool) -> Result<Inspection<Change>, Fault> {
        Apt::inspect(&args(arguments), &Host { check, diff: false, ..script.host() })
    }

    #[test]
    fn installed_packages_start_no_process() {
        let _root = debian();
        let script = Script::of(&[]);
        for name in [json!(["curl"]), json!(["curl=7.88*", "postfix"]), json!(["curl>=7.0"])] {
            let found = inspect(json!({"name": name}), &script, false);
            assert!(matches!(found, Ok(Inspection::Same(_))));
        }
        for name in ["old", "neverheard"] {
            let found = inspect(json!({"name": [name], "state": "absent"}), &script, false);
            assert!(matches!(found, Ok(Inspection::Same(_))));
        }
    }

    #[test]
    fn missing_packages_are_installed_in_one_call() {
        let _root = debian();
        let line = format!("{CONF} -o APT::Install-Recommends=no install git jq=1.6");
        let script =
            Script::of(&[(&line, 0, "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.\n")]);
        let arguments = json!({"name": ["curl", "git", "jq=1.6"], "install_recommends": false});
        let Ok(Inspection::Differs { change, .. }) = inspect(arguments.clone(), &script, false) else {
            panic!()
        };
        assert!(Apt::apply(&args(arguments), change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn check_mode_asks_apt_what_it_would_do() {
        let _root = debian();
        let line = format!("{CONF} -s install git");
        let out = "The following NEW packages will be installed:\n  git\n0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.\n";
        let script = Script::of(&[(&line, 0, out)]);
        let Ok(Inspection::Differs { predicted, .. }) = inspect(json!({"name": ["git"]}), &script, true)
        else {
            panic!()
        };
        assert!(predicted.changed && predicted.values["stdout"] == out);
    }

    #[test]
    fn latest_is_the_same_when_apt_has_nothing_newer() {
        let _root = debian();
        let line = format!("{CONF} -s install curl");
        let script =
            Script::of(&[(&line, 0, "0 upgraded, 0 newly installed, 0 to remove and 3 not upgraded.\n")]);
        assert!(matches!(
            inspect(json!({"name": ["curl"], "state": "latest"}), &script, false),
            Ok(Inspection::Same(_))
        ));
    }

    #[test]
    fn updating_alone_is_a_change_and_beside_packages_is_not() {
        let _root = debian();
        let script = Script::of(&[("apt-get update", 0, "")]);
        let arguments = json!({"update_cache": true});
        let Ok(Inspection::Differs { change, predicted }) = inspect(arguments.clone(), &script, false) else {
            panic!()
        };
        assert!(predicted.changed);
        assert!(Apt::apply(&args(arguments), change, &script.host()).expect("applies").changed);

        let script = Script::of(&[("apt-get update", 0, "")]);
        let arguments = json!({"update_cache": true, "name": ["curl"]});
        let Ok(Inspection::Differs { change, .. }) = inspect(arguments.clone(), &script, false) else {
            panic!()
        };
        let done = Apt::apply(&args(arguments), change, &script.host()).expect("applies");
        assert!(!done.changed && done.values["cache_updated"] == true);
    }

    #[test]
    fn fresh_lists_are_not_fetched_again() {
        let root = debian();
        root.put("/var/lib/apt/periodic/update-success-stamp", "");
        let script = Script::of(&[]);
        let found = inspect(json!({"name": ["curl"], "cache_valid_time": 3600}), &script, false);
        let Ok(Inspection::Same(same)) = found else { panic!() };
        assert_eq!(same.values["cache_updated"], false);
    }

    #[test]
    fn what_another_package_provides_counts_unless_the_name_is_real() {
        let _root = debian();
        let script = Script::of(&[("apt-cache policy -- mail-transport-agent", 0, "")]);
        assert!(matches!(
            inspect(json!({"name": ["mail-transport-agent"]}), &script, false),
            Ok(Inspection::Same(_))
        ));
        let script = Script::of(&[(
            "apt-cache policy -- default-mta",
            0,
            "default-mta:\n  Installed: (none)\n  Candidate: 1\n",
        )]);
        assert!(matches!(
            inspect(json!({"name": ["default-mta"]}), &script, false),
            Ok(Inspection::Differs { .. })
        ));
    }

    #[test]
    fn purging_removes_left_configuration() {
        let _root = debian();
        let line = format!("{CONF} --purge remove old");
        let script =
            Script::of(&[(&line, 0, "0 upgraded, 0 newly installed, 1 to remove and 0 not upgraded.\n")]);
        let arguments = json!({"name": ["old", "unknown"], "state": "absent", "purge": true});
        let Ok(Inspection::Differs { change, .. }) = inspect(arguments.clone(), &script, false) else {
            panic!()
        };
        assert!(Apt::apply(&args(arguments), change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn an_unknown_package_is_named() {
        let _root = debian();
        let line = format!("{CONF} install nix");
        let script = Script::of(&[(&line, 100, "E: Unable to locate package nix\n")]);
        let change = Change { request: Some(strings(&["install", "nix"])), ..Change::default() };
        let error = Apt::apply(&args(json!({"name": ["nix"]})), change, &script.host()).expect_err("fails");
        assert_eq!(error.msg, "no package matching `nix` is available");
    }

    #[test]
    fn patterns_in_names_become_the_packages_they_match() {
        let _root = debian();
        let script = Script::of(&[("apt-cache pkgnames", 0, "curl\nlibcurl4\npostfix\n")]);
        let Ok(Inspection::Differs { change, .. }) = inspect(json!({"name": ["*curl*"]}), &script, false)
        else {
            panic!()
        };
        assert_eq!(change.request, Some(strings(&["install", "libcurl4"])));
    }
}
