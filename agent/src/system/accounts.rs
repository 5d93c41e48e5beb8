//! Users and groups as `/etc/passwd` and its companions hold them.
//!
//! Owns: reading those files, and asking `getent` where the host has other sources. Must not: change accounts.
//! Called by: `user`, `group`, `authorized_key`, `known_hosts`, `cron`.

use super::run;
use crate::modules::{Fault, Host};

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub comment: String,
    pub home: String,
    pub shell: String,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// A line of `/etc/shadow`; days count from 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shadow {
    pub hash: String,
    pub min_days: Option<i64>,
    pub max_days: Option<i64>,
    pub warn_days: Option<i64>,
    pub inactive_days: Option<i64>,
    pub expires: Option<i64>,
}

fn account_of(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, comment, home, shell] = fields.as_slice() else { return None };
    Some(Account {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        comment: (*comment).to_owned(),
        home: (*home).to_owned(),
        shell: shell.trim_end().to_owned(),
    })
}

fn group_of(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let (name, gid) = (fields.next()?, fields.nth(1)?);
    let members = fields.next().unwrap_or_default();
    Some(Group {
        name: name.to_owned(),
        gid: gid.parse().ok()?,
        members: members.split(',').map(str::trim).filter(|m| !m.is_empty()).map(str::to_owned).collect(),
    })
}

/// Every group of `/etc/group`.
#[must_use]
pub fn groups() -> Vec<Group> {
    super::text("/etc/group").unwrap_or_default().lines().filter_map(group_of).collect()
}

/// Every account of `/etc/passwd`.
#[must_use]
pub fn accounts() -> Vec<Account> {
    super::text("/etc/passwd").unwrap_or_default().lines().filter_map(account_of).collect()
}

/// The account in the host's own file.
#[must_use]
pub fn local_account(name: &str) -> Option<Account> {
    accounts().into_iter().find(|a| a.name == name)
}

/// The group in the host's own file, by name or number.
#[must_use]
pub fn local_group(name: &str) -> Option<Group> {
    let number: Option<u32> = name.parse().ok();
    let all = groups();
    all.iter().find(|g| g.name == name).or_else(|| all.iter().find(|g| Some(g.gid) == number)).cloned()
}

/// The account, wherever the host gets its accounts from.
///
/// # Errors
/// When `getent` is needed and cannot be started.
pub fn account(host: &Host<'_>, name: &str) -> Result<Option<Account>, Fault> {
    Ok(match local_account(name) {
        None if other_sources("passwd") => {
            run::run(host, &["getent", "passwd", name])?.out.lines().find_map(account_of)
        }
        found => found,
    })
}

/// The group, wherever the host gets its groups from.
///
/// # Errors
/// When `getent` is needed and cannot be started.
pub fn group(host: &Host<'_>, name: &str) -> Result<Option<Group>, Fault> {
    Ok(match local_group(name) {
        None if other_sources("group") => {
            run::run(host, &["getent", "group", name])?.out.lines().find_map(group_of)
        }
        found => found,
    })
}

/// True when nsswitch names a source besides files that can hold people (sss, ldap, winbind).
fn other_sources(database: &str) -> bool {
    super::text("/etc/nsswitch.conf").unwrap_or_default().lines().any(|line| {
        line.trim().strip_prefix(database).and_then(|r| r.trim_start().strip_prefix(':')).is_some_and(
            |sources| {
                sources
                    .split('#')
                    .next()
                    .unwrap_or_default()
                    .split_whitespace()
                    .any(|s| !s.starts_with('[') && !matches!(s, "files" | "compat" | "systemd" | "altfiles"))
            },
        )
    })
}

/// The shadow line of an account; `None` when it has none or the agent may not read it.
#[must_use]
pub fn shadow(name: &str) -> Option<Shadow> {
    let text = super::text("/etc/shadow")?;
    let line = text.lines().find(|l| l.split(':').next() == Some(name))?;
    let fields: Vec<&str> = line.split(':').collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.trim().parse().ok());
    Some(Shadow {
        hash: fields.get(1).map(|f| (*f).to_owned()).unwrap_or_default(),
        min_days: number(3),
        max_days: number(4),
        warn_days: number(5),
        inactive_days: number(6),
        expires: number(7),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::Script;

    #[test]
    fn accounts_come_from_files_and_then_from_other_sources() {
        let root = FakeRoot::with(&[
            ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
            ("/etc/group", "wheel:x:10:root,ann\n"),
            ("/etc/shadow", "root:$6$x:19000:0:99999:7:::\n"),
        ]);
        let script = Script::of(&[("getent passwd ann", 0, "ann:*:2000:2000:Ann:/home/ann:/bin/sh\n")]);
        assert_eq!(account(&script.host(), "root").expect("asks").map(|a| a.uid), Some(0));
        assert_eq!(account(&script.host(), "ann").expect("asks"), None);
        root.put("/etc/nsswitch.conf", "passwd: files sss\n");
        assert_eq!(account(&script.host(), "ann").expect("asks").map(|a| a.uid), Some(2000));
        assert_eq!(local_group("10").map(|g| g.members), Some(vec!["root".to_owned(), "ann".to_owned()]));
        let shadow = shadow("root").expect("a line");
        assert_eq!((shadow.hash.as_str(), shadow.max_days, shadow.expires), ("$6$x", Some(99999), None));
    }
}
