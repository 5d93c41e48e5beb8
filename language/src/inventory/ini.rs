//! Inventories in INI form.
//!
//! Owns: sections, host lines, `key=value` words and their places. Must not: read files.

use std::path::PathBuf;
use std::sync::Arc;

use super::literal;
use super::model::Inventory;
use super::range::host_entry;
use super::reader::Reader;
use crate::source::{Diagnostic, Node, SourceId, Span, Yaml};

/// What the lines below a header say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Hosts,
    Children,
    Vars,
}

/// Adds all that an INI inventory says.
pub(super) fn add(inventory: &mut Inventory, file: SourceId, source: &Arc<PathBuf>, reader: &mut Reader<'_>) {
    let text = reader.sources.file(file);
    let mut parser = Parser {
        inventory,
        source,
        reader,
        group: "ungrouped".to_owned(),
        section: Section::Hosts,
        mentioned: Vec::new(),
        defined: Vec::new(),
    };
    let mut at = 0;
    for line in text.text.split_inclusive('\n') {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        let line = line.trim();
        if !line.is_empty() && !line.starts_with(['#', ';']) {
            parser.line(line, Span { file, start: start as u32, end: (start + line.len()) as u32 });
        }
    }
    parser.check_groups();
}

struct Parser<'a, 'r> {
    inventory: &'a mut Inventory,
    source: &'a Arc<PathBuf>,
    reader: &'a mut Reader<'r>,
    group: String,
    section: Section,
    /// Groups that need a definition somewhere, with the place that needs it.
    mentioned: Vec<(String, Span, &'static str)>,
    defined: Vec<String>,
}

impl Parser<'_, '_> {
    fn line(&mut self, line: &str, span: Span) {
        if line.starts_with('[')
            && let Some(header) = header(line)
        {
            self.header(header, span);
            return;
        }
        match self.section {
            Section::Hosts => self.hosts(line, span),
            Section::Children => self.child(line, span),
            Section::Vars => self.variable(line, span),
        }
    }

    fn header(&mut self, header: &str, span: Span) {
        let (group, kind) = match header.rsplit_once(':') {
            Some((group, kind)) => (group, kind),
            None => (header, "hosts"),
        };
        self.section = match kind {
            "hosts" => Section::Hosts,
            "children" => Section::Children,
            "vars" => Section::Vars,
            _ => {
                self.reader.found.push(
                    Diagnostic::error(
                        "ini-section",
                        format!("section `[{header}]` has the unknown kind `{kind}`"),
                        span,
                    )
                    .help("a section is `[group]`, `[group:vars]` or `[group:children]`"),
                );
                self.section
            }
        };
        self.group = group.to_owned();
        if self.section == Section::Vars {
            self.mentioned.push((group.to_owned(), span, "has variables here"));
        } else {
            self.inventory.add_group(group);
            self.defined.push(group.to_owned());
        }
    }

    fn hosts(&mut self, line: &str, span: Span) {
        let words = match words(line) {
            Ok(words) => words,
            Err(at) => {
                let span = Span { start: span.start + at as u32, ..span };
                self.reader.found.push(
                    Diagnostic::error("ini-quotes", "this quote is never closed", span)
                        .help("put another quote at the end of the value"),
                );
                return;
            }
        };
        let place = |word: &Word| Span {
            start: span.start + word.start as u32,
            end: span.start + word.end as u32,
            ..span
        };
        let Some((first, rest)) = words.split_first() else { return };
        let entry = match host_entry(&first.text) {
            Ok(entry) => entry,
            Err(fault) => {
                self.reader.found.push(Diagnostic::error("host-range", fault.to_string(), place(first)));
                return;
            }
        };
        let mut vars: Vec<(Arc<str>, Arc<Node>)> = Vec::new();
        if let Some(port) = entry.port {
            vars.push((
                "ansible_port".into(),
                Arc::new(Node { span: place(first), value: Yaml::Int(port.into()) }),
            ));
        }
        for word in rest {
            match word.text.split_once('=') {
                Some((name, value)) => vars.push((name.into(), Arc::new(literal::value(value, place(word))))),
                None => self.reader.found.push(
                    Diagnostic::error(
                        "ini-variable",
                        format!("expected `name=value` after the host, found `{}`", word.text),
                        place(word),
                    )
                    .help("one host a line; a value with spaces stands in quotes"),
                ),
            }
        }
        for host in &entry.names {
            self.inventory.add_host(host, Some(self.source));
            self.inventory.add_member(&self.group, host);
            for (name, value) in &vars {
                self.inventory.set_host_var(host, Arc::clone(name), Arc::clone(value));
            }
        }
    }

    fn child(&mut self, line: &str, span: Span) {
        let name = line.split(['#', ';']).next().unwrap_or_default().trim();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains('=') {
            self.reader.found.push(
                Diagnostic::error("ini-child", format!("expected the name of a group, found `{line}`"), span)
                    .help(format!("`[{}:children]` lists one group a line", self.group)),
            );
            return;
        }
        self.mentioned.push((name.to_owned(), span, "is a child here"));
        if let Err(fault) = self.inventory.add_child(&self.group.clone(), name) {
            self.reader.found.push(Diagnostic::error("group-loop", fault.to_string(), span));
        }
    }

    fn variable(&mut self, line: &str, span: Span) {
        let Some((name, value)) = line.split_once('=') else {
            self.reader.found.push(
                Diagnostic::error("ini-variable", format!("expected `name=value`, found `{line}`"), span)
                    .help(format!(
                        "`[{}:vars]` holds variables; hosts belong to `[{}]`",
                        self.group, self.group
                    )),
            );
            return;
        };
        let value = literal::value(value.trim(), span);
        self.inventory.set_group_var(&self.group.clone(), name.trim().into(), Arc::new(value));
    }

    /// A group that only `:vars` or `:children` name is a typing error.
    fn check_groups(&mut self) {
        for (name, span, what) in std::mem::take(&mut self.mentioned) {
            // Other sources may define it; they were read before, and their groups have something in them.
            let known = self.defined.contains(&name)
                || matches!(&*name, "all" | "ungrouped")
                || self.inventory.group(&name).is_some_and(|g| !g.hosts.is_empty() || !g.children.is_empty());
            if known {
                continue;
            }
            let error = Diagnostic::error(
                "undefined-group",
                format!("group `{name}` {what}, but nothing defines it"),
                span,
            );
            let near = super::pattern::near(&name, self.defined.iter().map(|d| &**d));
            self.reader.found.push(match near {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("add a section `[{name}]`")),
            });
        }
    }
}

/// The text between the brackets of a header line; only a comment may follow.
fn header(line: &str) -> Option<&str> {
    let (inner, tail) = line[1..].split_once(']')?;
    let tail = tail.trim();
    // `[fe80::1]:22` is a host, and so is `[a:b]c`.
    if !tail.is_empty() && !tail.starts_with(['#', ';'])
        || inner.is_empty()
        || inner.contains(char::is_whitespace)
    {
        return None;
    }
    let last_part = inner.rsplit_once(':').map_or("hosts", |(_, kind)| kind);
    // `[1:3]` is a range of hosts without a name, not a section; letters after the colon are a mistyped kind.
    if last_part.chars().all(|c| c.is_ascii_digit()) { None } else { Some(inner) }
}

/// A word of a host line and where it stands in it.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: String,
    start: usize,
    end: usize,
}

/// Splits as a POSIX shell would, with `#` comments; the error is the place of an open quote.
fn words(line: &str) -> Result<Vec<Word>, usize> {
    let mut found = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some(&(start, c)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        if c == '#' {
            break;
        }
        let mut text = String::new();
        let mut end = line.len();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c.is_whitespace() => {
                    end = at;
                    break;
                }
                '#' => {
                    // A comment may start inside of a word: that is what Ansible's splitting does too.
                    found.push(Word { text, start, end: at });
                    return Ok(found);
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                '\'' | '"' => loop {
                    match chars.next().ok_or(at)?.1 {
                        inner if inner == c => break,
                        '\\' if c == '"' => match chars.next().ok_or(at)?.1 {
                            escaped @ ('"' | '\\') => text.push(escaped),
                            other => text.extend(['\\', other]),
                        },
                        inner => text.push(inner),
                    }
                },
                _ => text.push(c),
            }
        }
        found.push(Word { text, start, end });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line).unwrap().into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn words_split_as_in_a_shell() {
        assert_eq!(texts("a b='c d' e=\"f\\\"g\" # no"), ["a", "b=c d", "e=f\"g"]);
        assert_eq!(texts("a x=1#2 y"), ["a", "x=1"]);
        assert_eq!(texts(r"a x=b\ c y=''"), ["a", "x=b c", "y="]);
        assert_eq!(words("a x='b"), Err(4));
    }

    #[test]
    fn headers_are_not_ranges() {
        assert_eq!(header("[web]"), Some("web"));
        assert_eq!(header("[web:vars] # x"), Some("web:vars"));
        assert_eq!(header("[fe80::1]:22"), None);
        assert_eq!(header("[1:3]"), None);
    }
}
