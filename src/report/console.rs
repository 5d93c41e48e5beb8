//! Which reporter speaks to the person or program that started the run.

use super::{Json, Plain, Reporter, Terminal};

/// One of the console reporters.
pub enum Console {
    Terminal(Terminal),
    Plain(Plain),
    Json(Json),
}

impl Console {
    pub(super) fn into_reporter(self) -> Box<dyn Reporter> {
        match self {
            Self::Terminal(terminal) => Box::new(terminal),
            Self::Plain(plain) => Box::new(plain),
            Self::Json(json) => Box::new(json),
        }
    }
}
