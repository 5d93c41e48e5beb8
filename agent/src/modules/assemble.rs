//! `assemble`: one file from the fragments in a folder of the host.
//!
//! Owns: which fragments, in which order, and what stands between them. Must not: write (see `edit`).

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::edit::{self, Before, Edit, How};
use super::pattern::{Flags, Pattern};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::files::{checksum, info};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("src").required(),
    Opt::path("dest").required(),
    Opt::bool("backup"),
    Opt::str("delimiter"),
    Opt::str("regexp"),
    Opt::bool("remote_src").ignored("fragments of the controller are assembled there"),
    Opt::bool("ignore_hidden"),
    Opt::bool("decrypt").ignored("vault files are opened on the controller"),
    Opt::str("validate"),
];

/// See the module's documentation.
pub struct Assemble;

/// Arguments of `assemble`.
#[derive(Debug, Deserialize)]
pub struct Args {
    src: String,
    dest: String,
    #[serde(default)]
    backup: bool,
    delimiter: Option<String>,
    regexp: Option<String>,
    #[serde(default)]
    ignore_hidden: bool,
    validate: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

impl Args {
    fn how(&self) -> How<'_> {
        How { attributes: &self.attributes, validate: self.validate.as_deref(), backup: self.backup }
    }
}

impl Module for Assemble {
    const SPEC: Spec = Spec { options: &[OPTIONS, attributes::OPTIONS], ..Spec::new("assemble") };
    type Args = Args;
    type Change = Edit;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Edit>, Fault> {
        let source = Path::new(&args.src);
        if !source.exists() {
            return Err(Fault::new(format!("Source ({}) does not exist", args.src)));
        }
        if !source.is_dir() {
            return Err(Fault::new(format!("Source ({}) is not a directory", args.src)));
        }
        let content = assembled(args, source)?;
        let before: Before = edit::read(&args.dest, true)?;
        let real = before.path.clone();
        let values = Outcome::same()
            .with("src", args.src.clone())
            .with("dest", args.dest.clone())
            .with("checksum", checksum::sha1(&content))
            .with("md5sum", checksum::md5(&content));
        let found = edit::inspect(before, Some(content), "OK", values, &args.how(), host)?;
        Ok(match found {
            Inspection::Same(mut outcome) => {
                outcome.values.extend(info::path_info(&real));
                Inspection::Same(outcome.with("msg", "OK"))
            }
            differs => differs,
        })
    }

    fn apply(args: &Args, edit: Edit, host: &Host<'_>) -> Result<Outcome, Fault> {
        let backup = edit::apply(&edit, &args.how(), host)?;
        let mut outcome = edit.predicted;
        outcome.values.extend(info::path_info(&crate::files::real_path(Path::new(&args.dest))));
        Ok(match backup {
            Some(backup) => outcome.with("backup_file", backup),
            None => outcome,
        })
    }
}

fn assembled(args: &Args, source: &Path) -> Result<Vec<u8>, Fault> {
    let fault = |e| Fault::io("read", source, &e);
    let wanted = args.regexp.as_deref().map(|p| Pattern::new(p, Flags::default())).transpose()?;
    let mut names = Vec::new();
    for entry in fs::read_dir(source).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name().to_string_lossy().into_owned();
        let hidden = args.ignore_hidden && name.starts_with('.');
        if !hidden
            && wanted.as_ref().is_none_or(|w| w.is_match(name.as_bytes()))
            && source.join(&name).is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    let delimiter = args.delimiter.as_deref().map(unescaped);
    let mut content: Vec<u8> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let path = source.join(name);
        let fragment = fs::read(&path).map_err(|e| Fault::io("read", &path, &e))?;
        if at > 0 {
            if !content.ends_with(b"\n") {
                content.push(b'\n');
            }
            if let Some(delimiter) = delimiter.as_deref().filter(|d| !d.is_empty()) {
                content.extend_from_slice(delimiter.as_bytes());
                if !delimiter.ends_with('\n') {
                    content.push(b'\n');
                }
            }
        }
        content.extend_from_slice(&fragment);
    }
    Ok(content)
}

/// `\n` and `\t` written out mean the characters.
fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{changes_once, run, temp_dir};

    #[test]
    fn fragments_are_joined_in_order() {
        let dir = temp_dir();
        std::fs::create_dir(dir.path().join("d")).expect("creates");
        for (name, text) in [("b.x", "b"), ("a.x", "a\n"), (".c.x", "c"), ("n", "no")] {
            std::fs::write(dir.path().join("d").join(name), text).expect("writes");
        }
        let out = dir.at("out");
        let args = json!({"src": dir.at("d"), "dest": out, "regexp": "x$", "ignore_hidden": true, "delimiter": "# --"});
        changes_once("assemble", &args, || !dir.path().join("out").exists());
        assert_eq!(std::fs::read_to_string(&out).expect("there"), "a\n# --\nb");
        let missing = run("assemble", json!({"src": "/no/such", "dest": out}), false);
        assert_eq!(missing["msg"], "Source (/no/such) does not exist");
    }
}
