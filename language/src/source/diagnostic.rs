//! The one kind of error that has a place in a file, and its one rendering.

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
}

impl Diagnostics {
    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds all findings of another stage or file.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    /// Orders by file (in the order read), place and message, and drops repetitions.
    ///
    /// A role used three times has each of its mistakes once.
    pub fn sort(&mut self) {
        let place = |d: &Diagnostic| d.labels.first().map(|l| (l.span.file, l.span.start));
        self.list.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message)));
        self.list.dedup_by(|a, b| place(a) == place(b) && a.message == b.message);
    }

    /// As [`Diagnostics::sort`], by the names of files: for stages that read files in an order that chance decides.
    pub fn sort_by_name(&mut self, sources: &Sources) {
        let place =
            |d: &Diagnostic| d.labels.first().map(|l| (sources.file(l.span.file).name.clone(), l.span.start));
        self.list.sort_by_cached_key(|d| (place(d), d.message.clone()));
        self.list.dedup_by(|a, b| a.message == b.message && place(a) == place(b));
    }

    /// How many are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// `2 errors, 1 warning`; empty when nothing was found.
    #[must_use]
    pub fn counts(&self) -> String {
        let errors = self.errors();
        let parts = [(errors, "error"), (self.list.len() - errors, "warning")];
        let shown: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        shown.join(", ")
    }

    /// True when at least one finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }
}
