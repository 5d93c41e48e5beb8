//! A fleet that exists only in memory: what hosts would answer, how long they would take, what would go wrong.
//!
//! Owns: the simulated hosts, their faults and their clock. Must not: know tasks or plays; like the real connections
//! it sees one call at a time.
//! Called by: `simulate`, the soak test and the benchmark of scale, in the place of the real transport.

mod answers;
mod clock;
mod faults;
mod fleet;
mod invariants;

pub use clock::{EPOCH_MS, VirtualClock};
pub use faults::{Answer, Fault, Faults, FaultsError};
pub use fleet::{Fleet, SimulatedTransport};
pub use invariants::{Broken, Invariants};
