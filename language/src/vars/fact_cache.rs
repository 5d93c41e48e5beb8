//! Facts that outlive a run: what Ansible's cache plugin `jsonfile` keeps.
//!
//! Owns: one JSON file a host, and how old it may be. Must not: decide when facts are gathered.
//! Source: <https://docs.ansible.com/ansible/latest/collections/ansible/builtin/jsonfile_cache.html>

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value as Json};

/// Stands in a file beside the facts when they come from a whole gathering, as Ansible writes it.
const GATHERED: &str = "_ansible_facts_gathered";

/// The files of all hosts. It only reads until [`FactCache::keep`] is called: a dry run leaves nothing behind.
#[derive(Debug)]
pub struct FactCache {
    folder: PathBuf,
    prefix: String,
    /// How old a file may be; `None`: any age.
    lifetime: Option<Duration>,
    writes: AtomicBool,
    /// The first file that could not be read or written; the same is true of most others then.
    fault: Mutex<Option<String>>,
    told: AtomicBool,
}

/// What is known of a host from an earlier run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Remembered {
    pub facts: Map<String, Json>,
    /// They come from a whole gathering, so that `gathering: smart` need not gather again.
    pub gathered: bool,
}

impl FactCache {
    /// Takes a folder, which need not exist, the beginning of the files' names, and a lifetime in seconds, 0 for ever.
    #[must_use]
    pub fn new(folder: PathBuf, prefix: String, lifetime: u64) -> Self {
        let lifetime = (lifetime > 0).then(|| Duration::from_secs(lifetime));
        Self {
            folder,
            prefix,
            lifetime,
            writes: AtomicBool::new(false),
            fault: Mutex::default(),
            told: AtomicBool::new(false),
        }
    }

    /// From now on facts are written.
    pub fn keep(&self) {
        self.writes.store(true, Ordering::Relaxed);
    }

    /// Whether facts are written.
    pub(super) fn keeps(&self) -> bool {
        self.writes.load(Ordering::Relaxed)
    }

    /// What stopped a file from being read or written, to be told once.
    #[must_use]
    pub fn take_fault(&self) -> Option<String> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (!self.told.swap(true, Ordering::Relaxed)).then_some(fault)
    }

    /// The facts of a host, unless they are too old.
    pub(super) fn read(&self, host: &str) -> Option<Remembered> {
        let path = self.file(host);
        let written = match fs_err::metadata(&path).and_then(|found| found.modified()) {
            Ok(written) => written,
            // A folder that is none stops the writing, which tells it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return None;
            }
            Err(error) => return self.failed(&error),
        };
        // A file from the future is new.
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        if self.lifetime.is_some_and(|lifetime| age > lifetime) {
            return None;
        }
        let text = match fs_err::read(&path) {
            Ok(text) => text,
            Err(error) => return self.failed(&error),
        };
        match serde_json::from_slice::<Map<String, Json>>(&text) {
            Ok(mut facts) => {
                let gathered = facts.shift_remove(GATHERED) == Some(Json::Bool(true));
                Some(Remembered { facts, gathered })
            }
            Err(error) => {
                self.failed(&format!("`{}` holds no facts and is left out: {error}", path.display()))
            }
        }
    }

    /// Replaces the file of a host as a whole, so that nobody reads half of it. Only its owner may read it: `set_fact` puts
    /// there what it likes.
    pub(super) fn write(&self, host: &str, remembered: Remembered) {
        if !self.keeps() {
            return;
        }
        let mut facts = remembered.facts;
        if remembered.gathered {
            facts.insert(GATHERED.to_owned(), Json::Bool(true));
        }
        let written = || -> io::Result<()> {
            fs_err::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer(&mut file, &facts)?;
            file.flush()?;
            file.persist(self.file(host)).map_err(|e| e.error)?;
            Ok(())
        };
        if let Err(error) = written() {
            let _: Option<()> = self.failed(&format!("the facts of `{host}` are not kept: {error}"));
        }
    }

    /// Forgets a host.
    pub(super) fn remove(&self, host: &str) {
        if !self.keeps() {
            return;
        }
        match fs_err::remove_file(self.file(host)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let _: Option<()> = self.failed(&error);
            }
            _ => {}
        }
    }

    /// A host may be named by a path, a file may not.
    fn file(&self, host: &str) -> PathBuf {
        self.folder.join(format!("{}{}", self.prefix, host.replace('/', "%2F")))
    }

    fn failed<T>(&self, why: &dyn std::fmt::Display) -> Option<T> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| format!("fact cache: {why}"));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(text: &str, gathered: bool) -> Remembered {
        Remembered { facts: serde_json::from_str(text).expect("an object"), gathered }
    }

    #[test]
    fn a_fact_is_read_back_until_it_is_too_old() {
        let folder = tempfile::tempdir().expect("temp dir");
        let cache = FactCache::new(folder.path().join("new"), "p_".to_owned(), 60);
        cache.write("h1", remembered(r#"{"ansible_a": 1}"#, true));
        assert_eq!(cache.read("h1"), None, "nothing is written before it is asked for");
        cache.keep();
        cache.write("h1", remembered(r#"{"ansible_a": 1}"#, true));
        cache.write("a/b", remembered(r#"{"b": [2]}"#, false));
        assert_eq!(cache.read("h1"), Some(remembered(r#"{"ansible_a": 1}"#, true)));
        assert_eq!(cache.read("a/b"), Some(remembered(r#"{"b": [2]}"#, false)));
        let file = fs_err::File::open(folder.path().join("new/p_h1")).expect("there");
        file.file().set_modified(SystemTime::now() - Duration::from_secs(61)).expect("its owner may");
        assert_eq!(cache.read("h1"), None);
        let for_ever = FactCache::new(folder.path().join("new"), "p_".to_owned(), 0);
        assert!(for_ever.read("h1").is_some());
        cache.remove("a/b");
        assert_eq!(cache.read("a/b"), None);
        assert_eq!(cache.take_fault(), None);
    }

    #[test]
    fn what_is_no_fact_file_is_told_once_and_left_out() {
        let folder = tempfile::tempdir().expect("temp dir");
        fs_err::write(folder.path().join("h1"), "[1]").expect("writes");
        let cache = FactCache::new(folder.path().to_owned(), String::new(), 0);
        assert_eq!(cache.read("h1"), None);
        let fault = cache.take_fault().expect("told");
        assert!(
            fault.starts_with("fact cache: `") && fault.contains("/h1` holds no facts and is left out: "),
            "{fault}"
        );
        assert_eq!(cache.take_fault(), None);
    }
}
