//! What a template writes: text, or values that keep their type when they stand alone.
//!
//! Owns: the rule by which parts become one value. Must not: evaluate.

use minijinja::Value;

use super::error::R;
use super::marks::is_nothing;
use super::values::text;

/// The parts written so far.
#[derive(Debug, Default)]
pub(super) struct Output {
    first: Option<Value>,
    /// In use as soon as there are two parts.
    joined: Option<String>,
}

impl Output {
    /// Adds a value; `none` writes nothing.
    ///
    /// # Errors
    /// An undefined part inside a value that has to become text.
    pub(super) fn push(&mut self, value: Value) -> R<()> {
        let alone = self.joined.is_none() && self.first.is_none();
        if value.is_none() || (is_nothing(&value) && !alone) {
            return Ok(());
        }
        if let Some(joined) = &mut self.joined {
            match value.as_str() {
                Some(s) => joined.push_str(s),
                None => joined.push_str(&text(&value)?),
            }
            return Ok(());
        }
        match self.first.take() {
            None => self.first = Some(value),
            Some(first) => {
                let mut joined = if is_nothing(&first) { String::new() } else { text(&first)? };
                joined.push_str(&text(&value)?);
                self.joined = Some(joined);
            }
        }
        Ok(())
    }

    /// Adds text as it stands in the template.
    pub(super) fn push_str(&mut self, raw: &str) -> R<()> {
        match &mut self.joined {
            Some(joined) => {
                joined.push_str(raw);
                Ok(())
            }
            None => self.push(Value::from(raw)),
        }
    }

    /// The one value it all makes: `none` without parts, the part itself when there is one, else text.
    pub(super) fn finish(self) -> Value {
        match (self.joined, self.first) {
            (Some(joined), _) => Value::from(joined),
            (None, Some(first)) => first,
            (None, None) => Value::from(()),
        }
    }

    /// All parts as text.
    pub(super) fn finish_text(self) -> R<String> {
        match (self.joined, self.first) {
            (Some(joined), _) => Ok(joined),
            (None, Some(first)) => text(&first),
            (None, None) => Ok(String::new()),
        }
    }
}
