//! The plan: which plays wait for which, and where the hosts of a play wait for each other.
//!
//! Owns: the graph with a reason on every edge, and the rule that says where a barrier is needed. Pure: no I/O, no
//! clock; the same playbook gives the same plan and digest. Must not: know hosts; nodes stand for all hosts of a play,
//! so ten thousand hosts cost no more than one.
//! Called by: the engine (to run), `plan` and `graph` (to show).

mod barrier;
mod build;
mod drawing;
mod looks;

pub use barrier::{BarrierReason, barrier_of};
pub use build::{Edge, NodeKind, Plan, PlanError, PlayPlan, Reason, build};
pub use drawing::{About, Arrow, ArrowKind, Drawing, Node, NodeType, Wait};
pub use looks::Looks;
