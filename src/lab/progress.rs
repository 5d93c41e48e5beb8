//! What the lab tells while it works. How much of it to show is the caller's business.

use std::time::Duration;

/// A fact about work on the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabEvent<'a> {
    /// The image isn't in the cache and is being built; the text names the stage.
    ImageStage(&'a str),
    /// The image is ready in the cache.
    ImageBuilt { took: Duration },
    /// The content of the web server is being built.
    WwwBuilding,
    /// The web server answers.
    WwwReady { url: String },
    /// The host is being booted.
    HostStarting { host: &'a str },
    /// The host's sshd answers.
    HostReady { host: &'a str, took: Duration },
    /// The host runs no more.
    HostStopped { host: &'a str },
    /// The host's disk was thrown away, because of `why`.
    HostWiped { host: &'a str, why: &'a str },
    /// Something to know that is no failure.
    Note(&'a str),
}

/// Receives [`LabEvent`]s, from several threads at once.
pub trait Progress: Sync {
    /// Takes one event.
    fn on_event(&self, event: &LabEvent<'_>);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn on_event(&self, _event: &LabEvent<'_>) {}
}
