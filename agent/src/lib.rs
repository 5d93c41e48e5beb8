//! What dcos-play runs on a managed host, and what the controller must know about it.
//!
//! Owns: the wire format ([`protocol`]), the description of module options ([`options`]), the modules and facts
//! themselves. Must not: know playbooks, templates or inventories; print anything outside the protocol.
//! Called by: the static binary on hosts, and by the controller (module catalogue and protocol).

pub mod facts;
pub mod files;
pub mod jobs;
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

/// Where the agent keeps uploads and results; default: the folder of its binary.
const PRIVATE_DIR: &str = "DCOS_PLAY_AGENT_DIR";

/// The private folder of this agent process; `None` when it can't tell where it is.
#[must_use]
pub fn private_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(PRIVATE_DIR)
        .filter(|dir| !dir.is_empty())
        .map(std::path::PathBuf::from)
        .or_else(|| Some(std::env::current_exe().ok()?.parent()?.to_owned()))
}
