//! How far each host of a batch has come, and who waits for whom.
//!
//! Owns: the positions. A host that waits at a point may go on when no other host is still before that point; hosts
//! that left the play count no more. So a barrier needs no list of who must come: a host that took another way
//! (a skipped include, a rescue) has simply passed it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::walk::Left;
use crate::vars::{PlayInfo, PlayState};

/// Where a task stands in the order of its play, deeper for blocks and includes; compared like chapter numbers.
pub(super) type Position = Vec<u32>;

/// The hosts that were released together from one barrier.
#[derive(Debug)]
pub(super) struct Group {
    /// Indexes in the batch, in the batch's order; the first does what is done once.
    pub(super) members: Vec<usize>,
    /// Why the group must not go on, as it was when the barrier opened: what its own members bring about meanwhile
    /// must not hit some of them and miss others.
    pub(super) left: Option<Left>,
    /// How many fatal failures there had been at that moment.
    pub(super) fatals: usize,
    /// The play's hosts at that moment, for the same reason.
    pub(super) info: Arc<PlayInfo>,
    /// The result of a `run_once` task, set by the first member.
    pub(super) once: watch::Sender<Option<Once>>,
}

/// What the hosts of a group share of a task that ran once.
#[derive(Debug, Clone)]
pub(super) struct Once {
    pub(super) done: Arc<super::dispatch::Legacy>,
    pub(super) failed: bool,
}

/// The positions of a batch.
#[derive(Debug)]
pub(super) struct Line {
    inner: Mutex<Inner>,
    stops: Arc<Stops>,
}

/// What ends a batch early.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// Too many failures.
    pub(super) aborted: AtomicBool,
    /// Where a task with `any_errors_fatal` failed: there every other host of the batch fails, too.
    pub(super) fatals: Mutex<Vec<Position>>,
    /// `meta: end_batch`, `end_play`.
    pub(super) ended: AtomicBool,
    pub(super) play: Arc<PlayState>,
}

impl Stops {
    pub(super) fn left(&self) -> Option<Left> {
        if self.aborted.load(Ordering::Acquire) {
            Some(Left::Aborted)
        } else if self.ended.load(Ordering::Acquire) {
            Some(Left::Ended)
        } else {
            None
        }
    }
}

/// A host at a barrier, and how it is told to go on.
type Waiter = (usize, oneshot::Sender<Arc<Group>>);

#[derive(Debug)]
struct Inner {
    /// `None`: the host has left.
    at: Vec<Option<Position>>,
    counts: BTreeMap<Position, usize>,
    waiting: BTreeMap<Position, Vec<Waiter>>,
}

impl Line {
    /// All hosts at the start.
    pub(super) fn new(hosts: usize, stops: Arc<Stops>) -> Self {
        let mut counts = BTreeMap::new();
        if hosts > 0 {
            counts.insert(Position::new(), hosts);
        }
        Self {
            inner: Mutex::new(Inner {
                at: vec![Some(Position::new()); hosts],
                counts,
                waiting: BTreeMap::new(),
            }),
            stops,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host has come to this point and does not wait.
    pub(super) fn advance(&self, host: usize, to: &[u32]) {
        let mut inner = self.lock();
        inner.go(host, Some(to));
        inner.release(&self.stops);
    }

    /// The host has come to this point and goes on with the others that did; `None` without an answer means the batch
    /// is over.
    pub(super) fn arrive(&self, host: usize, at: &[u32]) -> oneshot::Receiver<Arc<Group>> {
        let (go, wait) = oneshot::channel();
        let mut inner = self.lock();
        inner.go(host, Some(at));
        inner.waiting.entry(at.to_vec()).or_default().push((host, go));
        inner.release(&self.stops);
        wait
    }

    /// True when a host that arrives here would have to wait.
    pub(super) fn must_wait(&self, at: &[u32]) -> bool {
        self.lock().counts.keys().next().is_some_and(|first| first.as_slice() < at)
    }

    /// The host has left the play.
    pub(super) fn leave(&self, host: usize) {
        let mut inner = self.lock();
        inner.go(host, None);
        inner.release(&self.stops);
    }
}

impl Inner {
    fn go(&mut self, host: usize, to: Option<&[u32]>) {
        if let Some(from) = &self.at[host]
            && let Some(count) = self.counts.get_mut(from)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(from);
            }
        }
        // Every step of every host comes through here: what is allocated already serves again.
        let Some(to) = to else {
            self.at[host] = None;
            return;
        };
        match &mut self.at[host] {
            Some(at) => {
                at.clear();
                at.extend_from_slice(to);
            }
            at => *at = Some(to.to_vec()),
        }
        match self.counts.get_mut(to) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(to.to_vec(), 1);
            }
        }
    }

    fn release(&mut self, stops: &Stops) {
        while let Some((first, _)) = self.waiting.first_key_value() {
            if self.counts.keys().next().is_some_and(|slowest| slowest < first) {
                return;
            }
            let Some((_, mut waiters)) = self.waiting.pop_first() else { return };
            waiters.sort_by_key(|(host, _)| *host);
            let members = waiters.iter().map(|(host, _)| *host).collect();
            let group = Arc::new(Group {
                members,
                left: stops.left(),
                fatals: super::state::lock(&stops.fatals).len(),
                info: stops.play.get(),
                once: watch::Sender::new(None),
            });
            for (_, go) in waiters {
                // A waiter that was dropped left the play in the meantime.
                let _ = go.send(Arc::clone(&group));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(wait: &mut oneshot::Receiver<Arc<Group>>) -> Option<Vec<usize>> {
        wait.try_recv().ok().map(|g| g.members.clone())
    }

    #[test]
    fn a_barrier_opens_when_the_slowest_host_arrives() {
        let line = Line::new(3, Arc::default());
        let mut first = line.arrive(1, &[4]);
        line.advance(0, &[3, 7]);
        line.advance(2, &[9]);
        assert!(line.must_wait(&[4]));
        assert_eq!(ready(&mut first), None);
        let mut last = line.arrive(0, &[4]);
        assert_eq!(ready(&mut first), Some(vec![0, 1]), "host 2 passed by another way");
        assert_eq!(ready(&mut last), Some(vec![0, 1]));
    }

    #[test]
    fn a_host_that_left_holds_nobody_up() {
        let line = Line::new(2, Arc::default());
        let mut wait = line.arrive(0, &[1]);
        assert_eq!(ready(&mut wait), None);
        line.leave(1);
        assert_eq!(ready(&mut wait), Some(vec![0]));
    }

    #[test]
    fn later_barriers_wait_for_earlier_ones() {
        let line = Line::new(2, Arc::default());
        let mut far = line.arrive(0, &[5]);
        let mut near = line.arrive(1, &[2]);
        assert_eq!(ready(&mut near), Some(vec![1]));
        assert_eq!(ready(&mut far), None);
        line.advance(1, &[5, 1]);
        assert_eq!(ready(&mut far), Some(vec![0]));
    }
}
