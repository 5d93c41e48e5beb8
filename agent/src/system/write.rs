//! Replacing a small text file whole: written beside its target, synced, renamed.
//!
//! Owns: that dance for configuration files that modules edit. Must not: know what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::root;
use crate::modules::Fault;

/// Replaces the file's content; an existing file keeps owner and mode, a new one gets `mode`.
///
/// # Errors
/// When the folder cannot be made or the file not written.
pub fn replace(path: &str, content: &str, mode: u32) -> Result<(), Fault> {
    write(&root::at(path), content.as_bytes(), mode)
        .map_err(|e| super::fault(format!("cannot write `{path}`: {e}")))
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A link (`/etc/resolv.conf`, `/etc/timezone`) keeps being one: its target is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = folder.join(format!(".{name}.{}.dcos-play", std::process::id()));
    let before = fs::metadata(&path).ok();
    let result = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        if let Some(meta) = &before {
            fchown(&file, Some(meta.uid()), Some(meta.gid())).or_else(ignore_not_permitted)?;
        }
        let mode = before.as_ref().map_or(mode, |m| m.mode() & 0o7777);
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()
    })();
    if result.is_err() {
        fs::remove_file(&temporary).ok();
    }
    result
}

/// Ordinary users cannot give files away, and need not when the owner is themselves.
fn ignore_not_permitted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
}
