//! Filters on file names.

use std::path::{Component, Path, PathBuf};

use minijinja::Value;
use minijinja::value::Tuple;

use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::registry::{Args, Row};
use crate::template::values::{is_list, items, list, text};

pub(super) const TABLE: &[Row] = &[
    Row("basename", "path", |_, a| on_text(a, basename)),
    Row("dirname", "path", |_, a| on_text(a, dirname)),
    Row("splitext", "path", splitext),
    Row("path_join", "paths", path_join),
    Row("expanduser", "path", expanduser),
    Row("expandvars", "path", expandvars),
    Row("realpath", "path", realpath),
    Row("normpath", "path", |_, a| on_text(a, |p| normpath(&p))),
    Row("relpath", "path start", relpath),
    Row("commonpath", "paths", commonpath),
    Row("fileglob", "pathname", fileglob),
    Row("win_basename", "path", |_, a| on_text(a, |p| p.rsplit(['/', '\\']).next().unwrap_or("").to_owned())),
    Row("win_dirname", "path", |_, a| on_text(a, win_dirname)),
    Row("win_splitdrive", "path", win_splitdrive),
];

fn on_text(a: &Args, apply: impl FnOnce(String) -> String) -> R<Value> {
    Ok(Value::from(apply(a.text()?)))
}

fn basename(path: String) -> String {
    path.rsplit('/').next().unwrap_or("").to_owned()
}

fn dirname(path: String) -> String {
    let Some(at) = path.rfind('/') else { return String::new() };
    let head = &path[..=at];
    let trimmed = head.trim_end_matches('/');
    if trimmed.is_empty() { head.to_owned() } else { trimmed.to_owned() }
}

fn splitext(_: &mut Cx, a: &Args) -> R<Value> {
    let path = a.text()?;
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let name = &path[name_at..];
    let body = name.trim_start_matches('.');
    let cut = match body.rfind('.') {
        Some(at) => name_at + (name.len() - body.len()) + at,
        None => path.len(),
    };
    Ok(Value::from(Tuple::from([Value::from(&path[..cut]), Value::from(&path[cut..])])))
}

fn path_join(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let parts = if is_list(value) { items(value)? } else { vec![value.clone()] };
    let mut out = String::new();
    for part in parts {
        let part = text(&part)?;
        if part.starts_with('/') || out.is_empty() {
            out = part;
        } else {
            if !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(&part);
        }
    }
    Ok(Value::from(out))
}

/// Python's `os.path.normpath`.
pub(in crate::template) fn normpath(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if out.last().is_some_and(|last| *last != "..") => {
                out.pop();
            }
            ".." if absolute => {}
            part => out.push(part),
        }
    }
    let joined = out.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) if path.starts_with("//") && !path.starts_with("///") => format!("//{joined}"),
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn absolute(cx: &Cx, path: &str) -> PathBuf {
    cx.engine.options.current_folder.join(path)
}

fn expanduser(cx: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(home_expanded(cx, &a.text()?)))
}

/// Replaces a leading `~` by the controller user's home.
pub(in crate::template) fn home_expanded(cx: &Cx, path: &str) -> String {
    let Some(rest) = path.strip_prefix('~') else { return path.to_owned() };
    if !(rest.is_empty() || rest.starts_with('/')) {
        let (user, tail) = rest.split_once('/').map_or((rest, String::new()), |(u, t)| (u, format!("/{t}")));
        return match nix::unistd::User::from_name(user) {
            Ok(Some(user)) => format!("{}{tail}", user.dir.display()),
            _ => path.to_owned(),
        };
    }
    match environment(cx, "HOME") {
        Some(home) => format!("{}{rest}", home.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

/// A variable of the controller's environment.
pub(in crate::template) fn environment(cx: &Cx, name: &str) -> Option<String> {
    cx.engine.options.environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
}

fn expandvars(cx: &mut Cx, a: &Args) -> R<Value> {
    let path = a.text()?;
    let mut out = String::new();
    let mut rest = path.as_str();
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, used) =
            match after.strip_prefix('{').and_then(|s| s.find('}').map(|end| (&s[..end], end + 2))) {
                Some(found) => found,
                None => {
                    let end = after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
                    (&after[..end], end)
                }
            };
        match environment(cx, name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..=at + used]),
        }
        rest = &after[used..];
    }
    out.push_str(rest);
    Ok(Value::from(out))
}

fn realpath(cx: &mut Cx, a: &Args) -> R<Value> {
    let path = absolute(cx, &a.text()?);
    // A part that does not exist is kept as it stands.
    let mut known = path.clone();
    let mut tail: Vec<std::ffi::OsString> = Vec::new();
    loop {
        if let Ok(found) = known.canonicalize() {
            let mut out = found;
            out.extend(tail.iter().rev());
            return Ok(Value::from(normpath(&out.display().to_string())));
        }
        match (known.parent().map(Path::to_owned), known.components().next_back()) {
            (Some(parent), Some(Component::Normal(last))) => {
                tail.push(last.to_owned());
                known = parent;
            }
            _ => return Ok(Value::from(normpath(&path.display().to_string()))),
        }
    }
}

fn relpath(cx: &mut Cx, a: &Args) -> R<Value> {
    let start = a.text_or(1, ".")?;
    let to = normpath(&absolute(cx, &a.text()?).display().to_string());
    let from = normpath(&absolute(cx, &start).display().to_string());
    let parts = |p: &str| p.split('/').filter(|p| !p.is_empty()).map(ToOwned::to_owned).collect::<Vec<_>>();
    let (to, from) = (parts(&to), parts(&from));
    let common = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let mut out: Vec<String> = vec!["..".to_owned(); from.len() - common];
    out.extend_from_slice(&to[common..]);
    Ok(Value::from(if out.is_empty() { ".".to_owned() } else { out.join("/") }))
}

fn commonpath(_: &mut Cx, a: &Args) -> R<Value> {
    let all = items(a.value()?)?.iter().map(text).collect::<R<Vec<_>>>()?;
    let Some(first) = all.first() else { return Err(a.refuse("no paths were given")) };
    let split = |p: &str| {
        p.split('/').filter(|p| !p.is_empty() && *p != ".").map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let mut common = split(first);
    for path in &all {
        if path.starts_with('/') != first.starts_with('/') {
            return Err(a.refuse("absolute and relative paths cannot be mixed"));
        }
        let kept = common.iter().zip(split(path)).take_while(|(a, b)| *a == b).count();
        common.truncate(kept);
    }
    let joined = common.join("/");
    Ok(Value::from(if first.starts_with('/') { format!("/{joined}") } else { joined }))
}

fn fileglob(cx: &mut Cx, a: &Args) -> R<Value> {
    let pattern = absolute(cx, &a.text()?);
    Ok(list(glob(&pattern.display().to_string()).into_iter().map(Value::from).collect()))
}

/// The files (not folders) that a shell pattern matches, sorted.
pub(in crate::template) fn glob(pattern: &str) -> Vec<String> {
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "." })];
    for part in pattern.split('/').filter(|p| !p.is_empty()) {
        let mut next = Vec::new();
        for folder in found {
            if !part.contains(['*', '?', '[']) {
                next.push(folder.join(part));
                continue;
            }
            let Ok(entries) = fs_err::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if (part.starts_with('.') || !name.starts_with('.')) && matches_glob(part, &name) {
                    next.push(folder.join(name));
                }
            }
        }
        found = next;
    }
    let mut out: Vec<String> =
        found.into_iter().filter(|p| p.is_file()).map(|p| p.display().to_string()).collect();
    out.sort();
    out
}

/// Shell pattern matching of one name.
pub(in crate::template) fn matches_glob(pattern: &str, name: &str) -> bool {
    fn step(p: &[char], n: &[char]) -> bool {
        match p.split_first() {
            None => n.is_empty(),
            Some(('*', rest)) => (0..=n.len()).any(|at| step(rest, &n[at..])),
            Some(('?', rest)) => n.split_first().is_some_and(|(_, n)| step(rest, n)),
            Some(('[', rest)) => {
                let Some(end) = rest.iter().skip(1).position(|c| *c == ']').map(|at| at + 1) else {
                    return n.first() == Some(&'[') && step(rest, &n[1..]);
                };
                let Some((c, tail)) = n.split_first() else { return false };
                let (negated, set) = match rest.first() {
                    Some('!' | '^') => (true, &rest[1..end]),
                    _ => (false, &rest[..end]),
                };
                let mut hit = false;
                let mut at = 0;
                while at < set.len() {
                    if at + 2 < set.len() && set[at + 1] == '-' {
                        hit |= set[at] <= *c && *c <= set[at + 2];
                        at += 3;
                    } else {
                        hit |= set[at] == *c;
                        at += 1;
                    }
                }
                hit != negated && step(&rest[end + 1..], tail)
            }
            Some((c, rest)) => n.first() == Some(c) && step(rest, &n[1..]),
        }
    }
    step(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
}

fn win_dirname(path: String) -> String {
    match path.rfind(['/', '\\']) {
        Some(at) => {
            let head = path[..at].trim_end_matches(['/', '\\']);
            if head.is_empty() || head.ends_with(':') { path[..=at].to_owned() } else { head.to_owned() }
        }
        None => String::new(),
    }
}

fn win_splitdrive(_: &mut Cx, a: &Args) -> R<Value> {
    let path = a.text()?;
    let cut = if path.as_bytes().get(1) == Some(&b':') { 2 } else { 0 };
    Ok(Value::from(Tuple::from([Value::from(&path[..cut]), Value::from(&path[cut..])])))
}
