//! Where host paths begin: `/`, and in tests a folder of the test's own.
//!
//! Owns: that one switch. Must not: exist outside tests as anything but the identity.

use std::path::{Path, PathBuf};

/// The path as it must be opened.
#[cfg(not(test))]
#[must_use]
pub fn at(path: impl AsRef<Path>) -> PathBuf {
    path.as_ref().to_owned()
}

/// The path below the test's own root.
///
/// # Panics
/// When the test made no [`tests::FakeRoot`]: no test may look at the machine it runs on.
#[cfg(test)]
#[must_use]
pub fn at(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    fake::ROOT.with_borrow(|root| {
        let root = root.as_ref().expect("a test that reads host files makes a FakeRoot first");
        if path.starts_with(root) {
            path.to_owned()
        } else {
            root.join(path.strip_prefix("/").unwrap_or(path))
        }
    })
}

#[cfg(test)]
pub mod fake {
    use std::cell::RefCell;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    thread_local! {
        pub(super) static ROOT: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);

    /// A private host root for the test thread; removed when dropped.
    pub struct FakeRoot(PathBuf);

    impl FakeRoot {
        /// Makes the root with these files.
        pub fn with(files: &[(&str, &str)]) -> Self {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("dcos-play-root-{}-{id}", std::process::id()));
            fs::create_dir_all(&path).expect("makes the root");
            ROOT.with_borrow_mut(|r| *r = Some(path.clone()));
            let root = Self(path);
            for (name, content) in files {
                root.put(name, content);
            }
            root
        }

        /// Writes one file.
        pub fn put(&self, name: &str, content: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("makes folders");
            fs::write(path, content).expect("writes");
        }

        /// Writes an executable file.
        pub fn program(&self, name: &str) {
            use std::os::unix::fs::PermissionsExt;
            self.put(name, "");
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("mode");
        }

        /// Makes a folder.
        pub fn dir(&self, name: &str) {
            fs::create_dir_all(self.path(name)).expect("makes folders");
        }

        /// Makes a link.
        pub fn link(&self, name: &str, target: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("makes folders");
            std::os::unix::fs::symlink(target, path).expect("links");
        }

        /// Reads one file back.
        pub fn get(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).expect("reads")
        }

        /// Where a host path really lies.
        pub fn path(&self, name: &str) -> PathBuf {
            self.0.join(Path::new(name).strip_prefix("/").unwrap_or(Path::new(name)))
        }
    }

    impl Drop for FakeRoot {
        fn drop(&mut self) {
            ROOT.with_borrow_mut(|r| *r = None);
            fs::remove_dir_all(&self.0).ok();
        }
    }
}
