//! `group_vars/` and `host_vars/`.
//!
//! Owns: which files belong to a host or group, and in which order. Must not: decide what wins over what (that is `model`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::{Inventory, LOCALHOST};
use super::reader::Reader;
use crate::vars::Table;

/// Endings of vars files, best first; a name without any wins.
const ENDINGS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// Beside what the two folders stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Inventory,
    Playbook,
}

/// One folder with `group_vars/` and `host_vars/` in it, listed once: no look at the disk a host.
#[derive(Debug)]
pub(super) struct VarsFolder {
    base: PathBuf,
    pub beside: Beside,
    groups: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

impl VarsFolder {
    pub(super) fn list(base: &Path, beside: Beside) -> Self {
        Self {
            base: base.to_owned(),
            beside,
            groups: names(&base.join("group_vars")),
            hosts: names(&base.join("host_vars")),
        }
    }

    fn vars_of(&self, kind: &str, listed: &BTreeSet<String>, name: &str, reader: &mut Reader<'_>) -> Table {
        let mut table = Table::default();
        // A host or group named `a/b` must not reach other folders.
        if name.contains('/') || name.starts_with('.') {
            return table;
        }
        for ending in ENDINGS {
            let entry = format!("{name}{ending}");
            if !listed.contains(&entry) {
                continue;
            }
            let path = self.base.join(kind).join(entry);
            let mut files = Vec::new();
            if path.is_dir() {
                files_below(&path, &mut files);
            } else {
                files.push(path);
            }
            for file in files {
                if let Some(vars) = reader.vars_file(&file) {
                    table.extend(&vars);
                }
            }
            break;
        }
        table
    }
}

impl Inventory {
    /// Reads the files of a newly found folder for all hosts and groups known so far.
    pub(super) fn add_vars_folder(&mut self, folder: Arc<VarsFolder>, reader: &mut Reader<'_>) {
        if self.folders.iter().any(|f| f.base == folder.base && f.beside == folder.beside) {
            return;
        }
        let groups: Vec<Arc<str>> = self.groups().map(|g| Arc::clone(&g.name)).collect();
        for group in groups {
            self.read_group_files(&folder, &group, reader);
        }
        let hosts: Vec<Arc<str>> = self.hosts().map(|h| Arc::clone(&h.name)).collect();
        for host in hosts {
            self.read_host_files(&folder, &host, reader);
        }
        for name in LOCALHOST.into_iter().filter(|n| self.host(n).is_none()).collect::<Vec<_>>() {
            let table = folder.vars_of("host_vars", &folder.hosts, name, reader);
            self.local_files.entry(name).or_default().extend(&table);
        }
        self.folders.push(folder);
    }

    /// Reads the files of all known folders for a host that came later.
    pub(super) fn read_late_host(&mut self, host: &str, reader: &mut Reader<'_>) {
        for folder in self.folders.clone() {
            self.read_host_files(&folder, host, reader);
        }
    }

    /// Reads the files of all known folders for a group that came later.
    pub(super) fn read_late_group(&mut self, group: &str, reader: &mut Reader<'_>) {
        for folder in self.folders.clone() {
            self.read_group_files(&folder, group, reader);
        }
    }

    fn read_group_files(&mut self, folder: &VarsFolder, group: &str, reader: &mut Reader<'_>) {
        let table = folder.vars_of("group_vars", &folder.groups, group, reader);
        if !table.is_empty() {
            let group = self.group_with_new_vars(group);
            match folder.beside {
                Beside::Inventory => group.files_inventory.extend(&table),
                Beside::Playbook => group.files_playbook.extend(&table),
            }
        }
    }

    fn read_host_files(&mut self, folder: &VarsFolder, host: &str, reader: &mut Reader<'_>) {
        let table = folder.vars_of("host_vars", &folder.hosts, host, reader);
        if !table.is_empty() {
            self.host_mut(host).files.extend(&table);
        }
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs_err::read_dir(folder) else { return BTreeSet::new() };
    entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// All vars files of a folder and its sub-folders, sorted by name at each level.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for name in names(folder) {
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let path = folder.join(&name);
        let ending = name.rfind('.').map_or("", |at| &name[at..]);
        if path.is_dir() {
            if ending.is_empty() {
                files_below(&path, found);
            }
        } else if ENDINGS.contains(&ending) {
            found.push(path);
        }
    }
}
