//! Templates: minijinja with Ansible's filters, tests, lookups and rules.
//!
//! Owns: the template environment, lazy values, the check of template syntax and names before a run.
//! Must not: know plays or hosts; it sees variables only through [`Scope`].

use std::path::PathBuf;
use std::sync::Arc;

pub use minijinja::Value;

use crate::source::Node;

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
}

/// Where relative paths in lookups, `src:` and includes are looked for.
#[derive(Debug, Clone, Default)]
pub struct SearchPath {
    /// Base folders, best first; with `kind` `templates` each base is tried as `base/templates/x` and then `base/x`.
    pub bases: Vec<PathBuf>,
}
