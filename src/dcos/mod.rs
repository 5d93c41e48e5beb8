//! Rules of DC/OS itself that no playbook can express.
//!
//! Owns: how masters get their ZooKeeper ids, and in which order they may be replaced. Pure: no host, no file, no clock.
//! Called by: `dcos-play masters`, and the action `dcos_master_order`.

pub mod ensemble;
pub mod order;
pub mod show;

pub use ensemble::{Ensemble, ListError};
pub use order::{Addition, Gap, Impossible, Plan, Refusal, Shift, Step, Wanted, plan};
