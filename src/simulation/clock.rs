//! Time that passes only when everybody waits.
//!
//! Owns: the view of tokio's paused clock that actions and events get. Must not: pause it (who owns the runtime does).

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::actions::Clock;

/// When every simulated run begins, in milliseconds since the Unix epoch: 2026-01-01 00:00 UTC.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

/// The clock of a simulated run.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock {
    start: tokio::time::Instant,
}

impl VirtualClock {
    /// Starts at [`EPOCH_MS`]. Must be called inside a runtime whose time is paused.
    #[must_use]
    pub fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn milliseconds(&self) -> i64 {
        EPOCH_MS + i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX - EPOCH_MS)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> jiff::Zoned {
        jiff::Timestamp::from_millisecond(self.milliseconds())
            .unwrap_or_default()
            .to_zoned(jiff::tz::TimeZone::UTC)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(time).boxed()
    }
}
