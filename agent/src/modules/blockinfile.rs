//! `blockinfile`: some lines between two marker lines.
//!
//! Owns: finding the markers and the place. Must not: write (see `edit`).

use serde::Deserialize;

use super::edit::{self, Edit, How};
use super::pattern::{Flags, Pattern};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("path").aliases(&["dest", "destfile", "name"]).required(),
    Opt::str("state").choices(&["absent", "present"]),
    Opt::str("marker"),
    Opt::str("marker_begin"),
    Opt::str("marker_end"),
    Opt::str("block").aliases(&["content"]),
    Opt::str("insertafter"),
    Opt::str("insertbefore"),
    Opt::bool("create"),
    Opt::bool("backup"),
    Opt::bool("append_newline"),
    Opt::bool("prepend_newline"),
    Opt::str("validate"),
    Opt::str("encoding"),
];

/// See the module's documentation.
pub struct BlockInFile;

/// Arguments of `blockinfile`.
#[derive(Debug, Deserialize)]
pub struct Args {
    path: String,
    state: Option<String>,
    marker: Option<String>,
    marker_begin: Option<String>,
    marker_end: Option<String>,
    #[serde(default)]
    block: String,
    insertafter: Option<String>,
    insertbefore: Option<String>,
    #[serde(default)]
    create: bool,
    #[serde(default)]
    backup: bool,
    #[serde(default)]
    append_newline: bool,
    #[serde(default)]
    prepend_newline: bool,
    validate: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

impl Args {
    fn how(&self) -> How<'_> {
        How { attributes: &self.attributes, validate: self.validate.as_deref(), backup: self.backup }
    }

    fn mark(&self, word: Option<&str>, usual: &str) -> String {
        let marker = self.marker.as_deref().unwrap_or("# {mark} ANSIBLE MANAGED BLOCK");
        marker.replace("{mark}", word.unwrap_or(usual))
    }
}

impl Module for BlockInFile {
    const SPEC: Spec = Spec {
        options: &[OPTIONS, attributes::OPTIONS],
        mutually_exclusive: &[&["insertbefore", "insertafter"]],
        ..Spec::new("blockinfile")
    };
    type Args = Args;
    type Change = Edit;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Edit>, Fault> {
        let present = args.state.as_deref() != Some("absent");
        let before = edit::read(&args.path, args.create || !present)?;
        if !present && before.content.is_none() {
            let msg = format!("File {} not present", args.path);
            return Ok(Inspection::Same(Outcome::same().with("msg", msg)));
        }
        let old = before.content.clone().unwrap_or_default();
        let new = edited(args, present, &old)?;
        let msg = match (present, &before.content) {
            (false, _) => "Block removed",
            (true, Some(_)) if args.block.is_empty() => "Block removed",
            (true, None) => "File created",
            (true, _) => "Block inserted",
        };
        edit::inspect(before, Some(new), msg, Outcome::same(), &args.how(), host)
    }

    fn apply(args: &Args, edit: Edit, host: &Host<'_>) -> Result<Outcome, Fault> {
        let backup = edit::apply(&edit, &args.how(), host)?;
        Ok(match backup {
            Some(backup) => edit.predicted.with("backup_file", backup),
            None => edit.predicted,
        })
    }
}

/// The new content.
fn edited(args: &Args, present: bool, old: &[u8]) -> Result<Vec<u8>, Fault> {
    let (begin, end) =
        (args.mark(args.marker_begin.as_deref(), "BEGIN"), args.mark(args.marker_end.as_deref(), "END"));
    let mut lines: Vec<Vec<u8>> = old.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let text = |line: &[u8]| line.strip_suffix(b"\n").map_or(line.to_vec(), <[u8]>::to_vec);
    let mut block: Vec<Vec<u8>> = Vec::new();
    if present && !args.block.is_empty() {
        block.push(format!("{begin}\n").into_bytes());
        block.extend(args.block.trim_end_matches('\n').split('\n').map(|l| format!("{l}\n").into_bytes()));
        block.push(format!("{end}\n").into_bytes());
    }
    let mark = |wanted: &str| lines.iter().rposition(|line| text(line) == wanted.as_bytes());
    let (first, last) = (mark(&begin), mark(&end));
    let at = match (first, last) {
        (Some(first), Some(last)) => {
            let (from, to) = if first < last { (first, last) } else { (last, first) };
            lines.drain(from..=to);
            from
        }
        _ => place(args, &lines)?,
    };
    if !block.is_empty() {
        if at > 0
            && let Some(above) = lines.get_mut(at - 1)
            && !above.ends_with(b"\n")
        {
            above.push(b'\n');
        }
        if args.prepend_newline && at > 0 && lines.get(at - 1).is_some_and(|l| !text(l).is_empty()) {
            block.insert(0, b"\n".to_vec());
        }
        if args.append_newline && lines.get(at).is_some_and(|l| !text(l).is_empty()) {
            block.push(b"\n".to_vec());
        }
    }
    lines.splice(at..at, block);
    Ok(lines.concat())
}

fn place(args: &Args, lines: &[Vec<u8>]) -> Result<usize, Fault> {
    let last = |pattern: &str| -> Result<Option<usize>, Fault> {
        let regex = Pattern::new(pattern, Flags { multi_line: true, ..Flags::default() })?;
        Ok(lines.iter().rposition(|line| regex.is_match(line.strip_suffix(b"\n").unwrap_or(line))))
    };
    Ok(match (&args.insertbefore, &args.insertafter) {
        (Some(before), _) if before == "BOF" => 0,
        (Some(before), _) => last(before)?.unwrap_or(lines.len()),
        (None, Some(after)) if after != "EOF" => last(after)?.map_or(lines.len(), |at| at + 1),
        _ => lines.len(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{changes_once, run, temp_dir};

    fn edited(old: &str, mut args: Value) -> String {
        let dir = temp_dir();
        let path = dir.at("f");
        std::fs::write(&path, old).expect("writes");
        args["path"] = path.clone().into();
        args["marker"] = "#{mark}".into();
        changes_once("blockinfile", &args, || std::fs::read_to_string(&path).is_ok_and(|now| now == old));
        std::fs::read_to_string(&path).expect("reads")
    }

    #[test]
    fn blocks_find_their_place_and_are_replaced() {
        for (old, args, new) in [
            ("a", json!({"block": "x\ny\n"}), "a\n#BEGIN\nx\ny\n#END\n"),
            ("a\nb\n", json!({"block": "x", "insertbefore": "^b"}), "a\n#BEGIN\nx\n#END\nb\n"),
            ("a\nb\n", json!({"block": "x", "insertafter": "^a"}), "a\n#BEGIN\nx\n#END\nb\n"),
            ("a\n", json!({"block": "x", "insertbefore": "BOF"}), "#BEGIN\nx\n#END\na\n"),
            ("a\n#BEGIN\nold\n#END\nb\n", json!({"block": "new"}), "a\n#BEGIN\nnew\n#END\nb\n"),
            ("a\n#BEGIN\nold\n#END\nb\n", json!({"state": "absent"}), "a\nb\n"),
            ("a\n#BEGIN\nold\n#END\nb\n", json!({"block": ""}), "a\nb\n"),
        ] {
            assert_eq!(edited(old, args.clone()), new, "{args}");
        }
    }

    #[test]
    fn the_usual_marker_and_a_new_file() {
        let dir = temp_dir();
        let args = json!({"path": dir.at("f"), "block": "x", "create": true});
        let result = changes_once("blockinfile", &args, || !dir.path().join("f").exists());
        assert_eq!(result["msg"], "File created");
        let text = std::fs::read_to_string(dir.at("f")).expect("reads");
        assert_eq!(text, "# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\n");
        assert_eq!(run("blockinfile", json!({"path": dir.at("g"), "block": "x"}), false)["rc"], 257);
    }
}
