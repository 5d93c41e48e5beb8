//! `locale_gen` (community.general): locales that the host can use.

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{Opt, Spec};
use crate::system::run::{need_program, run};
use crate::system::{self, fault, outcome, write};

/// The module.
pub struct LocaleGen;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: Vec<String>,
    state: Option<String>,
}

/// The file of locales to generate, and the names to generate by Ubuntu's own way where there is no such file.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    file: Option<String>,
    names: Vec<String>,
}

const OPTIONS: &[Opt] = &[Opt::list("name").required(), Opt::str("state").choices(&["present", "absent"])];
const FILE: &str = "/etc/locale.gen";

impl Module for LocaleGen {
    const SPEC: Spec =
        Spec { collections: &["community.general"], options: &[OPTIONS], ..Spec::new("locale_gen") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let absent = args.state.as_deref() == Some("absent");
        let answer = run(host, &["locale", "-a"])?.or_fault("cannot list the locales")?;
        let there = |name: &str| answer.out.lines().any(|l| normal(l) == normal(name));
        let names: Vec<String> = args.name.iter().filter(|n| there(n) == absent).cloned().collect();
        let same = outcome(false, json!({"name": args.name}));
        if names.is_empty() {
            return Ok(Inspection::Same(same));
        }
        let file = match system::text(FILE) {
            Some(text) => Some(edited(&text, &names, absent)?),
            None if absent => return Err(fault("this host has no `/etc/locale.gen` to remove locales from")),
            None => None,
        };
        Ok(Inspection::Differs {
            change: Change { file, names },
            predicted: Outcome { changed: true, ..same },
        })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let mut argv = vec![need_program("locale-gen")?];
        match &change.file {
            Some(text) => write::replace(FILE, text, 0o644)?,
            None => argv.extend(change.names),
        }
        run(host, &argv)?.or_fault("cannot generate the locales")?;
        Ok(outcome(true, json!({"name": args.name})))
    }
}

/// `en_US.UTF-8` and `en_US.utf8` are one locale.
fn normal(name: &str) -> String {
    match name.trim().split_once('.') {
        Some((language, charset)) => format!("{language}.{}", charset.to_lowercase().replace('-', "")),
        None => name.trim().to_owned(),
    }
}

fn edited(text: &str, names: &[String], absent: bool) -> Result<String, Fault> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for name in names {
        let is = |line: &str| {
            line.trim_start_matches(['#', ' '])
                .split_whitespace()
                .next()
                .is_some_and(|n| normal(n) == normal(name))
        };
        let at = lines.iter().position(|l| is(l));
        match (at, absent) {
            (Some(at), false) => lines[at] = lines[at].trim_start_matches(['#', ' ']).to_owned(),
            (Some(at), true) if !lines[at].starts_with('#') => lines[at] = format!("# {}", lines[at]),
            (_, true) => {}
            (None, false) => {
                return Err(fault(format!("the locale `{name}` is not available on this host (`{FILE}`)")));
            }
        }
    }
    Ok(lines.iter().map(|l| format!("{l}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn a_locale_is_uncommented_and_generated() {
        let root = FakeRoot::with(&[(FILE, "# de_DE.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n")]);
        root.program("/usr/sbin/locale-gen");
        let arguments: Args = args(json!({"name": ["en_US.UTF-8"]}));
        let script = Script::of(&[("locale -a", 0, "C\n"), ("/usr/sbin/locale-gen", 0, "")]);
        let Ok(Inspection::Differs { change, .. }) = LocaleGen::inspect(&arguments, &script.host()) else {
            panic!()
        };
        LocaleGen::apply(&arguments, change, &script.host()).expect("applies");
        assert_eq!(root.get(FILE), "# de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\n");
        let script = Script::of(&[("locale -a", 0, "C\nen_US.utf8\n")]);
        assert!(matches!(LocaleGen::inspect(&arguments, &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn an_unknown_locale_is_told() {
        let error = edited("# a UTF-8\n", &["xx_XX".to_owned()], false).expect_err("unknown");
        assert_eq!(error.msg, "the locale `xx_XX` is not available on this host (`/etc/locale.gen`)");
    }
}
