//! JSON and YAML, byte for byte as Python writes them.

use std::fmt::Write as _;

use minijinja::Value;
use minijinja::value::ValueKind;

use super::yaml;
use crate::template::error::{R, TemplateError};
use crate::template::eval::Cx;
use crate::template::registry::{Args, Row};
use crate::template::values::{
    as_float, as_int, is_list, is_map, items, list, pairs, plain, text, truth, type_name,
};

pub(super) const TABLE: &[Row] = &[
    Row("to_json", "a **options", to_json),
    Row("to_nice_json", "a indent sort_keys **options", to_nice_json),
    Row("tojson", "value indent", tojson),
    Row("from_json", "a profile", from_json),
    Row("to_yaml", "a default_flow_style **options", to_yaml),
    Row("to_nice_yaml", "a indent **options", to_nice_yaml),
    Row("from_yaml", "data", from_yaml),
    Row("from_yaml_all", "data", from_yaml_all),
];

/// How JSON is written.
#[derive(Debug, Clone)]
pub(in crate::template) struct Style {
    pub(in crate::template) indent: Option<usize>,
    pub(in crate::template) sort_keys: bool,
    pub(in crate::template) ascii: bool,
    pub(in crate::template) item_separator: String,
    pub(in crate::template) key_separator: String,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            indent: None,
            sort_keys: false,
            ascii: true,
            item_separator: ", ".to_owned(),
            key_separator: ": ".to_owned(),
        }
    }
}

/// Writes a value as JSON.
///
/// # Errors
/// An undefined part, or a key that JSON cannot have.
pub(in crate::template) fn write(value: &Value, style: &Style) -> R<String> {
    let mut out = String::new();
    write_value(value, style, 0, &mut out)?;
    Ok(out)
}

fn write_str(s: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c if ascii && !c.is_ascii() => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn newline(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent * depth));
    }
}

fn key_text(key: &Value) -> R<String> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
        ValueKind::Bool => key.is_true().to_string(),
        ValueKind::None => "null".to_owned(),
        ValueKind::Number => text(key)?,
        _ => {
            return Err(TemplateError::of_type(format!(
                "keys must be str, int, float, bool or None, not {}",
                type_name(key)
            )));
        }
    })
}

fn write_value(value: &Value, style: &Style, depth: usize, out: &mut String) -> R<()> {
    if depth > 200 {
        return Err(TemplateError::new(
            crate::template::ErrorKind::Depth,
            "a value is nested too deep for JSON",
        ));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => match as_int(value) {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => {
                let number = as_float(value).unwrap_or(f64::NAN);
                out.push_str(&match number {
                    n if n.is_nan() => "NaN".to_owned(),
                    n if n == f64::INFINITY => "Infinity".to_owned(),
                    n if n == f64::NEG_INFINITY => "-Infinity".to_owned(),
                    n => crate::template::values::float_text(n),
                });
            }
        },
        ValueKind::String => write_str(value.as_str().unwrap_or_default(), style.ascii, out),
        ValueKind::Bytes => {
            write_str(&String::from_utf8_lossy(value.as_bytes().unwrap_or_default()), style.ascii, out)
        }
        ValueKind::Map => {
            let mut entries = Vec::new();
            for (key, value) in pairs(value)? {
                entries.push((key_text(&key)?, value));
            }
            if entries.is_empty() {
                out.push_str("{}");
                return Ok(());
            }
            if style.sort_keys {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push_str(&style.item_separator);
                }
                newline(style, depth + 1, out);
                write_str(key, style.ascii, out);
                out.push_str(&style.key_separator);
                write_value(value, style, depth + 1, out)?;
            }
            newline(style, depth, out);
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let all = items(value)?;
            if all.is_empty() {
                out.push_str("[]");
                return Ok(());
            }
            out.push('[');
            for (at, value) in all.iter().enumerate() {
                if at > 0 {
                    out.push_str(&style.item_separator);
                }
                newline(style, depth + 1, out);
                write_value(value, style, depth + 1, out)?;
            }
            newline(style, depth, out);
            out.push(']');
        }
        _ => {
            let value = crate::template::values::defined(value.clone())?;
            write_str(&text(&value)?, style.ascii, out);
        }
    }
    Ok(())
}

/// JSON on one line without blanks.
pub(in crate::template) fn compact(value: &Value) -> R<String> {
    let style = Style { item_separator: ",".to_owned(), key_separator: ":".to_owned(), ..Style::default() };
    write(value, &style)
}

fn style(a: &Args, mut style: Style) -> R<Style> {
    for (name, value) in &a.named {
        match &**name {
            "indent" => {
                style.indent = if value.is_none() { None } else { value.as_usize() };
            }
            "sort_keys" => style.sort_keys = truth(value)?,
            "ensure_ascii" => style.ascii = truth(value)?,
            "separators" => match &items(value)?[..] {
                [item, key] => {
                    style.item_separator = text(item)?;
                    style.key_separator = text(key)?;
                }
                _ => return Err(a.refuse("`separators` is a pair of texts")),
            },
            "vault_to_text" | "preprocess_unsafe" | "skipkeys" | "allow_nan" | "check_circular"
            | "default" | "cls" => {}
            other => {
                return Err(TemplateError::arguments(format!(
                    "`{}` has no argument `{other}`",
                    a.builtin.name
                )));
            }
        }
    }
    // Python drops the blank after a comma when it breaks lines.
    if style.indent.is_some() && style.item_separator == ", " && a.named("separators").is_none() {
        style.item_separator = ",".to_owned();
    }
    Ok(style)
}

fn to_json(_: &mut Cx, a: &Args) -> R<Value> {
    write(a.value()?, &style(a, Style::default())?).map(Value::from)
}

fn to_nice_json(_: &mut Cx, a: &Args) -> R<Value> {
    let indent = a.int_or(1, 4)?.clamp(0, 64) as usize;
    let start = Style { indent: Some(indent), sort_keys: a.flag(2, true)?, ..Style::default() };
    write(a.value()?, &style(a, start)?).map(Value::from)
}

fn tojson(_: &mut Cx, a: &Args) -> R<Value> {
    let indent = a.optional_int(1)?.map(|i| i.clamp(0, 64) as usize);
    let item_separator = if indent.is_some() { "," } else { ", " }.to_owned();
    let out = write(a.value()?, &Style { indent, sort_keys: true, item_separator, ..Style::default() })?;
    Ok(Value::from(
        out.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027"),
    ))
}

fn from_json(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    if is_map(value) || is_list(value) {
        return Err(a.wrong(0, "text", value));
    }
    let s = text(value)?;
    serde_json::from_str(&s)
        .map(crate::template::from_json)
        .map_err(|e| a.refuse(format!("the text is not JSON: {e}")))
}

fn yaml_style(a: &Args, mut style: yaml::Style) -> R<yaml::Style> {
    for (name, value) in &a.named {
        match &**name {
            "indent" => style.indent = value.as_usize().unwrap_or(2),
            "width" => style.width = value.as_usize().unwrap_or(80),
            "sort_keys" => style.sort_keys = truth(value)?,
            "explicit_start" => style.explicit_start = truth(value)?,
            "explicit_end" => style.explicit_end = truth(value)?,
            "default_style" => style.quote = value.as_str().and_then(|s| s.chars().next()),
            "allow_unicode" => style.unicode = truth(value)?,
            "default_flow_style" => style.flow = if value.is_none() { None } else { Some(truth(value)?) },
            "canonical"
            | "encoding"
            | "line_break"
            | "version"
            | "tags"
            | "redact_sensitive_values"
            | "vault_behavior" => {}
            other => {
                return Err(TemplateError::arguments(format!(
                    "`{}` has no argument `{other}`",
                    a.builtin.name
                )));
            }
        }
    }
    Ok(style)
}

fn to_yaml(_: &mut Cx, a: &Args) -> R<Value> {
    let mut start = yaml::Style { indent: 2, flow: None, ..yaml::Style::default() };
    if let Some(flow) = a.some(1) {
        start.flow = Some(truth(flow)?);
    }
    let value = plain(a.value()?.clone())?;
    yaml::write(&value, &yaml_style(a, start)?).map(Value::from)
}

fn to_nice_yaml(_: &mut Cx, a: &Args) -> R<Value> {
    let indent = a.int_or(1, 4)?.clamp(1, 64) as usize;
    let value = plain(a.value()?.clone())?;
    yaml::write(&value, &yaml_style(a, yaml::Style { indent, flow: Some(false), ..yaml::Style::default() })?)
        .map(Value::from)
}

fn from_yaml(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let Some(s) = value.as_str() else { return Ok(value.clone()) };
    yaml::read(s)
        .map_err(|why| a.refuse(why))
        .map(|all| all.into_iter().next().unwrap_or_else(|| Value::from(())))
}

fn from_yaml_all(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let Some(s) = value.as_str() else { return Ok(value.clone()) };
    yaml::read(s).map_err(|why| a.refuse(why)).map(list)
}
