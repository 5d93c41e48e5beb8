//! `summary.json`: the totals for programs that come later.

use std::path::Path;

use serde::Serialize;

use crate::journal::Totals;

/// What the file holds.
#[derive(Serialize)]
struct Summary<'a> {
    run: &'a str,
    exit: u8,
    took_ms: u64,
    not_run: &'a [String],
    #[serde(flatten)]
    totals: &'a Totals,
}

/// Writes the file whole or not at all.
pub(super) fn write(
    folder: &Path,
    run: &str,
    totals: &Totals,
    took_ms: u64,
    exit: u8,
    not_run: &[String],
) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(&Summary { run, exit, took_ms, not_run, totals })?;
    super::write_whole(&folder.join("summary.json"), &text)
}
