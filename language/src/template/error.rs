//! What can go wrong with a template, with the place of the text and the way by which it was reached.
//!
//! Owns: [`TemplateError`]. Must not: print; the report stage renders it.

use std::ops::{Deref, Range};

use crate::source::Span;

/// Why a template failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// A name, attribute or item that does not exist was used.
    Undefined {
        /// The name or attribute, without the value it was looked up on.
        name: String,
    },
    /// The text is not a template.
    Syntax,
    /// Names something that does not exist: what (`filter`, `test`, `lookup`, `function`) and its name.
    NoSuch { what: &'static str, name: String },
    /// An argument is missing, unknown or of a wrong type.
    Arguments,
    /// An operator or method does not fit the type of a value.
    Type,
    /// A filter, test or method refused its input.
    Value,
    /// A lookup could not get what was asked for.
    Lookup,
    /// A variable needs its own value; the names in order.
    Cycle { path: Vec<String> },
    /// The result depends on something only known when the run really changes hosts (check mode).
    Unknown,
    /// A condition whose result is not a boolean.
    Condition,
    /// `omit` where a value is needed.
    Omitted,
    /// A template that is included does not exist.
    TemplateNotFound,
    /// A `!vault` value that cannot be opened.
    Vault,
    /// Templates nested too deep.
    Depth,
}

/// One link of the way to an error: the variable that was being rendered and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    pub variable: String,
    pub at: Option<Span>,
}

/// The contents of a [`TemplateError`].
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorDetail {
    pub kind: ErrorKind,
    /// Lower case, no full stop, understandable alone.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// Place of the text that failed.
    pub at: Option<Span>,
    /// Bytes within that text.
    pub offset: Option<Range<u32>>,
    /// Name of the template file, where the text does not come from a playbook.
    pub file: Option<String>,
    /// Variables being rendered, innermost first.
    pub chain: Vec<Rendering>,
}

/// An error in a template.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct TemplateError(Box<ErrorDetail>);

impl Deref for TemplateError {
    type Target = ErrorDetail;

    fn deref(&self) -> &ErrorDetail {
        &self.0
    }
}

/// What everything inside the template stage returns.
pub(super) type R<T> = Result<T, TemplateError>;

impl TemplateError {
    /// An error without a place; the place is added while it travels outwards.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(ErrorDetail {
            kind,
            message: message.into(),
            help: None,
            at: None,
            offset: None,
            file: None,
            chain: Vec::new(),
        }))
    }

    pub(super) fn undefined(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Undefined { name: name.into() }, message)
    }

    pub(super) fn of_type(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Type, message)
    }

    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    pub(super) fn arguments(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Arguments, message)
    }

    pub(super) fn lookup(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Lookup, message)
    }

    pub(super) fn no_such(what: &'static str, name: &str, near: Option<String>) -> Self {
        let mut error =
            Self::new(ErrorKind::NoSuch { what, name: name.to_owned() }, format!("no {what} named `{name}`"));
        error.0.help = near.map(|near| format!("did you mean `{near}`?"));
        error
    }

    /// The same error in a text that has so many more bytes in front.
    pub(super) fn moved(mut self, by: u32) -> Self {
        if let Some(offset) = &mut self.0.offset {
            *offset = offset.start + by..offset.end + by;
        }
        self
    }

    /// Sets the place within the text unless an inner one is known.
    pub(super) fn or_offset(mut self, span: Range<u32>) -> Self {
        if self.0.offset.is_none() && self.0.at.is_none() {
            self.0.offset = Some(span);
        }
        self
    }

    /// Sets the place of the text unless an inner one is known.
    pub(super) fn or_at(mut self, at: Option<Span>) -> Self {
        if self.0.at.is_none() {
            self.0.at = at;
        }
        self
    }

    /// Sets the template file unless an inner one is known.
    pub(super) fn or_file(mut self, name: &str) -> Self {
        if self.0.file.is_none() && self.0.at.is_none() {
            self.0.file = Some(name.to_owned());
        }
        self
    }

    pub(super) fn or_help(mut self, help: Option<String>) -> Self {
        if self.0.help.is_none() {
            self.0.help = help;
        }
        self
    }

    pub(super) fn through(mut self, variable: &str, at: Option<Span>) -> Self {
        if self.0.chain.last().is_none_or(|last| last.variable != variable || last.at != at) {
            self.0.chain.push(Rendering { variable: variable.to_owned(), at });
        }
        self
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Undefined { .. })
    }
}

/// The name nearest to `wanted`, if one is near enough to be a likely typing error.
pub(super) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(score, name)| *score >= 0.86 && *name != wanted)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

impl TemplateError {
    /// Drops chain links that have no variable name.
    pub(super) fn without_unnamed(mut self) -> Self {
        self.0.chain.retain(|link| !link.variable.is_empty() && !link.variable.starts_with(['.', '[']));
        self
    }
}
