//! The controller's half of `--diff`.
//!
//! Owns: when a text is too large or too strange to be shown. Must not: render a diff (the report does).

use serde_json::{Map, Value as Json, json};

use super::transfer::Sending;
use crate::connection::Content;

/// Larger contents are not shown; Ansible's limit.
const SHOWN: u64 = 104_448;

/// Names the local file in the entries of `diff`, and adds what the host could not know.
pub(super) fn complete(result: &mut Map<String, Json>, sending: &Sending) {
    let Some(Json::Array(entries)) = result.get_mut("diff") else { return };
    for entry in entries {
        let Json::Object(entry) = entry else { continue };
        // Attributes of a file are compared as mappings; those are complete.
        if !entry.contains_key("before_header") || entry.get("before").is_some_and(Json::is_object) {
            continue;
        }
        if !entry.contains_key("after")
            && !entry.contains_key("src_binary")
            && !entry.contains_key("src_larger")
        {
            match shown(sending) {
                Shown::Text(text) => entry.insert("after".into(), text.into()),
                Shown::Binary => entry.insert("src_binary".into(), json!(1)),
                Shown::TooLarge => entry.insert("src_larger".into(), json!(SHOWN)),
            };
        }
        entry.insert("after_header".into(), sending.shown_source.clone().into());
    }
}

enum Shown {
    Text(String),
    Binary,
    TooLarge,
}

fn shown(sending: &Sending) -> Shown {
    if sending.payload.size > SHOWN {
        return Shown::TooLarge;
    }
    let Content::Bytes(bytes) = &sending.payload.content else { return Shown::TooLarge };
    if bytes.contains(&0) {
        return Shown::Binary;
    }
    Shown::Text(String::from_utf8_lossy(bytes).into_owned())
}
