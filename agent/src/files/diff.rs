//! The `diff` values of results.
//!
//! Owns: when contents are shown and when only their size is. Must not: compute differences (the controller does).

use serde_json::{Value, json};

/// Contents above this many bytes are not shown; Ansible's limit.
const LARGEST: usize = 104_448;

/// Before and after of a text file. Binary and very large contents are told, not shown.
#[must_use]
pub fn text(path: &str, before: &[u8], after: &[u8]) -> Value {
    titled(&format!("{path} (content)"), &format!("{path} (content)"), before, after)
}

/// Like [`text`] with own headers.
#[must_use]
pub fn titled(before_header: &str, after_header: &str, before: &[u8], after: &[u8]) -> Value {
    let mut entry = json!({ "before_header": before_header, "after_header": after_header });
    for (side, short, bytes) in [("before", "dst", before), ("after", "src", after)] {
        match std::str::from_utf8(bytes) {
            _ if bytes.len() > LARGEST => entry[format!("{short}_larger")] = LARGEST.into(),
            Ok(text) if !bytes.contains(&0) => entry[side] = text.into(),
            _ => entry[format!("{short}_binary")] = 1.into(),
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_reasonable_size_is_shown() {
        let entry = text("/f", b"a\n", b"b\0");
        assert_eq!(
            entry,
            json!({"before_header": "/f (content)", "after_header": "/f (content)", "before": "a\n", "src_binary": 1})
        );
        assert_eq!(text("/f", &vec![b'x'; LARGEST + 1], b"")["dst_larger"], LARGEST);
    }
}
