//! Events as JSON lines, for programs.

use std::io::Write;

use super::{Context, Reporter};
use crate::journal::Event;

/// Writes every event as one line.
pub struct Json {
    out: Box<dyn Write + Send>,
}

impl Json {
    /// Writes to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

impl Reporter for Json {
    fn on_event(&mut self, event: &Event, _: &Context) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.out, event)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}
