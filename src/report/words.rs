//! Words and numbers as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::journal::Outcome;

/// `34.2s`, `1m 12s`, `2h 03m`.
pub(super) fn took(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs_f64();
    if seconds < 0.95 {
        format!("{ms}ms")
    } else if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else if seconds < 3600.0 {
        format!("{}m {:02}s", (seconds / 60.0) as u64, seconds as u64 % 60)
    } else {
        format!("{}h {:02}m", (seconds / 3600.0) as u64, (seconds / 60.0) as u64 % 60)
    }
}

/// `09:14:02` in the local time zone.
pub(super) fn clock(at: i64) -> String {
    Timestamp::from_millisecond(at)
        .map(|t| t.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string())
        .unwrap_or_default()
}

/// `09:14:02.117`, for logs.
pub(super) fn clock_ms(at: i64) -> String {
    Timestamp::from_millisecond(at)
        .map(|t| t.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f").to_string())
        .unwrap_or_default()
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
    if text.chars().count() <= columns {
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
    fn durations_read_like_speech() {
        let read: Vec<_> = [4, 949, 34_210, 72_000, 7_380_000].into_iter().map(took).collect();
        assert_eq!(read, ["4ms", "949ms", "34.2s", "1m 12s", "2h 03m"]);
    }
}
