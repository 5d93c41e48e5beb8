//! `rpm_key`: keys that rpm trusts.

use serde::Deserialize;
use serde_json::json;

use super::{Command, Fault, Host, Inspection, Module, Outcome, fetched};
use crate::options::{Opt, Spec};
use crate::system::run::{find_program, run, run_command};
use crate::system::{self, fault, outcome};

/// The module.
pub struct RpmKey;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    key: String,
    state: Option<String>,
    fingerprint: Option<Vec<String>>,
    validate_certs: Option<bool>,
}

/// What must be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Exactly these bytes: what was looked at is what is trusted.
    Import(Vec<u8>),
    Erase(String),
}

const OPTIONS: &[Opt] = &[
    Opt::str("key").required(),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::list("fingerprint"),
    Opt::bool("validate_certs"),
];

impl Module for RpmKey {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("rpm_key") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let absent = args.state.as_deref() == Some("absent");
        let key = if is_id(&args.key) { None } else { Some(bytes(args, host)?) };
        let id = match &key {
            None => args.key.trim_start_matches("0x").to_uppercase(),
            Some(key) => id_of(args, key, host)?,
        };
        let answer = run(host, &["rpm", "-qa", "gpg-pubkey", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}\\n"])?
            .or_fault("cannot list rpm's keys")?;
        // rpm names keys after the last eight digits of their id.
        let package = answer
            .out
            .lines()
            .find(|l| l.split('-').nth(2).is_some_and(|v| id.ends_with(&v.to_uppercase())))
            .map(str::to_owned);
        let change = match (absent, package, key) {
            (true, None, _) | (false, Some(_), _) => return Ok(Inspection::Same(outcome(false, json!({})))),
            (true, Some(package), _) => Change::Erase(package),
            (false, None, Some(key)) => Change::Import(key),
            (false, None, None) => {
                return Err(fault(format!(
                    "key `{id}` is not trusted yet: `rpm_key` needs its file or address to add it"
                )));
            }
        };
        Ok(Inspection::Differs { change, predicted: outcome(true, json!({})) })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let failed = format!("cannot change the trust in key `{}`", args.key);
        match change {
            Change::Erase(package) => {
                run(host, &["rpm", "--erase", "--allmatches", &package])?.or_fault(&failed)?;
            }
            Change::Import(key) => {
                let argv = ["rpm", "--import", "/dev/stdin"].map(str::to_owned).into();
                run_command(host, Command { argv, stdin: Some(key), ..Command::default() })?
                    .or_fault(&failed)?;
            }
        }
        Ok(outcome(true, json!({})))
    }
}

fn is_id(key: &str) -> bool {
    let digits = key.strip_prefix("0x").unwrap_or(key);
    digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The key itself, from its file or its address.
fn bytes(args: &Args, host: &Host<'_>) -> Result<Vec<u8>, Fault> {
    if args.key.contains("://") {
        return fetched::bytes(&args.key, args.validate_certs.unwrap_or(true), host);
    }
    if !system::exists(&args.key) {
        return Err(fault(format!(
            "`key` of `rpm_key` is `{}`, which is neither a file nor a key id",
            args.key
        )));
    }
    std::fs::read(system::root::at(&args.key)).map_err(|e| Fault::io("read", &args.key, &e))
}

/// The key's id, after its fingerprint was compared with the wanted one.
fn id_of(args: &Args, key: &[u8], host: &Host<'_>) -> Result<String, Fault> {
    let gpg = find_program("gpg")
        .or_else(|| find_program("gpg2"))
        .ok_or_else(|| fault("this host has no program `gpg`"))?;
    let argv = [
        gpg.as_str(),
        "--no-tty",
        "--batch",
        "--with-colons",
        "--with-fingerprint",
        "--fixed-list-mode",
        "-",
    ]
    .map(str::to_owned)
    .into();
    let answer = run_command(host, Command { argv, stdin: Some(key.to_vec()), ..Command::default() })?
        .or_fault(&format!("`{}` is no key", args.key))?;
    let prints: Vec<&str> =
        answer.out.lines().filter(|l| l.starts_with("fpr:")).filter_map(|l| l.split(':').nth(9)).collect();
    if let Some(wanted) = &args.fingerprint {
        let same = wanted.iter().all(|w| prints.iter().any(|p| p.eq_ignore_ascii_case(&w.replace(' ', ""))));
        if !same {
            return Err(fault(format!(
                "the key in `{}` has another fingerprint: {}",
                args.key,
                prints.join(", ")
            )));
        }
    }
    let id = answer.out.lines().find(|l| l.starts_with("pub:")).and_then(|l| l.split(':').nth(4));
    id.map(str::to_uppercase).ok_or_else(|| fault(format!("`{}` is no key", args.key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const LIST: &str = "rpm -qa gpg-pubkey --qf %{NAME}-%{VERSION}-%{RELEASE}\\n";

    #[test]
    fn a_trusted_key_is_left_alone_and_a_new_one_imported() {
        let root = FakeRoot::with(&[("/tmp/key", "x")]);
        root.program("/usr/bin/gpg");
        let show = "/usr/bin/gpg --no-tty --batch --with-colons --with-fingerprint --fixed-list-mode -";
        let colons = "pub:-:4096:1:24C6A8A7F4A80EB5:1:::-:::\n";
        let arguments = json!({"key": "/tmp/key"});
        let script = Script::of(&[(show, 0, colons), (LIST, 0, "gpg-pubkey-f4a80eb5-53a7ff4b\n")]);
        assert!(matches!(RpmKey::inspect(&args(arguments.clone()), &script.host()), Ok(Inspection::Same(_))));
        let script = Script::of(&[(show, 0, colons), (LIST, 0, ""), ("rpm --import /dev/stdin", 0, "")]);
        let Ok(Inspection::Differs { change, .. }) =
            RpmKey::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        assert!(RpmKey::apply(&args(arguments), change, &script.host()).expect("applies").changed);
    }

    #[test]
    fn another_fingerprint_is_refused() {
        let root = FakeRoot::with(&[("/tmp/key", "x")]);
        root.program("/usr/bin/gpg");
        let show = "/usr/bin/gpg --no-tty --batch --with-colons --with-fingerprint --fixed-list-mode -";
        let script = Script::of(&[(show, 0, "pub:-:4096:1:24C6A8A7F4A80EB5:1:::-:::\nfpr:::::::::AAAA:\n")]);
        let Err(error) =
            RpmKey::inspect(&args(json!({"key": "/tmp/key", "fingerprint": ["BB BB"]})), &script.host())
        else {
            panic!()
        };
        assert_eq!(error.msg, "the key in `/tmp/key` has another fingerprint: AAAA");
    }

    #[test]
    fn a_key_is_removed_by_its_id() {
        let _root = FakeRoot::with(&[]);
        let script = Script::of(&[(LIST, 0, "gpg-pubkey-f4a80eb5-53a7ff4b\n")]);
        let arguments = args(json!({"key": "0xF4A80EB5", "state": "absent"}));
        let Ok(Inspection::Differs { change, .. }) = RpmKey::inspect(&arguments, &script.host()) else {
            panic!()
        };
        assert_eq!(change, Change::Erase("gpg-pubkey-f4a80eb5-53a7ff4b".into()));
    }

    #[test]
    fn what_is_neither_key_nor_file_is_told() {
        let _root = FakeRoot::with(&[]);
        let Err(error) = RpmKey::inspect(&args(json!({"key": "/nope"})), &Script::of(&[]).host()) else {
            panic!()
        };
        assert_eq!(error.msg, "`key` of `rpm_key` is `/nope`, which is neither a file nor a key id");
    }
}
