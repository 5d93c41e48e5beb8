//! The files of `include_vars`.
//!
//! Owns: which files of a folder count and in which order; reading one, vault files included.
//! Must not: know what becomes of the variables.

use std::path::{Path, PathBuf};

use regex::Regex;

use super::include_vars::start_of;
use super::local_files::{self, expand_home};
use super::{Context, Stop};
use crate::source::{Diagnostics, Mapping, ReadFault, Span, Yaml, parse};

/// What counts as a file of variables unless the user says otherwise.
pub(super) const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];

/// Which files of a folder are wanted.
pub(super) struct Choice<'a> {
    /// Levels of folders; zero for all.
    pub(super) depth: usize,
    pub(super) matching: Option<&'a str>,
    /// Expressions for the ends of names.
    pub(super) ignore: &'a [String],
    pub(super) extensions: &'a [String],
    pub(super) skip_unknown: bool,
}

/// The files of a folder, each folder's own before those below it.
pub(super) fn list(context: &Context<'_>, dir: &str, choice: &Choice<'_>) -> Result<Vec<PathBuf>, Stop> {
    let root = root(context, dir);
    if !root.exists() {
        return Err(Stop::failed(format!("{} directory does not exist", root.display())));
    }
    if !root.is_dir() {
        return Err(Stop::failed(format!("{} is not a directory", root.display())));
    }
    let regex = |text: &str| {
        Regex::new(text).map_err(|e| Stop::failed(format!("invalid regular expression `{text}`: {e}")))
    };
    let matching = choice.matching.map(regex).transpose()?;
    let ignore = choice.ignore.iter().map(|i| regex(&format!("{i}$"))).collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::new();
    let mut folders = vec![(root, 1)];
    while let Some((folder, level)) = folders.pop() {
        let unreadable =
            |e: std::io::Error| Stop::failed(format!("cannot read a folder on the controller: {e}"));
        let mut entries = fs_err::read_dir(&folder)
            .map_err(unreadable)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable)?;
        entries.sort();
        let mut below = Vec::new();
        for path in entries {
            if path.is_dir() {
                if choice.depth == 0 || level < choice.depth {
                    below.push((path, level + 1));
                }
                continue;
            }
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let wanted = matching.as_ref().is_none_or(|m| m.is_match(&name))
                && !ignore.iter().any(|i| i.is_match(&name))
                && !is_roles_own(context, &path);
            if !wanted {
                continue;
            }
            let extension = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
            if choice.extensions.iter().any(|e| e.trim_start_matches('.') == extension) {
                found.push(path);
            } else if !choice.skip_unknown {
                let read: Vec<String> = found.iter().map(|p| p.display().to_string()).collect();
                let why = format!(
                    "{} does not have a valid extension: {}",
                    path.display(),
                    choice.extensions.join(", ")
                );
                return Err(Stop::failed(why.as_str())
                    .with("message", why)
                    .with("ansible_included_var_files", read));
            }
        }
        folders.extend(below.into_iter().rev());
    }
    Ok(found)
}

/// A folder of a role is looked for in its `vars`, any other beside the task's file.
fn root(context: &Context<'_>, dir: &str) -> PathBuf {
    let dir = expand_home(dir);
    match &context.role_directory {
        _ if dir.is_absolute() => dir,
        Some(role) if dir.starts_with("vars") => role.join(dir),
        Some(role) => role.join("vars").join(dir),
        None => context.task_directory.join(dir),
    }
}

/// `vars/main.yml` of the role is in force already.
fn is_roles_own(context: &Context<'_>, path: &Path) -> bool {
    context.role_directory.as_ref().is_some_and(|role| {
        ["main.yml", "main.yaml", "main.json"].iter().any(|m| path == role.join("vars").join(m))
    })
}

/// The variables of one file, and the place where it begins.
pub(super) fn load(context: &Context<'_>, path: &Path) -> Result<(Mapping, Span), Stop> {
    let unreadable = |e: std::io::Error| Stop::failed(format!("cannot read a file on the controller: {e}"));
    let mut id = context.sources.read(path).map_err(unreadable)?;
    let file = context.sources.file(id);
    if file.text.starts_with("$ANSIBLE_VAULT;") {
        // The opened text is a source of its own, found again under this name by the next host.
        let opened_name = PathBuf::from(format!("{} (opened)", path.display()));
        id = match context.sources.read(&opened_name) {
            Ok(id) => id,
            Err(_) => {
                let bytes =
                    local_files::opened(path, file.text.clone().into_bytes(), context.vault.as_ref())?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let absolute = std::path::absolute(&opened_name).unwrap_or(opened_name);
                context.sources.add(absolute, text)
            }
        };
    }
    let node = parse(context.sources, id).map_err(|found| not_yaml(context, &found))?;
    match node.value {
        Yaml::Map(map) => Ok((map, node.span)),
        Yaml::Null => Ok((Mapping::default(), start_of(id))),
        _ => Err(Stop::failed(format!("{} must be stored as a dictionary/hash", path.display()))),
    }
}

fn not_yaml(context: &Context<'_>, found: &Diagnostics) -> Stop {
    let Some(first) = found.list.first() else {
        return Stop::failed(ReadFault::Yaml(found.clone()).to_string());
    };
    let place =
        first.labels.first().map(|l| format!("{}: ", context.sources.place(l.span))).unwrap_or_default();
    let help = first.help.as_ref().map(|h| format!("; {h}")).unwrap_or_default();
    Stop::failed(format!("{place}{}{help}", first.message))
}
