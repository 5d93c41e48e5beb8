//! YAML text to nodes.
//!
//! Owns: tags, anchors, merge keys, duplicate keys, and the limits that keep a hostile file from eating the machine.
//! Must not: know what the values mean.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::load_fault::syntax_fault;
use super::{
    Diagnostic, Diagnostics, Entry, Mapping, Node, SourceFile, SourceId, Sources, Span, Yaml, scalar,
};

/// Nesting deeper than this is a mistake or an attack; it also bounds the stack that dropping a tree needs.
const DEPTH_LIMIT: usize = 128;

/// Nodes that aliases may add to a file. Real files stay below a few thousand; "billion laughs" files do not.
const ALIAS_LIMIT: usize = 200_000;

/// The code of a template without quotes, found here or by its syntax error.
const UNQUOTED: &str = "unquoted-template";

/// Reads and parses a file.
///
/// # Errors
/// [`ReadFault::Io`] when it cannot be read, [`ReadFault::Yaml`] with places when it is not good YAML.
pub fn read(sources: &Sources, path: &Path) -> Result<Node, ReadFault> {
    let id = sources.read(path).map_err(ReadFault::Io)?;
    parse(sources, id).map_err(ReadFault::Yaml)
}

/// Why a file gave no node.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    #[error("{0}")]
    Io(std::io::Error),
    #[error("{}", .0.list.first().map_or("not valid YAML", |d| d.message.as_str()))]
    Yaml(Diagnostics),
}

/// Parses a file that was read before. An empty file is [`Yaml::Null`].
///
/// # Errors
/// The syntax error, or every duplicate key and bad tag.
pub fn parse(sources: &Sources, id: SourceId) -> Result<Node, Diagnostics> {
    let file = sources.file(id);
    let mut loader = Loader::new(id, &file);
    let mut parser = Parser::new_from_str(&file.text);
    let mut documents = 0;
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(both) => both,
            Err(fault) => {
                let at = loader.offsets.byte(fault.marker().index());
                // Braces that YAML took for mappings are the cause, not a second mistake.
                loader.found.list.retain(|f| f.code != UNQUOTED);
                loader.found.push(syntax_fault(id, &file, at, fault.info()));
                break;
            }
        };
        let at = loader.span(span);
        if let Event::DocumentStart(_) = event {
            documents += 1;
            if documents > 1 {
                loader.found.push(
                    Diagnostic::error("many-documents", "a second YAML document starts here", at).help(
                        "a file holds one document: remove the `---`, or move what follows to its own file",
                    ),
                );
                break;
            }
        }
        if loader.event(event, at).is_err() {
            break;
        }
    }
    if loader.found.list.is_empty() {
        let whole = Span { file: id, start: 0, end: 0 };
        Ok(loader.root.unwrap_or(Node { span: whole, value: Yaml::Null }))
    } else {
        Err(loader.found)
    }
}

/// The parser counts characters, spans count bytes.
enum Offsets {
    /// ASCII only: the same number.
    Same,
    Table(Vec<u32>, u32),
}

impl Offsets {
    fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self::Same;
        }
        Self::Table(text.char_indices().map(|(at, _)| at as u32).collect(), text.len() as u32)
    }

    fn byte(&self, character: usize) -> u32 {
        match self {
            Self::Same => character as u32,
            Self::Table(table, end) => table.get(character).copied().unwrap_or(*end),
        }
    }
}

/// Loading cannot go on; the reason is among the findings.
struct Stop;

struct Loader<'a> {
    id: SourceId,
    file: &'a SourceFile,
    offsets: Offsets,
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    from_aliases: usize,
    root: Option<Node>,
    found: Diagnostics,
}

struct Frame {
    span: Span,
    anchor: usize,
    unsafe_: bool,
    nodes: usize,
    kind: FrameKind,
}

enum FrameKind {
    Seq(Vec<Node>),
    Map { entries: Vec<Entry>, merged: Vec<Entry>, seen: HashMap<KeyText, Span>, key: Option<Key> },
}

struct Key {
    node: Node,
    merge: bool,
}

#[derive(PartialEq, Eq, Hash)]
enum KeyText {
    Text(Arc<str>),
    Other(String),
}

impl<'a> Loader<'a> {
    fn new(id: SourceId, file: &'a SourceFile) -> Self {
        Self {
            id,
            file,
            offsets: Offsets::new(&file.text),
            stack: Vec::new(),
            anchors: HashMap::new(),
            from_aliases: 0,
            root: None,
            found: Diagnostics::default(),
        }
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.offsets.byte(span.start.index());
        Span { file: self.id, start, end: self.offsets.byte(span.end.index()).max(start) }
    }

    fn event(&mut self, event: Event<'_>, at: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let at = if anchor > 0 || tag.is_some() { self.past_properties(at) } else { at };
                let merge = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                let value = self.scalar(&text, style, tag.as_deref(), at);
                let span =
                    if text.is_empty() && style == ScalarStyle::Plain { self.empty_at(at) } else { at };
                let node = Node { span: self.trimmed(span, style), value };
                self.finish(node, anchor, 1, merge)
            }
            Event::Alias(anchor) => {
                let Some((node, nodes)) = self.anchors.get(&anchor) else {
                    self.found.push(
                        Diagnostic::error("recursive-alias", "this alias stands inside its own anchor", at)
                            .help("write the value out instead"),
                    );
                    return Err(Stop);
                };
                self.from_aliases += nodes;
                if self.from_aliases > ALIAS_LIMIT {
                    let message = format!("aliases expand to more than {ALIAS_LIMIT} values");
                    self.found.push(Diagnostic::error("alias-limit", message, at));
                    return Err(Stop);
                }
                let (node, nodes) = (node.clone(), *nodes);
                self.finish(node, 0, nodes, false)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), "seq", FrameKind::Seq(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let kind = FrameKind::Map {
                    entries: Vec::new(),
                    merged: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                };
                self.open(at, anchor, tag.as_deref(), "map", kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        span: Span,
        anchor: usize,
        tag: Option<&Tag>,
        natural: &str,
        kind: FrameKind,
    ) -> Result<(), Stop> {
        if self.stack.len() >= DEPTH_LIMIT {
            let message = format!("values are nested more than {DEPTH_LIMIT} deep");
            self.found.push(Diagnostic::error("depth-limit", message, span));
            return Err(Stop);
        }
        let mut unsafe_ = self.stack.last().is_some_and(|f| f.unsafe_);
        match tag.map(name_of) {
            None => {}
            Some(TagName::Core(name)) if name == natural => {}
            Some(TagName::Unsafe) => unsafe_ = true,
            Some(other) => self.bad_tag(&other, span, natural),
        }
        self.stack.push(Frame { span, anchor, unsafe_, nodes: 1, kind });
        Ok(())
    }

    fn close(&mut self, at: Span) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (value, last) = match frame.kind {
            FrameKind::Seq(items) => {
                let last = items.last().map(|n| n.span.end);
                (Yaml::Seq(items), last)
            }
            FrameKind::Map { entries, merged, .. } => {
                let last = entries.last().map(|e| e.value.span.end.max(e.key.span.end));
                (Yaml::Map(Mapping { entries: with_merged(merged, entries) }), last)
            }
        };
        // The end event of a block collection stands at the next token; only flow collections end where it says.
        let flow = matches!(self.file.text.as_bytes().get(at.start as usize), Some(b']' | b'}'));
        let end = match last {
            Some(last) if !flow => last,
            _ if flow => at.end,
            _ => frame.span.end,
        };
        let node = Node { span: Span { end: end.max(frame.span.start), ..frame.span }, value };
        self.finish(node, frame.anchor, frame.nodes, false)
    }

    fn finish(&mut self, node: Node, anchor: usize, nodes: usize, merge: bool) -> Result<(), Stop> {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes += nodes;
        let FrameKind::Map { entries, merged, seen, key } = &mut frame.kind else {
            if let FrameKind::Seq(items) = &mut frame.kind {
                items.push(node);
            }
            return Ok(());
        };
        match key.take() {
            None => {
                if !merge && let Some(fault) = check_key(&node, seen, &self.file.text) {
                    self.found.push(fault);
                }
                *key = Some(Key { node, merge });
            }
            Some(Key { merge: true, node: at }) => {
                if let Err(fault) = merge_into(merged, node, &at) {
                    self.found.push(fault);
                }
            }
            Some(Key { node: key, .. }) => {
                let mut value = node;
                if value.is_null() && value.span.start == value.span.end {
                    // Nothing was written: the key is the only place to point at.
                    value.span = key.span;
                }
                entries.push(Entry { key, value });
            }
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Span) -> Yaml {
        let inherited = self.stack.last().is_some_and(|f| f.unsafe_);
        let as_text = |text: &str| {
            if inherited { Yaml::Unsafe(Arc::from(text)) } else { Yaml::Str(Arc::from(text)) }
        };
        let Some(tag) = tag else {
            let plain = if style == ScalarStyle::Plain { scalar::resolve(text) } else { as_text(text) };
            return match plain {
                Yaml::Str(text) if inherited => Yaml::Unsafe(text),
                other => other,
            };
        };
        let name = name_of(tag);
        let wrong = |wanted: &str| {
            Diagnostic::error("bad-tag-value", format!("`{text}` is not {wanted}, but its tag says so"), at)
        };
        let core = match &name {
            TagName::Vault => return Yaml::Vault(Arc::from(text)),
            TagName::Unsafe => return Yaml::Unsafe(Arc::from(text)),
            TagName::Plain => return as_text(text),
            TagName::Core(core) => core.as_str(),
            TagName::Other(_) => "",
        };
        match core {
            "str" => as_text(text),
            "null" => Yaml::Null,
            "int" => scalar::integer(text).map_or_else(
                || {
                    self.found.push(wrong("an integer"));
                    Yaml::Null
                },
                Yaml::Int,
            ),
            "float" => scalar::float(text)
                .or_else(|| scalar::integer(text).map(|i| i as f64))
                .or_else(|| text.parse().ok())
                .map_or_else(
                    || {
                        self.found.push(wrong("a number"));
                        Yaml::Null
                    },
                    Yaml::Float,
                ),
            "bool" => match scalar::resolve(text) {
                Yaml::Bool(value) => Yaml::Bool(value),
                _ => {
                    self.found.push(wrong("a boolean"));
                    Yaml::Null
                }
            },
            _ => {
                self.bad_tag(&name, at, "str");
                Yaml::Null
            }
        }
    }

    fn bad_tag(&mut self, tag: &TagName, at: Span, natural: &str) {
        let (written, hint) = match tag {
            TagName::Core(name) => (format!("!!{name}"), format!("use `!!{natural}` or no tag here")),
            TagName::Vault => {
                ("!vault".to_owned(), "`!vault` goes before an encrypted text block".to_owned())
            }
            TagName::Unsafe => ("!unsafe".to_owned(), String::new()),
            TagName::Plain => ("!".to_owned(), "remove it".to_owned()),
            TagName::Other(name) => {
                (name.clone(), "known tags are `!vault`, `!unsafe` and YAML's own (`!!str`)".to_owned())
            }
        };
        self.found.push(
            Diagnostic::error("unknown-tag", format!("the tag `{written}` cannot stand here"), at).help(hint),
        );
    }

    /// Moves a scalar's start past its tag and anchor, so that its span is its text.
    fn past_properties(&self, at: Span) -> Span {
        let text = &self.file.text[at.start as usize..at.end as usize];
        let mut rest = text;
        while rest.starts_with(['!', '&']) {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest = rest[end..].trim_start();
        }
        if rest.is_empty() { at } else { Span { start: at.start + (text.len() - rest.len()) as u32, ..at } }
    }

    /// Where nothing is written the event's span is the next token's: an empty span before it says "here".
    fn empty_at(&self, at: Span) -> Span {
        if self.file.text[at.start as usize..].starts_with('-') { at } else { Span { end: at.start, ..at } }
    }

    /// Without the blanks and line breaks that the parser counts to a scalar.
    fn trimmed(&self, at: Span, style: ScalarStyle) -> Span {
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return at;
        }
        let text = &self.file.text[at.start as usize..at.end as usize];
        Span { end: at.start + text.trim_end().len() as u32, ..at }
    }
}

enum TagName {
    Core(String),
    Vault,
    Unsafe,
    /// `!`: text whatever it looks like.
    Plain,
    Other(String),
}

fn name_of(tag: &Tag) -> TagName {
    if tag.is_yaml_core_schema() {
        return TagName::Core(tag.suffix.clone());
    }
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("!", "vault" | "vault-encrypted") => TagName::Vault,
        ("!", "unsafe") => TagName::Unsafe,
        ("!", "") | ("", "!") => TagName::Plain,
        (handle, suffix) => TagName::Other(format!("{handle}{suffix}")),
    }
}

fn check_key(key: &Node, seen: &mut HashMap<KeyText, Span>, text: &str) -> Option<Diagnostic> {
    let (text, shown) = match &key.value {
        Yaml::Str(s) | Yaml::Unsafe(s) => (KeyText::Text(Arc::clone(s)), s.to_string()),
        Yaml::Map(_) => return Some(mapping_as_key(key.span, text)),
        Yaml::Seq(_) => return Some(Diagnostic::error("list-as-key", "a list cannot be a key", key.span)),
        Yaml::Vault(_) => {
            return Some(Diagnostic::error("vault-as-key", "an encrypted value cannot be a key", key.span));
        }
        other => {
            (KeyText::Other(format!("{other:?}")), key.scalar_text().unwrap_or_else(|| "null".to_owned()))
        }
    };
    let first = seen.insert(text, key.span)?;
    Some(
        Diagnostic::error("duplicate-key", format!("the key `{shown}` is written twice"), key.span)
            .label("here again")
            .also(first, "first here")
            .help("the later one would silently win: keep one, or join their values"),
    )
}

/// `{{ name }}` without quotes is a mapping whose key is a mapping.
fn mapping_as_key(at: Span, text: &str) -> Diagnostic {
    let (start, end) = (at.start as usize, at.end as usize);
    if text[..start].ends_with('{') && text[end..].starts_with('}') {
        let outer = Span { start: at.start - 1, end: at.end + 1, ..at };
        let written = text[start - 1..end + 1].replace('"', "'");
        return Diagnostic::error(UNQUOTED, "a value that starts with `{{` needs quotes", outer)
            .help(format!("write \"{written}\""));
    }
    Diagnostic::error("mapping-as-key", "a mapping cannot be a key", at)
        .label("YAML reads `{` as the start of a mapping")
}

/// `<<: *a` or `<<: [*a, *b]`; among merged mappings the first wins.
fn merge_into(merged: &mut Vec<Entry>, node: Node, key: &Node) -> Result<(), Diagnostic> {
    let bad = |node: &Node| {
        Diagnostic::error("bad-merge", format!("`<<` merges mappings, not {}", node.kind()), key.span)
            .also(node.span, "this one")
            .help("write `<<: *name`, where `&name` marks a mapping")
    };
    let sources = match node.value {
        Yaml::Map(map) => vec![map],
        Yaml::Seq(items) => items
            .into_iter()
            .map(|item| match item.value {
                Yaml::Map(map) => Ok(map),
                _ => Err(bad(&item)),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(bad(&node)),
    };
    for entry in sources.into_iter().flat_map(|map| map.entries) {
        if !merged.iter().any(|m| m.key.value == entry.key.value) {
            merged.push(entry);
        }
    }
    Ok(())
}

/// Merged entries come first, as in `PyYAML`; an own entry takes a merged one's place.
fn with_merged(merged: Vec<Entry>, own: Vec<Entry>) -> Vec<Entry> {
    if merged.is_empty() {
        return own;
    }
    let mut all = merged;
    for entry in own {
        match all.iter_mut().find(|m| m.key.value == entry.key.value) {
            Some(there) => *there = entry,
            None => all.push(entry),
        }
    }
    all
}
