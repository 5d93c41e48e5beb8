//! Ansible's language: from files and inventories to the plan.
//!
//! Owns: everything that can be said about a playbook without a host. Must not: connect, run a task, or print. The folders are
//! stages, in this order; a stage imports only from earlier ones.
//!
//! A crate of its own because it is most of what `lint` does, and worth optimising in every profile; the controller around
//! it mostly waits.

pub mod source;

pub mod syntax;

pub mod template;

pub mod vars;

pub mod inventory;

pub mod resolve;

pub mod plan;
