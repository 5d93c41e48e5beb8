//! Values of INI inventories: Python literals where they are some, text otherwise.
//!
//! Owns: the grammar that Python's `ast.literal_eval` accepts, as far as it makes YAML values. Must not: know INI.

use std::sync::Arc;

use crate::source::{Entry, Mapping, Node, Span, Yaml};

/// Reads `1`, `'text'`, `[1, 2]`, `{'a': None}`; everything that isn't a literal is text as it stands.
pub(super) fn value(text: &str, span: Span) -> Node {
    // A tail such as ` # why` is a comment for Python, so the parser knows it too.
    let mut parser = Parser { rest: text.trim_start_matches([' ', '\t']), span, depth: 0 };
    let parsed = parser.tuple_or_value();
    match parsed {
        Some(value) if parser.at_end() => Node { span, value },
        _ => Node { span, value: Yaml::Str(Arc::from(text)) },
    }
}

/// Deeper nesting is text: Python gives up there as well, and our own stack is safe.
const DEEPEST: u32 = 90;

struct Parser<'a> {
    rest: &'a str,
    span: Span,
    depth: u32,
}

impl Parser<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('#') {
            self.rest = "";
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip();
        self.rest.is_empty()
    }

    fn eat(&mut self, token: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn node(&self, value: Yaml) -> Node {
        Node { span: self.span, value }
    }

    /// `1, 2` without parentheses is a tuple.
    fn tuple_or_value(&mut self) -> Option<Yaml> {
        let first = self.value()?;
        if !self.eat(',') {
            return Some(first);
        }
        let mut items = vec![self.node(first)];
        while !self.at_end() {
            let item = self.value()?;
            items.push(self.node(item));
            if !self.eat(',') {
                break;
            }
        }
        Some(Yaml::Seq(items))
    }

    fn value(&mut self) -> Option<Yaml> {
        self.skip();
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = match self.rest.chars().next()? {
            '[' => {
                self.eat('[');
                Some(Yaml::Seq(self.items(']')?.0))
            }
            '(' => {
                self.eat('(');
                let (mut items, comma) = self.items(')')?;
                // `(x)` is x, `(x,)` a tuple.
                if items.len() == 1 && !comma { items.pop().map(|n| n.value) } else { Some(Yaml::Seq(items)) }
            }
            '{' => {
                self.eat('{');
                self.braces()
            }
            '\'' | '"' | 'r' | 'R' | 'u' | 'U' | 'b' | 'B' => self.strings(),
            '+' | '-' | '.' | '0'..='9' => self.number(),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    /// Items up to the closing token, and whether a comma stood before it.
    fn items(&mut self, close: char) -> Option<(Vec<Node>, bool)> {
        let mut items = Vec::new();
        let mut comma = false;
        while !self.eat(close) {
            if !items.is_empty() && !comma {
                return None;
            }
            let value = self.value()?;
            items.push(self.node(value));
            comma = self.eat(',');
        }
        Some((items, comma))
    }

    /// A dictionary or a set; a set becomes a list.
    fn braces(&mut self) -> Option<Yaml> {
        if self.eat('}') {
            return Some(Yaml::Map(Mapping::default()));
        }
        let first = self.value()?;
        if !self.eat(':') {
            let mut items = vec![self.node(first)];
            if self.eat(',') {
                items.extend(self.items('}')?.0);
            } else if !self.eat('}') {
                return None;
            }
            return Some(Yaml::Seq(items));
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut key = first;
        loop {
            if matches!(key, Yaml::Seq(_) | Yaml::Map(_)) {
                return None;
            }
            let value = self.value()?;
            entries.retain(|e| e.key.value != key);
            entries.push(Entry { key: self.node(key), value: self.node(value) });
            let comma = self.eat(',');
            if self.eat('}') {
                return Some(Yaml::Map(Mapping { entries }));
            }
            if !comma {
                return None;
            }
            key = self.value()?;
            if !self.eat(':') {
                return None;
            }
        }
    }

    fn word(&mut self) -> Option<Yaml> {
        for (word, value) in [("None", Yaml::Null), ("True", Yaml::Bool(true)), ("False", Yaml::Bool(false))]
        {
            if let Some(rest) = self.rest.strip_prefix(word)
                && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            {
                self.rest = rest;
                return Some(value);
            }
        }
        None
    }

    /// One or more string literals side by side, which Python joins.
    fn strings(&mut self) -> Option<Yaml> {
        let mut text = String::new();
        let mut any = false;
        let mut bytes = None;
        loop {
            self.skip();
            // Letters before a quote are a prefix; anything else ends the row of strings.
            let letters = self.rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            if letters > 2 || !self.rest[letters..].starts_with(['\'', '"']) {
                break;
            }
            let prefix = self.rest[..letters].to_ascii_lowercase();
            let raw = prefix.contains('r');
            let is_bytes = prefix.contains('b');
            if !matches!(&*prefix, "" | "r" | "u" | "b" | "rb" | "br") || bytes.is_some_and(|b| b != is_bytes)
            {
                return None;
            }
            bytes = Some(is_bytes);
            self.rest = &self.rest[prefix.len()..];
            self.string_body(raw, &mut text)?;
            any = true;
        }
        any.then(|| Yaml::Str(text.into()))
    }

    fn string_body(&mut self, raw: bool, text: &mut String) -> Option<()> {
        let quote = self.rest.chars().next()?;
        let triple: String = std::iter::repeat_n(quote, 3).collect();
        let close = if self.rest.starts_with(&triple) { triple } else { quote.to_string() };
        self.rest = &self.rest[close.len()..];
        loop {
            if let Some(rest) = self.rest.strip_prefix(&close) {
                self.rest = rest;
                return Some(());
            }
            let mut chars = self.rest.chars();
            let c = chars.next()?;
            self.rest = chars.as_str();
            if c != '\\' {
                text.push(c);
                continue;
            }
            let escaped = chars.next()?;
            self.rest = chars.as_str();
            if raw {
                text.push('\\');
                text.push(escaped);
            } else {
                self.escape(escaped, text)?;
            }
        }
    }

    fn escape(&mut self, escaped: char, text: &mut String) -> Option<()> {
        let digits = match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            '\\' | '\'' | '"' => escaped,
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            '0'..='7' => {
                let more = self.rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let number = u32::from_str_radix(&format!("{escaped}{}", &self.rest[..more]), 8).ok()?;
                self.rest = &self.rest[more..];
                char::from_u32(number)?
            }
            other => {
                text.push('\\');
                other
            }
        };
        text.push(digits);
        Some(())
    }

    fn code(&mut self, length: usize) -> Option<char> {
        let digits = self.rest.get(..length)?;
        self.rest = &self.rest[length..];
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    fn number(&mut self) -> Option<Yaml> {
        let mut negative = false;
        if let Some(sign) = self.rest.chars().next().filter(|c| matches!(c, '+' | '-')) {
            negative = sign == '-';
            self.rest = self.rest[1..].trim_start();
        }
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while let Some(b) = bytes.get(end) {
            let exponent_sign = matches!(b, b'+' | b'-')
                && end > 0
                && matches!(bytes[end - 1], b'e' | b'E')
                && !self.rest.starts_with("0x")
                && !self.rest.starts_with("0X");
            if !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.') || exponent_sign) {
                break;
            }
            end += 1;
        }
        let written = &self.rest[..end];
        self.rest = &self.rest[end..];
        number(written, negative)
    }
}

/// A Python number without its sign. Numbers that need more than 64 bits are left as text, since no YAML value of ours holds them.
fn number(written: &str, negative: bool) -> Option<Yaml> {
    let underscores_fine = !written.starts_with('_') && !written.ends_with('_') && !written.contains("__");
    if !underscores_fine || !written.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let plain: String = written.chars().filter(|c| *c != '_').collect();
    let lower = plain.to_ascii_lowercase();
    let sign = |n: i64| Yaml::Int(if negative { -n } else { n });
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix).ok().map(sign);
        }
    }
    if plain.bytes().all(|b| b.is_ascii_digit()) {
        // `010` is an error in Python, `00` is 0.
        let leading_zero = plain.len() > 1 && plain.starts_with('0') && plain.bytes().any(|b| b != b'0');
        return if leading_zero { None } else { plain.parse().ok().map(sign) };
    }
    if !plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        || plain == "."
    {
        return None;
    }
    let number: f64 = plain.parse().ok()?;
    Some(Yaml::Float(if negative { -number } else { number }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceId;

    fn read(text: &str) -> Yaml {
        value(text, Span { file: SourceId(0), start: 0, end: 0 }).value
    }

    /// JSON-like, so that cases stay on one line.
    fn show(value: &Yaml) -> String {
        match value {
            Yaml::Null => "null".into(),
            Yaml::Bool(b) => b.to_string(),
            Yaml::Int(n) => n.to_string(),
            Yaml::Float(n) => format!("{n:?}"),
            Yaml::Str(s) | Yaml::Unsafe(s) | Yaml::Vault(s) => format!("{s:?}"),
            Yaml::Seq(items) => {
                format!("[{}]", items.iter().map(|i| show(&i.value)).collect::<Vec<_>>().join(","))
            }
            Yaml::Map(map) => {
                let entries: Vec<_> = map
                    .entries
                    .iter()
                    .map(|e| format!("{}:{}", show(&e.key.value), show(&e.value.value)))
                    .collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    /// Each right side was compared with what `ansible-inventory` 2.19 shows for the left.
    #[test]
    fn values_are_what_ansible_reads() {
        for (text, expected) in [
            ("1 # one", "1"),
            ("foo # two", "\"foo # two\""),
            ("\"x\" # three", "\"x\""),
            ("[1, 'b', {'k': (1,2)}]", "[1,\"b\",{\"k\":[1,2]}]"),
            ("", "\"\""),
            ("\"a\" \"b\"", "\"ab\""),
            ("1.5e3", "1500.0"),
            ("{{ x }}", "\"{{ x }}\""),
            ("\"it's\"", "\"it's\""),
            ("'abc", "\"'abc\""),
            ("{1,2}", "[1,2]"),
            ("-5", "-5"),
            ("r\"a\\n\"", "\"a\\\\n\""),
            ("\"a\\nb\"", "\"a\\nb\""),
            ("1e400", "inf"),
            ("0b11", "3"),
            ("0x10", "16"),
            ("010", "\"010\""),
            ("1_0", "10"),
            ("None", "null"),
            ("True", "true"),
            ("true", "\"true\""),
            ("yes", "\"yes\""),
            ("1.2.3.4", "\"1.2.3.4\""),
            ("10.0.0.0/8", "\"10.0.0.0/8\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("['x','y']", "[\"x\",\"y\"]"),
            ("--1", "\"--1\""),
            ("+1", "1"),
            ("['a', 1]", "[\"a\",1]"),
            ("{'a': None, 'b': [True]}", "{\"a\":null,\"b\":[true]}"),
            ("{}", "{}"),
            ("(1)", "1"),
            ("1, 2", "[1,2]"),
            ("Nonesuch", "\"Nonesuch\""),
            ("rabbit", "\"rabbit\""),
            ("u", "\"u\""),
        ] {
            assert_eq!(show(&read(text)), expected, "{text}");
        }
    }
}
