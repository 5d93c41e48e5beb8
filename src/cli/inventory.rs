//! `dcos-play inventory`: what the inventory says, as text or in the form of `ansible-inventory`.
//!
//! Owns: the flags and these views. Must not: know how inventories are read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Trouble;
use super::common::{InventoryFlags, VariableFlags};
use crate::inventory::{Host, Inventory, near};
use crate::lab::{LabDirs, LabPlugin};
use crate::source::{Diagnostics, Node, Sources, Yaml};
use crate::vars::key_text;

/// Shows the inventory.
#[derive(Debug, clap::Args)]
// `-i` before and after the name of the view.
#[command(mut_args(|argument| argument.global(true)))]
pub struct InventoryArgs {
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub variables: VariableFlags,
    /// What to show
    #[command(subcommand)]
    pub view: InventoryView,
}

/// The views.
#[derive(Debug, clap::Subcommand)]
pub enum InventoryView {
    /// All hosts with their address and groups
    List {
        /// In the form of `ansible-inventory --list`
        #[arg(long)]
        json: bool,
    },
    /// The groups as a tree
    Graph {
        /// The group to start from
        #[arg(default_value = "all")]
        group: String,
        /// Show variables too
        #[arg(long)]
        vars: bool,
    },
    /// The variables of a host, with the place of each
    Host {
        name: String,
        /// In the form of `ansible-inventory --host`
        #[arg(long)]
        json: bool,
    },
}

/// Reads the inventory and prints a view of it.
///
/// # Errors
/// Findings in the inventory, unknown names.
pub fn run(args: &InventoryArgs, out: &mut dyn std::io::Write) -> Result<u8, Trouble> {
    let directory = std::env::current_dir()?;
    let sources = Sources::new(directory.clone());
    let masks = Arc::new(crate::vars::secrets::Masks::default());
    let vault = super::setup::vault(&args.variables, &masks)?;
    let mut found = Diagnostics::default();
    let labs = LabPlugin::new(LabDirs::of_user()?);
    let given = &args.inventory.inventory;
    super::setup::inventories_exist(given)?;
    let extra = crate::vars::extra::parse_extra_vars(
        &args.variables.extra_vars,
        &directory,
        &vault,
        &sources,
        &mut found,
    );
    let from = super::setup::From {
        given,
        refresh: args.inventory.refresh_cache,
        directory: &directory,
        playbook_dir: None,
        extra: &extra,
    };
    let inventory = super::setup::read_inventory(&from, &vault, &sources, &mut found, &labs);
    if found.has_errors() {
        return Err(Trouble::new(crate::exit::PLAYBOOK, super::setup::shown(&found, &sources)));
    }
    // Not to standard output, which other programs read.
    for warning in &found.list {
        drop(writeln!(std::io::stderr(), "{}", warning.render(&sources)));
    }
    let text = match &args.view {
        InventoryView::List { json: true } => list_json(&inventory),
        InventoryView::List { json: false } => list(&inventory),
        InventoryView::Graph { group, vars } => graph(&inventory, group, *vars)?,
        InventoryView::Host { name, json: true } => host_json(&inventory, name)?,
        InventoryView::Host { name, json: false } => host(&inventory, name, &sources)?,
    };
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(crate::exit::FINE)
}

/// A name on the command line that the inventory doesn't have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {what} named `{name}` in the inventory{}", .near.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
pub struct UnknownName {
    /// `host` or `group`.
    pub what: &'static str,
    pub name: String,
    pub near: Option<String>,
}

/// All hosts, one a line, with their address and groups.
#[must_use]
pub fn list(inventory: &Inventory) -> String {
    let rows: Vec<[String; 3]> = ordered_hosts(inventory)
        .iter()
        .map(|host| {
            let address = variable(host, "ansible_host").map(|n| scalar(&n.value)).unwrap_or_default();
            [host.name.to_string(), address, inventory.group_names(&host.name).join(" ")]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let mut out = String::new();
    for [name, address, groups] in rows {
        let line = format!("{name:first$}  {address:second$}  {groups}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// All groups and all variables of all hosts, as `ansible-inventory --list` prints them.
#[must_use]
pub fn list_json(inventory: &Inventory) -> String {
    let mut hostvars = Map::new();
    for host in inventory.hosts().filter(|h| !h.implicit) {
        let vars = variables(host);
        if !vars.is_empty() {
            hostvars.insert(host.name.to_string(), Value::Object(vars));
        }
    }
    hostvars.sort_keys();
    let mut all = Map::new();
    for group in inventory.groups() {
        let mut body = Map::new();
        if &*group.name != "all" && !group.hosts.is_empty() {
            body.insert("hosts".into(), group.hosts.iter().map(|h| Value::from(&**h)).collect());
        }
        let shown = group.children.iter().filter(|c| &***c != "ungrouped" || has_hosts(inventory, c));
        let children: Vec<Value> = shown.map(|c| Value::from(&**c)).collect();
        if !children.is_empty() {
            body.insert("children".into(), children.into());
        }
        if !body.is_empty() {
            all.insert(group.name.to_string(), Value::Object(body));
        }
    }
    all.insert("_meta".into(), json!({"hostvars": hostvars, "profile": "inventory_legacy"}));
    all.sort_keys();
    pretty(&Value::Object(all))
}

/// The tree of groups and hosts below a group, as `ansible-inventory --graph` draws it; with `vars`, variables too.
///
/// # Errors
/// A group that isn't there.
pub fn graph(inventory: &Inventory, group: &str, vars: bool) -> Result<String, UnknownName> {
    if inventory.group(group).is_none() {
        return Err(unknown("group", group, inventory.groups().map(|g| &*g.name)));
    }
    let mut out = String::new();
    draw(inventory, group, 0, vars, &mut out);
    Ok(out)
}

/// The variables of one host, each with the place that it comes from.
///
/// # Errors
/// A host that isn't there.
pub fn host(inventory: &Inventory, name: &str, sources: &Sources) -> Result<String, UnknownName> {
    let host = known_host(inventory, name)?;
    let mut entries = merged(host);
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let width = entries.iter().map(|(n, _)| n.chars().count()).max().unwrap_or(0);
    let mut out = format!("{name}\n  groups: {}\n", inventory.group_names(name).join(" "));
    for (name, node) in entries {
        let value = match &node.value {
            Yaml::Seq(_) | Yaml::Map(_) => value(&node).to_string(),
            Yaml::Vault(_) => "(encrypted)".to_owned(),
            other => scalar(other),
        };
        let place = if node.span.end == 0 && node.span.start == 0 {
            String::new()
        } else {
            format!("  # {}", sources.place(node.span))
        };
        let _ = writeln!(out, "  {name:width$}  {value}{place}");
    }
    Ok(out)
}

/// The variables of one host, as `ansible-inventory --host` prints them.
///
/// # Errors
/// A host that isn't there.
pub fn host_json(inventory: &Inventory, name: &str) -> Result<String, UnknownName> {
    Ok(pretty(&Value::Object(variables(known_host(inventory, name)?))))
}

pub(super) fn known_host<'i>(inventory: &'i Inventory, name: &str) -> Result<&'i Arc<Host>, UnknownName> {
    inventory.host(name).ok_or_else(|| unknown("host", name, inventory.hosts().map(|h| &*h.name)))
}

fn unknown<'a>(what: &'static str, name: &str, names: impl Iterator<Item = &'a str>) -> UnknownName {
    UnknownName { what, name: name.to_owned(), near: near(name, names).map(str::to_owned) }
}

fn ordered_hosts(inventory: &Inventory) -> Vec<&Arc<Host>> {
    inventory.members().get("all").into_iter().flatten().filter_map(|h| inventory.host(h)).collect()
}

fn has_hosts(inventory: &Inventory, group: &str) -> bool {
    inventory.group(group).is_some_and(|g| !g.hosts.is_empty())
}

fn draw(inventory: &Inventory, name: &str, depth: usize, vars: bool, out: &mut String) {
    let Some(group) = inventory.group(name) else { return };
    let bars = |depth: usize| "  |".repeat(depth);
    let _ = match depth {
        0 => writeln!(out, "@{name}:"),
        _ => writeln!(out, "{}--@{name}:", bars(depth)),
    };
    for child in &group.children {
        draw(inventory, child, depth + 1, vars, out);
    }
    if name != "all" {
        for host in &group.hosts {
            let _ = writeln!(out, "{}--{host}", bars(depth + 1));
            if let (true, Some(host)) = (vars, inventory.host(host)) {
                lines(&merged(host), &bars(depth + 2), out);
            }
        }
    }
    if vars {
        let mut table = group.vars.clone();
        table.extend(&group.files_inventory);
        table.extend(&group.files_playbook);
        let mut entries: Vec<_> = table.iter().map(|(n, v)| (Arc::clone(n), Arc::clone(v))).collect();
        if group.priority != 1 {
            let span = crate::source::Span { file: crate::source::SourceId(0), start: 0, end: 0 };
            entries.push((
                "ansible_group_priority".into(),
                Arc::new(Node { span, value: Yaml::Int(group.priority) }),
            ));
        }
        lines(&entries, &bars(depth + 1), out);
    }
}

fn lines(entries: &[(Arc<str>, Arc<Node>)], bars: &str, out: &mut String) {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, node) in entries {
        let shown = match &node.value {
            Yaml::Str(text) | Yaml::Unsafe(text) => text.to_string(),
            _ => python(node),
        };
        let _ = writeln!(out, "{bars}--{{{name} = {shown}}}");
    }
}

/// A host's variables from groups and its own, by precedence.
fn merged(host: &Host) -> Vec<(Arc<str>, Arc<Node>)> {
    let tables = host.tables();
    let mut table = (*tables.groups).clone();
    table.extend(&tables.host);
    table.iter().map(|(n, v)| (Arc::clone(n), Arc::clone(v))).collect()
}

fn variable<'h>(host: &'h Host, name: &str) -> Option<&'h Arc<Node>> {
    host.tables().host.get(name).or_else(|| host.tables().groups.get(name))
}

fn variables(host: &Host) -> Map<String, Value> {
    let mut vars: Map<String, Value> = merged(host).iter().map(|(n, v)| (n.to_string(), value(v))).collect();
    vars.sort_keys();
    vars
}

fn scalar(value: &Yaml) -> String {
    match value {
        Yaml::Null => "null".into(),
        Yaml::Bool(truth) => truth.to_string(),
        Yaml::Int(number) => number.to_string(),
        Yaml::Float(number) => format!("{number:?}"),
        Yaml::Str(text) | Yaml::Unsafe(text) => text.to_string(),
        Yaml::Vault(_) => "(encrypted)".into(),
        Yaml::Seq(_) | Yaml::Map(_) => String::new(),
    }
}

/// As Python writes it, which is what people see in Ansible's graphs.
fn python(node: &Node) -> String {
    match &node.value {
        Yaml::Null => "None".into(),
        Yaml::Bool(true) => "True".into(),
        Yaml::Bool(false) => "False".into(),
        Yaml::Str(text) | Yaml::Unsafe(text) if text.contains('\'') && !text.contains('"') => {
            format!("\"{text}\"")
        }
        Yaml::Str(text) | Yaml::Unsafe(text) => {
            format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
        }
        Yaml::Seq(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Yaml::Map(map) => {
            let entry = |e: &crate::source::Entry| format!("{}: {}", python(&e.key), python(&e.value));
            format!("{{{}}}", map.entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => scalar(other),
    }
}

fn value(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => Value::from(*truth),
        Yaml::Int(number) => Value::from(*number),
        Yaml::Float(number) => Value::from(*number),
        Yaml::Str(text) => Value::from(&**text),
        Yaml::Unsafe(text) => json!({"__ansible_unsafe": &**text}),
        Yaml::Vault(text) => json!({"__ansible_vault": &**text}),
        Yaml::Seq(items) => items.iter().map(value).collect(),
        Yaml::Map(map) => Value::Object(
            map.entries.iter().map(|e| (key_text(&e.key).to_string(), value(&e.value))).collect(),
        ),
    }
}

/// Indented by four, as Ansible's tools do it.
fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing JSON values into memory can't fail: their keys are text.
    let written = serde::Serialize::serialize(value, &mut serializer);
    debug_assert!(written.is_ok());
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Request, load};
    use crate::source::Diagnostics;
    use crate::vars::vault::Vault;

    const YAML: &str = "\
all:
  vars: {a: all, b: all}
  hosts:
    direct: {c: host}
  children:
    web:
      hosts:
        web[1:2]:2222:
        other: {b: host}
      vars: {a: web, prio: web}
    db:
      hosts: {web1: }
      vars: {prio: db, ansible_group_priority: 10}
    dc:
      children:
        web:
      vars: {a: dc, d: dc}
";

    fn loaded() -> (Inventory, Sources, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("inv.yml"), YAML).unwrap();
        let sources = Sources::new(folder.path().to_owned());
        let mut found = Diagnostics::default();
        let vault = Vault::default();
        let request = Request {
            sources: &["inv.yml".to_owned()],
            directory: folder.path(),
            playbook_dir: None,
            vault: &vault,
            plugins: crate::inventory::Plugins::default(),
        };
        (load(&request, &sources, &mut found), sources, folder)
    }

    #[test]
    fn json_is_what_ansible_inventory_prints() {
        let (inventory, ..) = loaded();
        let list: Value = serde_json::from_str(&list_json(&inventory)).unwrap();
        let expected = json!({
            "_meta": {
                "hostvars": {
                    "direct": {"a": "all", "b": "all", "c": "host"},
                    "other": {"a": "web", "b": "host", "d": "dc", "prio": "web"},
                    "web1": {"a": "web", "ansible_port": 2222, "b": "all", "d": "dc", "prio": "web"},
                    "web2": {"a": "web", "ansible_port": 2222, "b": "all", "d": "dc", "prio": "web"},
                },
                "profile": "inventory_legacy",
            },
            "all": {"children": ["ungrouped", "web", "db", "dc"]},
            "db": {"hosts": ["web1"]},
            "dc": {"children": ["web"]},
            "ungrouped": {"hosts": ["direct"]},
            "web": {"hosts": ["web1", "web2", "other"]},
        });
        assert_eq!(list, expected);
        assert_eq!(
            host_json(&inventory, "direct").unwrap(),
            "{\n    \"a\": \"all\",\n    \"b\": \"all\",\n    \"c\": \"host\"\n}\n"
        );
    }

    #[test]
    fn graphs_are_drawn_as_by_ansible_inventory() {
        let (inventory, ..) = loaded();
        assert_eq!(
            graph(&inventory, "all", false).unwrap(),
            "\
@all:
  |--@ungrouped:
  |  |--direct
  |--@web:
  |  |--web1
  |  |--web2
  |  |--other
  |--@db:
  |  |--web1
  |--@dc:
  |  |--@web:
  |  |  |--web1
  |  |  |--web2
  |  |  |--other
"
        );
        assert_eq!(
            graph(&inventory, "db", true).unwrap(),
            "\
@db:
  |--web1
  |  |--{a = web}
  |  |--{ansible_port = 2222}
  |  |--{b = all}
  |  |--{d = dc}
  |  |--{prio = web}
  |--{ansible_group_priority = 10}
  |--{prio = db}
"
        );
        let missing = graph(&inventory, "bd", false).unwrap_err();
        assert_eq!(missing.to_string(), "no group named `bd` in the inventory; did you mean `db`?");
    }

    #[test]
    fn texts_show_groups_and_places() {
        let (inventory, sources, _folder) = loaded();
        assert_eq!(
            list(&inventory),
            "direct    ungrouped\nweb1      db dc web\nweb2      dc web\nother     dc web\n"
        );
        assert_eq!(
            host(&inventory, "other", &sources).unwrap(),
            "other\n  groups: dc web\n  a     web  # inv.yml:10\n  b     host  # inv.yml:9\n  d     dc  # inv.yml:17\n  prio  web  # inv.yml:10\n"
        );
    }
}
