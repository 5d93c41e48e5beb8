//! Where roles are and what their folders hold.
//!
//! Owns: the search for roles and the files of a role. Must not: expand tasks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inherit::{file_layer, over};
use super::{Inherited, Resolver};
use crate::source::{Diagnostic, Diagnostics, Node, Span, Yaml, nearest};
use crate::vars::Layer;

/// Which files of a role are used instead of `main`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct From {
    pub tasks: Option<String>,
    pub vars: Option<String>,
    pub defaults: Option<String>,
    pub handlers: Option<String>,
}

/// Extensions a YAML file of a role may have, in the order they are tried.
const EXTENSIONS: [&str; 4] = [".yml", ".yaml", ".json", ""];

/// Finds a role's folder: beside the playbook, beside the role that asks, on the roles path, beside the playbooks' folder.
pub(super) fn find(
    resolver: &Resolver,
    name: &str,
    at: Span,
    context: &Inherited,
    out: &mut Diagnostics,
) -> Option<PathBuf> {
    let bases = bases(resolver, context);
    if name.contains('/') {
        let mut tried = vec![context.playbook_directory.join(name), context.directory.join(name)];
        tried.extend(bases.iter().map(|b| b.join(name)));
        if let Some(found) = tried.into_iter().find(|p| p.is_dir()) {
            return Some(clean(&found));
        }
    } else {
        if let [namespace, collection, role] = name.split('.').collect::<Vec<_>>().as_slice() {
            return in_collection(resolver, &[namespace, collection, role], at, context, out);
        }
        let mut collections = context.settings.collections.iter().filter_map(|c| {
            let (namespace, collection) = c.split_once('.')?;
            Some(collection_home(resolver, namespace, collection, context)?.join("roles").join(name))
        });
        if let Some(found) = collections.find(|p| p.is_dir()) {
            return Some(found);
        }
        if let Some(found) = bases.iter().map(|b| b.join(name)).find(|p| p.is_dir() && is_role(p)) {
            return Some(found);
        }
        if let Some(found) = bases.iter().map(|b| b.join(name)).find(|p| p.is_dir()) {
            return Some(found);
        }
    }
    let names: Vec<String> = bases.iter().flat_map(|b| folders(b)).collect();
    let finding = Diagnostic::error("unknown-role", format!("no role named `{name}`"), at);
    out.push(match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => finding.label(format!("did you mean `{near}`?")),
        None => {
            let shown: Vec<String> = bases
                .iter()
                .filter(|b| b.is_dir() && **b != context.playbook_directory)
                .map(|b| resolver.shown(b))
                .collect();
            finding.help(match shown.as_slice() {
                [] => "there is no folder `roles` beside the playbook, and ANSIBLE_ROLES_PATH names none"
                    .to_owned(),
                _ => format!("looked in {} and beside the playbook", shown.join(", ")),
            })
        }
    });
    None
}

fn in_collection(
    resolver: &Resolver,
    [namespace, collection, role]: &[&str; 3],
    at: Span,
    context: &Inherited,
    out: &mut Diagnostics,
) -> Option<PathBuf> {
    let home = collection_home(resolver, namespace, collection, context);
    if let Some(found) = home.map(|h| h.join("roles").join(role)).filter(|p| p.is_dir()) {
        return Some(found);
    }
    let message = format!("the collection role `{namespace}.{collection}.{role}` is not here");
    out.push(Diagnostic::error("unknown-role", message, at).help(format!(
        "install the collection (`ansible-galaxy collection install {namespace}.{collection}`), put the role in collections/ansible_collections/{namespace}/{collection}/roles/{role} beside the playbook, or copy it to roles/{role}"
    )));
    None
}

/// Where a collection is: beside the playbook, beside the folder of playbooks, or installed.
fn collection_home(
    resolver: &Resolver,
    namespace: &str,
    collection: &str,
    context: &Inherited,
) -> Option<PathBuf> {
    let root = &context.root_directory;
    [Some(context.playbook_directory.as_path()), Some(root.as_path()), root.parent()]
        .into_iter()
        .flatten()
        .map(|base| base.join("collections"))
        .chain(resolver.setup.collections_path.iter().cloned())
        .map(|base| base.join("ansible_collections").join(namespace).join(collection))
        .find(|p| p.is_dir())
}

/// Every role that a name could mean.
pub(super) fn all(resolver: &Resolver, context: &Inherited) -> Vec<PathBuf> {
    bases(resolver, context).iter().flat_map(|b| folders(b).into_iter().map(|name| b.join(name))).collect()
}

fn bases(resolver: &Resolver, context: &Inherited) -> Vec<PathBuf> {
    let mut bases = vec![context.playbook_directory.join("roles")];
    if let Some(beside) = context.role.as_ref().and_then(|r| r.path.parent()) {
        bases.push(beside.to_path_buf());
    }
    bases.push(context.root_directory.join("roles"));
    bases.extend(resolver.setup.roles_path.iter().cloned());
    bases.push(context.playbook_directory.clone());
    // Projects that keep their playbooks in a folder of their own; Ansible wants a `roles_path` for that.
    if let Some(parent) = context.playbook_directory.parent() {
        bases.push(parent.join("roles"));
    }
    let mut unique: Vec<PathBuf> = Vec::new();
    for base in bases {
        if !unique.contains(&base) {
            unique.push(base);
        }
    }
    unique
}

/// The playbook's own folder is searched too, where `files/` or `group_vars/` are no roles.
fn is_role(path: &Path) -> bool {
    ["tasks", "defaults", "vars", "handlers", "meta", "templates", "files", "library"]
        .iter()
        .any(|d| path.join(d).is_dir())
}

fn folders(base: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(base)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|e| e.path().is_dir() && is_role(&e.path()))
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// `roles/a/../b` becomes `roles/b`, so that one role has one path.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// The file `main` (or another) of a role's folder; `None` when there is none.
pub(super) fn file(role: &Path, folder: &str, name: &str) -> Option<PathBuf> {
    let base = role.join(folder);
    // Most roles lack most folders, and one question is enough to know.
    if !base.is_dir() {
        return None;
    }
    EXTENSIONS.iter().map(|e| base.join(format!("{name}{e}"))).find(|p| p.is_file())
}

/// The variables of `defaults/` or `vars/`: a file, or all files of a folder of that name in the order of their names.
pub(super) fn variables(
    resolver: &Resolver,
    role: &Path,
    folder: &str,
    from: Option<&str>,
    at: Span,
    out: &mut Diagnostics,
) -> Layer {
    let name = from.unwrap_or("main");
    let files = match file(role, folder, name) {
        Some(file) => vec![file],
        None => files_below(&role.join(folder).join(name)),
    };
    if files.is_empty() && from.is_some() {
        let names = files_below(&role.join(folder));
        out.push(no_file(resolver, &format!("{folder}/{name}"), &role.join(folder), &names, at));
    }
    let mut layer = Layer::default();
    for path in files {
        let Some(node) = resolver.load(&path, at, out) else { continue };
        match &node.value {
            Yaml::Null => {}
            Yaml::Map(_) => {
                layer = over(&layer, &file_layer(&node, node.span));
            }
            _ => out.push(Diagnostic::error(
                "not-variables",
                format!("a variables file is a mapping, not {}", node.kind()),
                node.span,
            )),
        }
    }
    layer
}

/// A file that a role should have.
pub(super) fn no_file(
    resolver: &Resolver,
    name: &str,
    folder: &Path,
    names: &[PathBuf],
    at: Span,
) -> Diagnostic {
    let finding =
        Diagnostic::error("no-file", format!("no file `{name}` in `{}`", resolver.shown(folder)), at);
    let stems: Vec<&str> = names.iter().filter_map(|p| p.file_name()?.to_str()).collect();
    let wanted = name.rsplit('/').next().unwrap_or(name);
    match nearest(wanted, stems.iter().flat_map(|s| [*s, s.rsplit_once('.').map_or(*s, |(stem, _)| stem)])) {
        Some(near) => finding.label(format!("did you mean `{near}`?")),
        None if stems.is_empty() => finding.help("the folder is empty or missing"),
        None => finding.help(format!(
            "there are {}",
            stems.iter().take(8).map(|s| format!("`{s}`")).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// YAML files of a folder and its sub-folders, sorted.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let hidden =
            path.file_name().and_then(|n| n.to_str()).is_none_or(|n| n.starts_with('.') || n.ends_with('~'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_none_or(|e| ["yml", "yaml", "json"].iter().any(|k| e == *k)) {
            found.push(path);
        }
    }
    found
}

/// `meta/main.yml` as far as a run needs it.
#[derive(Debug, Default)]
pub(super) struct Meta {
    pub dependencies: Option<Node>,
    pub allow_duplicates: bool,
    /// From `meta/argument_specs.yml` or `meta/main.yml`.
    pub argument_specs: Option<Node>,
}

pub(super) fn meta(resolver: &Resolver, role: &Path, at: Span, out: &mut Diagnostics) -> Meta {
    let mut meta = Meta::default();
    if let Some(node) = file(role, "meta", "main").and_then(|p| resolver.load(&p, at, out)) {
        match &node.value {
            Yaml::Map(map) => {
                meta.dependencies = map.get("dependencies").cloned();
                meta.allow_duplicates = map.get("allow_duplicates").is_some_and(is_true);
                meta.argument_specs = map.get("argument_specs").cloned();
            }
            Yaml::Null => {}
            _ => out.push(Diagnostic::error(
                "not-meta",
                format!("`meta/main.yml` is a mapping, not {}", node.kind()),
                node.span,
            )),
        }
    }
    for name in ["argument_specs"] {
        if let Some(node) = file(role, "meta", name).and_then(|p| resolver.load(&p, at, out)) {
            meta.argument_specs = node.as_map().and_then(|m| m.get("argument_specs")).cloned();
        }
    }
    meta
}

/// A literal truth value.
pub(super) fn is_true(node: &Node) -> bool {
    match &node.value {
        Yaml::Bool(value) => *value,
        Yaml::Int(value) => *value == 1,
        Yaml::Str(text) => matches!(text.to_lowercase().as_str(), "yes" | "true" | "on" | "1" | "y" | "t"),
        _ => false,
    }
}

/// Where a role stands among others: the same role with the same parameters runs once in a play.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    pub path: PathBuf,
    pub from: From,
    pub params: Vec<(String, Yaml)>,
    pub vars: Option<Yaml>,
    pub when: Option<Yaml>,
    pub tags: Option<Yaml>,
    pub included: bool,
}

/// Two layers in one, the second on top.
pub(super) fn joined(lower: &Arc<Layer>, upper: Option<&Arc<Layer>>) -> Arc<Layer> {
    match upper {
        Some(upper) => Arc::new(over(lower, upper)),
        None => Arc::clone(lower),
    }
}
