//! What is the same for all hosts that meet a task, found out once a task.
//!
//! Owns: names, places, arguments and keywords that are no templates, and their fingerprints. Must not: keep anything that
//! a host's variables decide.

use std::sync::{Arc, OnceLock, RwLock};

use serde_json::{Map, Value as Json};

use super::dispatch::constant;
use super::play::{Barrier, PlayRun};
use super::resume::Known;
use super::task::Keywords;
use crate::actions::Action;
use crate::journal::Place;
use crate::resolve::{ActionKind, Task};
use crate::source::{Node, Yaml};
use crate::vars::ScopeParts;
use crate::vars::connection::Given;

/// Fingerprints that are remembered for one task: it may be run as several users.
const PRINTS: usize = 8;

/// A fingerprint, and the user it is for.
type Printed = (Option<String>, Arc<Known>);

/// A task, made ready for its hosts.
pub(super) struct Prepared {
    /// Decides the task's variables.
    pub(super) parts: Arc<ScopeParts>,
    pub(super) place: Arc<Place>,
    /// Set by the play, which knows what makes hosts wait.
    pub(super) barrier: OnceLock<Barrier>,
    pub(super) role: Option<Arc<str>>,
    /// The name as people see it; `None` when it is a template.
    pub(super) title: Option<Arc<str>>,
    /// All arguments; `None` when one of them has to be rendered.
    pub(super) arguments: Option<Arc<Map<String, Json>>>,
    /// `None` when one of them has to be rendered.
    pub(super) keywords: Option<Keywords>,
    /// The code of an action of the controller.
    pub(super) action: Option<&'static dyn Action>,
    /// What its keywords say about the connection, if that is no matter of variables.
    pub(super) given: OnceLock<Option<Arc<Given>>>,
    /// Of an action that renders its own arguments: they count as they are written.
    pub(super) written: OnceLock<Arc<Known>>,
    printed: RwLock<Vec<Printed>>,
}

impl Prepared {
    pub(super) fn of(playing: &PlayRun, task: &Task, parts: Arc<ScopeParts>) -> Self {
        let options = &playing.run.inputs.options;
        let name = task.name.as_ref().and_then(|n| n.as_str());
        let title = match name {
            None => Some(task.action.written.value.as_str().into()),
            Some(name) => (!crate::template::template_text(name)).then(|| name.into()),
        };
        Self {
            parts,
            place: Arc::new(playing.run.place(task.span)),
            barrier: OnceLock::new(),
            role: task.role.as_ref().map(|r| r.name.as_str().into()),
            title,
            arguments: arguments(task).map(Arc::new),
            keywords: Keywords::constant(&task.settings, options),
            action: match &task.action.kind {
                ActionKind::Controller(spec) => crate::actions::find(spec.name),
                _ => None,
            },
            given: OnceLock::new(),
            written: OnceLock::new(),
            printed: RwLock::default(),
        }
    }

    /// The fingerprint of a call that is the same for all hosts on which it is made as `user`; `make` is asked once.
    pub(super) fn printed(&self, user: Option<&String>, make: impl FnOnce() -> Arc<Known>) -> Arc<Known> {
        let found = |list: &[Printed]| {
            list.iter().find(|(known, _)| known.as_ref() == user).map(|(_, print)| Arc::clone(print))
        };
        if let Some(print) = found(&self.printed.read().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            return print;
        }
        let print = make();
        let mut list = self.printed.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if found(&list).is_none() && list.len() < PRINTS {
            list.push((user.cloned(), Arc::clone(&print)));
        }
        print
    }
}

/// The arguments of a task in which nothing has to be rendered.
fn arguments(task: &Task) -> Option<Map<String, Json>> {
    let written = &task.action.args;
    if !task.settings.module_defaults.is_empty() || written.whole.is_some() {
        return None;
    }
    let entry = |(name, node): &(crate::source::Spanned<String>, Node)| {
        constant(node).map(|value| (name.value.clone(), value))
    };
    written.entries.iter().map(entry).collect()
}

/// A flag that no variable decides: not there, or written as a boolean.
pub(super) fn constant_flag(node: Option<&Node>, default: bool) -> Option<bool> {
    match node {
        None => Some(default),
        Some(Node { value: Yaml::Bool(flag), .. }) => Some(*flag),
        Some(_) => None,
    }
}
