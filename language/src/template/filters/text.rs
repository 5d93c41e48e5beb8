//! Filters on text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use minijinja::Value;

use crate::template::error::R;
use crate::template::eval::{Cx, count};
use crate::template::methods::{capitalize as capital, split as split_text, splitlines};
use crate::template::operators::{printf, shown};
use crate::template::registry::{Args, Row};
use crate::template::values::{is_list, is_map, items, list, pairs, text};

pub(super) const TABLE: &[Row] = &[
    Row("lower", "s", lower),
    Row("upper", "s", upper),
    Row("capitalize", "s", capitalize),
    Row("title", "s", title),
    Row("trim", "value chars", trim),
    Row("replace", "s old new count", replace),
    Row("split", "value sep maxsplit", split),
    Row("join", "value d attribute", join),
    Row("indent", "s width first blank indentfirst", indent),
    Row("quote", "a", quote),
    Row("comment", "text style **options", comment),
    Row("b64encode", "string encoding", b64encode),
    Row("b64decode", "string encoding urlsafe", b64decode),
    Row("format", "value *args **named", format_filter),
    Row("center", "value width", center),
    Row("wordcount", "s", wordcount),
    Row("wordwrap", "s width break_long_words wrapstring break_on_hyphens", wordwrap),
    Row("truncate", "s length killwords end leeway", truncate),
    Row("escape e", "s", escape),
    Row("striptags", "value", striptags),
    Row("xmlattr", "d autospace", xmlattr),
    Row("urlencode", "value", urlencode),
    Row("urlize", "value", urlize),
    Row("splitlines", "value keepends", split_lines),
];

fn lower(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(a.text()?.to_lowercase()))
}

fn upper(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(a.text()?.to_uppercase()))
}

fn capitalize(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(capital(&a.text()?)))
}

fn title(_: &mut Cx, a: &Args) -> R<Value> {
    // Jinja starts a word after blanks, dashes and opening brackets only.
    let s = a.text()?;
    let mut out = String::with_capacity(s.len());
    let mut start = true;
    for c in s.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        start = c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<');
    }
    Ok(Value::from(out))
}

fn trim(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    Ok(Value::from(match a.optional_text(1)? {
        Some(chars) => s.trim_matches(|c| chars.contains(c)).to_owned(),
        None => s.trim().to_owned(),
    }))
}

fn replace(_: &mut Cx, a: &Args) -> R<Value> {
    let (s, old, new) = (a.text()?, a.text_at(1)?, a.text_at(2)?);
    Ok(Value::from(match a.optional_int(3)? {
        Some(limit) if limit >= 0 => s.replacen(&old, &new, limit as usize),
        _ => s.replace(&old, &new),
    }))
}

fn split(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let separator = a.optional_text(1)?;
    let parts = split_text(&s, separator.as_deref(), a.optional_int(2)?)?;
    Ok(list(parts.into_iter().map(Value::from).collect()))
}

fn split_lines(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(list(splitlines(&a.text()?, a.flag(1, false)?).into_iter().map(Value::from).collect()))
}

fn join(_: &mut Cx, a: &Args) -> R<Value> {
    let separator = a.text_or(1, "")?;
    let mut parts = Vec::new();
    for item in items(a.value()?)? {
        let item = match a.some(2) {
            Some(path) => super::attribute_path(&item, path)?,
            None => item,
        };
        parts.push(text(&item)?);
    }
    Ok(Value::from(parts.join(&separator)))
}

fn indent(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let pad = match a.some(1) {
        Some(width) if width.as_str().is_some() => width.as_str().unwrap_or_default().to_owned(),
        Some(_) => " ".repeat(a.int_at(1)?.clamp(0, 10_000) as usize),
        None => "    ".to_owned(),
    };
    let first = a.flag(2, false)? || a.flag(4, false)?;
    let blank = a.flag(3, false)?;
    let mut out = String::with_capacity(s.len() + 16);
    // Jinja adds a newline before splitting, so a trailing newline keeps its own (empty) line.
    let lines = splitlines(&format!("{s}\n"), false);
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if (at > 0 || first) && (blank || !line.is_empty()) {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// Quotes a text for a POSIX shell as Python's `shlex.quote`.
pub(in crate::template) fn shell_quote(s: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if s.is_empty() {
        "''".to_owned()
    } else if s.chars().all(safe) {
        s.to_owned()
    } else {
        format!("'{}'", s.replace('\'', "'\"'\"'"))
    }
}

fn quote(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let s = if value.is_none() { String::new() } else { text(value)? };
    Ok(Value::from(shell_quote(&s)))
}

fn comment(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let style = a.text_or(1, "plain")?;
    let option = |name: &str| a.named(name).map(text).transpose();
    let (beginning, default_decoration, default_end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => return Err(a.refuse(format!("unknown comment style `{other}`"))),
    };
    let newline = option("newline")?.unwrap_or_else(|| "\n".to_owned());
    let decoration = option("decoration")?.unwrap_or_else(|| default_decoration.to_owned());
    let prefix = option("prefix")?.unwrap_or_else(|| decoration.trim_end().to_owned());
    let postfix = option("postfix")?.unwrap_or_else(|| decoration.trim_end().to_owned());
    let prefix_count = a.named("prefix_count").and_then(Value::as_usize).unwrap_or(1);
    let postfix_count = a.named("postfix_count").and_then(Value::as_usize).unwrap_or(1);
    let beginning = option("beginning")?.unwrap_or_else(|| beginning.to_owned());
    let end = option("end")?.unwrap_or_else(|| default_end.to_owned());

    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&beginning);
        out.push_str(&newline);
    }
    if !prefix.is_empty() {
        for _ in 0..prefix_count {
            out.push_str(&prefix);
            out.push_str(&newline);
        }
    }
    // Empty lines get the decoration without its trailing blank.
    let body = format!("{decoration}{}", s.replace('\n', &format!("{newline}{decoration}")));
    let bare = decoration.trim_end();
    out.push_str(&body.replace(&format!("{decoration}{newline}"), &format!("{bare}{newline}")));
    if !postfix.is_empty() {
        for _ in 0..postfix_count {
            out.push_str(&newline);
            out.push_str(&postfix);
        }
    }
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(&end);
    }
    Ok(Value::from(out))
}

fn b64encode(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let encoding = a.text_or(1, "utf-8")?.to_lowercase();
    let bytes = match value.as_bytes() {
        Some(bytes) if value.as_str().is_none() => bytes.to_vec(),
        _ => encode(&text(value)?, &encoding)
            .ok_or_else(|| a.refuse(format!("unknown encoding `{encoding}`")))?,
    };
    Ok(Value::from(STANDARD.encode(bytes)))
}

fn encode(s: &str, encoding: &str) -> Option<Vec<u8>> {
    Some(match encoding {
        "utf-8" | "utf8" | "ascii" => s.as_bytes().to_vec(),
        "utf-16-le" | "utf-16le" => s.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16-be" | "utf-16be" => s.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        "latin-1" | "latin1" | "iso-8859-1" => {
            s.chars().map(|c| u8::try_from(c as u32).unwrap_or(b'?')).collect()
        }
        _ => return None,
    })
}

fn b64decode(_: &mut Cx, a: &Args) -> R<Value> {
    let s: String = a.text()?.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let encoding = a.text_or(1, "utf-8")?.to_lowercase();
    let bytes = STANDARD
        .decode(&s)
        .or_else(|_| URL_SAFE.decode(&s))
        .or_else(|_| STANDARD_NO_PAD.decode(s.trim_end_matches('=')))
        .map_err(|e| a.refuse(format!("the text is not base64: {e}")))?;
    Ok(match encoding.as_str() {
        "utf-16-le" | "utf-16le" => {
            let units: Vec<u16> = bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            Value::from(String::from_utf16_lossy(&units))
        }
        "latin-1" | "latin1" | "iso-8859-1" => {
            Value::from(bytes.iter().map(|b| *b as char).collect::<String>())
        }
        _ => Value::from(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

fn format_filter(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let mut args = a.rest.clone();
    if !a.named.is_empty() {
        if !args.is_empty() {
            return Err(a.refuse("positional and named arguments cannot be mixed"));
        }
        args.push(Value::from_object(
            a.named
                .iter()
                .map(|(k, v)| Ok((Value::from(&**k), shown(v.clone())?)))
                .collect::<R<crate::template::containers::Map>>()?,
        ));
    }
    printf(&s, args)
}

fn center(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let width = a.int_or(1, 80)?.clamp(0, 100_000) as usize;
    let missing = width.saturating_sub(s.chars().count());
    let before = missing / 2 + (missing & width & 1);
    Ok(Value::from(format!("{}{s}{}", " ".repeat(before), " ".repeat(missing - before))))
}

fn wordcount(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    Ok(count(s.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).count()))
}

fn wordwrap(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let width = a.int_or(1, 79)?.clamp(1, 100_000) as usize;
    let break_long = a.flag(2, true)?;
    let wrap = a.text_or(3, "\n")?;
    let mut out = Vec::new();
    for line in splitlines(&s, false) {
        let mut wrapped: Vec<String> = Vec::new();
        let mut current = String::new();
        for word in line.split_inclusive(' ') {
            let mut word = word.to_owned();
            while current.chars().count() + word.trim_end().chars().count() > width {
                if !current.is_empty() {
                    wrapped.push(std::mem::take(&mut current).trim_end().to_owned());
                } else if break_long {
                    let cut = word.char_indices().nth(width).map_or(word.len(), |(at, _)| at);
                    wrapped.push(word[..cut].to_owned());
                    word = word[cut..].to_owned();
                } else {
                    break;
                }
            }
            current.push_str(&word);
        }
        wrapped.push(current.trim_end().to_owned());
        out.push(wrapped.join(&wrap));
    }
    Ok(Value::from(out.join(&wrap)))
}

fn truncate(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let length = a.int_or(1, 255)?.max(0) as usize;
    let kill = a.flag(2, false)?;
    let end = a.text_or(3, "...")?;
    let leeway = a.int_or(4, 5)?.max(0) as usize;
    let chars: Vec<char> = s.chars().collect();
    let end_length = end.chars().count();
    if length < end_length {
        return Err(a.refuse(format!("the length has to be at least {end_length}")));
    }
    if chars.len() <= length + leeway {
        return Ok(Value::from(s));
    }
    let cut: String = chars[..length - end_length].iter().collect();
    Ok(Value::from(if kill {
        format!("{cut}{end}")
    } else {
        format!("{}{end}", cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head))
    }))
}

fn escaped(s: &str) -> String {
    s.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&#34;")
}

fn escape(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(escaped(&a.text()?)))
}

fn striptags(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let mut out = String::new();
    let mut inside = false;
    for c in s.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Value::from(unescaped(&out)))
}

/// HTML's character references as characters: numbers, and the names that escaping makes.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = rest.split_once(';').and_then(|(name, after)| {
            let name = &name[1..];
            let number = |digits: &str, base| u32::from_str_radix(digits, base).ok().and_then(char::from_u32);
            let c = match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                "nbsp" => Some('\u{a0}'),
                _ => name.strip_prefix('#').and_then(|n| match n.strip_prefix(['x', 'X']) {
                    Some(hex) => number(hex, 16),
                    None => number(n, 10),
                }),
            };
            c.map(|c| (c, after))
        });
        match found {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn xmlattr(_: &mut Cx, a: &Args) -> R<Value> {
    let mut parts = Vec::new();
    for (key, value) in pairs(a.value()?)? {
        if !value.is_none() {
            parts.push(format!("{}=\"{}\"", escaped(&text(&key)?), escaped(&text(&value)?)));
        }
    }
    let out = parts.join(" ");
    Ok(Value::from(if a.flag(1, true)? && !out.is_empty() { format!(" {out}") } else { out }))
}

/// Percent-encodes as Python's `quote`; `/` stays.
fn percent(s: &str, keep_slash: bool) -> String {
    let mut out = String::new();
    for byte in s.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn urlencode(_: &mut Cx, a: &Args) -> R<Value> {
    let value = a.value()?;
    let entries = if is_map(value) {
        pairs(value)?
    } else if is_list(value) {
        let mut out = Vec::new();
        for entry in items(value)? {
            match &items(&entry)?[..] {
                [key, value] => out.push((key.clone(), value.clone())),
                _ => return Err(a.refuse("every entry has to be a pair")),
            }
        }
        out
    } else {
        return Ok(Value::from(percent(&text(value)?, true)));
    };
    let mut parts = Vec::new();
    for (key, value) in entries {
        let field = |v: &Value| text(v).map(|s| percent(&s, false).replace("%20", "+"));
        parts.push(format!("{}={}", field(&key)?, field(&value)?));
    }
    Ok(Value::from(parts.join("&")))
}

fn urlize(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let out: Vec<String> = s
        .split(' ')
        .map(|word| {
            if word.starts_with("http://") || word.starts_with("https://") {
                let word = escaped(word);
                format!("<a href=\"{word}\" rel=\"noopener\">{word}</a>")
            } else {
                escaped(word)
            }
        })
        .collect();
    Ok(Value::from(out.join(" ")))
}
