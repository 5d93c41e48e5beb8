//! Files, places in them, YAML nodes and the one kind of diagnostic.
//!
//! Owns: reading playbook files from disk, spans, YAML 1.1 scalars, how an error with a place is shown.
//! Must not: know what a play or a task is.

mod diagnostic;
mod inside;
mod load;
mod load_fault;
#[cfg(test)]
mod load_tests;
mod node;
mod render;
mod scalar;
mod sources;
mod suggest;

pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use load::{ReadFault, parse, read};
pub use node::{Entry, Mapping, Node, Yaml};
pub use render::Colour;
pub(crate) use scalar::resolve as plain_scalar;
pub use sources::{LineColumn, SourceFile, SourceId, Sources, Span, Spanned};
pub use suggest::nearest;
