//! The door through which templates are checked before a run.
//!
//! Owns: what this stage wants to know about a template. Must not: know the template language.

use std::fmt::Debug;
use std::ops::Range;

/// Checks templates without rendering them.
pub trait TemplateCheck: Send + Sync + Debug {
    /// A text with `{{ }}` or `{% %}` in it.
    ///
    /// # Errors
    /// A syntax error, an unknown filter, test or lookup.
    fn text(&self, text: &str) -> Result<Refs, TemplateFault>;

    /// A template file; `delimiters` are those options of the task that change its syntax, by name.
    ///
    /// # Errors
    /// A syntax error, an unknown filter, test or lookup.
    fn file(&self, text: &str, delimiters: &[(String, String)]) -> Result<Refs, TemplateFault>;

    /// A bare expression such as a `when`.
    ///
    /// # Errors
    /// A syntax error, an unknown filter, test or lookup.
    fn expression(&self, text: &str) -> Result<Refs, TemplateFault>;

    /// Names of all lookups, for `with_*`; empty when that is not known.
    fn lookups(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// The variables that a template reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refs {
    pub names: Vec<Ref>,
}

/// One variable read.
#[derive(Debug, Clone, PartialEq)]
pub struct Ref {
    pub name: String,
    /// Bytes of the name in the text.
    pub at: Range<usize>,
    /// Under `default(..)`, `is defined` and kin: may be missing.
    pub guarded: bool,
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateFault {
    /// Lower case, no full stop.
    pub message: String,
    /// Bytes of the text at fault.
    pub at: Range<usize>,
    /// A near name or another next step.
    pub help: Option<String>,
}

/// Takes every template as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTemplateCheck;

impl TemplateCheck for NoTemplateCheck {
    fn text(&self, _: &str) -> Result<Refs, TemplateFault> {
        Ok(Refs::default())
    }

    fn file(&self, _: &str, _: &[(String, String)]) -> Result<Refs, TemplateFault> {
        Ok(Refs::default())
    }

    fn expression(&self, _: &str) -> Result<Refs, TemplateFault> {
        Ok(Refs::default())
    }
}
