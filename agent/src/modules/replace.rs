//! `replace`: every match of a pattern becomes something else.
//!
//! Owns: the section between `after` and `before`, and the replacement. Must not: write (see `edit`).

use serde::Deserialize;

use super::edit::{self, Edit, How};
use super::pattern::{Flags, Pattern};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("path").aliases(&["dest", "destfile", "name"]).required(),
    Opt::str("regexp").required(),
    Opt::str("replace"),
    Opt::str("after"),
    Opt::str("before"),
    Opt::bool("backup"),
    Opt::str("validate"),
    Opt::str("encoding"),
];

/// See the module's documentation.
pub struct Replace;

/// Arguments of `replace`.
#[derive(Debug, Deserialize)]
pub struct Args {
    path: String,
    regexp: String,
    #[serde(default)]
    replace: String,
    after: Option<String>,
    before: Option<String>,
    #[serde(default)]
    backup: bool,
    validate: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

impl Args {
    fn how(&self) -> How<'_> {
        How { attributes: &self.attributes, validate: self.validate.as_deref(), backup: self.backup }
    }
}

impl Module for Replace {
    const SPEC: Spec = Spec { options: &[OPTIONS, attributes::OPTIONS], ..Spec::new("replace") };
    type Args = Args;
    type Change = Edit;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Edit>, Fault> {
        let before = edit::read(&args.path, false)?;
        let old = before.content.clone().unwrap_or_default();
        let section = match (&args.after, &args.before) {
            (None, None) => None,
            (Some(after), Some(before)) => Some(format!("{after}(?P<subsection>.*?){before}")),
            (Some(after), None) => Some(format!("{after}(?P<subsection>.*)")),
            (None, Some(before)) => Some(format!("(?P<subsection>.*){before}")),
        };
        let (start, end) = match section {
            None => (0, old.len()),
            Some(pattern) => match section_of(&pattern, &old)? {
                Some(found) => (found.start, found.end),
                None => {
                    let msg =
                        format!("Pattern for before/after params did not match the given file: {pattern}");
                    return Ok(Inspection::Same(Outcome::same().with("msg", msg).with("rc", 0)));
                }
            },
        };
        let regex = Pattern::new(&args.regexp, Flags { multi_line: true, dot_all: false })?;
        let mut count = 0;
        let mut new = old[..start].to_vec();
        let mut done = start;
        for found in regex.all(&old[start..end])? {
            let whole = found.whole();
            count += 1;
            new.extend_from_slice(&old[done..start + whole.start]);
            new.extend_from_slice(&found.expand(&args.replace, &old[start..end]));
            done = start + whole.end;
        }
        new.extend_from_slice(&old[done..]);
        let msg = format!("{count} replacements made");
        edit::inspect(before, Some(new), &msg, Outcome::same().with("rc", 0), &args.how(), host)
    }

    fn apply(args: &Args, edit: Edit, host: &Host<'_>) -> Result<Outcome, Fault> {
        let backup = edit::apply(&edit, &args.how(), host)?;
        Ok(match backup {
            Some(backup) => edit.predicted.with("backup_file", backup),
            None => edit.predicted,
        })
    }
}

fn section_of(pattern: &str, text: &[u8]) -> Result<Option<std::ops::Range<usize>>, Fault> {
    let found = Pattern::new(pattern, Flags { multi_line: false, dot_all: true })?.first(text)?;
    Ok(found.and_then(|groups| groups.group("subsection")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{changes_once, run, temp_dir};

    #[test]
    fn matches_are_replaced_between_the_marks() {
        let dir = temp_dir();
        let path = dir.at("f");
        for (args, new, msg) in [
            (json!({"regexp": "^x(.)$", "replace": "y\\1"}), "y1\n[s]\ny2\n[t]\ny3\n", "3 replacements made"),
            (
                json!({"regexp": "^x", "after": "\\[s\\]", "before": "\\[t\\]"}),
                "x1\n[s]\n2\n[t]\nx3\n",
                "1 replacements made",
            ),
            (
                json!({"regexp": "x", "replace": "z", "after": "\\[t\\]"}),
                "x1\n[s]\nx2\n[t]\nz3\n",
                "1 replacements made",
            ),
        ] {
            let old = "x1\n[s]\nx2\n[t]\nx3\n";
            std::fs::write(&path, old).expect("writes");
            let mut args = args;
            args["path"] = path.clone().into();
            let result =
                changes_once("replace", &args, || std::fs::read_to_string(&path).is_ok_and(|now| now == old));
            assert_eq!(
                (std::fs::read_to_string(&path).expect("reads").as_str(), &result["msg"]),
                (new, &json!(msg))
            );
        }
        let result = run("replace", json!({"path": path, "regexp": "x", "after": "nope"}), false);
        assert_eq!(result["changed"], false);
        assert!(result["msg"].as_str().is_some_and(|m| m.starts_with("Pattern for before/after")));
    }
}
