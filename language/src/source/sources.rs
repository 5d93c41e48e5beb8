//! The files a run has read, and places in them.

use std::collections::HashMap;
use std::ops::Range;
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
    /// Without a byte order mark.
    pub text: String,
    /// Offset of each line's first byte, so that a place costs a binary search.
    lines: Vec<u32>,
}

/// Line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    pub line: usize,
    pub column: usize,
}

#[derive(Debug, Default)]
struct Files {
    list: Vec<Arc<SourceFile>>,
    by_path: HashMap<PathBuf, SourceId>,
}

/// All files of a run. Grows while a run goes on (dynamic includes); never forgets.
#[derive(Debug, Default)]
pub struct Sources {
    files: RwLock<Files>,
    base: PathBuf,
}

impl Sources {
    /// Starts with no file; names are shown relative to `base`.
    #[must_use]
    pub fn new(base: PathBuf) -> Self {
        Self { files: RwLock::default(), base }
    }

    /// Reads a file, or finds it again when it was read before: a run never sees two versions of one file
    /// unless it asks for it.
    ///
    /// # Errors
    /// The I/O error, naming the path; a file that is not UTF-8.
    pub fn read(&self, path: &Path) -> std::io::Result<SourceId> {
        let absolute = std::path::absolute(path)?;
        if let Some(id) = self.files.read().unwrap_or_else(|e| e.into_inner()).by_path.get(&absolute) {
            return Ok(*id);
        }
        let text = fs_err::read_to_string(&absolute)?;
        let id = self.add(absolute.clone(), text);
        let mut files = self.files.write().unwrap_or_else(|e| e.into_inner());
        // Two readers at once: the first one registered wins, so that a path has one id.
        Ok(*files.by_path.entry(absolute).or_insert(id))
    }

    /// Reads a file as it is now: an inventory that a run reads again. From now on this is the one version.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub fn read_again(&self, path: &Path) -> std::io::Result<SourceId> {
        let absolute = std::path::absolute(path)?;
        let text = fs_err::read_to_string(&absolute)?;
        let id = self.add(absolute.clone(), text);
        self.files.write().unwrap_or_else(|e| e.into_inner()).by_path.insert(absolute, id);
        Ok(id)
    }

    /// Adds text that does not come from a file read here (`-e` on the command line, a script's output, tests).
    pub fn add(&self, path: PathBuf, mut text: String) -> SourceId {
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let name = self.shown(&path);
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at as u32 + 1));
        let mut files = self.files.write().unwrap_or_else(|e| e.into_inner());
        files.list.push(Arc::new(SourceFile { name, path, text, lines }));
        SourceId((files.list.len() - 1) as u32)
    }

    /// A path as it is shown to people: relative to the base where it lies below it.
    #[must_use]
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.base).unwrap_or(path).display().to_string()
    }

    /// The file behind an id.
    #[must_use]
    pub fn file(&self, id: SourceId) -> Arc<SourceFile> {
        Arc::clone(&self.files.read().unwrap_or_else(|e| e.into_inner()).list[id.0 as usize])
    }

    /// Where a span starts.
    #[must_use]
    pub fn position(&self, span: Span) -> LineColumn {
        self.file(span.file).position(span.start)
    }

    /// `roles/master/tasks/main.yml:14`: how a place is named in one word.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        let file = self.file(span.file);
        format!("{}:{}", file.name, file.position(span.start).line)
    }

    /// The bytes of the file that hold a part of a scalar's value; the whole scalar where that cannot be told.
    ///
    /// `span` is the scalar's node, `value` its value, `part` a byte range of the value.
    #[must_use]
    pub fn inside(&self, span: Span, value: &str, part: Range<usize>) -> Span {
        let file = self.file(span.file);
        let raw = file.text.get(span.start as usize..span.end as usize).unwrap_or("");
        super::inside::locate(raw, value, part).map_or(span, |found| Span {
            file: span.file,
            start: span.start + found.start as u32,
            end: span.start + found.end as u32,
        })
    }
}

impl SourceFile {
    /// Line and column of a byte.
    #[must_use]
    pub fn position(&self, at: u32) -> LineColumn {
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.line_start(line) as usize;
        let column = self.text.get(start..at as usize).map_or(0, |before| before.chars().count()) + 1;
        LineColumn { line, column }
    }

    /// How many lines the file has.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// The first byte of a line (from 1); the end of the file for lines after the last.
    #[must_use]
    pub fn line_start(&self, line: usize) -> u32 {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len() as u32)
    }

    /// A line (from 1) without its line break.
    #[must_use]
    pub fn line(&self, line: usize) -> &str {
        let text = self.text.get(self.line_start(line) as usize..self.line_start(line + 1) as usize);
        text.unwrap_or("").trim_end_matches(['\r', '\n'])
    }
}
