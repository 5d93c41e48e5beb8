//! The controller: everything from playbook files to a finished run.
//!
//! The folders are the stages of a run, in this order; a stage imports only from earlier ones. The first stages, which need no
//! host, are a crate of their own: `language/`.

pub use dcos_play_language::{inventory, plan, resolve, source, syntax, template, vars};

pub mod exit;

pub mod ask;

pub mod connection;

pub mod dcos;

pub mod actions;

pub mod journal;

pub mod engine;

pub mod infra;

pub mod simulation;

pub mod report;

pub mod lab;

pub mod cli;
