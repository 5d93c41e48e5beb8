//! `slurp` and `fetch`: bring a file to the controller.
//!
//! Owns: both modules' host half. Must not: hold more of a fetched file than one piece.
//!
//! `fetch` is called by the controller's action with `offset` until `eof`; each call gives one piece in the result's
//! blob and the first one also the checksum.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::checksum;
use crate::options::{Opt, Spec};
use crate::protocol::{MAX_BLOB, MAX_JSON};

/// Reads a file into the result.
pub struct Slurp;
/// Reads one piece of a file into the blob.
pub struct Fetch;

/// Arguments of `slurp`.
#[derive(Debug, Deserialize)]
pub struct SlurpArgs {
    src: String,
}

/// Arguments of the host half of `fetch`.
#[derive(Debug, Deserialize)]
pub struct FetchArgs {
    src: String,
    #[serde(default)]
    offset: u64,
    limit: Option<u64>,
}

fn open(src: &str) -> Result<(File, u64), Fault> {
    let path = Path::new(src);
    let fault = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Fault::new(format!("file not found: {src}")),
        std::io::ErrorKind::PermissionDenied => Fault::new(format!("file is not readable: {src}")),
        _ => Fault::io("read", path, &e),
    };
    let file = File::open(path).map_err(fault)?;
    let meta = file.metadata().map_err(fault)?;
    if meta.is_dir() {
        return Err(
            Fault::new(format!("source is a directory and must be a file: {src}")).with("is_directory", true)
        );
    }
    Ok((file, meta.len()))
}

impl Module for Slurp {
    const SPEC: Spec =
        Spec { options: &[&[Opt::path("src").aliases(&["path"]).required()]], ..Spec::new("slurp") };
    type Args = SlurpArgs;
    type Change = ();

    fn inspect(args: &SlurpArgs, _: &Host<'_>) -> Result<Inspection<()>, Fault> {
        let (file, _) = open(&args.src)?;
        let most = u64::from(MAX_JSON) / 2;
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(|e| Fault::io("read", &args.src, &e))?;
        if bytes.len() as u64 > most {
            return Err(Fault::new(format!("`{}` is too large for `slurp`, use `fetch`", args.src)));
        }
        Ok(Inspection::Same(
            Outcome::same()
                .with("content", base64::engine::general_purpose::STANDARD.encode(bytes))
                .with("encoding", "base64")
                .with("source", args.src.clone()),
        ))
    }

    fn apply(_: &SlurpArgs, (): (), _: &Host<'_>) -> Result<Outcome, Fault> {
        Ok(Outcome::same())
    }
}

impl Module for Fetch {
    const SPEC: Spec = Spec {
        options: &[&[Opt::path("src").required(), Opt::int("offset"), Opt::int("limit")]],
        ..Spec::new("fetch")
    };
    type Args = FetchArgs;
    type Change = ();

    fn inspect(args: &FetchArgs, _: &Host<'_>) -> Result<Inspection<()>, Fault> {
        let (mut file, size) = open(&args.src)?;
        let fault = |e: std::io::Error| Fault::io("read", &args.src, &e);
        let mut outcome = Outcome::same().with("src", args.src.clone()).with("size", size);
        if args.offset == 0 {
            let digest = checksum::algorithm("sha1").ok_or_else(|| Fault::new("no sha1"))?;
            outcome = outcome.with("checksum", checksum::of_reader(digest, &mut file).map_err(fault)?);
        }
        file.seek(SeekFrom::Start(args.offset)).map_err(fault)?;
        let limit = args.limit.unwrap_or(u64::from(MAX_BLOB)).clamp(1, u64::from(MAX_BLOB));
        file.take(limit).read_to_end(&mut outcome.blob).map_err(fault)?;
        let eof = (outcome.blob.len() as u64) < limit || args.offset + limit >= size;
        Ok(Inspection::Same(outcome.with("eof", eof)))
    }

    fn apply(_: &FetchArgs, (): (), _: &Host<'_>) -> Result<Outcome, Fault> {
        Ok(Outcome::same())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::modules::Host;
    use crate::runner::Local;
    use crate::testing::{run, temp_dir};

    #[test]
    fn slurp_encodes_and_fetch_comes_in_pieces() {
        let dir = temp_dir();
        std::fs::write(dir.path().join("f"), "hello\n").expect("writes");
        assert_eq!(run("slurp", json!({"src": dir.at("f")}), true)["content"], "aGVsbG8K");
        assert_eq!(run("slurp", json!({"src": "/no"}), false)["msg"], "file not found: /no");
        assert_eq!(run("fetch", json!({"src": "/etc"}), false)["is_directory"], true);
        let runner = Local::new();
        let host = Host { check: false, diff: false, environment: &[], runner: &runner };
        for (offset, piece, eof) in [(0, "hell", false), (4, "o\n", true)] {
            let Value::Object(args) = json!({"src": dir.at("f"), "offset": offset, "limit": 4}) else {
                unreachable!()
            };
            let (result, blob) = crate::modules::run("fetch", args, &host).expect("known");
            assert_eq!((blob.as_slice(), &result["eof"]), (piece.as_bytes(), &json!(eof)));
            assert_eq!(result.contains_key("checksum"), offset == 0);
        }
    }
}
