//! Words and numbers as people read them.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::journal::Outcome;

/// `34.2s`, `1m 12s`, `2h 03m`.
pub(super) fn took(ms: u64) -> String {
    Took(ms).to_string()
}

/// Milliseconds, shown as [`took`] shows them.
pub(super) struct Took(pub(super) u64);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let seconds = Duration::from_millis(ms).as_secs_f64();
        if seconds < 0.95 {
            write!(f, "{ms}ms")
        } else if seconds < 60.0 {
            write!(f, "{seconds:.1}s")
        } else if seconds < 3600.0 {
            write!(f, "{}m {:02}s", (seconds / 60.0) as u64, seconds as u64 % 60)
        } else {
            write!(f, "{}h {:02}m", (seconds / 3600.0) as u64, (seconds / 60.0) as u64 % 60)
        }
    }
}

/// `09:14:02` in the local time zone.
pub(super) fn clock(at: i64) -> String {
    let mut text = String::new();
    push_clock(at, &mut text);
    text
}

/// Adds what [`clock`] gives.
pub(super) fn push_clock(at: i64, text: &mut String) {
    let second = at.div_euclid(1000);
    LAST.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|(known, _)| *known != second) {
            let text = Timestamp::from_second(second)
                .map(|t| t.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string())
                .unwrap_or_default();
            *last = Some((second, text));
        }
        text.push_str(last.as_ref().map_or("", |(_, text)| text));
    });
}

/// Adds a word and blanks up to this many columns.
pub(super) fn push_padded(word: &str, columns: usize, text: &mut String) {
    text.push_str(word);
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(word.chars().count())));
}

thread_local! {
    /// The last second asked for: events come by the thousand a second, and calendars are slow.
    static LAST: RefCell<Option<(i64, String)>> = const { RefCell::new(None) };
}

/// `09:14:02.117`, for logs; `text` is what was given for `before`.
pub(super) fn clock_ms(at: i64, before: i64, text: &mut String) {
    if at == before && !text.is_empty() {
        return;
    }
    if at.div_euclid(1000) == before.div_euclid(1000) && !text.is_empty() {
        text.truncate(text.len() - 4);
    } else {
        *text = clock(at);
    }
    let _ = write!(text, ".{:03}", at.rem_euclid(1000));
}

/// One word for an outcome.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Changed => "changed",
        Outcome::Skipped => "skipped",
        Outcome::Failed => "FAILED",
        Outcome::FailureIgnored => "ignored",
        Outcome::Unreachable => "UNREACHABLE",
        Outcome::UnreachableIgnored => "ignored",
        Outcome::Cancelled => "cancelled",
    }
}

/// `1 host`, `7 hosts`.
pub(super) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Puts colour around text when wanted.
pub(super) fn paint(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Terminal colour code for an outcome.
pub(super) fn colour_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "32",
        Outcome::Changed => "33",
        Outcome::Skipped => "36",
        Outcome::Failed | Outcome::Unreachable => "31",
        Outcome::FailureIgnored | Outcome::UnreachableIgnored | Outcome::Cancelled => "35",
    }
}

/// Cuts text to a number of columns, ending in `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.len() <= columns || text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_made_from_the_one_before_is_the_same() {
        let mut text = String::new();
        let mut before = 0;
        for at in [0, 0, 7, 999, 1000, 61_002, 61_002, -1] {
            clock_ms(at, before, &mut text);
            before = at;
            assert_eq!(text, format!("{}.{:03}", clock(at), at.rem_euclid(1000)), "{at}");
        }
    }

    #[test]
    fn durations_read_like_speech() {
        let read: Vec<_> = [4, 949, 34_210, 72_000, 7_380_000].into_iter().map(took).collect();
        assert_eq!(read, ["4ms", "949ms", "34.2s", "1m 12s", "2h 03m"]);
    }
}
