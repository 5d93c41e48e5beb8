//! The lines of a task that failed, with a marker below the action.

use crate::resolve::Task;
use crate::source::{Sources, Span};

/// Lines shown at most.
const LINES: usize = 9;

/// Source lines from the task's start, numbered, the action underlined.
pub(super) fn around(sources: &Sources, task: &Task) -> String {
    let file = sources.file(task.span.file);
    let first = sources.position(task.span).line;
    let end = Span { start: task.span.end.saturating_sub(1).max(task.span.start), ..task.span };
    let last = sources.position(end).line.min(first + LINES - 1).min(file.line_count());
    let mark = sources.position(task.action.written.span);
    let width = last.to_string().len();
    let mut out = String::new();
    for line in first..=last {
        let text = file.line(line);
        if line == last && text.trim().is_empty() {
            break;
        }
        out.push_str(&format!("{line:>width$} │ {text}\n"));
        if line == mark.line {
            let wide = task.action.written.value.chars().count();
            out.push_str(&format!("{:>width$} │ {}{}\n", "", " ".repeat(mark.column - 1), "─".repeat(wide)));
        }
    }
    out
}
