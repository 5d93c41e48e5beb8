//! The `diff` values of results.
//!
//! Owns: when contents are shown and when only their size is. Must not: compute differences (the controller does).

use std::io::Read as _;
use std::path::Path;

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

/// As much of a file as a diff needs; nothing for one that can't be read.
#[must_use]
pub fn contents(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // What can't be read can't be shown; the module that writes will say why.
        let _ = file.take(LARGEST as u64 + 1).read_to_end(&mut bytes);
    }
    bytes
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
