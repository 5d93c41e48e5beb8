//! `tempfile`: makes a temporary file or folder.
//!
//! Owns: the name. Must not: remove it again.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use serde::Deserialize;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::info;
use crate::options::{CheckSupport, Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::str("state").choices(&["file", "directory"]),
    Opt::path("path"),
    Opt::str("prefix"),
    Opt::str("suffix"),
];

/// See the module's documentation.
pub struct Tempfile;

/// Arguments of `tempfile`.
#[derive(Debug, Deserialize)]
pub struct Args {
    state: Option<String>,
    path: Option<String>,
    prefix: Option<String>,
    #[serde(default)]
    suffix: String,
}

impl Module for Tempfile {
    const SPEC: Spec = Spec { options: &[OPTIONS], check: CheckSupport::None, ..Spec::new("tempfile") };
    type Args = Args;
    type Change = ();

    fn inspect(_: &Args, _: &Host<'_>) -> Result<Inspection<()>, Fault> {
        Ok(Inspection::Differs { change: (), predicted: Outcome::same() })
    }

    fn apply(args: &Args, (): (), host: &Host<'_>) -> Result<Outcome, Fault> {
        let from_task = host.environment.iter().rev().find(|(k, _)| k == "TMPDIR").map(|(_, v)| v.clone());
        let folder = args.path.clone().or(from_task).map_or_else(std::env::temp_dir, PathBuf::from);
        let prefix = args.prefix.as_deref().unwrap_or("ansible.");
        loop {
            let path = folder.join(format!("{prefix}{}{}", letters(), args.suffix));
            let made = match args.state.as_deref() {
                Some("directory") => fs::DirBuilder::new().mode(0o700).create(&path),
                _ => fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map(|_| ()),
            };
            match made {
                Ok(()) => {
                    let values = info::path_info(&path);
                    let outcome = Outcome { changed: true, values, ..Outcome::default() };
                    return Ok(outcome.with("path", path.display().to_string()));
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Fault::io("create", &path, &e)),
            }
        }
    }
}

/// Eight letters that nobody can guess: the standard hasher is seeded by the system.
pub(super) fn letters() -> String {
    let mut bits = std::hash::RandomState::new().build_hasher().finish();
    let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789_";
    std::iter::repeat_with(|| {
        let at = (bits % alphabet.len() as u64) as usize;
        bits /= alphabet.len() as u64;
        char::from(alphabet[at])
    })
    .take(8)
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{run, temp_dir};

    #[test]
    fn each_call_makes_another() {
        let dir = temp_dir();
        let args = json!({"path": dir.path(), "suffix": ".x", "state": "directory"});
        assert_eq!(run("tempfile", args.clone(), true)["skipped"], true);
        let (one, two) = (run("tempfile", args.clone(), false), run("tempfile", args, false));
        assert_ne!(one["path"], two["path"]);
        assert_eq!(
            (&one["mode"], &one["state"], &one["changed"]),
            (&json!("0700"), &json!("directory"), &json!(true))
        );
        assert!(one["path"].as_str().is_some_and(|p| p.contains("/ansible.") && p.ends_with(".x")));
        assert_eq!(run("tempfile", json!({"path": dir.path()}), false)["mode"], "0600");
    }
}
