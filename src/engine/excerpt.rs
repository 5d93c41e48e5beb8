//! The lines of a task that failed, with a marker below the action.

use crate::resolve::Task;
use crate::source::Sources;

/// Lines shown at most.
const LINES: usize = 9;

/// Source lines from the task's start, numbered, the action underlined.
pub(super) fn around(sources: &Sources, task: &Task) -> String {
    let file = sources.file(task.span.file);
    let start = sources.position(task.span);
    let first = start.line;
    // A task ends where a line stands further left than its keys.
    let inside = |line: usize| {
        let text = file.line(line);
        text.trim().is_empty() || text.chars().take_while(|c| *c == ' ').count() >= start.column - 1
    };
    let mut last = first;
    while last < file.line_count() && last + 1 - first < LINES && inside(last + 1) {
        last += 1;
    }
    while last > first && file.line(last).trim().is_empty() {
        last -= 1;
    }
    let mark = sources.position(task.action.written.span);
    let width = last.to_string().len();
    let mut out = String::new();
    for line in first..=last {
        out.push_str(&format!("{line:>width$} │ {}\n", file.line(line)));
        if line == mark.line {
            let wide = task.action.written.value.chars().count();
            out.push_str(&format!("{:>width$} │ {}{}\n", "", " ".repeat(mark.column - 1), "─".repeat(wide)));
        }
    }
    out
}
