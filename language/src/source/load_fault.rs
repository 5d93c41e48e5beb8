//! What a YAML syntax error means to the person who wrote the file.
//!
//! Owns: the words. The parser's own message stays when no better one is known.

use super::{Diagnostic, SourceFile, SourceId, Span};

/// Turns the parser's complaint at a byte into a diagnostic.
pub(super) fn syntax_fault(id: SourceId, file: &SourceFile, at: u32, info: &str) -> Diagnostic {
    let end = file.text.len() as u32;
    let at = at.min(end);
    let place = file.position(at);
    if let Some(found) = unquoted_template(id, file, place.line).or_else(|| tab(id, file, place.line)) {
        return found;
    }
    let next = file.text[at as usize..].chars().next().map_or(0, |c| c.len_utf8() as u32);
    let here = Span { file: id, start: at, end: at + next };
    let line = file.line(place.line);
    let indent = line.len() - line.trim_start().len();
    match info {
        "mapping values are not allowed in this context" | "simple key expect ':'" if colons(line) > 1 => {
            Diagnostic::error("yaml-syntax", "a `:` inside a value that is not quoted", here)
                .label("YAML takes this for a second key on the line")
                .help("put quotes around the value")
        }
        "mapping values are not allowed in this context" => {
            Diagnostic::error("yaml-syntax", "a key cannot stand here", here)
                .label("YAML sees a key inside another value")
                .help("check the indentation of this line and the one above it")
        }
        "simple key expect ':'" => {
            // The parser notices at the next line; the line that lacks the colon is the one before.
            let shown = previous_text_line(file, place.line).unwrap_or(place.line);
            Diagnostic::error("yaml-syntax", "a key without `:`", line_span(id, file, shown))
                .help("write `key: value`; text over several lines is indented under its key")
        }
        _ if info.contains("found unexpected end of stream")
            || info.contains("invalid indentation in quoted") =>
        {
            Diagnostic::error("yaml-syntax", "a quoted text is never closed", here)
                .label("noticed here")
                .help("look for the `\"` or `'` without its partner")
        }
        _ if info.contains("unknown anchor") => {
            Diagnostic::error("yaml-syntax", "this alias names no anchor of the file", here)
                .help("`*name` needs a `&name` above it")
        }
        _ if info.contains("unknown escape character") => {
            Diagnostic::error("yaml-syntax", "an unknown escape in double-quoted text", here)
                .help("write `\\\\` for a backslash, or use single quotes")
        }
        _ if line.trim_start().starts_with(['@', '`', '%'])
            || line.contains(": @")
            || line.contains(": `")
            || line.contains(": %") =>
        {
            Diagnostic::error("yaml-syntax", "text cannot start with this character", here)
                .help("put quotes around the value")
        }
        _ if info.contains("did not find expected ',' or '}'") || info.contains("expected ',' or ']'") => {
            let what = if info.contains('}') { "`,` or `}`" } else { "`,` or `]`" };
            Diagnostic::error("yaml-syntax", format!("{what} is missing before this"), here)
        }
        _ if info.contains("invalid indentation")
            || info.contains("did not find expected")
            || info.contains("not allowed in this context")
            || info.contains("wrongly indented") =>
        {
            let start = file.line_start(place.line) + indent as u32;
            let span = if start <= at {
                Span { file: id, start, end: (at + next).max(start + 1).min(end) }
            } else {
                here
            };
            Diagnostic::error("yaml-syntax", "the indentation of this line fits nothing above it", span)
                .help(format!("it starts in column {}: line it up with its neighbours ({info})", indent + 1))
        }
        _ => Diagnostic::error("yaml-syntax", format!("not valid YAML: {info}"), here),
    }
}

/// `key: {{ name }}`: YAML reads the braces as mappings. The error stands on the line or after it.
fn unquoted_template(id: SourceId, file: &SourceFile, line: usize) -> Option<Diagnostic> {
    (line.saturating_sub(2).max(1)..=line).rev().find_map(|number| {
        let text = file.line(number);
        let body = text.trim_start();
        let body = body.strip_prefix("- ").map_or(body, str::trim_start);
        let value = if body.starts_with("{{") { body } else { body.split_once(": ")?.1.trim_start() };
        if !value.starts_with("{{") && !value.starts_with("{%") {
            return None;
        }
        let start = file.line_start(number) + (text.len() - value.len()) as u32;
        let span = Span { file: id, start, end: start + value.trim_end().len() as u32 };
        Some(
            Diagnostic::error("unquoted-template", "a value that starts with `{{` needs quotes", span)
                .help(format!("write \"{}\"", value.trim_end().replace('"', "'"))),
        )
    })
}

fn tab(id: SourceId, file: &SourceFile, line: usize) -> Option<Diagnostic> {
    (line.saturating_sub(1).max(1)..=line).rev().find_map(|number| {
        let text = file.line(number);
        let blank = &text[..text.len() - text.trim_start().len()];
        let at = blank.find('\t')?;
        let start = file.line_start(number) + at as u32;
        let tabs = blank[at..].bytes().take_while(|b| *b == b'\t').count() as u32;
        Some(
            Diagnostic::error("tab", "a tab in the indentation", Span { file: id, start, end: start + tabs })
                .help("YAML wants spaces; set your editor to insert them"),
        )
    })
}

fn colons(line: &str) -> usize {
    line.match_indices(':')
        .filter(|(at, _)| line[at + 1..].starts_with([' ', '\t']) || line.len() == at + 1)
        .count()
}

fn previous_text_line(file: &SourceFile, line: usize) -> Option<usize> {
    (1..line).rev().find(|n| {
        let text = file.line(*n).trim();
        !text.is_empty() && !text.starts_with('#')
    })
}

fn line_span(id: SourceId, file: &SourceFile, line: usize) -> Span {
    let text = file.line(line);
    let start = file.line_start(line) + (text.len() - text.trim_start().len()) as u32;
    Span { file: id, start, end: start + text.trim().len() as u32 }
}
