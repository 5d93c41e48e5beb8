//! What was written, before anything is looked up.

use crate::source::{Node, Span, Spanned};

/// A playbook file.
#[derive(Debug, Clone, Default)]
pub struct Book {
    pub entries: Vec<BookEntry>,
}

/// One item of a playbook file.
#[derive(Debug, Clone)]
pub enum BookEntry {
    Play(Box<Play>),
    Import(Box<ImportPlaybook>),
}

/// Keywords of a play, block, task or role, each checked for place and shape.
#[derive(Debug, Clone, Default)]
pub struct Keywords {
    pub given: Vec<Given>,
}

/// One keyword as written.
#[derive(Debug, Clone)]
pub struct Given {
    pub name: &'static str,
    pub key: Span,
    pub value: Node,
}

/// A play as written.
#[derive(Debug, Clone)]
pub struct Play {
    /// The first key.
    pub span: Span,
    pub keywords: Keywords,
    pub pre_tasks: Vec<Item>,
    pub roles: Vec<RoleUse>,
    pub tasks: Vec<Item>,
    pub post_tasks: Vec<Item>,
    pub handlers: Vec<Item>,
}

/// `import_playbook:`.
#[derive(Debug, Clone)]
pub struct ImportPlaybook {
    pub span: Span,
    pub file: Node,
    pub keywords: Keywords,
}

/// A task or a block.
#[derive(Debug, Clone)]
pub enum Item {
    Task(Box<Task>),
    Block(Box<Block>),
}

/// A block as written.
#[derive(Debug, Clone)]
pub struct Block {
    pub span: Span,
    pub keywords: Keywords,
    pub block: Vec<Item>,
    pub rescue: Vec<Item>,
    pub always: Vec<Item>,
}

/// A task as written.
#[derive(Debug, Clone)]
pub struct Task {
    /// The first key.
    pub span: Span,
    pub keywords: Keywords,
    /// The keys that are no keywords. Exactly one should be; only the module catalogue can tell a second module from a typo.
    pub candidates: Vec<Candidate>,
    pub with: Option<With>,
}

/// A key that names a module, with its arguments.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub name: Spanned<String>,
    pub args: Node,
    /// Written with `local_action:`.
    pub local: bool,
    /// Set when `args` is the part of `action: name args` after the name.
    pub text_offset: usize,
}

/// `with_items:` and kin.
#[derive(Debug, Clone)]
pub struct With {
    /// `items`
    pub lookup: Spanned<String>,
    pub value: Node,
}

/// A role in `roles:` or in a role's `dependencies:`.
#[derive(Debug, Clone)]
pub struct RoleUse {
    pub span: Span,
    pub name: Node,
    pub keywords: Keywords,
    /// Keys that are no keywords: variables of the role.
    pub params: Vec<(Spanned<String>, Node)>,
}

impl Keywords {
    /// The value of a keyword that says something (`key:` alone says nothing).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|g| &g.value).filter(|n| !n.is_null())
    }

    /// The keyword with its place.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|g| g.name == name)
    }
}
