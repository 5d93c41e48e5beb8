//! Template files that look at other hosts.
//!
//! The plan sees only what stands in playbooks; a `template` task whose file names `hostvars` needs its barrier all the
//! same. Owns: reading such files for their words, once a task. Must not: render.

use std::path::{Path, PathBuf};

use crate::plan::{BarrierReason, Looks};
use crate::resolve::Task;
use crate::source::Span;

/// Larger files are data, not templates.
const LARGEST: u64 = 1 << 20;

/// The barrier before a `template` task because of its file.
pub(super) fn barrier(task: &Task, bases: &[PathBuf], looks: &Looks) -> Option<(BarrierReason, Span)> {
    if &*task.action.name != "template" {
        return None;
    }
    let (_, src) = task.action.args.entries.iter().find(|(name, _)| name.value == "src")?;
    let folders = || bases.iter().map(|base| base.join("templates")).filter(|f| f.is_dir());
    let literal = src.as_str().filter(|text| !text.contains("{{") && !text.contains("{%"));
    let found = match literal {
        Some(name) => {
            let path = bases
                .iter()
                .flat_map(|b| [b.join("templates").join(name), b.join(name)])
                .find(|p| p.is_file())?;
            let text = read(&path)?;
            // What a template includes lies in the same folders.
            let more = ["{% include", "{% import", "{% from", "{% extends", "{%- include", "{%- import"];
            in_text(&text, &path, looks).or_else(|| {
                more.iter().any(|m| text.contains(m)).then(|| in_folders(folders(), looks)).flatten()
            })
        }
        // Which file it is, is only known while the run goes on: any of them may be it.
        None => in_folders(folders(), looks),
    };
    found.map(|(name, through)| (BarrierReason::Looks { name, through: Some(through) }, src.span))
}

fn in_text(text: &str, path: &Path, looks: &Looks) -> Option<(String, String)> {
    let file =
        path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    looks.in_text(text).map(|(_, seed)| (seed.to_owned(), file))
}

fn in_folders(folders: impl Iterator<Item = PathBuf>, looks: &Looks) -> Option<(String, String)> {
    let mut left: Vec<PathBuf> = folders.collect();
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(path),
                Ok(_) => {
                    if let Some(found) = read(&path).and_then(|text| in_text(&text, &path, looks)) {
                        return Some(found);
                    }
                }
                Err(_) => {}
            }
        }
    }
    None
}

fn read(path: &Path) -> Option<String> {
    // A file that cannot be read fails the task itself, with its name.
    let meta = std::fs::metadata(path).ok()?;
    if meta.len() > LARGEST { None } else { std::fs::read_to_string(path).ok() }
}
