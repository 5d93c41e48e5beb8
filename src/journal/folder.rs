//! The run's folder on disk.

use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Names a run: when it began and three letters against doubles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `.dcos-play/runs/<id>/` and what is in it.
#[derive(Debug, Clone)]
pub struct RunFolder {
    pub id: RunId,
    pub path: PathBuf,
}

impl RunFolder {
    /// Makes a new folder below `project` and points `latest` at it. Readable by the user alone: results may be private.
    ///
    /// # Errors
    /// The I/O error, naming the path.
    pub fn create(project: &Path, now: &jiff::Zoned) -> std::io::Result<Self> {
        let runs = project.join(".dcos-play").join("runs");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&runs).map_err(|e| named(&runs, &e))?;
        loop {
            let id = RunId(format!("{}-{}", now.strftime("%Y%m%d-%H%M"), letters()));
            let path = runs.join(&id.0);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(named(&path, &e)),
            }
            fs_err::create_dir(path.join("hosts"))?;
            // A link is replaced by renaming over it, so that `latest` never points nowhere.
            let fresh = runs.join(format!(".latest-{id}"));
            fs_err::os::unix::fs::symlink(&id.0, &fresh)?;
            fs_err::rename(&fresh, runs.join("latest"))?;
            return Ok(Self { id, path });
        }
    }

    /// A folder that is thrown away: for looking without running.
    ///
    /// # Errors
    /// The I/O error, naming the path.
    pub fn scratch(path: &Path) -> std::io::Result<Self> {
        fs_err::create_dir(path.join("hosts"))?;
        Ok(Self { id: RunId("explain".to_owned()), path: path.to_owned() })
    }

    /// Where the journal lies.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// Where a host's log lies. Host names with a slash stay one file.
    #[must_use]
    pub fn host_log(&self, host: &str) -> PathBuf {
        self.path.join("hosts").join(format!("{}.log", host.replace(['/', '\0'], "_")))
    }
}

/// The folder of a run of this project: by id, or the latest one.
///
/// # Errors
/// When there is none; the message lists what there is.
pub fn latest(project: &Path, id: Option<&str>) -> std::io::Result<RunFolder> {
    let runs = project.join(".dcos-play").join("runs");
    let name = id.unwrap_or("latest");
    let path = fs_err::canonicalize(runs.join(name)).map_err(|_| {
        let mut known: Vec<String> = std::fs::read_dir(&runs)
            .map(|list| list.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect())
            .unwrap_or_default();
        known.retain(|n| !n.starts_with('.') && n != "latest");
        known.sort();
        let there = if known.is_empty() {
            "there is none yet".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        std::io::Error::other(format!("no run `{name}` in {}: {there}", runs.display()))
    })?;
    let id = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(RunFolder { id: RunId(id), path })
}

fn named(path: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn letters() -> String {
    const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    uuid::Uuid::new_v4()
        .as_bytes()
        .iter()
        .take(3)
        .map(|b| char::from(ALPHABET[*b as usize % ALPHABET.len()]))
        .collect()
}
