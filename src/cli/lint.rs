//! `dcos-play lint`: all that can be said about a playbook without a host.
//!
//! Owns: the list of findings and the line below it. Must not: decide the exit code; it says how many errors there are.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::resolve::{Resolver, Setup};
use crate::source::{Colour, Diagnostics, Severity, Sources};

/// What a lint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub errors: usize,
    pub warnings: usize,
}

/// Checks playbooks and writes what was found.
///
/// # Errors
/// When `out` cannot be written.
pub fn lint(out: &mut dyn Write, setup: &Setup, playbooks: &[PathBuf], colour: Colour) -> io::Result<Totals> {
    let resolver = Resolver::new(setup.clone());
    let mut all = Diagnostics::default();
    for playbook in playbooks {
        all.extend(resolver.resolve(Path::new(playbook)).findings);
    }
    all.sort();
    write_findings(out, &setup.sources, &all, colour)
}

/// Writes findings with their excerpts, and how many there are. Says so too when nothing was found.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_findings(
    out: &mut dyn Write,
    sources: &Arc<Sources>,
    findings: &Diagnostics,
    colour: Colour,
) -> io::Result<Totals> {
    for finding in &findings.list {
        writeln!(out, "{}", finding.render_in(sources, colour))?;
    }
    let errors = findings.errors();
    let warnings = findings.list.iter().filter(|f| f.severity == Severity::Warning).count();
    let parts: Vec<String> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    match (errors, parts.is_empty()) {
        (0, true) => writeln!(out, "nothing to complain about")?,
        (0, false) => writeln!(out, "{}.", parts.join(", "))?,
        _ => writeln!(out, "{}. No host was contacted.", parts.join(", "))?,
    }
    Ok(Totals { errors, warnings })
}
