//! Variables and groups made from the variables of hosts: `plugin: constructed`, and the same options of other plugins.
//!
//! Owns: `compose`, `groups` and `keyed_groups`, and how a group's name is made fit. Must not: know where hosts come from.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::{Host, HostTables, Inventory};
use super::pattern::near;
use super::reader::Reader;
use crate::source::{Diagnostic, Diagnostics, Mapping, Node, Span, Yaml};
use crate::template::{Options, Scope, SearchPath, TemplateError, Templates, Value, Var, to_json, to_text};
use crate::vars::{Table, data_node, key_text};

/// What `plugin: constructed` may say.
const OPTIONS: [&str; 8] = [
    "plugin",
    "strict",
    "compose",
    "groups",
    "keyed_groups",
    "leading_separator",
    "use_vars_plugins",
    "use_extra_vars",
];
const KEYED_OPTIONS: [&str; 6] =
    ["key", "prefix", "separator", "parent_group", "default_value", "trailing_separator"];

/// True for the names of the plugin.
pub(super) fn is_named(plugin: &str) -> bool {
    matches!(plugin, "constructed" | "ansible.builtin.constructed" | "ansible.legacy.constructed")
}

/// Adds what a `constructed` file makes of the hosts known so far.
pub(super) fn add(inventory: &mut Inventory, map: &Mapping, source: &Path, reader: &mut Reader<'_>) {
    let known = reader.found.errors();
    check_options(map, &OPTIONS, "the inventory plugin `constructed`", reader.found);
    if flag(map, "use_vars_plugins", false, reader.found)
        && let Some(node) = map.get("use_vars_plugins")
    {
        reader.found.push(
            option_error("`use_vars_plugins` is not available here", node.span)
                .help("expressions see the variables that inventory sources give to hosts and groups"),
        );
    }
    let extra = flag(map, "use_extra_vars", false, reader.found).then(|| reader.extra());
    let rules = Constructed::read(map, reader.found);
    if reader.found.errors() > known {
        return;
    }
    let folder = source.parent().unwrap_or(Path::new("."));
    rules.apply(inventory, &templates(folder), folder, &Scoping { hosts: None, extra }, reader.found);
}

/// The templates of an inventory file in this folder.
pub(super) fn templates(folder: &Path) -> Templates {
    Templates::new(Options {
        environment: std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect(),
        current_folder: folder.to_owned(),
        ..Options::default()
    })
}

/// Which hosts rules are for, and what else expressions see.
#[derive(Debug, Default)]
pub(super) struct Scoping {
    /// `None`: all that are known.
    pub hosts: Option<HashSet<String>>,
    /// Variables of the command line, over all others.
    pub extra: Option<Arc<Table>>,
}

/// The rules of one file.
#[derive(Debug)]
pub(super) struct Constructed {
    strict: bool,
    leading_separator: bool,
    /// Names of groups keep their dashes.
    pub(super) keep_dashes: bool,
    compose: Vec<(Arc<str>, Expression)>,
    groups: Vec<(Arc<str>, Expression)>,
    keyed: Vec<Keyed>,
}

#[derive(Debug)]
struct Expression {
    text: String,
    span: Span,
}

#[derive(Debug)]
struct Keyed {
    key: Expression,
    prefix: String,
    separator: String,
    parent: Option<Node>,
    default: Option<String>,
    trailing: bool,
}

impl Constructed {
    /// Reads the options; everything wrong with them is found at once.
    pub(super) fn read(map: &Mapping, found: &mut Diagnostics) -> Self {
        let keyed = match map.get("keyed_groups").map(|n| (n, &n.value)) {
            None | Some((_, Yaml::Null)) => Vec::new(),
            Some((_, Yaml::Seq(items))) => items.iter().filter_map(|n| Keyed::read(n, found)).collect(),
            Some((node, _)) => {
                found.push(option_error("`keyed_groups` must be a list of mappings", node.span));
                Vec::new()
            }
        };
        Self {
            strict: flag(map, "strict", false, found),
            leading_separator: flag(map, "leading_separator", true, found),
            keep_dashes: false,
            compose: expressions(map, "compose", found),
            groups: expressions(map, "groups", found),
            keyed,
        }
    }

    /// Gives every host its variables first, then its groups. Expressions see what was known before, not each other,
    /// but groups see the composed variables.
    pub(super) fn apply(
        &self,
        inventory: &mut Inventory,
        templates: &Templates,
        folder: &Path,
        scoping: &Scoping,
        found: &mut Diagnostics,
    ) {
        inventory.promised.extend(self.compose.iter().map(|(name, _)| Arc::clone(name)));
        inventory.finish();
        let meant = |host: &Host| scoping.hosts.as_ref().is_none_or(|hosts| hosts.contains(&*host.name));
        let hosts: Vec<Arc<Host>> = inventory.hosts().filter(|h| !h.implicit && meant(h)).cloned().collect();
        for host in hosts {
            let mut work = Work {
                strict: self.strict,
                keep_dashes: self.keep_dashes,
                templates,
                scope: HostScope::of(&host, inventory, folder, scoping.extra.clone()),
                host: &host.name,
                inventory,
                found,
            };
            work.compose(&self.compose);
            work.groups(&self.groups);
            for keyed in &self.keyed {
                work.keyed(keyed, self.leading_separator);
            }
        }
    }
}

impl Keyed {
    fn read(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        let Some(map) = node.as_map() else {
            found.push(option_error("an item of `keyed_groups` must be a mapping with `key`", node.span));
            return None;
        };
        check_options(map, &KEYED_OPTIONS, "`keyed_groups`", found);
        let text = |name: &str| map.get(name).and_then(Node::scalar_text);
        let Some(key) = map.get("key").and_then(expression) else {
            found.push(option_error("an item of `keyed_groups` needs `key`, an expression", node.span));
            return None;
        };
        if text("default_value").is_some() && map.get("trailing_separator").is_some() {
            found
                .push(option_error("`default_value` and `trailing_separator` exclude each other", node.span));
        }
        Some(Self {
            key,
            prefix: text("prefix").unwrap_or_default(),
            separator: text("separator").unwrap_or_else(|| "_".to_owned()),
            parent: map.get("parent_group").filter(|n| !n.is_null()).cloned(),
            default: text("default_value"),
            trailing: flag(map, "trailing_separator", true, found),
        })
    }

    /// What stands behind the prefix, one for each group; `None` when the value can't name groups.
    fn endings(&self, value: &Value) -> Option<Result<Vec<String>, TemplateError>> {
        use serde_json::Value as Json;
        let json = match to_json(value) {
            Ok(json) => json,
            Err(fault) => return Some(Err(fault)),
        };
        let default = || self.default.clone();
        let names = match json {
            Json::String(text) if text.is_empty() => default().into_iter().collect(),
            Json::String(text) => vec![text],
            Json::Array(items) => {
                let name = |item: Json| match plain_text(item) {
                    Ok(text) if text.is_empty() => Ok(default().unwrap_or_default()),
                    other => other,
                };
                return Some(items.into_iter().map(name).collect());
            }
            Json::Object(map) => {
                let name = |(key, item): (String, Json)| {
                    let value = plain_text(item)?;
                    Ok(match (&*value, &self.default, self.trailing) {
                        ("", None, false) => key,
                        ("", Some(default), _) => format!("{key}{}{default}", self.separator),
                        _ => format!("{key}{}{value}", self.separator),
                    })
                };
                return Some(map.into_iter().map(name).collect());
            }
            _ => return None,
        };
        Some(Ok(names))
    }
}

/// One host under the rules.
struct Work<'a> {
    strict: bool,
    keep_dashes: bool,
    templates: &'a Templates,
    scope: HostScope,
    host: &'a str,
    inventory: &'a mut Inventory,
    found: &'a mut Diagnostics,
}

impl Work<'_> {
    fn compose(&mut self, rules: &[(Arc<str>, Expression)]) {
        let mut made = Vec::new();
        for (name, rule) in rules {
            match self.value(rule) {
                Ok(value) => made.push((name, rule.span, value)),
                Err(fault) => self.failed(&format!("variable `{name}`"), rule.span, &fault),
            }
        }
        for (name, span, value) in made {
            self.inventory.set_host_var(self.host, Arc::clone(name), Arc::new(data_node(&value, span)));
            self.scope.made.insert(name.to_string(), value);
        }
    }

    fn groups(&mut self, rules: &[(Arc<str>, Expression)]) {
        for (name, rule) in rules {
            match self.value(rule) {
                Ok(value) if value.is_true() => {
                    self.inventory.add_member(&sanitised_as(name, self.keep_dashes), self.host);
                }
                Ok(_) => {}
                Err(fault) => self.failed(&format!("group `{name}`"), rule.span, &fault),
            }
        }
    }

    fn keyed(&mut self, rule: &Keyed, leading: bool) {
        let span = rule.key.span;
        let value = match self.value(&rule.key) {
            Ok(value) => value,
            Err(fault) => return self.failed("`keyed_groups`", span, &fault),
        };
        let empty_text = value.as_str() == Some("");
        if !(value.is_true() || empty_text && rule.default.is_some()) {
            let container = !value.is_none() && value.len() == Some(0) && !empty_text;
            if self.strict && !container {
                self.report(
                    format!("`keyed_groups` for host `{}`: `{}` is empty", self.host, rule.key.text),
                    span,
                );
            }
            return;
        }
        let endings = match rule.endings(&value) {
            Some(Ok(endings)) => endings,
            Some(Err(fault)) => return self.failed("`keyed_groups`", span, &fault),
            None => {
                let (host, text) = (self.host, &rule.key.text);
                let message = format!(
                    "`keyed_groups` for host `{host}`: `{text}` gives neither text, list nor mapping"
                );
                return self.report(message, span);
            }
        };
        let separator = if rule.prefix.is_empty() && !leading { "" } else { &*rule.separator };
        for ending in endings {
            let group = sanitised_as(&format!("{}{separator}{ending}", rule.prefix), self.keep_dashes);
            self.inventory.add_member(&group, self.host);
            let Some(parent) = &rule.parent else { continue };
            let scope: Arc<dyn Scope> = Arc::new(self.scope.clone());
            let parent_name = self.templates.node(parent, &scope).and_then(|v| to_text(&v));
            match parent_name {
                Ok(name) => {
                    if let Err(fault) =
                        self.inventory.add_child(&sanitised_as(&name, self.keep_dashes), &group)
                    {
                        self.found.push(Diagnostic::error("group-loop", fault.to_string(), parent.span));
                    }
                }
                Err(fault) => self.failed("`parent_group`", parent.span, &fault),
            }
        }
    }

    fn value(&self, rule: &Expression) -> Result<Value, TemplateError> {
        let scope: Arc<dyn Scope> = Arc::new(self.scope.clone());
        let value = self.templates.expression(&rule.text, Some(rule.span), &scope)?;
        // Nothing may stay that fails only when somebody looks at it.
        to_json(&value).map(|_| value)
    }

    /// An expression that fails for a host is left out for that host, unless `strict`.
    fn failed(&mut self, what: &str, span: Span, fault: &TemplateError) {
        if self.strict {
            self.report(format!("{what} for host `{}`: {fault}", self.host), span);
        }
    }

    fn report(&mut self, message: String, span: Span) {
        self.found.push(Diagnostic::error("inventory-expression", message, span));
    }
}

/// What expressions see: the host's variables by precedence, what was composed, a few magic names.
#[derive(Debug, Clone)]
struct HostScope {
    tables: HostTables,
    made: BTreeMap<String, Value>,
    extra: Option<Arc<Table>>,
    folder: PathBuf,
}

impl HostScope {
    fn of(host: &Host, inventory: &Inventory, folder: &Path, extra: Option<Arc<Table>>) -> Self {
        let mut made = BTreeMap::new();
        let short = host.name.split('.').next().unwrap_or_default();
        made.insert("inventory_hostname".to_owned(), Value::from(&*host.name));
        made.insert("inventory_hostname_short".to_owned(), Value::from(short));
        let groups = inventory.group_names(&host.name);
        made.insert("group_names".to_owned(), groups.iter().map(|g| Value::from(&**g)).collect());
        if let Some(path) = &host.source {
            made.insert("inventory_file".to_owned(), Value::from(path.display().to_string()));
            let dir = path.parent().unwrap_or(Path::new("")).display().to_string();
            made.insert("inventory_dir".to_owned(), Value::from(dir));
        }
        Self { tables: host.tables().clone(), made, extra, folder: folder.to_owned() }
    }
}

impl Scope for HostScope {
    fn get(&self, name: &str) -> Option<Var> {
        if let Some(node) = self.extra.as_ref().and_then(|e| e.get(name)) {
            return Some(Var::Yaml(Arc::clone(node)));
        }
        if let Some(value) = self.made.get(name) {
            return Some(Var::Data(value.clone()));
        }
        let node = self.tables.host.get(name).or_else(|| self.tables.groups.get(name))?;
        Some(Var::Yaml(Arc::clone(node)))
    }

    fn names(&self) -> Vec<String> {
        let tables = [Some(&self.tables.host), Some(&self.tables.groups), self.extra.as_ref()];
        let written = tables.iter().flatten().flat_map(|t| t.iter().map(|(name, _)| name.to_string()));
        let mut names: Vec<String> = written.chain(self.made.keys().cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn search(&self) -> SearchPath {
        SearchPath { bases: vec![self.folder.clone()] }
    }
}

/// What options of a plugin see when they are rendered: the variables of the command line.
#[derive(Debug)]
pub(super) struct Extra {
    table: Arc<Table>,
    folder: PathBuf,
}

impl Extra {
    pub(super) fn new(table: &Arc<Table>, folder: &Path) -> Self {
        Self { table: Arc::clone(table), folder: folder.to_owned() }
    }
}

impl Scope for Extra {
    fn get(&self, name: &str) -> Option<Var> {
        Some(Var::Yaml(Arc::clone(self.table.get(name)?)))
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.table.iter().map(|(name, _)| name.to_string()).collect();
        names.sort_unstable();
        names
    }

    fn search(&self) -> SearchPath {
        SearchPath { bases: vec![self.folder.clone()] }
    }
}

/// A group name in which everything but letters, digits and `_` became `_`, a leading digit too.
pub(super) fn sanitised(name: &str) -> String {
    sanitised_as(name, false)
}

/// The same; dashes may stay, as the script `ec2.py` left them.
pub(super) fn sanitised_as(name: &str, keep_dashes: bool) -> String {
    let fits = |(at, c): (usize, char)| {
        let word = c == '_' || c.is_alphanumeric() || keep_dashes && c == '-';
        if word && !(at == 0 && c.is_numeric()) { c } else { '_' }
    };
    name.chars().enumerate().map(fits).collect()
}

fn plain_text(item: serde_json::Value) -> Result<String, TemplateError> {
    to_text(&crate::template::from_json(item))
}

fn expression(node: &Node) -> Option<Expression> {
    node.scalar_text().filter(|t| !t.trim().is_empty()).map(|text| Expression { text, span: node.span })
}

fn expressions(map: &Mapping, option: &str, found: &mut Diagnostics) -> Vec<(Arc<str>, Expression)> {
    let Some(node) = map.get(option).filter(|n| !n.is_null()) else { return Vec::new() };
    let Some(rules) = node.as_map() else {
        found.push(option_error(&format!("`{option}` must be a mapping of names to expressions"), node.span));
        return Vec::new();
    };
    let mut list = Vec::new();
    for entry in &rules.entries {
        let name = key_text(&entry.key);
        match expression(&entry.value) {
            Some(rule) => list.push((name, rule)),
            None => found
                .push(option_error(&format!("`{name}` in `{option}` needs an expression"), entry.key.span)),
        }
    }
    list
}

pub(super) fn flag(map: &Mapping, option: &str, usual: bool, found: &mut Diagnostics) -> bool {
    match map.get(option).map(|n| (n, &n.value)) {
        None | Some((_, Yaml::Null)) => usual,
        Some((_, Yaml::Bool(value))) => *value,
        Some((node, _)) => {
            found.push(option_error(&format!("`{option}` must be true or false"), node.span));
            usual
        }
    }
}

pub(super) fn check_options(map: &Mapping, known: &[&str], of: &str, found: &mut Diagnostics) {
    for entry in &map.entries {
        let name = key_text(&entry.key);
        if !known.contains(&&*name) {
            let help = match near(&name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it has {}", known.join(", ")),
            };
            let message = format!("{of} has no option `{name}`");
            found.push(option_error(&message, entry.key.span).help(help));
        }
    }
}

pub(super) fn option_error(message: &str, span: Span) -> Diagnostic {
    Diagnostic::error("inventory-option", message, span)
}
