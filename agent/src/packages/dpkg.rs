//! The dpkg database, read from its file instead of asking a program: a no-op costs milliseconds.
//!
//! Owns: `/var/lib/dpkg/status`. Must not: write it.

use std::collections::HashMap;

use crate::modules::Fault;
use crate::system;

/// One entry of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// What the administrator wants: `install`, `hold`, `deinstall`, `purge`.
    pub wanted: String,
    /// What is: `installed`, `config-files`, `half-configured`, ...
    pub state: String,
    pub provides: Vec<String>,
    pub section: String,
    pub origin: String,
}

impl Entry {
    /// True when the package's files are all there and configured.
    #[must_use]
    pub fn installed(&self) -> bool {
        matches!(self.state.as_str(), "installed" | "triggers-pending" | "triggers-awaited")
    }
}

/// The database.
#[derive(Debug, Default)]
pub struct Database {
    entries: Vec<Entry>,
    by_name: HashMap<String, Vec<usize>>,
}

impl Database {
    /// Reads the host's database.
    ///
    /// # Errors
    /// When the host has none.
    pub fn read() -> Result<Self, Fault> {
        let text = system::text("/var/lib/dpkg/status").ok_or_else(|| {
            system::fault("cannot read `/var/lib/dpkg/status`: this host is not managed by dpkg")
        })?;
        Ok(Self::parse(&text))
    }

    /// Reads stanzas.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut database = Self::default();
        for stanza in text.split("\n\n") {
            let entry = entry(stanza);
            if !entry.name.is_empty() {
                database.by_name.entry(entry.name.clone()).or_default().push(database.entries.len());
                database.entries.push(entry);
            }
        }
        database
    }

    /// Entries in the file's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of `name` or `name:arch`; an installed one is preferred.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        let (name, architecture) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (name, None),
        };
        let candidates = self.by_name.get(name)?.iter().map(|at| &self.entries[*at]).filter(|e| {
            architecture
                .is_none_or(|a| a == "any" || a == "native" || e.architecture == a || e.architecture == "all")
        });
        candidates.max_by_key(|e| e.installed())
    }

    /// The installed entry of a name.
    #[must_use]
    pub fn installed(&self, name: &str) -> Option<&Entry> {
        self.get(name).filter(|e| e.installed())
    }

    /// True when an installed package provides that (virtual) name.
    #[must_use]
    pub fn provided(&self, name: &str) -> bool {
        self.entries.iter().any(|e| e.installed() && e.provides.iter().any(|p| p == name))
    }
}

fn entry(stanza: &str) -> Entry {
    let mut found = Entry::default();
    for line in stanza.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        match key {
            "Package" => found.name = value.trim().to_owned(),
            "Version" => found.version = value.trim().to_owned(),
            "Architecture" => found.architecture = value.trim().to_owned(),
            "Section" => found.section = value.trim().to_owned(),
            "Origin" => found.origin = value.trim().to_owned(),
            "Status" => {
                let mut words = value.split_whitespace();
                found.wanted = words.next().unwrap_or_default().to_owned();
                found.state = words.nth(1).unwrap_or_default().to_owned();
            }
            "Provides" => {
                found.provides = value
                    .split(',')
                    .filter_map(|p| p.split_whitespace().next())
                    .map(|p| p.split(':').next().unwrap_or(p).to_owned())
                    .collect();
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const STATUS: &str = "Package: curl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.88.1-10\nDescription: x\n more: text\n\n\
        Package: old\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
        Package: postfix\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 3.7\nProvides: mail-transport-agent, default-mta (= 1)\n";

    #[test]
    fn only_configured_packages_count_as_installed() {
        let database = Database::parse(STATUS);
        assert_eq!(database.installed("curl").map(|e| e.version.as_str()), Some("7.88.1-10"));
        assert!(database.installed("old").is_none() && database.get("old").is_some());
        assert!(database.installed("curl:amd64").is_some() && database.installed("curl:i386").is_none());
        assert_eq!(database.get("postfix").map(|e| e.wanted.as_str()), Some("hold"));
        assert!(database.provided("default-mta") && !database.provided("editor"));
    }
}
