//! YAML to Book: plays, blocks, tasks and roles as written.
//!
//! Owns: which keyword may stand where, and its shape. Must not: look at other files, inventories or module catalogues.
