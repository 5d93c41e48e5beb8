//! One task: its action, arguments, loop and keywords.
//!
//! Owns: the making of [`Task`]. Must not: follow includes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcos_play_agent::options::Spec;

use super::arguments::{self, TextForm};
use super::catalogue::{self, Builtin, Catalogue, Found, Named};
use super::expand::{Expander, Picked, layer_of};
use super::expand_role::RoleCall;
use super::{
    Action, ActionKind, Arguments, Inherited, Item, Loop, LoopControl, Meta, Resolver, Task, inherit, roles,
};
use crate::source::{Diagnostic, Entry, Mapping, Node, Span, Spanned, Yaml, nearest};
use crate::syntax::{self, Candidate};

/// Keywords that `include_tasks` and `include_role` take themselves; the others belong under `apply:`.
const ON_INCLUDES: &[&str] = &[
    "name",
    "when",
    "tags",
    "vars",
    "loop",
    "loop_control",
    "register",
    "args",
    "ignore_errors",
    "no_log",
    "run_once",
    "timeout",
    "debugger",
    "collections",
    "listen",
];

const METAS: &[(&str, Meta)] = &[
    ("flush_handlers", Meta::FlushHandlers),
    ("refresh_inventory", Meta::RefreshInventory),
    ("clear_facts", Meta::ClearFacts),
    ("clear_host_errors", Meta::ClearHostErrors),
    ("end_play", Meta::EndPlay),
    ("end_batch", Meta::EndBatch),
    ("end_host", Meta::EndHost),
    ("end_role", Meta::EndRole),
    ("reset_connection", Meta::ResetConnection),
    ("noop", Meta::Noop),
];

/// Makes a task of anything but a static import.
pub(super) fn build(
    expander: &mut Expander<'_>,
    task: &syntax::Task,
    candidate: &Candidate,
    picked: &Picked,
    context: &Inherited,
) -> Option<Task> {
    let action = action(expander, task, candidate, picked, context)?;
    let (action, extra) = action;
    let keywords = &task.keywords;
    let name = keywords.get("name").cloned();
    let shown = name.as_ref().and_then(Node::scalar_text).unwrap_or_else(|| action.name.to_string());
    catalogue::check_groups(keywords.get("module_defaults"), &mut expander.out);
    let mut settings = inherit::settings(&context.settings, keywords);
    if candidate.local {
        let mut local = (*settings).clone();
        local.delegate_to =
            Some(Node { span: candidate.name.span, value: Yaml::Str(Arc::from("localhost")) });
        settings = Arc::new(local);
    }
    let mut when = context.when.clone();
    when.extend(inherit::conditions(keywords.get("when")));
    let mut tags = context.tags.clone();
    inherit::add_tags(&mut tags, keywords.get("tags"));
    let mut vars = context.vars.clone();
    let own_vars = keywords.get("vars").and_then(|n| inherit::layer(n, &mut expander.out));
    vars.extend(own_vars.clone());
    if !extra.is_empty() {
        vars.push(Arc::new(layer_of(&extra, candidate.name.span)));
    }
    let notify = match keywords.get("notify") {
        Some(own) => inherit::one_or_many(own).collect(),
        None => context.notify.clone(),
    };
    let inherited = matches!(action.kind, ActionKind::IncludeTasks | ActionKind::IncludeRole).then(|| {
        // Ansible: an include's own `when`, `tags` and settings decide about the include alone; variables pass on.
        let include_params = context.include_params.iter().cloned().chain(own_vars.clone()).collect();
        Arc::new(Inherited { vars: vars.clone(), include_params, ..context.clone() })
    });
    if inherited.is_some() {
        for given in keywords.given.iter().filter(|g| !ON_INCLUDES.contains(&g.name)) {
            expander.out.push(
                Diagnostic::error(
                    "not-on-an-include",
                    format!("`{}` cannot stand on `{}`", given.name, candidate.name.value),
                    given.key,
                )
                .help(format!(
                    "put it under `apply:` to give it to the included tasks, or write `{}`",
                    static_twin(&action)
                )),
            );
        }
    }
    let register = keywords.get("register").and_then(|n| variable_name(n, "register", expander));
    Some(Task {
        path: expander.task_path(context, task.span, &shown),
        span: task.span,
        name,
        loop_: loop_of(task, expander),
        register,
        when,
        changed_when: inherit::conditions(keywords.get("changed_when")),
        failed_when: inherit::conditions(keywords.get("failed_when")),
        until: inherit::conditions(keywords.get("until")),
        retries: keywords.get("retries").cloned(),
        delay: keywords.get("delay").cloned(),
        notify,
        async_: keywords.get("async").cloned(),
        poll: keywords.get("poll").cloned(),
        locks: keywords.get("locks").into_iter().flat_map(inherit::one_or_many).collect(),
        tags,
        settings,
        vars,
        include_params: context.include_params.clone(),
        role: context.role.clone(),
        chain: context.chain.clone(),
        directory: context.directory.clone(),
        inherited,
        action,
    })
}

fn static_twin(action: &Action) -> &'static str {
    if matches!(action.kind, ActionKind::IncludeRole) { "import_role" } else { "import_tasks" }
}

type Pairs = Vec<(Spanned<String>, Node)>;

fn action(
    expander: &mut Expander<'_>,
    task: &syntax::Task,
    candidate: &Candidate,
    picked: &Picked,
    context: &Inherited,
) -> Option<(Action, Pairs)> {
    let written = candidate.name.clone();
    let made =
        |name: &str, kind: ActionKind, args: Arguments| Action { written, name: Arc::from(name), kind, args };
    Some(match picked {
        Picked::Named(Named::Found(found)) => {
            let (Found::Module(spec) | Found::Controller(spec)) = found;
            let form = if takes_command(spec) { TextForm::FreeForm } else { TextForm::Pairs };
            let args = task.keywords.get("args");
            let mut read = arguments::read(
                expander.resolver.sources(),
                candidate,
                args,
                Some(spec),
                form,
                &mut expander.out,
            );
            let incomplete = read.broken || has_module_defaults(task, context, spec);
            arguments::check(&mut read.arguments, &candidate.name, spec, incomplete, &mut expander.out);
            let kind = match found {
                Found::Module(spec) => ActionKind::Module(spec),
                Found::Controller(spec) => ActionKind::Controller(spec),
            };
            (made(spec.name, kind, read.arguments), Vec::new())
        }
        Picked::Named(Named::Builtin(Builtin::Meta)) => {
            let meta = meta(candidate, expander)?;
            let args = Arguments { span: candidate.name.span, entries: Vec::new(), whole: None };
            (made("meta", ActionKind::Meta(meta), args), Vec::new())
        }
        Picked::Named(Named::Builtin(Builtin::IncludeRole)) => {
            let read = language_arguments(expander, task, candidate, &catalogue::INCLUDE_ROLE);
            (made("include_role", ActionKind::IncludeRole, read.arguments), Vec::new())
        }
        Picked::Named(Named::Builtin(builtin)) => {
            if *builtin == Builtin::Include {
                expander.out.push(
                    Diagnostic::warning(
                        "deprecated-include",
                        "`include` was removed from Ansible",
                        candidate.name.span,
                    )
                    .label("read as `include_tasks`")
                    .help("write `include_tasks`, or `import_tasks` to read the file before the run"),
                );
            }
            let read = language_arguments(expander, task, candidate, &catalogue::INCLUDE_TASKS);
            (made("include_tasks", ActionKind::IncludeTasks, read.arguments), read.vars)
        }
        Picked::Custom(path) => {
            let args = task.keywords.get("args");
            let read = arguments::read(
                expander.resolver.sources(),
                candidate,
                args,
                None,
                TextForm::Pairs,
                &mut expander.out,
            );
            (
                made(
                    catalogue::short(&candidate.name.value),
                    ActionKind::Custom(path.clone()),
                    read.arguments,
                ),
                Vec::new(),
            )
        }
    })
}

/// Arguments of `include_*` and `import_*`.
pub(super) fn language_arguments(
    expander: &mut Expander<'_>,
    task: &syntax::Task,
    candidate: &Candidate,
    spec: &'static Spec,
) -> arguments::Read {
    let form = if spec.option("file").is_some() { TextForm::File } else { TextForm::Pairs };
    let args = task.keywords.get("args");
    let mut read =
        arguments::read(expander.resolver.sources(), candidate, args, Some(spec), form, &mut expander.out);
    arguments::check(&mut read.arguments, &candidate.name, spec, read.broken, &mut expander.out);
    if let Some((_, apply)) = read.arguments.entries.iter().find(|(k, _)| k.value == "apply")
        && let Some(map) = apply.as_map()
    {
        let _ = syntax::only_keywords(map, syntax::Place::BLOCK, &mut expander.out);
    }
    read
}

/// `command`, `shell`, `raw` and `script` take a whole line of text.
fn takes_command(spec: &Spec) -> bool {
    spec.free_form.is_some()
        && matches!(
            spec.name,
            "command" | "shell" | "raw" | "script" | "win_command" | "win_shell" | "expect"
        )
}

/// Whether `module_defaults` in sight may give the module options that the task lacks.
fn has_module_defaults(task: &syntax::Task, context: &Inherited, spec: &Spec) -> bool {
    let own = task.keywords.get("module_defaults");
    context.settings.module_defaults.iter().chain(own).flat_map(inherit::one_or_many).any(|node| {
        match node.as_map() {
            Some(map) => {
                let mut keys = map.entries.iter().filter_map(|e| e.key.as_str());
                keys.any(|key| catalogue::names_module(key, Some(spec), spec.name))
            }
            None => true,
        }
    })
}

fn meta(candidate: &Candidate, expander: &mut Expander<'_>) -> Option<Meta> {
    let text = match &candidate.args.value {
        Yaml::Map(map) => map.get("free_form").or_else(|| map.get("_raw_params")).and_then(Node::scalar_text),
        Yaml::Str(text) => text.get(candidate.text_offset..).map(|t| t.trim().to_owned()),
        _ => candidate.args.scalar_text(),
    };
    let text = text.unwrap_or_default();
    let found = METAS.iter().find(|(name, _)| *name == text).map(|(_, meta)| *meta);
    if found.is_none() {
        let finding =
            Diagnostic::error("unknown-meta", format!("`meta` knows no `{text}`"), candidate.args.span);
        expander.out.push(match nearest(&text, METAS.iter().map(|(n, _)| *n)) {
            Some(near) => finding.label(format!("did you mean `{near}`?")),
            None => finding.help(format!(
                "it knows {}",
                METAS.iter().map(|(n, _)| format!("`{n}`")).collect::<Vec<_>>().join(", ")
            )),
        });
    }
    found
}

fn loop_of(task: &syntax::Task, expander: &mut Expander<'_>) -> Option<Loop> {
    let control = loop_control(task, expander);
    if let Some(with) = &task.with {
        let lookup = catalogue::short(&with.lookup.value);
        let names = expander.resolver.setup.templates.lookups();
        if !names.is_empty() && !names.contains(&lookup) {
            let finding =
                Diagnostic::error("unknown-lookup", format!("no lookup named `{lookup}`"), with.lookup.span);
            expander.out.push(match nearest(lookup, names.iter().copied()) {
                Some(near) => finding.label(format!("did you mean `with_{near}`?")),
                None => finding.help("the keys of a task that start with `with_` name a lookup to loop over"),
            });
        }
        return Some(Loop { lookup: Some(with.lookup.clone()), items: with.value.clone(), control });
    }
    let items = task.keywords.get("loop")?;
    let finding = match &items.value {
        Yaml::Map(_) => Some(
            Diagnostic::error("wrong-type", "`loop` takes a list, not a mapping", items.span)
                .help("loop over \"{{ name | dict2items }}\", or write `with_dict:`"),
        ),
        Yaml::Seq(_) => None,
        _ if items.is_template() => None,
        _ => {
            let text = items.scalar_text().unwrap_or_default();
            Some(
                Diagnostic::error(
                    "wrong-type",
                    format!("`loop` takes a list, not {}", items.kind()),
                    items.span,
                )
                .help(format!("for a variable write \"{{{{ {text} }}}}\"")),
            )
        }
    };
    expander.out.list.extend(finding);
    Some(Loop { lookup: None, items: items.clone(), control })
}

fn loop_control(task: &syntax::Task, expander: &mut Expander<'_>) -> LoopControl {
    let mut control = LoopControl { extended_allitems: true, ..LoopControl::default() };
    let Some(map) = task.keywords.get("loop_control").and_then(Node::as_map) else { return control };
    let name = |key: &str, expander: &mut Expander<'_>| {
        map.get(key).and_then(|n| variable_name(n, key, expander)).map(|n| n.to_string())
    };
    control.loop_var = name("loop_var", expander);
    control.index_var = name("index_var", expander);
    control.label = map.get("label").cloned();
    control.pause = map.get("pause").cloned();
    control.extended = map.get("extended").is_some_and(roles::is_true);
    control.extended_allitems = map.get("extended_allitems").is_none_or(roles::is_true);
    control.break_when = inherit::conditions(map.get("break_when"));
    control
}

fn variable_name(node: &Node, key: &str, expander: &mut Expander<'_>) -> Option<Arc<str>> {
    let text = node.scalar_text()?;
    if !node.is_template() && !inherit::is_variable_name(&text) {
        expander.out.push(
            Diagnostic::error(
                "bad-variable-name",
                format!("`{key}` needs the name of a variable, not `{text}`"),
                node.span,
            )
            .help("letters, digits and `_`, and no digit first"),
        );
    }
    Some(Arc::from(text))
}

/// The message for a module nobody knows.
pub(super) fn unknown_module(catalogue: &dyn Catalogue, name: &Spanned<String>) -> Diagnostic {
    let finding = Diagnostic::error("unknown-module", format!("no module named `{}`", name.value), name.span);
    let short = catalogue::short(&name.value);
    let bare = short.rsplit('.').next().unwrap_or(short);
    let mut names = catalogue.names();
    names.extend(catalogue::BUILTINS.iter().map(|(n, _)| *n).filter(|n| *n != "include"));
    if let Some(near) = nearest(bare, names.iter().copied()) {
        return finding.label(format!("did you mean `{near}`?"));
    }
    if short.contains('.') {
        if names.contains(&bare) {
            return finding.label(format!("did you mean `{bare}`?"));
        }
        return finding.help(format!("this collection is not built in; an executable `library/{bare}` beside the playbook would be taken"));
    }
    if let Some(near) = nearest(bare, syntax::keyword_names(syntax::Place::TASK)) {
        return finding.label(format!("did you mean the key `{near}`? then the module is missing"));
    }
    finding.help(format!(
        "it is not built in; an executable `library/{bare}` beside the playbook would be taken"
    ))
}

/// The task that Ansible puts before a role with an argument specification.
pub(super) fn validation(
    expander: &mut Expander<'_>,
    specs: &Node,
    entry_point: &str,
    call: &RoleCall,
    context: &Inherited,
) -> Option<Item> {
    let entry_point = entry_point.rsplit_once('.').map_or(entry_point, |(stem, _)| stem);
    let spec = specs.as_map()?.get(entry_point)?;
    let Some(Named::Found(found)) =
        catalogue::lookup(&*expander.resolver.setup.catalogue, "validate_argument_spec")
    else {
        expander.out.push(Diagnostic::warning(
            "specs-unchecked",
            "the role's argument specification is not checked by this version",
            specs.span,
        ));
        return None;
    };
    let (Found::Module(module) | Found::Controller(module)) = found;
    let span = spec.span;
    let text = |value: &str| Node { span, value: Yaml::Str(Arc::from(value)) };
    let key = |name: &str| Spanned { value: name.to_owned(), span };
    let options = spec.as_map().and_then(|m| m.get("options")).cloned();
    let options = options.unwrap_or(Node { span, value: Yaml::Map(Mapping::default()) });
    let about = [("name", call.name.as_str()), ("type", "role"), ("argument_spec_name", entry_point)];
    let about = about.iter().map(|(k, v)| Entry { key: text(k), value: text(v) }).collect();
    let title = format!("Validating arguments against arg spec {entry_point}");
    let short = spec.as_map().and_then(|m| m.get("short_description")).and_then(Node::scalar_text);
    let title = short.map_or_else(|| title.clone(), |short| format!("{title} - {short}"));
    let kind = match found {
        Found::Module(spec) => ActionKind::Module(spec),
        Found::Controller(spec) => ActionKind::Controller(spec),
    };
    let mut tags = context.tags.clone();
    if !tags.iter().any(|t| t == "always") {
        tags.push("always".to_owned());
    }
    let task = Task {
        name: Some(text(&title)),
        when: context.when.clone(),
        tags,
        vars: context.vars.clone(),
        include_params: context.include_params.clone(),
        role: context.role.clone(),
        chain: context.chain.clone(),
        ..Task::implicit(
            expander.task_path(context, span, &title),
            span,
            Action {
                written: key("validate_argument_spec"),
                name: Arc::from(module.name),
                kind,
                args: Arguments {
                    span,
                    entries: vec![
                        (key("argument_spec"), options),
                        (
                            key("validate_args_context"),
                            Node { span, value: Yaml::Map(Mapping { entries: about }) },
                        ),
                    ],
                    whole: None,
                },
            },
            &context.settings,
            &context.directory,
        )
    };
    Some(Item::Task(Arc::new(task)))
}

/// The one task of a play with `infrastructure:`; `infrastructure` is registered for the tasks and plays after it.
pub(super) fn infrastructure(
    expander: &mut Expander<'_>,
    given: &syntax::Given,
    context: &Inherited,
) -> Option<Item> {
    const NAME: &str = "infrastructure";
    let Some(map) = given.value.as_map() else {
        let message = format!("`{NAME}` must be a mapping, not {}", given.value.kind());
        expander.out.push(
            Diagnostic::error("wrong-type", message, given.value.span)
                .help("it has `name:` and `resources:`"),
        );
        return None;
    };
    let Some(Named::Found(Found::Controller(spec))) =
        catalogue::lookup(&*expander.resolver.setup.catalogue, NAME)
    else {
        expander.out.push(Diagnostic::error(
            "not-supported",
            "infrastructure plays are not built into this version",
            given.key,
        ));
        return None;
    };
    let span = given.key;
    let mut entries = Vec::new();
    for entry in &map.entries {
        match entry.key.as_str() {
            Some(key) if spec.option(key).is_some() => {
                entries.push((Spanned { value: key.to_owned(), span: entry.key.span }, entry.value.clone()));
            }
            key => {
                let key = key.unwrap_or_default();
                let message = format!("`{NAME}` has no key `{key}`");
                let finding = Diagnostic::error("unknown-key", message, entry.key.span);
                expander.out.push(match nearest(key, spec.all_options().map(|o| o.name)) {
                    Some(near) => finding.label(format!("did you mean `{near}`?")),
                    None => {
                        finding.help("it has `name`, `region`, `profile`, `endpoint_url`, `replace`, `only` and `resources`")
                    }
                });
            }
        }
    }
    let title = "Resources";
    let task = Task {
        name: Some(Node { span, value: Yaml::Str(Arc::from(title)) }),
        register: Some(Arc::from(NAME)),
        when: context.when.clone(),
        tags: context.tags.clone(),
        vars: context.vars.clone(),
        include_params: context.include_params.clone(),
        chain: context.chain.clone(),
        ..Task::implicit(
            expander.task_path(context, span, title),
            span,
            Action {
                written: Spanned { value: NAME.to_owned(), span },
                name: Arc::from(spec.name),
                kind: ActionKind::Controller(spec),
                args: Arguments { span: given.value.span, entries, whole: None },
            },
            &context.settings,
            &context.directory,
        )
    };
    Some(Item::Task(Arc::new(task)))
}

/// An implicit `meta: flush_handlers` at a place.
pub(super) fn flush(span: Span, after: &str, context: &Inherited) -> Item {
    let written = Spanned { value: "meta".to_owned(), span };
    let name = format!("flush_handlers after {after}");
    let task = Task {
        tags: vec!["always".to_owned()],
        ..Task::implicit(
            Arc::from(format!("{}/{name}", context.prefix)),
            span,
            Action {
                written,
                name: Arc::from("meta"),
                kind: ActionKind::Meta(Meta::FlushHandlers),
                args: Arguments { span, entries: Vec::new(), whole: None },
            },
            &context.settings,
            &context.directory,
        )
    };
    Item::Task(Arc::new(task))
}

impl Resolver {
    /// An executable of a `library/` folder: the role's, then the playbook's.
    pub(super) fn custom(&self, written: &str, context: &Inherited) -> Option<PathBuf> {
        let name = catalogue::short(written);
        let name = name.rsplit('.').next()?;
        if name.contains('/') {
            return None;
        }
        let role = context.role.as_ref().map(|r| r.path.join("library"));
        let folders = role
            .into_iter()
            .chain([context.playbook_directory.join("library"), context.root_directory.join("library")])
            .chain(context.root_directory.parent().map(|p| p.join("library")))
            .chain(self.setup.library.iter().cloned());
        folders.into_iter().find_map(|folder| in_library(&folder, name))
    }
}

fn in_library(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.is_file() {
        return Some(exact);
    }
    let mut matching: Vec<PathBuf> = fs_err::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|e| e.path())
        .filter(|p| p.is_file() && p.file_stem().is_some_and(|s| s == name))
        .collect();
    matching.sort();
    matching.into_iter().next()
}
