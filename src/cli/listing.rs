//! `run --list-tasks`, `--list-tags`, `--list-hosts`, `--syntax-check`: what a run would meet, in the form that
//! `ansible-playbook` has, since scripts read it. And the task that `--start-at-task` names.
//!
//! Owns: that form. Must not: contact a host.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::Trouble;
use super::run::RunArgs;
use super::setup::Ready;
use crate::engine::{hosts_of_play, selected};
use crate::inventory::{Limit, fits_wildcard};
use crate::resolve::{Item, Play, Task, TaskPath};
use crate::source::{Node, Yaml};

/// What is to be listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) tasks: bool,
    pub(super) tags: bool,
    pub(super) hosts: bool,
}

impl Shown {
    pub(super) fn any(self) -> bool {
        self.tasks || self.tags || self.hosts
    }
}

/// Lists the playbooks; with nothing wanted only their names, which is what `--syntax-check` says.
///
/// # Errors
/// When it cannot be written.
pub(super) fn print(ready: &Ready, args: &RunArgs, shown: Shown, out: &mut dyn Write) -> Result<(), Trouble> {
    let mut plays = ready.playbook.plays.iter();
    for (path, count) in args.playbooks.iter().zip(&ready.counts) {
        writeln!(out, "\nplaybook: {}", path.display())?;
        let mine = plays.by_ref().take(*count);
        if !shown.any() {
            mine.for_each(drop);
            continue;
        }
        for (number, play) in mine.enumerate() {
            let patterns = patterns(play);
            let tags = play.tags.join(",");
            writeln!(
                out,
                "\n  play #{} ({}): {}\tTAGS: [{tags}]",
                number + 1,
                patterns.join(","),
                play.name
            )?;
            if shown.hosts {
                let quoted: Vec<String> = patterns.iter().map(|p| format!("'{p}'")).collect();
                let hosts = hosts(ready, args, play)?;
                writeln!(out, "    pattern: [{}]\n    hosts ({}):", quoted.join(", "), hosts.len())?;
                for host in hosts {
                    writeln!(out, "      {host}")?;
                }
            }
            tasks(play, args, shown, out)?;
        }
    }
    Ok(())
}

fn tasks(play: &Play, args: &RunArgs, shown: Shown, out: &mut dyn Write) -> std::io::Result<()> {
    if shown.tasks {
        writeln!(out, "    tasks:")?;
    }
    // Who asks for the tags wants to see those of tasks that only run when asked for, too.
    let every = ["all".to_owned(), "never".to_owned()];
    let only: &[String] = if shown.tags && args.tags.is_empty() { &every } else { &args.tags };
    let mut all: BTreeSet<&str> = play.tags.iter().map(String::as_str).collect();
    for task in listed(&play.items, only, &args.skip_tags) {
        all.extend(task.tags.iter().map(String::as_str));
        if shown.tasks {
            let tags: BTreeSet<&str> = task.tags.iter().map(String::as_str).collect();
            let tags: Vec<&str> = tags.into_iter().collect();
            writeln!(out, "      {}\tTAGS: [{}]", title(task), tags.join(", "))?;
        }
    }
    if shown.tags {
        let tags: Vec<&str> = all.into_iter().collect();
        writeln!(out, "      TASK TAGS: [{}]", tags.join(", "))?;
    }
    Ok(())
}

/// The selected tasks in order; what a `rescue` or `always` holds is left out, as in Ansible.
fn listed<'p>(items: &'p [Item], only: &[String], skip: &[String]) -> Vec<&'p Arc<Task>> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Task(task) if !task.is_implicit_flush() && selected(&task.tags, only, skip) => {
                found.push(task);
            }
            Item::Task(_) => {}
            Item::Block(block) => found.extend(listed(&block.items, only, skip)),
        }
    }
    found
}

/// `role : name`, or the action of a task without a name.
fn title(task: &Task) -> String {
    let Some(name) = task.name.as_ref().and_then(|n| n.scalar_text()) else {
        return task.action.written.value.clone();
    };
    match &task.role {
        Some(role) => format!("{} : {name}", role.name),
        None => name,
    }
}

fn patterns(play: &Play) -> Vec<String> {
    match &play.hosts.value {
        Yaml::Seq(items) => items.iter().filter_map(Node::scalar_text).collect(),
        _ => play.hosts.scalar_text().into_iter().collect(),
    }
}

fn hosts(ready: &Ready, args: &RunArgs, play: &Play) -> Result<Vec<Arc<str>>, Trouble> {
    let hosts = hosts_of_play(play, &ready.store, &ready.templates).unwrap_or_default();
    let Some(limit) = &args.inventory.limit else { return Ok(hosts) };
    // A wrong limit was refused before.
    Ok(match Limit::parse(limit, Path::new("."), &ready.sources) {
        Ok(limit) => limit.apply(hosts, &ready.store.inventory()),
        Err(_) => hosts,
    })
}

/// The first task that `--start-at-task` can mean, with the position of its play.
///
/// # Errors
/// When there is none, with the nearest name.
pub(super) fn find_start(ready: &Ready, args: &RunArgs, wanted: &str) -> Result<(usize, TaskPath), Trouble> {
    let mut names = Vec::new();
    for play in &ready.playbook.plays {
        for task in reached(&play.items, &args.tags, &args.skip_tags) {
            let full = title(task);
            let own = task.name.as_ref().and_then(|n| n.scalar_text());
            if [Some(&full), own.as_ref()]
                .into_iter()
                .flatten()
                .any(|n| n == wanted || fits_wildcard(n, wanted))
            {
                return Ok((play.index, Arc::clone(&task.path)));
            }
            names.extend(own);
        }
    }
    let near = crate::source::nearest(wanted, names.iter().map(String::as_str));
    let help = near.map_or_else(
        || "see what there is: --list-tasks; tasks of dynamic includes cannot be started at".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Trouble::new(crate::exit::PLAYBOOK, format!("error: no task is named `{wanted}`\n  {help}")))
}

/// Every selected task that a host without failures comes to.
fn reached<'p>(items: &'p [Item], only: &[String], skip: &[String]) -> Vec<&'p Arc<Task>> {
    let mut found = Vec::new();
    for item in items {
        match item {
            Item::Task(task) if !task.is_implicit_flush() && selected(&task.tags, only, skip) => {
                found.push(task);
            }
            Item::Task(_) => {}
            Item::Block(block) => {
                found.extend(reached(&block.items, only, skip));
                found.extend(reached(&block.always, only, skip));
            }
        }
    }
    found
}
