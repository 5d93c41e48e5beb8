//! Regular expressions as Python writes them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use fancy_regex::{Captures, Regex};
use minijinja::Value;
use minijinja::value::Tuple;

use crate::template::error::{R, TemplateError};
use crate::template::eval::Cx;
use crate::template::registry::{Args, Row};
use crate::template::values::{list, text, truth};

pub(super) const TABLE: &[Row] = &[
    Row(
        "regex_replace",
        "value pattern replacement ignorecase multiline count mandatory_count",
        regex_replace,
    ),
    Row("regex_search", "value regex *groups **options", regex_search),
    Row("regex_findall", "value regex multiline ignorecase", regex_findall),
    Row("regex_escape", "string re_type", regex_escape),
];

/// How a pattern is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(in crate::template) struct Flags {
    pub(in crate::template) ignore_case: bool,
    pub(in crate::template) multiline: bool,
}

type Key = (String, Flags, bool);
static CACHE: LazyLock<RwLock<HashMap<Key, Arc<Regex>>>> = LazyLock::new(RwLock::default);

/// Patterns kept compiled.
const MAX_CACHED: usize = 2000;

/// Compiles a Python pattern; `subject` decides how `$` has to be translated.
///
/// # Errors
/// The pattern does not parse.
pub(in crate::template) fn compile(pattern: &str, flags: Flags, subject: &str) -> R<Arc<Regex>> {
    // Python's `$` also matches before a final newline; only subjects that have one pay for it.
    let newline = subject.ends_with('\n');
    let key = (pattern.to_owned(), flags, newline);
    if let Some(found) = CACHE.read().unwrap_or_else(|e| e.into_inner()).get(&key) {
        return Ok(Arc::clone(found));
    }
    let mut translated = String::new();
    if flags.ignore_case {
        translated.push_str("(?i)");
    }
    if flags.multiline {
        translated.push_str("(?m)");
    }
    translate(pattern, newline && !flags.multiline, &mut translated);
    let regex = Regex::new(&translated).map_err(|e| {
        TemplateError::value(format!("the regular expression `{pattern}` does not compile: {e}"))
    })?;
    let regex = Arc::new(regex);
    let mut cache = CACHE.write().unwrap_or_else(|e| e.into_inner());
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
    cache.insert(key, Arc::clone(&regex));
    Ok(regex)
}

/// Rewrites what Python writes differently: `\Z`, `$`, and characters that mean themselves in a Python class.
fn translate(pattern: &str, dollar: bool, out: &mut String) {
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let first_in_class = std::mem::take(&mut class_start);
        match c {
            '\\' => match chars.next() {
                Some('Z') if !class => out.push_str("\\z"),
                Some(
                    c @ ('<' | '>' | '\'' | '"' | '/' | '@' | '%' | ',' | ';' | ':' | '=' | '!' | '`' | '_'
                    | ' '),
                ) => {
                    if class && matches!(c, '-' | '[' | ']') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                Some(c) => {
                    out.push('\\');
                    out.push(c);
                }
                None => out.push('\\'),
            },
            '[' if class => out.push_str("\\["),
            '[' => {
                class = true;
                class_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.push('^');
                    chars.next();
                }
            }
            ']' if class && first_in_class => out.push_str("\\]"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            '$' if dollar && !class => out.push_str("(?=\\n?\\z)"),
            c => out.push(c),
        }
    }
}

fn flags(a: &Args, ignore_case: usize, multiline: usize) -> R<Flags> {
    Ok(Flags { ignore_case: a.flag(ignore_case, false)?, multiline: a.flag(multiline, false)? })
}

fn failed(error: &fancy_regex::Error) -> TemplateError {
    TemplateError::value(format!("the regular expression could not be applied: {error}"))
}

/// Calls `found` for each match in Python's order (an empty match may follow a match at once).
fn each_match(regex: &Regex, s: &str, mut found: impl FnMut(&Captures<'_, str>) -> R<bool>) -> R<()> {
    let mut at = 0;
    while at <= s.len() {
        let Some(captures) = regex.captures_from_pos(s, at).map_err(|e| failed(&e))? else { break };
        let Some(whole) = captures.get(0) else { break };
        let (start, end) = (whole.start(), whole.end());
        if !found(&captures)? {
            break;
        }
        at = if start == end {
            end + s.get(end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        } else {
            end
        };
    }
    Ok(())
}

/// Writes a Python replacement text: `\1`, `\g<1>`, `\g<name>`, `\\`, `\n`.
fn expand(replacement: &str, captures: &Captures<'_, str>, out: &mut String) -> R<()> {
    let mut chars = replacement.chars().peekable();
    let group = |number: Option<usize>, name: &str, out: &mut String| -> R<()> {
        let found = match number {
            Some(number) if number < captures.len() => captures.get(number),
            Some(number) => {
                return Err(TemplateError::value(format!(
                    "the replacement names group {number}, which the pattern does not have"
                )));
            }
            None => captures.name(name),
        };
        if let Some(found) = found {
            out.push_str(found.as_str());
        }
        Ok(())
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('g') if chars.peek() == Some(&'<') => {
                chars.next();
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                group(name.parse().ok(), &name, out)?;
            }
            Some(digit @ '1'..='9') => {
                let mut number = digit.to_digit(10).unwrap_or(0) as usize;
                if let Some(next) = chars.peek().and_then(|c| c.to_digit(10)) {
                    chars.next();
                    number = number * 10 + next as usize;
                }
                group(Some(number), "", out)?;
            }
            Some('0') => out.push('\0'),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') => out.push('\\'),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    Ok(())
}

fn regex_replace(_: &mut Cx, a: &Args) -> R<Value> {
    let (s, pattern, replacement) = (a.text()?, a.text_or(1, "")?, a.text_or(2, "")?);
    let regex = compile(&pattern, flags(a, 3, 4)?, &s)?;
    let limit = a.int_or(5, 0)?;
    let mut out = String::with_capacity(s.len());
    let mut copied = 0;
    let mut done = 0;
    each_match(&regex, &s, |captures| {
        if let Some(whole) = captures.get(0) {
            out.push_str(&s[copied..whole.start()]);
            expand(&replacement, captures, &mut out)?;
            copied = whole.end();
            done += 1;
        }
        Ok(limit <= 0 || done < limit)
    })?;
    let wanted = a.int_or(6, 0)?;
    if wanted > 0 && done < wanted {
        return Err(a.refuse(format!("`{pattern}` was to be replaced {wanted} times but matched {done}")));
    }
    out.push_str(s.get(copied..).unwrap_or(""));
    Ok(Value::from(out))
}

fn option(a: &Args, name: &str) -> R<bool> {
    a.named(name).map_or(Ok(false), truth)
}

fn regex_search(_: &mut Cx, a: &Args) -> R<Value> {
    for (name, _) in &a.named {
        if !matches!(&**name, "ignorecase" | "multiline") {
            return Err(TemplateError::arguments(format!("`regex_search` has no argument `{name}`")));
        }
    }
    let (s, pattern) = (a.text()?, a.text_at(1)?);
    let flags = Flags { ignore_case: option(a, "ignorecase")?, multiline: option(a, "multiline")? };
    let regex = compile(&pattern, flags, &s)?;
    let Some(captures) = regex.captures(&s).map_err(|e| failed(&e))? else {
        return Ok(Value::from(()));
    };
    let whole = || Value::from(captures.get(0).map_or("", |m| m.as_str()));
    if a.rest.is_empty() {
        return Ok(whole());
    }
    let mut out = Vec::new();
    for group in &a.rest {
        let group = text(group)?;
        let found = if let Some(name) = group.strip_prefix("\\g<").and_then(|g| g.strip_suffix('>')) {
            match name.parse::<usize>() {
                Ok(number) => captures.get(number),
                Err(_) => captures.name(name),
            }
        } else if let Some(number) = group.strip_prefix('\\').and_then(|g| g.parse::<usize>().ok()) {
            captures.get(number)
        } else {
            return Err(a.refuse(format!("`{group}` is no group; write `\\\\1` or `\\\\g<name>`")));
        };
        out.push(found.map_or_else(|| Value::from(()), |m| Value::from(m.as_str())));
    }
    Ok(list(out))
}

fn regex_findall(_: &mut Cx, a: &Args) -> R<Value> {
    let (s, pattern) = (a.text()?, a.text_at(1)?);
    let regex = compile(&pattern, flags(a, 3, 2)?, &s)?;
    let mut out = Vec::new();
    each_match(&regex, &s, |captures| {
        let group = |n: usize| Value::from(captures.get(n).map_or("", |m| m.as_str()));
        out.push(match captures.len() {
            1 => group(0),
            2 => group(1),
            n => Value::from(Tuple::from((1..n).map(group).collect::<Vec<_>>())),
        });
        Ok(true)
    })?;
    Ok(list(out))
}

fn regex_escape(_: &mut Cx, a: &Args) -> R<Value> {
    let s = a.text()?;
    let special = match a.text_or(1, "python")?.as_str() {
        "python" => "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c",
        "posix_basic" => "[].^$*\\",
        other => return Err(a.refuse(format!("`{other}` is no kind of regular expression this knows"))),
    };
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(Value::from(out))
}
