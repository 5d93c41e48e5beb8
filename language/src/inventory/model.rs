//! Hosts and groups, and how they change while a run goes on.
//!
//! Owns: membership, group order, which variables a host has from its inventory. Must not: read files.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use indexmap::{IndexMap, IndexSet};

use super::files::VarsFolder;
use crate::source::{Node, SourceId, Span, Yaml};
use crate::template::Value;
use crate::vars::Table;

/// Names that stand for the controller when no inventory lists them.
pub const LOCALHOST: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The place of what nobody wrote; nothing ever reports it, since such a value can't be wrong.
const NOWHERE: Span = Span { file: SourceId(0), start: 0, end: 0 };

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: Arc<str>,
    /// Variables that the inventory sources give it.
    pub vars: Table,
    /// Variables of `host_vars/`, the inventory's folder first and the playbook's over it.
    pub files: Table,
    /// Groups that list it directly.
    pub groups: IndexSet<Arc<str>>,
    /// The inventory file that named it first; `None` for a host made by `add_host` or `localhost` without an inventory.
    pub source: Option<Arc<PathBuf>>,
    /// True for a `localhost` that no inventory lists: it isn't in `all`.
    pub implicit: bool,
    compiled: HostTables,
}

/// What a scope looks names up in, inventory part; shared by hosts with the same groups.
#[derive(Debug, Clone, Default)]
pub struct HostTables {
    /// Everything from groups, `group_vars/` included.
    pub groups: Arc<Table>,
    /// The host's own variables, `host_vars/` included.
    pub host: Arc<Table>,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    pub name: Arc<str>,
    /// Variables that the inventory sources give it.
    pub vars: Table,
    /// `group_vars/` beside the inventories.
    pub files_inventory: Table,
    /// `group_vars/` beside the playbook.
    pub files_playbook: Table,
    pub hosts: IndexSet<Arc<str>>,
    pub children: IndexSet<Arc<str>>,
    pub parents: IndexSet<Arc<str>>,
    /// Longest way from `all`, which has 0.
    pub depth: u32,
    /// `ansible_group_priority`, 1 when not said.
    pub priority: i64,
}

/// A loop in `children`, outermost group first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("group `{}` would be its own child: {}", .0.first().map_or("", |g| g), .0.join(" -> "))]
pub struct GroupLoop(pub Vec<String>);

/// All hosts and groups of a run. Cheap to share behind an `Arc`; a change copies the two maps, not what is in them.
#[derive(Debug, Clone)]
pub struct Inventory {
    hosts: IndexMap<Arc<str>, Arc<Host>>,
    groups: IndexMap<Arc<str>, Arc<Group>>,
    /// Where files for hosts and groups that come later (`add_host`) are found.
    pub(super) folders: Vec<Arc<VarsFolder>>,
    /// `host_vars/` of names that may become an implicit localhost, read with the rest so that errors come early.
    pub(super) local_files: HashMap<&'static str, Table>,
    /// The inventory sources as given, made absolute where they are paths.
    pub sources: Vec<String>,
    /// Variables that hosts will have though there may be none yet (`compose` of an inventory that asks a cloud).
    pub promised: Vec<Arc<str>>,
    members: OnceLock<Arc<GroupHosts>>,
    groups_value: OnceLock<Value>,
    common: Arc<Table>,
    stale: Stale,
}

/// Whose compiled variables [`Inventory::finish`] must make anew. One added host must not cost a pass over ten thousand.
#[derive(Debug, Clone, Default)]
struct Stale {
    /// Group variables or the hierarchy changed.
    all: bool,
    hosts: IndexSet<Arc<str>>,
}

/// The hosts of each group, those of its children included, in inventory order.
pub type GroupHosts = IndexMap<Arc<str>, Vec<Arc<str>>>;

impl Default for Inventory {
    fn default() -> Self {
        let mut inventory = Self {
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            folders: Vec::new(),
            local_files: HashMap::new(),
            sources: Vec::new(),
            promised: Vec::new(),
            members: OnceLock::new(),
            groups_value: OnceLock::new(),
            common: Arc::default(),
            stale: Stale::default(),
        };
        inventory.group_mut("all");
        inventory.group_mut("ungrouped");
        inventory.link("all", "ungrouped");
        inventory
    }
}

impl Inventory {
    /// The host of that name; an implicit `localhost` only after [`Inventory::ensure_localhost`].
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Arc<Host>> {
        self.hosts.get(name)
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        self.groups.get(name)
    }

    /// All hosts in the order first named, implicit ones included.
    pub fn hosts(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.hosts.values()
    }

    /// All groups in the order first named, `all` and `ungrouped` first.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// Hosts of every group by name, children included.
    pub fn members(&self) -> &Arc<GroupHosts> {
        self.members.get_or_init(|| {
            Arc::new(self.groups.keys().map(|name| (Arc::clone(name), self.hosts_below(name))).collect())
        })
    }

    /// The magic variable `groups`: made once, however many steps look at it.
    #[must_use]
    pub fn groups_value(&self) -> Value {
        let make = || {
            let lists = self.members().iter().map(|(group, hosts)| {
                (group.to_string(), hosts.iter().map(|h| Value::from(&**h)).collect::<Value>())
            });
            Value::from_pairs(lists)
        };
        self.groups_value.get_or_init(make).clone()
    }

    /// Variables of `all`, which a host outside of every inventory sees too.
    #[must_use]
    pub fn common_vars(&self) -> Arc<Table> {
        Arc::clone(&self.common)
    }

    /// Names of the groups that a host is in, directly or through children, without `all`; sorted, as `group_names` is.
    #[must_use]
    pub fn group_names(&self, host: &str) -> Vec<Arc<str>> {
        let Some(host) = self.hosts.get(host) else { return Vec::new() };
        let mut names: Vec<Arc<str>> =
            self.ancestry(&host.groups).into_iter().filter(|n| &**n != "all").collect();
        names.sort();
        names
    }

    /// Makes the host known; says whether it is new.
    pub fn add_host(&mut self, name: &str, source: Option<&Arc<PathBuf>>) -> bool {
        if let Some(host) = self.hosts.get(name) {
            if !host.implicit {
                return false;
            }
            // An inventory or `add_host` names what was implicit before: from now on it is a host like any other.
            let host = self.host_mut(name);
            host.implicit = false;
            host.vars = Table::default();
            host.source = source.cloned();
            return true;
        }
        self.host_mut(name).source = source.cloned();
        true
    }

    /// Makes the group known; says whether it is new.
    pub fn add_group(&mut self, name: &str) -> bool {
        let new = !self.groups.contains_key(name);
        self.group_mut(name);
        new
    }

    /// Puts a host into a group, both made when missing; says whether that changed anything.
    pub fn add_member(&mut self, group: &str, host: &str) -> bool {
        let host = Arc::clone(&self.host_mut(host).name);
        let group_name = Arc::clone(&self.group_mut(group).name);
        self.host_mut(&host).groups.insert(group_name);
        self.group_mut(group).hosts.insert(host)
    }

    /// Makes `child` a child of `parent`, both made when missing; says whether that changed anything.
    ///
    /// # Errors
    /// The loop that this would close.
    pub fn add_child(&mut self, parent: &str, child: &str) -> Result<bool, GroupLoop> {
        self.group_mut(parent);
        self.group_mut(child);
        if let Some(mut path) = self.path_down(child, parent) {
            path.insert(0, parent.to_owned());
            return Err(GroupLoop(path));
        }
        Ok(self.link(parent, child))
    }

    /// Sets one variable of a host.
    pub fn set_host_var(&mut self, host: &str, name: Arc<str>, value: Arc<Node>) {
        self.host_mut(host).vars.set(name, value);
    }

    /// Sets one variable of a group; `ansible_group_priority` changes its order instead.
    pub fn set_group_var(&mut self, group: &str, name: Arc<str>, value: Arc<Node>) {
        self.stale.all = true;
        let group = self.group_mut(group);
        if &*name == "ansible_group_priority" {
            group.priority = match &value.value {
                Yaml::Int(number) => *number,
                Yaml::Str(text) => text.trim().parse().unwrap_or(1),
                _ => 1,
            };
        } else {
            group.vars.set(name, value);
        }
    }

    /// Puts every group below `all`, every host without a group into `ungrouped`, and compiles all variables.
    ///
    /// Must be called after changes and before the inventory is used; [`super::load`] and the run-time changes do.
    pub fn finish(&mut self) {
        let orphans: Vec<Arc<str>> = self
            .groups
            .values()
            .filter(|g| g.parents.is_empty() && &*g.name != "all")
            .map(|g| Arc::clone(&g.name))
            .collect();
        for name in orphans {
            self.link("all", &name);
        }
        let mut moves = Vec::new();
        let touched = self.stale.hosts.iter().filter_map(|h| self.hosts.get(h));
        for host in touched.filter(|h| !h.implicit) {
            let grouped = host.groups.iter().any(|g| !matches!(&**g, "all" | "ungrouped"));
            let listed = host.groups.contains("ungrouped");
            if grouped == listed {
                moves.push((Arc::clone(&host.name), listed));
            }
        }
        for (name, listed) in moves {
            if listed {
                self.host_mut(&name).groups.shift_remove("ungrouped");
                self.group_mut("ungrouped").hosts.shift_remove(&name);
            } else {
                self.add_member("ungrouped", &name);
            }
        }
        self.set_depths();
        self.compile();
        self.members = OnceLock::new();
        self.groups_value = OnceLock::new();
    }

    /// Adds the implicit `localhost` under the name used, when no inventory lists it.
    pub fn ensure_localhost(&mut self, name: &str) -> bool {
        if !LOCALHOST.contains(&name) || self.hosts.contains_key(name) {
            return false;
        }
        let all = self.common_vars();
        let files = self.local_files.get(name).cloned().unwrap_or_default();
        let host = self.host_mut(name);
        host.implicit = true;
        host.files = files;
        let local = Node { span: NOWHERE, value: Yaml::Str("local".into()) };
        host.vars.set("ansible_connection".into(), Arc::new(local));
        let mut own = host.vars.clone();
        own.extend(&host.files);
        host.compiled = HostTables { groups: all, host: Arc::new(own) };
        true
    }

    /// All groups above these, themselves and `all` included.
    pub(super) fn ancestry(&self, direct: &IndexSet<Arc<str>>) -> IndexSet<Arc<str>> {
        let mut found: IndexSet<Arc<str>> = direct.clone();
        let mut at = 0;
        while let Some(name) = found.get_index(at).cloned() {
            if let Some(group) = self.groups.get(&name) {
                found.extend(group.parents.iter().cloned());
            }
            at += 1;
        }
        found.insert("all".into());
        found
    }

    /// A group's hosts and those of the groups below it, breadth first: Ansible's host order.
    #[must_use]
    pub fn hosts_below(&self, group: &str) -> Vec<Arc<str>> {
        let mut seen: IndexSet<&str> = IndexSet::new();
        let mut queue = VecDeque::from([group]);
        let mut hosts: IndexSet<Arc<str>> = IndexSet::new();
        while let Some(name) = queue.pop_front() {
            let Some(found) = self.groups.get(name) else { continue };
            if !seen.insert(&found.name) {
                continue;
            }
            hosts.extend(found.hosts.iter().cloned());
            queue.extend(found.children.iter().map(|c| &**c));
        }
        hosts
            .into_iter()
            .filter(|h| group != "all" || self.hosts.get(h).is_none_or(|h| !h.implicit))
            .collect()
    }

    pub(super) fn host_mut(&mut self, name: &str) -> &mut Host {
        if !self.hosts.contains_key(name) {
            let name: Arc<str> = name.into();
            self.hosts.insert(
                Arc::clone(&name),
                Arc::new(Host {
                    name,
                    vars: Table::default(),
                    files: Table::default(),
                    groups: IndexSet::new(),
                    source: None,
                    implicit: false,
                    compiled: HostTables::default(),
                }),
            );
        }
        let host = &mut self.hosts[name];
        self.stale.hosts.insert(Arc::clone(&host.name));
        Arc::make_mut(host)
    }

    /// A group whose variables are about to change.
    pub(super) fn group_with_new_vars(&mut self, name: &str) -> &mut Group {
        self.stale.all = true;
        self.group_mut(name)
    }

    fn group_mut(&mut self, name: &str) -> &mut Group {
        if !self.groups.contains_key(name) {
            let name: Arc<str> = name.into();
            self.groups.insert(
                Arc::clone(&name),
                Arc::new(Group {
                    name,
                    vars: Table::default(),
                    files_inventory: Table::default(),
                    files_playbook: Table::default(),
                    hosts: IndexSet::new(),
                    children: IndexSet::new(),
                    parents: IndexSet::new(),
                    depth: 0,
                    priority: 1,
                }),
            );
        }
        Arc::make_mut(&mut self.groups[name])
    }

    fn link(&mut self, parent: &str, child: &str) -> bool {
        let parent_name = Arc::clone(&self.group_mut(parent).name);
        let child_name = Arc::clone(&self.group_mut(child).name);
        self.group_mut(child).parents.insert(parent_name);
        let new = self.group_mut(parent).children.insert(child_name);
        // A new group without hosts changes nobody's variables; its hosts go stale when they join.
        let populated = self.groups.get(child).is_some_and(|g| !g.hosts.is_empty() || !g.children.is_empty());
        self.stale.all |= new && populated;
        new
    }

    /// The way from one group down to another, both named; `None` when there is none.
    fn path_down(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut before: HashMap<&str, &str> = HashMap::new();
        let mut queue = VecDeque::from([self.groups.get_key_value(from)?.0.as_ref()]);
        while let Some(name) = queue.pop_front() {
            if name == to {
                let mut path = vec![name.to_owned()];
                let mut at = name;
                while at != from {
                    at = before[at];
                    path.insert(0, at.to_owned());
                }
                return Some(path);
            }
            for child in self.groups.get(name).into_iter().flat_map(|g| &g.children) {
                if **child != *from && !before.contains_key(&**child) {
                    before.insert(child, name);
                    queue.push_back(child);
                }
            }
        }
        None
    }

    fn set_depths(&mut self) {
        let mut depths: HashMap<Arc<str>, u32> = HashMap::from([("all".into(), 0)]);
        // There are no loops, so the longest way settles after as many rounds as the hierarchy is deep.
        let mut changed = true;
        while changed {
            changed = false;
            for group in self.groups.values() {
                let Some(depth) = depths.get(&group.name).copied() else { continue };
                for child in &group.children {
                    let known = depths.get(child).copied();
                    if known.is_none_or(|k| k < depth + 1) {
                        depths.insert(Arc::clone(child), depth + 1);
                        changed = true;
                    }
                }
            }
        }
        for (name, depth) in depths {
            if self.groups.get(&name).is_some_and(|g| g.depth != depth) {
                self.group_mut(&name).depth = depth;
            }
        }
    }

    fn compile(&mut self) {
        let mut by_groups: HashMap<Vec<Arc<str>>, Arc<Table>> = HashMap::new();
        let stale = std::mem::take(&mut self.stale);
        let names: Vec<Arc<str>> =
            if stale.all { self.hosts.keys().cloned().collect() } else { stale.hosts.into_iter().collect() };
        if stale.all {
            self.common = self.group_tables(&IndexSet::new());
        }
        for name in names {
            let Some(host) = self.hosts.get(&name) else { continue };
            let mut key: Vec<Arc<str>> = host.groups.iter().cloned().collect();
            key.sort();
            let groups = match by_groups.get(&key) {
                Some(table) => Arc::clone(table),
                None => {
                    let table = self.group_tables(&host.groups);
                    by_groups.insert(key, Arc::clone(&table));
                    table
                }
            };
            let mut own = host.vars.clone();
            own.extend(&host.files);
            if let Some(host) = self.hosts.get_mut(&name) {
                Arc::make_mut(host).compiled = HostTables { groups, host: Arc::new(own) };
            }
        }
    }

    /// Lays all group variables that a host in these groups sees over each other.
    ///
    /// The order is Ansible's default `VARIABLE_PRECEDENCE`: inventory `all`, inventory groups, `group_vars/all` of inventory and
    /// playbook, other `group_vars/` of inventory and playbook; groups by depth, then priority, then name.
    fn group_tables(&self, direct: &IndexSet<Arc<str>>) -> Arc<Table> {
        let mut groups: Vec<&Arc<Group>> = self
            .ancestry(direct)
            .iter()
            .filter(|n| &***n != "all")
            .filter_map(|n| self.groups.get(n))
            .collect();
        groups.sort_by(|a, b| (a.depth, a.priority, &a.name).cmp(&(b.depth, b.priority, &b.name)));
        let mut table = Table::default();
        let all = self.groups.get("all");
        if let Some(all) = all {
            table.extend(&all.vars);
        }
        groups.iter().for_each(|g| table.extend(&g.vars));
        if let Some(all) = all {
            table.extend(&all.files_inventory);
            table.extend(&all.files_playbook);
        }
        groups.iter().for_each(|g| table.extend(&g.files_inventory));
        groups.iter().for_each(|g| table.extend(&g.files_playbook));
        Arc::new(table)
    }
}

impl Host {
    /// The compiled variables; see [`Inventory::finish`].
    #[must_use]
    pub fn tables(&self) -> &HostTables {
        &self.compiled
    }
}
