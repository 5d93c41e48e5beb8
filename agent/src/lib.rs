//! What dcos-play runs on a managed host, and what the controller must know about it.
//!
//! Owns: the wire format ([`protocol`]), the description of module options ([`options`]), the modules and facts
//! themselves. Must not: know playbooks, templates or inventories; print anything outside the protocol.
//! Called by: the static binary on hosts, and by the controller (module catalogue and protocol).

pub mod facts;
pub mod files;
pub mod modules;
pub mod options;
pub mod packages;
pub mod protocol;
pub mod runner;
pub mod server;
pub mod spool;
pub mod system;
#[cfg(test)]
mod testing;
pub mod times;
pub mod words;
