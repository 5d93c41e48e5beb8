//! `key=value` text and free-form commands, split as Ansible splits them.
//!
//! Owns: quotes, template braces, escapes. Must not: know which module takes which option.

use std::ops::Range;

/// Keys that a free-form command (`command: ls chdir=/tmp`) takes out of its text; anything else stays text.
pub const FREE_FORM_KEYS: &[&str] = &[
    "creates",
    "removes",
    "chdir",
    "executable",
    "warn",
    "stdin",
    "stdin_add_newline",
    "strip_empty_ends",
    "expand_argument_vars",
];

/// What a task's text holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Split {
    pub pairs: Vec<Pair>,
    /// The words that are no pair, with the blanks between them as written.
    pub rest: String,
}

/// One `key=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub key: String,
    pub value: String,
    /// Bytes of the key in the text.
    pub key_at: Range<usize>,
    /// Bytes of the value in the text, quotes included.
    pub value_at: Range<usize>,
}

/// A quote or a template brace is never closed; the byte where it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quote or a `{{{{` is never closed")]
pub struct Unbalanced(pub usize);

/// Splits text into pairs and the rest. With `free_form`, only [`FREE_FORM_KEYS`] are pairs.
///
/// # Errors
/// When quotes or braces are not closed.
pub fn split(text: &str, free_form: bool) -> Result<Split, Unbalanced> {
    let mut found = Split::default();
    let mut rest_from: Option<usize> = None;
    let mut rest_to = 0;
    let flush = |rest: &mut String, from: Option<usize>, to: usize| {
        if let Some(from) = from {
            if !rest.is_empty() {
                rest.push(' ');
            }
            rest.push_str(&text[from..to]);
        }
    };
    for word in words(text)? {
        match pair(text, &word, free_form) {
            Some(pair) => {
                flush(&mut found.rest, rest_from.take(), rest_to);
                found.pairs.push(pair);
            }
            None => {
                rest_from.get_or_insert(word.start);
                rest_to = word.end;
            }
        }
    }
    flush(&mut found.rest, rest_from, rest_to);
    Ok(found)
}

fn pair(text: &str, word: &Range<usize>, free_form: bool) -> Option<Pair> {
    let written = &text[word.clone()];
    let at = unescaped_equals(written)?;
    let key = written[..at].trim();
    let valid = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    if !valid || (free_form && !FREE_FORM_KEYS.contains(&key)) {
        return None;
    }
    let value = &written[at + 1..];
    Some(Pair {
        key: key.to_owned(),
        value: unquoted(value),
        key_at: word.start..word.start + at,
        value_at: word.start + at + 1..word.end,
    })
}

fn unescaped_equals(word: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in word.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '=') if !word[..at].ends_with('\\') => return Some(at),
            (None, '{' | '}') => return None,
            _ => {}
        }
    }
    None
}

fn unquoted(value: &str) -> String {
    let bare = ['"', '\''].iter().find_map(|q| {
        let inner = value.strip_prefix(*q)?.strip_suffix(*q)?;
        (!inner.ends_with('\\')).then_some(inner)
    });
    bare.map_or_else(|| value.to_owned(), |inner| inner.replace("\\\"", "\""))
}

/// The words of a text: blanks inside quotes and template braces do not part them.
fn words(text: &str) -> Result<Vec<Range<usize>>, Unbalanced> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut start = None;
    let mut quote: Option<(u8, usize)> = None;
    let mut braces: Vec<(&str, usize)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if let Some((open, _)) = quote {
            if byte == b'\\' && open == b'"' {
                at += 1;
            } else if byte == open {
                quote = None;
            }
        } else if let Some((close, _)) = braces.last() {
            if text[at..].starts_with(close) {
                braces.pop();
                at += 1;
            } else if text[at..].starts_with("{{") {
                braces.push(("}}", at));
                at += 1;
            }
        } else if let Some(close) = opened(&text.as_bytes()[at..]) {
            start.get_or_insert(at);
            braces.push((close, at));
            at += 1;
        } else if byte == b'\\' {
            start.get_or_insert(at);
            at += 1;
        } else if byte == b'\'' || byte == b'"' {
            start.get_or_insert(at);
            quote = Some((byte, at));
        } else if byte.is_ascii_whitespace() {
            if let Some(from) = start.take() {
                words.push(from..at);
            }
        } else {
            start.get_or_insert(at);
        }
        at += 1;
        while at < bytes.len() && !text.is_char_boundary(at) {
            at += 1;
        }
    }
    if let Some((_, from)) = quote {
        return Err(Unbalanced(from));
    }
    if let Some((_, from)) = braces.first() {
        return Err(Unbalanced(*from));
    }
    if let Some(from) = start {
        words.push(from..text.len());
    }
    Ok(words)
}

fn opened(rest: &[u8]) -> Option<&'static str> {
    match rest {
        [b'{', b'{', ..] => Some("}}"),
        [b'{', b'%', ..] => Some("%}"),
        [b'{', b'#', ..] => Some("#}"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Unbalanced, split};

    fn shown(text: &str, free_form: bool) -> String {
        let found = split(text, free_form).expect("balanced");
        let pairs: Vec<String> = found.pairs.iter().map(|p| format!("{}=[{}]", p.key, p.value)).collect();
        format!("{} | {}", pairs.join(" "), found.rest)
    }

    #[test]
    fn pairs_keep_quotes_and_templates_together() {
        assert_eq!(shown("src=a dest='b c'", false), "src=[a] dest=[b c] | ");
        assert_eq!(shown("path={{ a b }}/x mode=0644", false), "path=[{{ a b }}/x] mode=[0644] | ");
        assert_eq!(shown("msg=\"say \\\"hi\\\"\"", false), "msg=[say \"hi\"] | ");
        assert_eq!(shown("line='a=b'", false), "line=[a=b] | ");
        assert_eq!(shown("{{ a == b }} x", false), " | {{ a == b }} x");
    }

    #[test]
    fn free_form_takes_only_its_own_keys() {
        assert_eq!(shown("dd if=/dev/zero of=x creates=x", true), "creates=[x] | dd if=/dev/zero of=x");
        assert_eq!(shown("echo  'a  b'   | tee", true), " | echo  'a  b'   | tee");
        assert_eq!(shown("chdir=/tmp ls -l\nls", true), "chdir=[/tmp] | ls -l\nls");
    }

    #[test]
    fn open_quotes_and_braces_are_faults_with_a_place() {
        assert_eq!(split("echo 'a", true), Err(Unbalanced(5)));
        assert_eq!(split("echo {{ a", true), Err(Unbalanced(5)));
    }
}
