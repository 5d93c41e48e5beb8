//! A failed step in full: what, where, what the host said, what next.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::words::{self, paint};
use super::{Context, Settings};
use crate::journal::{Event, EventKind, Outcome, Place};

/// How many lines of a command's output are shown; the log has the rest.
const OUTPUT_LINES: usize = 12;

/// The block for a failed or unreachable step; `None` for other events.
pub(super) fn block(event: &Event, context: &Context, settings: &Settings) -> Option<String> {
    let mut out = String::new();
    match &event.kind {
        EventKind::StepFinished {
            step,
            host,
            outcome: outcome @ (Outcome::Failed | Outcome::FailureIgnored),
            result,
            failure,
            took_ms,
            ..
        } => {
            let failure = failure.as_deref()?;
            let ignored = *outcome == Outcome::FailureIgnored;
            let started = context.started(*step);
            let name = started.map_or_else(|| failure.name.clone(), |s| s.title());
            let at = started.map_or_else(|| host.to_string(), |s| s.at(host));
            head(&mut out, settings, if ignored { "!" } else { "✗" }, &at, &failure.place, &name);
            if ignored {
                let _ = writeln!(out, "  the failure is ignored: {}", first_line(&message(result)));
                return Some(out);
            }
            out.push('\n');
            // With `no_log` the task's own lines may hold what must not be seen.
            if result.contains_key("censored") {
                row(&mut out, "hidden", "the task has `no_log`: neither its lines nor its result are shown");
            } else {
                for line in failure.excerpt.lines() {
                    let _ = writeln!(out, "    {line}");
                }
                out.push('\n');
            }
            for link in &failure.chain {
                let _ = writeln!(out, "  included from {link}");
            }
            if !failure.ran_as.is_empty() {
                row(&mut out, "ran on", &format!("{}, {}", failure.ran_as, words::took(*took_ms)));
            }
            details(&mut out, result);
            closing_rows(&mut out, host, context, settings);
        }
        EventKind::HostUnreachable { step, host, kind, what, next, place, .. } => {
            let started = context.started(*step);
            let name = started.map(|s| s.title()).unwrap_or_default();
            let at = started.map_or_else(|| host.to_string(), |s| s.at(host));
            head(&mut out, settings, "✗", &at, place, &name);
            row(&mut out, "unreachable", &format!("({kind}) {what}"));
            if let Some(next) = next {
                row(&mut out, "next", next);
            }
            closing_rows(&mut out, host, context, settings);
        }
        _ => return None,
    }
    Some(out)
}

fn head(out: &mut String, settings: &Settings, mark: &str, host: &str, place: &Place, name: &str) {
    let title = format!("{mark} {host} · {place}");
    let _ = writeln!(out, "{}  \"{name}\"", paint(settings.colour, "1;31", &title));
}

fn row(out: &mut String, label: &str, text: &str) {
    let mut lines = text.lines();
    let _ = writeln!(out, "  {label:<11} {}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(out, "  {:<11} {line}", "");
    }
}

fn closing_rows(out: &mut String, host: &std::sync::Arc<str>, context: &Context, settings: &Settings) {
    let line = context.log_line.get(host).copied().unwrap_or(1);
    row(out, "full log", &format!("{}/hosts/{}.log:{line}", settings.folder, host.replace('/', "_")));
}

/// The result's own words.
pub(super) fn message(result: &Map<String, Value>) -> String {
    match result.get("msg") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn details(out: &mut String, result: &Map<String, Value>) {
    let items = result.get("results").and_then(Value::as_array);
    if let Some(items) = items {
        for item in
            items.iter().filter_map(Value::as_object).filter(|i| i.get("failed") == Some(&Value::Bool(true)))
        {
            let label =
                item.get("_ansible_item_label").or_else(|| item.get("item")).map(plain).unwrap_or_default();
            row(out, "item", &label);
            details_of_one(out, item);
        }
    } else {
        details_of_one(out, result);
    }
}

fn details_of_one(out: &mut String, result: &Map<String, Value>) {
    let text = message(result);
    if !text.is_empty() {
        row(out, "msg", &text);
    }
    if result.get("failed_when_result") == Some(&Value::Bool(true)) {
        row(out, "because", "its `failed_when` is true");
    }
    if let Some(attempts) = result.get("attempts").and_then(Value::as_u64).filter(|n| *n > 1) {
        row(out, "tried", &words::count(usize::try_from(attempts).unwrap_or(usize::MAX), "time"));
    }
    if let Some(assertion) = result.get("assertion") {
        row(out, "assertion", &plain(assertion));
    }
    if let Some(rc) = result.get("rc") {
        row(out, "exit status", &rc.to_string());
    }
    for stream in ["stdout", "stderr"] {
        if let Some(Value::String(text)) = result.get(stream)
            && !text.trim().is_empty()
        {
            let lines: Vec<_> = text.trim_end().lines().collect();
            let skipped = lines.len().saturating_sub(OUTPUT_LINES);
            let mut shown = String::new();
            if skipped > 0 {
                let _ = writeln!(shown, "[... {} before]", words::count(skipped, "line"));
            }
            shown.push_str(&lines[skipped..].join("\n"));
            row(out, stream, &shown);
        }
    }
}

/// A value as people write it: text without quotes.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
