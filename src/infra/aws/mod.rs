//! AWS itself: clients, and one file a kind of resource.
//!
//! Owns: every AWS type; nothing outside of this folder and the EC2 inventory names one.

pub mod client;
