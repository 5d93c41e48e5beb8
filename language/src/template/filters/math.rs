//! Numbers, sizes and chance.

use std::hash::{BuildHasher as _, Hasher as _};

use minijinja::Value;
use minijinja::value::ValueKind;

use super::python_random::{PythonRandom, Seed};

use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::operators::binary;
use crate::template::program::Binary;
use crate::template::registry::{Args, Row};
use crate::template::values::{as_float, as_int, int, is_list, items, list, text};

pub(super) const TABLE: &[Row] = &[
    Row("abs", "x", abs),
    Row("round", "value precision method", round),
    Row("log", "x base", log),
    Row("pow", "x y", pow),
    Row("root", "x base", root),
    Row("random", "end start step seed", random),
    Row("shuffle", "mylist seed", shuffle),
    Row("human_readable", "size isbits unit", human_readable),
    Row("human_to_bytes", "size default_unit isbits", human_to_bytes),
    Row("filesizeformat", "value binary", filesizeformat),
];

fn abs(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    match as_int(value) {
        Some(number) => Ok(int(number.abs())),
        None => as_float(value).map(|f| Value::from(f.abs())).ok_or_else(|| a.wrong(0, "a number", value)),
    }
}

fn round(_: &mut Cx, a: &Args) -> R<Value> {
    let number = a.float_at(0)?;
    let scale = 10f64.powi(a.int_or(1, 0)?.clamp(-300, 300) as i32);
    let scaled = number * scale;
    let rounded = match a.text_or(2, "common")?.as_str() {
        "common" => {
            // Python rounds halves to the even neighbour, judging by the exact value and not the scaled one.
            let precision = a.int_or(1, 0)?;
            if (0..=17).contains(&precision) {
                return Ok(Value::from(
                    format!("{number:.*}", precision as usize).parse::<f64>().unwrap_or(number),
                ));
            }
            scaled.round_ties_even()
        }
        "ceil" => scaled.ceil(),
        "floor" => scaled.floor(),
        other => {
            return Err(a.refuse(format!("`{other}` is no way to round; there are common, ceil and floor")));
        }
    };
    Ok(Value::from(rounded / scale))
}

fn log(_: &mut Cx, a: &Args) -> R<Value> {
    let number = a.float_at(0)?;
    if number <= 0.0 {
        return Err(a.refuse("the number has to be positive"));
    }
    Ok(Value::from(match a.some(1) {
        None => number.ln(),
        Some(_) => match a.float_at(1)? {
            10.0 => number.log10(),
            2.0 => number.log2(),
            base => number.ln() / base.ln(),
        },
    }))
}

fn pow(_: &mut Cx, a: &Args) -> R<Value> {
    // Python's `math.pow` always gives a float.
    let power = binary(Binary::Pow, &Value::from(a.float_at(0)?), &Value::from(a.float_at(1)?))?;
    Ok(power)
}

fn root(_: &mut Cx, a: &Args) -> R<Value> {
    let number = a.float_at(0)?;
    Ok(Value::from(match a.some(1) {
        None => number.sqrt(),
        Some(_) => match a.float_at(1)? {
            2.0 => number.sqrt(),
            base => number.powf(1.0 / base),
        },
    }))
}

/// Where random numbers come from.
pub(in crate::template) enum Dice {
    System,
    Seeded(Box<PythonRandom>),
}

impl Dice {
    pub(in crate::template) fn new(seed: Option<&Seed>) -> Self {
        seed.map_or(Self::System, |seed| Self::Seeded(Box::new(PythonRandom::new(seed))))
    }

    /// A number below `limit`; 0 when there is none.
    pub(in crate::template) fn below(&mut self, limit: usize) -> usize {
        let limit = limit as u64;
        let drawn = match self {
            Self::Seeded(random) => random.below(limit),
            Self::System if limit == 0 => 0,
            Self::System => {
                // Passwords are made from this, so it is the system's generator, by way of a random UUID.
                let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
                let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
                hasher.write_u64(high);
                hasher.write_u64(low);
                // A 64-bit number leaves no bias that matters for these limits.
                (hasher.finish() ^ high ^ low.rotate_left(17)) % limit
            }
        };
        usize::try_from(drawn).unwrap_or(usize::MAX)
    }
}

fn dice(a: &Args, at: usize) -> R<Dice> {
    let seed = match a.some(at) {
        None => None,
        Some(value) => Some(match as_int(value).filter(|_| value.kind() != ValueKind::String) {
            Some(number) => Seed::Int(number),
            None => Seed::Text(text(value)?),
        }),
    };
    Ok(Dice::new(seed.as_ref()))
}

fn random(_: &mut Cx, a: &Args) -> R<Value> {
    let mut dice = dice(a, 3)?;
    let value = a.value()?;
    if is_list(value) || value.kind() == ValueKind::String {
        let all = items(value)?;
        if all.is_empty() {
            return Err(a.refuse("the list is empty"));
        }
        return Ok(all[dice.below(all.len())].clone());
    }
    let Some(end) = as_int(value) else { return Err(a.wrong(0, "a list or an integer", value)) };
    let start = a.int_or(1, 0)?;
    let step = a.int_or(2, 1)?;
    if step <= 0 || end <= start {
        return Err(a.refuse(format!("there is no number from {start} below {end} by steps of {step}")));
    }
    let count = (end - start + step - 1) / step;
    let picked = dice.below(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(int(start + picked as i128 * step))
}

fn shuffle(_: &mut Cx, a: &Args) -> R<Value> {
    let mut dice = dice(a, 1)?;
    let mut all = items(a.value()?)?;
    for at in (1..all.len()).rev() {
        let other = dice.below(at + 1);
        all.swap(at, other);
    }
    Ok(list(all))
}

const UNITS: [(char, u32); 8] =
    [('Y', 8), ('Z', 7), ('E', 6), ('P', 5), ('T', 4), ('G', 3), ('M', 2), ('K', 1)];

fn human_readable(_: &mut Cx, a: &Args) -> R<Value> {
    let size = a.float_at(0)?;
    let base = if a.flag(1, false)? { "bits" } else { "Bytes" };
    let unit = a.optional_text(2)?.map(|u| u.to_uppercase());
    let mut chosen = None;
    for (letter, power) in UNITS {
        let limit = 1024f64.powi(power as i32);
        let fits = match &unit {
            None => size >= limit,
            Some(unit) => unit.starts_with(letter),
        };
        if fits {
            chosen = Some((letter, limit));
            break;
        }
    }
    let (limit, suffix) = match chosen {
        Some((letter, limit)) => (limit, format!("{letter}{}", if base == "bits" { "b" } else { "B" })),
        None => (1.0, base.to_owned()),
    };
    Ok(Value::from(format!("{:.2} {suffix}", size / limit)))
}

fn human_to_bytes(_: &mut Cx, a: &Args) -> R<Value> {
    let written = a.text()?;
    let trimmed = written.trim();
    let end = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
    let number: f64 = trimmed[..end].parse().map_err(|_| a.refuse(format!("`{written}` is no size")))?;
    let unit = match trimmed[end..].trim() {
        "" => a.text_or(1, "")?,
        unit => unit.to_owned(),
    };
    let bits = a.flag(2, false)?;
    let factor = match unit.chars().next().map(|c| c.to_ascii_uppercase()) {
        None => 1.0,
        Some('B') => 1.0,
        Some(letter) => match UNITS.iter().find(|(l, _)| *l == letter) {
            Some((_, power)) => 1024f64.powi(*power as i32),
            None => return Err(a.refuse(format!("`{unit}` is no unit of size"))),
        },
    };
    if unit.len() == 2 && bits != unit.ends_with('b') {
        return Err(a.refuse(format!(
            "`{unit}` counts {}",
            if bits { "bytes, not bits" } else { "bits, not bytes" }
        )));
    }
    Ok(int((number * factor).round() as i128))
}

fn filesizeformat(_: &mut Cx, a: &Args) -> R<Value> {
    let bytes = a.float_at(0)?;
    let (base, names): (f64, [&str; 8]) = if a.flag(1, false)? {
        (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
    } else {
        (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
    };
    if bytes == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::from(format!("{} Bytes", bytes.trunc())));
    }
    let mut unit = base;
    for name in names {
        unit *= base;
        if bytes < unit {
            return Ok(Value::from(format!("{:.1} {name}", base * bytes / unit)));
        }
    }
    Ok(Value::from(format!("{:.1} {}", base * bytes / unit, names[7])))
}

/// One value in a `%` format.
///
/// # Errors
/// A format that does not fit.
pub(in crate::template) fn percent_format(format: &str, value: &Value) -> R<Value> {
    binary(Binary::Rem, &Value::from(format), value)
}
