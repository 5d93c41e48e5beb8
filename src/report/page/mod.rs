//! `report.html`: one file that shows a whole run and opens from disk.
//!
//! Owns: the page, its data, and the run's critical path. Must not: reach the network when opened, or show what the
//! journal doesn't hold (secrets are masked there).
//! Called by: the command line, when a run has ended or when someone asks for the page of an earlier one.

use std::path::{Path, PathBuf};

use crate::journal::{self, JournalError, RunFolder};

mod critical;
mod model;

use model::Page;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Journals longer than this (bytes) get no page by themselves when a run ends: reading one takes a second for each
/// hundred megabytes.
const BY_ITSELF: u64 = 64 << 20;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The journal is missing or makes no sense.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The page cannot be written.
    #[error("the report cannot be written")]
    Write(#[from] std::io::Error),
}

/// Whether a run's journal is short enough for a page as soon as the run ends.
#[must_use]
pub fn wanted(folder: &RunFolder) -> bool {
    std::fs::metadata(folder.journal()).is_ok_and(|m| m.len() <= BY_ITSELF)
}

/// Writes the page of a run, whole or not at all: into the run's folder, or to `path`. Gives where it is.
///
/// # Errors
/// A journal that cannot be read, or a disk that refuses.
pub fn write(folder: &RunFolder, path: Option<&Path>) -> Result<PathBuf, PageError> {
    let (header, events) = journal::read(&folder.journal())?;
    let page = Page::of(&header, &events);
    let path = path.map_or_else(|| folder.path.join("report.html"), Path::to_path_buf);
    super::write_whole(&path, render(&page)?.as_bytes())?;
    Ok(path)
}

fn render(page: &Page) -> Result<String, std::io::Error> {
    // The data stands inside a script element, which `</script>` or `<!--` in some output would end.
    let data = serde_json::to_string(page)?.replace('<', "\\u003c");
    let title = page.run.replace('&', "&amp;").replace('<', "&lt;");
    let mut html = String::with_capacity(HTML.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = HTML;
    while let Some((before, after)) = rest.split_once("<!--@") {
        html.push_str(before);
        let (name, after) = after.split_once("-->").unwrap_or((after, ""));
        html.push_str(match name {
            "title" => &title,
            "style" => STYLE,
            "script" => SCRIPT,
            "data" => &data,
            _ => "",
        });
        rest = after;
    }
    html.push_str(rest);
    Ok(html)
}

#[cfg(test)]
mod tests;
