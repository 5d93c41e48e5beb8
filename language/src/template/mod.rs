//! Templates: Jinja2 with Ansible's filters, tests, lookups and rules.
//!
//! Owns: the template engine, lazy values, the check of template syntax and names before a run.
//! Must not: know plays or hosts; it sees variables only through [`Scope`].
//!
//! minijinja parses and holds values; `program` and `eval` run them by Ansible's rules (see `program` for why).

use std::path::PathBuf;
use std::sync::Arc;

pub use minijinja::Value;

use crate::source::Node;

mod check;
mod containers;
mod convert;
mod engine;
mod error;
mod eval;
mod file;
mod filters;
mod functions;
mod lazy;
mod lookups;
mod marks;
mod methods;
mod objects;
mod operators;
mod output;
mod program;
mod registry;
mod render;
#[cfg(test)]
mod table_tests;
mod tests;
mod values;

pub use check::{Reference, References};
pub use convert::{from_json, to_json};
pub use engine::Templates;
pub use error::{ErrorDetail, ErrorKind, Rendering, TemplateError};
pub(crate) use file::FileContext;
pub use file::FileOptions;
pub use lookups::use_agent;
pub use marks::{is_omit, is_unknown, omit, unknown};

/// A variable as it is stored.
#[derive(Debug, Clone)]
pub enum Var {
    /// Written by the user: strings in it are templates, rendered when used, in the scope of the user of the variable.
    Yaml(Arc<Node>),
    /// Facts, registered results, rendered values: data, never rendered as a template.
    Data(Value),
}

/// The variables that a template sees.
pub trait Scope: Send + Sync + std::fmt::Debug {
    /// The variable of that name by precedence, magic variables included.
    fn get(&self, name: &str) -> Option<Var>;
    /// All names, sorted; for `vars`, `varnames` and suggestions.
    fn names(&self) -> Vec<String>;
    /// Folders in which lookups and `include` search: role first, then the task file's folder, then the playbook's.
    fn search(&self) -> SearchPath;
    /// Which settings of connections any level may have a variable for, as [`crate::vars::connection::settings_of`]
    /// counts them; all where nobody keeps count.
    fn connection_settings(&self) -> u32 {
        u32::MAX
    }
}

/// Where relative paths in lookups, `src:` and includes are looked for.
#[derive(Debug, Clone, Default)]
pub struct SearchPath {
    /// Base folders, best first; with `kind` `templates` each base is tried as `base/templates/x` and then `base/x`.
    pub bases: Vec<PathBuf>,
}

/// Opens `!vault` text; the error says why it stays closed.
pub type VaultOpener = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// Finds the hosts of a pattern, for the lookup `inventory_hostnames`.
pub type HostFinder = Arc<dyn Fn(&str) -> Result<Vec<String>, String> + Send + Sync>;

/// What is the same for all templates of a run.
#[derive(Clone, Default)]
pub struct Options {
    /// Opens `!vault` values; without it they are an error when used.
    pub vault: Option<VaultOpener>,
    /// Hosts of a pattern.
    pub hosts: Option<HostFinder>,
    /// The environment of the controller, for `lookup('env')`.
    pub environment: Arc<[(String, String)]>,
    /// The folder in which the run was started: base of relative paths that nothing else gives.
    pub current_folder: PathBuf,
    /// Folders with `ansible_collections` in them, for `lookup('collection_version')`.
    pub collections: Vec<PathBuf>,
    /// Whether a condition may be any value and counts as Python has it: `allow_broken_conditionals`.
    pub broken_conditionals: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("current_folder", &self.current_folder).finish_non_exhaustive()
    }
}

/// True when a text has something to render.
#[must_use]
pub fn template_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(2).any(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// Python's `str` of a value, as a template writes it.
///
/// # Errors
/// An undefined part inside it.
pub fn to_text(value: &Value) -> Result<String, TemplateError> {
    values::text(value)
}

/// The names of all lookups, sorted; what `with_<name>` may name.
#[must_use]
pub fn lookup_names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = lookups::TABLE.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names
}

/// The names of all filters, tests and global functions, each sorted.
#[must_use]
pub fn known_names() -> [Vec<&'static str>; 3] {
    registry::names()
}

/// Runs nested rendering with enough stack left, whatever thread it is on: worker threads have little.
fn with_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(512 * 1024, 2 * 1024 * 1024, run)
}
