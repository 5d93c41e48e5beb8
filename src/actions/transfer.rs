//! Putting bytes of the controller into a file of the host: the shared half of `copy`, `template` and `assemble`.
//!
//! Owns: the controller's side of the agent's `copy`. The first call names the checksum; the agent answers
//! `_need_upload: true` when the host's file differs, and the call is repeated with the content as `src`. Small contents go
//! along with the first call, which saves the second. Must not: find or render files.

use serde_json::{Map, Value as Json};

use super::local_files::Payload;
use super::results::{checked, flag};
use super::{Context, Done, Stop, differences};

/// Contents up to this size are sent without asking first.
const SMALL: u64 = 32 << 10;

/// One file on its way.
pub(super) struct Sending {
    pub(super) payload: Payload,
    /// The name that a `dest` which is a folder gets.
    pub(super) basename: Option<String>,
    /// The source as people know it, for `src` in the result and for the diff's header.
    pub(super) shown_source: String,
}

/// Sends a file with the options of the agent's `copy` that are in `args` (`dest`, `mode`, `owner`, `validate`, ...).
pub(super) async fn send(
    context: &Context<'_>,
    mut args: Map<String, Json>,
    sending: &Sending,
) -> Result<Done, Stop> {
    for own in ["src", "content", "decrypt", "local_follow", "directory_mode", "remote_src"] {
        args.remove(own);
    }
    args.insert("checksum".into(), sending.payload.checksum.clone().into());
    if let Some(name) = &sending.basename {
        args.insert("_original_basename".into(), name.clone().into());
    }
    let upload = || vec![("src".to_owned(), sending.payload.content.clone())];
    let small = sending.payload.size <= SMALL;
    let mut result =
        context.remote.module("copy", args.clone(), if small { upload() } else { Vec::new() }).await?;
    if flag(&result, "_need_upload") {
        result = context.remote.module("copy", args, upload()).await?;
    }
    result.entry("checksum").or_insert_with(|| sending.payload.checksum.clone().into());
    let mut result = checked(result)?;
    result.remove("_need_upload");
    if context.diff {
        differences::complete(&mut result, sending);
    }
    if flag(&result, "changed") {
        result.insert("src".into(), sending.shown_source.clone().into());
    }
    Ok(Done { result, effects: Vec::new() })
}
