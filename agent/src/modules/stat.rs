//! `stat`: facts of one file.
//!
//! Owns: the return values. Must not: change anything, not even access times it could avoid.

use std::fs;
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Command, Fault, Host, Inspection, Module, Outcome};
use crate::files::{checksum, info};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("path").aliases(&["dest", "name"]).required(),
    Opt::bool("follow"),
    Opt::bool("get_checksum"),
    Opt::bool("get_md5").ignored("Ansible removed it"),
    Opt::bool("get_mime").aliases(&["mime", "mime_type", "mime-type"]),
    Opt::bool("get_attributes").aliases(&["attr", "attributes"]),
    Opt::bool("get_selinux_context"),
    Opt::str("checksum_algorithm")
        .aliases(&["checksum", "checksum_algo"])
        .choices(&["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]),
];

/// See the module's documentation.
pub struct Stat;

/// Arguments of `stat`.
#[derive(Debug, Deserialize)]
pub struct Args {
    path: String,
    #[serde(default)]
    follow: bool,
    get_checksum: Option<bool>,
    get_mime: Option<bool>,
    get_attributes: Option<bool>,
    #[serde(default)]
    get_selinux_context: bool,
    checksum_algorithm: Option<String>,
}

impl Module for Stat {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("stat") };
    type Args = Args;
    type Change = ();

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<()>, Fault> {
        let path = Path::new(&args.path);
        let meta = if args.follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let meta = match meta {
            Ok(meta) => meta,
            Err(e) if matches!(e.raw_os_error(), Some(2 | 20)) => {
                return Ok(Inspection::Same(Outcome::same().with("stat", json!({ "exists": false }))));
            }
            Err(e) => return Err(Fault::io("look at", path, &e)),
        };
        let mut stat = info::stat_keys(path, &meta);
        let mut put = |name: &str, value: Value| {
            stat.insert(name.to_owned(), value);
        };
        put("exists", true.into());
        if meta.is_symlink() {
            if let Ok(target) = fs::read_link(path) {
                put("lnk_target", target.display().to_string().into());
            }
            let source = crate::files::real_path(path);
            put("lnk_source", source.display().to_string().into());
        }
        for (name, flag) in [
            ("readable", AccessFlags::R_OK),
            ("writeable", AccessFlags::W_OK),
            ("executable", AccessFlags::X_OK),
        ] {
            put(name, access(path, flag).is_ok().into());
        }
        if meta.is_file() && args.get_checksum.unwrap_or(true) {
            let algorithm = args.checksum_algorithm.as_deref().unwrap_or("sha1");
            // A file that can't be read has no checksum, as with Ansible.
            if let Ok(sum) = checksum::of_file(algorithm, path) {
                put("checksum", sum.into());
            }
        }
        if args.get_mime.unwrap_or(true) {
            let (mime, charset) = mime(path, host);
            put("mimetype", mime.into());
            put("charset", charset.into());
        }
        if args.get_attributes.unwrap_or(true)
            && let Some((version, letters)) = attributes(path, host)
        {
            put("version", version.into());
            put("attr_flags", letters.clone().into());
            let names: Vec<&str> = letters.chars().filter_map(attribute_name).collect();
            put("attributes", names.into());
        }
        if args.get_selinux_context
            && let Some(context) = crate::files::attributes::selinux::get(path)
        {
            put("selinux_context", context.split(':').map(str::to_owned).collect::<Vec<_>>().into());
        }
        Ok(Inspection::Same(Outcome::same().with("stat", stat)))
    }

    fn apply(_: &Args, (): (), _: &Host<'_>) -> Result<Outcome, Fault> {
        Ok(Outcome::same())
    }
}

/// `file` knows; where it isn't installed nobody does.
fn mime(path: &Path, host: &Host<'_>) -> (String, String) {
    let argv =
        ["file", "--mime-type", "--mime-encoding", &path.display().to_string()].map(str::to_owned).to_vec();
    let unknown = || ("unknown".to_owned(), "unknown".to_owned());
    let Ok(done) = host.runner.run(&Command { argv, ..Command::default() }) else { return unknown() };
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    match text.rsplit_once(": ").and_then(|(_, found)| found.split_once("; charset=")) {
        Some((mime, charset)) if done.rc == 0 => (mime.to_owned(), charset.to_owned()),
        _ => unknown(),
    }
}

fn attributes(path: &Path, host: &Host<'_>) -> Option<(String, String)> {
    let argv = ["lsattr", "-vd", &path.display().to_string()].map(str::to_owned).to_vec();
    let done = host.runner.run(&Command { argv, ..Command::default() }).ok().filter(|d| d.rc == 0)?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut fields = text.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.replace('-', "")))
}

fn attribute_name(letter: char) -> Option<&'static str> {
    Some(match letter {
        'A' => "noatime",
        'a' => "append",
        'c' => "compressed",
        'C' => "nocow",
        'd' => "nodump",
        'D' => "dirsync",
        'e' => "extents",
        'E' => "encrypted",
        'h' => "blocksize",
        'i' => "immutable",
        'I' => "indexed",
        'j' => "journalled",
        'N' => "inline",
        's' => "zero",
        'S' => "synchronous",
        't' => "notail",
        'T' => "blockroot",
        'u' => "undelete",
        'X' => "compressedraw",
        'Z' => "compresseddirty",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{run, temp_dir};

    #[test]
    fn files_links_and_nothing_are_described() {
        let dir = temp_dir();
        std::fs::write(dir.path().join("f"), "hello\n").expect("writes");
        std::os::unix::fs::symlink("f", dir.path().join("l")).expect("links");
        let stat =
            run("stat", json!({"path": dir.at("f"), "checksum_algorithm": "md5"}), false)["stat"].clone();
        assert_eq!((&stat["exists"], &stat["isreg"], &stat["size"]), (&json!(true), &json!(true), &json!(6)));
        assert_eq!(stat["checksum"], "b1946ac92492d2347c6235b4d2611184");
        let stat = run("stat", json!({"path": dir.at("l")}), true)["stat"].clone();
        assert_eq!((&stat["islnk"], &stat["lnk_target"]), (&json!(true), &json!("f")));
        assert_eq!(stat["lnk_source"], dir.at("f"));
        assert_eq!(run("stat", json!({"path": dir.at("l"), "follow": true}), false)["stat"]["islnk"], false);
        assert_eq!(run("stat", json!({"path": dir.at("no")}), false)["stat"], json!({"exists": false}));
    }
}
