//! Items as written to items as run: blocks, tasks, handlers, static imports.
//!
//! Owns: one walk over one play (or one dynamic include). Must not: decide between plays; that is `plays`. What dynamic
//! includes hold is looked at in `scout`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue::{self, Builtin, Named};
use super::expand_role::RoleCall;
use super::inherit;
use super::roles::Identity;
use super::{Block, Handler, Include, Inherited, Item, Resolver, Role, roles, tasks};
use crate::source::{Diagnostic, Diagnostics, Node, Span, Yaml};
use crate::syntax::{self, Candidate};
use crate::vars::Layer;

/// The walk.
pub(super) struct Expander<'r> {
    pub resolver: &'r Resolver,
    pub out: Diagnostics,
    /// How often a task path was given out, to number repetitions.
    counts: HashMap<String, usize>,
    /// Static imports that are open, outermost first, to see cycles.
    pub open: Vec<Open>,
    pub roles: Vec<Arc<Role>>,
    pub ran: Vec<Identity>,
    /// Roles that the play itself runs, seen from a dynamic include: path and number of parameters.
    pub ran_in_play: Vec<(PathBuf, usize)>,
    /// Handlers by the role (and file) that brought them; a role used again replaces its own.
    pub handlers: Vec<(Option<PathBuf>, Vec<Arc<Handler>>)>,
    /// What dynamic includes with a literal name hold: checked now, expanded when the run comes there.
    pub scouted: Vec<Item>,
    pub scouted_handlers: Vec<Arc<Handler>>,
    pub(super) scouted_files: HashSet<(PathBuf, Option<PathBuf>)>,
    /// A dynamic include with a templated name, or handlers behind an include, may define handlers nobody can know yet.
    pub handlers_unknown: bool,
    /// `register` names of tasks that could not be made, so that their readers are not blamed.
    pub lost: Vec<Node>,
    /// What handlers of the file being read listen to.
    listens: HashMap<Arc<str>, Vec<Node>>,
    /// Whether dynamic includes are followed to check what they hold.
    pub(super) scout: bool,
    pub(super) scouting: usize,
    /// The play's variables, for names that are rendered early.
    pub play_vars: Option<Arc<Layer>>,
}

/// A file or role that is being imported.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub path: PathBuf,
    pub what: String,
    pub at: Span,
}

/// Imports inside imports; a templated name can hide a cycle from the check by path.
const IMPORT_DEPTH: usize = 64;

impl<'r> Expander<'r> {
    pub(super) fn new(resolver: &'r Resolver, scout: bool) -> Self {
        Self {
            resolver,
            out: Diagnostics::default(),
            counts: HashMap::new(),
            open: Vec::new(),
            roles: Vec::new(),
            ran: Vec::new(),
            ran_in_play: Vec::new(),
            handlers: Vec::new(),
            scouted: Vec::new(),
            scouted_handlers: Vec::new(),
            scouted_files: HashSet::new(),
            handlers_unknown: false,
            lost: Vec::new(),
            listens: HashMap::new(),
            scout,
            scouting: 0,
            play_vars: None,
        }
    }

    pub(super) fn items(&mut self, items: &[syntax::Item], context: &Inherited) -> Vec<Item> {
        let mut made = Vec::new();
        for item in items {
            match item {
                syntax::Item::Block(block) => made.push(self.block(block, context)),
                syntax::Item::Task(task) => self.task(task, context, &mut made),
            }
        }
        made
    }

    fn block(&mut self, block: &syntax::Block, context: &Inherited) -> Item {
        let inner = inherit::inward(context, &block.keywords, &mut self.out);
        Item::Block(Arc::new(Block {
            span: block.span,
            name: block.keywords.get("name").cloned(),
            items: self.items(&block.block, &inner),
            rescue: self.items(&block.rescue, &inner),
            always: self.items(&block.always, &inner),
        }))
    }

    /// Handlers of a play or a role. A block among them only lends its keywords, as in Ansible.
    pub(super) fn handler_items(&mut self, items: &[syntax::Item], context: &Inherited) -> Vec<Arc<Handler>> {
        let context = &Inherited { handlers: true, ..context.clone() };
        let mut made = Vec::new();
        for item in items {
            match item {
                syntax::Item::Task(task) => self.handler(task, context, &mut made),
                syntax::Item::Block(block) => {
                    if !block.rescue.is_empty() || !block.always.is_empty() {
                        self.out.push(
                            Diagnostic::warning(
                                "no-effect",
                                "`rescue` and `always` have no effect among handlers",
                                block.span,
                            )
                            .help("include a tasks file with the block from one handler"),
                        );
                    }
                    let inner = inherit::inward(context, &block.keywords, &mut self.out);
                    for item in &block.block {
                        match item {
                            syntax::Item::Task(task) => self.handler(task, &inner, &mut made),
                            syntax::Item::Block(block) => self.out.push(block_as_handler(block.span)),
                        }
                    }
                }
            }
        }
        made
    }

    fn handler(&mut self, task: &syntax::Task, context: &Inherited, made: &mut Vec<Arc<Handler>>) {
        let mut expanded = Vec::new();
        self.task(task, context, &mut expanded);
        let around = listens(task);
        for item in expanded {
            let task = match item {
                Item::Task(task) => task,
                Item::Block(block) => {
                    self.out.push(block_as_handler(block.span));
                    continue;
                }
            };
            match task.action.kind {
                super::ActionKind::IncludeTasks => self.handlers_unknown = true,
                super::ActionKind::IncludeRole => self.out.push(
                    Diagnostic::error("role-as-handler", "a role cannot be a handler", task.span)
                        .help("include a tasks file, or notify handlers of the role"),
                ),
                _ => {}
            }
            // A task of an imported file listens for itself, or with the import that brought it in.
            let own = self.listens.remove(&task.path).unwrap_or_default();
            let listen = if own.is_empty() { around.clone() } else { own };
            made.push(Arc::new(Handler { task, listen }));
        }
    }

    fn task(&mut self, task: &syntax::Task, context: &Inherited, made: &mut Vec<Item>) {
        let Some((candidate, named)) = self.pick(task, context) else {
            self.lost.extend(task.keywords.get("register").cloned());
            return;
        };
        match named {
            Picked::Named(Named::Builtin(Builtin::ImportTasks)) => {
                self.import_tasks(task, candidate, context, made)
            }
            Picked::Named(Named::Builtin(Builtin::ImportRole)) => {
                self.import_role(task, candidate, context, made)
            }
            named => {
                let listen = listens(task);
                if let Some(task) = tasks::build(self, task, candidate, &named, context) {
                    let task = Arc::new(task);
                    if !listen.is_empty() {
                        self.listens.insert(Arc::clone(&task.path), listen);
                    }
                    self.look_into(&task, context);
                    made.push(Item::Task(task));
                }
            }
        }
    }

    /// The one key that names a module; all others are mistakes.
    fn pick<'t>(&mut self, task: &'t syntax::Task, context: &Inherited) -> Option<(&'t Candidate, Picked)> {
        let catalogue = &*self.resolver.setup.catalogue;
        let place = syntax::Place::TASK;
        let mut known: Vec<(&Candidate, Picked)> = Vec::new();
        let mut unknown: Vec<&Candidate> = Vec::new();
        for candidate in &task.candidates {
            let found = catalogue::lookup(catalogue, &candidate.name.value)
                .map(Picked::Named)
                .or_else(|| self.resolver.custom(&candidate.name.value, context).map(Picked::Custom));
            match found {
                Some(named) => known.push((candidate, named)),
                None => unknown.push(candidate),
            }
        }
        if let [first, second, ..] = known.as_slice() {
            self.out.push(
                Diagnostic::error(
                    "two-modules",
                    format!(
                        "two modules in one task: `{}` and `{}`",
                        first.0.name.value, second.0.name.value
                    ),
                    second.0.name.span,
                )
                .label("the second")
                .also(first.0.name.span, "the first")
                .help("a task runs one module: start the second with its own `- `"),
            );
        }
        if let [(candidate, Picked::Named(Named::Found(found)))] = known.as_slice() {
            let (catalogue::Found::Module(spec) | catalogue::Found::Controller(spec)) = found;
            let options: Vec<&&Candidate> =
                unknown.iter().filter(|c| spec.option(&c.name.value).is_some()).collect();
            if let Some(first) = options.first() {
                let name = &candidate.name.value;
                let message =
                    format!("`{}` is an option of `{name}`, not a key of the task", first.name.value);
                let mut finding = Diagnostic::error("not-indented", message, first.name.span);
                for other in &options[1..] {
                    finding = finding.also(other.name.span, "");
                }
                self.out.push(finding.help(format!("indent it below `{name}:`")));
                return None;
            }
        }
        for (nth, candidate) in unknown.iter().enumerate() {
            let name = &candidate.name;
            let near_keyword = crate::source::nearest(&name.value, syntax::keyword_names(place)).is_some();
            // Beside a module that is known, or another candidate, this is a key that slipped.
            let as_key = !known.is_empty() || (unknown.len() > 1 && (near_keyword || nth > 0));
            let finding = if as_key {
                syntax::unknown_key(&name.value, name.span, place)
            } else {
                tasks::unknown_module(catalogue, name)
            };
            self.out.push(finding);
        }
        if known.is_empty() && unknown.is_empty() && task.candidates.is_empty() {
            self.out.push(
                Diagnostic::error("no-module", "this task names no module", task.span)
                    .help("add the module and its options, such as `command: uptime`; is its line indented like `name`?"),
            );
        }
        known.into_iter().next()
    }

    fn import_tasks(
        &mut self,
        task: &syntax::Task,
        candidate: &Candidate,
        context: &Inherited,
        made: &mut Vec<Item>,
    ) {
        let read = tasks::language_arguments(self, task, candidate, &catalogue::IMPORT_TASKS);
        let mut inner = inherit::inward(context, &task.keywords, &mut self.out);
        if !read.vars.is_empty() {
            inner.vars.push(Arc::new(layer_of(&read.vars, candidate.name.span)));
        }
        self.refuse_loop(task, "import_tasks", "include_tasks");
        let Some((_, node)) = read.arguments.entries.iter().find(|(k, _)| k.value == "file") else { return };
        let Some(name) = self.static_text(node, &inner, "a file name") else { return };
        let Some(path) = self.find_tasks_file(&name, node.span, &inner) else { return };
        self.import_file(&path, node.span, task.span, &inner, made);
    }

    /// Reads a tasks file into the list, with cycles drawn.
    pub(super) fn import_file(
        &mut self,
        path: &Path,
        at: Span,
        link: Span,
        context: &Inherited,
        made: &mut Vec<Item>,
    ) {
        let what = self.resolver.shown(path);
        if !self.enter(path, &what, at) {
            return;
        }
        if let Some(node) = self.resolver.load(path, at, &mut self.out) {
            let items = if context.handlers {
                syntax::handlers_file(&node, &mut self.out)
            } else {
                syntax::tasks_file(&node, &mut self.out)
            };
            let inner =
                self.inside_file(context, path, Include { span: link, what: file_label(path, context) });
            made.extend(self.items(&items, &inner));
        }
        self.open.pop();
    }

    /// Opens a file or role; false when it is open already, which is reported.
    pub(super) fn enter(&mut self, path: &Path, what: &str, at: Span) -> bool {
        if let Some(from) = self.open.iter().position(|o| o.path == path) {
            let circle = &self.open[from..];
            let names: Vec<&str> = circle.iter().map(|o| o.what.as_str()).chain([what]).collect();
            let mut finding = Diagnostic::error(
                "import-cycle",
                format!("imports go in a circle: {}", names.join(" → ")),
                at,
            )
            .label(format!("brings in `{what}` again"));
            for link in &circle[1..] {
                finding = finding.also(link.at, format!("brings in `{}`", link.what));
            }
            let dependency = circle.iter().all(|o| o.what.starts_with("role "));
            self.out.push(finding.help(if dependency {
                "take one of these roles out of the other's `dependencies` or imports"
            } else {
                "an import always happens, whatever its `when`: use `include_tasks` for a part that may end"
            }));
            return false;
        }
        if self.open.len() >= IMPORT_DEPTH {
            let message = format!("imports are nested more than {IMPORT_DEPTH} deep");
            self.out.push(Diagnostic::error("import-depth", message, at));
            return false;
        }
        self.open.push(Open { path: path.to_path_buf(), what: what.to_owned(), at });
        true
    }

    fn inside_file(&self, context: &Inherited, path: &Path, link: Include) -> Inherited {
        let mut inner = context.clone();
        inner.chain.push(link);
        if let Some(folder) = path.parent() {
            inner.directory = folder.to_path_buf();
        }
        inner
    }

    fn import_role(
        &mut self,
        task: &syntax::Task,
        candidate: &Candidate,
        context: &Inherited,
        made: &mut Vec<Item>,
    ) {
        let read = tasks::language_arguments(self, task, candidate, &catalogue::IMPORT_ROLE);
        let inner = inherit::inward(context, &task.keywords, &mut self.out);
        self.refuse_loop(task, "import_role", "include_role");
        let Some(mut call) = self.role_call(&read.arguments, &inner) else { return };
        call.link = task.span;
        call.public = true;
        if let Some((items, _)) = self.role(&call, &inner) {
            made.extend(items);
        }
    }

    /// The options of `import_role` or `include_role` as far as they are literal; `None` when the name cannot be known.
    pub(super) fn role_call(
        &mut self,
        arguments: &super::Arguments,
        context: &Inherited,
    ) -> Option<RoleCall> {
        let find =
            |name: &str| arguments.entries.iter().find(|(k, _)| k.value == name).map(|(_, n)| n.clone());
        let node = find("name")?;
        let name = self.static_text(&node, context, "a role's name")?;
        let mut call = RoleCall::new(name, node.span);
        for (option, slot) in [
            ("tasks_from", &mut call.from.tasks),
            ("vars_from", &mut call.from.vars),
            ("defaults_from", &mut call.from.defaults),
            ("handlers_from", &mut call.from.handlers),
        ] {
            if let Some(node) = find(option) {
                *slot = Some(self.static_text(&node, context, "a file name")?);
                call.from_at.push((option, node.span));
            }
        }
        call.included = true;
        call.allow_duplicates = Some(find("allow_duplicates").is_none_or(|n| roles::is_true(&n)));
        call.validate = find("rolespec_validate").is_none_or(|n| roles::is_true(&n));
        call.public = find("public").is_some_and(|n| roles::is_true(&n));
        Some(call)
    }

    fn refuse_loop(&mut self, task: &syntax::Task, is: &str, instead: &str) {
        let at = task.keywords.entry("loop").map(|g| g.key).or(task.with.as_ref().map(|w| w.lookup.span));
        if let Some(at) = at {
            self.out.push(
                Diagnostic::error("loop-on-import", format!("`{is}` cannot loop"), at)
                    .help(format!("it is read before any host is: write `{instead}`")),
            );
        }
    }

    /// Text that must be known now.
    pub(super) fn static_text(&mut self, node: &Node, context: &Inherited, what: &str) -> Option<String> {
        if node.is_template() {
            let mut layers: Vec<Arc<Layer>> = self.play_vars.iter().chain(&context.vars).cloned().collect();
            layers.push(Arc::new(places(context, node.span)));
            let rendered = self.resolver.setup.static_text.render(node, &layers);
            if rendered.is_none() {
                self.out.push(
                    Diagnostic::error(
                        "template-in-import",
                        format!("{what} of an import cannot use variables that come from hosts"),
                        node.span,
                    )
                    .help("use `include_tasks` or `include_role`, or set the variable with `-e` or in the play's `vars`"),
                );
            }
            return rendered;
        }
        let text = node.scalar_text();
        if text.is_none() {
            let message = format!("{what} must be text, not {}", node.kind());
            self.out.push(Diagnostic::error("wrong-type", message, node.span));
        }
        text
    }

    /// A tasks file: beside the file that asks, then in the role's `tasks`, then beside the playbook.
    pub(super) fn find_tasks_file(&mut self, name: &str, at: Span, context: &Inherited) -> Option<PathBuf> {
        let mut tried = vec![context.directory.clone()];
        if let Some(role) = &context.role {
            tried.extend([role.path.join("tasks"), role.path.clone()]);
        }
        tried.extend([context.playbook_directory.join("tasks"), context.playbook_directory.clone()]);
        let found = tried.iter().map(|base| base.join(name)).find(|p| p.is_file());
        if found.is_none() {
            let folder = context
                .directory
                .join(name)
                .parent()
                .map_or_else(|| context.directory.clone(), Path::to_path_buf);
            self.out.push(roles::no_file(self.resolver, name, &folder, &roles::files_below(&folder), at));
        }
        found.map(|p| roles::clean(&p))
    }

    /// The identity of a task.
    pub(super) fn task_path(&mut self, context: &Inherited, span: Span, name: &str) -> Arc<str> {
        let file = self.resolver.setup.sources.file(span.file);
        let path = format!(
            "{}/{}/{}",
            context.prefix,
            file_label(&file.path, context),
            name.replace('\n', " ").trim()
        );
        let count = self.counts.entry(path.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { Arc::from(path) } else { Arc::from(format!("{path}#{count}")) }
    }

    /// All handlers in the order of their roles.
    pub(super) fn all_handlers(&mut self) -> Vec<Arc<Handler>> {
        std::mem::take(&mut self.handlers).into_iter().flat_map(|(_, list)| list).collect()
    }
}

/// What a candidate turned out to be.
pub(super) enum Picked {
    Named(Named),
    /// An executable of `library/`.
    Custom(PathBuf),
}

/// A file as task paths and chains name it: by role, else relative to the playbook.
pub(super) fn file_label(path: &Path, context: &Inherited) -> String {
    if let Some(role) = &context.role
        && let Ok(rest) = path.strip_prefix(&role.path)
    {
        return format!("roles/{}/{}", role.name, rest.display());
    }
    path.strip_prefix(&context.playbook_directory).unwrap_or(path).display().to_string()
}

/// Variables that are no mapping in the file.
pub(super) fn layer_of(pairs: &[(crate::source::Spanned<String>, Node)], span: Span) -> Layer {
    Layer {
        entries: pairs.iter().map(|(k, v)| (Arc::from(k.value.as_str()), Arc::new(v.clone()))).collect(),
        span: Some(span),
    }
}

fn listens(task: &syntax::Task) -> Vec<Node> {
    task.keywords.get("listen").into_iter().flat_map(inherit::one_or_many).collect()
}

fn block_as_handler(at: Span) -> Diagnostic {
    Diagnostic::error("block-as-handler", "a block inside of a block cannot be a handler", at)
        .help("give the tasks the same `listen:`, or include a tasks file from one handler")
}

/// The magic variables that are the same for every host.
fn places(context: &Inherited, span: Span) -> Layer {
    let mut known = vec![("playbook_dir", context.playbook_directory.display().to_string())];
    if let Some(role) = &context.role {
        known.push(("role_path", role.path.display().to_string()));
        known.push(("role_name", role.name.clone()));
    }
    let node = |text: String| Arc::new(Node { span, value: Yaml::Unsafe(Arc::from(text)) });
    Layer {
        entries: known.into_iter().map(|(name, text)| (Arc::from(name), node(text))).collect(),
        span: None,
    }
}
