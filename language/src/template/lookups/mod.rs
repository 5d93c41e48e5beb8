//! Lookups: `lookup()`, `query()` and `with_*`.
//!
//! Owns: their table and the rules of `wantlist` and `errors`. Must not: run on managed hosts; lookups read the controller.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::Value;

use super::error::{ErrorKind, R, TemplateError};
use super::eval::Cx;
use super::marks::{is_unknown, unknown};
use super::registry::{self, Args};
use super::values::{is_list, items, list, text, truth};

mod data;
mod dns;
mod files;
mod lists;
mod passwordstore;
mod url;

pub use url::use_agent;

/// Options of a lookup, by name.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) terms: Vec<Value>,
    pub(super) options: Vec<(Arc<str>, Value)>,
}

/// The code of a lookup.
pub(super) type Lookup = fn(&mut Cx, &Call) -> R<Vec<Value>>;

/// All lookups by name.
pub(super) const TABLE: &[(&str, Lookup)] = &[
    ("items", lists::items_),
    ("list", lists::list_),
    ("flattened", lists::flattened),
    ("indexed_items", lists::indexed_items),
    ("dict", lists::dict),
    ("together", lists::together),
    ("nested", lists::nested),
    ("cartesian", lists::nested),
    ("subelements", lists::subelements),
    ("sequence", lists::sequence),
    ("random_choice", lists::random_choice),
    ("env", data::env),
    ("vars", data::vars),
    ("varnames", data::varnames),
    ("inventory_hostnames", data::inventory_hostnames),
    ("config", data::config),
    ("pipe", data::pipe),
    ("lines", data::lines),
    ("file", files::file),
    ("unvault", files::file),
    ("fileglob", files::fileglob),
    ("filetree", files::filetree),
    ("first_found", files::first_found),
    ("template", files::template),
    ("password", files::password),
    ("ini", files::ini),
    ("csvfile", files::csvfile),
    ("url", url::url),
    ("dig", dns::dig),
    ("passwordstore", passwordstore::passwordstore),
    ("collection_version", data::collection_version),
];

impl Call {
    pub(super) fn option(&self, name: &str) -> Option<&Value> {
        self.options.iter().find(|(n, _)| **n == *name).map(|(_, v)| v)
    }

    pub(super) fn text(&self, name: &str, default: &str) -> R<String> {
        self.option(name).filter(|v| !v.is_none()).map_or_else(|| Ok(default.to_owned()), text)
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> R<bool> {
        match self.option(name) {
            None => Ok(default),
            Some(value) => match super::filters::boolean(value) {
                Some(known) => Ok(known),
                None => truth(value),
            },
        }
    }

    /// The value of a switch that stands among the terms as `name=value`.
    pub(super) fn switch(&self, name: &str, value: &str) -> R<bool> {
        super::filters::boolean(&Value::from(value))
            .ok_or_else(|| self.fail(format!("`{name}` is yes or no, not `{value}`")))
    }

    pub(super) fn fail(&self, why: impl std::fmt::Display) -> TemplateError {
        TemplateError::lookup(format!("lookup `{}`: {why}", self.name))
    }
}

fn find(name: &str) -> R<(&'static str, Lookup)> {
    let short = registry::short(name);
    TABLE
        .iter()
        .find(|(n, _)| *n == short)
        .copied()
        .ok_or_else(|| TemplateError::no_such("lookup", name, registry::near_lookup(name)))
}

/// `lookup(name, ...)` and `query(name, ...)`.
pub(super) fn call(cx: &mut Cx, a: &Args, query: bool) -> R<Value> {
    let name = a.text_at(0)?;
    let (name, run) = find(&name)?;
    let mut options = a.named.clone();
    let mut take = |name: &str| options.iter().position(|(n, _)| **n == *name).map(|at| options.remove(at).1);
    let want_list = take("wantlist").map_or(Ok(query), |v| truth(&v))?;
    let errors = take("errors").map_or(Ok("strict".to_owned()), |v| text(&v))?;
    let mut terms = a.rest.clone();
    // One list as the only term is the list of terms, where the lookup takes any number.
    if terms.len() == 1 && is_list(&terms[0]) && !lists::takes_lists(name) {
        terms = items(&terms[0])?;
    }
    if terms.iter().any(is_unknown) {
        return Ok(unknown());
    }
    let result = run(cx, &Call { name, terms, options });
    let found = match (result, errors.as_str()) {
        (Ok(found), _) => found,
        (Err(e), _)
            if matches!(
                e.kind,
                ErrorKind::Undefined { .. } | ErrorKind::Unknown | ErrorKind::Cycle { .. }
            ) =>
        {
            return Err(e);
        }
        (Err(_), "ignore" | "warn") => {
            return Ok(if want_list { list(Vec::new()) } else { Value::from(()) });
        }
        (Err(e), _) => return Err(e),
    };
    if want_list {
        return Ok(list(found));
    }
    joined(found)
}

/// A single result keeps its type, several texts are joined by commas, none is an empty list.
fn joined(mut found: Vec<Value>) -> R<Value> {
    match found.len() {
        0 => Ok(list(found)),
        1 => Ok(found.remove(0)),
        _ if found.iter().all(|v| v.as_str().is_some()) => {
            Ok(Value::from(found.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")))
        }
        _ => Ok(list(found)),
    }
}

/// `with_<name>: terms`.
pub(super) fn with(cx: &mut Cx, name: &str, terms: Value) -> R<Vec<Value>> {
    let (name, run) = find(name)?;
    if is_unknown(&terms) {
        return Err(super::values::unknown_error());
    }
    let terms = if is_list(&terms) { items(&terms)? } else { vec![terms] };
    run(cx, &Call { name, terms, options: Vec::new() })
}

/// Finds a file by the search path: `kind` is the folder beside which it is looked for (`files`, `templates`).
pub(super) fn find_file(cx: &Cx, kind: &str, name: &str) -> Option<PathBuf> {
    let name = super::filters::home_expanded(cx, name);
    let path = Path::new(&name);
    if path.is_absolute() {
        return path.exists().then(|| path.to_owned());
    }
    let search = cx.scope.search();
    let fallback = [cx.engine.options.current_folder.clone()];
    for base in search.bases.iter().chain(&fallback) {
        for candidate in [base.join(kind).join(path), base.join(path)] {
            if candidate.exists() {
                return Some(candidate);
            }
        }
    }
    None
}
