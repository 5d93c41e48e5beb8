//! Splits a command line into words.
//!
//! Owns: POSIX quoting rules as `shlex` knows them. Must not: expand anything.

/// A quote or a backslash that has nothing to end or protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("no closing quotation")]
    OpenQuote,
    #[error("no escaped character")]
    LoneBackslash,
}

/// Splits at blanks outside of quotes; quotes and backslashes are taken away.
///
/// # Errors
/// See [`SplitError`].
pub fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(SplitError::OpenQuote),
                        Some('\'') => break,
                        Some(c) => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(SplitError::OpenQuote),
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            None => return Err(SplitError::OpenQuote),
                            Some(c @ ('"' | '\\')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                        },
                        Some(c) => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or(SplitError::LoneBackslash)?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// A word as a shell would need it written.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\"'\"'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_by_posix_rules() {
        assert_eq!(
            split("a  'b c' \"d \\\"e\\n\" f\\ g '' h'i'\"j\"\n#k").expect("splits"),
            ["a", "b c", "d \"e\\n", "f g", "", "hij", "#k"]
        );
        assert_eq!(split("a 'b"), Err(SplitError::OpenQuote));
        assert_eq!(split("a \\"), Err(SplitError::LoneBackslash));
        assert_eq!(split(&quote("it's $x")).expect("splits"), ["it's $x"]);
    }
}
