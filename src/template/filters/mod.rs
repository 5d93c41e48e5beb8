//! Filters, one file a family.
//!
//! Owns: the list of families. Must not: implement one here.

use super::registry::Row;

mod basic;
mod collections;
mod json;
mod yaml;
mod paths;
mod regex;
mod text;
mod time;

pub(super) use basic::boolean;
pub(super) use collections::attribute_path;
pub(super) use regex::{Flags as RegexFlags, compile as compile_regex};
pub(super) use time::{
    datetime_has, datetime_method, datetime_value, format_time, is_datetime, subtract,
};

/// Filters that may be given undefined or unknown values.
pub(super) const LENIENT: &[&str] = &["default", "d", "mandatory", "type_debug", "first", "last", "list"];

/// The rows of all families.
pub(super) fn tables() -> Vec<&'static [Row]> {
    vec![basic::TABLE, collections::TABLE, json::TABLE, paths::TABLE, regex::TABLE, text::TABLE, time::TABLE]
}
