//! Command line types, one file a subcommand.

pub mod inventory;
