//! Which actions exist, and which of them are part of the language.
//!
//! Owns: the names `meta`, `include_*` and `import_*`, and how qualified names are read.
//! Must not: list modules; those come in through [`Catalogue`].

use std::fmt::Debug;

use dcos_play_agent::options::{Opt, Spec};

use crate::source::{Diagnostic, Diagnostics, Node};

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

/// Action groups of `module_defaults` by their short names, each with the collections whose modules are in it.
const GROUPS: &[(&str, &[&str])] = &[
    ("acme", &["community.crypto"]),
    ("aws", &["amazon.aws", "community.aws"]),
    ("azure", &["azure.azcollection"]),
    ("cpm", &["wti.remote"]),
    ("docker", &["community.docker"]),
    ("gcp", &["google.cloud"]),
    ("k8s", &["kubernetes.core", "community.kubernetes", "community.okd"]),
    ("os", &["openstack.cloud"]),
    ("ovirt", &["ovirt.ovirt"]),
    ("vmware", &["community.vmware"]),
];

/// The collections of an action group: `group/aws`, `group/amazon.aws.aws`.
fn group(key: &str) -> Option<&'static [&'static str]> {
    let name = key.strip_prefix("group/")?;
    let (collection, short) = name.rsplit_once('.').map_or((None, name), |(c, n)| (Some(c), n));
    let (_, collections) = GROUPS.iter().find(|(known, _)| *known == short)?;
    let own = matches!(collection, None | Some("ansible.builtin" | "ansible.legacy"));
    (own || collections.iter().any(|c| Some(*c) == collection)).then_some(*collections)
}

/// Whether a key of `module_defaults` means a module: by name, by an alias, or by an action group that it is in.
#[must_use]
pub fn names_module(key: &str, spec: Option<&Spec>, called: &str) -> bool {
    if key.starts_with("group/") {
        let collections = group(key).unwrap_or_default();
        return spec.is_some_and(|s| s.collections.iter().any(|c| collections.contains(c)));
    }
    let last = key.rsplit('.').next().unwrap_or(key);
    last == called || spec.is_some_and(|s| s.name == last || s.aliases.contains(&last))
}

/// The action groups in a value of `module_defaults` that nobody knows.
pub(super) fn check_groups(defaults: Option<&Node>, out: &mut Diagnostics) {
    for node in defaults.into_iter().flat_map(super::inherit::one_or_many) {
        let Some(map) = node.as_map() else { continue };
        for entry in &map.entries {
            let Some(name) = entry.key.as_str().filter(|k| k.starts_with("group/") && group(k).is_none())
            else {
                continue;
            };
            let finding =
                Diagnostic::error("unknown-group", format!("no action group named `{name}`"), entry.key.span);
            let known = GROUPS.iter().map(|(short, _)| format!("`group/{short}`")).collect::<Vec<_>>();
            out.push(finding.help(format!("these are known: {}", known.join(", "))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static IMAGE: Spec = Spec { collections: &["community.docker"], ..Spec::new("docker_image") };

    #[test]
    fn an_action_group_means_the_modules_of_its_collections() {
        for key in
            ["group/docker", "group/community.docker.docker", "docker_image", "community.docker.docker_image"]
        {
            assert!(names_module(key, Some(&IMAGE), "docker_image"), "{key}");
        }
        for key in ["group/aws", "group/amazon.aws.docker", "group/nothing", "docker_network"] {
            assert!(!names_module(key, Some(&IMAGE), "docker_image"), "{key}");
        }
    }
}
