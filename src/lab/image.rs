//! The disk images of hosts: built once by the recipe, then shared by all hosts of all labs as read-only layers.

use std::fs::TryLockError;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::dirs::LabDirs;
use super::error::LabError;
use super::progress::{LabEvent, Progress};
use super::spec::Image;
use super::tools::{last_line, program};

const RECIPE: &str = include_str!("../../lab/image/build.sh");

/// Images in the cache, under the hash of the recipe that made them.
#[derive(Debug, Clone)]
pub(super) struct Images {
    folder: PathBuf,
    hash: String,
}

/// The hash of the recipe in this program.
pub(super) fn recipe_hash() -> String {
    short_hash(RECIPE.as_bytes())
}

/// The first 16 hexadecimal digits of a SHA-256.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Images {
    /// Images of the given recipe, if they are in the cache.
    pub(super) fn cached(dirs: &LabDirs, hash: &str) -> Option<Self> {
        let folder = dirs.cache().join(hash);
        folder.is_dir().then(|| Images { folder, hash: hash.to_owned() })
    }

    /// The images of this program's recipe, built if need be.
    pub(super) fn ensure(dirs: &LabDirs, progress: &dyn Progress) -> Result<Self, LabError> {
        let hash = recipe_hash();
        if let Some(images) = Self::cached(dirs, &hash) {
            return Ok(images);
        }
        fs_err::create_dir_all(dirs.cache())?;
        // Another lab may be building the same images.
        let lock = fs_err::File::create(dirs.cache().join(".lock"))?;
        match lock.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress
                    .on_event(&LabEvent::Note("another dcos-play builds the image; waiting for it to end"));
                lock.file().lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if let Some(images) = Self::cached(dirs, &hash) {
            return Ok(images);
        }
        let started = Instant::now();
        let building = dirs.cache().join(format!("{hash}.building"));
        build(&building, &dirs.cache().join("build.log"), progress)?;
        let folder = dirs.cache().join(&hash);
        fs_err::rename(&building, &folder)?;
        progress.on_event(&LabEvent::ImageBuilt { took: started.elapsed() });
        Ok(Images { folder, hash })
    }

    /// The recipe's hash.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// The layers of an image as an overlay's `lowerdir` wants them, the topmost first.
    pub(super) fn layers(&self, image: Image) -> String {
        let bare = self.folder.join("bare").display().to_string();
        match image {
            Image::Bare => bare,
            Image::Standard => format!("{}:{bare}", self.folder.join("standard").display()),
        }
    }
}

/// Throws all images away.
pub(super) fn purge(dirs: &LabDirs) -> Result<(), LabError> {
    match fs_err::remove_dir_all(dirs.cache()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn build(folder: &Path, log: &Path, progress: &dyn Progress) -> Result<(), LabError> {
    // Mounts of the recipe live in a namespace of its own, so that nothing stays mounted however it ends.
    let mut child = program("unshare")
        .args(["--mount", "--propagation", "slave", "/bin/sh", "-c", RECIPE, "build.sh"])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(fs_err::File::create(log)?.into_parts().0)
        .spawn()?;
    let mut stage = "start".to_owned();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            stage = line?;
            progress.on_event(&LabEvent::ImageStage(&stage));
        }
    }
    if child.wait()?.success() {
        return Ok(());
    }
    let said =
        fs_err::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let last = last_line(&said).unwrap_or("it said nothing").to_owned();
    Err(LabError::ImageFailed { stage, last, log: log.to_owned() })
}
