//! The lookup `passwordstore` (community.general): passwords that the program `pass` keeps on the controller.
//!
//! Owns: its options, and what an entry's text means. Must not: read or write the store's files; `pass` does.
//! Source: <https://docs.ansible.com/ansible/latest/collections/community/general/passwordstore_lookup.html>

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use minijinja::Value;

use super::Call;
use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::filters::{self, Dice};
use crate::template::values::text;

/// What a password is made of, and what else unless `nosymbols`.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SYMBOLS: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// What to do about an entry or a part of it that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Error,
    Empty,
    Create,
}

struct Options {
    subkey: String,
    whole: bool,
    overwrite: bool,
    missing: Missing,
    missing_subkey: Missing,
    userpass: Option<String>,
    length: usize,
    nosymbols: bool,
    backup: bool,
    preserve: bool,
    timestamp: bool,
    umask: Option<String>,
    store: Option<String>,
    environment: Arc<[(String, String)]>,
}

/// Reads entries, and makes or changes them where the options say so.
pub(super) fn passwordstore(cx: &mut Cx, call: &Call) -> R<Vec<Value>> {
    let mut out = Vec::new();
    for term in &call.terms {
        let term = text(term)?;
        let mut words =
            shlex::split(&term).ok_or_else(|| call.fail(format!("`{term}` has a quote without its pair")))?;
        if words.is_empty() {
            return Err(call.fail("name an entry"));
        }
        let entry = words.remove(0);
        let options = Options::read(cx, call, &words)?;
        let shown = options.pass(call, &["show", &entry], None)?;
        let found = match shown {
            Ok(text) if options.overwrite => Some(options.renew(call, &entry, &text)?),
            Ok(text) => Some(text),
            Err(why) if !why.contains("not in the password store") => return Err(call.fail(why)),
            Err(_) => match options.missing {
                Missing::Empty => None,
                Missing::Create => Some(options.create(call, &entry)?),
                Missing::Error => {
                    return Err(call.fail(format!(
                        "no entry `{entry}`; `missing=create` makes one, `missing=empty` goes on"
                    )));
                }
            },
        };
        out.push(match found {
            None => Value::from(()),
            Some(text) => options.wanted(call, &entry, &text)?,
        });
    }
    Ok(out)
}

impl Options {
    /// Options beside the terms, and then those that follow the entry's name as `key=value`.
    fn read(cx: &Cx, call: &Call, words: &[String]) -> R<Self> {
        let mut own: Vec<(&str, &str)> = Vec::new();
        for word in words {
            own.push(
                word.split_once('=')
                    .ok_or_else(|| call.fail(format!("`{word}` is no option: write `key=value`")))?,
            );
        }
        const KNOWN: [&str; 18] = [
            "subkey",
            "returnall",
            "create",
            "overwrite",
            "missing",
            "missing_subkey",
            "userpass",
            "length",
            "nosymbols",
            "backup",
            "preserve",
            "timestamp",
            "umask",
            "directory",
            "passwordstore",
            "backend",
            "lock",
            "locktimeout",
        ];
        for (name, _) in &own {
            if !KNOWN.contains(name) {
                return Err(call.fail(format!("it has no option `{name}`")));
            }
        }
        let said = |name: &str| -> R<Option<String>> {
            match own.iter().rfind(|(known, _)| *known == name) {
                Some((_, value)) => Ok(Some((*value).to_owned())),
                None => call.option(name).filter(|value| !value.is_none()).map(text).transpose(),
            }
        };
        let flag = |name: &str, default: bool| -> R<bool> {
            said(name)?.map_or(Ok(default), |value| call.switch(name, &value))
        };
        let missing = |name: &str, default: Missing| -> R<Missing> {
            Ok(match said(name)?.as_deref() {
                None => default,
                Some("error") => Missing::Error,
                Some("empty" | "warn") => Missing::Empty,
                Some("create") if name == "missing" => Missing::Create,
                Some(other) => return Err(call.fail(format!("`{name}` has no choice `{other}`"))),
            })
        };
        if let Some(backend) = said("backend")?.filter(|backend| backend != "pass") {
            return Err(call.fail(format!("only the backend `pass` is known, not `{backend}`")));
        }
        let length = said("length")?.unwrap_or_else(|| "16".to_owned());
        let create = flag("create", false)?;
        let directory = match said("directory")? {
            None => said("passwordstore")?,
            named => named,
        };
        Ok(Self {
            subkey: said("subkey")?.unwrap_or_else(|| "password".to_owned()),
            whole: flag("returnall", false)?,
            overwrite: flag("overwrite", false)?,
            missing: if create { Missing::Create } else { missing("missing", Missing::Error)? },
            missing_subkey: missing("missing_subkey", Missing::Empty)?,
            userpass: said("userpass")?,
            length: length
                .parse()
                .map_err(|_| call.fail(format!("`length` has to be a number, not `{length}`")))?,
            nosymbols: flag("nosymbols", false)?,
            backup: flag("backup", false)?,
            preserve: flag("preserve", true)?,
            timestamp: flag("timestamp", true)?,
            umask: said("umask")?,
            store: directory.map(|folder| filters::home_expanded(cx, &folder)),
            environment: Arc::clone(&cx.engine.options.environment),
        })
    }

    /// What `pass` prints, or what it complains about.
    fn pass(&self, call: &Call, words: &[&str], input: Option<&str>) -> R<Result<String, String>> {
        let mut command = Command::new("pass");
        command.args(words).stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(store) = &self.store {
            command.env("PASSWORD_STORE_DIR", store);
        }
        if let Some(umask) = &self.umask {
            command.env("PASSWORD_STORE_UMASK", umask);
        }
        let answer = command.spawn().and_then(|mut child| {
            let given = match (child.stdin.take(), input) {
                (Some(mut pipe), Some(input)) => pipe.write_all(input.as_bytes()),
                _ => Ok(()),
            };
            let output = child.wait_with_output()?;
            // A program that failed has not read all it was given, and says itself why.
            if output.status.success() { given.map(|()| output) } else { Ok(output) }
        });
        let output = answer.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => call.fail("the program `pass` is not on this machine: install it"),
            _ => call.fail(format!("`pass` could not be run: {e}")),
        })?;
        let clean = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(if output.status.success() {
            Ok(clean(&output.stdout))
        } else {
            Err(format!("`pass {}` ended with {}: {}", words[0], output.status, clean(&output.stderr).trim()))
        })
    }

    fn fresh(&self) -> String {
        if let Some(given) = &self.userpass {
            return given.clone();
        }
        let more = if self.nosymbols { "" } else { SYMBOLS };
        let alphabet: Vec<char> = LETTERS.chars().chain(more.chars()).collect();
        (0..self.length).map(|_| alphabet[Dice::System.below(alphabet.len())]).collect()
    }

    fn insert(&self, call: &Call, entry: &str, content: &str) -> R<()> {
        self.pass(call, &["insert", "-f", "-m", entry], Some(content))?
            .map(|_| ())
            .map_err(|why| call.fail(why))
    }

    /// A new entry: what is asked for has a fresh value.
    fn create(&self, call: &Call, entry: &str) -> R<String> {
        let made = self.fresh();
        let mut content = if self.subkey == "password" { made } else { format!("\n{}: {made}", self.subkey) };
        if self.timestamp {
            content.push_str(&format!("\nlookup_pass: First generated by ansible on {}", now()));
        }
        content.push('\n');
        self.insert(call, entry, &content)?;
        Ok(content)
    }

    /// An entry whose wanted part is made anew; the rest of it stays.
    fn renew(&self, call: &Call, entry: &str, before: &str) -> R<String> {
        let made = self.fresh();
        let (first, rest) = before.split_once('\n').unwrap_or((before, ""));
        let mut lines: Vec<String> =
            if self.preserve { rest.trim_end().lines().map(str::to_owned).collect() } else { Vec::new() };
        let password = if self.subkey == "password" {
            made
        } else {
            let line = format!("{}: {made}", self.subkey);
            match lines.iter_mut().find(|line| line.starts_with(&format!("{}:", self.subkey))) {
                Some(place) => *place = line,
                None => lines.push(line),
            }
            first.to_owned()
        };
        if self.backup {
            let old =
                if self.subkey == "password" { Some(first.to_owned()) } else { part(before, &self.subkey) };
            let old = old.unwrap_or_default();
            lines.push(format!("lookup_pass: old {} was {old} (Updated on {})", self.subkey, now()));
        }
        let content = [vec![password], lines].concat().join("\n") + "\n";
        self.insert(call, entry, &content)?;
        Ok(content)
    }

    fn wanted(&self, call: &Call, entry: &str, content: &str) -> R<Value> {
        if self.whole {
            return Ok(Value::from(content.trim_end_matches('\n')));
        }
        if self.subkey == "password" {
            return Ok(Value::from(content.lines().next().unwrap_or_default()));
        }
        match part(content, &self.subkey) {
            Some(value) => Ok(Value::from(value)),
            None if self.missing_subkey == Missing::Error => {
                Err(call.fail(format!("the entry `{entry}` has no `{}`", self.subkey)))
            }
            None => Ok(Value::from(())),
        }
    }
}

/// The value of a line `key: value` below the password.
fn part(content: &str, key: &str) -> Option<String> {
    content
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| known.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

fn now() -> String {
    jiff::Zoned::now().strftime("%d/%m/%Y %H:%M:%S").to_string()
}
