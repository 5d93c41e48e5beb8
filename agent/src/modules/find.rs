//! `find`: lists files by name, age, size and content.
//!
//! Owns: the walk and the filters. Must not: change anything.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::pattern::{Flags, Pattern};
use super::{Fault, Host, Inspection, Module, Outcome};
use crate::files::glob::fnmatch;
use crate::files::{checksum, info, mode};
use crate::options::{Opt, Spec};

static OPTIONS: &[Opt] = &[
    Opt::list("paths").aliases(&["name", "path"]).required(),
    Opt::list("patterns").aliases(&["pattern"]),
    Opt::list("excludes").aliases(&["exclude"]),
    Opt::str("contains"),
    Opt::bool("read_whole_file"),
    Opt::bool("recurse"),
    Opt::int("depth"),
    Opt::str("file_type").choices(&["any", "directory", "file", "link"]),
    Opt::str("age"),
    Opt::str("age_stamp").choices(&["atime", "ctime", "mtime"]),
    Opt::str("size"),
    Opt::bool("hidden"),
    Opt::bool("follow"),
    Opt::bool("get_checksum"),
    Opt::str("checksum_algorithm")
        .aliases(&["checksum", "checksum_algo"])
        .choices(&["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]),
    Opt::bool("use_regex"),
    Opt::mode("mode"),
    Opt::bool("exact_mode"),
    Opt::int("limit"),
    Opt::str("encoding").ignored("contents are searched as bytes"),
];

/// See the module's documentation.
pub struct Find;

/// Arguments of `find`.
#[derive(Debug, Deserialize)]
pub struct Args {
    paths: Vec<String>,
    patterns: Option<Vec<String>>,
    #[serde(default)]
    excludes: Vec<String>,
    contains: Option<String>,
    #[serde(default)]
    read_whole_file: bool,
    #[serde(default)]
    recurse: bool,
    depth: Option<usize>,
    file_type: Option<String>,
    age: Option<String>,
    age_stamp: Option<String>,
    size: Option<String>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    get_checksum: bool,
    checksum_algorithm: Option<String>,
    #[serde(default)]
    use_regex: bool,
    mode: Option<String>,
    exact_mode: Option<bool>,
    limit: Option<usize>,
}

impl Module for Find {
    const SPEC: Spec = Spec { options: &[OPTIONS], ..Spec::new("find") };
    type Args = Args;
    type Change = ();

    fn inspect(args: &Args, host: &Host<'_>) -> Result<Inspection<()>, Fault> {
        let names = |patterns: &[String]| patterns.iter().map(|p| Name::new(p, args.use_regex)).collect();
        let patterns: Result<Vec<Name>, Fault> = names(args.patterns.as_deref().unwrap_or_default());
        let excludes: Result<Vec<Name>, Fault> = names(&args.excludes);
        let mut walk = Walk {
            args,
            host,
            patterns: patterns?,
            excludes: excludes?,
            contains: match &args.contains {
                Some(p) => Some(Pattern::new(p, Flags { multi_line: args.read_whole_file, dot_all: false })?),
                None => None,
            },
            age: args.age.as_deref().map(|t| amount(t, &AGES, "age")).transpose()?,
            size: args.size.as_deref().map(|t| amount(t, &SIZES, "size")).transpose()?,
            files: Vec::new(),
            examined: 0,
            skipped: Map::new(),
            seen: BTreeSet::new(),
        };
        for path in &args.paths {
            let path = crate::files::expand_path(path, host.environment);
            let path = Path::new(&path);
            if path.is_dir() {
                walk.folder(path, 1)?;
            } else {
                let msg = format!("'{}' is not a directory", path.display());
                walk.skipped.insert(path.display().to_string(), msg.into());
            }
        }
        let matched = walk.files.len();
        let msg = if walk.skipped.is_empty() {
            "All paths examined"
        } else {
            "Not all paths examined, check warnings for details"
        };
        Ok(Inspection::Same(
            Outcome::same()
                .with("files", walk.files)
                .with("matched", matched)
                .with("examined", walk.examined)
                .with("skipped_paths", walk.skipped)
                .with("msg", msg),
        ))
    }

    fn apply(_: &Args, (): (), _: &Host<'_>) -> Result<Outcome, Fault> {
        Ok(Outcome::same())
    }
}

enum Name {
    Shell(Regex),
    Expression(Pattern),
}

impl Name {
    fn new(pattern: &str, expression: bool) -> Result<Self, Fault> {
        if expression {
            return Pattern::new(&format!("^(?:{pattern})"), Flags::default()).map(Self::Expression);
        }
        let shell = fnmatch(pattern).map(Self::Shell);
        shell.ok_or_else(|| Fault::new(format!("`{pattern}` is not a file name pattern")))
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Shell(regex) => regex.is_match(name),
            Self::Expression(pattern) => pattern.is_match(name.as_bytes()),
        }
    }
}

const AGES: [(&str, f64); 5] = [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0), ("w", 604_800.0)];
const SIZES: [(&str, f64); 5] =
    [("b", 1.0), ("k", 1024.0), ("m", 1_048_576.0), ("g", 1_073_741_824.0), ("t", 1_099_511_627_776.0)];

/// `-2d`: less than two days; `10m`: ten megabytes or more.
fn amount(text: &str, units: &[(&str, f64)], option: &str) -> Result<f64, Fault> {
    let lower = text.trim().to_lowercase();
    let split = lower.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(lower.len());
    let unit = lower[split..]
        .get(..1)
        .map_or(Some(1.0), |u| units.iter().find(|(name, _)| *name == u).map(|(_, f)| *f));
    match (lower[..split].parse::<f64>(), unit) {
        (Ok(number), Some(unit)) => Ok(number * unit),
        _ => Err(Fault::new(format!("failed to process {option}")).with(option, text)),
    }
}

struct Walk<'a> {
    args: &'a Args,
    host: &'a Host<'a>,
    patterns: Vec<Name>,
    excludes: Vec<Name>,
    contains: Option<Pattern>,
    age: Option<f64>,
    size: Option<f64>,
    files: Vec<Value>,
    examined: usize,
    skipped: Map<String, Value>,
    /// Folders that were entered, so that a link can't lead round.
    seen: BTreeSet<(u64, u64)>,
}

impl Walk<'_> {
    fn full(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.files.len() >= limit)
    }

    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), Fault> {
        if self.host.runner.cancelled() {
            return Err(Fault::new("the step was cancelled"));
        }
        if fs::metadata(folder).is_ok_and(|m| !self.seen.insert((m.dev(), m.ino()))) {
            return Ok(());
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) => {
                self.skipped.insert(folder.display().to_string(), super::plain(&e).into());
                return Ok(());
            }
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let mut below = Vec::new();
        for path in paths {
            if self.full() {
                return Ok(());
            }
            self.examined += 1;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') && !self.args.hidden {
                continue;
            }
            let Ok(link) = fs::symlink_metadata(&path) else { continue };
            let meta = if self.args.follow { fs::metadata(&path).unwrap_or(link) } else { link };
            if self.args.recurse && meta.is_dir() {
                if self.args.depth.is_none_or(|limit| depth < limit) {
                    below.push(path.clone());
                } else {
                    // Ansible counts what it then doesn't look at.
                    self.examined += fs::read_dir(&path).map_or(0, Iterator::count);
                }
            }
            if self.fits(&path, &name, &meta) {
                self.add(&path, &meta);
            }
        }
        for path in below {
            self.folder(&path, depth + 1)?;
        }
        Ok(())
    }

    fn fits(&self, path: &Path, name: &str, meta: &Metadata) -> bool {
        let kind = match self.args.file_type.as_deref().unwrap_or("file") {
            "any" => true,
            "directory" => meta.is_dir(),
            "link" => meta.is_symlink(),
            _ => meta.is_file(),
        };
        kind && (self.patterns.is_empty() || self.patterns.iter().any(|p| p.fits(name)))
            && !self.excludes.iter().any(|p| p.fits(name))
            && self.age_fits(meta)
            && self.size_fits(meta)
            && self.mode_fits(meta)
            && self.content_fits(path, meta)
    }

    fn age_fits(&self, meta: &Metadata) -> bool {
        let Some(age) = self.age else { return true };
        let stamp = match self.args.age_stamp.as_deref().unwrap_or("mtime") {
            "atime" => meta.atime(),
            "ctime" => meta.ctime(),
            _ => meta.mtime(),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
        let old = now - stamp as f64;
        if age >= 0.0 { old >= age } else { old <= -age }
    }

    fn size_fits(&self, meta: &Metadata) -> bool {
        let Some(size) = self.size else { return true };
        #[expect(clippy::cast_precision_loss, reason = "sizes are compared roughly")]
        let there = meta.len() as f64;
        !meta.is_file() || if size >= 0.0 { there >= size } else { there <= -size }
    }

    fn mode_fits(&self, meta: &Metadata) -> bool {
        let Some(wanted) = &self.args.mode else { return true };
        let there = meta.mode() & mode::BITS;
        let exact = self.args.exact_mode.unwrap_or(true);
        let bits = mode::apply(wanted, if exact { there } else { 0 }, meta.is_dir()).unwrap_or(mode::BITS);
        if exact { there == bits } else { there & bits != 0 }
    }

    fn content_fits(&self, path: &Path, meta: &Metadata) -> bool {
        let Some(pattern) = &self.contains else { return true };
        if !meta.is_file() {
            return self.args.file_type.as_deref() == Some("any");
        }
        let Ok(content) = fs::read(path) else { return false };
        if self.args.read_whole_file {
            return pattern.is_match(&content);
        }
        // Each line from its start, as Python's match does.
        content
            .split(|b| *b == b'\n')
            .any(|line| pattern.first(line).ok().flatten().is_some_and(|found| found.whole().start == 0))
    }

    fn add(&mut self, path: &Path, meta: &Metadata) {
        let mut file = info::stat_keys(path, meta);
        if meta.is_file() && self.args.get_checksum {
            let algorithm = self.args.checksum_algorithm.as_deref().unwrap_or("sha1");
            if let Ok(sum) = checksum::of_file(algorithm, path) {
                file.insert("checksum".to_owned(), sum.into());
            }
        }
        self.files.push(Value::Object(file));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{run, temp_dir};

    #[test]
    fn filters_combine() {
        let dir = temp_dir();
        std::fs::create_dir_all(dir.path().join("sub/deep")).expect("creates");
        for (name, text) in [
            ("a.conf", "x=1\n"),
            ("b.log", ""),
            (".h.conf", ""),
            ("sub/c.conf", "y"),
            ("sub/deep/d.conf", ""),
        ] {
            std::fs::write(dir.path().join(name), text).expect("writes");
        }
        let found = |mut args: Value| {
            args["paths"] = dir.path().display().to_string().into();
            let result = run("find", args, true);
            let files = result["files"].as_array().cloned().unwrap_or_default();
            assert_eq!(result["matched"], files.len());
            let base = dir.at("");
            let name = |f: &Value| f["path"].as_str().map(|p| p.trim_start_matches(&base).to_owned());
            files.iter().filter_map(name).collect::<Vec<_>>().join(" ")
        };
        for (args, wanted) in [
            (json!({"patterns": "*.conf"}), "a.conf"),
            (json!({"patterns": "*.conf", "hidden": true}), ".h.conf a.conf"),
            (json!({"patterns": "*.conf", "recurse": true}), "a.conf sub/c.conf sub/deep/d.conf"),
            (json!({"patterns": "*.conf", "recurse": true, "depth": 2}), "a.conf sub/c.conf"),
            (json!({"recurse": true, "excludes": "*.conf"}), "b.log"),
            (json!({"recurse": true, "contains": "x="}), "a.conf"),
            (json!({"recurse": true, "size": "1"}), "a.conf sub/c.conf"),
            (json!({"file_type": "directory"}), "sub"),
            (json!({"patterns": "^[ab]\\.(conf|log)$", "use_regex": true}), "a.conf b.log"),
            (json!({"age": "1d"}), ""),
            (json!({"age": "-1d", "limit": 1}), "a.conf"),
        ] {
            assert_eq!(found(args.clone()), wanted, "{args}");
        }
        let missing = run("find", json!({"paths": "/no/such"}), false);
        assert_eq!(missing["skipped_paths"]["/no/such"], "'/no/such' is not a directory");
    }
}
