//! Ansible vault: whole files and `!vault` values, AES256.
//!
//! Owns: the format, passwords and their ids. Must not: ask the user (a password comes in ready) or write vault files.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::secrets::{Masks, Secret};
use crate::source::{Diagnostic, Entry, Mapping, Node, Yaml};

/// The passwords of a run.
#[derive(Debug, Default)]
pub struct Vault {
    /// Id (`default` when none was given) and password, in the order given.
    passwords: Vec<(String, Secret)>,
    /// Decrypted values are hidden in all output through these.
    masks: Option<Arc<Masks>>,
}

/// Why something can't be decrypted.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("it is encrypted and there is no vault password")]
    NoPassword,
    #[error("none of the vault passwords fits{}", .0.as_ref().map(|id| format!(" (it was encrypted with the id `{id}`)")).unwrap_or_default())]
    WrongPassword(Option<String>),
    #[error("it is no vault text of a known format: {0}")]
    Format(&'static str),
    #[error("the decrypted content is not UTF-8")]
    NotText,
}

/// Why a password can't be read.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("can't read the vault password: {0}")]
    Io(#[from] std::io::Error),
    #[error("the vault password script ended with {status}: {message}")]
    Script { status: std::process::ExitStatus, message: String },
    #[error("the vault password in `{0}` is empty")]
    Empty(String),
}

impl VaultError {
    /// What to do next.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NoPassword => Some("give `--vault-password-file FILE` or `--vault-id ID@FILE`"),
            Self::WrongPassword(_) => Some("check `--vault-password-file` and `--vault-id`"),
            Self::Format(_) | Self::NotText => None,
        }
    }
}

/// True for the text of an encrypted file or value.
#[must_use]
pub fn is_vault(text: &str) -> bool {
    text.trim_start().starts_with("$ANSIBLE_VAULT;")
}

/// Takes a `--vault-id` apart: `lab@file` is id and source, a bare source has the id `default`.
#[must_use]
pub fn split_id(spec: &str) -> (&str, &str) {
    spec.split_once('@').filter(|(id, _)| !id.is_empty()).unwrap_or(("default", spec.trim_start_matches('@')))
}

/// The password in a file, or what the file says when it is a program; `-` is standard input.
///
/// # Errors
/// A file that cannot be read, a program that fails, no password at all.
pub fn password_in(path: &Path, arguments: &[&str]) -> Result<Secret, PasswordError> {
    use std::os::unix::fs::PermissionsExt as _;
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())?
    } else if fs_err::metadata(path)?.permissions().mode() & 0o111 != 0 {
        let output = Command::new(path).args(arguments).output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(PasswordError::Script { status: output.status, message });
        }
        String::from_utf8_lossy(&output.stdout).into_owned()
    } else {
        fs_err::read_to_string(path)?
    };
    let password = text.trim_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(PasswordError::Empty(path.display().to_string()));
    }
    Ok(Secret::new(password))
}

impl Vault {
    /// Starts without passwords; decrypted texts are hidden through `masks`.
    #[must_use]
    pub fn new(masks: Arc<Masks>) -> Self {
        Self { passwords: Vec::new(), masks: Some(masks) }
    }

    /// True without any password.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty()
    }

    /// Adds a password under an id (`default` if none was given).
    pub fn add(&mut self, id: &str, password: Secret) {
        if let Some(masks) = &self.masks {
            masks.add(password.reveal());
        }
        self.passwords.push((id.to_owned(), password));
    }

    /// Adds the password in a file, or the output of an executable one; a script whose name ends in `-client` is given the id.
    ///
    /// # Errors
    /// An unreadable file, a failing script, an empty password.
    pub fn add_file(&mut self, id: &str, path: &Path) -> Result<(), PasswordError> {
        let client = path.file_stem().is_some_and(|s| s.to_string_lossy().ends_with("-client"));
        let named = ["--vault-id", id];
        let password = password_in(path, if client { &named } else { &[] })?;
        self.add(id, password);
        Ok(())
    }

    /// The text behind a vault envelope. The password whose id the envelope names is tried first, then the others.
    ///
    /// # Errors
    /// No or no fitting password; a text that is no vault envelope.
    pub fn decrypt(&self, text: &str) -> Result<String, VaultError> {
        let envelope = Envelope::parse(text)?;
        if self.passwords.is_empty() {
            return Err(VaultError::NoPassword);
        }
        let named = |id: &str| envelope.id.as_deref() == Some(id);
        let order = self
            .passwords
            .iter()
            .filter(|(id, _)| named(id))
            .chain(self.passwords.iter().filter(|(id, _)| !named(id)));
        for (_, password) in order {
            if let Some(plain) = envelope.open(password.reveal()) {
                return String::from_utf8(plain).map_err(|_| VaultError::NotText);
            }
        }
        Err(VaultError::WrongPassword(envelope.id))
    }

    /// The text of a `!vault` value, hidden in all output from now on.
    ///
    /// # Errors
    /// As [`Vault::decrypt`].
    pub fn open_value(&self, text: &str) -> Result<String, VaultError> {
        let plain = self.decrypt(text)?;
        if let Some(masks) = &self.masks {
            masks.add(&plain);
        }
        Ok(plain)
    }

    /// The text of a file that is encrypted as a whole. The values of variables in it are hidden in all output from now
    /// on; the names and words of encrypted task lists are not, or nothing could be read any more.
    ///
    /// # Errors
    /// As [`Vault::decrypt`].
    pub fn open_file(&self, text: &str) -> Result<String, VaultError> {
        let plain = self.decrypt(text)?;
        if let Some(masks) = &self.masks
            && let Ok(values @ serde_norway::Value::Mapping(_)) = serde_norway::from_str(&plain)
        {
            hide(&values, masks);
        }
        Ok(plain)
    }

    /// Decrypts every `!vault` value below a node and hides its text in output; the text is never a template. What can't be decrypted stays and is a finding.
    #[must_use]
    pub fn decrypt_node(&self, node: Node) -> (Node, Vec<Diagnostic>) {
        let mut faults = Vec::new();
        let node = self.walk(node, &mut faults);
        (node, faults)
    }

    fn walk(&self, node: Node, faults: &mut Vec<Diagnostic>) -> Node {
        let span = node.span;
        let value = match node.value {
            Yaml::Vault(text) => match self.open_value(&text) {
                Ok(plain) => Yaml::Unsafe(plain.into()),
                Err(fault) => {
                    let error =
                        Diagnostic::error("vault", format!("can't decrypt this value: {fault}"), span);
                    faults.push(match fault.help() {
                        Some(help) => error.help(help),
                        None => error,
                    });
                    Yaml::Vault(text)
                }
            },
            Yaml::Seq(items) => Yaml::Seq(items.into_iter().map(|i| self.walk(i, faults)).collect()),
            Yaml::Map(map) => {
                let entries = map
                    .entries
                    .into_iter()
                    .map(|e| Entry { key: e.key, value: self.walk(e.value, faults) })
                    .collect();
                Yaml::Map(Mapping { entries })
            }
            other => other,
        };
        Node { span, value }
    }
}

fn hide(value: &serde_norway::Value, masks: &Masks) {
    use serde_norway::Value;
    match value {
        // A template says where a secret comes from; the secret is masked there.
        Value::String(text) if !text.contains("{{") => masks.add(text),
        Value::Number(number) => masks.add(&number.to_string()),
        Value::Sequence(items) => items.iter().for_each(|item| hide(item, masks)),
        Value::Mapping(map) => map.values().for_each(|value| hide(value, masks)),
        Value::Tagged(tagged) => hide(&tagged.value, masks),
        _ => {}
    }
}

/// `$ANSIBLE_VAULT;1.2;AES256;id` and what follows, out of its hexadecimal wrapping.
struct Envelope {
    id: Option<String>,
    salt: Vec<u8>,
    tag: Vec<u8>,
    cipher: Vec<u8>,
}

/// Rounds of PBKDF2 in formats 1.1 and 1.2.
const ROUNDS: u32 = 10_000;

impl Envelope {
    fn parse(text: &str) -> Result<Self, VaultError> {
        let mut lines = text.trim().lines().map(str::trim);
        let header: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
        let id = match header[..] {
            ["$ANSIBLE_VAULT", "1.1", "AES256"] => None,
            ["$ANSIBLE_VAULT", "1.2", "AES256", id] => Some(id.to_owned()),
            ["$ANSIBLE_VAULT", ..] => {
                return Err(VaultError::Format("only 1.1 and 1.2 with AES256 are read"));
            }
            _ => return Err(VaultError::Format("the first line must start with `$ANSIBLE_VAULT`")),
        };
        let damaged = || VaultError::Format("its body is damaged");
        let body: String = lines.collect();
        let inner = String::from_utf8(unhex(&body).ok_or_else(damaged)?).map_err(|_| damaged())?;
        let mut parts = inner.split('\n').map(unhex);
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
            (Some(salt), Some(tag), Some(cipher)) => Ok(Self { id, salt, tag, cipher }),
            _ => Err(damaged()),
        }
    }

    /// The plain bytes, if the password fits.
    fn open(&self, password: &str) -> Option<Vec<u8>> {
        let mut keys = [0_u8; 80];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &self.salt, ROUNDS, &mut keys);
        let (key, rest) = keys.split_at(32);
        let (tag_key, start) = rest.split_at(32);
        let mut mac = Hmac::<Sha256>::new_from_slice(tag_key).ok()?;
        mac.update(&self.cipher);
        mac.verify_slice(&self.tag).ok()?;
        let mut plain = self.cipher.clone();
        ctr::Ctr128BE::<aes::Aes256>::new_from_slices(key, start).ok()?.apply_keystream(&mut plain);
        // PKCS#7: the last byte says how many bytes of padding there are.
        let padding = usize::from(*plain.last()?);
        plain.truncate(plain.len().checked_sub(padding)?);
        Some(plain)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
