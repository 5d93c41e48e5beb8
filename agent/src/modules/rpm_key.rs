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

const OPTIONS: &[Opt] = &[
    Opt::str("key").required(),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::list("fingerprint"),
    Opt::bool("validate_certs"),
];

impl Module for RpmKey {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("rpm_key") };
    type Args = Args;
    /// The command that makes the change.
    type Change = Vec<String>;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Vec<String>>, Fault> {
        let id = id(args, host)?;
        let answer = run(host, &["rpm", "-qa", "gpg-pubkey", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}\\n"])?
            .or_fault("cannot list rpm's keys")?;
        // rpm names keys after the last eight digits of their id.
        let package = answer
            .out
            .lines()
            .find(|l| {
                l.split('-')
                    .nth(2)
                    .is_some_and(|v| id.as_ref().is_some_and(|id| id.ends_with(&v.to_uppercase())))
            })
            .map(str::to_owned);
        let command = match (args.state.as_deref() == Some("absent"), package) {
            (true, Some(package)) => vec!["rpm".into(), "--erase".into(), "--allmatches".into(), package],
            (false, None) => vec!["rpm".into(), "--import".into(), args.key.clone()],
            _ => return Ok(Inspection::Same(outcome(false, json!({})))),
        };
        Ok(Inspection::Differs { change: command, predicted: outcome(true, json!({})) })
    }

    fn apply(args: &Args, command: Vec<String>, host: &Host<'_>) -> Result<Outcome, Fault> {
        run(host, &command)?.or_fault(&format!("cannot change the trust in key `{}`", args.key))?;
        Ok(outcome(true, json!({})))
    }
}

fn is_id(key: &str) -> bool {
    let digits = key.strip_prefix("0x").unwrap_or(key);
    digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The key's id, from itself, its file or its address.
fn id(args: &Args, host: &Host<'_>) -> Result<Option<String>, Fault> {
    if is_id(&args.key) {
        return Ok(Some(args.key.trim_start_matches("0x").to_uppercase()));
    }
    let fetched = if args.key.contains("://") {
        Some(fetched::bytes(&args.key, args.validate_certs.unwrap_or(true), host)?)
    } else if system::exists(&args.key) {
        None
    } else {
        return Err(fault(format!(
            "`key` of `rpm_key` is `{}`, which is neither a file nor a key id",
            args.key
        )));
    };
    let gpg = find_program("gpg")
        .or_else(|| find_program("gpg2"))
        .ok_or_else(|| fault("this host has no program `gpg`"))?;
    let file = if fetched.is_some() { "-" } else { args.key.as_str() };
    let argv = [gpg.as_str(), "--no-tty", "--batch", "--with-colons", "--fixed-list-mode", file]
        .map(str::to_owned)
        .into();
    let answer = run_command(host, Command { argv, stdin: fetched, ..Command::default() })?
        .or_fault(&format!("`{}` is no key", args.key))?;
    let prints: Vec<&str> =
        answer.out.lines().filter(|l| l.starts_with("fpr:")).filter_map(|l| l.split(':').nth(9)).collect();
    if let Some(wanted) = &args.fingerprint {
        let same = wanted.iter().all(|w| prints.iter().any(|p| p.eq_ignore_ascii_case(&w.replace(' ', ""))));
        if !prints.is_empty() && !same {
            return Err(fault(format!(
                "the key in `{}` has another fingerprint: {}",
                args.key,
                prints.join(", ")
            )));
        }
    }
    let id = answer.out.lines().find(|l| l.starts_with("pub:")).and_then(|l| l.split(':').nth(4));
    id.map(|id| Some(id.to_uppercase())).ok_or_else(|| fault(format!("`{}` is no key", args.key)))
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
        let show = "/usr/bin/gpg --no-tty --batch --with-colons --fixed-list-mode /tmp/key";
        let colons = "pub:-:4096:1:24C6A8A7F4A80EB5:1:::-:::\n";
        let arguments = json!({"key": "/tmp/key"});
        let script = Script::of(&[(show, 0, colons), (LIST, 0, "gpg-pubkey-f4a80eb5-53a7ff4b\n")]);
        assert!(matches!(RpmKey::inspect(&args(arguments.clone()), &script.host()), Ok(Inspection::Same(_))));
        let script = Script::of(&[(show, 0, colons), (LIST, 0, ""), ("rpm --import /tmp/key", 0, "")]);
        let Ok(Inspection::Differs { change, .. }) =
            RpmKey::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        assert!(RpmKey::apply(&args(arguments), change, &script.host()).expect("applies").changed);
    }

    #[test]
    fn a_key_is_removed_by_its_id() {
        let _root = FakeRoot::with(&[]);
        let script = Script::of(&[(LIST, 0, "gpg-pubkey-f4a80eb5-53a7ff4b\n")]);
        let arguments = args(json!({"key": "0xF4A80EB5", "state": "absent"}));
        let Ok(Inspection::Differs { change, .. }) = RpmKey::inspect(&arguments, &script.host()) else {
            panic!()
        };
        assert_eq!(change.join(" "), "rpm --erase --allmatches gpg-pubkey-f4a80eb5-53a7ff4b");
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
