//! The files a run has read, and places in them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

/// Names a file in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// A range of bytes in a file; what every node, key and task carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    pub file: SourceId,
    pub start: u32,
    pub end: u32,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// One file as it was when it was read.
#[derive(Debug)]
pub struct SourceFile {
    /// As shown to people: relative to the current folder where that is shorter.
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
    pub text: String,
}

/// Line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    pub line: usize,
    pub column: usize,
}

/// All files of a run. Grows while a run goes on (dynamic includes); never forgets.
#[derive(Debug, Default)]
pub struct Sources {
    files: RwLock<Vec<Arc<SourceFile>>>,
    base: PathBuf,
}

impl Sources {
    /// Starts with no file; names are shown relative to `base`.
    #[must_use]
    pub fn new(base: PathBuf) -> Self {
        Self { files: RwLock::default(), base }
    }

    /// Reads a file, or finds it again when it was read before: a run never sees two versions of one file.
    ///
    /// # Errors
    /// The I/O error, naming the path; a file that is not UTF-8.
    pub fn read(&self, path: &Path) -> std::io::Result<SourceId> {
        let absolute = std::path::absolute(path)?;
        if let Some(at) =
            self.files.read().unwrap_or_else(|e| e.into_inner()).iter().position(|f| f.path == absolute)
        {
            return Ok(SourceId(at as u32));
        }
        let text = fs_err::read_to_string(&absolute)?;
        Ok(self.add(absolute, text))
    }

    /// Adds text that does not come from a file read here (`-e` on the command line, a script's output, tests).
    pub fn add(&self, path: PathBuf, text: String) -> SourceId {
        let name = path.strip_prefix(&self.base).unwrap_or(&path).display().to_string();
        let mut files = self.files.write().unwrap_or_else(|e| e.into_inner());
        files.push(Arc::new(SourceFile { name, path, text }));
        SourceId((files.len() - 1) as u32)
    }

    /// The file behind an id.
    #[must_use]
    pub fn file(&self, id: SourceId) -> Arc<SourceFile> {
        Arc::clone(&self.files.read().unwrap_or_else(|e| e.into_inner())[id.0 as usize])
    }

    /// Where a span starts.
    #[must_use]
    pub fn position(&self, span: Span) -> LineColumn {
        let file = self.file(span.file);
        let before = file.text.get(..span.start as usize).unwrap_or(&file.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        LineColumn {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// `roles/master/tasks/main.yml:14`: how a place is named in one word.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        format!("{}:{}", self.file(span.file).name, self.position(span).line)
    }
}
