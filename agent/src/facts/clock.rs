//! The host's clock: `date_time`, `uptime_seconds`, `loadavg`.
//!
//! Owns: reading the time once, so that all its spellings agree.

use jiff::Zoned;
use serde_json::{Value, json};

use super::Facts;
use crate::system;

pub(super) fn date_time(facts: &mut Facts) {
    facts.put("date_time", spelled(&Zoned::now()));
}

fn spelled(now: &Zoned) -> Value {
    let utc = now.with_time_zone(jiff::tz::TimeZone::UTC);
    let text = |format: &str| now.strftime(format).to_string();
    let epoch = now.timestamp().as_second().to_string();
    let micros = utc.subsec_nanosecond() / 1000;
    json!({
        "year": text("%Y"),
        "month": text("%m"),
        "weekday": text("%A"),
        "weekday_number": text("%w"),
        "weeknumber": text("%W"),
        "day": text("%d"),
        "hour": text("%H"),
        "minute": text("%M"),
        "second": text("%S"),
        "epoch": epoch,
        "epoch_int": epoch,
        "date": text("%Y-%m-%d"),
        "time": text("%H:%M:%S"),
        "iso8601_micro": format!("{}.{micros:06}Z", utc.strftime("%Y-%m-%dT%H:%M:%S")),
        "iso8601": utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "iso8601_basic": format!("{}{:06}", text("%Y%m%dT%H%M%S"), now.subsec_nanosecond() / 1000),
        "iso8601_basic_short": text("%Y%m%dT%H%M%S"),
        "tz": text("%Z"),
        "tz_dst": summer_name(now),
        "tz_offset": text("%z"),
    })
}

/// The zone's name in summer time, or its only name: what the C library keeps in `tzname[1]`.
fn summer_name(now: &Zoned) -> String {
    let zone = now.time_zone();
    let name = |month| {
        let moment = jiff::civil::date(now.year(), month, 1).to_zoned(zone.clone()).ok()?;
        let info = zone.to_offset_info(moment.timestamp());
        info.dst().is_dst().then(|| info.abbreviation().to_owned())
    };
    name(7).or_else(|| name(1)).unwrap_or_else(|| now.strftime("%Z").to_string())
}

pub(super) fn uptime(facts: &mut Facts) {
    let seconds = system::word("/proc/uptime")
        .and_then(|t| t.split_whitespace().next()?.split('.').next()?.parse::<u64>().ok());
    if let Some(seconds) = seconds {
        facts.put("uptime_seconds", json!(seconds));
    }
}

pub(super) fn load(facts: &mut Facts) {
    let Some(text) = system::word("/proc/loadavg") else { return };
    let mut numbers = text.split_whitespace().filter_map(|w| w.parse::<f64>().ok());
    if let (Some(one), Some(five), Some(fifteen)) = (numbers.next(), numbers.next(), numbers.next()) {
        facts.put("loadavg", json!({"1m": one, "5m": five, "15m": fifteen}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_of_one_moment() {
        // A rule instead of a zone's name: the machine may have no zone database.
        let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let now = jiff::civil::date(2024, 7, 1).at(1, 2, 3, 45_000).to_zoned(zone).expect("a moment");
        let facts = spelled(&now);
        assert_eq!(facts["iso8601_micro"], "2024-06-30T23:02:03.000045Z");
        assert_eq!(facts["iso8601_basic"], "20240701T010203000045");
        assert_eq!((facts["weekday"].as_str(), facts["weeknumber"].as_str()), (Some("Monday"), Some("27")));
        assert_eq!((facts["tz"].as_str(), facts["tz_dst"].as_str()), (Some("CEST"), Some("CEST")));
        assert_eq!(facts["tz_offset"], "+0200");
        assert_eq!(facts["epoch"], "1719788523");
    }
}
