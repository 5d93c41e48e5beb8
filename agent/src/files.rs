//! What modules share about files.
//!
//! Owns: paths, accounts, modes and ownership, safe writing, backups, checksums. Must not: know a single module.
//! Called by: modules and the server.

pub mod accounts;
pub mod attributes;
pub mod checksum;
pub mod diff;
pub mod glob;
pub mod info;
pub mod mode;
pub mod write;

use std::path::{Path, PathBuf};

/// A path without `.`, `..` and links, also when its last parts don't exist yet.
#[must_use]
pub fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent != Path::new("") => {
            // A link to something that doesn't exist (yet) still says where to write.
            match std::fs::read_link(path) {
                Ok(target) => real_path(parent).join(target),
                Err(_) => real_path(parent).join(name),
            }
        }
        _ => path.to_path_buf(),
    }
}

/// Expands `~`, `~user`, `$NAME` and `${NAME}` as a shell with this environment would; unknown names stay.
#[must_use]
pub fn expand_path(path: &str, environment: &[(String, String)]) -> String {
    let var = |name: &str| {
        environment
            .iter()
            .rev()
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.clone())
            .or_else(|| std::env::var(name).ok())
    };
    let mut expanded = String::new();
    let mut rest = path;
    if let Some(after) = path.strip_prefix('~') {
        let (user, tail) = after.split_at(after.find('/').unwrap_or(after.len()));
        let home = if user.is_empty() {
            var("HOME").or_else(|| accounts::user_by_id(nix::unistd::geteuid().as_raw()).map(|u| u.home))
        } else {
            accounts::user(user).map(|u| u.home)
        };
        if let Some(home) = home {
            expanded.push_str(home.trim_end_matches('/'));
            rest = tail;
        }
    }
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let after = &rest[1..];
        let (name, length) = match after.strip_prefix('{') {
            Some(inner) => match inner.find('}') {
                Some(end) => (&inner[..end], end + 3),
                None => ("", 1),
            },
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end + 1)
            }
        };
        match var(name).filter(|_| !name.is_empty()) {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_expand_like_in_a_shell() {
        let env = [("HOME".to_owned(), "/h".to_owned()), ("V_1".to_owned(), "v".to_owned())];
        assert_eq!(expand_path("~/a", &env), "/h/a");
        assert_eq!(expand_path("~root/a", &env), "/root/a");
        assert_eq!(expand_path("/x/$V_1/${V_1}z/$NOT_SET_/${", &env), "/x/v/vz/$NOT_SET_/${");
        assert_eq!(expand_path("a~b", &env), "a~b");
    }
}
