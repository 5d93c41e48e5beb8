//! Python's arithmetic, `%` formatting and slices.
//!
//! Owns: what operators do with values that are defined. Must not: evaluate expressions.

use minijinja::Value;
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::ValueKind;

use super::error::{R, TemplateError};
use super::program::Binary;
use super::values::{as_float, as_int, int, is_list, items, list, plain, text, type_name};

fn unsupported(symbol: &str, a: &Value, b: &Value) -> TemplateError {
    TemplateError::of_type(format!(
        "unsupported operand type(s) for {symbol}: '{}' and '{}'",
        type_name(a),
        type_name(b)
    ))
}

fn too_big() -> TemplateError {
    TemplateError::value("the number is too big to calculate with")
}

/// Applies a binary operator.
///
/// # Errors
/// Types it has no meaning for, division by zero, numbers beyond 128 bits.
pub(super) fn binary(operator: Binary, a: &Value, b: &Value) -> R<Value> {
    match operator {
        Binary::Add if is_list(a) && is_list(b) => {
            let mut out = items(a)?;
            out.extend(items(b)?);
            return Ok(list(out));
        }
        Binary::Add => {
            if let (Some(x), Some(y)) = (a.as_str(), b.as_str()) {
                return Ok(Value::from([x, y].concat()));
            }
            if a.kind() == ValueKind::String {
                return Err(TemplateError::of_type(format!(
                    "can only concatenate str (not \"{}\") to str",
                    type_name(b)
                ))
                .or_help(Some("`~` joins any two values as text".to_owned())));
            }
        }
        Binary::Mul => {
            for (sequence, times) in [(a, b), (b, a)] {
                let Some(times) = as_int(times) else { continue };
                let times = usize::try_from(times.max(0)).map_err(|_| too_big())?;
                if let Some(s) = sequence.as_str() {
                    if s.len().saturating_mul(times) > 100_000_000 {
                        return Err(too_big());
                    }
                    return Ok(Value::from(s.repeat(times)));
                }
                if is_list(sequence) {
                    let all = items(sequence)?;
                    if all.len().saturating_mul(times) > 10_000_000 {
                        return Err(too_big());
                    }
                    return Ok(list(std::iter::repeat_n(all, times).flatten().collect()));
                }
            }
        }
        Binary::Sub => {
            if let Some(difference) = super::filters::subtract(a, b) {
                return Ok(difference);
            }
        }
        Binary::Rem if a.kind() == ValueKind::String => return percent(a.as_str().unwrap_or_default(), b),
        _ => {}
    }
    let symbol = match operator {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Rem => "%",
        Binary::Pow => "** or pow()",
        Binary::Concat => "~",
    };
    if let (Some(x), Some(y)) = (as_int(a), as_int(b)) {
        return integers(operator, x, y);
    }
    match (as_float(a), as_float(b)) {
        (Some(x), Some(y)) => floats(operator, x, y),
        _ => Err(unsupported(symbol, a, b)),
    }
}

fn integers(operator: Binary, x: i128, y: i128) -> R<Value> {
    if y == 0 && matches!(operator, Binary::Div | Binary::FloorDiv | Binary::Rem) {
        return Err(TemplateError::value("division by zero"));
    }
    let result = match operator {
        Binary::Add => x.checked_add(y),
        Binary::Sub => x.checked_sub(y),
        Binary::Mul => x.checked_mul(y),
        Binary::Div => return Ok(Value::from(x as f64 / y as f64)),
        Binary::FloorDiv => {
            x.checked_div(y).map(|q| if (x % y != 0) && ((x < 0) != (y < 0)) { q - 1 } else { q })
        }
        Binary::Rem => x.checked_rem(y).map(|r| if r != 0 && ((r < 0) != (y < 0)) { r + y } else { r }),
        Binary::Pow if y < 0 => {
            if x == 0 {
                return Err(TemplateError::value("0 cannot be raised to a negative power"));
            }
            return Ok(Value::from((x as f64).powf(y as f64)));
        }
        Binary::Pow => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        Binary::Concat => None,
    };
    result.map(int).ok_or_else(too_big)
}

fn floats(operator: Binary, x: f64, y: f64) -> R<Value> {
    if y == 0.0 && matches!(operator, Binary::Div | Binary::FloorDiv | Binary::Rem) {
        return Err(TemplateError::value("float division by zero"));
    }
    Ok(Value::from(match operator {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::FloorDiv => (x / y).floor(),
        Binary::Rem => {
            let r = x % y;
            if r != 0.0 && ((r < 0.0) != (y < 0.0)) { r + y } else { r }
        }
        Binary::Pow => x.powf(y),
        Binary::Concat => return Err(TemplateError::value("`~` takes text")),
    }))
}

/// Unary minus.
pub(super) fn negate(value: &Value) -> R<Value> {
    if let Some(number) = as_int(value) {
        return number.checked_neg().map(int).ok_or_else(too_big);
    }
    as_float(value).map(|f| Value::from(-f)).ok_or_else(|| {
        TemplateError::of_type(format!("bad operand type for unary -: '{}'", type_name(value)))
    })
}

/// `'%s' % values`.
fn percent(template: &str, values: &Value) -> R<Value> {
    let args = if values.is_tuple() { items(values)? } else { vec![values.clone()] };
    printf(template, args)
}

/// Python's printf-style formatting.
///
/// # Errors
/// A format that does not fit its values.
pub(super) fn printf(template: &str, args: Vec<Value>) -> R<Value> {
    let (template, args) = with_repr(template, args)?;
    let args = args.into_iter().map(shown).collect::<R<Vec<_>>>()?;
    format(FormatStyle::Printf, &template, &args).map(Value::from).map_err(|e| {
        TemplateError::value(format!("the text cannot be formatted: {}", e.detail().unwrap_or("bad format")))
    })
}

/// Makes `%r` of what the formatter underneath knows: `%s` of the value's `repr`.
fn with_repr(template: &str, mut args: Vec<Value>) -> R<(String, Vec<Value>)> {
    if !template.contains('r') {
        return Ok((template.to_owned(), args));
    }
    let mut out = String::with_capacity(template.len());
    let mut chars = template.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        out.push(c);
        if c != '%' {
            continue;
        }
        while let Some(c) = chars.next() {
            match c {
                '%' => {
                    out.push(c);
                    break;
                }
                '*' => next += 1,
                'r' => {
                    out.push('s');
                    if let Some(arg) = args.get_mut(next) {
                        *arg = Value::from(super::values::repr(arg)?);
                    }
                    next += 1;
                    break;
                }
                c if c.is_ascii_alphabetic() && !matches!(c, 'h' | 'l' | 'L') => {
                    out.push(c);
                    next += 1;
                    break;
                }
                '(' => {
                    out.push(c);
                    for c in chars.by_ref() {
                        out.push(c);
                        if c == ')' {
                            break;
                        }
                    }
                    continue;
                }
                _ => {}
            }
            out.push(c);
        }
    }
    Ok((out, args))
}

/// A value in the form in which the formatter shows it as Python would.
pub(super) fn shown(value: Value) -> R<Value> {
    Ok(match value.kind() {
        ValueKind::Number if !value.is_integer() => value,
        ValueKind::Map => plain(value)?,
        ValueKind::Seq | ValueKind::Iterable => Value::from(text(&value)?),
        ValueKind::None | ValueKind::Plain => Value::from(text(&value)?),
        _ => value,
    })
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: &Value, [start, stop, step]: [Option<i128>; 3]) -> R<Value> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(TemplateError::value("slice step cannot be zero"));
    }
    let pick = |length: usize| -> Vec<usize> {
        let length = length as i128;
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let clamp = |bound: i128| (if bound < 0 { bound + length } else { bound }).clamp(low, high);
        let mut at = start.map_or(if step > 0 { low } else { high }, clamp);
        let end = stop.map_or(if step > 0 { high } else { low }, clamp);
        let mut out = Vec::new();
        while (step > 0 && at < end) || (step < 0 && at > end) {
            out.push(at as usize);
            at += step;
        }
        out
    };
    if let Some(s) = value.as_str() {
        let chars: Vec<char> = s.chars().collect();
        return Ok(Value::from(pick(chars.len()).into_iter().map(|at| chars[at]).collect::<String>()));
    }
    if is_list(value) {
        let all = items(value)?;
        return Ok(list(pick(all.len()).into_iter().map(|at| all[at].clone()).collect()));
    }
    Err(TemplateError::of_type(format!("'{}' object is not subscriptable by a slice", type_name(value))))
}
