//! A template check that knows just enough: names, filters, and `default` as a guard.

use std::sync::Arc;

use dcos_play::resolve::{Ref, Refs, StaticText, TemplateCheck, TemplateFault};
use dcos_play::source::{Node, nearest};
use dcos_play::vars::Layer;

#[derive(Debug)]
pub(crate) struct Stub;

const FILTERS: &[&str] = &["default", "bool", "int", "join", "list", "upper", "length"];
const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "is",
    "in",
    "if",
    "else",
    "defined",
    "undefined",
    "succeeded",
    "failed",
    "changed",
    "skipped",
    "true",
    "false",
];

impl TemplateCheck for Stub {
    fn text(&self, text: &str) -> Result<Refs, TemplateFault> {
        let mut refs = Refs::default();
        let mut from = 0;
        while let Some(open) = text[from..].find("{{").map(|at| from + at) {
            let Some(close) = text[open..].find("}}").map(|at| open + at) else {
                return Err(TemplateFault {
                    message: "`{{` is never closed".into(),
                    at: open..open + 2,
                    help: None,
                });
            };
            expression(&text[open + 2..close], open + 2, &mut refs)?;
            from = close + 2;
        }
        Ok(refs)
    }

    fn file(&self, text: &str, _: &[(String, String)]) -> Result<Refs, TemplateFault> {
        self.text(text)
    }

    fn expression(&self, text: &str) -> Result<Refs, TemplateFault> {
        let mut refs = Refs::default();
        expression(text, 0, &mut refs)?;
        Ok(refs)
    }

    fn lookups(&self) -> Vec<&'static str> {
        vec!["items", "dict", "first_found", "fileglob", "together", "nested", "sequence"]
    }
}

/// Renders `{{ name }}` of text variables.
impl StaticText for Stub {
    fn render(&self, node: &Node, vars: &[Arc<Layer>]) -> Option<String> {
        let mut text = node.as_str()?.to_owned();
        for (name, value) in vars.iter().flat_map(|l| &l.entries) {
            if let Some(value) = value.scalar_text() {
                text = text.replace(&format!("{{{{ {name} }}}}"), &value);
            }
        }
        (!text.contains("{{")).then_some(text)
    }
}

fn expression(text: &str, offset: usize, refs: &mut Refs) -> Result<(), TemplateFault> {
    let guarded = text.contains("default") || text.contains("defined");
    let bytes = text.as_bytes();
    let (mut at, mut quote, mut before) = (0, None, b' ');
    while at < bytes.len() {
        let byte = bytes[at];
        if let Some(open) = quote {
            if byte == open {
                quote = None;
            }
            at += 1;
            continue;
        }
        if byte == b'\'' || byte == b'"' {
            quote = Some(byte);
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            let end = text[at..]
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(text.len(), |n| at + n);
            let word = &text[at..end];
            let place = offset + at..offset + end;
            if before == b'|' {
                if !FILTERS.contains(&word) {
                    let help = nearest(word, FILTERS.iter().copied()).map(|n| format!("did you mean `{n}`?"));
                    return Err(TemplateFault {
                        message: format!("no filter named `{word}`"),
                        at: place,
                        help,
                    });
                }
            } else if before != b'.' && !WORDS.contains(&word) {
                refs.names.push(Ref { name: word.into(), at: place, guarded });
            }
            at = end;
            before = b'a';
            continue;
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
        at += 1;
    }
    Ok(())
}
