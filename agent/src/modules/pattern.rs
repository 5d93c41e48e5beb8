//! Regular expressions as users write them for Python.
//!
//! Owns: one face over two engines. Must not: know what is searched.
//!
//! The plain engine works on bytes in linear time. What only Python's can do (looking around, backreferences) goes to
//! a backtracking one, which needs text.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Fault;

/// A compiled expression.
pub(super) enum Pattern {
    Plain(regex::bytes::Regex),
    Fancy(fancy_regex::Regex),
}

/// How an expression is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) multi_line: bool,
    pub(super) dot_all: bool,
}

/// One match: where its groups are.
pub(super) struct Groups {
    spans: Vec<Option<Range<usize>>>,
    names: BTreeMap<String, usize>,
}

impl Groups {
    /// The whole match.
    pub(super) fn whole(&self) -> Range<usize> {
        self.spans.first().cloned().flatten().unwrap_or_default()
    }

    /// A group by number or name.
    pub(super) fn group(&self, name: &str) -> Option<Range<usize>> {
        let number = name.parse().ok().or_else(|| self.names.get(name).copied())?;
        self.spans.get(number).cloned().flatten()
    }

    /// `\1`, `\g<1>` and `\g<name>` in the template stand for groups; `\n` and `\t` for what they say.
    pub(super) fn expand(&self, template: &str, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = template;
        while let Some(at) = rest.find('\\') {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            rest = &rest[at + 1..];
            let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
            let named = rest.strip_prefix("g<").and_then(|r| r.split_once('>'));
            if let Some((name, tail)) = named.or_else(|| (digits > 0).then(|| rest.split_at(digits))) {
                out.extend_from_slice(self.group(name).and_then(|span| text.get(span)).unwrap_or_default());
                rest = tail;
                continue;
            }
            let mut chars = rest.chars();
            match chars.next() {
                Some('n') => out.push(b'\n'),
                Some('t') => out.push(b'\t'),
                Some('r') => out.push(b'\r'),
                Some('\\') | None => out.push(b'\\'),
                Some(other) => {
                    out.push(b'\\');
                    out.extend_from_slice(other.to_string().as_bytes());
                }
            }
            rest = chars.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
        out
    }
}

impl Pattern {
    /// Compiles an expression.
    pub(super) fn new(pattern: &str, flags: Flags) -> Result<Self, Fault> {
        // Python's end of text.
        let pattern = pattern.replace("\\Z", "\\z");
        let plain = regex::bytes::RegexBuilder::new(&pattern)
            .multi_line(flags.multi_line)
            .dot_matches_new_line(flags.dot_all)
            .build();
        if let Ok(regex) = plain {
            return Ok(Self::Plain(regex));
        }
        let letters = match (flags.multi_line, flags.dot_all) {
            (true, true) => "(?ms)",
            (true, false) => "(?m)",
            (false, true) => "(?s)",
            (false, false) => "",
        };
        match fancy_regex::Regex::new(&format!("{letters}{pattern}")) {
            Ok(regex) => Ok(Self::Fancy(regex)),
            Err(e) => Err(Fault::new(format!("the regular expression `{pattern}` is not understood: {e}"))),
        }
    }

    /// True when it matches anywhere. Text that isn't UTF-8 never matches an expression that needs text.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Plain(regex) => regex.is_match(text),
            Self::Fancy(regex) => {
                std::str::from_utf8(text).is_ok_and(|text| regex.is_match(text).unwrap_or(false))
            }
        }
    }

    /// The first match.
    pub(super) fn first(&self, text: &[u8]) -> Result<Option<Groups>, Fault> {
        self.find(text, 1).map(|mut all| all.pop())
    }

    /// Every match from left to right.
    pub(super) fn all(&self, text: &[u8]) -> Result<Vec<Groups>, Fault> {
        self.find(text, usize::MAX)
    }

    fn find(&self, text: &[u8], limit: usize) -> Result<Vec<Groups>, Fault> {
        match self {
            Self::Plain(regex) => {
                let names = names(regex.capture_names());
                let spans = |c: regex::bytes::Captures<'_>| c.iter().map(|m| m.map(|m| m.range())).collect();
                let found = regex.captures_iter(text).take(limit);
                Ok(found.map(|c| Groups { spans: spans(c), names: names.clone() }).collect())
            }
            Self::Fancy(regex) => {
                let text = std::str::from_utf8(text)
                    .map_err(|_| Fault::new("an expression that looks around needs a file in UTF-8"))?;
                let names = names(regex.capture_names());
                let mut found = Vec::new();
                for captures in regex.captures_iter(text).take(limit) {
                    let captures =
                        captures.map_err(|e| Fault::new(format!("the regular expression gave up: {e}")))?;
                    let spans = captures.iter().map(|m| m.map(|m| m.range())).collect();
                    found.push(Groups { spans, names: names.clone() });
                }
                Ok(found)
            }
        }
    }
}

fn names<'a>(names: impl Iterator<Item = Option<&'a str>>) -> BTreeMap<String, usize> {
    names.enumerate().filter_map(|(at, name)| name.map(|name| (name.to_owned(), at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_around_works_too() {
        let pattern =
            Pattern::new("^(?!#)(?P<key>\\w+)=(\\d)", Flags { multi_line: true, ..Flags::default() });
        let pattern = pattern.expect("compiles");
        let text = b"#a=1\nb=2\nc=3\n";
        let all = pattern.all(text).expect("matches");
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].expand("\\g<key>\\t\\2\\\\", text), b"c\t3\\");
        assert!(!pattern.is_match(b"#x=1"));
        assert!(Pattern::new("(", Flags::default()).is_err());
    }
}
