//! Extra variables of the command line: `-e name=value`, `-e '{json}'`, `-e @file`.
//!
//! Owns: their forms and places. Must not: know what they mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Table;
use super::vars_file::{decrypt_file, parse_yaml};
use super::vault::Vault;
use crate::source::{Diagnostic, Diagnostics, Node, SourceId, Sources, Span, Yaml};

/// Reads the values of `-e` in order; a later one wins. What is wrong goes to `found`.
pub fn parse_extra_vars(
    values: &[String],
    directory: &Path,
    vault: &Vault,
    sources: &Sources,
    found: &mut Diagnostics,
) -> Table {
    let mut table = Table::default();
    for value in values {
        let text = value.trim();
        let file = if let Some(path) = text.strip_prefix('@') {
            read_file(&directory.join(path), vault, sources)
        } else {
            let id = sources.add(PathBuf::from("--extra-vars"), text.to_owned());
            if !text.starts_with(['{', '[']) {
                words(text, id, &mut table, found);
                continue;
            }
            Ok(id)
        };
        match file.and_then(|id| parse_yaml(id, vault, sources)) {
            Ok(node) => mapping(&node, &mut table, found),
            Err(faults) => found.list.extend(faults.list),
        }
    }
    table
}

fn read_file(path: &Path, vault: &Vault, sources: &Sources) -> Result<SourceId, Diagnostics> {
    let id = sources.read(path).map_err(|fault| {
        let span = Span { file: sources.add(path.to_owned(), String::new()), start: 0, end: 0 };
        let error = Diagnostic::error("extra-vars", format!("can't read the extra variables: {fault}"), span);
        Diagnostics { list: vec![error] }
    })?;
    decrypt_file(id, vault, sources)
}

fn mapping(node: &Node, table: &mut Table, found: &mut Diagnostics) {
    match &node.value {
        Yaml::Map(map) => table.extend(&Table::of_mapping(map)),
        Yaml::Null => {}
        _ => found.push(
            Diagnostic::error(
                "extra-vars",
                "extra variables must be a mapping of names to values",
                node.span,
            )
            .help("give `-e name=value`, `-e '{\"name\": \"value\"}'` or `-e @file.yml`"),
        ),
    }
}

/// `a=1 b='two words' c={{ d }}`: every value is text.
fn words(text: &str, file: SourceId, table: &mut Table, found: &mut Diagnostics) {
    for (start, end) in split(text) {
        let word = &text[start..end];
        let span = Span { file, start: start as u32, end: end as u32 };
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                table.set(name.into(), Arc::new(Node { span, value: Yaml::Str(unquote(value).into()) }));
            }
            _ => found.push(
                Diagnostic::error("extra-vars", format!("expected `name=value`, found `{word}`"), span)
                    .help("a value with spaces stands in quotes; a file is given as `-e @file.yml`"),
            ),
        }
    }
}

/// Ranges of the words; spaces in quotes and in `{{ }}`, `{% %}`, `{# #}` don't split.
fn split(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open && before != '\\' => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) if depth == 0 && before != '\\' => quote = Some(c),
            ('{' | '%' | '#', None) if before == '{' => depth += 1,
            ('}', None) if matches!(before, '}' | '%' | '#') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_whitespace() && quote.is_none() && depth == 0 {
            found.extend(start.take().map(|s| (s, at)));
        } else if start.is_none() {
            start = Some(at);
        }
        before = c;
    }
    found.extend(start.map(|s| (s, text.len())));
    found
}

fn unquote(value: &str) -> String {
    for quote in ['"', '\''] {
        if value.len() > 1
            && let Some(inner) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote))
        {
            return inner.replace(&format!("\\{quote}"), &quote.to_string());
        }
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> (Vec<(String, Yaml)>, Vec<String>) {
        let sources = Sources::default();
        let mut found = Diagnostics::default();
        let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        let table = parse_extra_vars(&values, Path::new("/nowhere"), &Vault::default(), &sources, &mut found);
        let entries = table.iter().map(|(n, v)| (n.to_string(), v.value.clone())).collect();
        (entries, found.list.into_iter().map(|d| d.message).collect())
    }

    #[test]
    fn words_are_text_and_json_keeps_types() {
        let text = |t: &str| Yaml::Str(t.into());
        let (entries, faults) = read(&["a=1 b='two words' c={{ d e }}", r#"{"f": 2, "g": "h"}"#, "a=3"]);
        let expected = [
            ("a", text("3")),
            ("b", text("two words")),
            ("c", text("{{ d e }}")),
            ("f", Yaml::Int(2)),
            ("g", text("h")),
        ];
        assert_eq!(entries, expected.map(|(n, v)| (n.to_owned(), v)));
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn a_word_without_equals_is_refused() {
        assert_eq!(read(&["a=1 oops"]).1, ["expected `name=value`, found `oops`"]);
        assert_eq!(read(&["[1]"]).1, ["extra variables must be a mapping of names to values"]);
    }
}
