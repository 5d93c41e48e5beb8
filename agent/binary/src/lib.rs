//! The build of the agent's binary, in its build script.
//!
//! Owns: nothing else. A crate without dependencies, so that cargo can begin with the agent when it begins at all: its
//! last step uses one core for long, beside the controller's dependencies rather than after them.
