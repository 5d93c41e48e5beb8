//! `apt_key`: keys in apt's keyrings.
//!
//! Owns: which key is meant and whether a keyring has it; gpg does the rest, as `apt-key` is gone from newer Debian.

use serde::Deserialize;
use serde_json::json;

use super::{Command, Fault, Host, Inspection, Module, Outcome, fetched};
use crate::options::{Opt, Spec};
use crate::system::run::{Answer, find_program, run, run_command};
use crate::system::{self, fault, outcome};

/// The module.
pub struct AptKey;

/// Typed arguments.
#[derive(Debug, Deserialize)]
pub struct Args {
    id: Option<String>,
    data: Option<String>,
    file: Option<String>,
    url: Option<String>,
    keyserver: Option<String>,
    keyring: Option<String>,
    state: Option<String>,
    validate_certs: Option<bool>,
}

const OPTIONS: &[Opt] = &[
    Opt::str("id"),
    Opt::str("data"),
    Opt::path("file"),
    Opt::str("url"),
    Opt::str("keyserver"),
    Opt::path("keyring"),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::bool("validate_certs"),
];

/// What must be done with the keyring.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Import(Vec<u8>),
    Receive {
        server: String,
        id: String,
    },
    /// The keyring that holds the key, and its id.
    Delete {
        keyring: String,
        id: String,
    },
}

const KEYRING: &str = "/etc/apt/trusted.gpg";
const FOLDER: &str = "/etc/apt/trusted.gpg.d";

impl Module for AptKey {
    const SPEC: Spec = Spec {
        options: &[OPTIONS],
        mutually_exclusive: &[&["data", "file", "keyserver", "url"]],
        required_one_of: &[&["id", "data", "file", "url", "keyserver"]],
        ..Spec::new("apt_key")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let absent = args.state.as_deref() == Some("absent");
        let mut key = None;
        let id = match &args.id {
            Some(id) => checked(id)?,
            // Without an id only the key itself tells which one it is.
            None => {
                let bytes = source(args, host)?;
                let id = id_of(&bytes, host)?;
                key = Some(bytes);
                id
            }
        };
        let keyring = holding(args, &id, host)?;
        let change = match (absent, keyring) {
            (true, None) | (false, Some(_)) => return Ok(Inspection::Same(result(&id, false))),
            (true, Some(keyring)) => Change::Delete { keyring, id: id.clone() },
            (false, None) => match (&args.keyserver, key) {
                (Some(server), _) => Change::Receive { server: server.clone(), id: id.clone() },
                (None, Some(key)) => Change::Import(key),
                (None, None) => {
                    let key = source(args, host)?;
                    let found = id_of(&key, host)?;
                    if !found.ends_with(&id)
                        && !id.ends_with(&found)
                        && !subkeys(&key, host)?.iter().any(|s| s.ends_with(&id))
                    {
                        return Err(fault(format!(
                            "the key is `{found}`, not `{id}` as `id` of `apt_key` says"
                        )));
                    }
                    Change::Import(key)
                }
            },
        };
        Ok(Inspection::Differs { change, predicted: result(&id, true) })
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let target = args.keyring.as_deref().unwrap_or(KEYRING);
        let id = match change {
            Change::Import(key) => {
                let id = id_of(&key, host)?;
                gpg(host, Some(target), &["--import", "-"], Some(key))?
                    .or_fault(&format!("cannot add the key to `{target}`"))?;
                readable(target)?;
                id
            }
            Change::Receive { server, id } => {
                let words = ["--keyserver", server.as_str(), "--recv-keys", id.as_str()];
                gpg(host, Some(target), &words, None)?
                    .or_fault(&format!("cannot receive key `{id}` from `{server}`"))?;
                readable(target)?;
                id
            }
            Change::Delete { keyring, id } => {
                gpg(host, Some(&keyring), &["--yes", "--delete-keys", &id], None)?
                    .or_fault(&format!("cannot remove key `{id}` from `{keyring}`"))?;
                id
            }
        };
        Ok(result(&id, true))
    }
}

/// apt reads keyrings as its own user.
fn readable(keyring: &str) -> Result<(), Fault> {
    use std::os::unix::fs::PermissionsExt;
    let path = system::root::at(keyring);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))
        .map_err(|e| Fault::io("change the mode of", keyring, &e))
}

fn checked(id: &str) -> Result<String, Fault> {
    let id: String =
        id.trim_start_matches("0x").chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
    let good = matches!(id.len(), 8 | 16 | 40) && id.bytes().all(|b| b.is_ascii_hexdigit());
    if good {
        Ok(id)
    } else {
        Err(fault(format!("`id` of `apt_key` must have 8, 16 or 40 hexadecimal digits, not `{id}`")))
    }
}

fn source(args: &Args, host: &Host<'_>) -> Result<Vec<u8>, Fault> {
    if let Some(data) = &args.data {
        return Ok(data.as_bytes().to_vec());
    }
    if let Some(file) = &args.file {
        return std::fs::read(system::root::at(file)).map_err(|e| Fault::io("read", file, &e));
    }
    match &args.url {
        Some(url) => fetched::bytes(url, args.validate_certs.unwrap_or(true), host),
        None => {
            Err(fault("`apt_key` needs one of `data`, `file`, `url` to add a key, or `keyserver` with `id`"))
        }
    }
}

fn gpg(
    host: &Host<'_>,
    keyring: Option<&str>,
    words: &[&str],
    stdin: Option<Vec<u8>>,
) -> Result<Answer, Fault> {
    let tool =
        find_program("gpg").ok_or_else(|| fault("this host has no program `gpg`: install `gnupg` first"))?;
    let mut argv = [tool.as_str(), "--no-tty", "--batch", "--with-colons"].map(str::to_owned).to_vec();
    if let Some(keyring) = keyring {
        // apt does not read the newer keybox format.
        let real = system::root::at(keyring).display().to_string();
        argv.extend(["--no-default-keyring".into(), "--keyring".into(), format!("gnupg-ring:{real}")]);
    }
    argv.extend(words.iter().map(|w| (*w).to_owned()));
    run_command(host, Command { argv, stdin, ..Command::default() })
}

/// Ids of the public keys in gpg's listing; fingerprints where gpg gives them.
fn ids(listing: &str, record: &str) -> Vec<String> {
    listing
        .lines()
        .filter(|l| l.split(':').next() == Some(record))
        .filter_map(|l| l.split(':').nth(4))
        .map(str::to_uppercase)
        .collect()
}

fn listing(key: &[u8], host: &Host<'_>) -> Result<String, Fault> {
    Ok(gpg(host, None, &["-"], Some(key.to_vec()))?.or_fault("that is no key")?.out)
}

fn id_of(key: &[u8], host: &Host<'_>) -> Result<String, Fault> {
    ids(&listing(key, host)?, "pub")
        .into_iter()
        .next()
        .ok_or_else(|| fault("what `apt_key` got holds no public key"))
}

fn subkeys(key: &[u8], host: &Host<'_>) -> Result<Vec<String>, Fault> {
    Ok(ids(&listing(key, host)?, "sub"))
}

/// The keyring that has the key: the named one, or any that apt trusts.
fn holding(args: &Args, id: &str, host: &Host<'_>) -> Result<Option<String>, Fault> {
    let keyrings: Vec<String> = match &args.keyring {
        Some(keyring) => vec![keyring.clone()],
        None => {
            let own =
                system::names(FOLDER).into_iter().filter(|n| n.ends_with(".gpg") || n.ends_with(".asc"));
            [KEYRING.to_owned()].into_iter().chain(own.map(|n| format!("{FOLDER}/{n}"))).collect()
        }
    };
    for keyring in keyrings.into_iter().filter(|k| system::exists(k)) {
        let real = system::root::at(&keyring).display().to_string();
        // Reading the file itself works for binary and armoured keyrings alike.
        let tool = find_program("gpg")
            .ok_or_else(|| fault("this host has no program `gpg`: install `gnupg` first"))?;
        let answer = run(host, &[tool.as_str(), "--no-tty", "--batch", "--with-colons", &real])?;
        let found = ["pub", "sub"]
            .iter()
            .flat_map(|r| ids(&answer.out, r))
            .any(|k| k.ends_with(id) || id.ends_with(&k));
        if found {
            return Ok(Some(keyring));
        }
    }
    Ok(None)
}

fn result(id: &str, changed: bool) -> Outcome {
    let short = &id[id.len().saturating_sub(8)..];
    outcome(changed, json!({"id": id, "key_id": id, "short_id": short, "fp": id}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};

    const COLONS: &str = "pub:-:4096:1:8D81803C0EBFCD88:1:::-:::\nsub:-:4096:1:7EA0A9C3F273FCD8:1::::\n";

    #[test]
    fn a_key_in_any_trusted_keyring_is_left_alone() {
        let root = FakeRoot::with(&[("/etc/apt/trusted.gpg.d/docker.gpg", "x")]);
        root.program("/usr/bin/gpg");
        let real = root.path("/etc/apt/trusted.gpg.d/docker.gpg").display().to_string();
        let line = format!("/usr/bin/gpg --no-tty --batch --with-colons {real}");
        for id in ["0x0EBFCD88", "F273FCD8", "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"] {
            let script = Script::of(&[(&line, 0, COLONS)]);
            let found = AptKey::inspect(&args(json!({"id": id, "url": "https://x/gpg"})), &script.host());
            assert!(matches!(found, Ok(Inspection::Same(_))), "{id}");
        }
    }

    #[test]
    fn a_new_key_is_imported_into_the_named_keyring() {
        let root = FakeRoot::with(&[("/key", "armoured")]);
        root.program("/usr/bin/gpg");
        let show = "/usr/bin/gpg --no-tty --batch --with-colons -";
        let script = Script::of(&[(show, 0, COLONS)]);
        let arguments: Args = args(json!({"file": "/key", "keyring": "/etc/apt/keyrings/d.gpg"}));
        let Ok(Inspection::Differs { change, predicted }) = AptKey::inspect(&arguments, &script.host())
        else {
            panic!()
        };
        assert_eq!(predicted.values["short_id"], "0EBFCD88");
        root.put("/etc/apt/keyrings/d.gpg", "");
        let real = root.path("/etc/apt/keyrings/d.gpg").display().to_string();
        let import = format!(
            "/usr/bin/gpg --no-tty --batch --with-colons --no-default-keyring --keyring gnupg-ring:{real} --import -"
        );
        let script = Script::of(&[(show, 0, COLONS), (&import, 0, "")]);
        assert!(AptKey::apply(&arguments, change, &script.host()).expect("applies").changed);
        assert_eq!(script.inputs()[1], "armoured");
    }

    #[test]
    fn a_wrong_id_is_told() {
        let error = checked("12345").expect_err("refused");
        assert_eq!(error.msg, "`id` of `apt_key` must have 8, 16 or 40 hexadecimal digits, not `12345`");
    }
}
