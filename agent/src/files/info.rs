//! What results say about a file.
//!
//! Owns: the keys that every file module returns. Must not: follow links unless told.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::{Map, Value};

use super::attributes::selinux;
use super::{accounts, mode};

/// Ansible's word for what is at a path: `absent`, `file`, `directory`, `link` or `hard`.
#[must_use]
pub fn state(path: &Path) -> &'static str {
    match fs::symlink_metadata(path) {
        Err(_) => "absent",
        Ok(meta) if meta.is_symlink() => "link",
        Ok(meta) if meta.is_dir() => "directory",
        Ok(meta) if meta.nlink() > 1 => "hard",
        Ok(_) => "file",
    }
}

/// `uid`, `gid`, `owner`, `group`, `mode`, `state`, `size` and `secontext` of what is at a path.
#[must_use]
pub fn path_info(path: &Path) -> Map<String, Value> {
    let mut info = Map::new();
    info.insert("state".to_owned(), state(path).into());
    let Ok(meta) = fs::symlink_metadata(path) else { return info };
    info.insert("uid".to_owned(), meta.uid().into());
    info.insert("gid".to_owned(), meta.gid().into());
    info.insert("owner".to_owned(), owner(&meta).into());
    info.insert("group".to_owned(), group(&meta).into());
    // Ansible puts a zero in front of three digits or more here, while `stat` fills up to four.
    info.insert("mode".to_owned(), format!("0{:03o}", meta.mode() & 0o7777).into());
    info.insert("size".to_owned(), meta.len().into());
    if let Some(context) = selinux::enabled().then(|| selinux::get(path)).flatten() {
        info.insert("secontext".to_owned(), context.into());
    }
    info
}

/// The owner's name, or number when it has none.
#[must_use]
pub fn owner(meta: &Metadata) -> String {
    accounts::user_by_id(meta.uid()).map_or_else(|| meta.uid().to_string(), |u| u.name)
}

/// The group's name, or number when it has none.
#[must_use]
pub fn group(meta: &Metadata) -> String {
    accounts::group_by_id(meta.gid()).map_or_else(|| meta.gid().to_string(), |g| g.name)
}

/// The keys that `stat` and `find` share, without the existence and the links.
#[must_use]
pub fn stat_keys(path: &Path, meta: &Metadata) -> Map<String, Value> {
    let kind = meta.file_type();
    let bits = meta.mode();
    let time = |seconds: i64, nanos: i64| {
        #[expect(clippy::cast_precision_loss, reason = "Ansible gives times as floats")]
        let seconds = seconds as f64 + nanos as f64 / 1e9;
        seconds
    };
    let set = |bit: u32| bits & bit != 0;
    let Value::Object(mut keys) = serde_json::json!({
        "path": path.display().to_string(),
        "mode": mode::octal(bits),
        "isdir": kind.is_dir(),
        "ischr": kind.is_char_device(),
        "isblk": kind.is_block_device(),
        "isreg": kind.is_file(),
        "isfifo": kind.is_fifo(),
        "islnk": kind.is_symlink(),
        "issock": kind.is_socket(),
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.len(),
        "inode": meta.ino(),
        "dev": meta.dev(),
        "device_type": meta.rdev(),
        "blocks": meta.blocks(),
        "block_size": meta.blksize(),
        "nlink": meta.nlink(),
        "atime": time(meta.atime(), meta.atime_nsec()),
        "mtime": time(meta.mtime(), meta.mtime_nsec()),
        "ctime": time(meta.ctime(), meta.ctime_nsec()),
        "wusr": set(0o200), "rusr": set(0o400), "xusr": set(0o100),
        "wgrp": set(0o020), "rgrp": set(0o040), "xgrp": set(0o010),
        "woth": set(0o002), "roth": set(0o004), "xoth": set(0o001),
        "isuid": set(0o4000), "isgid": set(0o2000),
    }) else {
        return Map::new();
    };
    keys.insert("pw_name".to_owned(), owner(meta).into());
    keys.insert("gr_name".to_owned(), group(meta).into());
    keys
}
