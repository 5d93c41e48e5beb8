//! Shell patterns.
//!
//! Owns: matching names (`fnmatch`) and paths (`glob`). Must not: follow anything but the pattern.

use std::path::{Path, PathBuf};

use regex::Regex;

/// A shell pattern as a regular expression over a whole name, with Python's `fnmatch` rules.
#[must_use]
pub fn fnmatch(pattern: &str) -> Option<Regex> {
    let mut regex = String::from("(?s)^");
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                let negated = matches!(chars.get(at + 1), Some('!' | '^'));
                let first = at + 1 + usize::from(negated);
                // A bracket right at the start is a member of the set.
                match chars.iter().skip(first + 1).position(|c| *c == ']').map(|n| first + 1 + n) {
                    None => regex.push_str("\\["),
                    Some(end) => {
                        regex.push_str(if negated { "[^" } else { "[" });
                        for c in &chars[first..end] {
                            if "\\[]^&~".contains(*c) {
                                regex.push('\\');
                            }
                            regex.push(*c);
                        }
                        regex.push(']');
                        at = end;
                    }
                }
            }
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
        at += 1;
    }
    regex.push('$');
    Regex::new(&regex).ok()
}

/// True when the text has any of the pattern characters.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The paths that match, sorted. A relative pattern is taken below `base`.
#[must_use]
pub fn glob(pattern: &str, base: &Path) -> Vec<PathBuf> {
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { base.to_path_buf() }];
    for part in pattern.split('/').filter(|p| !p.is_empty() && *p != ".") {
        let mut next = Vec::new();
        for dir in &found {
            if is_pattern(part) {
                let Some(regex) = fnmatch(part) else { return Vec::new() };
                for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    // Hidden names only when the pattern says so.
                    if regex.is_match(&name) && (part.starts_with('.') || !name.starts_with('.')) {
                        next.push(dir.join(&*name));
                    }
                }
            } else {
                let path = dir.join(part);
                if path.symlink_metadata().is_ok() {
                    next.push(path);
                }
            }
        }
        found = next;
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temp_dir;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, matches) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.confx", false),
            ("a?c", "abc", true),
            ("[!a]b", "ab", false),
            ("[]x]", "]", true),
            ("[a-c]+", "b+", true),
            ("[x", "[x", true),
        ] {
            assert_eq!(fnmatch(pattern).is_some_and(|r| r.is_match(name)), matches, "{pattern} {name}");
        }
        let dir = temp_dir();
        for name in ["a.x", "b.x", ".c.x"] {
            std::fs::write(dir.path().join(name), "").expect("writes");
        }
        assert_eq!(glob("*.x", dir.path()), [dir.path().join("a.x"), dir.path().join("b.x")]);
        assert_eq!(glob(&dir.at("a.x"), Path::new("/")).len(), 1);
        assert!(glob("nope/*", dir.path()).is_empty());
    }
}
