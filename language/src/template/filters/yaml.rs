//! YAML as PyYAML writes it, and YAML text as values.
//!
//! Owns: block and flow layout, quoting rules, folding. Must not: know which filter asks.

use std::path::PathBuf;

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::source::{Node, Sources, Yaml, plain_scalar};
use crate::template::containers::Map;
use crate::template::error::R;
use crate::template::lazy::key_value;
use crate::template::values::{
    as_float, as_int, float_text, is_list, is_map, items, length, list, map, pairs, text,
};

/// How YAML is written.
#[derive(Debug, Clone)]
pub(in crate::template) struct Style {
    pub(in crate::template) indent: usize,
    pub(in crate::template) width: usize,
    pub(in crate::template) sort_keys: bool,
    /// `Some(true)`: all on one line; `Some(false)`: one entry a line; `None`: only innermost collections on one line.
    pub(in crate::template) flow: Option<bool>,
    pub(in crate::template) explicit_start: bool,
    pub(in crate::template) explicit_end: bool,
    pub(in crate::template) unicode: bool,
    /// Quotes or `|` for every text.
    pub(in crate::template) quote: Option<char>,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            indent: 2,
            width: 80,
            sort_keys: true,
            flow: None,
            explicit_start: false,
            explicit_end: false,
            unicode: true,
            quote: None,
        }
    }
}

/// Writes a plain value as a YAML document.
///
/// # Errors
/// A part that cannot become text.
pub(in crate::template) fn write(value: &Value, style: &Style) -> R<String> {
    let indent = if (2..10).contains(&style.indent) { style.indent } else { 2 };
    let mut emitter = Emitter { style: Style { indent, ..style.clone() }, out: String::new(), column: 0 };
    if style.explicit_start {
        emitter.put("---");
    }
    let scalar = !(is_list(value) || is_map(value));
    let empty = !scalar && length(value)? == 0;
    if style.explicit_start {
        if scalar || empty || emitter.is_flow(value)? {
            emitter.put(" ");
        } else {
            emitter.line(0);
        }
    }
    emitter.node(value, None, Around::Root)?;
    emitter.out.push('\n');
    if style.explicit_end {
        emitter.out.push_str("...\n");
    }
    Ok(emitter.out)
}

/// What a node stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    Root,
    /// The value of a mapping whose keys stand at the given indent; the text so far ends with `key:`.
    Mapping,
    /// After a `-`.
    Sequence,
}

struct Emitter {
    style: Style,
    out: String,
    column: usize,
}

impl Emitter {
    fn put(&mut self, s: &str) {
        self.out.push_str(s);
        self.column += s.chars().count();
    }

    /// Starts a new line at an indent.
    fn line(&mut self, indent: usize) {
        self.out.push('\n');
        self.column = 0;
        self.pad(indent);
    }

    fn pad(&mut self, indent: usize) {
        while self.column < indent {
            self.out.push(' ');
            self.column += 1;
        }
    }

    fn is_flow(&self, value: &Value) -> R<bool> {
        if length(value)? == 0 {
            return Ok(true);
        }
        Ok(match self.style.flow {
            Some(flow) => flow,
            None => {
                let children = if is_map(value) {
                    pairs(value)?.into_iter().map(|(_, v)| v).collect()
                } else {
                    items(value)?
                };
                !children.iter().any(|c| is_list(c) || is_map(c))
            }
        })
    }

    /// Writes a node; `indent` is that of the collection around it, `None` at the root.
    fn node(&mut self, value: &Value, indent: Option<usize>, around: Around) -> R<()> {
        if !(is_list(value) || is_map(value)) {
            if around != Around::Root {
                self.put(" ");
            }
            let indent = indent.map_or(self.style.indent, |i| i + self.style.indent);
            return self.scalar(value, indent, false, false);
        }
        if self.is_flow(value)? {
            if around != Around::Root {
                self.put(" ");
            }
            let indent = indent.map_or(self.style.indent, |i| i + self.style.indent);
            return self.flow(value, indent);
        }
        let own = match (indent, around) {
            (None, _) => 0,
            // A sequence under a key is not indented further.
            (Some(indent), Around::Mapping) if is_list(value) => indent,
            (Some(indent), _) => indent + self.style.indent,
        };
        let mut first = true;
        let mut begin = |emitter: &mut Self| {
            match (first, around) {
                (true, Around::Root) => {}
                (true, Around::Sequence) => emitter.pad(own),
                _ => emitter.line(own),
            }
            first = false;
        };
        if is_list(value) {
            for item in items(value)? {
                begin(self);
                self.put("-");
                self.node(&item, Some(own), Around::Sequence)?;
            }
            return Ok(());
        }
        for (key, item) in self.entries(value)? {
            begin(self);
            self.scalar(&key, own, true, false)?;
            self.put(":");
            self.node(&item, Some(own), Around::Mapping)?;
        }
        Ok(())
    }

    fn entries(&self, value: &Value) -> R<Vec<(Value, Value)>> {
        let mut all = pairs(value)?;
        if self.style.sort_keys {
            // Python gives up on sorting keys of different types; then the order stays.
            let alike = all.windows(2).all(|w| w[0].0.kind() == w[1].0.kind());
            if alike {
                all.sort_by(|a, b| a.0.cmp(&b.0));
            }
        }
        Ok(all)
    }

    fn flow(&mut self, value: &Value, indent: usize) -> R<()> {
        let mapping = is_map(value);
        self.put(if mapping { "{" } else { "[" });
        let entries = if mapping {
            self.entries(value)?
        } else {
            items(value)?.into_iter().map(|v| (Value::UNDEFINED, v)).collect()
        };
        for (at, (key, item)) in entries.iter().enumerate() {
            if at > 0 {
                self.put(",");
            }
            if self.column > self.style.width {
                self.line(indent);
            } else if at > 0 {
                self.put(" ");
            }
            if mapping {
                self.scalar(key, indent, true, true)?;
                self.put(": ");
            }
            if is_list(item) || is_map(item) {
                self.flow(item, indent + self.style.indent)?;
            } else {
                self.scalar(item, indent + self.style.indent, false, true)?;
            }
        }
        self.put(if mapping { "}" } else { "]" });
        Ok(())
    }

    fn plain_allowed(&self, s: &str, key: bool, flow: bool) -> bool {
        let analysis = Analysis::of(s, self.style.unicode);
        let allowed = if flow { analysis.flow_plain } else { analysis.block_plain };
        allowed && !(key && (s.is_empty() || analysis.multiline)) && reads_as_text(s)
    }

    fn scalar(&mut self, value: &Value, indent: usize, key: bool, flow: bool) -> R<()> {
        let plain = match value.kind() {
            ValueKind::None => "null".to_owned(),
            ValueKind::Bool => value.is_true().to_string(),
            ValueKind::Number => match as_int(value) {
                Some(number) => number.to_string(),
                None => float(as_float(value).unwrap_or(f64::NAN)),
            },
            ValueKind::String => {
                let s = value.as_str().unwrap_or_default().to_owned();
                let analysis = Analysis::of(&s, self.style.unicode);
                match self.style.quote {
                    Some('|') if !flow && !key && analysis.block => {
                        self.literal(&s, indent);
                        return Ok(());
                    }
                    Some('"') => {
                        self.double_quoted(&s, indent, !key);
                        return Ok(());
                    }
                    None if self.plain_allowed(&s, key, flow) => {
                        self.plain(&s, indent, !key);
                        return Ok(());
                    }
                    _ => {}
                }
                if analysis.single && !(key && analysis.multiline) {
                    self.single_quoted(&s, indent, !key);
                } else {
                    self.double_quoted(&s, indent, !key);
                }
                return Ok(());
            }
            _ => text(value)?,
        };
        self.put(&plain);
        Ok(())
    }

    fn plain(&mut self, s: &str, indent: usize, split: bool) {
        for (at, word) in s.split(' ').enumerate() {
            if at > 0 {
                let single = !word.is_empty() && !self.out.ends_with(' ');
                if single && split && self.column > self.style.width {
                    self.line(indent);
                } else {
                    self.put(" ");
                }
            }
            self.put(word);
        }
    }

    fn single_quoted(&mut self, s: &str, indent: usize, split: bool) {
        self.put("'");
        let chars: Vec<char> = s.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            if c == ' ' {
                let end = run(&chars, at, |c| c == ' ');
                if end == at + 1 && split && self.column > self.style.width && at != 0 && end != chars.len() {
                    self.line(indent);
                } else {
                    self.put(&" ".repeat(end - at));
                }
                at = end;
            } else if is_break(c) {
                let end = run(&chars, at, is_break);
                // One more than there are: a single break in quoted text reads as a blank.
                if c == '\n' {
                    self.out.push('\n');
                }
                for c in &chars[at..end] {
                    self.out.push(*c);
                }
                self.column = 0;
                self.pad(indent);
                at = end;
            } else {
                let end = run(&chars, at, |c| c != ' ' && !is_break(c));
                let word: String = chars[at..end].iter().collect();
                self.put(&word.replace('\'', "''"));
                at = end;
            }
        }
        self.put("'");
    }

    /// Lines break at a single blank past the width, which is then left out, as libyaml does it.
    fn double_quoted(&mut self, s: &str, indent: usize, split: bool) {
        self.put("\"");
        let chars: Vec<char> = s.chars().collect();
        let mut after_blank = false;
        for (at, c) in chars.iter().copied().enumerate() {
            let special = matches!(c, '"' | '\\' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
                || !((' '..='~').contains(&c)
                    || (self.style.unicode
                        && (('\u{a0}'..='\u{d7ff}').contains(&c) || ('\u{e000}'..='\u{fffd}').contains(&c))));
            let breaks = c == ' '
                && split
                && !after_blank
                && self.column > self.style.width
                && at > 0
                && at + 1 < chars.len();
            if breaks {
                self.line(indent);
                if chars[at + 1] == ' ' {
                    self.put("\\");
                }
            } else if special {
                self.put(&escape(c));
            } else {
                self.put(c.encode_utf8(&mut [0; 4]));
            }
            after_blank = c == ' ';
        }
        self.put("\"");
    }

    fn literal(&mut self, s: &str, indent: usize) {
        let chomp = if !s.ends_with('\n') {
            "-"
        } else if s.ends_with("\n\n") || s == "\n" {
            "+"
        } else {
            ""
        };
        self.put("|");
        if s.starts_with([' ', '\n']) {
            self.put(&self.style.indent.to_string());
        }
        self.put(chomp);
        let body = s.strip_suffix('\n').unwrap_or(s);
        for line in body.split('\n') {
            self.out.push('\n');
            self.column = 0;
            if !line.is_empty() {
                self.pad(indent);
                self.put(line);
            }
        }
    }
}

fn run(chars: &[char], from: usize, test: impl Fn(char) -> bool) -> usize {
    chars[from..].iter().position(|c| !test(*c)).map_or(chars.len(), |n| from + n)
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn escape(c: char) -> String {
    let short = match c {
        '\0' => "0",
        '\x07' => "a",
        '\x08' => "b",
        '\t' => "t",
        '\n' => "n",
        '\x0b' => "v",
        '\x0c' => "f",
        '\r' => "r",
        '\x1b' => "e",
        '"' => "\"",
        '\\' => "\\",
        '\u{85}' => "N",
        '\u{a0}' => "_",
        '\u{2028}' => "L",
        '\u{2029}' => "P",
        _ => "",
    };
    if !short.is_empty() {
        return format!("\\{short}");
    }
    match c as u32 {
        n @ 0..=0xff => format!("\\x{n:02X}"),
        n @ 0x100..=0xffff => format!("\\u{n:04X}"),
        n => format!("\\U{n:08X}"),
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = float_text(number);
    if text.contains('.') { text } else { text.replacen('e', ".0e", 1) }
}

/// True when plain text reads back as text: no number, boolean, null, date or merge key.
fn reads_as_text(s: &str) -> bool {
    if matches!(s, "=" | "<<") {
        return false;
    }
    matches!(plain_scalar(s), Yaml::Str(_)) && !looks_like_date(s) && !looks_like_number(s)
}

/// `2026-01-01`, with or without a time.
fn looks_like_date(s: &str) -> bool {
    let bytes = s.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let mut parts = s[5..].splitn(2, '-');
    let month = parts.next().unwrap_or("");
    let rest = parts.next().unwrap_or("");
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let day_ok = (1..=2).contains(&digits);
    let month_ok = (1..=2).contains(&month.len()) && month.bytes().all(|b| b.is_ascii_digit());
    if !month_ok || !day_ok {
        return false;
    }
    let tail = &rest[digits..];
    if tail.is_empty() {
        return month.len() == 2 && digits == 2;
    }
    let time = tail.trim_start_matches(['T', 't', ' ', '\t']);
    time.len() < tail.len() && time.split(':').count() == 3 && time.starts_with(|c: char| c.is_ascii_digit())
}

/// Numbers beyond 64 bits are still numbers.
fn looks_like_number(s: &str) -> bool {
    let digits = s.strip_prefix(['-', '+']).unwrap_or(s);
    !digits.is_empty()
        && (digits == "0" || !digits.starts_with('0'))
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// Which styles a text can be written in.
struct Analysis {
    multiline: bool,
    flow_plain: bool,
    block_plain: bool,
    single: bool,
    block: bool,
}

impl Analysis {
    fn of(s: &str, unicode: bool) -> Self {
        if s.is_empty() {
            return Self {
                multiline: false,
                flow_plain: false,
                block_plain: true,
                single: true,
                block: false,
            };
        }
        let blank = |c: Option<&char>| {
            c.is_none_or(|c| {
                matches!(c, '\0' | ' ' | '\t' | '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
            })
        };
        let chars: Vec<char> = s.chars().collect();
        let marker = s.starts_with("---") || s.starts_with("...");
        let (mut flow_indicator, mut block_indicator) = (marker, marker);
        let (mut breaks, mut special) = (false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut after_space, mut after_break) = (false, false);
        for (at, c) in chars.iter().copied().enumerate() {
            let before_blank = at == 0 || blank(chars.get(at - 1));
            let followed = blank(chars.get(at + 1));
            if at == 0 {
                if "#,[]{}&*!|>'\"%@`".contains(c) || (c == '-' && followed) {
                    (flow_indicator, block_indicator) = (true, true);
                }
                if matches!(c, '?' | ':') {
                    flow_indicator = true;
                    block_indicator |= followed;
                }
            } else {
                if ",?[]{}".contains(c) {
                    flow_indicator = true;
                }
                if c == ':' {
                    flow_indicator = true;
                    block_indicator |= followed;
                }
                if c == '#' && before_blank {
                    (flow_indicator, block_indicator) = (true, true);
                }
            }
            breaks |= is_break(c);
            if !(c == '\n' || (' '..='~').contains(&c)) {
                let printable = c == '\u{85}'
                    || ((c as u32) >= 0xa0 && c != '\u{feff}' && !matches!(c as u32, 0xfffe..=0xffff));
                special |= !printable || !unicode;
            }
            if c == ' ' {
                break_space |= after_break;
                (after_space, after_break) = (true, false);
            } else if is_break(c) {
                space_break |= after_space;
                (after_space, after_break) = (false, true);
            } else {
                (after_space, after_break) = (false, false);
            }
        }
        let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
        let edges = edge(chars.first()) || edge(chars.last());
        let plain = !edges && !break_space && !space_break && !special && !breaks;
        Self {
            multiline: breaks,
            flow_plain: plain && !flow_indicator,
            block_plain: plain && !block_indicator,
            single: !break_space && !space_break && !special,
            block: chars.last() != Some(&' ') && !space_break && !special,
        }
    }
}

/// Reads all documents of a YAML text.
///
/// # Errors
/// What is wrong with the text.
pub(in crate::template) fn read(s: &str) -> Result<Vec<Value>, String> {
    documents(s).iter().map(|document| read_one(document)).collect()
}

/// Splits a text at its `---` lines.
fn documents(s: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut begun = false;
    for line in s.split_inclusive('\n') {
        let marker = line.trim_end();
        if marker == "---" || line.starts_with("--- ") {
            if begun
                || !current.trim().is_empty()
                    && current.lines().any(|l| !l.trim().is_empty() && !l.starts_with('#'))
            {
                out.push(std::mem::take(&mut current));
            }
            current.clear();
            begun = true;
            if let Some(rest) = line.strip_prefix("--- ") {
                current.push_str(rest);
            }
        } else if marker == "..." {
            out.push(std::mem::take(&mut current));
            begun = false;
        } else {
            current.push_str(line);
        }
    }
    if begun || out.is_empty() || !current.trim().is_empty() {
        out.push(current);
    }
    out
}

fn read_one(s: &str) -> Result<Value, String> {
    let sources = Sources::new(PathBuf::new());
    let id = sources.add(PathBuf::from("text"), s.to_owned());
    match crate::source::parse(&sources, id) {
        Ok(node) => Ok(value(&node)),
        Err(found) => {
            Err(found.list.first().map_or_else(|| "the text is not YAML".to_owned(), |d| d.message.clone()))
        }
    }
}

/// A node as plain data.
fn value(node: &Node) -> Value {
    match &node.value {
        Yaml::Seq(all) => list(all.iter().map(value).collect()),
        Yaml::Map(entries) => {
            map(entries.entries.iter().map(|e| (key_value(&e.key), value(&e.value))).collect::<Map>())
        }
        _ => key_value(node),
    }
}
