//! What package tools leave on disk and say: shared by the package modules and `package_facts`.
//!
//! Owns: the dpkg and rpm databases as text, version order, apt's command lines. Must not: decide what a task changes.

pub mod apt;
pub mod dpkg;
pub mod rpm;
pub mod version;
