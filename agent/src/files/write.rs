//! Writing whole files safely.
//!
//! Owns: temporary names, validation, backups and the rename. Must not: decide whether a file needs writing.
//!
//! A file is written under a temporary name beside its target, checked, given its owner and mode, fsynced and renamed,
//! so that nobody ever sees half of it or a moment of a wrong mode.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::attributes::{Attributes, selinux};
use super::mode;
use crate::modules::{Command, Fault, Host};
use crate::{times, words};

/// What to put into a file.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    Bytes(&'a [u8]),
    /// The contents of another file.
    File(&'a Path),
    /// A file that nobody needs any more: moved where possible, which saves a copy of large ones.
    Taken(&'a Path),
}

/// One write.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The file to make or replace. A link here is replaced: resolve it first to write through it.
    pub path: &'a Path,
    pub content: Content<'a>,
    /// What is not told is kept from the file that's there.
    pub attributes: &'a Attributes,
    /// A command with `%s` for the new file; unless it succeeds nothing is written.
    pub validate: Option<&'a str>,
    /// Keep a copy of what is there.
    pub backup: bool,
}

/// Writes a file. Gives the backup's path when one was asked for and there was a file.
///
/// # Errors
/// When anything fails; the target is then as it was.
pub fn write(write: &Write<'_>, host: &Host<'_>) -> Result<Option<String>, Fault> {
    let path = write.path;
    let there = fs::symlink_metadata(path).ok();
    let keep = there.as_ref().filter(|m| m.is_file());
    let temp = Temp::beside(path)?;
    fill(&temp.0, write.content).map_err(|e| Fault::io("write", path, &e))?;
    if let Some(command) = write.validate {
        validate(command, &temp.0, host)?;
    }
    dress(&temp.0, keep, path, write.attributes)?;
    let backup = if write.backup && keep.is_some() { Some(backup(path)?) } else { None };
    match fs::rename(&temp.0, path) {
        Ok(()) => {}
        // A file that is a mount point (in containers) can't be replaced, only overwritten.
        Err(_) if write.attributes.unsafe_writes => {
            File::create(path)
                .and_then(|mut to| io::copy(&mut File::open(&temp.0)?, &mut to).map(|_| ()))
                .map_err(|e| Fault::io("write", path, &e))?;
        }
        Err(e) => return Err(Fault::io("replace", path, &e)),
    }
    if keep.is_none()
        && selinux::enabled()
        && let Some(context) = selinux::usual(path)
    {
        selinux::set(path, &context)?;
    }
    // Contexts and flags are for the final path.
    if write.attributes.attributes.is_some() || selinux::enabled() {
        write.attributes.plan(path, false, host)?.apply(path, host)?;
    }
    Ok(backup)
}

/// A file that goes unless it was renamed.
struct Temp(PathBuf);

impl Drop for Temp {
    fn drop(&mut self) {
        // After the rename there is nothing under this name.
        let _ = fs::remove_file(&self.0);
    }
}

impl Temp {
    fn beside(path: &Path) -> Result<Self, Fault> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            path.file_name().ok_or_else(|| Fault::new(format!("`{}` names no file", path.display())))?;
        // The name must fit with what we put around it.
        let name: String = name.to_string_lossy().chars().take(60).collect();
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let temp = path.with_file_name(format!(".{name}.dcos-play-{}-{next}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp) {
                Ok(_) => return Ok(Self(temp)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    let folder = path.parent().unwrap_or(path);
                    return Err(Fault::io("write a file into", folder, &e));
                }
            }
        }
    }
}

fn fill(temp: &Path, content: Content<'_>) -> io::Result<()> {
    if let Content::Taken(source) = content
        && fs::rename(source, temp).is_ok()
    {
        fs::set_permissions(temp, fs::Permissions::from_mode(0o600))?;
        return File::open(temp)?.sync_all();
    }
    let mut file = OpenOptions::new().write(true).open(temp)?;
    match content {
        Content::Bytes(bytes) => file.write_all(bytes)?,
        Content::File(source) | Content::Taken(source) => {
            io::copy(&mut File::open(source)?, &mut file)?;
        }
    }
    file.sync_all()
}

/// Runs a validation command on a file.
///
/// # Errors
/// When it has no `%s` or doesn't succeed.
pub fn validate(command: &str, file: &Path, host: &Host<'_>) -> Result<(), Fault> {
    if !command.contains("%s") {
        return Err(Fault::new(format!("validate must contain %s: {command}")));
    }
    let argv = words::split(&command.replace("%s", &words::quote(&file.display().to_string())))
        .map_err(|e| Fault::new(format!("`validate` cannot be split into words: {e}")))?;
    let done = host.runner.run(&Command { argv, ..Command::default() })?;
    if done.rc == 0 {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Err(Fault::new(format!("failed to validate: rc:{} error:{err}", done.rc))
        .with("exit_status", done.rc)
        .with("stdout", out)
        .with("stderr", err.clone()))
}

/// Gives the new file owner, mode and extended attributes: those of the file it replaces, then what is wanted.
fn dress(
    temp: &Path,
    keep: Option<&fs::Metadata>,
    path: &Path,
    attributes: &Attributes,
) -> Result<(), Fault> {
    use nix::unistd::{Gid, Uid, chown};
    let (base, uid, gid) = match keep {
        Some(meta) => {
            copy_xattrs(path, temp);
            (meta.mode() & mode::BITS, Some(meta.uid()), Some(meta.gid()))
        }
        None => (0o666 & !umask(), None, None),
    };
    let wanted_uid = attributes.uid()?;
    let wanted_gid = attributes.gid()?;
    let now = fs::symlink_metadata(temp).map_err(|e| Fault::io("look at", temp, &e))?;
    let uid = wanted_uid.or(uid).filter(|uid| *uid != now.uid());
    let gid = wanted_gid.or(gid).filter(|gid| *gid != now.gid());
    if uid.is_some() || gid.is_some() {
        let changed = chown(temp, uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        // Keeping somebody else's file theirs is only possible for root; what was asked for has to work.
        if let Err(e) = changed
            && (wanted_uid.is_some() || wanted_gid.is_some())
        {
            return Err(Fault::io("change the owner of", path, &e.into()));
        }
    }
    let mode = attributes.mode_for(base, false)?.unwrap_or(base);
    fs::set_permissions(temp, fs::Permissions::from_mode(mode))
        .map_err(|e| Fault::io("change the mode of", path, &e))
}

/// Copies ACLs, capabilities and labels as far as the file system and our rights go, as Ansible does.
fn copy_xattrs(from: &Path, to: &Path) {
    let mut names = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::llistxattr(from, &mut names[..]) else { return };
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let mut value = vec![0; 64 << 10];
        if let Ok(length) = rustix::fs::lgetxattr(from, name, &mut value[..]) {
            let _ = rustix::fs::lsetxattr(to, name, &value[..length], rustix::fs::XattrFlags::empty());
        }
    }
}

/// The umask of this process, read without changing it.
#[must_use]
pub fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o022)
}

/// Copies a file to a name beside it that tells when, with its owner, mode and times. Gives the copy's path.
///
/// # Errors
/// When the copy can't be made.
pub fn backup(path: &Path) -> Result<String, Fault> {
    let stamp = times::local(SystemTime::now()).strftime("%Y-%m-%d@%H:%M:%S~").to_string();
    let copy = format!("{}.{}.{stamp}", path.display(), std::process::id());
    let target = Path::new(&copy);
    let copied = fs::metadata(path).and_then(|meta| {
        fs::copy(path, target)?;
        // Only root can give it away; a backup that is ours is still a backup.
        let _ = nix::unistd::chown(target, Some(meta.uid().into()), Some(meta.gid().into()));
        fs::set_permissions(target, meta.permissions())?;
        copy_xattrs(path, target);
        let times = fs::FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?);
        File::options().write(true).open(target)?.set_times(times)
    });
    copied.map_err(|e| Fault::io("make a backup of", path, &e))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Local;
    use crate::testing::temp_dir;

    fn host(runner: &Local) -> Host<'_> {
        Host { check: false, diff: false, environment: &[], runner }
    }

    #[test]
    fn a_write_keeps_what_it_is_not_told_and_leaves_no_trace() {
        let dir = temp_dir();
        let path = dir.path().join("f");
        fs::write(&path, "old").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
        let runner = Local::new();
        let kept = Attributes::default();
        let told = Attributes { mode: Some("u+x".to_owned()), ..Attributes::default() };
        let one = Write {
            path: &path,
            content: Content::Bytes(b"new"),
            attributes: &kept,
            validate: Some("grep -q new %s"),
            backup: true,
        };
        let backup = write(&one, &host(&runner)).expect("writes").expect("a backup");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "new");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o640);
        assert_eq!(fs::read_to_string(backup).expect("reads"), "old");
        write(&Write { attributes: &told, backup: false, ..one }, &host(&runner)).expect("writes");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o740);
        let bad = Write { content: Content::Bytes(b"bad"), backup: false, ..one };
        let fault = write(&bad, &host(&runner)).expect_err("not valid");
        assert_eq!(fault.msg, "failed to validate: rc:1 error:");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "new");
        assert_eq!(fs::read_dir(dir.path()).expect("reads").count(), 2, "no temporary file is left");
    }

    #[test]
    fn attributes_say_what_differs() {
        let dir = temp_dir();
        let path = dir.path().join("f");
        fs::write(&path, "").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        let runner = Local::new();
        let wanted = Attributes { mode: Some("0644".to_owned()), ..Attributes::default() };
        let change = wanted.plan(&path, true, &host(&runner)).expect("plans");
        assert_eq!(change.diff(&path)["after"]["mode"], "0644");
        change.apply(&path, &host(&runner)).expect("applies");
        assert!(wanted.plan(&path, true, &host(&runner)).expect("plans").is_empty());
        let nobody = Attributes { owner: Some("no-such-user".to_owned()), ..Attributes::default() };
        let fault = nobody.plan(&path, true, &host(&runner)).expect_err("fails");
        assert_eq!(fault.msg, "chown failed: failed to look up user no-such-user");
        let check = Host { check: true, ..host(&runner) };
        assert!(!nobody.plan(&path, true, &check).expect("plans").is_empty());
    }
}
