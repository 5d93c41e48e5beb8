//! A resolved playbook in lines.

use std::fmt::Write as _;

use dcos_play::resolve::{ActionKind, Condition, Item, NeedScope, Playbook, Task};
use dcos_play::source::{Node, Yaml};

#[allow(dead_code, reason = "each test binary uses its own half of this file")]
pub(crate) fn outline(playbook: &Playbook) -> String {
    let mut out = String::new();
    for play in &playbook.plays {
        let _ = write!(out, "play {} hosts={}", play.id, short(&play.hosts));
        if let Some(phase) = &play.phase {
            let _ = write!(out, " phase={phase}");
        }
        if let Some(needs) = &play.needs {
            let names: Vec<String> = needs
                .iter()
                .map(|n| format!("{}{}", n.play.value, if n.scope == NeedScope::Host { "/host" } else { "" }))
                .collect();
            let _ = write!(out, " needs=[{}]", names.join(","));
        }
        let vars: Vec<String> = play.vars.entries.iter().map(|(k, v)| format!("{k}={}", short(v))).collect();
        if !vars.is_empty() {
            let _ = write!(out, " vars=[{}]", vars.join(","));
        }
        out.push('\n');
        items(&mut out, &play.items, 1);
        for handler in &play.handlers {
            let listen: Vec<String> = handler.listen.iter().map(short).collect();
            let listen =
                if listen.is_empty() { String::new() } else { format!(" listen=[{}]", listen.join(",")) };
            let _ = write!(out, "  handler{listen} ");
            task(&mut out, &handler.task);
        }
        for role in &play.roles {
            let layer = |l: &dcos_play::vars::Layer| {
                l.entries.iter().map(|(k, v)| format!("{k}={}", short(v))).collect::<Vec<_>>().join(",")
            };
            let _ = writeln!(
                out,
                "  role {} defaults=[{}] vars=[{}] params=[{}] parents=[{}]",
                role.name,
                layer(&role.defaults),
                layer(&role.vars),
                layer(&role.params),
                role.parents.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(",")
            );
        }
    }
    out
}

/// The tasks of an expansion, one a line.
#[allow(dead_code, reason = "each test binary uses its own half of this file")]
pub(crate) fn tasks(list: &[Item]) -> String {
    let mut out = String::new();
    for one in dcos_play::resolve::tasks_of(list) {
        task(&mut out, &one);
    }
    out
}

#[allow(dead_code, reason = "each test binary uses its own half of this file")]
fn items(out: &mut String, list: &[Item], depth: usize) {
    let pad = "  ".repeat(depth);
    for item in list {
        match item {
            Item::Task(t) => {
                let _ = write!(out, "{pad}task ");
                task(out, t);
            }
            Item::Block(block) => {
                let name = block.name.as_ref().map(short).unwrap_or_default();
                let _ = writeln!(out, "{}", format!("{pad}block {name}").trim_end());
                items(out, &block.items, depth + 1);
                for (word, list) in [("rescue", &block.rescue), ("always", &block.always)] {
                    if !list.is_empty() {
                        let _ = writeln!(out, "{pad}{word}");
                        items(out, list, depth + 1);
                    }
                }
            }
        }
    }
}

fn task(out: &mut String, task: &Task) {
    let args: Vec<String> =
        task.action.args.entries.iter().map(|(k, v)| format!("{}={}", k.value, short(v))).collect();
    let _ = write!(out, "{} | {}", task.path, task.action.name);
    if let ActionKind::Meta(meta) = task.action.kind {
        let _ = write!(out, " {meta:?}");
    }
    if !args.is_empty() {
        let _ = write!(out, " {}", args.join(" "));
    }
    if let Some(whole) = &task.action.args.whole {
        let _ = write!(out, " args={}", short(whole));
    }
    if let Some(l) = &task.loop_ {
        let lookup = l.lookup.as_ref().map(|s| format!("{}:", s.value)).unwrap_or_default();
        let _ = write!(out, " | loop {lookup}{}", short(&l.items));
        if let Some(var) = &l.control.loop_var {
            let _ = write!(out, " as {var}");
        }
    }
    conditions(out, "when", &task.when);
    conditions(out, "until", &task.until);
    conditions(out, "changed_when", &task.changed_when);
    conditions(out, "failed_when", &task.failed_when);
    if let Some(register) = &task.register {
        let _ = write!(out, " | register {register}");
    }
    if !task.notify.is_empty() {
        let _ = write!(out, " | notify {}", task.notify.iter().map(short).collect::<Vec<_>>().join(","));
    }
    if !task.tags.is_empty() {
        let _ = write!(out, " | tags {}", task.tags.join(","));
    }
    let s = &task.settings;
    for (name, node) in [
        ("become", &s.r#become),
        ("become_user", &s.become_user),
        ("delegate_to", &s.delegate_to),
        ("run_once", &s.run_once),
        ("ignore_errors", &s.ignore_errors),
        ("check_mode", &s.check_mode),
    ] {
        if let Some(node) = node {
            let _ = write!(out, " | {name} {}", short(node));
        }
    }
    for (name, list) in [("environment", &s.environment), ("module_defaults", &s.module_defaults)] {
        if !list.is_empty() {
            let _ = write!(out, " | {name} {}", list.iter().map(short).collect::<Vec<_>>().join(" then "));
        }
    }
    for layer in &task.vars {
        let vars: Vec<String> = layer.entries.iter().map(|(k, v)| format!("{k}={}", short(v))).collect();
        let _ = write!(out, " | vars {}", vars.join(","));
    }
    if let Some(role) = &task.role {
        let _ = write!(out, " | role {}", role.name);
    }
    out.push('\n');
    for link in task.chain.iter().filter(|_| std::env::var_os("SHOW_CHAIN").is_some()) {
        let _ = writeln!(out, "      via {}", link.what);
    }
}

fn conditions(out: &mut String, word: &str, list: &[Condition]) {
    if !list.is_empty() {
        let all: Vec<String> = list.iter().map(|c| short(&c.expression)).collect();
        let _ = write!(out, " | {word} {}", all.join(" and "));
    }
}

fn short(node: &Node) -> String {
    match &node.value {
        Yaml::Null => "null".into(),
        Yaml::Seq(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(",")),
        Yaml::Map(map) => {
            let all: Vec<String> =
                map.entries.iter().map(|e| format!("{}:{}", short(&e.key), short(&e.value))).collect();
            format!("{{{}}}", all.join(","))
        }
        Yaml::Vault(_) => "!vault".into(),
        Yaml::Unsafe(text) => format!("!unsafe {text}"),
        Yaml::Str(text) => text.replace('\n', "\\n"),
        Yaml::Bool(value) => value.to_string(),
        _ => node.scalar_text().unwrap_or_default(),
    }
}
