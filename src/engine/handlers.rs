//! Which handlers a notification names.
//!
//! Owns: Ansible's lookup rules: by `listen` topic every handler, by name the first of the last file (a role's, the play's) that has one; `role : name` names a
//! role's handler. Must not: run them.

use std::sync::{Arc, RwLock};

use crate::resolve::Handler;

/// The handlers of a play. Roles included while it runs add theirs.
#[derive(Debug)]
pub(super) struct Handlers {
    list: RwLock<Vec<Arc<Handler>>>,
}

impl Handlers {
    pub(super) fn new(list: Vec<Arc<Handler>>) -> Self {
        Self { list: RwLock::new(list) }
    }

    pub(super) fn get(&self, at: usize) -> Option<Arc<Handler>> {
        self.read().get(at).cloned()
    }

    /// All handlers so far.
    pub(super) fn all(&self) -> Vec<Arc<Handler>> {
        self.read().clone()
    }

    /// Adds handlers of an included role once, however many hosts include it.
    pub(super) fn add(&self, more: &[Arc<Handler>]) {
        let mut list = self.list.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for handler in more {
            if !list.iter().any(|h| h.task.path == handler.task.path) {
                list.push(Arc::clone(handler));
            }
        }
    }

    /// The handlers that a notification starts; empty when nobody listens to it. `render` gives names and topics that
    /// are templates their text.
    pub(super) fn named(
        &self,
        notification: &str,
        render: &dyn Fn(&crate::source::Node) -> Option<String>,
    ) -> Vec<usize> {
        let list = self.read();
        let mut found = Vec::new();
        let role = |handler: &Handler| handler.task.role.as_ref().map(|r| r.path.clone());
        let mut chosen: Option<usize> = None;
        for (at, handler) in list.iter().enumerate().rev() {
            if chosen.is_some_and(|c| role(&list[c]) != role(handler)) {
                break;
            }
            let Some(name) = handler.task.name.as_ref().and_then(render) else { continue };
            let full = handler.task.role.as_ref().map(|r| format!("{} : {name}", r.name));
            if name == notification || full.as_deref() == Some(notification) {
                chosen = Some(at);
            }
        }
        found.extend(chosen);
        for (at, handler) in list.iter().enumerate() {
            let listens = handler.listen.iter().any(|topic| render(topic).as_deref() == Some(notification));
            if listens && !found.contains(&at) {
                found.push(at);
            }
        }
        found
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Handler>>> {
        self.list.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
