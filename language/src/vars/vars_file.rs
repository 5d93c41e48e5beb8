//! Files that hold variables: `group_vars/`, `vars_files`, `include_vars`, `-e @file`.
//!
//! Owns: the way from a path to variables, vault included. Must not: search for files.

use std::path::Path;

use super::Table;
use super::vault::{Vault, is_vault};
use crate::source::{Diagnostic, Diagnostics, Node, SourceId, Sources, Span, Yaml, parse};

/// Reads a file of variables. A wholly encrypted file is decrypted, and so are `!vault` values if there is a password; without
/// one these stay, and whoever uses them reports it. An empty file has no variables.
///
/// # Errors
/// An unreadable or wrongly encrypted file, bad YAML, content that is no mapping; each with its place.
pub fn read_vars(path: &Path, vault: &Vault, sources: &Sources) -> Result<Table, Diagnostics> {
    let node = read_yaml(path, vault, sources)?;
    match &node.value {
        Yaml::Map(mapping) => Ok(Table::of_mapping(mapping)),
        Yaml::Null => Ok(Table::default()),
        _ => Err(one(Diagnostic::error(
            "vars-file",
            "a vars file must hold a mapping of names to values",
            node.span,
        )
        .help("write `name: value` lines"))),
    }
}

/// Reads any YAML file as [`read_vars`] does.
///
/// # Errors
/// As [`read_vars`], any content being fine.
pub fn read_yaml(path: &Path, vault: &Vault, sources: &Sources) -> Result<Node, Diagnostics> {
    let id = sources.read(path).map_err(|fault| {
        let span = Span { file: sources.add(path.to_owned(), String::new()), start: 0, end: 0 };
        one(Diagnostic::error("unreadable-file", fault.to_string(), span))
    })?;
    parse_yaml(decrypt_file(id, vault, sources)?, vault, sources)
}

/// The same file, or its decrypted text when it is encrypted as a whole.
pub(crate) fn decrypt_file(id: SourceId, vault: &Vault, sources: &Sources) -> Result<SourceId, Diagnostics> {
    let file = sources.file(id);
    if !is_vault(&file.text) {
        return Ok(id);
    }
    match vault.open_file(&file.text) {
        Ok(text) => Ok(sources.add(file.path.clone(), text)),
        Err(fault) => {
            let end = file.text.find('\n').unwrap_or(file.text.len()) as u32;
            let message = format!("can't decrypt `{}`: {fault}", file.name);
            let error = Diagnostic::error("vault", message, Span { file: id, start: 0, end });
            Err(one(match fault.help() {
                Some(help) => error.help(help),
                None => error,
            }))
        }
    }
}

/// Parses a text that was read and opens its `!vault` values.
pub(crate) fn parse_yaml(id: SourceId, vault: &Vault, sources: &Sources) -> Result<Node, Diagnostics> {
    let node = parse(sources, id)?;
    if vault.is_empty() {
        return Ok(node);
    }
    let (node, faults) = vault.decrypt_node(node);
    if faults.is_empty() { Ok(node) } else { Err(Diagnostics { list: faults }) }
}

fn one(finding: Diagnostic) -> Diagnostics {
    Diagnostics { list: vec![finding] }
}
