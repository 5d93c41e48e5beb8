//! The journal file: one JSON document a line, the first a header.
//!
//! Format 1. Records gather in memory until [`Journal::commit`] writes them in one `write`: before the controller acts on
//! one of them, and as soon as nothing else is to do. A torn last record (the machine died) is dropped by readers. Readers
//! refuse another format by name: an older program cannot know what newer records mean.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Event, EventKind, Place};
use crate::vars::ByName;

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
    /// Records that are not written yet.
    waiting: Vec<u8>,
    /// By the address of its place, which is kept with it.
    tasks: HashMap<usize, Written, ByName>,
}

/// What a task decides of the record of a step that begins, as it is written.
#[derive(Debug)]
struct Written {
    name: Arc<str>,
    /// Keeps its address its own.
    _place: Arc<Place>,
    text: Vec<u8>,
}

/// Bytes that may gather before they are written in any case.
const GATHERED: usize = 256 << 10;

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
        let mut journal = Self { file, path: path.clone(), waiting: Vec::new(), tasks: HashMap::default() };
        journal.line(header)?;
        journal.commit()?;
        Ok(journal)
    }

    /// Adds an event, which is safe after [`Journal::commit`] only.
    ///
    /// # Errors
    /// As [`Journal::commit`], which this does when much is waiting.
    pub fn add(&mut self, event: &Event) -> Result<(), JournalError> {
        self.record(event)?;
        if self.waiting.len() < GATHERED { Ok(()) } else { self.commit() }
    }

    /// True while events wait for a commit.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes what waits. It is in the kernel's hands when this returns: `kill -9` cannot lose it.
    ///
    /// # Errors
    /// When it could not be written: the run must not go on, since resume rests on the journal. Nothing may be added
    /// after that, as the last record may be torn.
    pub fn commit(&mut self) -> Result<(), JournalError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.waiting);
        self.waiting.clear();
        written.map_err(|source| JournalError::Write { path: self.path.clone(), source })
    }

    /// Asks the disk to keep what was written.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.commit()?;
        self.file.sync_data().map_err(|source| JournalError::Write { path: self.path.clone(), source })
    }

    /// Writes what the derived form of an event says; records of steps, which are nearly all, part by part.
    fn record(&mut self, event: &Event) -> Result<(), JournalError> {
        let failed = |e: serde_json::Error| JournalError::Write { path: self.path.clone(), source: e.into() };
        let Event { seq, at, kind } = event;
        match kind {
            EventKind::StepStarted { step, play, host, path, name, role, action, place, delegate: None } => {
                let of_task = || {
                    let parts =
                        Parts(Vec::with_capacity(256)).put("\"path\":", path)?.put(",\"name\":", name)?;
                    let parts = parts.put(",\"role\":", role)?.put(",\"action\":", action)?;
                    let text = parts.put(",\"place\":", place)?.0;
                    Ok(Written { name: Arc::clone(name), _place: Arc::clone(place), text })
                };
                let known = match self.tasks.entry(Arc::as_ptr(place) as usize) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(free) => free.insert(of_task().map_err(failed)?),
                };
                let own =
                    if Arc::ptr_eq(&known.name, name) { None } else { Some(of_task().map_err(failed)?) };
                let parts =
                    Parts(std::mem::take(&mut self.waiting)).put("{\"seq\":", seq).and_then(|parts| {
                        let parts =
                            parts.put(",\"at\":", at)?.put(",\"event\":\"step_started\",\"step\":", step)?;
                        parts.put(",\"play\":", play)?.put(",\"host\":", host)
                    });
                self.waiting = parts.map_err(failed)?.0;
                self.waiting.push(b',');
                self.waiting.extend_from_slice(&own.as_ref().unwrap_or(known).text);
                self.waiting.extend_from_slice(b"}\n");
                Ok(())
            }
            _ => self.line(event),
        }
    }

    fn line(&mut self, record: &impl Serialize) -> Result<(), JournalError> {
        serde_json::to_writer(&mut self.waiting, record)
            .map_err(|e| JournalError::Write { path: self.path.clone(), source: e.into() })?;
        self.waiting.push(b'\n');
        Ok(())
    }
}

/// JSON that is put together from parts.
struct Parts(Vec<u8>);

impl Parts {
    fn put(mut self, name: &str, value: &impl Serialize) -> serde_json::Result<Self> {
        self.0.extend_from_slice(name.as_bytes());
        serde_json::to_writer(&mut self.0, value)?;
        Ok(self)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Who cares whether it worked has committed.
        let _ = self.commit();
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
    use super::*;
    use crate::journal::{Failure, Outcome};

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
            journal.add(&event(seq)).expect("adds");
        }
        assert_eq!(read(&path).expect("reads").1.len(), 0, "they gather");
        journal.commit().expect("writes");
        let whole = std::fs::read(&path).expect("reads");
        std::fs::write(&path, &whole[..whole.len() - 5]).expect("cuts");
        assert_eq!(read(&path).expect("reads").1.len(), 2);
        let middle = String::from_utf8(whole).expect("text").replacen("play_finished", "play_finish\"ed", 1);
        std::fs::write(&path, middle).expect("breaks");
        assert!(matches!(read(&path), Err(JournalError::Record { record: 2, .. })));
    }

    #[test]
    fn the_record_of_a_step_is_written_as_events_are() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::create(path.clone(), &header()).expect("creates");
        let place = Arc::new(Place { file: "a \"b\".yml".to_owned(), line: 3, column: 7 });
        let name: Arc<str> = "one \u{1}\u{e9}".into();
        let mut events = Vec::new();
        for (name, role, delegate) in [
            (Arc::clone(&name), None, None),
            (Arc::clone(&name), None, None),
            ("rendered for another host".into(), None, None),
            (name, None, Some("other".into())),
        ] {
            let seq = events.len() as u64;
            let kind = EventKind::StepStarted {
                step: seq * 3,
                play: 1,
                host: format!("h\\{seq}").into(),
                path: "play/One#1".into(),
                name,
                role,
                action: "command".into(),
                place: Arc::clone(&place),
                delegate,
            };
            events.push(Event { seq, at: -5, kind });
        }
        let EventKind::StepStarted { role, place, .. } = &mut events[3].kind else { panic!("all are") };
        (*role, *place) = (Some("web".into()), Arc::default());
        let failure = Failure {
            name: "n".to_owned(),
            place: Place::default(),
            excerpt: String::new(),
            chain: Vec::new(),
            ran_as: String::new(),
        };
        for (failure, adopted) in [(None, false), (Some(Box::new(failure)), false), (None, true)] {
            let kind = EventKind::StepFinished {
                step: 7,
                play: 1,
                host: "h\\".into(),
                path: "play/One#1".into(),
                outcome: Outcome::FailureIgnored,
                took_ms: 12,
                result: Arc::new(serde_json::Map::from_iter([
                    ("stdout".to_owned(), "\u{1}\"\n".into()),
                    ("rc".to_owned(), 3.into()),
                ])),
                failure,
                fingerprint: "abc".into(),
                kept: adopted,
                adopted,
            };
            events.push(Event { seq: events.len() as u64, at: 5, kind });
        }
        for event in &events {
            journal.add(event).expect("adds");
        }
        journal.commit().expect("writes");
        let written = std::fs::read_to_string(&path).expect("reads");
        let wanted: Vec<String> = events.iter().map(|e| serde_json::to_string(e).expect("JSON")).collect();
        assert_eq!(written.lines().skip(1).collect::<Vec<_>>(), wanted);
    }

    /// A crash of the machine may lose the end of a file, or leave a part of it empty.
    #[test]
    fn a_tail_that_a_crash_lost_is_dropped_wherever_it_begins() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::create(path.clone(), &header()).expect("creates");
        let first = std::fs::read(&path).expect("reads").len();
        for seq in 0..3 {
            journal.add(&event(seq)).expect("adds");
        }
        journal.sync().expect("writes");
        let whole = std::fs::read(&path).expect("reads");
        for cut in first..whole.len() {
            let ends = whole[first..cut].iter().filter(|b| **b == b'\n').count();
            // A record that lacks nothing but its end of line is one.
            let known = ends + usize::from(whole[cut] == b'\n');
            for (empty, known) in [(0, known), (1, ends), (4096, ends)] {
                let mut bytes = whole[..cut].to_vec();
                bytes.resize(cut + empty, 0);
                std::fs::write(&path, bytes).expect("cuts");
                assert_eq!(read(&path).expect("reads").1.len(), known, "cut {cut}, {empty} empty");
            }
        }
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
