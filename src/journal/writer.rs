//! The journal file: one JSON document a line, the first a header.
//!
//! Format 1. A record is written whole in one `write` before the controller acts on it; a torn last record (the
//! machine died) is dropped by readers. Readers refuse another format by name: an older program cannot know what
//! newer records mean.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Event;

/// The format this program writes and reads.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub dcos_play_journal: u32,
    pub run: String,
    pub program: String,
    /// The name under which agents keep results of this run; a resumed run keeps that of the run it resumes.
    pub agent_run: String,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: std::fs::File,
    path: PathBuf,
    buffer: Vec<u8>,
}

/// What can be wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal {} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the journal {} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not a journal of dcos-play", path.display())]
    Foreign { path: PathBuf },
    #[error("{} has journal format {found}, this program reads format {FORMAT}: use the version that wrote it", path.display())]
    OtherFormat { path: PathBuf, found: u32 },
    #[error("record {record} of {} makes no sense: {source}", path.display())]
    Record { path: PathBuf, record: usize, source: serde_json::Error },
}

impl Journal {
    /// Starts a new journal.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn create(path: PathBuf, header: &Header) -> Result<Self, JournalError> {
        let write = |source| JournalError::Write { path: path.clone(), source };
        let file = std::fs::OpenOptions::new().create_new(true).append(true).open(&path).map_err(write)?;
        let mut journal = Self { file, path: path.clone(), buffer: Vec::new() };
        journal.line(header)?;
        Ok(journal)
    }

    /// Adds an event. It is in the kernel's hands when this returns: `kill -9` cannot lose it.
    ///
    /// # Errors
    /// When it could not be written: the run must not go on, since resume rests on the journal.
    pub fn add(&mut self, event: &Event) -> Result<(), JournalError> {
        self.line(event)
    }

    /// Asks the disk to keep what was written.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(|source| JournalError::Write { path: self.path.clone(), source })
    }

    fn line(&mut self, record: &impl Serialize) -> Result<(), JournalError> {
        self.buffer.clear();
        let failed = |source| JournalError::Write { path: self.path.clone(), source };
        serde_json::to_writer(&mut self.buffer, record).map_err(|e| failed(e.into()))?;
        self.buffer.push(b'\n');
        self.file.write_all(&self.buffer).map_err(failed)
    }
}

/// Reads a journal back.
///
/// # Errors
/// A foreign file, another format, or a record in the middle that makes no sense.
pub fn read(path: &Path) -> Result<(Header, Vec<Event>), JournalError> {
    let failed = |source| JournalError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut lines = std::io::BufReader::new(file).split(b'\n');
    let foreign = || JournalError::Foreign { path: path.to_owned() };
    let first = lines.next().ok_or_else(foreign)?.map_err(failed)?;
    let header: Header = serde_json::from_slice(&first).map_err(|_| foreign())?;
    if header.dcos_play_journal != FORMAT {
        return Err(JournalError::OtherFormat { path: path.to_owned(), found: header.dcos_play_journal });
    }
    let mut events = Vec::new();
    let mut bad = None;
    for (record, line) in lines.enumerate() {
        let line = line.map_err(failed)?;
        if line.is_empty() {
            continue;
        }
        // Only the very last record may be torn.
        if let Some((record, source)) = bad.take() {
            return Err(JournalError::Record { path: path.to_owned(), record, source });
        }
        match serde_json::from_slice(&line) {
            Ok(event) => events.push(event),
            Err(source) => bad = Some((record + 2, source)),
        }
    }
    Ok((header, events))
}

#[cfg(test)]
mod tests {
    use super::super::EventKind;
    use super::*;

    fn header() -> Header {
        Header { dcos_play_journal: FORMAT, run: "r".into(), program: "t".into(), agent_run: "r".into() }
    }

    fn event(seq: u64) -> Event {
        Event { seq, at: 0, kind: EventKind::PlayFinished { play: 0 } }
    }

    #[test]
    fn a_torn_last_record_is_dropped_and_a_torn_middle_one_is_refused() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::create(path.clone(), &header()).expect("creates");
        for seq in 0..3 {
            journal.add(&event(seq)).expect("writes");
        }
        let whole = std::fs::read(&path).expect("reads");
        std::fs::write(&path, &whole[..whole.len() - 5]).expect("cuts");
        assert_eq!(read(&path).expect("reads").1.len(), 2);
        let middle = String::from_utf8(whole).expect("text").replacen("play_finished", "play_finish\"ed", 1);
        std::fs::write(&path, middle).expect("breaks");
        assert!(matches!(read(&path), Err(JournalError::Record { record: 2, .. })));
    }

    #[test]
    fn foreign_and_newer_files_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("x");
        std::fs::write(&path, "hello\n").expect("writes");
        assert_eq!(
            read(&path).expect_err("foreign").to_string(),
            format!("{} is not a journal of dcos-play", path.display())
        );
        std::fs::write(
            &path,
            "{\"dcos_play_journal\":9,\"run\":\"r\",\"program\":\"p\",\"agent_run\":\"r\"}\n",
        )
        .expect("writes");
        assert!(matches!(read(&path), Err(JournalError::OtherFormat { found: 9, .. })));
    }
}
