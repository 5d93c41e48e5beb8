//! Magic variables, and the objects behind `hostvars` and `vars`.
//!
//! Owns: their names and values. Must not: keep state.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object};

use super::scope::TaskScope;
use super::store::Store;
use crate::template::{Scope, Value, Var};

/// The Ansible whose language this is; what `ansible_version` tells playbooks that ask for a least version.
const VERSION: (u32, u32, u32) = (2, 19, 3);

/// All magic names. Nothing a user writes replaces them, not even extra vars.
pub(super) const NAMES: [&str; 36] = [
    "ansible_check_mode",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_parent_role_names",
    "ansible_parent_role_paths",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_name",
    "ansible_play_role_names",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_search_path",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "environment",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "vars",
];

/// The magic variable of that name, if the scope has it.
pub(super) fn get(scope: &TaskScope, name: &str) -> Option<Var> {
    if name == "environment" {
        return scope.parts.environment.as_ref().map(|n| Var::Yaml(Arc::clone(n)));
    }
    value(scope, name).map(Var::Data)
}

fn value(scope: &TaskScope, name: &str) -> Option<Value> {
    let run = &scope.store.run;
    let role = scope.parts.role.as_deref();
    let host_name = scope.host_name();
    Some(match name {
        "inventory_hostname" => Value::from(&**host_name),
        "inventory_hostname_short" => Value::from(host_name.split('.').next().unwrap_or_default()),
        "group_names" => scope.inventory.group_names(host_name).iter().map(|g| Value::from(&**g)).collect(),
        "groups" => scope.inventory.groups_value(),
        "hostvars" => Value::from_object(HostVars { store: Arc::clone(&scope.store) }),
        "vars" => Value::from_object(ScopeVars { scope: Arc::new(scope.clone()) }),
        "ansible_facts" => scope.host.facts(),
        "inventory_file" | "inventory_dir" => {
            let source = scope.inventory.host(host_name).filter(|h| !h.implicit)?.source.clone();
            let path =
                source.as_deref().and_then(|p| if name == "inventory_dir" { p.parent() } else { Some(p) });
            path.map_or(Value::from(()), |p| Value::from(p.display().to_string()))
        }
        "role_name" => Value::from(&*role?.name),
        "ansible_role_name" => Value::from(&*role?.full_name),
        "role_path" => Value::from(role?.path.display().to_string()),
        // Undefined, as in Ansible, for a role that no other role includes.
        "ansible_parent_role_names" | "ansible_parent_role_paths" if role?.parents.is_empty() => return None,
        "ansible_parent_role_names" => role?.parents.iter().map(|(name, _)| Value::from(&**name)).collect(),
        "ansible_parent_role_paths" => {
            role?.parents.iter().map(|(_, path)| Value::from(path.display().to_string())).collect()
        }
        "ansible_search_path" => {
            scope.parts.search.bases.iter().map(|b| Value::from(b.display().to_string())).collect()
        }
        "ansible_check_mode" => Value::from(run.check_mode),
        "ansible_diff_mode" => Value::from(run.diff_mode),
        "ansible_forks" => Value::from(run.forks),
        "ansible_verbosity" => Value::from(run.verbosity),
        "ansible_run_tags" if run.run_tags.is_empty() => Value::from_iter(["all"]),
        "ansible_run_tags" => run.run_tags.iter().map(|t| Value::from(&**t)).collect(),
        "ansible_skip_tags" => run.skip_tags.iter().map(|t| Value::from(&**t)).collect(),
        "ansible_limit" => Value::from(run.limit.as_deref()?),
        "ansible_config_file" => {
            run.config_file.as_ref().map_or(Value::from(()), |p| Value::from(p.display().to_string()))
        }
        "ansible_inventory_sources" => scope.inventory.sources.iter().map(|s| Value::from(&**s)).collect(),
        "ansible_version" => version(),
        "playbook_dir" if scope.parts.play_state.is_none() => {
            Value::from(run.playbook_dir.display().to_string())
        }
        "playbook_dir"
        | "play_hosts"
        | "ansible_play_name"
        | "ansible_play_hosts"
        | "ansible_play_hosts_all"
        | "ansible_play_batch"
        | "ansible_play_role_names"
        | "role_names"
        | "ansible_dependent_role_names"
        | "ansible_role_names" => return scope.parts.play_state.as_ref()?.get().get(name),
        _ => return None,
    })
}

fn version() -> Value {
    let (major, minor, revision) = VERSION;
    let full = format!("{major}.{minor}.{revision}");
    Value::from_pairs([
        ("full", Value::from(&*full)),
        ("major", Value::from(major)),
        ("minor", Value::from(minor)),
        ("revision", Value::from(revision)),
        ("string", Value::from(&*full)),
    ])
}

/// `hostvars`: each host's variables, looked up when used.
#[derive(Debug)]
struct HostVars {
    store: Arc<Store>,
}

impl Object for HostVars {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let scope = self.store.host_scope(key.as_str()?)?;
        Some(Value::from_object(ScopeVars { scope: Arc::new(scope) }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let inventory = self.store.inventory();
        Enumerator::Values(inventory.hosts().filter(|h| !h.implicit).map(|h| Value::from(&*h.name)).collect())
    }
}

/// All variables of a scope as a dictionary: `vars`, `hostvars[host]`.
#[derive(Debug)]
struct ScopeVars {
    scope: Arc<TaskScope>,
}

impl Object for ScopeVars {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.scope.value(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        // The two that contain everything again would make printing endless.
        let names = self.scope.names().into_iter().filter(|n| !matches!(&**n, "hostvars" | "vars"));
        Enumerator::Values(names.map(Value::from).collect())
    }
}
