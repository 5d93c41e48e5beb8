//! Parts of addresses on the web.

use minijinja::Value;

use crate::template::containers::Map;
use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::registry::{Args, Row};
use crate::template::values::{int, map};

pub(super) const TABLE: &[Row] =
    &[Row("urlsplit", "value query", urlsplit), Row("urldecode unquote", "value", urldecode)];

fn urlsplit(_: &mut Cx, a: &Args) -> R<Value> {
    let url = a.text()?;
    let (rest, fragment) = url.split_once('#').unwrap_or((&url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
        {
            (scheme.to_lowercase(), rest)
        }
        _ => (String::new(), rest),
    };
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or((rest, ""), |at| rest.split_at(at)),
        None => ("", rest),
    };
    let (user, host) = match netloc.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, netloc),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().ok()),
        _ => (host, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    let optional = |s: Option<&str>| s.map_or_else(|| Value::from(()), Value::from);
    let username = user.map(|u| u.split(':').next().unwrap_or(u));
    let password = user.and_then(|u| u.split_once(':')).map(|(_, p)| p);
    let mut out = Map::new();
    for (name, value) in [
        ("fragment", Value::from(fragment)),
        ("hostname", if host.is_empty() { Value::from(()) } else { Value::from(host) }),
        ("netloc", Value::from(netloc)),
        ("password", optional(password)),
        ("path", Value::from(path)),
        ("port", port.map_or_else(|| Value::from(()), |p| int(i128::from(p)))),
        ("query", Value::from(query)),
        ("scheme", Value::from(scheme)),
        ("username", optional(username)),
    ] {
        out.insert(Value::from(name), value);
    }
    match a.optional_text(1)? {
        None => Ok(map(out)),
        Some(part) if part.is_empty() => Ok(map(out)),
        Some(part) => out
            .get(&Value::from(part.as_str()))
            .cloned()
            .ok_or_else(|| a.refuse(format!("there is no part `{part}` of an address"))),
    }
}

fn urldecode(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let mut out = Vec::new();
    let bytes = s.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| s.get(at + 1..at + 3)).flatten();
        match code.and_then(|c| u8::from_str_radix(c, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    Ok(Value::from(String::from_utf8_lossy(&out).into_owned()))
}
