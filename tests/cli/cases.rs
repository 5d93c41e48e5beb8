//! The command line by example: each Markdown file in `cases/` holds a project and the full text of what is said about it.
//!
//! A fence whose info is a language and a name is a file (`sh` ones can be executed). Every `console` fence is a command and
//! what it says: standard output, then standard error below `--- stderr`, then the exit status. A fence `absent` lists
//! texts that may be nowhere: not in the outputs, not in the journal, not in a log.
//! `UPDATE_EXPECT=1 cargo test --test cli` writes what is said today; read the difference before committing it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{Project, Said};

/// Said by every command that stops before the first host.
const NOTHING_BEGUN: &str = "No host was contacted.";

fn shown(line: &str, said: &Said) -> String {
    let mut text = format!("{line}\n{}", said.out);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if !said.err.is_empty() {
        text.push_str("--- stderr\n");
        text.push_str(&said.err);
    }
    text.push_str(&format!("--- exit {}\n", said.status));
    // Editors strip blanks at line ends, which mean nothing here.
    text.lines().map(|l| format!("{}\n", l.trim_end())).collect()
}

/// Every file below a folder, as text.
fn texts(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        } else if path.is_dir() {
            texts(&path, into);
        } else if let Ok(bytes) = fs_err::read(&path) {
            into.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

fn check(path: &Path) -> Result<(), String> {
    let case = fs_err::read_to_string(path).expect("a case is readable");
    let project = Project::new();
    let (mut written, mut absent, mut outputs) = (String::new(), Vec::new(), String::new());
    let mut lines = case.split_inclusive('\n');
    while let Some(line) = lines.next() {
        written.push_str(line);
        let Some(info) = line.strip_prefix("```").map(str::trim) else { continue };
        let body: String = lines.by_ref().take_while(|l| !l.starts_with("```")).collect();
        match info.split_once(' ') {
            None if info == "console" => {
                let command = body.lines().next().unwrap_or_default();
                let args =
                    command.strip_prefix("$ dcos-play ").expect("a console fence begins with a command");
                let args = shlex::split(args).expect("words");
                let said = project.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
                if said.err.contains(NOTHING_BEGUN) {
                    assert!(
                        !project.path(".dcos-play").exists(),
                        "{}: a run folder was left",
                        path.display()
                    );
                }
                outputs.push_str(&said.out);
                outputs.push_str(&said.err);
                written.push_str(&shown(command, &said));
            }
            None if info == "absent" => {
                absent.extend(body.lines().map(str::to_owned));
                written.push_str(&body);
            }
            Some((language, name)) => {
                project.file(name, &body);
                if language == "sh" {
                    let mode = PermissionsExt::from_mode(0o755);
                    fs_err::set_permissions(project.path(name), mode).expect("a mode");
                }
                written.push_str(&body);
            }
            None => panic!("{}: what is a fence `{info}`?", path.display()),
        }
        written.push_str("```\n");
    }
    let mut kept = vec![(PathBuf::from("the output"), outputs)];
    texts(&project.path(".dcos-play"), &mut kept);
    for text in &absent {
        if let Some((place, _)) = kept.iter().find(|(_, kept)| kept.contains(text)) {
            return Err(format!("{}: `{text}` is in {}", path.display(), place.display()));
        }
    }
    if written == case {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs_err::write(path, &written).expect("a case is writable");
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(&case, &written);
    Err(format!("{}\n{}", path.display(), diff.unified_diff().header("expected", "said")))
}

/// Checks all cases of a folder and tells of every one that differs.
fn check_all(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/cases").join(folder);
    let mut cases: Vec<PathBuf> =
        fs_err::read_dir(folder).expect("cases").map(|e| e.expect("an entry").path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases");
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

#[test]
fn what_is_said_before_any_host_is_touched() {
    check_all("before");
}

#[test]
fn what_is_said_during_a_run() {
    check_all("during");
}

#[test]
fn what_is_said_about_lost_hosts() {
    check_all("lost");
}
