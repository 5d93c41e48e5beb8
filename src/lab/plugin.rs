//! The inventory plugin `lab`: from a file that was read to hosts, and the labs to boot before a run.
//!
//! Reading an inventory boots nothing, since `plan` and `inventory` read it too: whoever runs something takes
//! [`LabPlugin::labs`] and brings up the hosts it needs.

use std::cell::RefCell;
use std::path::Path;

use serde_json::{Value, json};

use super::config::{LabConfig, Vars};
use super::dirs::LabDirs;
use super::spec::{InventoryGroup, LabInventory, LabSpec, SpecError, default_name};
use crate::inventory::{PluginGroup, PluginInventory};
use crate::source::{Diagnostic, Node, Yaml};

/// Answers inventories that ask for `plugin: lab`, and remembers which labs there were.
#[derive(Debug)]
pub struct LabPlugin {
    dirs: LabDirs,
    found: RefCell<Vec<LabSpec>>,
}

impl LabPlugin {
    /// Starts with no lab. The keys of hosts will be looked for in `dirs`.
    pub fn new(dirs: LabDirs) -> Self {
        LabPlugin { dirs, found: RefCell::default() }
    }

    /// The hosts and groups of a file; nothing when it belongs to another plugin.
    pub fn ask(&self, plugin: &str, root: &Node, path: &Path) -> Option<Result<PluginInventory, Diagnostic>> {
        (plugin == "lab").then(|| {
            let spec = resolve(root, path)
                .map_err(|error| Diagnostic::error("lab-inventory", error.to_string(), root.span))?;
            let inventory = spec.inventory(&self.dirs);
            self.found.borrow_mut().push(spec);
            Ok(inventory.into())
        })
    }

    /// The labs of all files that were asked for.
    pub fn labs(&self) -> Vec<LabSpec> {
        self.found.borrow().clone()
    }
}

fn resolve(root: &Node, path: &Path) -> Result<LabSpec, SpecError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    match serde_json::from_value::<LabConfig>(to_json(root)) {
        Ok(config) => LabSpec::resolve(config, &default_name(path), folder),
        // The second reading knows the line of the mistake; it only fails to see one in YAML 1.1 scalars.
        Err(fault) => match LabSpec::read(path) {
            Err(error) => Err(error),
            Ok(_) => Err(SpecError::Value { path: path.to_owned(), source: fault }),
        },
    }
}

/// Plain data, with the marks that inventories use for values that are no plain data.
fn to_json(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Int(value) => json!(value),
        Yaml::Float(value) => json!(value),
        Yaml::Str(text) => json!(**text),
        Yaml::Unsafe(text) => json!({"__ansible_unsafe": **text}),
        Yaml::Vault(text) => json!({"__ansible_vault": **text}),
        Yaml::Seq(items) => Value::Array(items.iter().map(to_json).collect()),
        Yaml::Map(map) => {
            let entry = |entry: &crate::source::Entry| {
                let key = entry.key.scalar_text().unwrap_or_else(|| "null".to_owned());
                (key, to_json(&entry.value))
            };
            Value::Object(map.entries.iter().map(entry).collect::<Vars>())
        }
    }
}

impl From<LabInventory> for PluginInventory {
    fn from(lab: LabInventory) -> Self {
        let all = InventoryGroup { vars: lab.vars, ..InventoryGroup::default() };
        let groups = std::iter::once(("all".to_owned(), all)).chain(lab.groups);
        let group = |(name, group): (String, InventoryGroup)| PluginGroup {
            name,
            hosts: group.hosts,
            children: group.children,
            vars: group.vars,
        };
        PluginInventory { hosts: lab.hosts.into_iter().collect(), groups: groups.map(group).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Sources, parse};

    fn ask(plugin: &LabPlugin, yaml: &str) -> Result<PluginInventory, String> {
        let sources = Sources::new("/".into());
        let root = parse(&sources, sources.add("lab.yml".into(), yaml.to_owned())).expect("YAML");
        let answer = plugin.ask("lab", &root, Path::new("/nowhere/lab.yml")).expect("its own plugin");
        answer.map_err(|fault| fault.message)
    }

    fn plugin() -> LabPlugin {
        LabPlugin::new(LabDirs::new("/c", "/s"))
    }

    #[test]
    fn groups_and_vars_reach_the_inventory_with_their_marks() {
        let plugin = plugin();
        let made = ask(
            &plugin,
            "plugin: lab\nvars: {a: yes, b: 0644, c: !unsafe '{{ x }}'}\ngroups:\n  masters: {count: 1, vars: {d: ~}}\n",
        )
        .expect("a lab");
        let as_json = |vars: &Vars| Value::Object(vars.clone());
        assert_eq!(made.groups[0].name, "all");
        assert_eq!(
            as_json(&made.groups[0].vars),
            json!({"a": true, "b": 420, "c": {"__ansible_unsafe": "{{ x }}"}}),
            "scalars are those of YAML 1.1, as in every inventory"
        );
        assert_eq!((&*made.groups[1].name, as_json(&made.groups[1].vars)), ("masters", json!({"d": null})));
        assert_eq!(made.groups[1].hosts, ["masters1"]);
        assert_eq!((&*made.hosts[0].0, &made.hosts[0].1["ansible_host"]), ("masters1", &json!("10.77.0.10")));
        let labs = plugin.labs();
        assert_eq!(labs.iter().map(|lab| &*lab.name).collect::<Vec<_>>(), ["lab"]);
    }

    #[test]
    fn mistake_is_a_finding_and_no_lab_is_remembered() {
        let plugin = plugin();
        let message = ask(&plugin, "plugin: lab\ngroups: {a: {children: [b]}}\n").expect_err("a mistake");
        assert_eq!(message, "group `a` has the unknown child `b`");
        assert!(plugin.labs().is_empty());
    }

    #[test]
    fn other_plugins_are_left_alone() {
        let sources = Sources::new("/".into());
        let root =
            parse(&sources, sources.add("a.yml".into(), "plugin: aws_ec2\n".to_owned())).expect("YAML");
        assert!(plugin().ask("aws_ec2", &root, Path::new("a.yml")).is_none());
    }
}
