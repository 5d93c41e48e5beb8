//! What tests of this crate share.
//!
//! Owns: temporary folders and a host to run modules on. Must not: be part of the agent.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::modules::{self, Host};
use crate::runner::Local;

/// A folder that goes when it is dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it, as a string for arguments.
    pub(crate) fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn temp_dir() -> TempDir {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("dcos-play-agent-test-{}-{next}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a temporary folder");
    TempDir(path)
}

/// Runs a module with diff on and gives its result.
pub(crate) fn run(module: &str, args: Value, check: bool) -> Value {
    let Value::Object(args) = args else { panic!("arguments are a mapping") };
    let runner = Local::new();
    let host = Host { check, diff: true, environment: &[], runner: &runner };
    let (result, _) = modules::run(module, args, &host).expect("a known module");
    Value::Object(result)
}

/// Asserts the three rules of every module: check mode predicts and changes nothing, applying changes, and a second
/// run finds nothing to do. Gives the applied result.
pub(crate) fn changes_once(module: &str, args: &Value, untouched: impl Fn() -> bool) -> Value {
    let checked = run(module, args.clone(), true);
    assert_eq!(checked["changed"], true, "check mode predicts the change: {checked:#}");
    assert!(untouched(), "check mode changes nothing");
    let applied = run(module, args.clone(), false);
    assert_eq!(applied["changed"], true, "applying changes: {applied:#}");
    assert_eq!(checked["diff"], applied["diff"], "check mode shows the same diff");
    let again = run(module, args.clone(), false);
    assert_eq!(again["changed"], false, "the second run finds nothing to do: {again:#}");
    applied
}
