//! From `-i` values to an inventory.
//!
//! Owns: which format a source has, folders of sources, where vars folders are looked for. Must not: know a format's inside.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Beside, VarsFolder};
use super::model::Inventory;
use super::plugin::Plugins;
use super::range::host_entry;
use super::reader::Reader;
use super::{aws_ec2, constructed, ini, script, yaml};
use crate::source::{Diagnostic, Diagnostics, Node, SourceId, Sources, Span, Yaml, parse};
use crate::vars::vault::Vault;

/// File endings that a folder of inventories may hold without being one.
const IGNORED_ENDINGS: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];

/// What to load.
pub struct Request<'a> {
    /// The values of `-i` in order: files, folders, `host1,host2,` lists.
    pub sources: &'a [String],
    /// Where relative sources start.
    pub directory: &'a Path,
    /// Folder of the playbook, for its `group_vars/` and `host_vars/`.
    pub playbook_dir: Option<&'a Path>,
    pub vault: &'a Vault,
    pub plugins: Plugins<'a>,
}

/// Loads all sources; what is wrong goes to `found`, all of it at once.
pub fn load(request: &Request<'_>, sources: &Sources, found: &mut Diagnostics) -> Inventory {
    let mut inventory = Inventory::default();
    let mut reader = Reader { sources, found, vault: request.vault, plugins: request.plugins };
    let mut bases = Vec::new();
    for source in request.sources {
        let path = request.directory.join(source);
        if source.contains(',') && !path.exists() {
            add_list(&mut inventory, source, &mut reader);
            inventory.sources.push(source.clone());
        } else if path.is_dir() {
            add_folder(&mut inventory, &path, &mut reader);
            inventory.sources.push(path.display().to_string());
            bases.push(path);
        } else {
            inventory.sources.push(path.display().to_string());
            bases.push(path.parent().unwrap_or(request.directory).to_owned());
            add_file(&mut inventory, &path, &mut reader);
        }
    }
    inventory.finish();
    for base in bases {
        inventory.add_vars_folder(Arc::new(VarsFolder::list(&base, Beside::Inventory)), &mut reader);
    }
    if let Some(dir) = request.playbook_dir {
        inventory.add_vars_folder(Arc::new(VarsFolder::list(dir, Beside::Playbook)), &mut reader);
    }
    warn_about_twins(&inventory, &mut reader);
    inventory.finish();
    inventory
}

/// Reads `group_vars/` and `host_vars/` beside another playbook of the same run.
pub fn load_playbook_vars(
    inventory: &mut Inventory,
    dir: &Path,
    vault: &Vault,
    sources: &Sources,
    found: &mut Diagnostics,
) {
    let mut reader = Reader { sources, found, vault, plugins: Plugins::default() };
    inventory.add_vars_folder(Arc::new(VarsFolder::list(dir, Beside::Playbook)), &mut reader);
    inventory.finish();
}

fn add_list(inventory: &mut Inventory, list: &str, reader: &mut Reader<'_>) {
    let span = Span {
        file: reader.sources.add(PathBuf::from("--inventory"), list.to_owned()),
        start: 0,
        end: list.len() as u32,
    };
    for written in list.split(',').map(str::trim).filter(|h| !h.is_empty()) {
        match host_entry(written) {
            Ok(entry) => {
                for host in entry.names {
                    inventory.add_host(&host, None);
                    inventory.add_member("ungrouped", &host);
                    if let Some(port) = entry.port {
                        inventory.set_host_var(
                            &host,
                            "ansible_port".into(),
                            Arc::new(Node { span, value: Yaml::Int(port.into()) }),
                        );
                    }
                }
            }
            Err(fault) => reader.found.push(Diagnostic::error("host-range", fault.to_string(), span)),
        }
    }
}

fn add_folder(inventory: &mut Inventory, folder: &Path, reader: &mut Reader<'_>) {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(fault) => {
            let span = reader.whole_path(folder);
            reader.found.push(Diagnostic::error("unreadable-inventory", fault.to_string(), span));
            return;
        }
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    for name in names {
        let ignored = name.starts_with('.')
            || matches!(&*name, "group_vars" | "host_vars" | "vars_plugins")
            || IGNORED_ENDINGS.iter().any(|e| name.ends_with(e));
        if ignored {
            continue;
        }
        let path = folder.join(&name);
        if path.is_dir() { add_folder(inventory, &path, reader) } else { add_file(inventory, &path, reader) }
    }
}

fn add_file(inventory: &mut Inventory, path: &Path, reader: &mut Reader<'_>) {
    let source = Arc::new(path.to_owned());
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if script::is_executable(path) && !matches!(ending, "yml" | "yaml" | "json" | "ini") {
        script::add(inventory, path, &source, reader);
        return;
    }
    let Some(file) = reader.file(path).and_then(|file| reader.decrypted(file)) else { return };
    match ending {
        "yml" | "yaml" => add_yaml(inventory, file, &source, reader),
        "json" => add_json(inventory, file, &source, reader),
        "ini" => ini::add(inventory, file, &source, reader),
        // Without a telling name the content decides: a mapping is YAML, all else is INI.
        _ => match parse(reader.sources, file) {
            Ok(Node { value: Yaml::Map(_), .. }) => add_yaml(inventory, file, &source, reader),
            _ => ini::add(inventory, file, &source, reader),
        },
    }
}

fn add_yaml(inventory: &mut Inventory, file: SourceId, source: &Arc<PathBuf>, reader: &mut Reader<'_>) {
    let Some(root) = reader.yaml(file) else { return };
    let Some(map) = root.as_map() else {
        let message = match root.value {
            Yaml::Null => "the inventory is empty",
            _ => "a YAML inventory must be a mapping of groups",
        };
        reader.found.push(
            Diagnostic::error("inventory-shape", message, root.span)
                .help("start with `all:` and `hosts:` below it"),
        );
        return;
    };
    let Some(plugin) = map.get("plugin") else {
        yaml::add(inventory, map, source, reader);
        return;
    };
    let Some(name) = plugin.as_str() else {
        reader.found.push(Diagnostic::error(
            "inventory-plugin",
            "`plugin` must be the name of an inventory plugin",
            plugin.span,
        ));
        return;
    };
    if constructed::is_named(name) {
        constructed::add(inventory, map, source, reader);
        return;
    }
    if aws_ec2::is_named(name) {
        aws_ec2::add(inventory, map, source, reader);
        return;
    }
    let fault = match reader.plugins.others.and_then(|ask| ask(name, &root, source)) {
        Some(Ok(made)) => inventory.add_plugin(&made, plugin.span, source).err(),
        Some(Err(fault)) => Some(fault),
        None => Some(
            Diagnostic::error("inventory-plugin", format!("no inventory plugin named `{name}`"), plugin.span)
                .help("an inventory can also be a script that prints JSON for `--list`"),
        ),
    };
    reader.found.list.extend(fault);
}

/// JSON as a script prints it when it has `_meta` or lists of hosts, else the same shape as YAML.
fn add_json(inventory: &mut Inventory, file: SourceId, source: &Arc<PathBuf>, reader: &mut Reader<'_>) {
    let text = reader.sources.file(file);
    if let Ok(serde_json::Value::Object(list)) = serde_json::from_str::<serde_json::Value>(&text.text) {
        let as_script = list.contains_key("_meta")
            || list.values().any(|g| g.is_array() || g.get("hosts").is_some_and(serde_json::Value::is_array));
        if as_script {
            script::add_list(inventory, &list, Span { file, start: 0, end: 0 }, source, reader);
            return;
        }
    }
    add_yaml(inventory, file, source, reader);
}

/// A group and a host of one name make every pattern with that name a riddle.
fn warn_about_twins(inventory: &Inventory, reader: &mut Reader<'_>) {
    let twins: Vec<_> = inventory.hosts().filter(|h| inventory.group(&h.name).is_some()).cloned().collect();
    for host in twins {
        let span = match &host.source {
            Some(path) => match reader.sources.read(path) {
                Ok(file) => Span { file, start: 0, end: 0 },
                Err(_) => reader.whole_path(path),
            },
            None => reader.whole_path(Path::new("--inventory")),
        };
        reader.found.push(
            Diagnostic::warning(
                "host-and-group",
                format!("`{}` is both a host and a group", host.name),
                span,
            )
            .help("a pattern with that name means the group; rename one of them"),
        );
    }
}
