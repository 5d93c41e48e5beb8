//! `deb822_repository`: sources of apt in the format with one field a line, and the key that signs them.

use std::fs;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome, fetched};
use crate::files::attributes::Attributes;
use crate::files::write::{Content, Write, write};
use crate::options::{Opt, Spec};
use crate::system::edit::Edit;
use crate::system::{fault, outcome, root};

/// The module.
pub struct Deb822Repository;

/// Typed arguments; every field of the source is read from `fields` by its own name.
#[derive(Debug, Deserialize)]
pub struct Args {
    name: String,
    state: Option<String>,
    mode: Option<String>,
    signed_by: Option<String>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// What must be done.
#[derive(Debug, Default)]
pub struct Change {
    key: Option<(String, Vec<u8>)>,
    source: Option<Edit>,
    /// Keys to remove.
    gone: Vec<String>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("name").required(),
    Opt::str("state").choices(&["absent", "present"]),
    Opt::mode("mode"),
    Opt::bool("allow_downgrade_to_insecure"),
    Opt::bool("allow_insecure"),
    Opt::bool("allow_weak"),
    Opt::list("architectures"),
    Opt::bool("by_hash"),
    Opt::bool("check_date"),
    Opt::bool("check_valid_until"),
    Opt::list("components"),
    Opt::int("date_max_future"),
    Opt::bool("enabled"),
    Opt::str("inrelease_path"),
    Opt::bool("install_python_debian").ignored("nothing here needs Python"),
    Opt::list("languages"),
    Opt::bool("pdiffs"),
    Opt::str("signed_by"),
    Opt::list("suites"),
    Opt::list("targets"),
    Opt::bool("trusted"),
    Opt::list("types").choices(&["deb", "deb-src"]),
    Opt::list("uris"),
];
/// Options that are no fields of a source.
const NO_FIELDS: [&str; 4] = ["state", "mode", "install_python_debian", "signed_by"];
const KEYRINGS: &str = "/etc/apt/keyrings";
const KEY_SUFFIXES: [&str; 2] = ["asc", "gpg"];

impl Module for Deb822Repository {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("deb822_repository") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let slug = slug(&args.name);
        let dest = format!("/etc/apt/sources.list.d/{slug}.sources");
        let mut change = Change::default();
        let mut key_file = None;
        let mut text = None;
        if args.state.as_deref() == Some("absent") {
            let keys = KEY_SUFFIXES.map(|suffix| format!("{KEYRINGS}/{slug}.{suffix}"));
            key_file = keys.last().cloned();
            change.gone = keys.into_iter().filter(|key| root::at(key).exists()).collect();
        } else {
            let mut fields = args.fields.clone();
            if let Some(signed_by) = &args.signed_by {
                let value = key(signed_by, &slug, &mut change, host)?;
                key_file = (value.starts_with('/') && !value.contains('\n')).then(|| value.clone());
                fields.insert("signed_by".into(), value.into());
            }
            fields.insert("name".into(), args.name.clone().into());
            fields.entry("types").or_insert_with(|| json!(["deb"]));
            text = Some(source(&fields));
        }
        change.source = Edit::of(&dest, text.clone(), &attributes(args), host)?;
        let changed = change.source.is_some() || change.key.is_some() || !change.gone.is_empty();
        let mut result = outcome(changed, json!({"repo": text, "dest": dest, "key_filename": key_file}));
        if !changed {
            return Ok(Inspection::Same(result));
        }
        result.diff.extend(change.source.as_ref().map(Edit::diff));
        Ok(Inspection::Differs { change, predicted: result })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        // Asked again before anything is written: afterwards the answer would be that nothing is to do.
        let told = match Self::inspect(args, host)? {
            Inspection::Same(outcome) | Inspection::Differs { predicted: outcome, .. } => outcome,
        };
        if let Some((path, bytes)) = &change.key {
            let path = root::at(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|e| Fault::io("make", folder, &e))?;
            }
            let attributes = Attributes { mode: Some("0644".into()), ..Attributes::default() };
            let content = Content::Bytes(bytes);
            write(
                &Write { path: &path, content, attributes: &attributes, validate: None, backup: false },
                host,
            )?;
        }
        for path in &change.gone {
            fs::remove_file(root::at(path)).map_err(|e| Fault::io("remove", path, &e))?;
        }
        if let Some(edit) = change.source {
            edit.apply(&attributes(args), "0644", false, host)?;
        }
        Ok(Outcome { changed: true, diff: Vec::new(), ..told })
    }
}

fn attributes(args: &Args) -> Attributes {
    let mode = args.mode.clone().unwrap_or_else(|| "0644".into());
    Attributes { mode: Some(mode), ..Attributes::default() }
}

/// The name as part of a file name.
fn slug(name: &str) -> String {
    let mut out = String::new();
    let mut gap = false;
    for c in name.to_lowercase().chars() {
        if c == '_' || c.is_whitespace() {
            if !gap {
                out.push('-');
            }
            gap = true;
            continue;
        }
        gap = false;
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' {
            out.push(c);
        }
    }
    out
}

/// What `Signed-By` says: a file, the key itself, or the file to which a key given by address goes.
fn key(signed_by: &str, slug: &str, change: &mut Change, host: &Host<'_>) -> Result<String, Fault> {
    if !signed_by.contains("://") || signed_by.contains('\n') {
        return Ok(signed_by.to_owned());
    }
    let bytes = fetched::bytes(signed_by, true, host)?;
    if bytes.is_empty() {
        return Err(fault(format!("`{signed_by}` holds no key")));
    }
    let armored = String::from_utf8_lossy(&bytes).contains("-----BEGIN PGP PUBLIC KEY BLOCK-----");
    let path = format!("{KEYRINGS}/{slug}.{}", KEY_SUFFIXES[usize::from(!armored)]);
    if fs::read(root::at(&path)).ok().as_deref() != Some(&bytes[..]) {
        change.key = Some((path.clone(), bytes));
    }
    Ok(path)
}

/// The text of a source, its fields sorted by the names of their options.
fn source(fields: &Map<String, Value>) -> String {
    let mut sorted: Vec<_> = fields.iter().filter(|(_, v)| !v.is_null()).collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    let mut out = String::new();
    for (name, value) in sorted {
        if NO_FIELDS[..3].contains(&name.as_str()) {
            continue;
        }
        let text = match value {
            Value::Bool(on) => if *on { "yes" } else { "no" }.to_owned(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        out.push_str(&field(name));
        out.push(':');
        if text.contains('\n') {
            for line in text.trim().lines() {
                let line = if line.trim().is_empty() { "." } else { line.trim() };
                out.push_str("\n    ");
                out.push_str(line);
            }
        } else {
            out.push(' ');
            out.push_str(&text);
        }
        out.push('\n');
    }
    out
}

/// The field's name: `signed_by` is `Signed-By`.
fn field(option: &str) -> String {
    match option {
        "name" => "X-Repolib-Name".into(),
        "uris" => "URIs".into(),
        _ => option
            .split('_')
            .map(|word| {
                let (first, rest) = word.split_at(usize::from(!word.is_empty()));
                first.to_uppercase() + rest
            })
            .collect::<Vec<_>>()
            .join("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    #[test]
    fn a_source_is_written_once_and_goes_with_its_key() {
        let host = FakeRoot::with(&[("/etc/apt/keyrings/my-docker.asc", "key")]);
        let arguments = json!({
            "name": "My_Docker", "uris": ["https://x/debian"], "suites": ["bookworm"], "components": ["stable"],
            "signed_by": "/etc/apt/keyrings/my-docker.asc", "enabled": true, "by_hash": false,
        });
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, predicted }) =
            Deb822Repository::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.values["key_filename"], "/etc/apt/keyrings/my-docker.asc");
        let applied =
            Deb822Repository::apply(&args(arguments.clone()), change, &script.host()).expect("applies");
        assert_eq!(applied.values, predicted.values);
        assert_eq!(
            host.get("/etc/apt/sources.list.d/my-docker.sources"),
            "By-Hash: no\nComponents: stable\nEnabled: yes\nX-Repolib-Name: My_Docker\n\
             Signed-By: /etc/apt/keyrings/my-docker.asc\nSuites: bookworm\nTypes: deb\nURIs: https://x/debian\n"
        );
        assert!(matches!(
            Deb822Repository::inspect(&args(arguments), &script.host()),
            Ok(Inspection::Same(_))
        ));

        let arguments = json!({"name": "My_Docker", "state": "absent"});
        let Ok(Inspection::Differs { change, .. }) =
            Deb822Repository::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        Deb822Repository::apply(&args(arguments.clone()), change, &script.host()).expect("applies");
        assert!(!host.path("/etc/apt/sources.list.d/my-docker.sources").exists());
        assert!(!host.path("/etc/apt/keyrings/my-docker.asc").exists());
        assert!(matches!(
            Deb822Repository::inspect(&args(arguments), &script.host()),
            Ok(Inspection::Same(_))
        ));
    }

    #[test]
    fn a_key_in_the_source_is_indented() {
        let text = source(json!({"signed_by": "-----BEGIN\n\nabc\n"}).as_object().expect("a mapping"));
        assert_eq!(text, "Signed-By:\n    -----BEGIN\n    .\n    abc\n");
    }
}
