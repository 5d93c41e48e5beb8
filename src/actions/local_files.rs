//! Files of the controller: where they are looked for and how they are read.
//!
//! Owns: Ansible's search rule for `src:` and kin, checksums, vault files. Must not: talk to a host.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcos_play_agent::files::checksum::{hex, sha1};
use sha1::{Digest as _, Sha1};

use super::{Context, Stop};
use crate::connection::Content;

/// Files up to this size are read into memory; larger ones are streamed.
const IN_MEMORY: u64 = 4 << 20;
/// What an encrypted file starts with.
const SEALED: &[u8] = b"$ANSIBLE_VAULT;";

/// A file's bytes with what a transfer needs to know about them.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) content: Content,
    /// SHA-1, in hex: what `checksum` means everywhere in Ansible.
    pub(super) checksum: String,
    pub(super) size: u64,
}

impl Payload {
    /// Bytes made on the controller.
    pub(super) fn bytes(bytes: Vec<u8>) -> Self {
        Self { checksum: sha1(&bytes), size: bytes.len() as u64, content: Content::Bytes(Arc::from(bytes)) }
    }

    /// A file of the controller; with `decrypt` a vault file gives its plain text.
    pub(super) async fn file(context: &Context<'_>, path: &Path, decrypt: bool) -> Result<Self, Stop> {
        let owned = path.to_owned();
        let vault = if decrypt { context.vault.clone() } else { None };
        // A large file takes its time: other hosts' steps must not wait for it.
        let read = tokio::task::spawn_blocking(move || read(&owned, decrypt, vault.as_ref()));
        read.await.map_err(|e| Stop::failed(format!("reading `{}` ended early: {e}", path.display())))?
    }
}

fn read(path: &Path, decrypt: bool, vault: Option<&crate::template::VaultOpener>) -> Result<Payload, Stop> {
    let unreadable = |e: std::io::Error| Stop::failed(format!("cannot read a file on the controller: {e}"));
    let mut file = fs_err::File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let mut head = Vec::new();
    let mut first = fs_err::File::open(path).map_err(unreadable)?.take(SEALED.len() as u64);
    first.read_to_end(&mut head).map_err(unreadable)?;
    if (decrypt && head == SEALED) || size <= IN_MEMORY {
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        return Ok(Payload::bytes(if decrypt { opened(path, bytes, vault)? } else { bytes }));
    }
    let mut hash = Sha1::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => hash.update(&piece[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    Ok(Payload { content: Content::File(path.to_owned()), checksum: hex(&hash.finalize()), size })
}

/// The plain bytes of a file that may be a vault file.
pub(super) fn opened(
    path: &Path,
    bytes: Vec<u8>,
    vault: Option<&crate::template::VaultOpener>,
) -> Result<Vec<u8>, Stop> {
    if !bytes.starts_with(SEALED) {
        return Ok(bytes);
    }
    let shown = path.display();
    let Some(open) = vault else {
        return Err(Stop::failed(format!("`{shown}` is encrypted but no vault password is given")));
    };
    open(&String::from_utf8_lossy(&bytes))
        .map(String::into_bytes)
        .map_err(|why| Stop::failed(format!("the vault file `{shown}` cannot be opened: {why}")))
}

/// Finds a file or folder for a task: in the folders of the role, of the task file and of the playbook, in each
/// under `kind` (`files`, `templates`, `vars`) first.
pub(super) fn find(context: &Context<'_>, kind: &str, written: &str) -> Result<PathBuf, Stop> {
    let path = expand_home(written);
    if path.is_absolute() {
        return if path.exists() {
            Ok(path)
        } else {
            Err(Stop::failed(format!("could not find or access `{written}` on the controller")))
        };
    }
    let mut bases = context.scope.search().bases;
    if !bases.iter().any(|base| base == context.playbook_directory) {
        bases.push(context.playbook_directory.to_owned());
    }
    let mut tried = Vec::new();
    for base in bases {
        for candidate in [base.join(kind).join(&path), base.join(&path)] {
            if candidate.exists() {
                return Ok(candidate);
            }
            let folder = candidate.parent().unwrap_or(&base).display().to_string();
            if !tried.contains(&folder) {
                tried.push(folder);
            }
        }
    }
    let tried = tried.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", ");
    Err(Stop::failed(format!("could not find or access `{written}` on the controller, searched in {tried}")))
}

/// `~` as this user's home folder.
pub(super) fn expand_home(written: &str) -> PathBuf {
    match written.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => PathBuf::from(written),
    }
}

/// The mode of a local file as an octal string, for `mode: preserve`.
pub(super) fn mode_of(path: &Path) -> Result<String, Stop> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = fs_err::metadata(path)
        .map_err(|e| Stop::failed(format!("cannot read a file on the controller: {e}")))?;
    Ok(format!("{:04o}", meta.permissions().mode() & 0o7777))
}
