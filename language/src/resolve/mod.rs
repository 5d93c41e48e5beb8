//! Book and catalogue to Playbook: names checked, roles and static includes expanded, keywords inherited.
//!
//! Owns: [`Playbook`] and everything that can be known before a host is touched; the same code expands dynamic
//! includes while a run goes on. Must not: render templates or know a host.
//!
//! `Resolver::resolve` is the way before a run, `find_tasks_file`, `expand_tasks_file` and `expand_role` are the ways during one.

mod arguments;
mod catalogue;
mod checks;
mod dynamic;
mod expand;
mod expand_role;
mod inherit;
mod names;
mod playbook;
mod plays;
mod resolver;
mod roles;
mod scout;
mod tasks;
mod templates;

pub use catalogue::{Catalogue, Found, names_module};
pub use dynamic::tasks_of;
pub use playbook::{
    Action, ActionKind, Arguments, Block, Condition, Handler, Include, Inherited, Item, Loop, LoopControl,
    Meta, Need, NeedScope, Order, Play, Playbook, Role, Settings, Strategy, Task, TaskPath, VarsPrompt,
};
pub use resolver::{ExpandedRole, Locked, Resolution, Resolver, RoleInclude, Setup, StaticText, Unlock};
pub use templates::{NoTemplateCheck, Ref, Refs, TemplateCheck, TemplateFault};
