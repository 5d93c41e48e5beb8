//! The keyword lists of ansible-core 2.19, where each may stand, and what shape its value has.
//!
//! Owns: the table. Adding a keyword here makes it legal; a refused one carries the reason.

use std::ops::BitOr;

/// Where a keyword may stand; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u8);

impl Place {
    pub const PLAY: Self = Self(1);
    pub const BLOCK: Self = Self(2);
    pub const TASK: Self = Self(4);
    pub const HANDLER: Self = Self(8);
    pub const ROLE: Self = Self(16);
    pub const IMPORT_PLAYBOOK: Self = Self(32);
    pub const LOOP_CONTROL: Self = Self(64);

    /// True when the two sets share a place.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// For messages: `a play`.
    #[must_use]
    pub const fn article(self) -> &'static str {
        match self {
            Self::PLAY => "a play",
            Self::BLOCK => "a block",
            Self::HANDLER => "a handler",
            Self::ROLE => "a role",
            Self::IMPORT_PLAYBOOK => "an `import_playbook`",
            Self::LOOP_CONTROL => "`loop_control`",
            _ => "a task",
        }
    }
}

impl BitOr for Place {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The shape of a keyword's value. A template is accepted for all but the structural ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Any,
    Bool,
    Int,
    Number,
    Text,
    /// Text or a list of text.
    Texts,
    /// An expression, a boolean or a list of them.
    Conditions,
    Map,
    /// A mapping or a list of mappings.
    Maps,
    /// A list of tasks or roles; never a template.
    Items,
}

/// One row of the table.
#[derive(Debug)]
pub struct Keyword {
    pub name: &'static str,
    pub shape: Shape,
    pub places: Place,
    /// Known to Ansible, refused here: why, and what to write instead.
    pub refused: Option<&'static str>,
}

const fn row(name: &'static str, shape: Shape, places: Place) -> Keyword {
    Keyword { name, shape, places, refused: None }
}

const ALL: Place = Place(1 | 2 | 4 | 8 | 16 | 32);
const BELOW_PLAY: Place = Place(2 | 4 | 8 | 16);
const TASKS: Place = Place(4 | 8);
const PLAY: Place = Place::PLAY;
const LOOP: Place = Place::LOOP_CONTROL;

/// Every keyword.
pub static KEYWORDS: &[Keyword] = &[
    row("name", Shape::Text, ALL),
    row("tags", Shape::Texts, ALL),
    row("vars", Shape::Map, ALL),
    row("when", Shape::Conditions, Place(2 | 4 | 8 | 16 | 32)),
    row("any_errors_fatal", Shape::Bool, ALL),
    row("become", Shape::Bool, ALL),
    row("become_exe", Shape::Text, ALL),
    row("become_flags", Shape::Text, ALL),
    row("become_method", Shape::Text, ALL),
    row("become_user", Shape::Text, ALL),
    row("check_mode", Shape::Bool, ALL),
    row("collections", Shape::Texts, ALL),
    row("connection", Shape::Text, ALL),
    row("debugger", Shape::Text, ALL),
    row("diff", Shape::Bool, ALL),
    row("environment", Shape::Maps, ALL),
    row("ignore_errors", Shape::Bool, ALL),
    row("ignore_unreachable", Shape::Bool, ALL),
    row("module_defaults", Shape::Maps, ALL),
    row("no_log", Shape::Bool, ALL),
    row("port", Shape::Int, ALL),
    row("remote_user", Shape::Text, ALL),
    row("run_once", Shape::Bool, ALL),
    row("throttle", Shape::Int, ALL),
    row("timeout", Shape::Int, ALL),
    row("delegate_to", Shape::Text, BELOW_PLAY),
    row("delegate_facts", Shape::Bool, BELOW_PLAY),
    row("notify", Shape::Texts, Place(2 | 4 | 8)),
    // Plays.
    row("hosts", Shape::Texts, PLAY),
    row("gather_facts", Shape::Bool, PLAY),
    row("gather_subset", Shape::Texts, PLAY),
    row("gather_timeout", Shape::Int, PLAY),
    row("fact_path", Shape::Text, PLAY),
    row("vars_files", Shape::Any, PLAY),
    row("vars_prompt", Shape::Any, PLAY),
    row("roles", Shape::Items, PLAY),
    row("handlers", Shape::Items, PLAY),
    row("pre_tasks", Shape::Items, PLAY),
    row("tasks", Shape::Items, PLAY),
    row("post_tasks", Shape::Items, PLAY),
    row("force_handlers", Shape::Bool, PLAY),
    row("max_fail_percentage", Shape::Number, PLAY),
    row("serial", Shape::Any, PLAY),
    row("strategy", Shape::Text, PLAY),
    row("order", Shape::Text, PLAY),
    row("id", Shape::Text, PLAY),
    row("phase", Shape::Text, PLAY),
    row("needs", Shape::Any, Place(1 | 32)),
    row("infrastructure", Shape::Any, PLAY),
    row("locks", Shape::Texts, Place(1 | 4 | 8)),
    // Blocks.
    row("block", Shape::Items, Place::BLOCK),
    row("rescue", Shape::Items, Place::BLOCK),
    row("always", Shape::Items, Place::BLOCK),
    // Tasks.
    row("args", Shape::Map, TASKS),
    row("async", Shape::Int, TASKS),
    row("poll", Shape::Int, TASKS),
    row("changed_when", Shape::Conditions, TASKS),
    row("failed_when", Shape::Conditions, TASKS),
    row("until", Shape::Conditions, TASKS),
    row("retries", Shape::Int, TASKS),
    row("delay", Shape::Number, TASKS),
    row("register", Shape::Text, TASKS),
    row("loop", Shape::Any, TASKS),
    row("loop_control", Shape::Map, TASKS),
    row("listen", Shape::Texts, Place::HANDLER),
    // Roles.
    row("role", Shape::Text, Place::ROLE),
    // Loop control.
    row("loop_var", Shape::Text, LOOP),
    row("index_var", Shape::Text, LOOP),
    row("label", Shape::Any, LOOP),
    row("pause", Shape::Number, LOOP),
    row("extended", Shape::Bool, LOOP),
    row("extended_allitems", Shape::Bool, LOOP),
    row("break_when", Shape::Conditions, LOOP),
    // Import of playbooks.
    row("import_playbook", Shape::Text, Place::IMPORT_PLAYBOOK),
    // What Ansible had once.
    Keyword {
        name: "sudo",
        shape: Shape::Any,
        places: ALL,
        refused: Some("Ansible removed it: write `become: true`"),
    },
    Keyword {
        name: "sudo_user",
        shape: Shape::Any,
        places: ALL,
        refused: Some("Ansible removed it: write `become: true` and `become_user:`"),
    },
    Keyword {
        name: "accelerate",
        shape: Shape::Any,
        places: PLAY,
        refused: Some("Ansible removed it: connections are fast without it"),
    },
    Keyword {
        name: "always_run",
        shape: Shape::Any,
        places: Place(2 | 4 | 8),
        refused: Some("Ansible removed it: write `check_mode: false`"),
    },
    Keyword {
        name: "first_available_file",
        shape: Shape::Any,
        places: TASKS,
        refused: Some("Ansible removed it: write `with_first_found:`"),
    },
];

/// The row of a keyword at a place.
#[must_use]
pub(super) fn find(name: &str, place: Place) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|k| k.name == name && k.places.meets(place))
}

/// All names that may stand at a place, for suggestions.
pub fn names(place: Place) -> impl Iterator<Item = &'static str> {
    KEYWORDS.iter().filter(move |k| k.places.meets(place) && k.refused.is_none()).map(|k| k.name)
}
