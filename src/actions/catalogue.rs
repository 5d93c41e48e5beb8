//! Every name that a task may call.
//!
//! Owns: one look-up over the controller's actions and the agent's modules. Must not: list any itself.
//! Called by: resolve, through its trait.

use dcos_play_agent::modules;

use crate::resolve::{Catalogue, Found};

/// Actions first: `copy` on the host is only half of `copy`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known;

impl Catalogue for Known {
    fn find(&self, short: &str) -> Option<Found> {
        if short.starts_with('_') {
            return None;
        }
        super::find(short)
            .map(|action| Found::Controller(action.spec()))
            .or_else(|| modules::find(short).map(Found::Module))
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
