//! Secrets: values that never print, and the masking of their text in output.
//!
//! Owns: what counts as secret text and how it is hidden. Must not: decide which variable is a secret.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, RwLock};

use regex::Regex;

/// What stands where a secret would be.
pub const STARS: &str = "********";

/// Text that prints as stars; [`Secret::reveal`] is the one way to it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the place that must use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

/// Values shorter than this (in characters) aren't masked: hiding every `yes` or `1` would make output unreadable and, by what
/// is missing, tell the value.
pub const SHORTEST: usize = 4;

/// The secret texts of a run; what any stream prints goes through [`Masks::mask`].
///
/// A text of several lines is masked as a whole and line by line, because streams are written in lines. The form that JSON
/// gives a text (escaped quotes and newlines) is masked too.
#[derive(Debug, Default)]
pub struct Masks {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// Longest first, so that a secret which starts with another one is hidden whole.
    texts: Vec<String>,
    matcher: Option<Regex>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.texts.len())
    }
}

impl Masks {
    /// Hides this text from now on.
    pub fn add(&self, secret: &str) {
        let mut new: Vec<String> = Vec::new();
        let lines = secret.lines().filter(|_| secret.contains('\n'));
        for text in std::iter::once(secret.trim_end_matches(['\r', '\n'])).chain(lines) {
            if text.trim().chars().count() < SHORTEST {
                continue;
            }
            if let Ok(json) = serde_json::to_string(text) {
                new.push(json[1..json.len() - 1].to_owned());
            }
            new.push(text.to_owned());
        }
        let mut state = self.state.write().unwrap_or_else(|e| e.into_inner());
        new.retain(|n| !state.texts.contains(n));
        if new.is_empty() {
            return;
        }
        state.texts.extend(new);
        state.texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        state.texts.dedup();
        let alternatives: Vec<String> = state.texts.iter().map(|t| regex::escape(t)).collect();
        // Literals only, so the regex crate searches them with Aho-Corasick. A set too big for its limits is searched one by one.
        state.matcher = Regex::new(&alternatives.join("|")).ok();
    }

    /// The text with all secrets replaced by stars.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let state = self.state.read().unwrap_or_else(|e| e.into_inner());
        match &state.matcher {
            Some(matcher) => matcher.replace_all(text, STARS),
            None => {
                let mut masked = Cow::Borrowed(text);
                for secret in state.texts.iter().filter(|s| text.contains(&***s)) {
                    masked = Cow::Owned(masked.replace(secret, STARS));
                }
                masked
            }
        }
    }

    /// True when there is nothing to hide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.read().unwrap_or_else(|e| e.into_inner()).texts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_as_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "******** ********");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn masks_hide_whole_secrets_lines_and_json_forms() {
        let masks = Masks::default();
        assert!(matches!(masks.mask("plain"), Cow::Borrowed("plain")));
        masks.add("hunter2");
        masks.add("hunter2-long");
        masks.add("yes");
        masks.add("first line\nsecond \"line\"\n");
        assert_eq!(masks.mask("a hunter2-long b hunter2 yes"), "a ******** b ******** yes");
        assert_eq!(masks.mask("x second \"line\" y"), "x ******** y");
        assert_eq!(masks.mask(r#"{"k": "first line\nsecond \"line\""}"#), r#"{"k": "********"}"#);
        assert!(matches!(masks.mask("nothing here"), Cow::Borrowed(_)));
    }
}
