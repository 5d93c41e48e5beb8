//! `user`: accounts of the host.
//!
//! Owns: options, what differs from the account's lines, the command lines. Must not: edit the files itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::accounts::{self, Account, Shadow};
use crate::system::run::{need_program, run};
use crate::system::{self, fault, outcome, root};

/// The module.
pub struct User;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UpdatePassword {
    #[default]
    Always,
    OnCreate,
}

/// Typed arguments.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Args {
    name: String,
    state: State,
    uid: Option<u32>,
    uid_min: Option<u32>,
    uid_max: Option<u32>,
    non_unique: bool,
    group: Option<String>,
    groups: Option<Vec<String>>,
    append: bool,
    comment: Option<String>,
    home: Option<String>,
    shell: Option<String>,
    password: Option<String>,
    update_password: UpdatePassword,
    password_lock: Option<bool>,
    password_expire_max: Option<i64>,
    password_expire_min: Option<i64>,
    password_expire_warn: Option<i64>,
    password_expire_account_disable: Option<i64>,
    expires: Option<f64>,
    system: bool,
    create_home: Option<bool>,
    move_home: bool,
    skeleton: Option<String>,
    umask: Option<Value>,
    force: bool,
    remove: bool,
    local: bool,
    seuser: Option<String>,
    generate_ssh_key: bool,
    ssh_key_type: Option<String>,
    ssh_key_bits: Option<u32>,
    ssh_key_file: Option<String>,
    ssh_key_comment: Option<String>,
    ssh_key_passphrase: Option<String>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required().aliases(&["user"]),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::int("uid"),
    Opt::int("uid_min"),
    Opt::int("uid_max"),
    Opt::bool("non_unique"),
    Opt::str("group"),
    Opt::list("groups"),
    Opt::bool("append"),
    Opt::str("comment"),
    Opt::path("home"),
    Opt::path("shell"),
    Opt::str("password").secret(),
    Opt::str("update_password").choices(&["always", "on_create"]),
    Opt::bool("password_lock"),
    Opt::int("password_expire_max"),
    Opt::int("password_expire_min"),
    Opt::int("password_expire_warn"),
    Opt::int("password_expire_account_disable"),
    Opt::float("expires"),
    Opt::bool("system"),
    Opt::bool("create_home").aliases(&["createhome"]),
    Opt::bool("move_home"),
    Opt::str("skeleton"),
    Opt::raw("umask"),
    Opt::bool("force"),
    Opt::bool("remove"),
    Opt::bool("local"),
    Opt::str("seuser"),
    Opt::bool("generate_ssh_key"),
    Opt::str("ssh_key_type"),
    Opt::int("ssh_key_bits"),
    Opt::path("ssh_key_file"),
    Opt::str("ssh_key_comment"),
    Opt::str("ssh_key_passphrase").secret(),
    Opt::str("login_class").ignored("only BSD has login classes"),
    Opt::str("profile").ignored("only Solaris has profiles"),
    Opt::str("authorization").ignored("only Solaris has authorizations"),
    Opt::str("role").ignored("only Solaris has roles"),
    Opt::bool("hidden").ignored("only macOS hides users"),
];

/// Commands to run in order, then what no command does.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    commands: Vec<Vec<String>>,
    make_home: bool,
    make_key: bool,
}

impl Module for User {
    const SPEC: Spec =
        Spec { options: &[OPTIONS], required_if: &[], mutually_exclusive: &[], ..Spec::new("user") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let account = if args.local {
            accounts::local_account(&args.name)
        } else {
            accounts::account(host, &args.name)?
        };
        let mut change = Change::default();
        match (args.state, &account) {
            (State::Absent, None) => {}
            (State::Absent, Some(_)) => change.commands.push(removal(args)?),
            (State::Present, None) => {
                change.commands.push(creation(args, host)?);
                change.commands.extend(aging(args, None)?);
            }
            (State::Present, Some(account)) => {
                let shadow = accounts::shadow(&args.name);
                change.commands.extend(modification(args, account, shadow.as_ref(), host)?);
                change.commands.extend(aging(args, shadow.as_ref())?);
                let home = args.home.as_deref().unwrap_or(&account.home);
                let moved = args.move_home && args.home.as_deref().is_some_and(|h| h != account.home);
                change.make_home = args.create_home.unwrap_or(true) && !moved && !system::exists(home);
            }
        }
        if args.state == State::Present && args.generate_ssh_key {
            let home = args.home.clone().or_else(|| account.as_ref().map(|a| a.home.clone()));
            change.make_key = home.is_none_or(|home| !system::exists(key_file(args, &home)));
        }
        let changed = change != Change::default();
        let predicted = result(args, account.as_ref(), changed, host)?;
        Ok(if changed { Inspection::Differs { change, predicted } } else { Inspection::Same(predicted) })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        for command in &change.commands {
            let verb = if args.state == State::Absent { "remove" } else { "set" };
            run(host, command)?
                .or_fault(&format!("cannot {verb} user `{}`", args.name))
                .map_err(without_hash)?;
        }
        let account = if args.local {
            accounts::local_account(&args.name)
        } else {
            accounts::account(host, &args.name)?
        };
        if change.make_home
            && let Some(account) = &account
        {
            make_home(args, account)?;
        }
        if change.make_key
            && let Some(account) = &account
        {
            make_key(args, account, host)?;
        }
        result(args, account.as_ref(), true, host)
    }
}

/// The command line holds the password's hash, which belongs into no result.
fn without_hash(mut fault: Fault) -> Fault {
    fault.values.remove("cmd");
    fault
}

fn program(args: &Args, name: &str) -> Result<String, Fault> {
    need_program(&format!("{}{name}", if args.local { "l" } else { "" }))
}

fn removal(args: &Args) -> Result<Vec<String>, Fault> {
    let mut argv = vec![program(args, "userdel")?];
    if args.force && !args.local {
        argv.push("-f".into());
    }
    if args.remove {
        argv.push("-r".into());
    }
    argv.push(args.name.clone());
    Ok(argv)
}

/// Seconds since 1970 as the day that `useradd -e` wants; negative: never.
fn expiry(seconds: f64) -> Result<String, Fault> {
    if seconds < 0.0 {
        return Ok(String::new());
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are meant")]
    let moment = Timestamp::from_second(seconds as i64)
        .map_err(|_| fault(format!("`expires` of `user` is no time: {seconds}")))?;
    Ok(moment.strftime("%Y-%m-%d").to_string())
}

/// The account's own groups as wanted, after checking that they exist.
fn wanted_groups(args: &Args, host: &Host<'_>) -> Result<Option<BTreeSet<String>>, Fault> {
    let Some(groups) = &args.groups else { return Ok(None) };
    let mut names = BTreeSet::new();
    for group in groups.iter().map(|g| g.trim()).filter(|g| !g.is_empty()) {
        names.insert(need_group(args, group, host)?.name);
    }
    Ok(Some(names))
}

fn need_group(args: &Args, name: &str, host: &Host<'_>) -> Result<accounts::Group, Fault> {
    let found = if args.local { accounts::local_group(name) } else { accounts::group(host, name)? };
    // In check mode a task before this one may be what makes the group.
    let found = found.or_else(|| {
        host.check.then(|| accounts::Group { name: name.to_owned(), gid: u32::MAX, members: Vec::new() })
    });
    found.ok_or_else(|| fault(format!("group `{name}` of user `{}` does not exist on this host", args.name)))
}

fn hash(args: &Args) -> Option<String> {
    let password = args.password.as_ref()?;
    Some(if args.password_lock == Some(true) {
        format!("!{}", password.trim_start_matches('!'))
    } else {
        password.clone()
    })
}

fn creation(args: &Args, host: &Host<'_>) -> Result<Vec<String>, Fault> {
    let mut argv = vec![program(args, "useradd")?];
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|w| (*w).to_owned()));
    if let Some(uid) = args.uid {
        add(&["-u", &uid.to_string()]);
        if args.non_unique {
            add(&["-o"]);
        }
    }
    if let Some(seuser) = &args.seuser {
        add(&["-Z", seuser]);
    }
    if let Some(group) = &args.group {
        need_group(args, group, host)?;
        add(&["-g", group]);
    } else if accounts::group(host, &args.name)?.is_some_and(|g| g.name == args.name) {
        // useradd refuses to make the user's own group when it exists already.
        add(&["-N"]);
        if system::exists("/etc/redhat-release") && args.local {
            add(&["-n"]);
        }
    }
    let groups = wanted_groups(args, host)?.unwrap_or_default();
    if !groups.is_empty() && !args.local {
        add(&["-G", &groups.into_iter().collect::<Vec<_>>().join(",")]);
    }
    if let Some(comment) = &args.comment {
        add(&["-c", comment]);
    }
    if let Some(home) = &args.home {
        add(&["-d", home]);
    }
    if let Some(shell) = &args.shell {
        add(&["-s", shell]);
    }
    if let Some(expires) = args.expires
        && !args.local
    {
        add(&["-e", &expiry(expires)?]);
    }
    match hash(args) {
        Some(hash) => add(&[if args.local { "-P" } else { "-p" }, &hash]),
        None if args.password_lock == Some(true) => add(&["-p", "!"]),
        None => {}
    }
    if let Some(days) = args.password_expire_account_disable {
        add(&["-f", &days.to_string()]);
    }
    for (key, value) in [("UID_MIN", args.uid_min), ("UID_MAX", args.uid_max)] {
        if let Some(value) = value {
            add(&["-K", &format!("{key}={value}")]);
        }
    }
    if args.create_home.unwrap_or(true) {
        if !args.local {
            add(&["-m"]);
        }
        if let Some(skeleton) = &args.skeleton {
            add(&["-k", skeleton]);
        }
        if let Some(umask) = umask(args) {
            add(&["-K", &format!("UMASK={umask}")]);
        }
    } else {
        add(&["-M"]);
    }
    if args.system {
        add(&["-r"]);
    }
    add(&[&args.name]);
    Ok(argv)
}

fn umask(args: &Args) -> Option<String> {
    match args.umask.as_ref()? {
        Value::Number(n) => Some(format!("0{:o}", n.as_u64()?)),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn modification(
    args: &Args,
    account: &Account,
    shadow: Option<&Shadow>,
    host: &Host<'_>,
) -> Result<Option<Vec<String>>, Fault> {
    let mut argv: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|w| (*w).to_owned()));
    if let Some(uid) = args.uid.filter(|u| *u != account.uid) {
        add(&["-u", &uid.to_string()]);
        if args.non_unique {
            add(&["-o"]);
        }
    }
    let primary = match &args.group {
        Some(group) => {
            let group = need_group(args, group, host)?;
            if group.gid != account.gid {
                add(&["-g", &group.name]);
            }
            group.gid
        }
        None => account.gid,
    };
    if let Some(wanted) = wanted_groups(args, host)? {
        let all = accounts::groups();
        // The primary group is a member's group too, but listed only by number in passwd.
        let primary_name = all.iter().find(|g| g.gid == primary).map(|g| g.name.clone());
        let current: BTreeSet<String> =
            all.iter().filter(|g| g.members.contains(&account.name)).map(|g| g.name.clone()).collect();
        let significant = |set: &BTreeSet<String>| -> BTreeSet<String> {
            set.iter().filter(|g| Some(*g) != primary_name.as_ref()).cloned().collect()
        };
        let missing = !significant(&wanted).is_subset(&current);
        let extra = !significant(&current).is_subset(&wanted);
        let joined = wanted.into_iter().collect::<Vec<_>>().join(",");
        if args.append && missing {
            add(&["-a", "-G", &joined]);
        } else if !args.append && (missing || extra) {
            add(&["-G", &joined]);
        }
    }
    if let Some(comment) = args.comment.as_ref().filter(|c| **c != account.comment) {
        add(&["-c", comment]);
    }
    if let Some(home) = args.home.as_ref().filter(|h| **h != account.home) {
        add(&["-d", home]);
        if args.move_home {
            add(&["-m"]);
        }
    }
    if let Some(shell) = args.shell.as_ref().filter(|s| **s != account.shell) {
        add(&["-s", shell]);
    }
    if let Some(expires) = args.expires {
        let current = shadow.and_then(|s| s.expires).filter(|d| *d >= 0);
        #[expect(clippy::cast_possible_truncation, reason = "whole days are meant")]
        let wanted = (expires >= 0.0).then_some((expires / 86400.0).floor() as i64);
        if wanted != current {
            add(&["-e", &expiry(expires)?]);
        }
    }
    if let Some(days) = args.password_expire_account_disable
        && shadow.and_then(|s| s.inactive_days) != Some(days)
    {
        add(&["-f", &days.to_string()]);
    }
    let current = shadow.map_or("", |s| s.hash.as_str());
    let locked = current.starts_with('!');
    let new_hash = hash(args).filter(|_| args.update_password == UpdatePassword::Always);
    match (args.password_lock, new_hash) {
        (_, Some(hash)) if current.trim_start_matches('!') != hash.trim_start_matches('!') => {
            add(&["-p", &hash])
        }
        (Some(true), _) if !locked => add(&["-L"]),
        (Some(false), _) if locked => add(&["-U"]),
        (None, Some(hash)) if hash != current => add(&["-p", &hash]),
        _ => {}
    }
    if argv.is_empty() {
        return Ok(None);
    }
    argv.insert(0, program(args, "usermod")?);
    argv.push(args.name.clone());
    Ok(Some(argv))
}

fn aging(args: &Args, shadow: Option<&Shadow>) -> Result<Option<Vec<String>>, Fault> {
    let mut argv = Vec::new();
    for (flag, wanted, current) in [
        ("-M", args.password_expire_max, shadow.and_then(|s| s.max_days)),
        ("-m", args.password_expire_min, shadow.and_then(|s| s.min_days)),
        ("-W", args.password_expire_warn, shadow.and_then(|s| s.warn_days)),
    ] {
        if let Some(days) = wanted.filter(|d| current != Some(*d)) {
            argv.extend([flag.to_owned(), days.to_string()]);
        }
    }
    if argv.is_empty() {
        return Ok(None);
    }
    argv.insert(0, program(args, "chage")?);
    argv.push(args.name.clone());
    Ok(Some(argv))
}

fn make_home(args: &Args, account: &Account) -> Result<(), Fault> {
    let failed = |e: std::io::Error| fault(format!("cannot make the home `{}`: {e}", account.home));
    let home = root::at(&account.home);
    let skeleton = root::at(args.skeleton.as_deref().unwrap_or("/etc/skel"));
    fs::create_dir_all(&home).map_err(failed)?;
    if skeleton.is_dir() {
        copy_tree(&skeleton, &home, account).map_err(failed)?;
    }
    let mask = umask(args)
        .or_else(|| login_defs("UMASK"))
        .and_then(|m| u32::from_str_radix(m.trim_start_matches("0o"), 8).ok())
        .unwrap_or(0o022);
    let mode = login_defs("HOME_MODE")
        .filter(|_| args.umask.is_none())
        .and_then(|m| u32::from_str_radix(&m, 8).ok())
        .unwrap_or(0o777 & !mask);
    fs::set_permissions(&home, fs::Permissions::from_mode(mode)).map_err(failed)?;
    own(&home, account).map_err(failed)
}

fn login_defs(key: &str) -> Option<String> {
    system::text("/etc/login.defs")?.lines().find_map(|l| {
        let mut words = l.split_whitespace();
        (words.next() == Some(key)).then(|| words.next().map(str::to_owned)).flatten()
    })
}

fn own(path: &std::path::Path, account: &Account) -> std::io::Result<()> {
    chown(path, Some(account.uid), Some(account.gid))
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path, account: &Account) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy_tree(&entry.path(), &target, account)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(entry.path())?;
            if fs::symlink_metadata(&target).is_err() {
                std::os::unix::fs::symlink(link, &target)?;
            }
            std::os::unix::fs::lchown(&target, Some(account.uid), Some(account.gid))?;
            continue;
        } else {
            fs::copy(entry.path(), &target)?;
        }
        own(&target, account)?;
    }
    Ok(())
}

fn key_file(args: &Args, home: &str) -> String {
    let kind = args.ssh_key_type.as_deref().unwrap_or("rsa");
    match args.ssh_key_file.as_deref() {
        Some(file) if file.starts_with('/') => file.to_owned(),
        Some(file) => format!("{home}/{file}"),
        None => format!("{home}/.ssh/id_{kind}"),
    }
}

fn make_key(args: &Args, account: &Account, host: &Host<'_>) -> Result<(), Fault> {
    let file = key_file(args, &account.home);
    let folder = std::path::Path::new(&file).parent().unwrap_or(std::path::Path::new("/")).to_owned();
    let failed = |e: std::io::Error| fault(format!("cannot make `{}`: {e}", folder.display()));
    let real = root::at(&folder);
    if !real.exists() {
        fs::create_dir_all(&real).map_err(failed)?;
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        own(&real, account).map_err(failed)?;
    }
    let hostname = system::word("/proc/sys/kernel/hostname").unwrap_or_default();
    let comment = args.ssh_key_comment.clone().unwrap_or_else(|| format!("ansible-generated on {hostname}"));
    let mut argv = vec![need_program("ssh-keygen")?, "-q".into(), "-t".into()];
    argv.push(args.ssh_key_type.clone().unwrap_or_else(|| "rsa".into()));
    if let Some(bits) = args.ssh_key_bits.filter(|b| *b > 0) {
        argv.extend(["-b".into(), bits.to_string()]);
    }
    argv.extend(["-C".into(), comment, "-f".into(), file.clone(), "-N".into()]);
    argv.push(args.ssh_key_passphrase.clone().unwrap_or_default());
    run(host, &argv)?.or_fault(&format!("cannot generate the key `{file}`")).map_err(without_hash)?;
    for path in [file.clone(), format!("{file}.pub")] {
        own(&root::at(&path), account)
            .map_err(|e| fault(format!("cannot give `{path}` to `{}`: {e}", account.name)))?;
    }
    Ok(())
}

fn result(args: &Args, account: Option<&Account>, changed: bool, host: &Host<'_>) -> Result<Outcome, Fault> {
    if args.state == State::Absent {
        let values =
            json!({"name": args.name, "state": "absent", "force": args.force, "remove": args.remove});
        return Ok(outcome(changed, values));
    }
    let mut result = outcome(
        changed,
        json!({
            "name": args.name, "state": "present", "append": args.append,
            "comment": account.map(|a| a.comment.as_str()).or(args.comment.as_deref()),
            "group": account.map(|a| a.gid),
            "home": account.map(|a| a.home.as_str()).or(args.home.as_deref()),
            "shell": account.map(|a| a.shell.as_str()).or(args.shell.as_deref()),
            "uid": account.map(|a| a.uid).or(args.uid),
            "move_home": args.move_home,
            "create_home": args.create_home.unwrap_or(true),
            "system": args.system,
        }),
    );
    if let Some(groups) = &args.groups {
        result.values.insert("groups".into(), json!(groups.join(",")));
    }
    if args.password.is_some() {
        result.values.insert("password".into(), json!("NOT_LOGGING_PASSWORD"));
    }
    if args.generate_ssh_key
        && let Some(account) = account
    {
        let file = key_file(args, &account.home);
        let public = system::word(format!("{file}.pub"));
        result.values.insert("ssh_key_file".into(), json!(file));
        if let Some(public) = public {
            let answer = run(host, &[need_program("ssh-keygen")?.as_str(), "-l", "-f", &file])?;
            result.values.insert("ssh_fingerprint".into(), json!(answer.out.trim()));
            result.values.insert("ssh_public_key".into(), json!(public));
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    fn host() -> FakeRoot {
        let root = FakeRoot::with(&[
            ("/etc/passwd", "ann:x:1000:1000:Ann:/home/ann:/bin/bash\n"),
            ("/etc/group", "ann:x:1000:\nsudo:x:27:ann\ndocker:x:998:\nweb:x:33:\n"),
            ("/etc/shadow", "ann:$6$abc:19000:0:99999:7:::\n"),
        ]);
        root.dir("/home/ann");
        for tool in ["useradd", "usermod", "userdel", "chage", "ssh-keygen"] {
            root.program(&format!("/usr/sbin/{tool}"));
        }
        root
    }

    fn commands(arguments: Value) -> Vec<String> {
        match User::inspect(&args(arguments), &Script::of(&[]).host()).expect("inspects") {
            Inspection::Same(same) => {
                assert!(!same.changed);
                Vec::new()
            }
            Inspection::Differs { change, predicted } => {
                assert!(predicted.changed);
                change.commands.iter().map(|c| c.join(" ")).collect()
            }
        }
    }

    #[test]
    fn an_account_as_wanted_is_left_alone() {
        let _root = host();
        for arguments in [
            json!({"name": "ann"}),
            json!({"name": "ann", "groups": ["sudo"], "shell": "/bin/bash", "password": "$6$abc"}),
            json!({"name": "ann", "groups": ["sudo", "ann"], "append": true, "home": "/home/ann", "uid": 1000}),
            json!({"name": "ann", "password": "$6$new", "update_password": "on_create"}),
            json!({"name": "bob", "state": "absent"}),
            json!({"name": "ann", "expires": -1.0, "password_expire_max": 99999}),
        ] {
            assert!(commands(arguments.clone()).is_empty(), "{arguments}");
        }
    }

    #[test]
    fn differences_become_one_usermod() {
        let _root = host();
        assert_eq!(
            commands(json!({"name": "ann", "groups": ["docker"]})),
            ["/usr/sbin/usermod -G docker ann"]
        );
        assert_eq!(
            commands(json!({"name": "ann", "groups": ["docker"], "append": true, "shell": "/bin/zsh"})),
            ["/usr/sbin/usermod -a -G docker -s /bin/zsh ann"]
        );
        assert_eq!(
            commands(json!({"name": "ann", "password": "$6$new"})),
            ["/usr/sbin/usermod -p $6$new ann"]
        );
        assert_eq!(commands(json!({"name": "ann", "password_lock": true})), ["/usr/sbin/usermod -L ann"]);
        assert_eq!(
            commands(json!({"name": "ann", "expires": 86400.0})),
            ["/usr/sbin/usermod -e 1970-01-02 ann"]
        );
        assert_eq!(commands(json!({"name": "ann", "groups": []})), ["/usr/sbin/usermod -G  ann"]);
        assert_eq!(
            commands(json!({"name": "ann", "password_expire_max": 30})),
            ["/usr/sbin/chage -M 30 ann"]
        );
    }

    #[test]
    fn a_new_account_is_made_with_all_it_needs() {
        let _root = host();
        assert_eq!(
            commands(
                json!({"name": "bob", "uid": 1001, "groups": ["web", "docker"], "shell": "/bin/sh", "comment": "Bob B", "system": true})
            ),
            ["/usr/sbin/useradd -u 1001 -G docker,web -c Bob B -s /bin/sh -m -r bob"]
        );
        // A group of the user's name exists already.
        assert_eq!(commands(json!({"name": "web", "create_home": false})), ["/usr/sbin/useradd -N -M web"]);
    }

    #[test]
    fn a_missing_group_is_told_before_anything_is_done() {
        let _root = host();
        let found =
            User::inspect(&args(json!({"name": "bob", "groups": ["nogrp"]})), &Script::of(&[]).host());
        let Err(error) = found else { panic!() };
        assert_eq!(error.msg, "group `nogrp` of user `bob` does not exist on this host");
    }

    #[test]
    fn removal_takes_the_home_along_when_asked() {
        let _root = host();
        assert_eq!(
            commands(json!({"name": "ann", "state": "absent", "remove": true})),
            ["/usr/sbin/userdel -r ann"]
        );
    }

    #[test]
    fn a_missing_key_is_a_change_and_results_hold_no_hash() {
        let _root = host();
        let arguments: Args = args(json!({"name": "ann", "generate_ssh_key": true, "password": "$6$abc"}));
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, predicted }) = User::inspect(&arguments, &script.host()) else {
            panic!()
        };
        assert!(change.make_key && change.commands.is_empty());
        assert_eq!(predicted.values["password"], "NOT_LOGGING_PASSWORD");
        assert_eq!(predicted.values["ssh_key_file"], "/home/ann/.ssh/id_rsa");
        let script = Script::of(&[("/usr/sbin/usermod -p $6$x ann", 1, "no")]);
        let change = Change {
            commands: vec![["/usr/sbin/usermod", "-p", "$6$x", "ann"].map(str::to_owned).into()],
            ..Change::default()
        };
        let error = User::apply(&arguments, change, &script.host()).expect_err("fails");
        assert_eq!(error.msg, "cannot set user `ann`: no");
        assert!(!error.values.contains_key("cmd"));
    }
}
