//! A place among the hosts that work at once (`--forks`).
//!
//! Owns: taking it, and leaving it for a while: who only waits for a host to come back, or for the next attempt, keeps
//! nobody from working.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::lock;
use crate::connection::Place;

/// One host's place; free again when this is dropped.
pub(super) struct Slot {
    forks: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Slot {
    /// Waits for a place.
    pub(super) async fn take(forks: &Arc<Semaphore>) -> Arc<Self> {
        // The semaphore is never closed.
        let permit = Arc::clone(forks).acquire_owned().await.ok();
        Arc::new(Self { forks: Arc::clone(forks), permit: Mutex::new(permit) })
    }
}

impl Slot {
    /// False when it was left and not taken again.
    pub(super) fn is_held(&self) -> bool {
        lock(&self.permit).is_some()
    }
}

impl Place for Slot {
    fn leave(&self) {
        lock(&self.permit).take();
    }

    fn enter(&self) -> BoxFuture<'_, ()> {
        async {
            let permit = Arc::clone(&self.forks).acquire_owned().await.ok();
            *lock(&self.permit) = permit;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Seat;

    #[tokio::test]
    async fn who_waits_for_something_else_leaves_its_place_to_others() {
        let forks = Arc::new(Semaphore::new(1));
        let seat = Seat(Some(Slot::take(&forks).await));
        assert_eq!(forks.available_permits(), 0);
        seat.without(async { assert_eq!(forks.available_permits(), 1) }).await;
        assert_eq!(forks.available_permits(), 0, "taken again");
        drop(seat);
        assert_eq!(forks.available_permits(), 1);
    }
}
