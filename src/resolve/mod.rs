//! Book and catalogue to Playbook: names checked, roles and static includes expanded, keywords inherited.
//!
//! Owns: [`Playbook`] and everything that can be known before a host is touched; the same code expands dynamic
//! includes while a run goes on. Must not: render templates or know a host.

mod playbook;

pub use playbook::{
    Action, ActionKind, Arguments, Block, Condition, Handler, Include, Item, Loop, LoopControl, Meta, Need,
    NeedScope, Order, Play, Playbook, Role, Settings, Strategy, Task, TaskPath, VarsPrompt,
};
