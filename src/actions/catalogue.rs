//! Every name that a task may call.
//!
//! Owns: one look-up over the controller's actions and the agent's modules. Must not: list any itself.
//! Called by: resolve, through its trait.

use std::collections::HashMap;
use std::sync::OnceLock;

use dcos_play_agent::modules;

use crate::resolve::{Catalogue, Found};

/// Actions first: `copy` on the host is only half of `copy`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known;

fn table() -> HashMap<&'static str, Found> {
    let actions = super::all().map(|action| action.spec()).map(|spec| (spec, Found::Controller(spec)));
    let modules = modules::catalogue().iter().map(|spec| (*spec, Found::Module(spec)));
    let mut table = HashMap::new();
    for (spec, found) in actions.chain(modules) {
        for name in [spec.name].iter().chain(spec.aliases) {
            table.entry(*name).or_insert(found);
        }
    }
    table
}

impl Catalogue for Known {
    fn find(&self, short: &str) -> Option<Found> {
        if short.starts_with('_') {
            return None;
        }
        // Asked for every task, and the lists are long.
        static TABLE: OnceLock<HashMap<&'static str, Found>> = OnceLock::new();
        TABLE.get_or_init(table).get(short).copied()
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names = super::names();
        // Names with an underscore are for the controller itself.
        names.extend(modules::catalogue().iter().map(|spec| spec.name).filter(|name| !name.starts_with('_')));
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controllers_half_wins_over_the_agents() {
        assert!(matches!(Known.find("copy"), Some(Found::Controller(spec)) if spec.name == "copy"));
        assert!(matches!(Known.find("command"), Some(Found::Module(_))));
        assert!(Known.find("nope").is_none());
        let names = Known.names();
        assert!(names.contains(&"debug") && names.contains(&"command"));
    }
}
