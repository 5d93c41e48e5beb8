//! From a part of a scalar's value back to the bytes of the file that wrote it.
//!
//! Owns: plain, quoted, literal and folded forms. Must not: guess; what cannot be told is `None`.

use std::ops::Range;

/// Finds `part` of `value` in `raw`, the scalar as it stands in the file (quotes and block header included).
pub(super) fn locate(raw: &str, value: &str, part: Range<usize>) -> Option<Range<usize>> {
    let wanted = value.get(part.clone())?;
    if raw == value {
        return Some(part);
    }
    let shifted = |by: usize| part.start + by..part.end + by;
    if raw.starts_with(['|', '>']) {
        return in_block(raw, value, &part).or_else(|| only_occurrence(raw, wanted));
    }
    let inner = raw.strip_prefix(['"', '\'']).and_then(|r| r.strip_suffix(['"', '\'']));
    match inner {
        Some(inner) if inner == value => Some(shifted(1)),
        None if raw.trim_end() == value => Some(shifted(0)),
        _ => only_occurrence(raw, wanted),
    }
}

/// Literal blocks keep lines one to one, so line and column translate by the indentation alone.
fn in_block(raw: &str, value: &str, part: &Range<usize>) -> Option<Range<usize>> {
    if !raw.starts_with('|') {
        return None;
    }
    let before = &value[..part.start];
    let nth = before.matches('\n').count();
    let value_line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let value_line = value[value_line_start..].lines().next().unwrap_or("");
    let mut raw_line_start = raw.find('\n')? + 1;
    for _ in 0..nth {
        raw_line_start += raw[raw_line_start..].find('\n')? + 1;
    }
    let raw_line = raw[raw_line_start..].lines().next().unwrap_or("");
    let indent = raw_line.strip_suffix(value_line)?.len();
    let start = raw_line_start + indent + (part.start - value_line_start);
    let in_line = (part.end - value_line_start).min(value_line.len());
    Some(start..raw_line_start + indent + in_line.max(part.start - value_line_start))
}

fn only_occurrence(raw: &str, wanted: &str) -> Option<Range<usize>> {
    if wanted.is_empty() {
        return None;
    }
    let mut found = raw.match_indices(wanted);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Some(at..at + wanted.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn part_of_a_scalar_is_found_in_every_style() {
        for (raw, value, part, wanted) in [
            ("a {{ b }}", "a {{ b }}", 5..6, Some("b")),
            ("\"a {{ b }}\"", "a {{ b }}", 5..6, Some("b")),
            ("'it''s {{ b }}'", "it's {{ b }}", 8..9, Some("b")),
            ("|\n    x\n    {{ b }}\n", "x\n{{ b }}\n", 5..6, Some("b")),
            (">-\n    x\n    {{ long }}\n", "x {{ long }}", 5..9, Some("long")),
            ("\"\\x41 x\"", "A x", 0..1, None),
        ] {
            assert_eq!(locate(raw, value, part).map(|r| &raw[r]), wanted, "{raw}");
        }
    }
}
