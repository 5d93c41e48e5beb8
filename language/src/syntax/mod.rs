//! YAML to Book: plays, blocks, tasks and roles as written.
//!
//! Owns: which keyword may stand where, and its shape. Must not: look at other files, inventories or module catalogues.

mod book;
mod keywords;
mod parse;
mod shapes;
mod split;

pub use book::{
    Block, Book, BookEntry, Candidate, Given, ImportPlaybook, Item, Keywords, Play, RoleUse, Task, With,
};
pub use keywords::{KEYWORDS, Keyword, Place, Shape, names as keyword_names};
pub use parse::{book, handlers_file, only_keywords, roles, tasks_file, unknown_key};
pub use split::{FREE_FORM_KEYS, Pair, Split, Unbalanced, split};
