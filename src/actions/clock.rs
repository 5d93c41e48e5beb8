//! Time as actions see it.
//!
//! Owns: nothing but the edge; `pause` and `reboot` wait only through it, so that tests and simulations need no time.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};

/// A clock.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// The time of day, for people.
    fn wall(&self) -> jiff::Zoned;
    /// Waits. Dropping the future ends the wait.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The clock of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> jiff::Zoned {
        jiff::Zoned::now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(time).boxed()
    }
}

/// Runs a future for at most this long; `None` when it took longer.
pub(super) async fn within<T>(clock: &dyn Clock, limit: Duration, future: BoxFuture<'_, T>) -> Option<T> {
    match select(future, clock.sleep(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
