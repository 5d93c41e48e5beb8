//! Plain scalars by the rules of YAML 1.1 as `PyYAML` applies them.
//!
//! Owns: which plain text is a boolean, a number or nothing. Must not: look at quoted text, which is always text.

use std::sync::Arc;

use super::Yaml;

/// The value of a plain scalar.
pub(crate) fn resolve(text: &str) -> Yaml {
    constant(text)
        .or_else(|| integer(text).map(Yaml::Int))
        .or_else(|| float(text).map(Yaml::Float))
        .unwrap_or_else(|| Yaml::Str(Arc::from(text)))
}

fn constant(text: &str) -> Option<Yaml> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Yaml::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Yaml::Bool(false),
        _ => return None,
    })
}

/// `12`, `1_000`, `0644`, `0x1f`, `0b11`, `1:30`; `None` when it is no integer or does not fit.
pub(super) fn integer(text: &str) -> Option<i64> {
    let (negative, body) = sign(text);
    if !body.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = if let Some(digits) = body.strip_prefix("0b") {
        radix(digits, 2)?
    } else if let Some(digits) = body.strip_prefix("0x") {
        radix(digits, 16)?
    } else if body.contains(':') {
        sexagesimal(body)?
    } else if body.len() > 1 && body.starts_with('0') {
        radix(body, 8)?
    } else {
        radix(body, 10)?
    };
    Some(if negative { -value } else { value })
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn radix(digits: &str, radix: u32) -> Option<i64> {
    let bare = digits.replace('_', "");
    // `from_str_radix` would take a second sign.
    if !bare.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(&bare, radix).ok()
}

fn sexagesimal(body: &str) -> Option<i64> {
    let mut parts = body.split(':');
    let first = parts.next().filter(|p| p.starts_with(|c: char| ('1'..='9').contains(&c)))?;
    let mut value = radix(first, 10)?;
    for part in parts {
        value = value.checked_mul(60)?.checked_add(i64::from(minutes(part)?))?;
    }
    Some(value)
}

/// `[0-5]?[0-9]`
fn minutes(part: &str) -> Option<u8> {
    let fits = matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    fits.then(|| part.parse().ok()).flatten()
}

/// `1.5`, `.5`, `1.`, `1.5e+3` (the sign is required), `1:30.5`, `.inf`, `.nan`.
pub(super) fn float(text: &str) -> Option<f64> {
    let (negative, body) = sign(text);
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let signed = |value: f64| if negative { -value } else { value };
    if matches!(body, ".inf" | ".Inf" | ".INF") {
        return Some(signed(f64::INFINITY));
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(f64::NAN);
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-'])?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
    }
    let (whole, fraction) = mantissa.split_once('.')?;
    if !fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return None;
    }
    let fraction = fraction.replace('_', "");
    let whole = if whole.is_empty() {
        // `.5` takes no sign in YAML 1.1, and `.` alone is text.
        if fraction.is_empty() || text.len() != body.len() {
            return None;
        }
        "0".to_owned()
    } else if whole.contains(':') {
        if exponent.is_some() {
            return None;
        }
        let mut parts = whole.split(':');
        let first = parts.next().filter(|p| p.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut value = radix(first, 10)?;
        for part in parts {
            value = value.checked_mul(60)?.checked_add(i64::from(minutes(part)?))?;
        }
        value.to_string()
    } else {
        let bare = whole.replace('_', "");
        if !whole.starts_with(|c: char| c.is_ascii_digit()) || !bare.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        bare
    };
    let exponent = exponent.map(|e| format!("e{e}")).unwrap_or_default();
    format!("{whole}.{fraction}0{exponent}").parse().ok().map(signed)
}

#[cfg(test)]
mod tests {
    use super::{Yaml, resolve};

    #[test]
    fn plain_scalars_read_as_pyyaml_reads_them() {
        for (text, value) in [
            ("yes", Yaml::Bool(true)),
            ("Off", Yaml::Bool(false)),
            ("", Yaml::Null),
            ("~", Yaml::Null),
            ("0644", Yaml::Int(420)),
            ("0", Yaml::Int(0)),
            ("-12", Yaml::Int(-12)),
            ("+1_000", Yaml::Int(1000)),
            ("0x1F", Yaml::Int(31)),
            ("0b1_01", Yaml::Int(5)),
            ("1:30", Yaml::Int(90)),
            ("22:22", Yaml::Int(1342)),
            ("1:30:00", Yaml::Int(5400)),
            ("1.5", Yaml::Float(1.5)),
            ("1.", Yaml::Float(1.0)),
            (".5", Yaml::Float(0.5)),
            ("1.5e+3", Yaml::Float(1500.0)),
            ("1:30.5", Yaml::Float(90.5)),
            ("-.inf", Yaml::Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }

    #[test]
    fn lookalikes_stay_text() {
        for text in [
            "y",
            "n",
            "tRUE",
            "08",
            "0o14",
            "1e3",
            "1.5e3",
            "1.2.3",
            "0:30",
            "1:60",
            "2001-12-14",
            "+",
            "-",
            ".",
            "=",
            "_1",
            "-.5",
            "99999999999999999999",
            "1:",
            "0x",
            "10.0.0.1",
            "--1",
            "1.5e",
            "1-2",
        ] {
            assert_eq!(resolve(text), Yaml::Str(text.into()), "{text}");
        }
    }
}
