//! Users and groups by name and number.
//!
//! Owns: reading the account files. Must not: change accounts.
//!
//! The agent is linked statically, so the C library's name service is not to be relied on: the files are read here,
//! and `getent` is asked for what is not in them (LDAP, SSSD).

use std::process::{Command, Stdio};

/// A line of the password file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub gecos: String,
    pub home: String,
    pub shell: String,
}

/// A line of the group file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// Finds a user by name.
#[must_use]
pub fn user(name: &str) -> Option<User> {
    users().into_iter().find(|u| u.name == name).or_else(|| getent("passwd", name, parse_user))
}

/// Finds a user by number.
#[must_use]
pub fn user_by_id(uid: u32) -> Option<User> {
    users().into_iter().find(|u| u.uid == uid).or_else(|| getent("passwd", &uid.to_string(), parse_user))
}

/// Finds a group by name.
#[must_use]
pub fn group(name: &str) -> Option<Group> {
    groups().into_iter().find(|g| g.name == name).or_else(|| getent("group", name, parse_group))
}

/// Finds a group by number.
#[must_use]
pub fn group_by_id(gid: u32) -> Option<Group> {
    groups().into_iter().find(|g| g.gid == gid).or_else(|| getent("group", &gid.to_string(), parse_group))
}

/// Every user of the local file.
#[must_use]
pub fn users() -> Vec<User> {
    lines("/etc/passwd", parse_user)
}

/// Every group of the local file.
#[must_use]
pub fn groups() -> Vec<Group> {
    lines("/etc/group", parse_group)
}

fn lines<T>(path: &str, parse: fn(&str) -> Option<T>) -> Vec<T> {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect()
}

fn getent<T>(database: &str, key: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    if key.starts_with('-') {
        return None;
    }
    let output = Command::new("getent")
        .args([database, key])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout).lines().find_map(parse)
}

fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with(['#', '+', '-']))?;
    let (_password, uid, gid) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let mut text = || fields.next().unwrap_or_default().to_owned();
    Some(User { name: name.to_owned(), uid, gid, gecos: text(), home: text(), shell: text() })
}

fn parse_group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with(['#', '+', '-']))?;
    let (_password, gid) = (fields.next()?, fields.next()?.parse().ok()?);
    let members =
        fields.next().unwrap_or_default().split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
    Some(Group { name: name.to_owned(), gid, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_lines_are_read_and_nis_marks_skipped() {
        let root = parse_user("root:x:0:0:root:/root:/bin/bash").expect("a user");
        assert_eq!((root.uid, root.home.as_str(), root.shell.as_str()), (0, "/root", "/bin/bash"));
        assert_eq!(parse_user("+::::::"), None);
        let wheel = parse_group("wheel:x:10:a,b").expect("a group");
        assert_eq!((wheel.gid, wheel.members), (10, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(user("root").map(|u| u.uid), Some(0));
        assert_eq!(group_by_id(0).map(|g| g.name), Some("root".to_owned()));
    }
}
