//! Inventories: hosts, groups and their variables, and the patterns that choose among them.
//!
//! Owns: reading YAML, INI, JSON, script and plugin inventories with `group_vars/` and `host_vars/`; host patterns and `--limit`.
//! Must not: know plays, render templates (but for `constructed` and kin), or decide precedence beyond what belongs to groups and hosts.

mod aws_ec2;
mod constructed;
mod files;
mod ini;
mod literal;
mod load;
mod model;
mod pattern;
mod plugin;
mod range;
mod reader;
mod runtime;
mod script;
#[cfg(test)]
mod tests;
mod yaml;

pub use aws_ec2::{Ec2Access, Ec2Answer, Ec2Ask, Ec2Fault, Ec2Filters, Ec2Query};
pub use load::{Request, load, load_playbook_vars};
pub use model::{Group, GroupHosts, GroupLoop, Host, HostTables, Inventory, LOCALHOST};
pub use pattern::{Limit, Pattern, PatternError, Selection};
pub use pattern::{fits_wildcard, near};
pub use plugin::{PluginAsk, PluginGroup, PluginInventory, Plugins};
pub use runtime::NewHost;
