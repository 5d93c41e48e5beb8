//! Which actions exist, and which of them are part of the language.
//!
//! Owns: the names `meta`, `include_*` and `import_*`, and how qualified names are read.
//! Must not: list modules; those come in through [`Catalogue`].

use std::fmt::Debug;

use dcos_play_agent::options::{Opt, Spec};

/// The modules that a run knows. Names come in without `ansible.builtin.` and `ansible.legacy.`.
pub trait Catalogue: Send + Sync + Debug {
    /// Finds a module by its short name or an alias (`dnf`).
    fn find(&self, short: &str) -> Option<Found>;
    /// All short names, for suggestions.
    fn names(&self) -> Vec<&'static str>;
}

/// Who carries out an action.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    /// The agent, on the host.
    Module(&'static Spec),
    /// The controller.
    Controller(&'static Spec),
}

/// Actions that the language itself defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    Meta,
    IncludeTasks,
    IncludeRole,
    ImportTasks,
    ImportRole,
    /// The old `include`, read as `include_tasks` with a warning.
    Include,
}

/// What a key of a task names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named {
    Builtin(Builtin),
    Found(Found),
}

const FROM: &[Opt] = &[
    Opt::str("name").aliases(&["role"]).required(),
    Opt::str("tasks_from"),
    Opt::str("vars_from"),
    Opt::str("defaults_from"),
    Opt::str("handlers_from"),
    Opt::bool("public"),
    Opt::bool("allow_duplicates"),
    Opt::bool("rolespec_validate"),
];
const APPLY: &[Opt] = &[Opt::dict("apply")];
const FILE: &[Opt] = &[Opt::str("file").required()];

pub(super) static IMPORT_ROLE: Spec = Spec { options: &[FROM], ..Spec::new("import_role") };
pub(super) static INCLUDE_ROLE: Spec = Spec { options: &[FROM, APPLY], ..Spec::new("include_role") };
pub(super) static IMPORT_TASKS: Spec = Spec { options: &[FILE], ..Spec::new("import_tasks") };
pub(super) static INCLUDE_TASKS: Spec = Spec { options: &[FILE, APPLY], ..Spec::new("include_tasks") };

pub(super) const BUILTINS: &[(&str, Builtin)] = &[
    ("meta", Builtin::Meta),
    ("include_tasks", Builtin::IncludeTasks),
    ("include_role", Builtin::IncludeRole),
    ("import_tasks", Builtin::ImportTasks),
    ("import_role", Builtin::ImportRole),
    ("include", Builtin::Include),
];

/// Without the prefixes that mean "Ansible's own".
pub(super) fn short(name: &str) -> &str {
    ["ansible.builtin.", "ansible.legacy."].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name)
}

/// Looks a name up as written: short, `ansible.builtin.`, or with a collection that the module is known under.
pub(super) fn lookup(catalogue: &dyn Catalogue, written: &str) -> Option<Named> {
    let short = short(written);
    if let Some((_, builtin)) = BUILTINS.iter().find(|(name, _)| *name == short) {
        return Some(Named::Builtin(*builtin));
    }
    if let Some((collection, name)) = short.rsplit_once('.') {
        let found = catalogue.find(name)?;
        let (Found::Module(spec) | Found::Controller(spec)) = found;
        return spec.collections.contains(&collection).then_some(Named::Found(found));
    }
    catalogue.find(short).map(Named::Found)
}
