//! The controller: everything from playbook files to a finished run.
//!
//! The folders are the stages of a run, in this order; a stage imports only from earlier ones.

pub mod exit;

pub mod ask;

pub mod source;

pub mod syntax;

pub mod template;

pub mod vars;

pub mod inventory;

pub mod resolve;

pub mod connection;

pub mod dcos;

pub mod actions;

pub mod plan;

pub mod journal;

pub mod engine;

pub mod infra;

pub mod simulation;

pub mod report;

pub mod lab;

pub mod cli;
