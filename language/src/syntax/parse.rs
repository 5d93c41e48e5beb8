//! Nodes to Book.
//!
//! Owns: which key is a keyword, a module or a mistake. Every mistake of a file is found in one go.

use super::book::{
    Block, Book, BookEntry, Candidate, Given, ImportPlaybook, Item, Keywords, Play, RoleUse, Task, With,
};
use super::keywords::{self, Place};
use super::shapes;
use crate::source::{Diagnostic, Diagnostics, Mapping, Node, Span, Spanned, Yaml, nearest};

/// Reads a playbook file. Findings go to `out`; what is good comes back.
pub fn book(root: &Node, out: &mut Diagnostics) -> Book {
    let entries = match &root.value {
        Yaml::Seq(items) => items,
        Yaml::Null => {
            out.push(
                Diagnostic::error("empty-playbook", "the playbook holds no play", root.span)
                    .help("a playbook is a list of plays: start with `- hosts: all`"),
            );
            return Book::default();
        }
        _ => {
            let mut finding = Diagnostic::error(
                "not-a-playbook",
                format!("a playbook is a list of plays, not {}", root.kind()),
                root.span,
            );
            finding = match root.as_map() {
                Some(map) if map.get("hosts").is_some() => {
                    finding.help("put `- ` before the first key of the play")
                }
                _ => finding.help("is this a variables or inventory file?"),
            };
            out.push(finding);
            return Book::default();
        }
    };
    Book { entries: entries.iter().filter_map(|item| book_entry(item, out)).collect() }
}

/// Reads a file of tasks (`tasks/main.yml`, an included file).
pub fn tasks_file(root: &Node, out: &mut Diagnostics) -> Vec<Item> {
    items_of(root, "a tasks file", Place::TASK, out)
}

/// Reads a file of handlers.
pub fn handlers_file(root: &Node, out: &mut Diagnostics) -> Vec<Item> {
    items_of(root, "a handlers file", Place::HANDLER, out)
}

/// Reads `roles:` or `dependencies:`.
pub fn roles(list: &Node, out: &mut Diagnostics) -> Vec<RoleUse> {
    let Some(items) = list.as_seq() else {
        if !list.is_null() {
            out.push(Diagnostic::error(
                "wrong-type",
                format!("`roles` must be a list of roles, not {}", list.kind()),
                list.span,
            ));
        }
        return Vec::new();
    };
    items.iter().filter_map(|item| role_use(item, out)).collect()
}

fn book_entry(item: &Node, out: &mut Diagnostics) -> Option<BookEntry> {
    let Some(map) = item.as_map() else {
        out.push(Diagnostic::error(
            "not-a-play",
            format!("a play is a mapping, not {}", item.kind()),
            item.span,
        ));
        return None;
    };
    let first = first_key(item, map);
    for name in ["import_playbook", "ansible.builtin.import_playbook", "ansible.legacy.import_playbook"] {
        if let Some(file) = map.get(name) {
            let mut keywords = Keywords::default();
            for entry in &map.entries {
                match entry.key.as_str() {
                    Some(key) if key == name => {}
                    Some(key) => keyword_or_unknown(
                        key,
                        &entry.key,
                        &entry.value,
                        Place::IMPORT_PLAYBOOK,
                        &mut keywords,
                        out,
                    ),
                    None => out.push(not_text(&entry.key)),
                }
            }
            return Some(BookEntry::Import(Box::new(ImportPlaybook {
                span: first,
                file: file.clone(),
                keywords,
            })));
        }
    }
    if let Some(entry) = map.entry("include") {
        out.push(
            Diagnostic::error("removed", "`include` of a playbook was removed from Ansible", entry.key.span)
                .help("write `import_playbook:`"),
        );
        return None;
    }
    // What an infrastructure play declares is made from here.
    let from_here = map.get("infrastructure").is_some();
    if !from_here && map.get("hosts").is_none_or(Node::is_null) {
        let finding = Diagnostic::error("no-hosts", "this play has no `hosts`", first);
        let empty = map.entry("hosts").is_some();
        let typo =
            map.entries.iter().filter_map(|e| e.key.as_str()).find(|k| nearest(k, ["hosts"]).is_some());
        let looks_like_task =
            !["tasks", "roles", "pre_tasks", "post_tasks"].iter().any(|k| map.get(k).is_some());
        let task = looks_like_task && !empty && typo.is_none();
        let help = match task {
            true => "if it is a task, it belongs under the `tasks:` of a play; a play starts with `- hosts:`",
            false => "name the group or hosts it is for, such as `hosts: all`",
        };
        // A slip is reported as the unknown key it is.
        if typo.is_none() {
            out.push(finding.help(help));
        }
        if task {
            return None;
        }
    }
    let mut keywords = Keywords::default();
    let (mut pre, mut main, mut post, mut handlers, mut role_list) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for entry in &map.entries {
        match entry.key.as_str() {
            Some("pre_tasks") => pre = items_of(&entry.value, "`pre_tasks`", Place::TASK, out),
            Some("tasks") => main = items_of(&entry.value, "`tasks`", Place::TASK, out),
            Some("post_tasks") => post = items_of(&entry.value, "`post_tasks`", Place::TASK, out),
            Some("handlers") => handlers = items_of(&entry.value, "`handlers`", Place::HANDLER, out),
            Some("roles") => role_list = roles(&entry.value, out),
            Some(key) => keyword_or_unknown(key, &entry.key, &entry.value, Place::PLAY, &mut keywords, out),
            None => out.push(not_text(&entry.key)),
        }
    }
    Some(BookEntry::Play(Box::new(Play {
        span: first,
        keywords,
        pre_tasks: pre,
        roles: role_list,
        tasks: main,
        post_tasks: post,
        handlers,
    })))
}

fn items_of(list: &Node, what: &str, place: Place, out: &mut Diagnostics) -> Vec<Item> {
    match &list.value {
        Yaml::Null => Vec::new(),
        Yaml::Seq(items) => items.iter().filter_map(|item| item_of(item, place, out)).collect(),
        _ => {
            let finding = Diagnostic::error(
                "wrong-type",
                format!("{what} must be a list of tasks, not {}", list.kind()),
                list.span,
            );
            out.push(match list.as_map() {
                Some(_) => finding.help("start each task with `- `"),
                None => finding,
            });
            Vec::new()
        }
    }
}

fn item_of(item: &Node, place: Place, out: &mut Diagnostics) -> Option<Item> {
    let Some(map) = item.as_map() else {
        let finding =
            Diagnostic::error("not-a-task", format!("a task is a mapping, not {}", item.kind()), item.span);
        out.push(match item.as_str() {
            Some(text) if text.contains('=') || text.contains(':') => {
                finding.help("is a blank missing after the `:`?")
            }
            Some(_) => finding.help("write `- name: ...` and the module below it, or `- module:`"),
            None => finding,
        });
        return None;
    };
    if map.entry("block").is_some() {
        return Some(block_of(item, map, place, out));
    }
    if let Some(entry) = map.entry("rescue").or_else(|| map.entry("always")) {
        let name = entry.key.as_str().unwrap_or("rescue");
        out.push(
            Diagnostic::error("no-block", format!("`{name}` without a `block`"), entry.key.span)
                .help("it belongs beside the `block:` it watches, in the same list item"),
        );
        return None;
    }
    if let Some(entry) =
        map.entry("hosts").filter(|_| map.get("tasks").is_some() || map.get("roles").is_some())
    {
        out.push(
            Diagnostic::error("play-among-tasks", "a play cannot stand among tasks", entry.key.span).help(
                "a file of plays is brought in with `import_playbook:`, at the top level of a playbook",
            ),
        );
        return None;
    }
    Some(Item::Task(Box::new(task_of(item, map, place, out))))
}

fn block_of(item: &Node, map: &Mapping, place: Place, out: &mut Diagnostics) -> Item {
    let span = first_key(item, map);
    let mut keywords = Keywords::default();
    let mut parts: [Vec<Item>; 3] = Default::default();
    for entry in &map.entries {
        match entry.key.as_str() {
            Some("block") => parts[0] = items_of(&entry.value, "`block`", place, out),
            Some("rescue") => parts[1] = items_of(&entry.value, "`rescue`", place, out),
            Some("always") => parts[2] = items_of(&entry.value, "`always`", place, out),
            Some(key @ ("loop" | "register" | "until" | "retries" | "with_items")) => out.push(
                Diagnostic::error(
                    "not-on-a-block",
                    format!("`{key}` cannot stand on a block"),
                    entry.key.span,
                )
                .help("move the block's tasks to a file and use it on `include_tasks`"),
            ),
            Some(key) => keyword_or_unknown(key, &entry.key, &entry.value, Place::BLOCK, &mut keywords, out),
            None => out.push(not_text(&entry.key)),
        }
    }
    let [block, rescue, always] = parts;
    Item::Block(Box::new(Block { span, keywords, block, rescue, always }))
}

fn task_of(item: &Node, map: &Mapping, place: Place, out: &mut Diagnostics) -> Task {
    let mut task = Task {
        span: first_key(item, map),
        keywords: Keywords::default(),
        candidates: Vec::new(),
        with: None,
    };
    for entry in &map.entries {
        let Some(key) = entry.key.as_str() else {
            out.push(not_text(&entry.key));
            continue;
        };
        if let Some(word) = keywords::find(key, place) {
            keyword(word, &entry.key, &entry.value, place, &mut task.keywords, out);
        } else if let Some(lookup) = key.strip_prefix("with_") {
            let with = With {
                lookup: Spanned { value: lookup.to_owned(), span: entry.key.span },
                value: entry.value.clone(),
            };
            if let Some(first) = task.with.replace(with) {
                out.push(
                    Diagnostic::error("two-loops", "a task loops once", entry.key.span)
                        .also(first.lookup.span, "the other loop")
                        .help("for pairs of two lists use `with_nested`, or loop over an `include_tasks`"),
                );
            }
        } else if matches!(key, "action" | "local_action") {
            match action_of(&entry.value, key == "local_action") {
                Some(candidate) => task.candidates.push(candidate),
                None => out.push(
                    Diagnostic::error("bad-action", format!("`{key}` names no module"), entry.value.span)
                        .help("write the module's name as key: `copy: ...`"),
                ),
            }
        } else if key == "listen" {
            out.push(
                Diagnostic::error(
                    "not-a-handler",
                    "`listen` only means something on a handler",
                    entry.key.span,
                )
                .help("move the task to `handlers:`"),
            );
        } else {
            task.candidates.push(Candidate {
                name: Spanned { value: key.to_owned(), span: entry.key.span },
                args: entry.value.clone(),
                local: false,
                text_offset: 0,
            });
        }
    }
    if let (Some(with), Some(loop_)) = (&task.with, task.keywords.entry("loop")) {
        out.push(
            Diagnostic::error("two-loops", "a task loops once", with.lookup.span)
                .also(loop_.key, "the other loop"),
        );
    }
    if let Some(control) = task.keywords.get("loop_control") {
        for entry in control.as_map().map(|m| m.entries.as_slice()).unwrap_or_default() {
            let mut checked = Keywords::default();
            match entry.key.as_str() {
                Some(key) => {
                    keyword_or_unknown(key, &entry.key, &entry.value, Place::LOOP_CONTROL, &mut checked, out)
                }
                None => out.push(not_text(&entry.key)),
            }
        }
    }
    task
}

/// `action: copy src=a dest=b` or `action: {module: copy, src: a}`.
fn action_of(value: &Node, local: bool) -> Option<Candidate> {
    match &value.value {
        Yaml::Str(text) => {
            let start = text.len() - text.trim_start().len();
            let end = text[start..].find(char::is_whitespace).map_or(text.len(), |at| start + at);
            let name = text.get(start..end).filter(|n| !n.is_empty())?;
            let args = if text[end..].trim().is_empty() {
                Node { span: value.span, value: Yaml::Null }
            } else {
                value.clone()
            };
            Some(Candidate {
                name: Spanned { value: name.to_owned(), span: value.span },
                args,
                local,
                text_offset: end,
            })
        }
        Yaml::Map(map) => {
            let module = map.entry("module")?;
            let name = module.value.as_str()?;
            let entries = map.entries.iter().filter(|e| e.key.as_str() != Some("module")).cloned().collect();
            Some(Candidate {
                name: Spanned { value: name.to_owned(), span: module.value.span },
                args: Node { span: value.span, value: Yaml::Map(Mapping { entries }) },
                local,
                text_offset: 0,
            })
        }
        _ => None,
    }
}

fn role_use(item: &Node, out: &mut Diagnostics) -> Option<RoleUse> {
    match &item.value {
        Yaml::Str(_) => Some(RoleUse {
            span: item.span,
            name: item.clone(),
            keywords: Keywords::default(),
            params: Vec::new(),
        }),
        Yaml::Map(map) => {
            let Some(name) = map.get("role").or_else(|| map.get("name")) else {
                out.push(
                    Diagnostic::error("no-role-name", "this role has no name", first_key(item, map))
                        .help("write `- role: name`"),
                );
                return None;
            };
            let mut keywords = Keywords::default();
            let mut params = Vec::new();
            for entry in &map.entries {
                let Some(key) = entry.key.as_str() else {
                    out.push(not_text(&entry.key));
                    continue;
                };
                match keywords::find(key, Place::ROLE) {
                    Some(word) => keyword(word, &entry.key, &entry.value, Place::ROLE, &mut keywords, out),
                    None => {
                        params.push((
                            Spanned { value: key.to_owned(), span: entry.key.span },
                            entry.value.clone(),
                        ));
                    }
                }
            }
            Some(RoleUse { span: first_key(item, map), name: name.clone(), keywords, params })
        }
        _ => {
            out.push(Diagnostic::error(
                "not-a-role",
                format!("a role is a name or a mapping, not {}", item.kind()),
                item.span,
            ));
            None
        }
    }
}

/// Reads a mapping that may only hold keywords of a place, such as `apply:`.
pub fn only_keywords(map: &Mapping, place: Place, out: &mut Diagnostics) -> Keywords {
    let mut keywords = Keywords::default();
    for entry in &map.entries {
        match entry.key.as_str() {
            Some(key) => keyword_or_unknown(key, &entry.key, &entry.value, place, &mut keywords, out),
            None => out.push(not_text(&entry.key)),
        }
    }
    keywords
}

fn keyword_or_unknown(
    key: &str,
    at: &Node,
    value: &Node,
    place: Place,
    into: &mut Keywords,
    out: &mut Diagnostics,
) {
    match keywords::find(key, place) {
        Some(word) => keyword(word, at, value, place, into, out),
        None => out.push(unknown_key(key, at.span, place)),
    }
}

fn keyword(
    word: &'static keywords::Keyword,
    at: &Node,
    value: &Node,
    place: Place,
    into: &mut Keywords,
    out: &mut Diagnostics,
) {
    if let Some(why) = word.refused {
        out.push(
            Diagnostic::error("not-supported", format!("`{}` is not supported", word.name), at.span)
                .help(why),
        );
        return;
    }
    if let Some(fault) = shapes::check(word, value, place) {
        out.push(fault);
        return;
    }
    into.given.push(Given { name: word.name, key: at.span, value: value.clone() });
}

/// The message for a key that may not stand at a place.
#[must_use]
pub fn unknown_key(key: &str, at: Span, place: Place) -> Diagnostic {
    let finding = Diagnostic::error("unknown-key", format!("{} has no key `{key}`", place.article()), at);
    if let Some(near) = nearest(key, keywords::names(place)) {
        return finding.label(format!("did you mean `{near}`?"));
    }
    let elsewhere = keywords::KEYWORDS.iter().find(|k| k.name == key && k.refused.is_none());
    match elsewhere {
        Some(word) => {
            let homes: Vec<&str> =
                [Place::PLAY, Place::BLOCK, Place::TASK, Place::ROLE, Place::HANDLER, Place::LOOP_CONTROL]
                    .into_iter()
                    .filter(|p| word.places.meets(*p))
                    .filter(|p| *p != Place::HANDLER || !word.places.meets(Place::TASK))
                    .map(Place::article)
                    .collect();
            finding.help(format!("it is a key of {}", homes.join(", ")))
        }
        None if place == Place::PLAY => finding.help("tasks stand in the list under `tasks:`"),
        None => finding,
    }
}

fn not_text(key: &Node) -> Diagnostic {
    Diagnostic::error("key-not-text", format!("a key must be text, not {}", key.kind()), key.span)
}

fn first_key(item: &Node, map: &Mapping) -> Span {
    map.entries.first().map_or(item.span, |e| e.key.span)
}
