//! The small file that says what a simulated fleet is like.
//!
//! Owns: its format and who a fault meets. Must not: act it out (that is `fleet`).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::answers::Dice;

/// What is wrong with the fleet, how fast it is, and what it says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Least and most seconds of a call; drawn anew for each. Without it calls take no time.
    pub latency: Option<(f64, f64)>,
    pub faults: Vec<Fault>,
    /// The first that matches is said.
    pub answers: Vec<Answer>,
}

/// What goes wrong, where and when. Without `hosts` and `share`: everywhere.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    pub hosts: Vec<String>,
    /// Part of the fleet, drawn by the seed: 0.01 meets one host of a hundred.
    pub share: Option<f64>,
    /// Only calls whose module or arguments contain this text.
    pub r#match: Option<String>,
    /// Only calls after this many matching ones of the host.
    pub after: u64,
    /// At most this many calls; all when missing.
    pub times: Option<u64>,
    /// The module fails with this message.
    pub fail: Option<String>,
    /// Nobody answers at the address: the connect timeout passes.
    pub unreachable: bool,
    /// The host dies with the call under way: the deadline for reconnecting passes.
    pub dead: bool,
    /// The network is cut for so many seconds; the answer comes when it is back.
    pub partition: Option<f64>,
    /// Calls take so many times as long.
    pub slow: Option<f64>,
}

/// What `command`, `shell` and `raw` say, or any module returns.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    pub hosts: Vec<String>,
    pub r#match: String,
    pub stdout: Option<String>,
    pub stderr: Option<String>,
    pub rc: Option<i64>,
    /// Laid over the module's result.
    pub result: serde_json::Map<String, serde_json::Value>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    #[error("the faults file {} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the faults file {} is wrong: {source}", path.display())]
    Parse { path: PathBuf, source: serde_norway::Error },
}

impl Faults {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing or wrong.
    pub fn read(path: &Path) -> Result<Self, FaultsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| FaultsError::Read { path: path.to_owned(), source })?;
        serde_norway::from_str(&text).map_err(|source| FaultsError::Parse { path: path.to_owned(), source })
    }
}

impl Fault {
    /// Whether it meets a host at all.
    pub(super) fn meets(&self, dice: Dice, number: usize, host: &str) -> bool {
        let named = self.hosts.is_empty() || self.hosts.iter().any(|h| h == host);
        let drawn = self.share.is_none_or(|share| dice.of(("fault", number, host)).unit() < share);
        named && drawn
    }
}

impl Answer {
    pub(super) fn meets(&self, host: &str, text: &str) -> bool {
        (self.hosts.is_empty() || self.hosts.iter().any(|h| h == host)) && text.contains(&self.r#match)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("faults.yml");
        std::fs::write(&path, "faults: [{hots: [a]}]\n").expect("writes");
        let error = Faults::read(&path).expect_err("wrong").to_string();
        assert!(error.contains("faults.yml is wrong") && error.contains("hots"), "{error}");
    }

    #[test]
    fn a_share_draws_the_same_hosts_for_the_same_seed() {
        let fault = Fault { share: Some(0.1), ..Fault::default() };
        let drawn = |seed: u64| -> Vec<usize> {
            (0..1000).filter(|n| fault.meets(Dice::new(seed), 0, &format!("h{n}"))).collect()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!((60..140).contains(&drawn(1).len()), "{}", drawn(1).len());
    }
}
