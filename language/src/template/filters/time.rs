//! Dates and times.

use std::fmt;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::{Timestamp, Zoned};
use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

use crate::template::error::{R, TemplateError};
use crate::template::eval::Cx;
use crate::template::registry::{Args, Row};
use crate::template::values::{as_float, int, text, truth};

pub(super) const TABLE: &[Row] = &[
    Row("to_datetime", "string format", to_datetime),
    Row("strftime", "string_format second utc", strftime),
];

/// Python's `datetime` without a zone.
#[derive(Debug)]
struct Moment(DateTime);

/// The difference of two of them.
#[derive(Debug)]
struct Span(jiff::SignedDuration);

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(Value::from(match key.as_str()? {
            "year" => i64::from(self.0.year()),
            "month" => i64::from(self.0.month()),
            "day" => i64::from(self.0.day()),
            "hour" => i64::from(self.0.hour()),
            "minute" => i64::from(self.0.minute()),
            "second" => i64::from(self.0.second()),
            "microsecond" => i64::from(self.0.subsec_nanosecond() / 1000),
            _ => return None,
        }))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.subsec_nanosecond() / 1000;
        let shown = self.0.strftime("%Y-%m-%d %H:%M:%S");
        if micros == 0 { write!(f, "{shown}") } else { write!(f, "{shown}.{micros:06}") }
    }
}

impl Object for Span {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let total = self.0.as_secs();
        Some(Value::from(match key.as_str()? {
            "days" => total.div_euclid(86_400),
            "seconds" => total.rem_euclid(86_400),
            "microseconds" => i64::from(self.0.subsec_nanos() / 1000),
            _ => return None,
        }))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let (days, rest) = (total.div_euclid(86_400), total.rem_euclid(86_400));
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        write!(f, "{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
    }
}

/// A date and time as a value.
pub(in crate::template) fn datetime_value(moment: DateTime) -> Value {
    Value::from_object(Moment(moment))
}

/// True for dates and their differences.
pub(in crate::template) fn is_datetime(value: &Value) -> bool {
    value.downcast_object_ref::<Moment>().is_some() || value.downcast_object_ref::<Span>().is_some()
}

/// True for methods that such values have.
pub(in crate::template) fn datetime_has(name: &str) -> bool {
    matches!(
        name,
        "strftime" | "isoformat" | "timestamp" | "total_seconds" | "weekday" | "isoweekday" | "date" | "time"
    )
}

/// Calls a method of a date.
///
/// # Errors
/// A method the value does not have, or a format that is none.
pub(in crate::template) fn datetime_method(_: &mut Cx, of: &Value, name: &str, args: &[Value]) -> R<Value> {
    if let Some(span) = of.downcast_object_ref::<Span>() {
        return match name {
            "total_seconds" => Ok(Value::from(span.0.as_secs_f64())),
            _ => Err(TemplateError::of_type(format!("a time difference has no method `{name}`"))),
        };
    }
    let Some(moment) = of.downcast_object_ref::<Moment>() else {
        return Err(TemplateError::of_type(format!("this value has no method `{name}`")));
    };
    let utc =
        || moment.0.to_zoned(jiff::tz::TimeZone::system()).map_err(|e| TemplateError::value(e.to_string()));
    Ok(match name {
        "strftime" => {
            let format = args.first().map_or(Ok(String::new()), text)?;
            Value::from(format_time(&utc()?, &format)?)
        }
        "isoformat" => Value::from(of.to_string().replacen(' ', "T", 1)),
        "timestamp" => Value::from(utc()?.timestamp().as_millisecond() as f64 / 1000.0),
        "weekday" => int(i128::from(moment.0.weekday().to_monday_zero_offset())),
        "isoweekday" => int(i128::from(moment.0.weekday().to_monday_one_offset())),
        "date" => Value::from(moment.0.strftime("%Y-%m-%d").to_string()),
        "time" => Value::from(moment.0.strftime("%H:%M:%S").to_string()),
        _ => return Err(TemplateError::of_type(format!("a date has no method `{name}`"))),
    })
}

/// The difference of two dates, if both are dates.
pub(in crate::template) fn subtract(a: &Value, b: &Value) -> Option<Value> {
    let (a, b) = (a.downcast_object_ref::<Moment>()?, b.downcast_object_ref::<Moment>()?);
    Some(Value::from_object(Span(a.0.duration_since(b.0))))
}

/// Formats by `strftime` directives.
///
/// # Errors
/// A directive that does not exist.
pub(in crate::template) fn format_time(moment: &Zoned, format: &str) -> R<String> {
    jiff::fmt::strtime::format(format, moment)
        .map_err(|e| TemplateError::value(format!("`{format}` is no time format: {e}")))
}

fn to_datetime(_: &mut Cx, a: &Args) -> R<Value> {
    let (s, format) = (a.text()?, a.text_or(1, "%Y-%m-%d %H:%M:%S")?);
    let parsed = jiff::fmt::strtime::parse(&format, &s)
        .and_then(|parts| parts.to_datetime().or_else(|_| parts.to_date().map(|d| d.at(0, 0, 0, 0))));
    parsed.map(datetime_value).map_err(|e| a.refuse(format!("`{s}` does not fit `{format}`: {e}")))
}

fn strftime(_: &mut Cx, a: &Args) -> R<Value> {
    let format = a.text()?;
    let moment = match a.some(1) {
        Some(second) => {
            let seconds = as_float(second)
                .or_else(|| second.as_str().and_then(|s| s.trim().parse().ok()))
                .ok_or_else(|| a.wrong(1, "a number of seconds", second))?;
            Timestamp::from_second(seconds.floor() as i64)
                .map_err(|e| a.refuse(e))?
                .to_zoned(jiff::tz::TimeZone::system())
        }
        None => Zoned::now(),
    };
    let moment = if a.get(2).map_or(Ok(false), truth)? {
        moment.with_time_zone(jiff::tz::TimeZone::UTC)
    } else {
        moment
    };
    format_time(&moment, &format).map(Value::from)
}
