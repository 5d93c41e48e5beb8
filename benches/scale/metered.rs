//! What the simulated hosts themselves cost.
//!
//! Owns: a way to the fleet that times some of the calls. What the controller does while a call runs (it takes output in)
//! and what looking at the clock costs are left out; timers and the clock of the simulation stay with the controller.
//! Must not: change what a call does.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dcos_play::connection::{Call, Fault, OutputSink, RawOutput, Reply, Target, Transport};
use dcos_play::simulation::SimulatedTransport;
use dcos_play_agent::protocol::StepKey;
use futures::future::BoxFuture;

/// One call of so many is timed, so that timing costs nothing to speak of.
const ONE_OF: u32 = 31;

/// No turn of a call takes nearly so long: another program had the core, and that is nobody's CPU. Not the thread's own CPU
/// clock, which is a system call and takes as long as a turn.
const INTERRUPTED: Duration = Duration::from_micros(100);

/// The way to a fleet, some calls timed.
pub(crate) struct Metered {
    fleet: SimulatedTransport,
    calls: AtomicU64,
    spent: Arc<Spent>,
}

/// Nanoseconds, of the calls that were timed.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    hosts: AtomicU64,
    /// Within the calls, but by the controller.
    controller: AtomicU64,
    /// How often the clock was looked at twice.
    looks: AtomicU64,
}

impl Metered {
    pub(crate) fn new(fleet: SimulatedTransport, spent: &Arc<Spent>) -> Self {
        Self { fleet, calls: AtomicU64::new(0), spent: Arc::clone(spent) }
    }
}

impl Spent {
    /// By the simulated hosts, in all calls of the run.
    pub(crate) fn by_hosts(&self) -> Duration {
        let [hosts, controller, looks] =
            [&self.hosts, &self.controller, &self.looks].map(|n| n.load(Ordering::Relaxed));
        let looking = Duration::from_nanos(looks).mul_f64(nanoseconds_of_a_look());
        Duration::from_nanos(hosts.saturating_sub(controller)).saturating_sub(looking) * ONE_OF
    }

    fn time<T>(&self, account: &AtomicU64, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        let took = began.elapsed();
        if took < INTERRUPTED {
            account.fetch_add(u64::from(took.subsec_nanos()), Ordering::Relaxed);
        }
        self.looks.fetch_add(1, Ordering::Relaxed);
        done
    }
}

fn nanoseconds_of_a_look() -> f64 {
    const LOOKS: u32 = 100_000;
    let spent = Spent::default();
    (0..LOOKS).for_each(|_| spent.time(&spent.hosts, || ()));
    spent.hosts.load(Ordering::Relaxed) as f64 / f64::from(LOOKS)
}

impl Transport for Metered {
    fn call<'a>(
        &'a self,
        target: &'a Target,
        call: Call,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<Reply, Fault>> {
        if !self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(ONE_OF)) {
            return self.fleet.call(target, call, output);
        }
        let spent = Arc::clone(&self.spent);
        let output: OutputSink =
            Arc::new(move |stream, bytes| spent.time(&spent.controller, || output(stream, bytes)));
        let spent = Arc::clone(&self.spent);
        let mut working = spent.time(&spent.hosts, || self.fleet.call(target, call, output));
        Box::pin(poll_fn(move |cx| spent.time(&spent.hosts, || working.as_mut().poll(cx))))
    }

    fn raw<'a>(
        &'a self,
        target: &'a Target,
        command: &'a str,
        timeout: Option<Duration>,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<RawOutput, Fault>> {
        self.fleet.raw(target, command, timeout, output)
    }

    fn cancel<'a>(&'a self, target: &'a Target, step: &'a StepKey, grace: Duration) -> BoxFuture<'a, bool> {
        self.fleet.cancel(target, step, grace)
    }

    fn reset<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()> {
        self.fleet.reset(target)
    }

    fn boot_id<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<String, Fault>> {
        self.fleet.boot_id(target)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.fleet.close()
    }
}
