//! Which variables look at other hosts.
//!
//! A task that names `hostvars` must see what the other hosts did before it. So must a task that names a variable
//! whose lazily rendered value names `hostvars`, however many variables lie between. The names are found by words in
//! the text, not by parsing: a word too many costs a barrier, a word too few would cost correctness.

use std::collections::{HashMap, HashSet};

use crate::resolve::{Item, Play, Playbook, Role, Task};
use crate::source::{Node, Yaml};
use crate::vars::Layer;

/// Names that show other hosts by themselves.
const SEEDS: [&str; 4] = ["hostvars", "ansible_play_hosts", "ansible_play_batch", "play_hosts"];

/// The names whose value depends on other hosts, each with the seed behind it.
#[derive(Debug, Clone, Default)]
pub struct Looks {
    names: HashMap<String, &'static str>,
}

impl Looks {
    /// Follows the definitions of a playbook, and of variables from elsewhere (inventory, command line), to the end.
    pub fn new<'a>(playbook: &'a Playbook, more: impl IntoIterator<Item = (&'a str, &'a Node)>) -> Self {
        let mut definitions: Vec<(&str, Vec<&'a str>)> = Vec::new();
        // Every task of a role has the role's variables: they are read once.
        let mut seen: HashSet<*const Node> = HashSet::new();
        let mut add = |name: &'a str, node: &'a Node| {
            if !seen.insert(std::ptr::from_ref(node)) {
                return;
            }
            let mut words = Vec::new();
            collect(node, &mut words);
            if !words.is_empty() {
                definitions.push((name, words));
            }
        };
        for (name, node) in more {
            add(name, node);
        }
        for play in &playbook.plays {
            each_layer(play, &mut |layer| {
                for (name, node) in &layer.entries {
                    add(name, node);
                }
            });
        }
        let mut names: HashMap<String, &'static str> = SEEDS.iter().map(|s| ((*s).to_owned(), *s)).collect();
        loop {
            let found: Vec<(String, &'static str)> = definitions
                .iter()
                .filter(|(name, _)| !names.contains_key(*name))
                .filter_map(|(name, words)| {
                    words.iter().find_map(|w| names.get(*w)).map(|seed| ((*name).to_owned(), *seed))
                })
                .collect();
            if found.is_empty() {
                return Self { names };
            }
            names.extend(found);
        }
    }

    /// The first name in a value that looks at other hosts, with the seed behind it.
    #[must_use]
    pub fn in_node(&self, node: &Node) -> Option<(String, &'static str, crate::source::Span)> {
        match &node.value {
            _ if self.names.is_empty() => None,
            Yaml::Str(text) => {
                words(text).find_map(|w| self.names.get(w).map(|seed| (w.to_owned(), *seed, node.span)))
            }
            Yaml::Seq(items) => items.iter().find_map(|n| self.in_node(n)),
            Yaml::Map(map) => {
                map.entries.iter().find_map(|e| self.in_node(&e.key).or_else(|| self.in_node(&e.value)))
            }
            _ => None,
        }
    }

    /// Whether a text names such a variable; for template files.
    #[must_use]
    pub fn in_text(&self, text: &str) -> Option<(String, &'static str)> {
        words(text).find_map(|w| self.names.get(w).map(|seed| (w.to_owned(), *seed)))
    }
}

fn each_layer<'a>(play: &'a Play, visit: &mut dyn FnMut(&'a Layer)) {
    visit(&play.vars);
    for role in &play.roles {
        each_role_layer(role, visit);
    }
    let mut roles: HashSet<*const Role> = HashSet::new();
    each_task(&play.items, &mut |task| {
        for layer in &task.vars {
            visit(layer);
        }
        if let Some(role) = &task.role
            && roles.insert(std::ptr::from_ref(&**role))
        {
            each_role_layer(role, visit);
        }
    });
    for handler in &play.handlers {
        for layer in &handler.task.vars {
            visit(layer);
        }
    }
}

fn each_role_layer<'a>(role: &'a Role, visit: &mut dyn FnMut(&'a Layer)) {
    visit(&role.defaults);
    visit(&role.vars);
    visit(&role.params);
    for dependency in &role.dependencies {
        each_role_layer(dependency, visit);
    }
}

fn each_task<'a>(items: &'a [Item], visit: &mut dyn FnMut(&'a Task)) {
    for item in items {
        match item {
            Item::Task(task) => visit(task),
            Item::Block(block) => {
                each_task(&block.items, visit);
                each_task(&block.rescue, visit);
                each_task(&block.always, visit);
            }
        }
    }
}

fn collect<'a>(node: &'a Node, into: &mut Vec<&'a str>) {
    match &node.value {
        Yaml::Str(text) if node.is_template() => into.extend(words(text)),
        Yaml::Seq(items) => items.iter().for_each(|n| collect(n, into)),
        Yaml::Map(map) => map.entries.iter().for_each(|e| {
            collect(&e.key, into);
            collect(&e.value, into);
        }),
        _ => {}
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}
