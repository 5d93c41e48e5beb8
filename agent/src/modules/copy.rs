//! `copy`: the host half. Puts an uploaded file, text, or a file of the host at its place.
//!
//! Owns: the comparison and the write. Must not: fetch from the controller; it answers `_need_upload: true` when the
//! named checksum is not what is there, and the controller repeats the step with the content as `src`.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, AttributeChange, Attributes};
use crate::files::write::{Content, Write, write};
use crate::files::{checksum, diff, info, mode, real_path};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("src"),
    Opt::raw("content").secret(),
    Opt::path("dest").required(),
    Opt::bool("backup"),
    Opt::bool("force").aliases(&["thirsty"]),
    Opt::bool("follow"),
    Opt::bool("remote_src"),
    Opt::bool("local_follow"),
    Opt::bool("decrypt").ignored("vault files are opened on the controller"),
    Opt::mode("directory_mode"),
    Opt::str("checksum"),
    Opt::str("validate"),
    Opt::str("_original_basename"),
];

/// See the module's documentation.
pub struct Copy;

/// Arguments of `copy`.
#[derive(Debug, Deserialize)]
pub struct Args {
    src: Option<String>,
    content: Option<Value>,
    dest: String,
    #[serde(default)]
    backup: bool,
    force: Option<bool>,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    remote_src: bool,
    local_follow: Option<bool>,
    directory_mode: Option<String>,
    checksum: Option<String>,
    validate: Option<String>,
    #[serde(rename = "_original_basename")]
    original_basename: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

/// Where a file's new content is.
#[derive(Debug)]
enum Source {
    Text(Vec<u8>),
    File(PathBuf),
    /// A file that was sent for this step alone.
    Upload(PathBuf),
}

impl Source {
    fn content(&self) -> Content<'_> {
        match self {
            Self::Text(bytes) => Content::Bytes(bytes),
            Self::File(path) => Content::File(path),
            Self::Upload(path) => Content::Taken(path),
        }
    }
}

/// One thing to do; a folder is many.
#[derive(Debug)]
enum Act {
    /// Make a folder, with the mode for new ones.
    Folder(PathBuf, Option<u32>),
    Write {
        dest: PathBuf,
        source: Source,
        attributes: Attributes,
        unlink: bool,
    },
    Link {
        dest: PathBuf,
        target: PathBuf,
    },
    Attributes(PathBuf, AttributeChange),
    /// The content has to come first.
    NeedUpload,
}

/// All that has to be done.
pub struct Change {
    acts: Vec<Act>,
    values: Map<String, Value>,
    dest: PathBuf,
}

impl Module for Copy {
    const SPEC: Spec = Spec {
        options: &[OPTIONS, attributes::OPTIONS],
        mutually_exclusive: &[&["src", "content"]],
        ..Spec::new("copy")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let plan = Plan { args, host, acts: Vec::new(), diff: Vec::new(), same: false };
        let source = args.src.as_deref().filter(|_| args.remote_src).map(Path::new);
        if let Some(source) = source {
            let meta = fs::metadata(source)
                .map_err(|_| Fault::new(format!("Source {} not found", source.display())))?;
            if meta.is_dir() {
                return plan.tree(source);
            }
        }
        plan.file()
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        let mut values = change.values;
        for act in change.acts {
            match act {
                Act::NeedUpload => {
                    // Nothing was done, so nothing has changed yet.
                    return Ok(Outcome::same().with("_need_upload", true).with("dest", args.dest.clone()));
                }
                Act::Folder(path, mode) => make_folder(&path, mode)?,
                Act::Write { dest, source, attributes, unlink } => {
                    if !unlink && dest.is_symlink() {
                        return Err(Fault::new(format!("`{}` is a link", dest.display())));
                    }
                    let one = Write {
                        path: &dest,
                        content: source.content(),
                        attributes: &attributes,
                        validate: args.validate.as_deref(),
                        backup: args.backup,
                    };
                    if let Some(backup) = write(&one, host)? {
                        values.insert("backup_file".to_owned(), backup.into());
                    }
                }
                Act::Link { dest, target } => {
                    std::os::unix::fs::symlink(&target, &dest).map_err(|e| Fault::io("link", &dest, &e))?;
                }
                Act::Attributes(path, change) => change.apply(&path, host)?,
            }
        }
        values.extend(info::path_info(&change.dest));
        Ok(Outcome { changed: true, values, ..Outcome::default() })
    }
}

struct Plan<'a> {
    args: &'a Args,
    host: &'a Host<'a>,
    acts: Vec<Act>,
    diff: Vec<Value>,
    /// The one file has the content already.
    same: bool,
}

impl Plan<'_> {
    fn file(mut self) -> Result<Inspection<Change>, Fault> {
        let args = self.args;
        let source = match (&args.src, &args.content) {
            (Some(src), _) if args.remote_src => Some(Source::File(PathBuf::from(src))),
            (Some(src), _) => Some(Source::Upload(PathBuf::from(src))),
            (None, Some(Value::String(text))) => Some(Source::Text(text.clone().into_bytes())),
            (None, Some(other)) => Some(Source::Text(other.to_string().into_bytes())),
            (None, None) => None,
        };
        let sum = match (&source, &args.checksum) {
            (Some(Source::Text(bytes)), _) => checksum::sha1(bytes),
            (Some(Source::File(path) | Source::Upload(path)), expected) => {
                let sum = checksum::of_file("sha1", path).map_err(|e| Fault::io("read", path, &e))?;
                if let Some(expected) = expected.as_ref().filter(|e| **e != sum) {
                    return Err(Fault::new(
                        "Copied file does not match the expected checksum. Transfer failed.",
                    )
                    .with("checksum", sum)
                    .with("expected_checksum", expected.clone()));
                }
                sum
            }
            (None, Some(sum)) => sum.clone(),
            (None, None) => return Err(Fault::new("src (or content) is required")),
        };
        let mut dest = PathBuf::from(&args.dest);
        if args.dest.ends_with('/') || dest.is_dir() {
            let name = args.original_basename.clone().or_else(|| match (&args.src, args.remote_src) {
                (Some(src), true) => Path::new(src).file_name().map(|n| n.to_string_lossy().into_owned()),
                _ => None,
            });
            let Some(name) = name else {
                return Err(Fault::new(format!("can not use content with a dir as dest: {}", args.dest)));
            };
            if !dest.is_dir() {
                self.folders(&dest)?;
            }
            dest = dest.join(name);
        }
        let parent = dest.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
        if self.acts.is_empty() && !parent.is_dir() {
            let why = if parent.exists() { "is not a directory" } else { "does not exist" };
            return Err(Fault::new(format!("Destination directory {} {why}", parent.display())));
        }
        let values = |dest: &Path| {
            let mut values = Map::new();
            values.insert("dest".to_owned(), dest.display().to_string().into());
            if let Some(src) = args.src.as_ref().filter(|_| args.remote_src) {
                values.insert("src".to_owned(), src.clone().into());
            }
            values.insert("checksum".to_owned(), sum.clone().into());
            values
        };
        if !args.force.unwrap_or(true) && dest.exists() {
            let mut values = values(&dest);
            values.insert("msg".to_owned(), "file already exists".into());
            values.extend(info::path_info(&dest));
            return Ok(Inspection::Same(Outcome { values, ..Outcome::default() }));
        }
        if args.follow {
            dest = real_path(&dest);
        }
        self.one(&dest, source, &sum)?;
        let mut values = values(&dest);
        if self.same && !args.remote_src {
            // Ansible leaves the attributes to `file` then, whose results have this name.
            values.insert("path".to_owned(), dest.display().to_string().into());
        }
        self.finish(values, dest)
    }

    /// Plans one file.
    fn one(&mut self, dest: &Path, source: Option<Source>, sum: &str) -> Result<(), Fault> {
        let meta = fs::symlink_metadata(dest).ok();
        if meta.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Fault::new(format!("cannot replace the directory `{}` by a file", dest.display())));
        }
        let is_link = meta.as_ref().is_some_and(fs::Metadata::is_symlink);
        let same = meta.as_ref().is_some_and(fs::Metadata::is_file)
            && checksum::of_file("sha1", dest).is_ok_and(|there| there == sum);
        let attributes = self.attributes_of(source.as_ref())?;
        if same {
            self.same = true;
            let change = attributes.plan(dest, false, self.host)?;
            if !change.is_empty() {
                self.diff.push(change.diff(dest));
                self.acts.push(Act::Attributes(dest.to_path_buf(), change));
            }
            return Ok(());
        }
        if !self.host.check {
            // Unknown accounts are told before anything is sent or written.
            attributes.uid()?;
            attributes.gid()?;
        }
        let header = dest.display().to_string();
        let before = diff::contents(dest);
        match &source {
            Some(Source::Text(bytes)) => self.diff.push(diff::titled(&header, &header, &before, bytes)),
            Some(Source::File(path) | Source::Upload(path)) => {
                self.diff.push(diff::titled(&header, &header, &before, &diff::contents(path)));
            }
            None => {
                let mut entry = diff::titled(&header, &header, &before, b"");
                // Only the controller knows it.
                entry.as_object_mut().map(|entry| entry.remove("after"));
                self.diff.push(entry);
            }
        }
        if let Some(meta) = meta.filter(|m| !m.is_symlink()) {
            let change = attributes.plan_for(dest, &meta, self.host)?;
            if !change.is_empty() {
                self.diff.push(change.diff(dest));
            }
        }
        match source {
            Some(source) => {
                self.acts.push(Act::Write { dest: dest.to_path_buf(), source, attributes, unlink: is_link });
            }
            // Asked before the first act, so that nothing is half done.
            None => self.acts.insert(0, Act::NeedUpload),
        }
        Ok(())
    }

    /// `mode: preserve` means the source's.
    fn attributes_of(&self, source: Option<&Source>) -> Result<Attributes, Fault> {
        let mut attributes = self.args.attributes.clone();
        if attributes.mode.as_deref() == Some("preserve") {
            attributes.mode = match source {
                Some(Source::File(path)) => {
                    let meta = fs::metadata(path).map_err(|e| Fault::io("look at", path, &e))?;
                    Some(mode::octal(meta.mode()))
                }
                _ => None,
            };
        }
        Ok(attributes)
    }

    /// Plans a folder and those above it that are missing.
    fn folders(&mut self, path: &Path) -> Result<(), Fault> {
        let mode = match &self.args.directory_mode {
            Some(text) => mode::apply(text, 0o777 & !crate::files::write::umask(), true),
            None => None,
        };
        let mut missing: Vec<PathBuf> = path
            .ancestors()
            .take_while(|p| !p.exists() && *p != Path::new(""))
            .map(Path::to_path_buf)
            .collect();
        missing.reverse();
        for folder in missing {
            self.diff.push(json!({
                "before": {"path": folder.display().to_string(), "state": "absent"},
                "after": {"path": folder.display().to_string(), "state": "directory"},
            }));
            self.acts.push(Act::Folder(folder, mode));
        }
        Ok(())
    }

    /// A folder of the host into another.
    fn tree(mut self, source: &Path) -> Result<Inspection<Change>, Fault> {
        let args = self.args;
        let dest = match source.file_name() {
            Some(name) if !args.src.as_ref().is_some_and(|s| s.ends_with('/')) => {
                Path::new(&args.dest).join(name)
            }
            _ => PathBuf::from(&args.dest),
        };
        if dest.exists() && !dest.is_dir() {
            return Err(Fault::new(format!(
                "cannot copy the directory `{}` over the file `{}`",
                source.display(),
                dest.display()
            )));
        }
        self.folder(source, &dest, 0)?;
        let mut values = Map::new();
        values.insert("src".to_owned(), source.display().to_string().into());
        values.insert("dest".to_owned(), args.dest.clone().into());
        self.finish(values, dest)
    }

    fn folder(&mut self, source: &Path, dest: &Path, depth: usize) -> Result<(), Fault> {
        if depth > 128 {
            return Err(Fault::new(format!(
                "`{}` is nested too deep: does a link lead back up?",
                source.display()
            )));
        }
        let fault = |e| Fault::io("read", source, &e);
        if !dest.is_dir() {
            self.folders(dest)?;
        } else if args_own_folder(self.args) {
            let attributes = Attributes { mode: None, ..self.args.attributes.clone() };
            let change = attributes.plan(dest, true, self.host)?;
            if !change.is_empty() {
                self.acts.push(Act::Attributes(dest.to_path_buf(), change));
            }
        }
        let mut entries: Vec<_> =
            fs::read_dir(source).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (from, to) = (entry.path(), dest.join(entry.file_name()));
            if from.is_symlink() && (!self.args.local_follow.unwrap_or(true) || !from.exists()) {
                let target = fs::read_link(&from).map_err(fault)?;
                if to.symlink_metadata().is_err() {
                    self.acts.push(Act::Link { dest: to, target });
                }
            } else if from.is_dir() {
                self.folder(&from, &to, depth + 1)?;
            } else if from.is_file() && (self.args.force.unwrap_or(true) || !to.exists()) {
                let sum = checksum::of_file("sha1", &from).map_err(|e| Fault::io("read", &from, &e))?;
                self.one(&to, Some(Source::File(from)), &sum)?;
            }
        }
        Ok(())
    }

    fn finish(self, mut values: Map<String, Value>, dest: PathBuf) -> Result<Inspection<Change>, Fault> {
        if self.acts.is_empty() {
            values.extend(info::path_info(&dest));
            return Ok(Inspection::Same(Outcome { values, ..Outcome::default() }));
        }
        let predicted =
            Outcome { changed: true, values: values.clone(), diff: self.diff, ..Outcome::default() };
        Ok(Inspection::Differs { change: Change { acts: self.acts, values, dest }, predicted })
    }
}

fn args_own_folder(args: &Args) -> bool {
    args.attributes.owner.is_some() || args.attributes.group.is_some()
}

fn make_folder(path: &Path, mode: Option<u32>) -> Result<(), Fault> {
    match fs::DirBuilder::new().mode(0o777).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(e) => return Err(Fault::io("create", path, &e)),
    }
    if let Some(mode) = mode {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| Fault::io("change the mode of", path, &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::files::checksum;
    use crate::testing::{changes_once, run, temp_dir};

    #[test]
    fn content_is_written_once_with_its_mode() {
        let dir = temp_dir();
        let dest = dir.at("f");
        let args = json!({"content": "a\n", "dest": dest, "mode": "0600"});
        let result = changes_once("copy", &args, || !std::path::Path::new(&dest).exists());
        assert_eq!((&result["mode"], &result["checksum"]), (&json!("0600"), &json!(checksum::sha1(b"a\n"))));
        assert_eq!(result["diff"][0]["after"], "a\n");
        // Only the mode.
        let result = run("copy", json!({"content": "a\n", "dest": dest, "mode": "u+x"}), false);
        assert_eq!((&result["changed"], &result["mode"]), (&json!(true), &json!("0700")));
        assert_eq!(result["diff"][0]["before"]["mode"], "0600");
        let result = run("copy", json!({"content": "b\n", "dest": dest, "force": false}), false);
        assert_eq!((&result["changed"], &result["msg"]), (&json!(false), &json!("file already exists")));
        let result = run("copy", json!({"content": "b\n", "dest": dest, "backup": true}), false);
        assert_eq!(
            std::fs::read_to_string(result["backup_file"].as_str().expect("named")).expect("there"),
            "a\n"
        );
    }

    #[test]
    fn an_unchanged_file_needs_no_upload_and_a_changed_one_asks() {
        let dir = temp_dir();
        std::fs::write(dir.path().join("f"), "a").expect("writes");
        let same = json!({"checksum": checksum::sha1(b"a"), "dest": dir.path(), "_original_basename": "f"});
        let result = run("copy", same, false);
        assert_eq!((&result["changed"], &result["dest"]), (&json!(false), &json!(dir.at("f"))));
        let other =
            json!({"checksum": checksum::sha1(b"b"), "dest": dir.at("new/sub/"), "_original_basename": "f"});
        let result = run("copy", other.clone(), false);
        assert_eq!((&result["changed"], &result["_need_upload"]), (&json!(false), &json!(true)));
        assert!(!dir.path().join("new").exists());
        assert_eq!(run("copy", other.clone(), true)["changed"], true);
        std::fs::write(dir.path().join("up"), "b").expect("writes");
        let mut with = other;
        with["src"] = dir.at("up").into();
        assert_eq!(run("copy", with.clone(), false)["changed"], true);
        std::fs::write(dir.path().join("up"), "b").expect("writes");
        assert_eq!(run("copy", with, false)["changed"], false);
        let lost = run("copy", json!({"content": "x", "dest": dir.at("no/f")}), false);
        assert_eq!(lost["msg"], format!("Destination directory {} does not exist", dir.at("no")));
    }

    #[test]
    fn a_folder_of_the_host_is_copied_once() {
        let dir = temp_dir();
        std::fs::create_dir_all(dir.path().join("a/sub")).expect("creates");
        std::fs::write(dir.path().join("a/sub/f"), "x").expect("writes");
        std::fs::write(dir.path().join("a/g"), "y").expect("writes");
        let args = json!({"src": dir.at("a"), "dest": dir.at("b"), "remote_src": true});
        changes_once("copy", &args, || !dir.path().join("b").exists());
        assert_eq!(std::fs::read_to_string(dir.path().join("b/a/sub/f")).expect("there"), "x");
    }

    #[test]
    fn links_are_followed_only_when_told() {
        let dir = temp_dir();
        std::fs::write(dir.path().join("f"), "old").expect("writes");
        std::os::unix::fs::symlink("f", dir.path().join("l")).expect("links");
        let result = run("copy", json!({"content": "new", "dest": dir.at("l"), "follow": true}), false);
        assert_eq!(result["dest"], dir.at("f"));
        assert!(dir.path().join("l").is_symlink());
        run("copy", json!({"content": "new", "dest": dir.at("l")}), false);
        assert!(!dir.path().join("l").is_symlink(), "the link was replaced");
    }
}
