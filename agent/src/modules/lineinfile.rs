//! `lineinfile`: one line is in a file, or isn't.
//!
//! Owns: finding the place. Must not: write (see `edit`).

use serde::Deserialize;

use super::edit::{self, Edit, How};
use super::pattern::{Flags, Pattern};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("path").aliases(&["dest", "destfile", "name"]).required(),
    Opt::str("state").choices(&["absent", "present"]),
    Opt::str("regexp").aliases(&["regex"]),
    Opt::str("search_string"),
    Opt::str("line").aliases(&["value"]),
    Opt::bool("backrefs"),
    Opt::str("insertafter"),
    Opt::str("insertbefore"),
    Opt::bool("create"),
    Opt::bool("backup"),
    Opt::bool("firstmatch"),
    Opt::str("encoding"),
    Opt::str("validate"),
];

/// See the module's documentation.
pub struct LineInFile;

/// Arguments of `lineinfile`.
#[derive(Debug, Deserialize)]
pub struct Args {
    path: String,
    state: Option<String>,
    regexp: Option<String>,
    search_string: Option<String>,
    line: Option<String>,
    #[serde(default)]
    backrefs: bool,
    insertafter: Option<String>,
    insertbefore: Option<String>,
    #[serde(default)]
    create: bool,
    #[serde(default)]
    backup: bool,
    #[serde(default)]
    firstmatch: bool,
    encoding: Option<String>,
    validate: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

impl Args {
    fn how(&self) -> How<'_> {
        How { attributes: &self.attributes, validate: self.validate.as_deref(), backup: self.backup }
    }
}

impl Module for LineInFile {
    const SPEC: Spec = Spec {
        options: &[OPTIONS, attributes::OPTIONS],
        mutually_exclusive: &[
            &["insertbefore", "insertafter"],
            &["regexp", "search_string"],
            &["backrefs", "search_string"],
        ],
        ..Spec::new("lineinfile")
    };
    type Args = Args;
    type Change = Edit;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Edit>, Fault> {
        if let Some(encoding) =
            args.encoding.as_deref().filter(|e| !["utf-8", "utf8"].contains(&e.to_lowercase().as_str()))
        {
            return Err(Fault::new(format!("`lineinfile` knows no encoding but utf-8, not `{encoding}`")));
        }
        if args.state.as_deref() == Some("absent") {
            return absent(args, host);
        }
        if args.backrefs && args.regexp.is_none() {
            return Err(Fault::new("regexp is required with backrefs=true"));
        }
        let Some(line) = &args.line else { return Err(Fault::new("line is required with state=present")) };
        let before = edit::read(&args.path, args.create)?;
        let old = before.content.clone().unwrap_or_default();
        let (after, msg) = present(args, line, &old)?;
        let after = after.or_else(|| before.content.is_none().then(Vec::new));
        edit::inspect(before, after, msg, Outcome::same().with("backup", ""), &args.how(), host)
    }

    fn apply(args: &Args, edit: Edit, host: &Host<'_>) -> Result<Outcome, Fault> {
        let backup = edit::apply(&edit, &args.how(), host)?;
        Ok(edit.predicted.with("backup", backup.unwrap_or_default()))
    }
}

fn regex(pattern: &str) -> Result<Pattern, Fault> {
    Pattern::new(pattern, Flags::default())
}

fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|b| *b == b'\n').collect()
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Which lines the user means.
enum Finder<'a> {
    Regex(Pattern),
    Text(&'a [u8]),
    Nothing,
}

impl<'a> Finder<'a> {
    fn new(args: &'a Args) -> Result<Self, Fault> {
        Ok(match (&args.regexp, &args.search_string) {
            (Some(pattern), _) => Self::Regex(regex(pattern)?),
            (None, Some(text)) => Self::Text(text.as_bytes()),
            (None, None) => Self::Nothing,
        })
    }

    fn finds(&self, line: &[u8]) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(without_end(line)),
            Self::Text(text) => text.is_empty() || line.windows(text.len()).any(|w| w == *text),
            Self::Nothing => false,
        }
    }
}

/// The new content, if it differs, and what is said about it.
fn present(args: &Args, line: &str, old: &[u8]) -> Result<(Option<Vec<u8>>, &'static str), Fault> {
    let finder = Finder::new(args)?;
    let all = lines(old);
    let place = |text: &Option<String>| match text.as_deref() {
        None | Some("EOF" | "BOF") => Ok(None),
        Some(pattern) => regex(pattern).map(Some),
    };
    let (after, before) = (place(&args.insertafter)?, place(&args.insertbefore)?);
    let mut found = None;
    let mut exact = None;
    let mut anchor = None;
    for (at, text) in all.iter().enumerate() {
        if finder.finds(text) {
            found = Some(at);
            if args.firstmatch {
                break;
            }
        }
        if without_end(text) == line.as_bytes() {
            exact = Some(at);
        }
        let hit = |place: &Option<Pattern>| place.as_ref().is_some_and(|r| r.is_match(without_end(text)));
        // The first anchor counts with `firstmatch`, else the last.
        if (anchor.is_none() || !args.firstmatch) && (hit(&after) || hit(&before)) {
            anchor = Some(at + usize::from(after.is_some()));
        }
    }
    let mut new: Vec<Vec<u8>> = all.iter().map(|l| l.to_vec()).collect();
    let mut ended = line.as_bytes().to_vec();
    if !ended.ends_with(b"\n") {
        ended.push(b'\n');
    }
    if let Some(at) = found {
        let mut wanted = ended;
        if args.backrefs
            && let Finder::Regex(regex) = &finder
            && let Some(groups) = regex.first(without_end(all[at]))?
        {
            wanted = groups.expand(line, without_end(all[at]));
            if !wanted.ends_with(b"\n") {
                wanted.push(b'\n');
            }
        }
        // A last line without an end stays the same line.
        if all[at] == wanted || without_end(all[at]) == without_end(&wanted) {
            return Ok((None, ""));
        }
        new[at] = wanted;
        return Ok((Some(new.concat()), "line replaced"));
    }
    if args.backrefs {
        return Ok((None, ""));
    }
    if exact.is_some() {
        return Ok((None, ""));
    }
    let at = match (&args.insertafter, &args.insertbefore, anchor) {
        (_, Some(before), _) if before == "BOF" => 0,
        (Some(after), _, _) if after == "BOF" => 0,
        (_, _, Some(at)) => at,
        _ => new.len(),
    };
    if at > 0
        && let Some(above) = new.get_mut(at - 1)
        && !above.ends_with(b"\n")
    {
        above.push(b'\n');
    }
    new.insert(at, ended);
    Ok((Some(new.concat()), "line added"))
}

fn absent(args: &Args, host: &Host<'_>) -> Result<Inspection<Edit>, Fault> {
    if args.regexp.is_none() && args.search_string.is_none() && args.line.is_none() {
        return Err(Fault::new("one of line, search_string, or regexp is required with state=absent"));
    }
    let before = match edit::read(&args.path, true)? {
        before if before.content.is_none() => {
            return Ok(Inspection::Same(Outcome::same().with("msg", "file not present")));
        }
        before => before,
    };
    let finder = Finder::new(args)?;
    let old = before.content.clone().unwrap_or_default();
    let mut found = 0;
    let mut kept = Vec::with_capacity(old.len());
    for text in lines(&old) {
        let goes = match finder {
            Finder::Nothing => args.line.as_ref().is_some_and(|line| without_end(text) == line.as_bytes()),
            _ => finder.finds(text),
        };
        if goes {
            found += 1;
        } else {
            kept.extend_from_slice(text);
        }
    }
    let msg = format!("{found} line(s) removed");
    let values = Outcome::same().with("found", found).with("backup", "");
    edit::inspect(before, Some(kept), &msg, values, &args.how(), host)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{changes_once, run, temp_dir};

    /// Edits `old` and gives the new content; asserts the rules of every module.
    fn edited(old: &str, mut args: Value) -> String {
        let dir = temp_dir();
        let path = dir.at("f");
        std::fs::write(&path, old).expect("writes");
        args["path"] = path.clone().into();
        changes_once("lineinfile", &args, || std::fs::read_to_string(&path).is_ok_and(|now| now == old));
        std::fs::read_to_string(&path).expect("reads")
    }

    #[test]
    fn lines_find_their_place() {
        for (old, args, new) in [
            ("a\nb\n", json!({"line": "c"}), "a\nb\nc\n"),
            ("a\nb", json!({"line": "c"}), "a\nb\nc\n"),
            ("a=1\nb\na=2\n", json!({"regexp": "^a=", "line": "a=3"}), "a=1\nb\na=3\n"),
            ("a=1\nb\na=2\n", json!({"regexp": "^a=", "line": "a=3", "firstmatch": true}), "a=3\nb\na=2\n"),
            ("a\nb\n", json!({"line": "x", "insertbefore": "^b"}), "a\nx\nb\n"),
            ("a\nb\nc\n", json!({"line": "x", "insertafter": "^a"}), "a\nx\nb\nc\n"),
            ("a\n", json!({"line": "x", "insertbefore": "BOF"}), "x\na\n"),
            ("a\n", json!({"line": "x", "insertafter": "nope"}), "a\nx\n"),
            (
                "k = 1\n",
                json!({"regexp": "^(k) = (.*)$", "line": "\\1: \\g<2>0", "backrefs": true}),
                "k: 10\n",
            ),
            ("a b\nc\n", json!({"search_string": "a ", "line": "z"}), "z\nc\n"),
            ("a\nb\na\n", json!({"line": "a", "state": "absent"}), "b\n"),
            ("a\nb\n", json!({"regexp": "^b", "state": "absent"}), "a\n"),
            ("#k=1\nk=2\n", json!({"regexp": "^(?!#)k=", "line": "k=3"}), "#k=1\nk=3\n"),
        ] {
            if args.get("backrefs").is_some() {
                // Its replacement doesn't match again, which is the user's own rule.
                assert_eq!(edited(old, args), new);
            } else {
                assert_eq!(edited(old, args.clone()), new, "{args}");
            }
        }
    }

    #[test]
    fn files_are_created_only_when_told_and_messages_are_ansibles() {
        let dir = temp_dir();
        let path = dir.at("new/f");
        let result = run("lineinfile", json!({"path": path, "line": "x"}), false);
        assert_eq!(
            (&result["msg"], &result["rc"]),
            (&json!(format!("Path {path} does not exist !")), &json!(257))
        );
        let args = json!({"path": path, "line": "x", "create": true, "mode": "0600"});
        let result = changes_once("lineinfile", &args, || !std::path::Path::new(&path).exists());
        assert_eq!((&result["msg"], &result["diff"][0]["after"]), (&json!("line added"), &json!("x\n")));
        let result =
            run("lineinfile", json!({"path": path, "state": "absent", "regexp": "x", "backup": true}), false);
        assert_eq!((&result["found"], &result["msg"]), (&json!(1), &json!("1 line(s) removed")));
        assert!(result["backup"].as_str().is_some_and(|b| b.starts_with(&path)));
        let result =
            run("lineinfile", json!({"path": dir.at("no"), "state": "absent", "regexp": "x"}), false);
        assert_eq!((&result["changed"], &result["msg"]), (&json!(false), &json!("file not present")));
    }
}
