//! `file`: makes, links, changes and removes files and folders.
//!
//! Owns: all states. Must not: write contents.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::attributes::{self, Attributes};
use crate::files::{info, real_path};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::path("path").aliases(&["dest", "name"]).required(),
    Opt::str("state").choices(&["absent", "directory", "file", "hard", "link", "touch"]),
    Opt::path("src"),
    Opt::bool("recurse"),
    Opt::bool("force"),
    Opt::bool("follow"),
    Opt::str("modification_time"),
    Opt::str("modification_time_format"),
    Opt::str("access_time"),
    Opt::str("access_time_format"),
    Opt::str("_original_basename"),
    Opt::path("_diff_peek"),
];

/// See the module's documentation.
pub struct File;

/// Arguments of `file`.
#[derive(Debug, Deserialize)]
pub struct Args {
    path: String,
    state: Option<String>,
    src: Option<String>,
    #[serde(default)]
    recurse: bool,
    #[serde(default)]
    force: bool,
    follow: Option<bool>,
    modification_time: Option<String>,
    modification_time_format: Option<String>,
    access_time: Option<String>,
    access_time_format: Option<String>,
    #[serde(flatten)]
    attributes: Attributes,
}

/// What to do before attributes are set.
#[derive(Debug)]
enum Act {
    Remove(PathBuf),
    Folder(PathBuf),
    Touch(PathBuf),
    Link { path: PathBuf, target: String },
    HardLink { path: PathBuf, source: PathBuf },
}

/// All that has to be done; attributes are compared again when it is done, for what was made.
pub struct Change {
    acts: Vec<Act>,
    /// Gets the attributes, with whether links are followed.
    dress: Vec<(PathBuf, bool)>,
    times: Option<Times>,
    path: PathBuf,
    /// The result names it `dest` for links, `path` else.
    named: &'static str,
    values: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    accessed: SystemTime,
    modified: SystemTime,
}

impl Module for File {
    const SPEC: Spec = Spec {
        options: &[OPTIONS, attributes::OPTIONS],
        required_if: &[("state", "hard", &["src"])],
        ..Spec::new("file")
    };
    type Args = Args;
    type Change = Change;

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<Change>, Fault> {
        let path = PathBuf::from(args.path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(&args.path));
        let before = info::state(&path);
        let wanted = match args.state.as_deref() {
            Some(state) => state,
            None if before != "absent" => before,
            None if args.recurse => "directory",
            None => "file",
        };
        if args.recurse && wanted != "directory" {
            return Err(
                Fault::new("recurse option requires state to be 'directory'").with("path", args.path.clone())
            );
        }
        if args.src.is_some() && !matches!(wanted, "link" | "hard") {
            return Err(Fault::new("src option requires state to be 'link' or 'hard'")
                .with("path", args.path.clone()));
        }
        let plan = Plan {
            args,
            host,
            follow: args.follow.unwrap_or(true),
            acts: Vec::new(),
            dress: Vec::new(),
            diff_before: Map::new(),
            diff_after: Map::new(),
            changed: false,
        };
        match wanted {
            "absent" => plan.absent(&path, before),
            "directory" => plan.directory(path, before),
            "link" => plan.link(&path, before),
            "hard" => plan.hard(&path, before),
            "touch" => plan.touch(path, before),
            _ => plan.file(path, before),
        }
    }

    fn apply(args: &Args, change: Change, host: &Host<'_>) -> Result<Outcome, Fault> {
        for act in &change.acts {
            act.make()?;
        }
        for (path, follow) in &change.dress {
            let path = if *follow { real_path(path) } else { path.clone() };
            args.attributes.plan(&path, false, host)?.apply(&path, host)?;
        }
        if let Some(times) = change.times {
            let set = fs::FileTimes::new().set_accessed(times.accessed).set_modified(times.modified);
            fs::File::open(&change.path)
                .and_then(|file| file.set_times(set))
                .map_err(|e| Fault::io("set the times of", &change.path, &e))?;
        }
        let mut values = change.values;
        values.insert(change.named.to_owned(), change.path.display().to_string().into());
        values.extend(info::path_info(&change.path));
        Ok(Outcome { changed: true, values, ..Outcome::default() })
    }
}

impl Act {
    fn make(&self) -> Result<(), Fault> {
        match self {
            Self::Remove(path) => {
                let is_dir = path.symlink_metadata().is_ok_and(|m| m.is_dir());
                let removed = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                match removed {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fault::io("remove", path, &e)),
                    _ => Ok(()),
                }
            }
            Self::Folder(path) => match fs::create_dir(path) {
                // Somebody else made it meanwhile.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
                made => made.map_err(|e| Fault::io("create", path, &e)),
            },
            Self::Touch(path) => fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map(|_| ())
                .map_err(|e| Fault::io("create", path, &e)),
            Self::Link { path, target } => replace(path, |temp| std::os::unix::fs::symlink(target, temp)),
            Self::HardLink { path, source } => replace(path, |temp| fs::hard_link(source, temp)),
        }
    }
}

/// Makes a link under another name and renames it, so that the path is never without one.
fn replace(path: &Path, make: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), Fault> {
    if path.symlink_metadata().is_err() {
        return make(path).map_err(|e| Fault::io("link", path, &e));
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let temp = path.with_file_name(format!(".{name}.dcos-play-{}", std::process::id()));
    // One left by an agent that was killed.
    let _ = fs::remove_file(&temp);
    if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        fs::remove_dir(path).map_err(|e| Fault::io("replace", path, &e))?;
    }
    make(&temp).and_then(|()| fs::rename(&temp, path)).map_err(|e| {
        let _ = fs::remove_file(&temp);
        Fault::io("link", path, &e)
    })?;
    // Two names of one file are not renamed over each other.
    let _ = fs::remove_file(&temp);
    Ok(())
}

struct Plan<'a> {
    args: &'a Args,
    host: &'a Host<'a>,
    follow: bool,
    acts: Vec<Act>,
    dress: Vec<(PathBuf, bool)>,
    diff_before: Map<String, Value>,
    diff_after: Map<String, Value>,
    changed: bool,
}

impl Plan<'_> {
    fn fault(msg: String, path: &Path, state: &str) -> Fault {
        Fault::new(msg).with("path", path.display().to_string()).with("state", state)
    }

    fn note(&mut self, name: &str, before: impl Into<Value>, after: impl Into<Value>) {
        self.diff_before.insert(name.to_owned(), before.into());
        self.diff_after.insert(name.to_owned(), after.into());
    }

    /// Compares the attributes of something that is there.
    fn dress(&mut self, path: &Path, follow: bool, shown: bool) -> Result<(), Fault> {
        let change = self.args.attributes.plan(path, follow, self.host)?;
        if !change.is_empty() {
            self.changed = true;
            self.dress.push((path.to_path_buf(), follow));
            if shown {
                self.diff_before.extend(change.before);
                self.diff_after.extend(change.after);
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        path: PathBuf,
        named: &'static str,
        values: Map<String, Value>,
        times: Option<Times>,
    ) -> Result<Inspection<Change>, Fault> {
        let shown = path.display().to_string();
        let mut predicted =
            Outcome { values: values.clone(), ..Outcome::default() }.with(named, shown.clone());
        if !self.changed {
            predicted.values.extend(info::path_info(&path));
            return Ok(Inspection::Same(predicted));
        }
        predicted.changed = true;
        for side in [&mut self.diff_before, &mut self.diff_after] {
            side.insert("path".to_owned(), shown.clone().into());
        }
        predicted.diff = vec![json!({ "before": self.diff_before, "after": self.diff_after })];
        if let Some(state) = self.diff_after.get("state") {
            predicted.values.insert("state".to_owned(), state.clone());
        }
        let change = Change { acts: self.acts, dress: self.dress, times, path, named, values };
        Ok(Inspection::Differs { change, predicted })
    }

    fn absent(mut self, path: &Path, before: &'static str) -> Result<Inspection<Change>, Fault> {
        if before != "absent" {
            self.changed = true;
            self.note("state", before, "absent");
            self.acts.push(Act::Remove(path.to_path_buf()));
        }
        self.finish(path.to_path_buf(), "path", Map::new(), None)
    }

    fn file(mut self, mut path: PathBuf, mut before: &'static str) -> Result<Inspection<Change>, Fault> {
        if before == "link" && self.follow {
            path = real_path(&path);
            before = info::state(&path);
        }
        if !matches!(before, "file" | "hard") {
            let msg = format!("file ({}) is {before}, cannot continue", path.display());
            return Err(Self::fault(msg, &path, before));
        }
        self.dress(&path, self.follow, true)?;
        let times = self.times(&path, "preserve")?;
        self.finish(path, "path", Map::new(), times)
    }

    fn directory(mut self, mut path: PathBuf, mut before: &'static str) -> Result<Inspection<Change>, Fault> {
        if before == "link" && self.follow {
            path = real_path(&path);
            before = info::state(&path);
        }
        let mut times = None;
        match before {
            "absent" => {
                self.changed = true;
                self.note("state", before, "directory");
                self.attributes_exist()?;
                let mut missing: Vec<PathBuf> = path
                    .ancestors()
                    .take_while(|p| !p.exists() && *p != Path::new(""))
                    .map(Path::to_path_buf)
                    .collect();
                if let Some(above) =
                    missing.last().and_then(|p| p.parent()).filter(|p| p.exists() && !p.is_dir())
                {
                    let msg = format!(
                        "There was an issue creating {} as requested: `{}` is not a directory",
                        path.display(),
                        above.display()
                    );
                    return Err(Self::fault(msg, &path, "absent"));
                }
                missing.reverse();
                for folder in missing {
                    self.dress.push((folder.clone(), false));
                    self.acts.push(Act::Folder(folder));
                }
            }
            "directory" => {
                self.dress(&path, self.follow, true)?;
                times = self.times(&path, "preserve")?;
            }
            _ => {
                let msg = format!("{} already exists as a {before}", path.display());
                return Err(Self::fault(msg, &path, before));
            }
        }
        if self.args.recurse && before == "directory" {
            self.recurse(&path)?;
        }
        self.finish(path, "path", Map::new(), times)
    }

    /// Unknown accounts are told before anything is made.
    fn attributes_exist(&self) -> Result<(), Fault> {
        if !self.host.check {
            self.args.attributes.uid()?;
            self.args.attributes.gid()?;
        }
        self.args.attributes.mode_for(0, true).map(|_| ())
    }

    fn recurse(&mut self, folder: &Path) -> Result<(), Fault> {
        if self.host.runner.cancelled() {
            return Err(Fault::new("the step was cancelled"));
        }
        let fault = |e| Fault::io("read", folder, &e);
        for entry in fs::read_dir(folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(fault)?);
            if kind.is_symlink() {
                // A link's target is changed only when following, and a broken link has none.
                if self.follow && path.exists() {
                    self.dress(&path, true, false)?;
                } else {
                    self.dress(&path, false, false)?;
                }
            } else {
                self.dress(&path, false, false)?;
            }
            if kind.is_dir() {
                self.recurse(&path)?;
            }
        }
        Ok(())
    }

    fn link(mut self, path: &Path, before: &'static str) -> Result<Inspection<Change>, Fault> {
        let old = fs::read_link(path).ok().map(|t| t.display().to_string());
        let target = match (&self.args.src, &old) {
            (Some(src), _) => src.clone(),
            (None, Some(old)) if self.follow => old.clone(),
            _ => {
                return Err(Self::fault(
                    "src is required for creating new symlinks".to_owned(),
                    path,
                    before,
                ));
            }
        };
        let base = if before == "directory" { path } else { path.parent().unwrap_or(path) };
        let source = base.join(&target);
        if !self.args.force && !source.exists() {
            let msg = format!(
                "src file does not exist, use \"force=yes\" if you really want to create the link: {}",
                source.display()
            );
            return Err(Self::fault(msg, path, before).with("src", target));
        }
        match before {
            "directory" if !self.args.force => {
                let msg = format!("refusing to convert from directory to symlink for {}", path.display());
                return Err(Self::fault(msg, path, before));
            }
            "directory" if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) => {
                let msg = format!("the directory {} is not empty, refusing to convert it", path.display());
                return Err(Self::fault(msg, path, before));
            }
            "file" | "hard" if !self.args.force => {
                let msg = format!("refusing to convert from {before} to symlink for {}", path.display());
                return Err(Self::fault(msg, path, before));
            }
            _ => {}
        }
        if old.as_deref() != Some(&target) {
            self.changed = true;
            self.note("state", before, "link");
            if let Some(old) = old {
                self.note("src", old, target.clone());
            }
            self.acts.push(Act::Link { path: path.to_path_buf(), target: target.clone() });
        }
        // A link made over a missing file has nothing whose attributes could be set.
        if source.exists() && self.follow {
            self.dress(&source, true, true)?;
        } else if self.acts.is_empty() {
            self.dress(path, false, true)?;
        } else {
            self.attributes_exist()?;
            self.dress.push((path.to_path_buf(), false));
        }
        let mut values = Map::new();
        values.insert("src".to_owned(), target.into());
        self.finish(path.to_path_buf(), "dest", values, None)
    }

    fn hard(mut self, path: &Path, before: &'static str) -> Result<Inspection<Change>, Fault> {
        let src = PathBuf::from(self.args.src.as_deref().unwrap_or_default());
        let Ok(source) = fs::metadata(&src) else {
            return Err(Self::fault(format!("src does not exist: {}", src.display()), path, before));
        };
        let same =
            fs::symlink_metadata(path).is_ok_and(|m| m.ino() == source.ino() && m.dev() == source.dev());
        if !same {
            match before {
                "directory" => {
                    let msg =
                        format!("refusing to convert from directory to hard link for {}", path.display());
                    return Err(Self::fault(msg, path, before));
                }
                "hard" if !self.args.force => {
                    return Err(Self::fault(
                        "Cannot link, different hard link exists at destination".to_owned(),
                        path,
                        before,
                    ));
                }
                "file" | "link" if !self.args.force => {
                    let msg = format!("Cannot link, {before} exists at destination");
                    return Err(Self::fault(msg, path, before));
                }
                _ => {}
            }
            self.changed = true;
            self.note("state", before, "hard");
            self.acts.push(Act::HardLink { path: path.to_path_buf(), source: src.clone() });
        }
        self.dress(&src, true, true)?;
        let mut values = Map::new();
        values.insert("src".to_owned(), src.display().to_string().into());
        self.finish(path.to_path_buf(), "dest", values, None)
    }

    fn touch(mut self, mut path: PathBuf, mut before: &'static str) -> Result<Inspection<Change>, Fault> {
        if before == "link" && self.follow {
            path = real_path(&path);
            before = info::state(&path);
        }
        if before == "absent" {
            self.changed = true;
            self.note("state", "absent", "touch");
            self.attributes_exist()?;
            self.acts.push(Act::Touch(path.clone()));
            self.dress.push((path.clone(), false));
            let now = SystemTime::now();
            let times = Times { accessed: now, modified: now };
            let times = wanted_times(self.args, times, "now")?;
            return self.finish(path, "dest", Map::new(), Some(times));
        }
        self.dress(&path, self.follow, true)?;
        let times = self.times(&path, "now")?;
        self.finish(path, "dest", Map::new(), times)
    }

    /// The times to set when they differ from what is there.
    fn times(&mut self, path: &Path, usual: &str) -> Result<Option<Times>, Fault> {
        let meta = fs::metadata(path).map_err(|e| Fault::io("look at", path, &e))?;
        let current = meta.accessed().and_then(|accessed| Ok(Times { accessed, modified: meta.modified()? }));
        let current = current.map_err(|e| Fault::io("look at", path, &e))?;
        let wanted = wanted_times(self.args, current, usual)?;
        if wanted == current {
            return Ok(None);
        }
        self.changed = true;
        let seconds =
            |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if wanted.modified != current.modified {
            self.note("mtime", seconds(current.modified), seconds(wanted.modified));
        }
        if wanted.accessed != current.accessed {
            self.note("atime", seconds(current.accessed), seconds(wanted.accessed));
        }
        Ok(Some(wanted))
    }
}

fn wanted_times(args: &Args, current: Times, usual: &str) -> Result<Times, Fault> {
    let one = |text: &Option<String>, format: &Option<String>, current: SystemTime| match text
        .as_deref()
        .unwrap_or(usual)
    {
        "preserve" => Ok(current),
        "now" => Ok(SystemTime::now()),
        text => parse_time(text, format.as_deref().unwrap_or("%Y%m%d%H%M.%S")),
    };
    Ok(Times {
        modified: one(&args.modification_time, &args.modification_time_format, current.modified)?,
        accessed: one(&args.access_time, &args.access_time_format, current.accessed)?,
    })
}

fn parse_time(text: &str, format: &str) -> Result<SystemTime, Fault> {
    let fault = |why: String| {
        Fault::new(format!("Error while obtaining timestamp for time {text} using format {format}: {why}"))
    };
    let time = jiff::civil::DateTime::strptime(format, text).map_err(|e| fault(e.to_string()))?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::system()).map_err(|e| fault(e.to_string()))?;
    let nanos = zoned.timestamp().as_duration();
    let since = Duration::try_from(nanos).map_err(|_| fault("it is before 1970".to_owned()))?;
    Ok(SystemTime::UNIX_EPOCH + since)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::testing::{changes_once, run, temp_dir};

    fn mode(path: &str) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn folders_are_made_with_their_parents_and_changed_below() {
        let dir = temp_dir();
        let path = dir.at("a/b/c");
        let args = json!({"path": path, "state": "directory", "mode": "0750"});
        let result = changes_once("file", &args, || !Path::new(&dir.at("a")).exists());
        assert_eq!(result["diff"][0]["before"], json!({"state": "absent", "path": path}));
        assert_eq!((mode(&dir.at("a")), mode(&path)), (0o750, 0o750));
        fs::write(dir.at("a/b/f"), "").expect("writes");
        let args =
            json!({"path": dir.at("a"), "state": "directory", "mode": "u=rwX,g=rX,o=rX", "recurse": true});
        let before = mode(&dir.at("a/b"));
        changes_once("file", &args, || mode(&dir.at("a/b")) == before);
        assert_eq!((mode(&path), mode(&dir.at("a/b/f"))), (0o755, 0o644));
    }

    #[test]
    fn links_point_where_told() {
        let dir = temp_dir();
        fs::write(dir.at("f"), "").expect("writes");
        let link = dir.at("l");
        let args = json!({"path": link, "src": "f", "state": "link"});
        let result = changes_once("file", &args, || fs::symlink_metadata(&link).is_err());
        assert_eq!(
            (&result["dest"], &result["src"], &result["state"]),
            (&json!(link), &json!("f"), &json!("link"))
        );
        let missing = json!({"path": link, "src": "nope", "state": "link"});
        assert!(run("file", missing.clone(), false)["msg"].as_str().is_some_and(|m| m.contains("force=yes")));
        let forced = json!({"path": link, "src": "nope", "state": "link", "force": true, "follow": false});
        changes_once("file", &forced, || fs::read_link(&link).is_ok_and(|t| t == Path::new("f")));
        let over = json!({"path": dir.at("f"), "src": "nope", "state": "link", "force": true});
        changes_once("file", &over, || !Path::new(&dir.at("f")).is_symlink());
        fs::write(dir.at("g"), "").expect("writes");
        let hard = json!({"path": dir.at("h"), "src": dir.at("g"), "state": "hard"});
        changes_once("file", &hard, || !Path::new(&dir.at("h")).exists());
    }

    #[test]
    fn touch_changes_unless_times_are_kept() {
        let dir = temp_dir();
        let path = dir.at("f");
        let keep = json!({"path": path, "state": "touch", "modification_time": "preserve", "access_time": "preserve"});
        changes_once("file", &keep, || !Path::new(&path).exists());
        assert_eq!(run("file", json!({"path": path, "state": "touch"}), false)["changed"], true);
        let dated = json!({
            "path": path, "state": "touch", "modification_time": "202001020304.05", "access_time": "preserve",
        });
        changes_once("file", &dated, || true);
    }

    #[test]
    fn absent_removes_trees_and_file_needs_one() {
        let dir = temp_dir();
        fs::create_dir_all(dir.at("a/b")).expect("creates");
        let args = json!({"path": dir.at("a"), "state": "absent"});
        changes_once("file", &args, || Path::new(&dir.at("a/b")).exists());
        let result = run("file", json!({"path": dir.at("a")}), false);
        assert_eq!(result["msg"], format!("file ({}) is absent, cannot continue", dir.at("a")));
        fs::write(dir.at("f"), "").expect("writes");
        let result = run("file", json!({"path": dir.at("f"), "state": "directory"}), false);
        assert_eq!(result["msg"], format!("{} already exists as a file", dir.at("f")));
        changes_once("file", &json!({"path": dir.at("f"), "mode": "0600"}), || mode(&dir.at("f")) == 0o644);
    }
}
