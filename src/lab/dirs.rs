//! Where the lab keeps its files. The only place here that knows about XDG.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::LabError;

/// The folders of all labs of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDirs {
    cache: PathBuf,
    state: PathBuf,
}

impl LabDirs {
    /// Takes the folders as given: `cache` for images, `state` for what runs.
    pub fn new(cache: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        LabDirs { cache: cache.into(), state: state.into() }
    }

    /// Finds the user's folders: `XDG_CACHE_HOME` and `XDG_STATE_HOME`, or their defaults under `HOME`.
    pub fn of_user() -> Result<Self, LabError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, LabError> {
        let folder = |name: &'static str, default: &str| {
            // XDG says that a relative path counts as unset.
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| {
                    variable("HOME")
                        .filter(|home| !home.is_empty())
                        .map(|home| Path::new(&home).join(default))
                })
                .map(|path| path.join("dcos-play/lab"))
                .ok_or(LabError::NoHome { variable: name })
        };
        let dirs =
            LabDirs::new(folder("XDG_CACHE_HOME", ".cache")?, folder("XDG_STATE_HOME", ".local/state")?);
        // An overlay takes its folders as one string of options, in which these part one from the other.
        for (path, variable) in [(&dirs.cache, "XDG_CACHE_HOME"), (&dirs.state, "XDG_STATE_HOME")] {
            if let Some(character) = path.to_string_lossy().chars().find(|c| matches!(c, ':' | ',' | '\\')) {
                return Err(LabError::OverlayPath { path: path.clone(), character, variable });
            }
        }
        Ok(dirs)
    }

    /// Holds images, shared by all labs.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Holds a folder for each lab.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Holds all that one lab has on disk.
    pub fn lab(&self, lab: &str) -> PathBuf {
        self.state.join(lab)
    }

    pub(super) fn lock(&self, lab: &str) -> PathBuf {
        self.state.join(format!(".{lab}.lock"))
    }

    pub(super) fn key(&self, lab: &str) -> PathBuf {
        self.lab(lab).join("id_ed25519")
    }

    pub(super) fn known_hosts(&self, lab: &str) -> PathBuf {
        self.lab(lab).join("known_hosts")
    }

    pub(super) fn host(&self, lab: &str, host: &str) -> PathBuf {
        self.lab(lab).join("hosts").join(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdg_variables_win_over_home() {
        let dirs = LabDirs::from_variables(|name| match name {
            "XDG_CACHE_HOME" => Some("/c".into()),
            "HOME" => Some("/h".into()),
            _ => None,
        });
        assert_eq!(
            dirs.expect("both folders are known"),
            LabDirs::new("/c/dcos-play/lab", "/h/.local/state/dcos-play/lab")
        );
    }

    #[test]
    fn missing_home_names_the_variable_to_set() {
        let error = LabDirs::from_variables(|_| None).expect_err("nothing is set");
        assert_eq!(error.to_string(), "no folder for the lab's files; set `XDG_CACHE_HOME` or `HOME`");
    }

    #[test]
    fn folder_that_an_overlay_cannot_use_is_refused() {
        let error = LabDirs::from_variables(|_| Some("/a:b".into())).expect_err("a colon");
        assert_eq!(
            error.to_string(),
            "`/a:b/dcos-play/lab` can't be part of an overlay mount because of `:` in it; \
             set `XDG_CACHE_HOME` to another folder"
        );
    }
}
