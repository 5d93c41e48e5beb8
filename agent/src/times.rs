//! Times as Ansible prints them.
//!
//! Owns: the formats of `start`, `end`, `delta` and the like. Must not: measure anything.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// The host's local time.
#[must_use]
pub fn local(at: SystemTime) -> Zoned {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::system())
}

/// `2026-11-21 03:14:15.926535`, local time.
#[must_use]
pub fn stamp(at: SystemTime) -> String {
    local(at).strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// `0:00:01.250000`, with days in front when there are any.
#[must_use]
pub fn delta(took: Duration) -> String {
    let seconds = took.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let front = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        n => format!("{n} days, "),
    };
    format!("{front}{hours}:{minutes:02}:{:02}.{:06}", seconds % 60, took.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_printed_as_python_does() {
        assert_eq!(delta(Duration::from_micros(1_250_000)), "0:00:01.250000");
        assert_eq!(delta(Duration::from_secs(2 * 86400 + 3661)), "2 days, 1:01:01.000000");
    }
}
