//! `yum`, aliases `dnf` and `dnf5`: packages of Red Hat's family.
//!
//! Owns: options, what is to be installed or removed, judged by one `rpm -qa`. Must not: ask the repositories
//! when the database already shows that nothing is to do.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::facts::{distribution, services};
use crate::options::{Opt, Spec};
use crate::packages::rpm::{self, Installed};
use crate::packages::version::{compare_rpm, matches};
use crate::system::run::{Answer, find_program, run, run_streaming};
use crate::system::{fault, outcome};

/// The module.
pub struct Yum;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    #[serde(alias = "installed")]
    Present,
    #[serde(alias = "removed")]
    Absent,
    Latest,
}

/// Typed arguments.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    name: Vec<String>,
    state: Option<State>,
    enablerepo: Vec<String>,
    disablerepo: Vec<String>,
    exclude: Vec<String>,
    disable_excludes: Option<String>,
    enable_plugin: Vec<String>,
    disable_plugin: Vec<String>,
    conf_file: Option<String>,
    installroot: Option<String>,
    releasever: Option<String>,
    list: Option<String>,
    update_cache: bool,
    update_only: bool,
    security: bool,
    bugfix: bool,
    autoremove: bool,
    disable_gpg_check: bool,
    skip_broken: bool,
    allow_downgrade: bool,
    allowerasing: bool,
    nobest: bool,
    best: Option<bool>,
    cacheonly: bool,
    download_only: bool,
    download_dir: Option<String>,
    install_weak_deps: Option<bool>,
    sslverify: Option<bool>,
    validate_certs: Option<bool>,
    use_backend: Option<String>,
}

const OPTIONS: &[Opt] = &[
    Opt::list("name").aliases(&["pkg"]),
    Opt::str("state").choices(&["absent", "installed", "latest", "present", "removed"]),
    Opt::list("enablerepo"),
    Opt::list("disablerepo"),
    Opt::list("exclude"),
    Opt::str("disable_excludes"),
    Opt::list("enable_plugin"),
    Opt::list("disable_plugin"),
    Opt::path("conf_file"),
    Opt::path("installroot"),
    Opt::str("releasever"),
    Opt::str("list"),
    Opt::bool("update_cache").aliases(&["expire-cache"]),
    Opt::bool("update_only"),
    Opt::bool("security"),
    Opt::bool("bugfix"),
    Opt::bool("autoremove"),
    Opt::bool("disable_gpg_check"),
    Opt::bool("skip_broken"),
    Opt::bool("allow_downgrade"),
    Opt::bool("allowerasing"),
    Opt::bool("nobest"),
    Opt::bool("best"),
    Opt::bool("cacheonly"),
    Opt::bool("download_only"),
    Opt::path("download_dir"),
    Opt::bool("install_weak_deps"),
    Opt::bool("sslverify"),
    Opt::bool("validate_certs"),
    Opt::str("use_backend").aliases(&["use"]),
    Opt::int("lock_timeout").ignored("the package tool waits for its lock itself"),
    Opt::bool("install_repoquery").ignored("repoquery is not used"),
];

/// Package operations in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    tool: String,
    make_cache: bool,
    /// `(subcommand, packages)`
    calls: Vec<(&'static str, Vec<String>)>,
}

impl Module for Yum {
    const SPEC: Spec = Spec {
        aliases: &["dnf", "dnf5"],
        options: &[OPTIONS],
        required_one_of: &[&["name", "list", "update_cache", "autoremove"]],
        mutually_exclusive: &[&["name", "list"], &["best", "nobest"]],
        ..Spec::new("yum")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let tool = tool(args)?;
        if let Some(what) = &args.list {
            return list(args, &tool, what, host).map(Inspection::Same);
        }
        let (calls, told) = calls(args, &tool, host)?;
        let changed = !calls.is_empty();
        let mut predicted = outcome(changed, json!({"rc": 0, "msg": "", "results": told}));
        if changed && host.diff {
            predicted.diff.push(json!({"prepared": format!("{}\n", told.join("\n"))}));
        }
        Ok(if changed || args.update_cache {
            Inspection::Differs { change: Change { tool, make_cache: args.update_cache, calls }, predicted }
        } else {
            Inspection::Same(predicted)
        })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let mut result = outcome(false, json!({}));
        let mut results = Vec::new();
        if change.make_cache {
            let mut argv = command(&change.tool, args);
            argv.extend(["makecache".into()]);
            run_streaming(host, &argv)?.or_fault("cannot fetch the repositories' metadata")?;
        }
        for (subcommand, packages) in change.calls {
            let mut argv = command(&change.tool, args);
            argv.push(subcommand.to_owned());
            argv.extend(packages);
            let answer = run_streaming(host, &argv)?;
            let answer = judged(answer, subcommand)?;
            result.changed |= !answer.out.contains("Nothing to do") && !answer.err.contains("Nothing to do");
            results.push(answer.out);
        }
        result.values.insert("rc".into(), json!(0));
        result.values.insert("msg".into(), json!(""));
        result.values.insert("results".into(), json!(results));
        Ok(result)
    }
}

/// yum answers 1 to `install` of an unknown package when nothing else was asked for.
fn judged(answer: Answer, subcommand: &str) -> Result<Answer, Fault> {
    let unknown = |text: &str| {
        text.lines().find_map(|l| {
            let rest = l.strip_prefix("No package ").and_then(|r| r.strip_suffix(" available."));
            let rest = rest.or_else(|| l.strip_prefix("No match for argument: "));
            rest.map(|n| n.trim().to_owned())
        })
    };
    let missing = unknown(&answer.out).or_else(|| unknown(&answer.err));
    match missing {
        Some(name) if subcommand != "remove" => {
            let mut fault = answer.to_fault("");
            fault.msg = format!("no package matching `{name}` found available, installed or updated");
            Err(fault)
        }
        _ if !answer.ok() => {
            let both = format!("{}{}", answer.out, answer.err);
            if both.contains("Nothing to do") {
                Ok(answer)
            } else {
                Err(answer.to_fault(&format!("cannot {subcommand} packages")))
            }
        }
        _ => Ok(answer),
    }
}

fn tool(args: &Args) -> Result<String, Fault> {
    let named = match args.use_backend.as_deref() {
        None | Some("auto") => services::package_manager(&distribution::detect()),
        Some("yum" | "yum3") => "yum",
        Some("dnf" | "yum4" | "dnf4") => "dnf",
        Some("dnf5") => "dnf5",
        Some(other) => {
            return Err(fault(format!(
                "`use_backend` of `yum` must be auto, yum, dnf or dnf5, not `{other}`"
            )));
        }
    };
    if !matches!(named, "yum" | "dnf" | "dnf5") {
        return Err(fault(format!("`yum` needs yum or dnf, and this host has `{named}`")));
    }
    find_program(named).ok_or_else(|| fault(format!("this host has no program `{named}`")))
}

fn command(tool: &str, args: &Args) -> Vec<String> {
    let dnf = tool.contains("dnf");
    let mut argv = vec![tool.to_owned(), "-y".to_owned()];
    let mut flag = |given: bool, text: &str| {
        if given {
            argv.push(text.to_owned());
        }
    };
    flag(args.disable_gpg_check, if tool.ends_with("dnf5") { "--no-gpgchecks" } else { "--nogpgcheck" });
    flag(args.skip_broken, "--skip-broken");
    flag(args.allowerasing, "--allowerasing");
    flag(dnf && (args.nobest || args.best == Some(false)), "--nobest");
    flag(dnf && args.best == Some(true), "--best");
    flag(args.cacheonly, "-C");
    flag(args.security, "--security");
    flag(args.bugfix, "--bugfix");
    flag(args.download_only, "--downloadonly");
    let mut valued = |name: &str, value: &str| argv.push(format!("{name}={value}"));
    for repository in &args.disablerepo {
        valued("--disablerepo", repository);
    }
    for repository in &args.enablerepo {
        valued("--enablerepo", repository);
    }
    for pattern in &args.exclude {
        valued("--exclude", pattern);
    }
    for plugin in &args.disable_plugin {
        valued("--disableplugin", plugin);
    }
    for plugin in &args.enable_plugin {
        valued("--enableplugin", plugin);
    }
    for (name, value) in [
        ("--disableexcludes", &args.disable_excludes),
        ("--config", &args.conf_file),
        ("--releasever", &args.releasever),
        ("--downloaddir", &args.download_dir),
    ] {
        if let Some(value) = value {
            valued(name, value);
        }
    }
    if let Some(root) = args.installroot.as_deref().filter(|r| *r != "/") {
        valued("--installroot", root);
    }
    if let Some(weak) = args.install_weak_deps.filter(|_| dnf) {
        valued("--setopt", &format!("install_weak_deps={}", if weak { "True" } else { "False" }));
    }
    if args.sslverify == Some(false) || args.validate_certs == Some(false) {
        valued("--setopt", "sslverify=0");
    }
    argv
}

/// Installed packages by every spelling.
struct Database {
    packages: Vec<Installed>,
    spelled: HashMap<String, usize>,
}

impl Database {
    fn read(host: &Host<'_>) -> Result<Self, Fault> {
        let packages = rpm::installed(host)?;
        let spelled = packages
            .iter()
            .enumerate()
            .flat_map(|(at, p)| p.spellings().into_iter().map(move |s| (s, at)))
            .collect();
        Ok(Self { packages, spelled })
    }

    fn has(&self, spec: &str) -> bool {
        self.spelled.contains_key(spec)
    }

    fn named(&self, name: &str) -> Vec<&Installed> {
        self.packages.iter().filter(|p| p.name == name || format!("{}.{}", p.name, p.arch) == name).collect()
    }

    /// The installed package that an older or newer `name-version` spec is about.
    fn other_version(&self, spec: &str) -> Option<(&Installed, String)> {
        self.packages.iter().find_map(|p| {
            let rest = spec.strip_prefix(&p.name)?.strip_prefix('-')?;
            rest.starts_with(|c: char| c.is_ascii_digit()).then(|| (p, rest.to_owned()))
        })
    }
}

type Calls = Vec<(&'static str, Vec<String>)>;

fn calls(args: &Args, tool: &str, host: &Host<'_>) -> Result<(Calls, Vec<String>), Fault> {
    let state = args.state.unwrap_or(if args.autoremove { State::Absent } else { State::Present });
    let names: Vec<&str> = args.name.iter().map(|n| n.trim()).filter(|n| !n.is_empty()).collect();
    if names.is_empty() {
        let calls = if args.autoremove { vec![("autoremove", Vec::new())] } else { Vec::new() };
        return Ok((
            if args.autoremove && !autoremove_due(tool, args, host)? { Vec::new() } else { calls },
            Vec::new(),
        ));
    }
    if names == ["*"] && state != State::Absent {
        let due = updates(tool, args, &[], host)?;
        let told = due.iter().map(|n| format!("Updated: {n}")).collect();
        return Ok((if due.is_empty() { Vec::new() } else { vec![("update", Vec::new())] }, told));
    }
    let database = Database::read(host)?;
    if state == State::Absent {
        return Ok(removal(args, &names, &database));
    }
    let (mut install, mut downgrade, mut installed) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match judge(name, &database, args, tool, host)? {
            Verdict::Installed => installed.push(name.to_owned()),
            Verdict::Missing if args.update_only && state == State::Latest => {}
            Verdict::Missing => install.push(name.replace(' ', "")),
            Verdict::Older => downgrade.push(name.to_owned()),
            Verdict::Settled => {}
        }
    }
    let mut told: Vec<String> = install.iter().chain(&downgrade).map(|n| format!("Installed: {n}")).collect();
    let update = if state == State::Latest && !installed.is_empty() {
        updates(tool, args, &installed, host)?
    } else {
        Vec::new()
    };
    told.extend(update.iter().map(|n| format!("Updated: {n}")));
    let mut calls = Vec::new();
    if !install.is_empty() {
        calls.push(("install", install));
    }
    if !downgrade.is_empty() {
        calls.push(("downgrade", downgrade));
    }
    if !update.is_empty() {
        // The names as given, so that what belongs to them (groups, globs) is updated too.
        calls.push(("update", installed));
    }
    Ok((calls, told))
}

fn removal(args: &Args, names: &[&str], database: &Database) -> (Calls, Vec<String>) {
    let mut gone: Vec<String> = Vec::new();
    for name in names {
        if name.contains(['*', '?']) {
            gone.extend(database.packages.iter().filter(|p| matches(name, &p.name)).map(|p| p.name.clone()));
        } else if database.has(name) || name.starts_with('@') {
            gone.push((*name).to_owned());
        }
    }
    gone.sort();
    gone.dedup();
    let told = gone.iter().map(|n| format!("Removed: {n}")).collect();
    let subcommand = if args.autoremove { "autoremove" } else { "remove" };
    (if gone.is_empty() { Vec::new() } else { vec![(subcommand, gone)] }, told)
}

enum Verdict {
    Installed,
    Missing,
    /// A newer version is installed and the user allowed going back.
    Older,
    /// Nothing to do, not even for `latest` (a file, a fixed version).
    Settled,
}

fn judge(
    spec: &str,
    database: &Database,
    args: &Args,
    tool: &str,
    host: &Host<'_>,
) -> Result<Verdict, Fault> {
    if spec.ends_with(".rpm") || spec.contains("://") {
        return from_file(spec, database, args, host);
    }
    if let Some(group) = spec.strip_prefix('@') {
        return Ok(if group_installed(tool, group, host)? { Verdict::Installed } else { Verdict::Missing });
    }
    if let Some((name, operator, version)) = comparison(spec) {
        let holds = database.named(name).iter().any(|p| {
            let wanted = version.split_once('-').map_or(version, |(v, _)| v);
            let order = compare_rpm(&p.version, wanted);
            match operator {
                ">=" => order.is_ge(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                "<" => order.is_lt(),
                _ => order.is_eq(),
            }
        });
        return Ok(if holds { Verdict::Settled } else { Verdict::Missing });
    }
    if database.has(spec) {
        return Ok(Verdict::Installed);
    }
    if spec.contains(['*', '?']) {
        // The repositories may hold more that matches; only the tool knows.
        return Ok(
            if database
                .packages
                .iter()
                .any(|p| matches(spec, &p.name) || p.spellings().iter().any(|s| matches(spec, s)))
            {
                Verdict::Installed
            } else {
                Verdict::Missing
            },
        );
    }
    if let Some((installed, version)) = database.other_version(spec) {
        let wanted = version.split_once(':').map_or(version.as_str(), |(_, v)| v);
        let wanted = wanted.split_once('-').map_or(wanted, |(v, _)| v);
        if compare_rpm(&installed.version, wanted).is_gt() {
            return Ok(if !args.allow_downgrade {
                Verdict::Settled
            } else if tool.contains("dnf") {
                Verdict::Missing
            } else {
                Verdict::Older
            });
        }
        return Ok(Verdict::Missing);
    }
    let provided = run(host, &["rpm", "-q", "--whatprovides", "--", spec])?;
    Ok(if provided.ok() { Verdict::Installed } else { Verdict::Missing })
}

fn comparison(spec: &str) -> Option<(&str, &str, &str)> {
    for operator in [">=", "<=", ">", "<", "="] {
        if let Some((name, version)) = spec.split_once(operator) {
            return Some((name.trim(), operator, version.trim()));
        }
    }
    None
}

fn from_file(spec: &str, database: &Database, args: &Args, host: &Host<'_>) -> Result<Verdict, Fault> {
    let format = "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n";
    let answer = run(host, &["rpm", "-qp", "--nosignature", "--qf", format, "--", spec])?
        .or_fault(&format!("`{spec}` is no package that rpm can read"))?;
    let line = answer.out.lines().next().unwrap_or_default();
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, epoch, version, release, arch] = fields.as_slice() else {
        return Err(fault(format!("rpm said nothing about `{spec}`")));
    };
    let wanted = Installed {
        name: (*name).to_owned(),
        epoch: epoch.parse().unwrap_or(0),
        version: (*version).to_owned(),
        release: (*release).to_owned(),
        arch: (*arch).to_owned(),
    };
    let newest = database
        .packages
        .iter()
        .filter(|p| p.name == wanted.name && p.arch == wanted.arch)
        .max_by(|a, b| a.order(b));
    Ok(match newest {
        Some(installed) if installed.order(&wanted).is_eq() => Verdict::Settled,
        Some(installed) if installed.order(&wanted).is_gt() && !args.allow_downgrade => Verdict::Settled,
        Some(installed) if installed.order(&wanted).is_gt() => Verdict::Older,
        _ => Verdict::Missing,
    })
}

fn group_installed(tool: &str, group: &str, host: &Host<'_>) -> Result<bool, Fault> {
    let answer = run(host, &[tool, "-q", "group", "list", "--installed", "--ids"])?;
    // yum 3 writes `installed` as a word and knows no flag for it.
    let answer =
        if answer.ok() { answer } else { run(host, &[tool, "-q", "group", "list", "installed", "ids"])? };
    Ok(answer.out.lines().map(str::trim).any(|l| {
        l == group
            || l.ends_with(&format!("({group})"))
            || l.split_whitespace().next() == Some(group)
            || l.split_once('(').is_some_and(|(name, _)| name.trim() == group)
    }))
}

/// Packages with updates among the named ones, or among all.
fn updates(tool: &str, args: &Args, names: &[String], host: &Host<'_>) -> Result<Vec<String>, Fault> {
    let mut argv = command(tool, args);
    argv.extend(["-q".into(), "check-update".into()]);
    argv.extend_from_slice(names);
    let answer = run(host, &argv)?;
    match answer.rc {
        0 => Ok(Vec::new()),
        100 => Ok(due(&answer.out)),
        _ => Err(answer.to_fault("cannot ask the repositories for updates")),
    }
}

/// Names in the table of `check-update`, which ends where obsoleting packages are listed.
fn due(out: &str) -> Vec<String> {
    out.lines()
        .take_while(|l| !l.starts_with("Obsoleting"))
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words.len() == 3 && words[0].contains('.')).then(|| format!("{}-{}", words[0], words[1]))
        })
        .collect()
}

fn autoremove_due(tool: &str, args: &Args, host: &Host<'_>) -> Result<bool, Fault> {
    let mut argv = command(tool, args);
    argv.retain(|a| a != "-y");
    argv.extend(["--assumeno".into(), "autoremove".into()]);
    let answer = run(host, &argv)?;
    Ok(!answer.out.contains("Nothing to do")
        && !answer.err.contains("Nothing to do")
        && answer.out.contains("Remov"))
}

fn list(args: &Args, tool: &str, what: &str, host: &Host<'_>) -> Result<Outcome, Fault> {
    let entry = |name: &str, arch: &str, version: &str, state: &str, repository: &str| {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
        json!({
            "name": name, "arch": arch, "epoch": epoch, "version": version, "release": release,
            "repo": repository, "yumstate": state, "nevra": format!("{epoch}:{name}-{version}-{release}.{arch}"),
            "envra": format!("{epoch}:{name}-{version}-{release}.{arch}"),
        })
    };
    let pattern = !matches!(what, "installed" | "available" | "updates" | "repos" | "repositories");
    let mut found = Vec::new();
    if what == "installed" || pattern {
        found = rpm::installed(host)?
            .into_iter()
            .filter(|p| what == "installed" || p.spellings().iter().any(|s| matches(what, s)))
            .map(|p| {
                entry(
                    &p.name,
                    &p.arch,
                    &format!("{}:{}-{}", p.epoch, p.version, p.release),
                    "installed",
                    "installed",
                )
            })
            .collect();
    }
    if what == "installed" {
        return Ok(outcome(false, json!({"results": found, "rc": 0, "msg": ""})));
    }
    let mut argv = command(tool, args);
    let state = match what {
        "updates" => "updates",
        _ if pattern || what == "available" => "available",
        _ => {
            argv.extend(["-q".into(), "repolist".into()]);
            let answer = run(host, &argv)?.or_fault("cannot list the repositories")?;
            let found: Vec<_> = answer
                .out
                .lines()
                .skip(1)
                .filter_map(|l| l.split_whitespace().next())
                .map(|id| json!({"repoid": id.trim_start_matches(['*', '!']), "state": "enabled"}))
                .collect();
            return Ok(outcome(false, json!({"results": found, "rc": 0, "msg": ""})));
        }
    };
    argv.extend(["-q".into(), "list".into(), state.into()]);
    if pattern {
        argv.push(what.to_owned());
    }
    let mut answer = run(host, &argv)?;
    if !(pattern && answer.err.to_lowercase().contains("no matching packages")) {
        answer = answer.or_fault("cannot list packages")?;
    }
    found.extend(answer.out.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, version, repository] = words.as_slice() else { return None };
        let (name, arch) = name.rsplit_once('.')?;
        Some(entry(name, arch, version, "available", repository))
    }));
    Ok(outcome(false, json!({"results": found, "rc": 0, "msg": ""})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const QUERY: &str = "rpm -qa --qf %{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n";
    const DATABASE: &str = "docker\t2\t1.13.1\t75.el7\tx86_64\nbash\t0\t4.2\t1\tx86_64\n";

    fn centos() -> FakeRoot {
        let root = FakeRoot::with(&[("/etc/redhat-release", "CentOS Linux release 7.9.2009 (Core)\n")]);
        root.program("/usr/bin/yum");
        root
    }

    fn inspect(arguments: Value, script: &Script) -> Result<Inspection<Change>, Fault> {
        Yum::inspect(&args(arguments), &script.host())
    }

    #[test]
    fn installed_packages_are_left_alone() {
        let _root = centos();
        for name in
            ["docker", "docker-1.13.1", "docker-2:1.13.1-75.el7.x86_64", "bash >= 4.0", "ba*", "docker-1.0"]
        {
            let script = Script::of(&[(QUERY, 0, DATABASE)]);
            assert!(matches!(inspect(json!({"name": [name]}), &script), Ok(Inspection::Same(_))), "{name}");
        }
    }

    #[test]
    fn a_pattern_lists_what_is_installed_and_what_is_available() {
        let _root = centos();
        let listed = |what: &str, rc, said: &str| {
            let line = format!("/usr/bin/yum -y -q list available {what}");
            let script = Script::of(&[(QUERY, 0, DATABASE), (&line, rc, said)]);
            let Inspection::Same(found) = inspect(json!({"list": what}), &script)? else { panic!("a list") };
            let entries = found.values["results"].as_array().expect("entries").clone();
            Ok(entries.iter().map(|e| format!("{} {} {}", e["name"], e["version"], e["yumstate"])).collect())
        };
        let answer: Result<Vec<String>, Fault> =
            listed("docker", 0, "Available Packages\ndocker.x86_64   2:1.13.1-209.el7   extras\n");
        assert_eq!(
            answer.expect("a list"),
            [r#""docker" "1.13.1" "installed""#, r#""docker" "1.13.1" "available""#]
        );
        let none = listed("nothing", 1, "Error: No matching Packages to list\n");
        assert!(none.expect("a list").is_empty());
        assert!(listed("nothing", 1, "Error: Failed to download metadata for repo 'base'\n").is_err());
    }

    #[test]
    fn missing_packages_are_installed_with_the_named_repositories() {
        let _root = centos();
        let script = Script::of(&[
            (QUERY, 0, DATABASE),
            ("rpm -q --whatprovides -- jq", 1, ""),
            ("/usr/bin/yum -y --enablerepo=epel install jq", 0, "Complete!"),
        ]);
        let arguments = json!({"name": ["jq", "bash"], "enablerepo": ["epel"]});
        let Ok(Inspection::Differs { change, predicted }) = inspect(arguments.clone(), &script) else {
            panic!()
        };
        assert_eq!(predicted.values["results"], json!(["Installed: jq"]));
        assert!(Yum::apply(&args(arguments), change, &script.host()).expect("applies").changed);
        script.done();
    }

    #[test]
    fn latest_updates_only_what_has_updates() {
        let _root = centos();
        let script = Script::of(&[(QUERY, 0, DATABASE), ("/usr/bin/yum -y -q check-update bash", 0, "")]);
        assert!(matches!(
            inspect(json!({"name": ["bash"], "state": "latest"}), &script),
            Ok(Inspection::Same(_))
        ));
        let script = Script::of(&[
            (QUERY, 0, DATABASE),
            (
                "/usr/bin/yum -y -q check-update bash",
                100,
                "\nbash.x86_64   4.3-1   base\nObsoleting Packages\na.x 1 b\n",
            ),
        ]);
        let Ok(Inspection::Differs { change, predicted }) =
            inspect(json!({"name": ["bash"], "state": "latest"}), &script)
        else {
            panic!()
        };
        assert_eq!(predicted.values["results"], json!(["Updated: bash.x86_64-4.3-1"]));
        assert_eq!(change.calls, [("update", vec!["bash".to_owned()])]);
    }

    #[test]
    fn removal_takes_what_is_there() {
        let _root = centos();
        let script = Script::of(&[(QUERY, 0, DATABASE)]);
        let Ok(Inspection::Differs { change, .. }) =
            inspect(json!({"name": ["dock*", "x"], "state": "absent"}), &script)
        else {
            panic!()
        };
        assert_eq!(change.calls, [("remove", vec!["docker".to_owned()])]);
        let script = Script::of(&[(QUERY, 0, DATABASE)]);
        assert!(matches!(
            inspect(json!({"name": ["x"], "state": "absent"}), &script),
            Ok(Inspection::Same(_))
        ));
    }

    #[test]
    fn going_back_must_be_allowed_and_is_yums_downgrade() {
        let _root = centos();
        let script = Script::of(&[(QUERY, 0, DATABASE)]);
        let found = inspect(json!({"name": ["docker-1.12.6"], "allow_downgrade": true}), &script);
        let Ok(Inspection::Differs { change, .. }) = found else { panic!() };
        assert_eq!(change.calls, [("downgrade", vec!["docker-1.12.6".to_owned()])]);
    }

    #[test]
    fn an_unknown_package_is_named() {
        let _root = centos();
        let script = Script::of(&[(
            "/usr/bin/yum -y install nix",
            1,
            "No package nix available.\nError: Nothing to do",
        )]);
        let change = Change {
            tool: "/usr/bin/yum".into(),
            calls: vec![("install", vec!["nix".into()])],
            ..Change::default()
        };
        let error = Yum::apply(&args(json!({"name": ["nix"]})), change, &script.host()).expect_err("fails");
        assert_eq!(error.msg, "no package matching `nix` found available, installed or updated");
    }

    #[test]
    fn a_host_without_yum_is_told() {
        let root = FakeRoot::with(&[("/etc/os-release", "ID=debian\n")]);
        root.program("/usr/bin/apt-get");
        let Err(error) = inspect(json!({"name": ["a"]}), &Script::of(&[])) else { panic!() };
        assert_eq!(error.msg, "`yum` needs yum or dnf, and this host has `apt`");
    }
}
