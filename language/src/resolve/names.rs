//! A walk over all templates: what they read, and whether anything defines it.
//!
//! Owns: which places define a variable. Must not: render.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::{ActionKind, Condition, Play, Resolver, Role, Settings, Task, roles};
use crate::source::{Diagnostic, Diagnostics, Node, Span, Yaml, nearest};
use crate::vars::{ByName, Layer};

/// Names that exist in every run.
const MAGIC: &[&str] = &[
    "item",
    "omit",
    "groups",
    "group_names",
    "hostvars",
    "inventory_hostname",
    "inventory_hostname_short",
    "inventory_dir",
    "inventory_file",
    "playbook_dir",
    "role_path",
    "role_name",
    "role_names",
    "play_hosts",
    "vars",
    "environment",
    "lookup",
    "query",
    "q",
    "now",
    "undef",
    "range",
    "dict",
    "namespace",
    "cycler",
    "joiner",
    "lipsum",
    "loop",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "self",
    "super",
    "caller",
    "varargs",
    "kwargs",
    "module_setup",
    "gather_subset",
];

/// More roles than this are not searched for names when an include may mean any of them.
const ROLES_LIMIT: usize = 300;

/// Names found by suffix or prefix: facts and connection variables come from hosts and inventories.
fn comes_from_outside(name: &str) -> bool {
    name.starts_with("ansible_") || name.starts_with("discovered_") || name.starts_with("dcos_play_")
}

/// The walk.
pub(super) struct Walk<'r> {
    resolver: &'r Resolver,
    defined: HashMap<Arc<str>, Option<Span>, ByName>,
    read: Vec<(String, Span)>,
    /// Names whose absence some template allows for.
    optional: HashSet<String, ByName>,
    seen: HashSet<Span, ByName>,
    seen_layers: HashSet<(u32, u32, u32), ByName>,
    folders: HashSet<PathBuf, ByName>,
    /// By address: the playbook outlives the walk.
    defined_roles: HashSet<usize, ByName>,
    checked_roles: HashSet<usize, ByName>,
    checked_settings: HashSet<usize, ByName>,
    /// A file whose name is only known at run time may define anything.
    open: bool,
}

impl<'r> Walk<'r> {
    pub(super) fn new(resolver: &'r Resolver) -> Self {
        Self {
            resolver,
            defined: HashMap::default(),
            read: Vec::new(),
            optional: HashSet::default(),
            seen: HashSet::default(),
            seen_layers: HashSet::default(),
            folders: HashSet::default(),
            defined_roles: HashSet::default(),
            checked_roles: HashSet::default(),
            checked_settings: HashSet::default(),
            open: false,
        }
    }

    pub(super) fn define_play(&mut self, play: &Play) {
        self.define_layer(&play.vars);
        for prompt in &play.vars_prompt {
            self.defined.entry(Arc::from(prompt.name.as_str())).or_insert(None);
        }
        for node in play.vars_files.iter().flat_map(super::inherit::one_or_many) {
            match node.scalar_text() {
                Some(name) if !node.is_template() => self.define_file(&play.directory.join(name)),
                _ => self.open = true,
            }
        }
        for role in &play.roles {
            self.define_role(role);
        }
        for folder in ["group_vars", "host_vars"] {
            self.define_folder(&play.directory.join(folder));
        }
    }

    fn define_role(&mut self, role: &Arc<Role>) {
        // Every task of a role brings the same one along.
        if !self.defined_roles.insert(Arc::as_ptr(role) as usize) {
            return;
        }
        self.define_layer(&role.defaults);
        self.define_layer(&role.vars);
        self.define_layer(&role.params);
        // `include_vars` reads others by names that hosts decide.
        for folder in ["vars", "defaults"] {
            self.define_folder(&role.path.join(folder));
        }
        for other in role.dependencies.iter().chain(&role.parents) {
            self.define_role(other);
        }
    }

    pub(super) fn define_task(&mut self, task: &Task) {
        for layer in &task.vars {
            self.define_layer(layer);
        }
        if let Some(role) = &task.role {
            self.define_role(role);
        }
        if let Some(name) = &task.register {
            self.define(name, Some(task.span));
        }
        if let Some(control) = task.loop_.as_ref().map(|l| &l.control) {
            for name in control.loop_var.iter().chain(&control.index_var) {
                self.define(name, Some(task.span));
            }
        }
        match &*task.action.name {
            "set_fact" | "add_host" => {
                for (key, _) in &task.action.args.entries {
                    if key.value.contains("{{") {
                        self.open = true;
                    }
                    self.define(&key.value, Some(key.span));
                }
                self.open |= task.action.args.whole.is_some();
            }
            "include_vars" => self.define_include_vars(task),
            "infrastructure" => {
                let resources = task.action.args.entries.iter().find(|(k, _)| k.value == "resources");
                for entry in resources.and_then(|(_, n)| n.as_map()).into_iter().flat_map(|m| &m.entries) {
                    if let Some(name) = entry.key.as_str() {
                        self.define(name, Some(entry.key.span));
                    }
                }
            }
            // Facts without the prefix: modules that return some under names of their own.
            "service_facts" => self.define("services", Some(task.span)),
            "package_facts" => self.define("packages", Some(task.span)),
            "getent" => {
                let database = task.action.args.entries.iter().find(|(k, _)| k.value == "database");
                match database.map(|(_, n)| n).filter(|n| !n.is_template()).and_then(Node::scalar_text) {
                    Some(name) => self.define(&format!("getent_{name}"), Some(task.span)),
                    None => self.open = true,
                }
            }
            name if name.ends_with("_facts") && matches!(task.action.kind, ActionKind::Custom(_)) => {
                self.open = true
            }
            _ => {}
        }
    }

    fn define_include_vars(&mut self, task: &Task) {
        for (key, node) in &task.action.args.entries {
            if key.value == "name" {
                if let Some(name) = node.scalar_text() {
                    self.define(&name, Some(node.span));
                }
                continue;
            }
            match node.scalar_text() {
                Some(text) if matches!(key.value.as_str(), "file" | "dir" | "_raw_params" | "free-form") => {
                    let fixed = text.split("{{").next().unwrap_or("");
                    let role = task.role.as_ref().map(|r| r.path.clone());
                    let bases: Vec<PathBuf> = role
                        .into_iter()
                        .flat_map(|p| [p.join("vars"), p])
                        .chain([task.directory.clone(), task.directory.join("vars")])
                        .collect();
                    for base in bases {
                        if fixed.len() == text.len() {
                            self.define_file(&base.join(&text));
                            self.define_folder(&base.join(&text));
                        } else {
                            let folder = base.join(fixed);
                            let folder = if fixed.ends_with('/') || fixed.is_empty() {
                                folder
                            } else {
                                folder.parent().unwrap_or(&base).to_path_buf()
                            };
                            if folder.ends_with("vars") {
                                self.define_folder(&folder);
                            } else {
                                self.open = true;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// An include whose file is only known at run time: all files that it may mean count as defining.
    pub(super) fn unknown_includes(&mut self, task: &Task) {
        let target =
            task.action.args.entries.iter().find(|(k, _)| matches!(k.value.as_str(), "file" | "name"));
        if !target.is_some_and(|(_, n)| n.is_template()) {
            return;
        }
        if matches!(task.action.kind, ActionKind::IncludeTasks) {
            self.define_by_tasks(&task.directory);
            return;
        }
        let Some(context) = &task.inherited else { return };
        let roles = roles::all(self.resolver, context);
        if roles.len() > ROLES_LIMIT {
            self.open = true;
            return;
        }
        for role in roles {
            for folder in ["vars", "defaults"] {
                self.define_folder(&role.join(folder));
            }
            self.define_by_tasks(&role.join("tasks"));
        }
    }

    /// What the tasks of a folder register and set, read without a look at their modules.
    fn define_by_tasks(&mut self, folder: &Path) {
        if !self.folders.insert(folder.join("*")) {
            return;
        }
        let mut ignored = Diagnostics::default();
        let nowhere = Span { file: crate::source::SourceId(0), start: 0, end: 0 };
        for file in roles::files_below(folder) {
            if let Some(node) = self.resolver.load(&file, nowhere, &mut ignored) {
                self.define_by_node(&node);
            }
        }
    }

    fn define_by_node(&mut self, node: &Node) {
        for item in node.as_seq().unwrap_or_default() {
            self.define_by_node(item);
        }
        for entry in node.as_map().map(|m| m.entries.as_slice()).unwrap_or_default() {
            let key = entry.key.as_str().map(super::catalogue::short).unwrap_or_default();
            match key {
                "register" | "loop_var" | "index_var" => {
                    if let Some(name) = entry.value.scalar_text() {
                        self.define(&name, Some(entry.value.span));
                    }
                }
                "set_fact" | "vars" => {
                    for fact in entry.value.as_map().map(|m| m.entries.as_slice()).unwrap_or_default() {
                        if let Some(name) = fact.key.scalar_text() {
                            self.define(&name, Some(fact.key.span));
                        }
                    }
                }
                _ => self.define_by_node(&entry.value),
            }
        }
    }

    /// Names of tasks that were left out because of a mistake of their own.
    pub(super) fn define_lost(&mut self, names: &[Node]) {
        for node in names {
            if let Some(name) = node.scalar_text() {
                self.define(&name, Some(node.span));
            }
        }
    }

    fn define(&mut self, name: &str, at: Option<Span>) {
        self.defined.entry(Arc::from(name)).or_insert(at);
    }

    fn define_layer(&mut self, layer: &Layer) {
        for (name, node) in &layer.entries {
            self.defined.entry(Arc::clone(name)).or_insert(Some(node.span));
        }
    }

    fn define_file(&mut self, path: &Path) {
        if !path.is_file() {
            return;
        }
        // What is wrong with a file that a run may never read is not this run's business.
        let mut ignored = Diagnostics::default();
        let nowhere = Span { file: crate::source::SourceId(0), start: 0, end: 0 };
        if let Some(node) = self.resolver.load(path, nowhere, &mut ignored) {
            for entry in node.as_map().map(|m| m.entries.as_slice()).unwrap_or_default() {
                if let Some(name) = entry.key.scalar_text() {
                    self.define(&name, Some(entry.key.span));
                }
            }
        }
    }

    fn define_folder(&mut self, folder: &Path) {
        if folder.is_dir() && self.folders.insert(folder.to_path_buf()) {
            for file in roles::files_below(folder) {
                self.define_file(&file);
            }
        }
    }

    pub(super) fn play(&mut self, play: &Play, out: &mut Diagnostics) {
        self.layer(&play.vars, out);
        self.settings(&play.settings, out);
        let nodes = [
            Some(&play.hosts),
            play.serial.as_ref(),
            play.max_fail_percentage.as_ref(),
            play.gather_facts.as_ref(),
            play.gather_subset.as_ref(),
            play.force_handlers.as_ref(),
        ];
        for node in nodes.into_iter().flatten().chain(&play.vars_files) {
            self.node(node, out);
        }
        for role in &play.roles {
            self.role(role, out);
        }
    }

    fn role(&mut self, role: &Arc<Role>, out: &mut Diagnostics) {
        if !self.checked_roles.insert(Arc::as_ptr(role) as usize) {
            return;
        }
        for layer in [&role.defaults, &role.vars, &role.params] {
            self.layer(layer, out);
        }
    }

    pub(super) fn task(&mut self, task: &Task, out: &mut Diagnostics) {
        if let Some(role) = &task.role {
            self.role(role, out);
        }
        for layer in &task.vars {
            self.layer(layer, out);
        }
        self.settings(&task.settings, out);
        for list in [&task.when, &task.changed_when, &task.failed_when, &task.until] {
            self.conditions(list, out);
        }
        for (_, node) in &task.action.args.entries {
            match (&*task.action.name, node) {
                // Their strings are expressions.
                ("assert", node) if is_argument(task, node, "that") => {
                    let list: Vec<Condition> = super::inherit::one_or_many(node)
                        .map(|expression| Condition { expression })
                        .collect();
                    self.conditions(&list, out);
                }
                ("debug", node) if is_argument(task, node, "var") => {
                    self.conditions(&[Condition { expression: node.clone() }], out);
                }
                (_, node) => self.node(node, out),
            }
        }
        if &*task.action.name == "template" {
            self.template_file(task, out);
        }
        let control = task.loop_.as_ref().map(|l| &l.control);
        let nodes = [
            task.name.as_ref(),
            task.retries.as_ref(),
            task.delay.as_ref(),
            task.async_.as_ref(),
            task.poll.as_ref(),
            task.action.args.whole.as_ref(),
            task.loop_.as_ref().map(|l| &l.items),
            control.and_then(|c| c.label.as_ref()),
            control.and_then(|c| c.pause.as_ref()),
        ];
        for node in nodes.into_iter().flatten().chain(&task.notify).chain(&task.locks) {
            self.node(node, out);
        }
        if let Some(control) = control {
            self.conditions(&control.break_when, out);
        }
    }

    /// A template file with a literal name is checked like the text in a playbook.
    fn template_file(&mut self, task: &Task, out: &mut Diagnostics) {
        let src = task.action.args.entries.iter().find(|(k, _)| k.value == "src").map(|(_, n)| n);
        let Some(name) = src.filter(|n| !n.is_template()).and_then(Node::scalar_text) else { return };
        let role = task.role.as_ref().map(|r| r.path.clone());
        let bases = role.into_iter().chain([task.directory.clone()]);
        let found =
            bases.flat_map(|b| [b.join("templates").join(&name), b.join(&name)]).find(|p| p.is_file());
        // A missing file may come into being during the run.
        let Some(path) = found else { return };
        if !self.folders.insert(path.clone()) {
            return;
        }
        let sources = Arc::clone(self.resolver.sources());
        let Ok(id) = sources.read(&path) else { return };
        let file = sources.file(id);
        let whole = Span { file: id, start: 0, end: file.text.len() as u32 };
        let mut delimiters = Vec::new();
        for (name, value) in &task.action.args.entries {
            if name.value.ends_with("_string") {
                // What is only known at run time leaves nothing to check by.
                let Some(text) = value.as_str().filter(|_| !value.is_template()) else { return };
                delimiters.push((name.value.clone(), text.to_owned()));
            }
        }
        let checked = self.resolver.setup.templates.file(&file.text, &delimiters);
        self.note(whole, &file.text, checked, out);
    }

    fn settings(&mut self, settings: &Arc<Settings>, out: &mut Diagnostics) {
        let s = settings;
        if !self.checked_settings.insert(Arc::as_ptr(s) as usize) {
            return;
        }
        let single = [
            &s.r#become,
            &s.become_user,
            &s.become_method,
            &s.become_flags,
            &s.become_exe,
            &s.connection,
            &s.remote_user,
            &s.port,
            &s.check_mode,
            &s.diff,
            &s.ignore_errors,
            &s.ignore_unreachable,
            &s.any_errors_fatal,
            &s.no_log,
            &s.run_once,
            &s.throttle,
            &s.timeout,
            &s.delegate_to,
            &s.delegate_facts,
        ];
        for node in single.into_iter().flatten().chain(&s.environment).chain(&s.module_defaults) {
            self.node(node, out);
        }
    }

    fn layer(&mut self, layer: &Layer, out: &mut Diagnostics) {
        if let Some(span) = layer.span {
            let key = (span.file.0, span.start, span.end);
            if !layer.entries.is_empty()
                && !self.seen_layers.insert((key.0, key.1, layer.entries.len() as u32))
            {
                return;
            }
        }
        for (_, node) in &layer.entries {
            self.node(node, out);
        }
    }

    fn conditions(&mut self, list: &[Condition], out: &mut Diagnostics) {
        for Condition { expression } in list {
            if expression.is_template() {
                self.node(expression, out);
            } else if let Yaml::Str(text) = &expression.value
                && self.seen.insert(expression.span)
            {
                let checked = self.resolver.setup.templates.expression(text);
                self.note(expression.span, text, checked, out);
            }
        }
    }

    fn node(&mut self, node: &Node, out: &mut Diagnostics) {
        match &node.value {
            Yaml::Str(text) if node.is_template() && self.seen.insert(node.span) => {
                let checked = self.resolver.setup.templates.text(text);
                self.note(node.span, text, checked, out);
            }
            Yaml::Seq(items) => {
                for item in items {
                    self.node(item, out);
                }
            }
            Yaml::Map(map) => {
                for entry in &map.entries {
                    self.node(&entry.key, out);
                    self.node(&entry.value, out);
                }
            }
            _ => {}
        }
    }

    fn note(
        &mut self,
        span: Span,
        text: &str,
        checked: Result<super::Refs, super::TemplateFault>,
        out: &mut Diagnostics,
    ) {
        let sources = self.resolver.sources();
        match checked {
            Ok(refs) => {
                for name in refs.names {
                    if name.guarded {
                        self.optional.insert(name.name);
                    } else {
                        let at = sources.inside(span, text, name.at);
                        self.read.push((name.name, at));
                    }
                }
            }
            Err(fault) => {
                let at = sources.inside(span, text, fault.at);
                let finding = Diagnostic::error("bad-template", fault.message, at);
                out.push(match fault.help {
                    Some(help) if help.starts_with("did you mean") => finding.label(help),
                    Some(help) => finding.help(help),
                    None => finding,
                });
            }
        }
    }

    /// Names that were read and that nothing defines: warnings, since inventories and facts can still bring them. One
    /// for each name, at its first place. A name that is asked for somewhere (`is defined`, `default`) is known to
    /// come with `-e` or not at all.
    pub(super) fn finish(self, out: &mut Diagnostics) {
        if self.open {
            return;
        }
        let known = |name: &str| {
            self.defined.contains_key(name)
                || MAGIC.contains(&name)
                || comes_from_outside(name)
                || (self.resolver.setup.known_variables)(name)
        };
        let mut unknown: IndexMap<&str, (Span, usize)> = IndexMap::new();
        for (name, at) in &self.read {
            if self.optional.contains(name) || (!unknown.contains_key(&**name) && known(name)) {
                continue;
            }
            unknown.entry(name).or_insert((*at, 0)).1 += 1;
        }
        // The nearest of equals by name, so that the text does not depend on a hash.
        let mut names: Vec<&str> = self.defined.keys().map(|k| &**k).collect();
        names.sort_unstable();
        for (name, (at, places)) in unknown {
            let more = match places {
                1 => String::new(),
                n => format!(", here and in {} more places", n - 1),
            };
            let text = format!("`{name}` is not defined anywhere{more}");
            let finding = Diagnostic::warning("undefined-variable", text, at);
            out.push(match nearest(name, names.iter().copied()) {
                Some(near) => {
                    let place = self.defined.get(near).copied().flatten();
                    finding.label(match place {
                        Some(place) => format!("`{near}` is set in {}", self.resolver.sources().place(place)),
                        None => format!("did you mean `{near}`?"),
                    })
                }
                None => {
                    finding.help("set it in `vars`, in the inventory, with `-e`, or give it a `default()`")
                }
            });
        }
    }
}

fn is_argument(task: &Task, node: &Node, name: &str) -> bool {
    task.action.args.entries.iter().any(|(k, n)| k.value == name && n.span == node.span)
}
