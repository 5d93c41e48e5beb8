//! Asking the person at the terminal.
//!
//! Owns: the trait only; the terminal itself belongs to the report stage.

use futures::future::BoxFuture;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A line, without its end.
    Line(String),
    /// The person wants to end the run.
    Abort,
}

/// A terminal with a person.
pub trait Console: Send + Sync {
    /// Shows the text and waits for a line; without `echo` what is typed stays unseen.
    ///
    /// Dropping the future takes the question back.
    fn ask<'a>(&'a self, text: &'a str, echo: bool) -> BoxFuture<'a, Answer>;
}
