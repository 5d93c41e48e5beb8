//! Filters, one file a family.
//!
//! Owns: the list of families. Must not: implement one here.

use super::registry::Row;

mod basic;
mod collections;
mod crypt;
mod hashing;
mod jmespath;
mod json;
mod mappings;
mod math;
mod net;
mod paths;
mod python_random;
mod regex;
mod text;
mod time;
mod url;
mod yaml;

pub(super) use basic::boolean;
pub(super) use collections::{attribute_path, cartesian};
pub(super) use crypt::crypt;
pub(super) use json::compact as json_text;
pub(super) use mappings::subelement_pairs;
pub(super) use math::{Dice, percent_format};
pub(super) use paths::{environment, glob, home_expanded};
pub(super) use python_random::Seed;
pub(super) use regex::{Flags as RegexFlags, compile as compile_regex};
pub(super) use time::{datetime_has, datetime_method, datetime_value, format_time, is_datetime, subtract};

/// Filters that may be given undefined or unknown values.
pub(super) const LENIENT: &[&str] = &["default", "d", "mandatory", "type_debug", "first", "last", "list"];

/// The rows of all families.
pub(super) fn tables() -> Vec<&'static [Row]> {
    vec![
        basic::TABLE,
        collections::TABLE,
        mappings::TABLE,
        json::TABLE,
        hashing::TABLE,
        math::TABLE,
        net::TABLE,
        url::TABLE,
        paths::TABLE,
        regex::TABLE,
        text::TABLE,
        time::TABLE,
    ]
}
