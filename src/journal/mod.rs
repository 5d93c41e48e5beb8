//! What happened: events, their file, and the lock that keeps two runs off the same hosts.
//!
//! Owns: the event types, the run folder `.dcos-play/runs/<id>/`, the journal's format and its writer and reader.
//! Must not: print, or know how events are shown.
//! Called by: the engine (writes), resume and reports (read).

mod event;
mod folder;
mod history;
mod hosts_lock;
mod writer;

pub(crate) use event::look;
pub use event::{
    CancelReason, Event, EventKind, Failure, HostTotals, NotRun, OpenEnd, Outcome, Place, PlayId, RunMode,
    StepId, Totals, UNKNOWN,
};
pub use folder::{RunFolder, RunId, latest};
pub use history::{History, Record};
pub use hosts_lock::{Conflict, HostsLock};
pub use writer::{FORMAT, Header, Journal, JournalError, read};
