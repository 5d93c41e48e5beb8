//! Owner, group, mode, SELinux context and `chattr` flags: the options nearly every file module shares.
//!
//! Owns: their option table, comparing them with a file, and setting them. Must not: create or remove files.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{accounts, mode};
use crate::modules::{Command, Fault, Host};
use crate::options::Opt;

/// The shared options. A module lists them in its spec and flattens [`Attributes`] into its arguments.
pub static OPTIONS: &[Opt] = &[
    Opt::mode("mode"),
    Opt::str("owner"),
    Opt::str("group"),
    Opt::str("attributes").aliases(&["attr"]),
    Opt::str("seuser"),
    Opt::str("serole"),
    Opt::str("setype"),
    Opt::str("selevel"),
    Opt::bool("unsafe_writes"),
];

/// What the user wants a file to have; absent is as it is.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Attributes {
    pub mode: Option<String>,
    pub owner: Option<String>,
    pub group: Option<String>,
    pub attributes: Option<String>,
    pub seuser: Option<String>,
    pub serole: Option<String>,
    pub setype: Option<String>,
    pub selevel: Option<String>,
    #[serde(default)]
    pub unsafe_writes: bool,
}

/// What has to change on one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AttributeChange {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
    pub context: Option<String>,
    pub flags: Option<String>,
    /// Before and after by Ansible's names (`mode`, `owner`, `group`, `secontext`, `attributes`), for the diff.
    pub before: Map<String, Value>,
    pub after: Map<String, Value>,
}

impl AttributeChange {
    /// True when nothing has to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uid.is_none()
            && self.gid.is_none()
            && self.mode.is_none()
            && self.context.is_none()
            && self.flags.is_none()
    }

    fn note(&mut self, name: &str, before: impl Into<Value>, after: impl Into<Value>) {
        self.before.insert(name.to_owned(), before.into());
        self.after.insert(name.to_owned(), after.into());
    }

    /// The diff entry of this change, as Ansible's `file` shows it.
    #[must_use]
    pub fn diff(&self, path: &Path) -> Value {
        let with_path = |map: &Map<String, Value>| {
            let mut all = Map::new();
            all.insert("path".to_owned(), path.display().to_string().into());
            all.extend(map.clone());
            Value::Object(all)
        };
        serde_json::json!({ "before": with_path(&self.before), "after": with_path(&self.after) })
    }

    /// Makes the change.
    ///
    /// # Errors
    /// When the system refuses; the message names the path.
    pub fn apply(&self, path: &Path, host: &Host<'_>) -> Result<(), Fault> {
        use nix::fcntl::AtFlags;
        use nix::unistd::{Gid, Uid, fchownat};
        if self.uid.is_some() || self.gid.is_some() {
            fchownat(
                nix::fcntl::AT_FDCWD,
                path,
                self.uid.map(Uid::from_raw),
                self.gid.map(Gid::from_raw),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )
            .map_err(|e| Fault::io("change the owner of", path, &e.into()))?;
        }
        let is_link = fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
        // Changing the owner takes away set-uid bits, so the mode comes after.
        if let Some(mode) = self.mode
            && !is_link
        {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .map_err(|e| Fault::io("change the mode of", path, &e))?;
        }
        if let Some(context) = &self.context {
            selinux::set(path, context)?;
        }
        if let Some(flags) = &self.flags {
            let argv = ["chattr", flags, &path.display().to_string()].map(str::to_owned).to_vec();
            let done = host.runner.run(&Command { argv, ..Command::default() })?;
            if done.rc != 0 {
                let err = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                return Err(Fault::new(format!("chattr failed: {err}")).with("rc", done.rc));
            }
        }
        Ok(())
    }
}

impl Attributes {
    /// The user's number.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn uid(&self) -> Result<Option<u32>, Fault> {
        let Some(owner) = &self.owner else { return Ok(None) };
        match owner.parse().ok().or_else(|| accounts::user(owner).map(|u| u.uid)) {
            Some(uid) => Ok(Some(uid)),
            None => Err(Fault::new(format!("chown failed: failed to look up user {owner}"))),
        }
    }

    /// The group's number.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn gid(&self) -> Result<Option<u32>, Fault> {
        let Some(group) = &self.group else { return Ok(None) };
        match group.parse().ok().or_else(|| accounts::group(group).map(|g| g.gid)) {
            Some(gid) => Ok(Some(gid)),
            None => Err(Fault::new(format!("chgrp failed: failed to look up group {group}"))),
        }
    }

    /// The mode that a file which has `current` should have.
    ///
    /// # Errors
    /// When the text is no mode.
    pub fn mode_for(&self, current: u32, is_dir: bool) -> Result<Option<u32>, Fault> {
        let Some(text) = &self.mode else { return Ok(None) };
        match mode::apply(text, current, is_dir) {
            Some(mode) => Ok(Some(mode)),
            None => Err(Fault::new(format!("mode `{text}` must be octal or symbolic"))),
        }
    }

    /// What has to change on a file that exists. With `follow` a link's target is looked at.
    ///
    /// # Errors
    /// When the file can't be looked at, or an account doesn't exist. In check mode an unknown account is a change:
    /// a task before this one may create it.
    pub fn plan(&self, path: &Path, follow: bool, host: &Host<'_>) -> Result<AttributeChange, Fault> {
        let meta = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let meta = meta.map_err(|e| Fault::io("look at", path, &e))?;
        self.plan_for(path, &meta, host)
    }

    /// Like [`Attributes::plan`] for a file whose metadata is known.
    ///
    /// # Errors
    /// As there.
    pub fn plan_for(&self, path: &Path, meta: &Metadata, host: &Host<'_>) -> Result<AttributeChange, Fault> {
        let mut change = AttributeChange::default();
        match self.uid() {
            Ok(Some(uid)) if uid != meta.uid() => {
                change.uid = Some(uid);
                change.note("owner", meta.uid(), uid);
            }
            Ok(_) => {}
            Err(_) if host.check => {
                change.uid = Some(u32::MAX);
                change.note("owner", meta.uid(), self.owner.clone());
            }
            Err(fault) => return Err(fault),
        }
        match self.gid() {
            Ok(Some(gid)) if gid != meta.gid() => {
                change.gid = Some(gid);
                change.note("group", meta.gid(), gid);
            }
            Ok(_) => {}
            Err(_) if host.check => {
                change.gid = Some(u32::MAX);
                change.note("group", meta.gid(), self.group.clone());
            }
            Err(fault) => return Err(fault),
        }
        let current = meta.mode() & mode::BITS;
        if let Some(wanted) = self.mode_for(current, meta.is_dir())?
            && !meta.is_symlink()
        {
            // A new owner loses the set-uid bits, which then have to be set again.
            if wanted != current || (change.uid.is_some() || change.gid.is_some()) && wanted & 0o6000 != 0 {
                change.mode = Some(wanted);
            }
            if wanted != current {
                change.note("mode", mode::octal(current), mode::octal(wanted));
            }
        }
        if let Some((before, after)) = self.context_change(path)? {
            change.note("secontext", before, after.clone());
            change.context = Some(after);
        }
        if let Some(wanted) = &self.attributes
            && let Some((before, after)) = flags_change(path, wanted, host)?
        {
            change.note("attributes", before, after);
            let operator = if wanted.starts_with(['+', '-', '=']) { "" } else { "=" };
            change.flags = Some(format!("{operator}{wanted}"));
        }
        Ok(change)
    }

    fn context_change(&self, path: &Path) -> Result<Option<(String, String)>, Fault> {
        let wanted = [&self.seuser, &self.serole, &self.setype, &self.selevel];
        if wanted.iter().all(|part| part.is_none()) || !selinux::enabled() {
            return Ok(None);
        }
        let current = selinux::get(path).unwrap_or_default();
        let mut parts: Vec<String> = current.splitn(4, ':').map(str::to_owned).collect();
        parts.resize(4, String::new());
        let usual: Option<Vec<String>> = wanted
            .iter()
            .any(|w| w.as_deref() == Some("_default"))
            .then(|| selinux::usual(path))
            .flatten()
            .map(|context| context.splitn(4, ':').map(str::to_owned).collect());
        for (at, part) in wanted.iter().enumerate() {
            match part.as_deref() {
                Some("_default") => {
                    if let Some(usual) = usual.as_ref().and_then(|u| u.get(at)) {
                        parts[at].clone_from(usual);
                    }
                }
                Some(part) => part.clone_into(&mut parts[at]),
                None => {}
            }
        }
        let after = parts.join(":").trim_end_matches(':').to_owned();
        Ok((after != current).then_some((current, after)))
    }
}

/// Before and after of `lsattr`'s letters; `None` when they are as wanted.
fn flags_change(path: &Path, wanted: &str, host: &Host<'_>) -> Result<Option<(String, String)>, Fault> {
    let argv = ["lsattr", "-d", &path.display().to_string()].map(str::to_owned).to_vec();
    let done = host.runner.run(&Command { argv, ..Command::default() })?;
    if done.rc != 0 {
        let err = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        return Err(Fault::new(format!("lsattr failed: {err}")).with("rc", done.rc));
    }
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let before: String = text.split_whitespace().next().unwrap_or_default().replace('-', "");
    let letters = wanted.trim_start_matches(['+', '-', '=']);
    let after: String = match wanted.chars().next() {
        Some('+') => before.chars().chain(letters.chars().filter(|c| !before.contains(*c))).collect(),
        Some('-') => before.chars().filter(|c| !letters.contains(*c)).collect(),
        // Extents are the file system's own business: they can't be taken away.
        _ => letters.chars().chain(before.chars().filter(|c| *c == 'e' && !letters.contains('e'))).collect(),
    };
    let sorted = |text: &str| {
        let mut chars: Vec<char> = text.chars().collect();
        chars.sort_unstable();
        chars
    };
    Ok((sorted(&before) != sorted(&after)).then_some((before, after)))
}

/// SELinux labels, where the kernel has them.
pub mod selinux {
    use super::{Fault, OsStr, Path};

    const NAME: &str = "security.selinux";

    /// True when the kernel enforces or logs.
    #[must_use]
    pub fn enabled() -> bool {
        Path::new("/sys/fs/selinux/enforce").exists()
    }

    /// A file's label (of the link itself, for links).
    #[must_use]
    pub fn get(path: &Path) -> Option<String> {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, NAME, &mut value[..]).ok()?;
        value.truncate(length);
        Some(String::from_utf8_lossy(&value).trim_end_matches('\0').to_owned())
    }

    /// Sets a file's label.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set(path: &Path, context: &str) -> Result<(), Fault> {
        let value = [context.as_bytes(), b"\0"].concat();
        rustix::fs::lsetxattr(path, NAME, &value, rustix::fs::XattrFlags::empty())
            .map_err(|e| Fault::io("set the SELinux context of", path, &e.into()))
    }

    /// The label that the policy has for this path.
    #[must_use]
    pub fn usual(path: &Path) -> Option<String> {
        let output =
            std::process::Command::new("matchpathcon").args([OsStr::new("-n"), path.as_os_str()]).output();
        let output = output.ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|c| c.contains(':'))
    }
}
