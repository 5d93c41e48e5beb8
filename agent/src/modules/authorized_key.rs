//! `authorized_key` (ansible.posix): keys that may log in as a user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde::Deserialize;
use serde_json::json;

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::Attributes;
use crate::options::{Opt, Spec};
use crate::system::accounts::{self, Account};
use crate::system::edit::Edit;
use crate::system::{self, fault, outcome, root};

/// The module.
pub struct AuthorizedKey;

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
    user: String,
    key: String,
    #[serde(default)]
    state: State,
    path: Option<String>,
    manage_dir: Option<bool>,
    key_options: Option<String>,
    comment: Option<String>,
    #[serde(default)]
    exclusive: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::str("user").required(),
    Opt::str("key").required(),
    Opt::str("state").choices(&["present", "absent"]),
    Opt::path("path"),
    Opt::bool("manage_dir"),
    Opt::str("key_options"),
    Opt::str("comment"),
    Opt::bool("exclusive"),
    Opt::bool("follow").ignored("links are always written through"),
    Opt::bool("validate_certs").ignored("keys are not fetched from addresses"),
];

/// The edit of the key file.
pub struct Change(Edit);

impl Module for AuthorizedKey {
    const SPEC: Spec =
        Spec { collections: &["ansible.posix"], options: &[OPTIONS], ..Spec::new("authorized_key") };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let keys = wanted(args)?;
        let account = accounts::account(host, &args.user)?;
        // In check mode the task before this one may be what makes the user.
        if account.is_none() && args.path.is_none() {
            if host.check {
                return Ok(Inspection::Same(Outcome { changed: true, ..result(args, "") }));
            }
            return Err(fault(format!(
                "user `{}` does not exist on this host; give `path` to manage its keys",
                args.user
            )));
        }
        let path = file(args, account.as_ref());
        let before = system::text(&path);
        let after = edited(before.as_deref().unwrap_or_default(), &keys, args);
        let unchanged = before.as_deref().unwrap_or_default() == after;
        let attributes = attributes(args, account.as_ref());
        let edit = if unchanged && before.is_none() {
            None
        } else {
            Edit::of(&path, Some(after), &attributes, host)?
        };
        let mut result = result(args, &path);
        let Some(edit) = edit else { return Ok(Inspection::Same(result)) };
        result.changed = true;
        result.diff.push(edit.diff());
        Ok(Inspection::Differs { change: Change(edit), predicted: result })
    }

    fn apply(args: &Args, Change(edit): Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let account = accounts::account(host, &args.user)?;
        let path = file(args, account.as_ref());
        if manages_dir(args)
            && let Some(folder) = std::path::Path::new(&path).parent()
        {
            make_folder(folder, account.as_ref())?;
        }
        edit.apply(&attributes(args, account.as_ref()), "0600", false, host)?;
        Ok(Outcome { changed: true, ..result(args, &path) })
    }
}

fn manages_dir(args: &Args) -> bool {
    args.manage_dir.unwrap_or(true) && args.state == State::Present
}

/// sshd refuses keys in files that others could have written.
fn attributes(args: &Args, account: Option<&Account>) -> Attributes {
    if !manages_dir(args) {
        return Attributes::default();
    }
    Attributes {
        owner: account.map(|a| a.uid.to_string()),
        group: account.map(|a| a.gid.to_string()),
        mode: Some("0600".into()),
        ..Attributes::default()
    }
}

fn make_folder(folder: &std::path::Path, account: Option<&Account>) -> Result<(), Fault> {
    let real = root::at(folder);
    if !real.exists() {
        fs::create_dir_all(&real).map_err(|e| Fault::io("make", folder, &e))?;
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700))
            .map_err(|e| Fault::io("make", folder, &e))?;
        if let Some(account) = account {
            chown(&real, Some(account.uid), Some(account.gid))
                .map_err(|e| Fault::io("change the owner of", folder, &e))?;
        }
    }
    Ok(())
}

fn file(args: &Args, account: Option<&Account>) -> String {
    let home = account.map_or("", |a| a.home.as_str());
    match &args.path {
        Some(path) => path.replace("%u", &args.user).replace("%h", home),
        None => format!("{home}/.ssh/authorized_keys"),
    }
}

fn result(args: &Args, path: &str) -> Outcome {
    let state = if args.state == State::Absent { "absent" } else { "present" };
    outcome(
        false,
        json!({
            "user": args.user, "key": args.key, "keyfile": path, "state": state, "exclusive": args.exclusive,
            "key_options": args.key_options, "comment": args.comment, "path": args.path,
            "manage_dir": args.manage_dir.unwrap_or(true),
        }),
    )
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    options: String,
    kind: String,
    data: String,
    comment: String,
}

const KINDS: [&str; 10] = [
    "ssh-rsa",
    "ssh-dss",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
];

impl Key {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        // Options may hold blanks within quotes; the kind is the first word outside of them that is one.
        let mut quoted = false;
        let mut start = 0;
        let mut words: Vec<(usize, usize)> = Vec::new();
        for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
            match c {
                '"' => quoted = !quoted,
                c if c.is_whitespace() && !quoted => {
                    if at > start {
                        words.push((start, at));
                    }
                    start = at + c.len_utf8();
                }
                _ => {}
            }
        }
        let kind = words.iter().position(|(a, b)| KINDS.contains(&&line[*a..*b]))?;
        let word = |n: usize| words.get(n).map(|(a, b)| &line[*a..*b]);
        Some(Self {
            options: line[..words[kind].0].trim().to_owned(),
            kind: word(kind)?.to_owned(),
            data: word(kind + 1)?.to_owned(),
            comment: words.get(kind + 2).map_or("", |(a, _)| &line[*a..]).to_owned(),
        })
    }

    fn line(&self) -> String {
        [&self.options, &self.kind, &self.data, &self.comment]
            .into_iter()
            .filter(|p| !p.is_empty())
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn wanted(args: &Args) -> Result<Vec<Key>, Fault> {
    if args.key.starts_with("http://") || args.key.starts_with("https://") {
        return Err(fault(
            "`key` of `authorized_key` is an address, which is not fetched: use the `url` lookup or `get_url`",
        ));
    }
    let mut keys = Vec::new();
    for line in args.key.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let mut key = Key::parse(line)
            .ok_or_else(|| fault(format!("`key` of `authorized_key` is no public key: `{line}`")))?;
        if let Some(options) = &args.key_options {
            key.options.clone_from(options);
        }
        if let Some(comment) = &args.comment {
            key.comment.clone_from(comment);
        }
        keys.push(key);
    }
    Ok(keys)
}

fn edited(before: &str, wanted: &[Key], args: &Args) -> String {
    let mut out = Vec::new();
    let mut seen = vec![false; wanted.len()];
    for line in before.lines() {
        let Some(found) = Key::parse(line) else {
            // Comments go with an exclusive list, as nothing but the named keys is to stay.
            if !(args.exclusive && args.state == State::Present) {
                out.push(line.to_owned());
            }
            continue;
        };
        let at = wanted.iter().position(|w| w.data == found.data && w.kind == found.kind);
        match (args.state, at) {
            (State::Present, Some(at)) => {
                if seen[at] {
                    continue;
                }
                seen[at] = true;
                let key = &wanted[at];
                let same_comment = key.comment.is_empty() || key.comment == found.comment;
                let same = key.options == found.options && same_comment;
                out.push(if same { line.to_owned() } else { key.line() });
            }
            (State::Present, None) if args.exclusive => {}
            (State::Absent, Some(_)) => {}
            _ => out.push(line.to_owned()),
        }
    }
    if args.state == State::Present {
        out.extend(wanted.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(key, _)| key.line()));
    }
    out.iter().map(|l| format!("{l}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use serde_json::Value;

    const A: &str = "ssh-ed25519 AAAA ann@x";
    const B: &str = "ssh-rsa BBBB bob";

    fn edit(before: &str, arguments: Value) -> String {
        let arguments: Args = args(arguments);
        edited(before, &wanted(&arguments).expect("keys"), &arguments)
    }

    #[test]
    fn keys_are_added_once_and_removed() {
        let before = format!("# mine\n{A}\n");
        assert_eq!(edit(&before, json!({"user": "u", "key": A})), before);
        assert_eq!(edit(&before, json!({"user": "u", "key": "ssh-ed25519 AAAA"})), before);
        assert_eq!(edit(&before, json!({"user": "u", "key": B})), format!("{before}{B}\n"));
        assert_eq!(edit(&before, json!({"user": "u", "key": A, "state": "absent"})), "# mine\n");
        assert_eq!(edit(&before, json!({"user": "u", "key": B, "exclusive": true})), format!("{B}\n"));
    }

    #[test]
    fn options_in_quotes_stay_whole_and_differences_are_written() {
        let line = format!("from=\"10.0.0.1, 10.0.0.2\",command=\"echo hi\" {A}");
        let key = Key::parse(&line).expect("a key");
        assert_eq!(
            (key.options.as_str(), key.data.as_str()),
            ("from=\"10.0.0.1, 10.0.0.2\",command=\"echo hi\"", "AAAA")
        );
        assert_eq!(
            edit(&format!("{A}\n"), json!({"user": "u", "key": A, "key_options": "no-pty"})),
            format!("no-pty {A}\n")
        );
    }

    #[test]
    fn a_file_is_made_for_the_user() {
        let own = nix::unistd::getuid().as_raw();
        let group = nix::unistd::getgid().as_raw();
        let root = FakeRoot::with(&[("/etc/passwd", &format!("u:x:{own}:{group}::/home/u:/bin/sh\n"))]);
        let arguments = json!({"user": "u", "key": A});
        let script = Script::of(&[]);
        let Ok(Inspection::Differs { change, .. }) =
            AuthorizedKey::inspect(&args(arguments.clone()), &script.host())
        else {
            panic!()
        };
        AuthorizedKey::apply(&args(arguments.clone()), change, &script.host()).expect("applies");
        assert_eq!(root.get("/home/u/.ssh/authorized_keys"), format!("{A}\n"));
        let mode = fs::metadata(root.path("/home/u/.ssh")).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(matches!(AuthorizedKey::inspect(&args(arguments), &script.host()), Ok(Inspection::Same(_))));
    }

    #[test]
    fn wrong_keys_and_users_are_told() {
        let _root = FakeRoot::with(&[]);
        let message = |arguments| match AuthorizedKey::inspect(&args(arguments), &Script::of(&[]).host()) {
            Err(fault) => fault.msg,
            Ok(_) => String::new(),
        };
        assert_eq!(
            message(json!({"user": "u", "key": "nonsense"})),
            "`key` of `authorized_key` is no public key: `nonsense`"
        );
        assert!(message(json!({"user": "nobody", "key": A})).starts_with("user `nobody` does not exist"));
    }
}
