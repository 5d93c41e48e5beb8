//! What may not happen twice at a time: named locks (`locks`) and `throttle`.
//!
//! Owns: who has what, across all hosts and plays of the run. Must not: decide when a task runs.
//!
//! A task holds its locks only while it works, so nobody who waits for a barrier holds any. Locks are taken in the order
//! of their names, so two tasks never wait for each other.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::state::lock;
use crate::resolve::TaskPath;

/// A lock's name; a task in a play that holds the lock itself contends only with that play's other hosts.
type Name = (Arc<str>, Option<usize>);

/// All locks of a run.
#[derive(Debug, Default)]
pub(super) struct Locks {
    named: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>,
    throttles: Mutex<HashMap<(TaskPath, usize), Arc<Semaphore>>>,
}

/// Locks that are held until this is dropped.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Held {
    _locks: Vec<OwnedMutexGuard<()>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Locks {
    fn named(&self, name: &Name) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.named).entry(name.clone()).or_default())
    }

    /// The first of these locks that somebody else has.
    pub(super) fn taken(
        &self,
        names: &BTreeSet<Arc<str>>,
        within: Option<(usize, &BTreeSet<Arc<str>>)>,
    ) -> Option<Arc<str>> {
        let held = |name: &&Arc<str>| self.named(&key(name, within)).try_lock().is_err();
        names.iter().find(held).cloned()
    }

    /// Waits for all of these locks. `within` is the play that holds some of them as a whole.
    pub(super) async fn take(
        &self,
        names: &BTreeSet<Arc<str>>,
        within: Option<(usize, &BTreeSet<Arc<str>>)>,
    ) -> Held {
        let mut held = Held::default();
        for name in names {
            held._locks.push(self.named(&key(name, within)).lock_owned().await);
        }
        held
    }

    /// Waits until fewer than `most` hosts are at this task.
    pub(super) async fn throttle(&self, task: &TaskPath, most: usize, held: &mut Held) {
        let slots = {
            let mut throttles = lock(&self.throttles);
            let slots =
                throttles.entry((Arc::clone(task), most)).or_insert_with(|| Arc::new(Semaphore::new(most)));
            Arc::clone(slots)
        };
        // It is never closed.
        held._slot = slots.acquire_owned().await.ok();
    }
}

fn key(name: &Arc<str>, within: Option<(usize, &BTreeSet<Arc<str>>)>) -> Name {
    let play = within.filter(|(_, held)| held.contains(name)).map(|(play, _)| play);
    (Arc::clone(name), play)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|n| Arc::from(*n)).collect()
    }

    #[test]
    fn a_lock_has_one_holder_and_a_play_that_holds_it_still_runs_its_tasks() {
        let locks = Locks::default();
        let (disk, both) = (set(&["disk"]), set(&["disk", "net"]));
        let first = locks.take(&disk, None).now_or_never().expect("free");
        assert_eq!(locks.taken(&both, None), Some("disk".into()));
        assert!(locks.take(&both, None).now_or_never().is_none());
        let inside = locks.take(&disk, Some((3, &disk))).now_or_never().expect("the play has it");
        assert!(locks.take(&disk, Some((3, &disk))).now_or_never().is_none(), "another host of the play");
        drop((first, inside));
        assert!(locks.take(&both, None).now_or_never().is_some());
    }

    #[test]
    fn a_throttle_lets_so_many_in() {
        let locks = Locks::default();
        let task: TaskPath = "t".into();
        let enter = || {
            let mut held = Held::default();
            let entered = locks.throttle(&task, 2, &mut held).now_or_never().is_some();
            (entered, held)
        };
        let (one, two) = (enter(), enter());
        assert_eq!((one.0, two.0, enter().0), (true, true, false));
        drop(one);
        assert!(enter().0);
    }
}
