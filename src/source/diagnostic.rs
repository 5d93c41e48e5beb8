//! The one kind of error that has a place in a file, and its one rendering.

use std::fmt::Write as _;

use super::{Sources, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// A place with a remark.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    pub span: Span,
    /// May be empty: then the place is only underlined.
    pub text: String,
}

/// A finding about a file: what, where, what next.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable name such as `unknown-module`, for tests and docs.
    pub code: &'static str,
    /// Lower case, no full stop, understandable without the excerpt.
    pub message: String,
    /// The first is the place of the error; others explain it and may lie in other files.
    pub labels: Vec<Label>,
    /// What to do next.
    pub help: Option<String>,
}

/// Findings collected by a stage; an error stops the run after the stage, never in its middle.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diagnostics {
    pub list: Vec<Diagnostic>,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: vec![Label { span, text: String::new() }],
            help: None,
        }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>, span: Span) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, span) }
    }

    /// Puts a remark under the first place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.text = text.into();
        }
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The full text with source excerpts, without colour.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        let mut out = String::new();
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let _ = writeln!(out, "{word}: {}", self.message);
        for label in &self.labels {
            let _ = writeln!(out, "  {} {}", sources.place(label.span), label.text);
        }
        out
    }
}

impl Diagnostics {
    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// True when at least one finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }
}
