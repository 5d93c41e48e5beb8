//! What magic variables tell about the run and the play.
//!
//! Owns: these facts in the form templates see them. Must not: find them out (command line and engine do).

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use crate::template::Value;

/// Facts about the whole run.
#[derive(Debug, Clone, Default)]
pub struct RunInfo {
    pub check_mode: bool,
    pub diff_mode: bool,
    pub forks: u32,
    pub verbosity: u32,
    /// Empty means `all`.
    pub run_tags: Vec<String>,
    pub skip_tags: Vec<String>,
    /// `--limit` as given.
    pub limit: Option<String>,
    /// Folder of the first playbook.
    pub playbook_dir: PathBuf,
    pub config_file: Option<PathBuf>,
}

/// Facts about a play. The engine makes a new one when a host leaves the play or the next batch starts.
#[derive(Debug, Clone, Default)]
pub struct PlayInfo {
    name: String,
    /// Folder of the playbook that `ansible-playbook` would have been called with.
    playbook_dir: PathBuf,
    /// As values, made once: a list of ten thousand hosts must cost nothing a step.
    hosts_all: Value,
    hosts: Value,
    batch: Value,
    play_roles: Value,
    dependent_roles: Value,
    roles: Value,
}

impl PlayInfo {
    /// Starts a play: all hosts it targets, and its roles by full name, without and with dependencies.
    #[must_use]
    pub fn new(
        name: &str,
        playbook_dir: PathBuf,
        hosts: &[Arc<str>],
        play_roles: &[String],
        dependent_roles: &[String],
    ) -> Self {
        let all = list(hosts);
        let mut roles: Vec<&String> = dependent_roles.iter().chain(play_roles).collect();
        roles.sort();
        roles.dedup();
        Self {
            name: name.to_owned(),
            playbook_dir,
            hosts: all.clone(),
            batch: all.clone(),
            hosts_all: all,
            play_roles: play_roles.iter().map(|r| Value::from(&**r)).collect(),
            dependent_roles: dependent_roles.iter().map(|r| Value::from(&**r)).collect(),
            roles: roles.into_iter().map(|r| Value::from(&**r)).collect(),
        }
    }

    /// The same play with other hosts left in it: those of the whole play, and those of the current batch.
    #[must_use]
    pub fn with_hosts(&self, left: &[Arc<str>], batch: &[Arc<str>]) -> Self {
        Self { hosts: list(left), batch: list(batch), ..self.clone() }
    }

    /// The magic variable of that name, if it tells about plays.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value> {
        Some(match name {
            "ansible_play_name" => Value::from(&*self.name),
            "playbook_dir" => Value::from(self.playbook_dir.display().to_string()),
            "ansible_play_hosts_all" => self.hosts_all.clone(),
            "ansible_play_hosts" => self.hosts.clone(),
            "ansible_play_batch" | "play_hosts" => self.batch.clone(),
            "ansible_play_role_names" | "role_names" => self.play_roles.clone(),
            "ansible_dependent_role_names" => self.dependent_roles.clone(),
            "ansible_role_names" => self.roles.clone(),
            _ => return None,
        })
    }
}

/// The current [`PlayInfo`] of a running play.
#[derive(Debug, Default)]
pub struct PlayState(RwLock<Arc<PlayInfo>>);

impl PlayState {
    /// Starts with this.
    #[must_use]
    pub fn new(info: PlayInfo) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(info))))
    }

    /// What holds now.
    #[must_use]
    pub fn get(&self) -> Arc<PlayInfo> {
        Arc::clone(&self.0.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// What holds from now on.
    pub fn set(&self, info: PlayInfo) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(info);
    }
}

fn list(hosts: &[Arc<str>]) -> Value {
    hosts.iter().map(|h| Value::from(&**h)).collect()
}
