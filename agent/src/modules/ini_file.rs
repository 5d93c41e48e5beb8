//! `ini_file` (community.general): options of INI files, line by line, so that comments and order stay.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::options::{Opt, Spec};
use crate::system::edit::Edit;
use crate::system::{self, fault, outcome};

/// The module.
pub struct IniFile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    path: String,
    section: Option<String>,
    option: Option<String>,
    value: Option<String>,
    values: Option<Vec<String>>,
    #[serde(default)]
    state: State,
    exclusive: Option<bool>,
    #[serde(default)]
    no_extra_spaces: bool,
    #[serde(default)]
    ignore_spaces: bool,
    #[serde(default)]
    allow_no_value: bool,
    modify_inactive_option: Option<bool>,
    create: Option<bool>,
    #[serde(default)]
    backup: bool,
    #[serde(flatten)]
    attributes: Attributes,
}

const OPTIONS: &[Opt] = &[
    Opt::path("path").required().aliases(&["dest"]),
    Opt::str("section"),
    Opt::str("option"),
    Opt::str("value"),
    Opt::list("values"),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::bool("exclusive"),
    Opt::bool("no_extra_spaces"),
    Opt::bool("ignore_spaces"),
    Opt::bool("allow_no_value"),
    Opt::bool("modify_inactive_option"),
    Opt::bool("create"),
    Opt::bool("backup"),
    Opt::bool("follow").ignored("links are always written through"),
];

/// The edit, and what to say about it.
pub struct Change(Edit, &'static str);

impl Module for IniFile {
    const SPEC: Spec = Spec {
        collections: &["community.general"],
        options: &[OPTIONS, attributes::OPTIONS],
        mutually_exclusive: &[&["value", "values"]],
        ..Spec::new("ini_file")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        if args.state == State::Present
            && args.option.is_some()
            && values(args).is_empty()
            && !args.allow_no_value
        {
            return Err(fault("`ini_file` needs `value` or `values`, or `allow_no_value`, to set an option"));
        }
        let before = system::text(&args.path);
        if before.is_none() && args.create == Some(false) {
            return Err(fault(format!("`{}` does not exist, and `create` is off", args.path)));
        }
        let text = before.clone().unwrap_or_default();
        let (after, msg) = edited(&text, args);
        let after = if before.is_none() && after.is_empty() { None } else { Some(after) };
        let Some(edit) = Edit::of(&args.path, after, &args.attributes, host)? else {
            return Ok(Inspection::Same(outcome(false, json!({"path": args.path, "msg": "OK"}))));
        };
        let mut predicted = outcome(true, json!({"path": args.path, "msg": msg}));
        predicted.diff.push(edit.diff());
        Ok(Inspection::Differs { change: Change(edit, msg), predicted })
    }

    fn apply(args: &Args, Change(edit, msg): Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let mut result = outcome(true, json!({"path": args.path, "msg": msg}));
        if let Some(saved) = edit.apply(&args.attributes, "0644", args.backup, host)? {
            result.values.insert("backup_file".into(), json!(saved));
        }
        Ok(result)
    }
}

fn values(args: &Args) -> Vec<String> {
    match (&args.value, &args.values) {
        (Some(value), _) => vec![value.clone()],
        (None, Some(values)) => values.clone(),
        (None, None) => Vec::new(),
    }
}

fn section_name(line: &str) -> Option<&str> {
    let inner = line.trim().strip_prefix('[')?;
    inner.rfind(']').map(|end| inner[..end].trim())
}

/// The option's name and value on a line; `inactive` when it is commented out.
fn option_on<'a>(line: &'a str, name: &str) -> Option<(bool, Option<&'a str>)> {
    let trimmed = line.trim_start();
    let bare = trimmed.trim_start_matches(['#', ';']);
    let inactive = bare.len() != trimmed.len();
    let (key, value) = match bare.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value.trim())),
        None => (bare.trim(), None),
    };
    (key == name && !(inactive && value.is_none())).then_some((inactive, value))
}

fn written(args: &Args, option: &str, value: Option<&str>) -> String {
    match value {
        None => option.to_owned(),
        Some(value) if args.no_extra_spaces => format!("{option}={value}"),
        Some(value) => format!("{option} = {value}"),
    }
}

fn edited(text: &str, args: &Args) -> (String, &'static str) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let wanted_section = args.section.as_deref().unwrap_or_default();
    let bounds = section(&lines, wanted_section);
    let msg = match (args.state, &args.option) {
        (State::Absent, None) => match bounds {
            Some((start, end)) if !wanted_section.is_empty() => {
                lines.drain(start..end);
                "section removed"
            }
            _ => "OK",
        },
        (State::Absent, Some(option)) => match bounds {
            Some(range) => remove(&mut lines, range, option, args),
            None => "OK",
        },
        (State::Present, option) => {
            let (range, added) = match bounds {
                Some(range) => (range, false),
                None => {
                    if lines.last().is_some_and(|l| !l.trim().is_empty()) {
                        lines.push(String::new());
                    }
                    lines.push(format!("[{wanted_section}]"));
                    ((lines.len() - 1, lines.len()), true)
                }
            };
            match option {
                Some(option) => {
                    let msg = set(&mut lines, range, option, args);
                    if added { "section and option added" } else { msg }
                }
                None if added => "only section added",
                None => "OK",
            }
        }
    };
    let mut after = lines.join("\n");
    if !after.is_empty() {
        after.push('\n');
    }
    // A file that only lacks its last newline is left as it is.
    if msg == "OK" { (text.to_owned(), msg) } else { (after, msg) }
}

/// Lines of a section, its header included; the nameless one ends at the first header.
fn section(lines: &[String], name: &str) -> Option<(usize, usize)> {
    let start = if name.is_empty() { 0 } else { lines.iter().position(|l| section_name(l) == Some(name))? };
    let first = if name.is_empty() { 0 } else { start + 1 };
    let end =
        lines[first..].iter().position(|l| section_name(l).is_some()).map_or(lines.len(), |n| first + n);
    Some((start, end))
}

fn remove(lines: &mut Vec<String>, (start, end): (usize, usize), option: &str, args: &Args) -> &'static str {
    let only = values(args);
    let exclusive = args.exclusive.unwrap_or(true);
    let goes = |line: &String| {
        option_on(line, option).is_some_and(|(inactive, value)| {
            !inactive && (exclusive || only.is_empty() || value.is_some_and(|v| only.iter().any(|o| o == v)))
        })
    };
    let marked: Vec<usize> = (start..end).filter(|at| goes(&lines[*at])).collect();
    for at in marked.iter().rev() {
        lines.remove(*at);
    }
    if marked.is_empty() { "OK" } else { "option changed" }
}

fn set(lines: &mut Vec<String>, (start, end): (usize, usize), option: &str, args: &Args) -> &'static str {
    let first = if args.section.as_deref().unwrap_or_default().is_empty() { start } else { start + 1 };
    let mut wanted: Vec<Option<String>> = values(args).into_iter().map(Some).collect();
    if wanted.is_empty() {
        wanted.push(None);
    }
    let exclusive = args.exclusive.unwrap_or(true);
    let active: Vec<usize> =
        (first..end).filter(|at| option_on(&lines[*at], option).is_some_and(|(i, _)| !i)).collect();
    let mut changed = false;
    // Values that stand there already keep their lines.
    let mut free = Vec::new();
    for at in active {
        let current = option_on(&lines[at], option).and_then(|(_, v)| v.map(str::to_owned));
        match wanted.iter().position(|w| *w == current) {
            Some(found) => {
                let value = wanted.remove(found);
                let line = written(args, option, value.as_deref());
                if lines[at] != line && !args.ignore_spaces && lines[at].trim() != line.trim() {
                    lines[at] = line;
                    changed = true;
                }
            }
            None => free.push(at),
        }
    }
    let inactive: Vec<usize> = if args.modify_inactive_option.unwrap_or(true) {
        (first..end).filter(|at| option_on(&lines[*at], option).is_some_and(|(i, _)| i)).collect()
    } else {
        Vec::new()
    };
    let mut slots: Vec<usize> = if exclusive { free.clone() } else { Vec::new() };
    if slots.is_empty() {
        slots.extend(inactive.first());
    }
    let mut used = Vec::new();
    for slot in slots {
        if wanted.is_empty() {
            break;
        }
        lines[slot] = written(args, option, wanted.remove(0).as_deref());
        used.push(slot);
        changed = true;
    }
    let mut at = end;
    while at > first && lines[at - 1].trim().is_empty() {
        at -= 1;
    }
    let mut msg = if changed { "option changed" } else { "OK" };
    for value in wanted {
        lines.insert(at, written(args, option, value.as_deref()));
        at += 1;
        msg = if changed { msg } else { "option added" };
    }
    if exclusive {
        for at in free.iter().rev().filter(|at| !used.contains(at)) {
            lines.remove(*at);
            msg = "option changed";
        }
    }
    msg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const TEXT: &str = "# top\n[main]\n# comment\nkey = 1\n#other=2\n\n[list]\nv = a\nv = b\n";

    fn edit(mut arguments: Value) -> (String, &'static str) {
        arguments["path"] = json!("/x");
        edited(TEXT, &args(arguments))
    }

    #[test]
    fn what_stands_there_is_left_alone() {
        for arguments in [
            json!({"section": "main", "option": "key", "value": "1"}),
            json!({"section": "list", "option": "v", "values": ["b", "a"]}),
            json!({"section": "main"}),
            json!({"section": "none", "state": "absent"}),
            json!({"section": "main", "option": "none", "state": "absent"}),
        ] {
            assert_eq!(edit(arguments.clone()), (TEXT.to_owned(), "OK"), "{arguments}");
        }
    }

    #[test]
    fn options_are_changed_activated_and_added_where_they_belong() {
        let (text, msg) = edit(json!({"section": "main", "option": "key", "value": "9"}));
        assert!(text.contains("\nkey = 9\n") && msg == "option changed", "{text}");
        let (text, _) =
            edit(json!({"section": "main", "option": "other", "value": "3", "no_extra_spaces": true}));
        assert!(text.contains("\nother=3\n") && !text.contains("#other"), "{text}");
        let (text, msg) = edit(json!({"section": "main", "option": "new", "value": "x"}));
        assert!(text.contains("#other=2\nnew = x\n\n[list]") && msg == "option added", "{text}");
        let (text, msg) = edit(json!({"section": "fresh", "option": "a", "value": "b"}));
        assert!(text.ends_with("\n\n[fresh]\na = b\n") && msg == "section and option added", "{text}");
    }

    #[test]
    fn lists_and_removals() {
        let (text, _) = edit(json!({"section": "list", "option": "v", "values": ["c"], "exclusive": false}));
        assert!(text.ends_with("v = a\nv = b\nv = c\n"), "{text}");
        let (text, _) = edit(json!({"section": "list", "option": "v", "values": ["b"]}));
        assert!(text.ends_with("[list]\nv = b\n"), "{text}");
        let (text, _) = edit(json!({"section": "list", "state": "absent"}));
        assert!(!text.contains("[list]") && text.contains("[main]"), "{text}");
        let (text, _) = edit(json!({"section": "main", "option": "key", "state": "absent"}));
        assert!(!text.contains("key"), "{text}");
    }

    #[test]
    fn a_file_is_made_with_its_mode_and_a_missing_value_is_told() {
        let root = FakeRoot::with(&[]);
        let arguments =
            json!({"path": "/etc/a.ini", "section": "s", "option": "o", "value": "1", "mode": "0600"});
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, .. }) =
            IniFile::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        IniFile::apply(&args(arguments.clone()), change, &script.host()).expect("applies");
        assert_eq!(root.get("/etc/a.ini"), "[s]\no = 1\n");
        assert!(matches!(IniFile::inspect(&args(arguments), &script.host()), Ok(Inspection::Same(_))));
        let Err(error) =
            IniFile::inspect(&args(json!({"path": "/x", "section": "s", "option": "o"})), &script.host())
        else {
            panic!()
        };
        assert!(error.msg.starts_with("`ini_file` needs `value`"), "{}", error.msg);
    }
}
