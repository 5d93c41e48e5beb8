//! Plain lines: for pipes, CI and logs.

use std::io::Write;

use super::words::{clock, count, outcome, paint, push_clock, push_padded, took};
use super::{Context, Reporter, Settings, failure, recap};
use crate::journal::{CancelReason, Event, EventKind, NotRun, Outcome, UNKNOWN, look};

/// Writes one line an event that people care about.
pub struct Plain {
    out: Box<dyn Write + Send>,
    settings: Settings,
    not_run: Vec<String>,
}

impl Plain {
    /// Writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, settings: Settings) -> Self {
        Self { out, settings, not_run: Vec::new() }
    }
}

/// The lines for an event, without the closing recap; shared with the terminal, which prints them above its live part.
pub(super) fn lines(event: &Event, context: &Context, settings: &Settings) -> Option<String> {
    let step_line = |step: &u64, host: &str, how: Outcome, more: &str| {
        let started = context.started(*step)?;
        let (role, name) = (started.role.unwrap_or_default(), started.name);
        let colon = if started.role.is_some() { " : " } else { "" };
        let room = 40 + host.len() + role.len() + name.len() + more.len();
        let mut text = String::with_capacity(room);
        push_clock(event.at, &mut text);
        text.push(' ');
        if settings.colour {
            text.push_str(&paint(true, super::words::colour_of(how), &format!("{:<11}", outcome(how))));
        } else {
            push_padded(outcome(how), 11, &mut text);
        }
        text.push(' ');
        match &started.delegate {
            Some(_) => push_padded(&started.at(host), 12, &mut text),
            None => push_padded(host, 12, &mut text),
        }
        for part in [" ", role, colon, name, more, "\n"] {
            text.push_str(part);
        }
        Some(text)
    };
    // Most events are not shown at all.
    let at = if is_shown(&event.kind) { clock(event.at) } else { String::new() };
    match &event.kind {
        EventKind::PlayStarted { name, hosts, phase, .. } => {
            let phase = phase.as_ref().filter(|p| *p != name).map(|p| format!(" [{p}]")).unwrap_or_default();
            Some(format!(
                "{at} {} {name}{phase} ({})\n",
                paint(settings.colour, "1", "PLAY"),
                count(hosts.len(), "host")
            ))
        }
        EventKind::PlayNotRun { name, why, .. } => {
            Some(format!("{at} {} {}\n", paint(settings.colour, "1", "PLAY not run"), why_not(name, why)))
        }
        EventKind::StepFinished { adopted: true, .. } => None,
        // Told in full when it happened.
        EventKind::StepFinished { outcome: Outcome::Unreachable | Outcome::UnreachableIgnored, .. } => None,
        EventKind::StepFinished { step, host, outcome: how, result, took_ms, .. } => {
            if let Some(block) = failure::block(event, context, settings) {
                let line = step_line(step, host, *how, "").unwrap_or_default();
                return Some(format!("{line}\n{block}\n"));
            }
            let mut more = String::new();
            if *took_ms >= 5_000 {
                more = format!("  ({})", took(*took_ms));
            }
            if look(result, UNKNOWN).is_some() {
                more.push_str("  (not known before a real run)");
            }
            let mut text = step_line(step, host, *how, &more)?;
            extras(&mut text, *step, result, context, settings);
            Some(text)
        }
        EventKind::StepItem { step, host, label, outcome: how, result } => {
            let more = format!(" => (item={})", super::words::cut(label, 80));
            let started = context.started(*step).is_some_and(|s| s.delegate.is_none());
            let host = delegated(result)
                .filter(|_| started)
                .map_or_else(|| host.to_string(), |to| format!("{host} -> {to}"));
            let mut text = step_line(step, &host, *how, &more)?;
            if *how == Outcome::Failed {
                text.push_str(&format!("{:9}{}\n", "", failure::message(result)));
            }
            text.push_str(&diffs(result, settings));
            Some(text)
        }
        EventKind::StepRetry { step, host, attempt, retries, delay_ms } if settings.verbosity > 0 => {
            let started = context.started(*step)?;
            Some(format!(
                "{at} retrying    {:<12} {} ({attempt} of {retries}, again in {})\n",
                started.at(host),
                started.title(),
                took(*delay_ms)
            ))
        }
        EventKind::HostUnreachable { step, host, .. } => {
            let line = step_line(step, host, Outcome::Unreachable, "").unwrap_or_default();
            Some(format!("{line}\n{}\n", failure::block(event, context, settings)?))
        }
        EventKind::HostRebooted { host, before, after, took_ms } => Some(format!(
            "{at} reboot      {host:<12} back after {}, boot id {} -> {}\n",
            took(*took_ms),
            super::words::cut(before, 8).trim_end_matches('…'),
            super::words::cut(after, 8).trim_end_matches('…'),
        )),
        EventKind::Warning { text, place } => {
            let place = place.as_ref().map(|p| format!(" ({p})")).unwrap_or_default();
            Some(format!("{at} {} {text}{place}\n", paint(settings.colour, "35", "warning    ")))
        }
        EventKind::CancelBegan { reason, running } => Some(match reason {
            CancelReason::FirstInterrupt => format!(
                "{at} cancel      no new steps; {} ending. Press Ctrl-C again to end them now\n",
                count(*running, "running step")
            ),
            CancelReason::SecondInterrupt => {
                format!("{at} cancel      ending {} on the hosts\n", count(*running, "running step"))
            }
            CancelReason::ThirdInterrupt => format!(
                "{at} cancel      leaving; {} may go on. --resume collects what comes of it\n",
                count(*running, "running step")
            ),
            CancelReason::JournalFailed => {
                format!("{at} cancel      the journal cannot be written: no new steps\n")
            }
        }),
        _ => None,
    }
}

/// Whether a line of an event begins with its time, other than one about a step.
fn is_shown(kind: &EventKind) -> bool {
    !matches!(
        kind,
        EventKind::StepStarted { .. }
            | EventKind::StepOutput { .. }
            | EventKind::StepItem { .. }
            | EventKind::StepFinished { .. }
    )
}

/// The host that did an item of a loop.
fn delegated(result: &serde_json::Map<String, serde_json::Value>) -> Option<&str> {
    result.get("_ansible_delegated_vars")?.get("ansible_delegated_host")?.as_str()
}

/// What a finished step shows below its line: `debug` messages, diffs, and with `-v` the result.
fn extras(
    text: &mut String,
    step: u64,
    result: &serde_json::Map<String, serde_json::Value>,
    context: &Context,
    settings: &Settings,
) {
    let debug = context.started(step).is_some_and(|s| s.action == "debug");
    if debug && !result.contains_key("results") {
        let shown = result
            .iter()
            .filter(|(key, _)| {
                !matches!(
                    key.as_str(),
                    "changed" | "failed" | "skipped" | "_ansible_verbose_always" | UNKNOWN
                )
            })
            .map(|(key, value)| {
                if key == "msg" { failure::plain(value) } else { format!("{key}: {}", failure::plain(value)) }
            })
            .collect::<Vec<_>>()
            .join("\n");
        for line in shown.lines() {
            text.push_str(&format!("{:9}{line}\n", ""));
        }
    } else if settings.verbosity > 0 {
        let shown = serde_json::to_string(result).unwrap_or_default();
        text.push_str(&format!("{:9}{shown}\n", ""));
    }
    text.push_str(&diffs(result, settings));
}

/// The result's diffs, when wanted.
fn diffs(result: &serde_json::Map<String, serde_json::Value>, settings: &Settings) -> String {
    let Some(diff) = settings.diff.then(|| result.get("diff")).flatten() else { return String::new() };
    let mut out = String::new();
    for line in unified(diff).lines() {
        let code = match line.as_bytes().first() {
            Some(b'+') => "32",
            Some(b'-') => "31",
            Some(b'@') => "36",
            _ => "0",
        };
        out.push_str(&paint(settings.colour, code, line));
        out.push('\n');
    }
    out
}

/// The differences that a result's `diff` tells of, in unified form; empty when there are none.
pub(super) fn unified(diff: &serde_json::Value) -> String {
    use serde_json::Value;
    let entries: Vec<&Value> = match diff {
        Value::Array(list) => list.iter().collect(),
        Value::Object(_) => vec![diff],
        _ => return String::new(),
    };
    let text_of = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => serde_json::to_string_pretty(other).unwrap_or_default() + "\n",
    };
    let mut out = String::new();
    for entry in entries {
        if let Some(Value::String(prepared)) = entry.get("prepared") {
            out.push_str(prepared);
            continue;
        }
        let (before, after) = (text_of(entry.get("before")), text_of(entry.get("after")));
        if before == after {
            continue;
        }
        let name = |key: &str, other: &str| entry.get(key).map_or_else(|| other.to_owned(), failure::plain);
        let diff = similar::TextDiff::from_lines(&before, &after);
        let header = (name("before_header", "before"), name("after_header", "after"));
        out.push_str(&diff.unified_diff().context_radius(3).header(&header.0, &header.1).to_string());
    }
    out
}

/// One line about a play that was not run.
pub(super) fn why_not(name: &str, why: &NotRun) -> String {
    match why {
        NotRun::NoHosts { pattern } => format!("{name}: no hosts matched `{pattern}`"),
        NotRun::HostsLost { needs, hosts } if needs.is_empty() => {
            format!("{name}: {} failed before", hosts.join(", "))
        }
        NotRun::HostsLost { needs, hosts } => {
            format!("{name}: needs {needs}, where {} failed", hosts.join(", "))
        }
        NotRun::BeforeStart => format!("{name}: it is before the task to start at"),
        NotRun::Cancelled => format!("{name}: the run was cancelled"),
    }
}

impl Reporter for Plain {
    fn on_event(&mut self, event: &Event, context: &Context) -> std::io::Result<()> {
        if let EventKind::PlayNotRun { name, why, .. } = &event.kind {
            self.not_run.push(why_not(name, why));
        }
        if let Some(text) = lines(event, context, &self.settings) {
            self.out.write_all(text.as_bytes())?;
        }
        if let EventKind::RunFinished { totals, took_ms, exit } = &event.kind {
            self.out.write_all(recap::table(totals, &self.settings, false).as_bytes())?;
            self.out.write_all(b"\n")?;
            let closing = recap::closing(totals, *took_ms, *exit, &self.not_run, &self.settings);
            self.out.write_all(closing.as_bytes())?;
        }
        self.out.flush()
    }
}
