//! The end of a run: Ansible's recap and what to do next.

use std::fmt::Write as _;

use super::Settings;
use super::words::{count, paint, took};
use crate::journal::{HostTotals, Totals};

/// The recap: a table on a terminal, Ansible's `key=value` lines elsewhere, because scripts read them.
pub(super) fn table(totals: &Totals, settings: &Settings, terminal: bool) -> String {
    let mut out = String::new();
    let widest = totals.hosts.keys().map(|h| h.chars().count()).max().unwrap_or(0).max(5);
    if !terminal {
        let _ = writeln!(out, "\nPLAY RECAP {}", "*".repeat(69));
        for (host, t) in &totals.hosts {
            let _ = writeln!(
                out,
                "{host:<widest$} : ok={:<4} changed={:<4} unreachable={:<4} failed={:<4} skipped={:<4} rescued={:<4} ignored={:<4}",
                t.ok, t.changed, t.unreachable, t.failed, t.skipped, t.rescued, t.ignored
            );
        }
        return out;
    }
    let _ = writeln!(
        out,
        "\n{:<widest$}  {:>6} {:>8} {:>12} {:>7} {:>8} {:>8} {:>8} {:>9}",
        "RECAP", "ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored", "time"
    );
    for (host, t) in &totals.hosts {
        let name = paint(settings.colour, colour(t), &format!("{host:<widest$}"));
        let _ = writeln!(
            out,
            "{name}  {:>6} {:>8} {:>12} {:>7} {:>8} {:>8} {:>8} {:>9}",
            t.ok,
            t.changed,
            t.unreachable,
            t.failed,
            t.skipped,
            t.rescued,
            t.ignored,
            took(t.busy_ms)
        );
    }
    out
}

fn colour(t: &HostTotals) -> &'static str {
    if t.failed + t.unreachable > 0 {
        "31"
    } else if t.changed > 0 {
        "33"
    } else {
        "32"
    }
}

/// The lines below the recap: how it went, where the run's folder is, what next.
#[must_use]
pub fn closing(totals: &Totals, took_ms: u64, exit: u8, not_run: &[String], settings: &Settings) -> String {
    let mut out = String::new();
    let bad = totals.hosts.values().filter(|t| t.failed > 0).count();
    let lost = totals.hosts.values().filter(|t| t.unreachable > 0).count();
    let fine = totals.hosts.len() - totals.hosts.values().filter(|t| t.failed + t.unreachable > 0).count();
    let changed: u32 = totals.hosts.values().map(|t| t.changed).sum();
    let unknown: u32 = totals.hosts.values().map(|t| t.unknown).sum();
    if exit == 0 {
        let _ = writeln!(
            out,
            "done in {}: {} fine, {} changed",
            took(took_ms),
            count(fine, "host"),
            count(changed as usize, "step")
        );
    } else {
        let mut parts = Vec::new();
        if bad > 0 {
            parts.push(format!("{} failed", count(bad, "host")));
        }
        if lost > 0 {
            parts.push(format!("{} unreachable", count(lost, "host")));
        }
        // A run can also end early by the user's wish, or because a play could not start.
        let (how, rest) =
            if parts.is_empty() { ("stopped", count(fine, "host")) } else { ("failed", fine.to_string()) };
        parts.push(format!("{rest} fine"));
        let _ = writeln!(out, "{how} after {}: {}", took(took_ms), parts.join(", "));
    }
    if unknown > 0 {
        let steps = count(unknown as usize, "step");
        let _ = writeln!(out, "not known   {steps}: what would happen there shows only in a real run");
    }
    for line in not_run {
        let _ = writeln!(out, "not run     {line}");
    }
    let _ = writeln!(out, "run folder  {}", settings.folder);
    if let Some(page) = &settings.page {
        let _ = writeln!(out, "report      {page}");
    }
    match exit {
        0 => {}
        crate::exit::CANCELLED => {
            let _ = writeln!(out, "next        it goes on with: {}", settings.again);
        }
        _ => {
            let _ = writeln!(out, "next        fix it, then: {}", settings.again);
        }
    }
    out
}
