//! The playbook language by example: each Markdown file holds the files of a playbook and what must come of it.
//!
//! `invalid/` expects the full text of the findings, `valid/` an outline of the resolved playbook. A fence whose info is
//! `yaml NAME` (or any language and a name) is a file, the first one the playbook; the fence `text` is the expectation.
//! `UPDATE_EXPECT=1 cargo test --test language` writes what comes out today; read the difference before committing it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[path = "language/catalogue.rs"]
mod catalogue;
#[path = "language/outline.rs"]
mod outline;
#[path = "language/stub_templates.rs"]
mod stub_templates;

use dcos_play::resolve::{Resolution, Resolver, Setup};
use dcos_play::source::{Colour, Sources};

struct Case {
    path: PathBuf,
    files: Vec<(String, String)>,
    expected: String,
    /// Everything before and after the expectation, to write it anew.
    before: String,
    after: String,
}

fn read_case(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).expect("case is readable");
    let mut case = Case {
        path: path.to_path_buf(),
        files: Vec::new(),
        expected: String::new(),
        before: String::new(),
        after: String::new(),
    };
    let mut fence: Option<(String, String)> = None;
    let mut seen_expected = false;
    for line in text.split_inclusive('\n') {
        let is_fence = line.starts_with("```");
        match &mut fence {
            None if is_fence => fence = Some((line.trim_start_matches('`').trim().to_owned(), String::new())),
            None => {}
            Some((info, body)) if is_fence => {
                if info == "text" {
                    case.expected = std::mem::take(body);
                    seen_expected = true;
                    case.after.push_str(line);
                    fence = None;
                    continue;
                }
                let name = info.split_whitespace().nth(1).expect("a fence names its file");
                case.files.push((name.to_owned(), std::mem::take(body)));
                fence = None;
            }
            Some((info, body)) => {
                body.push_str(line);
                if info == "text" {
                    continue;
                }
            }
        }
        if seen_expected { case.after.push_str(line) } else { case.before.push_str(line) }
    }
    assert!(seen_expected, "{} has no `text` fence", path.display());
    case
}

fn cases(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/language").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("folder of cases")
        .map(|e| e.expect("entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .collect();
    paths.sort();
    paths.iter().map(|p| read_case(p)).collect()
}

fn resolve(case: &Case, all_known: bool) -> (Arc<Sources>, Resolution, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("temporary folder");
    for (name, text) in &case.files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, text).expect("file");
    }
    let sources = Arc::new(Sources::new(folder.path().to_path_buf()));
    let mut setup = Setup::new(Arc::clone(&sources), Arc::new(catalogue::Test));
    setup.templates = Arc::new(stub_templates::Stub);
    setup.static_text = Arc::new(stub_templates::Stub);
    setup.known_variables = Arc::new(move |_| all_known);
    let first = &case.files.first().expect("a playbook").0;
    let resolution = Resolver::new(setup).resolve(&folder.path().join(first));
    (sources, resolution, folder)
}

fn compare(folder: &str, produce: impl Fn(&Case) -> String) {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut failed = String::new();
    for case in cases(folder) {
        let actual = produce(&case);
        if update {
            let text = format!("{}{actual}{}", case.before, case.after);
            std::fs::write(&case.path, text).expect("case is writable");
        } else if actual != case.expected {
            let _ = writeln!(
                failed,
                "--- {}\nexpected:\n{}\nactual:\n{actual}",
                case.path.display(),
                case.expected
            );
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn invalid_playbooks_are_explained() {
    compare("invalid", |case| {
        let (sources, resolution, _folder) = resolve(case, false);
        assert!(!resolution.findings.list.is_empty(), "{} found nothing", case.path.display());
        format!(
            "{}{}\n",
            resolution.findings.render_in(&sources, Colour::Never),
            resolution.findings.counts()
        )
    });
}

#[test]
fn valid_playbooks_resolve_as_outlined() {
    compare("valid", |case| {
        let (sources, resolution, _folder) = resolve(case, true);
        let bad: Vec<String> = resolution.findings.list.iter().map(|f| f.render(&sources)).collect();
        assert!(!resolution.findings.has_errors(), "{}:\n{}", case.path.display(), bad.concat());
        outline::outline(&resolution.playbook) + &bad.concat()
    });
}
