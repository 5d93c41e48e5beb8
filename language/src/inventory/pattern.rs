//! Host patterns: `all`, `web:!db*`, `~regex`, `group[1:3]`, and `--limit`.
//!
//! Owns: which hosts a pattern names, in which order. Must not: read anything but `@files` of a limit.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fancy_regex::Regex;

use super::model::{Inventory, LOCALHOST};
use crate::source::{Diagnostic, Diagnostics, Sources, Span};

/// A host pattern taken apart: plain terms first, then `&`, then `!`, each in the order written.
#[derive(Debug, Clone)]
pub struct Pattern {
    terms: Vec<Term>,
}

/// Why a pattern makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("the host pattern is empty")]
    Empty,
    #[error("`{term}` is no valid regular expression: {why}")]
    Regex { term: String, why: String },
}

/// The hosts that a pattern names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// In inventory order for each term, each host once.
    pub hosts: Vec<Arc<str>>,
    /// Terms that name no host and no group, with the nearest name there is.
    pub unmatched: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone)]
struct Term {
    written: String,
    kind: Kind,
    matcher: Matcher,
    subscript: Option<Subscript>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Add,
    Intersect,
    Exclude,
}

#[derive(Debug, Clone)]
enum Matcher {
    Name(String),
    /// A wildcard or a `~regex`, for groups and hosts.
    Pattern(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscript {
    One(i64),
    /// Inclusive; without an end, to the last.
    Range(usize, Option<usize>),
}

impl Pattern {
    /// Takes one pattern apart.
    ///
    /// # Errors
    /// An empty pattern, a bad regular expression.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::of([text])
    }

    /// Takes a list of patterns as one, as `hosts: [web, db]` means it.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let mut terms = Vec::new();
        for text in texts {
            for term in split(text) {
                terms.push(Term::parse(term)?);
            }
        }
        if terms.is_empty() {
            return Err(PatternError::Empty);
        }
        if terms.iter().all(|t| t.kind != Kind::Add) {
            terms.insert(0, Term::parse("all")?);
        }
        // A stable sort: the order inside of each kind stays.
        terms.sort_by_key(|t| t.kind);
        Ok(Self { terms })
    }

    /// The hosts of an inventory that it names.
    #[must_use]
    pub fn select(&self, inventory: &Inventory) -> Selection {
        let mut selection = Selection::default();
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        for term in &self.terms {
            let (hosts, known) = term.hosts(inventory);
            if !known {
                let bare = term.written.trim_start_matches(['!', '&']);
                let names = inventory.groups().map(|g| &*g.name).chain(inventory.hosts().map(|h| &*h.name));
                selection.unmatched.push((term.written.clone(), near(bare, names).map(str::to_owned)));
            }
            match term.kind {
                Kind::Add => selection.hosts.extend(hosts.into_iter().filter(|h| seen.insert(Arc::clone(h)))),
                Kind::Intersect => {
                    let these: HashSet<_> = hosts.into_iter().collect();
                    selection.hosts.retain(|h| these.contains(h));
                }
                Kind::Exclude => {
                    let these: HashSet<_> = hosts.into_iter().collect();
                    selection.hosts.retain(|h| !these.contains(h));
                }
            }
        }
        selection
    }
}

impl Selection {
    /// Findings for a pattern at a place: warnings for terms that match nothing.
    #[must_use]
    pub fn warnings(&self, span: Span) -> Vec<Diagnostic> {
        self.unmatched
            .iter()
            .map(|(term, near)| unmatched(Diagnostic::warning, term, near.as_deref(), span))
            .collect()
    }
}

fn unmatched(
    make: impl Fn(&'static str, String, Span) -> Diagnostic,
    term: &str,
    near: Option<&str>,
    span: Span,
) -> Diagnostic {
    let finding = make("no-such-host", format!("no host or group matches `{term}`"), span);
    match near {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding.help("`inventory list` shows all hosts and groups"),
    }
}

impl Term {
    fn parse(written: &str) -> Result<Self, PatternError> {
        let (kind, rest) = match written.as_bytes().first() {
            Some(b'!') => (Kind::Exclude, &written[1..]),
            Some(b'&') => (Kind::Intersect, &written[1..]),
            _ => (Kind::Add, written),
        };
        let rest = rest.trim();
        let regex = |source: &str| {
            Regex::new(source)
                .map_err(|e| PatternError::Regex { term: written.to_owned(), why: e.to_string() })
        };
        let (matcher, subscript) = if let Some(expression) = rest.strip_prefix('~') {
            (Matcher::Pattern(regex(&format!("^(?:{expression})"))?), None)
        } else {
            let (base, subscript) = split_subscript(rest);
            // A set such as `[1:-1]` that is no set means nothing: then it is a name, which no host will have.
            let pattern = base.contains(['*', '?', '[']).then(|| Regex::new(&wildcard(base)).ok()).flatten();
            let matcher = match pattern {
                Some(regex) => Matcher::Pattern(regex),
                None => Matcher::Name(base.to_owned()),
            };
            (matcher, subscript)
        };
        if let Matcher::Name(name) = &matcher
            && name.is_empty()
        {
            return Err(PatternError::Empty);
        }
        Ok(Self { written: written.to_owned(), kind, matcher, subscript })
    }

    /// The hosts, and whether any host or group has the name at all.
    fn hosts(&self, inventory: &Inventory) -> (Vec<Arc<str>>, bool) {
        let mut hosts: Vec<Arc<str>> = Vec::new();
        let mut known = false;
        match &self.matcher {
            Matcher::Name(name) => {
                // A dot makes Ansible look among the hosts even when a group has the name.
                if let Some(members) = inventory.members().get(&**name) {
                    known = true;
                    hosts.extend(members.iter().cloned());
                }
                if !known || name.contains('.') {
                    if let Some(host) = inventory.host(name) {
                        known = true;
                        hosts.push(Arc::clone(&host.name));
                    } else if !known && LOCALHOST.contains(&&**name) {
                        known = true;
                        hosts.push(Arc::from(&**name));
                    }
                }
            }
            Matcher::Pattern(regex) => {
                let matches = |text: &str| regex.is_match(text).unwrap_or(false);
                for (group, members) in &**inventory.members() {
                    if matches(group) {
                        known = true;
                        hosts.extend(members.iter().cloned());
                    }
                }
                let found: Vec<_> = inventory
                    .hosts()
                    .filter(|h| !h.implicit && matches(&h.name))
                    .map(|h| Arc::clone(&h.name))
                    .collect();
                known |= !found.is_empty();
                hosts.extend(found);
            }
        }
        let mut seen = HashSet::new();
        hosts.retain(|h| seen.insert(Arc::clone(h)));
        let hosts = match self.subscript {
            None => hosts,
            Some(Subscript::One(at)) => {
                let at = if at < 0 { hosts.len() as i64 + at } else { at };
                let host = usize::try_from(at).ok().and_then(|at| hosts.get(at).cloned());
                // `web[9]` of a group with three hosts is as wrong as a group that isn't there.
                known &= host.is_some();
                host.into_iter().collect()
            }
            Some(Subscript::Range(from, to)) => {
                let count = to.map_or(usize::MAX, |to| (to + 1).saturating_sub(from));
                hosts.into_iter().skip(from).take(count).collect()
            }
        };
        (hosts, known)
    }
}

/// Splits at commas, or at colons when there is no comma; colons of IPv6 addresses and subscripts stay.
fn split(text: &str) -> Vec<&str> {
    let text = text.trim();
    let parts: Vec<&str> = if text.contains(',') {
        text.split(',').collect()
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        vec![text]
    } else {
        let mut depth = 0_usize;
        text.split(|c| {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ':' && depth == 0
        })
        .collect()
    };
    parts.into_iter().map(str::trim).filter(|p| !p.is_empty()).collect()
}

/// `web[0]`, `web[-1]`, `web[1:3]`, `web[1:]`; other brackets are a wildcard's.
fn split_subscript(text: &str) -> (&str, Option<Subscript>) {
    let none = (text, None);
    let Some((base, inner)) = text.strip_suffix(']').and_then(|t| t.rsplit_once('[')) else { return none };
    if base.is_empty() {
        return none;
    }
    if let Ok(at) = inner.parse::<i64>()
        && !inner.starts_with('+')
    {
        return (base, Some(Subscript::One(at)));
    }
    let Some((from, to)) = inner.split_once([':', '-']) else { return none };
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) => (base, Some(Subscript::Range(from, Some(to)))),
        (Ok(from), Err(_)) if to.is_empty() => (base, Some(Subscript::Range(from, None))),
        _ => none,
    }
}

/// True when a text is what a shell wildcard describes, from its start to its end.
#[must_use]
pub fn fits_wildcard(text: &str, pattern: &str) -> bool {
    Regex::new(&wildcard(pattern)).is_ok_and(|regex| regex.is_match(text).unwrap_or(false))
}

/// A shell wildcard as a regular expression over the whole name.
fn wildcard(text: &str) -> String {
    let mut out = String::from(r"(?s)\A");
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                let (negated, body) = rest.strip_prefix('!').map_or((false, rest), |b| (true, b));
                // A `]` right at the start belongs to the set.
                let close = body.char_indices().skip(1).find(|(_, c)| *c == ']').map(|(at, _)| at);
                match close {
                    Some(at) => {
                        out.push_str(if negated { "[^" } else { "[" });
                        for c in body[..at].chars() {
                            if matches!(c, '\\' | '[' | ']' | '^' | '&' | '~') {
                                out.push('\\');
                            }
                            out.push(c);
                        }
                        out.push(']');
                        rest = &body[at + 1..];
                    }
                    None => out.push_str(r"\["),
                }
            }
            c => out.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push_str(r"\z");
    out
}

/// The closest of some names, if it is close enough to be what was meant.
pub fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).max(1);
    candidates
        .map(|c| (strsim::damerau_levenshtein(name, c), c))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// `--limit`: only these hosts, whatever a play's pattern says. Evaluated anew for each play, as hosts may be added.
#[derive(Debug, Clone)]
pub struct Limit {
    /// As given, for `ansible_limit`.
    pub text: String,
    pattern: Pattern,
    span: Span,
}

impl Limit {
    /// Reads the value of `--limit`; `@path` stands for the lines of a file.
    ///
    /// # Errors
    /// An unreadable file or bad pattern, with its place.
    pub fn parse(text: &str, directory: &Path, sources: &Sources) -> Result<Self, Diagnostic> {
        let file = sources.add(PathBuf::from("--limit"), text.to_owned());
        let span = Span { file, start: 0, end: text.len() as u32 };
        let mut terms: Vec<String> = Vec::new();
        for term in split(text) {
            let Some(path) = term.strip_prefix('@') else {
                terms.push(term.to_owned());
                continue;
            };
            let id = sources.read(&directory.join(path)).map_err(|e| {
                Diagnostic::error("limit-file", format!("can't read the limit file: {e}"), span)
            })?;
            let lines = sources.file(id);
            terms.extend(
                lines
                    .text
                    .lines()
                    .map(str::trim)
                    .filter(|l| !l.is_empty() && !l.starts_with('#'))
                    .map(str::to_owned),
            );
        }
        let pattern = Pattern::of(terms.iter().map(|t| &**t))
            .map_err(|fault| Diagnostic::error("limit", format!("bad `--limit`: {fault}"), span))?;
        Ok(Self { text: text.to_owned(), pattern, span })
    }

    /// Errors for terms that name no host or group of the inventory.
    pub fn check(&self, inventory: &Inventory, found: &mut Diagnostics) {
        for (term, near) in self.pattern.select(inventory).unmatched {
            found.push(unmatched(Diagnostic::error, &term, near.as_deref(), self.span));
        }
    }

    /// Keeps the hosts that are within the limit, in their order.
    #[must_use]
    pub fn apply(&self, hosts: Vec<Arc<str>>, inventory: &Inventory) -> Vec<Arc<str>> {
        let within: HashSet<_> = self.pattern.select(inventory).hosts.into_iter().collect();
        hosts.into_iter().filter(|h| within.contains(h)).collect()
    }
}
