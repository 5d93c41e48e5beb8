//! The controller: everything from playbook files to a finished run.
//!
//! The folders are the stages of a run, in this order; a stage imports only from earlier ones.

pub mod source;

pub mod syntax;

pub mod template;

pub mod vars;

pub mod inventory;

pub mod resolve;

pub mod cli;
