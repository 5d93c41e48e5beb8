//! Inventories that a plugin makes: plain data in, hosts and groups out.
//!
//! Owns: the neutral form that `lab` hands over, and what plugins are given. Must not: know any plugin.

use std::path::Path;
use std::sync::Arc;

use super::aws_ec2::Ec2Ask;
use super::model::Inventory;
use super::reader::from_json;
use crate::source::{Diagnostic, Node, Span};
use crate::vars::Table;

/// Variables as a plugin gives them.
pub(super) type PluginVars = serde_json::Map<String, serde_json::Value>;

/// What a plugin found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginInventory {
    pub hosts: Vec<(String, PluginVars)>,
    pub groups: Vec<PluginGroup>,
}

/// A group that a plugin made; `all` may be among them to set variables for every host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginGroup {
    pub name: String,
    pub hosts: Vec<String>,
    pub children: Vec<String>,
    pub vars: PluginVars,
}

/// Asks for the inventory of a `plugin: NAME` file: name, whole file, path of the file. `None`: no such plugin.
pub type PluginAsk<'a> = &'a dyn Fn(&str, &Node, &Path) -> Option<Result<PluginInventory, Diagnostic>>;

/// What plugins need from outside; with nothing of it they say so.
#[derive(Clone, Copy, Default)]
pub struct Plugins<'a> {
    /// Plugins that live elsewhere, such as `lab`.
    pub others: Option<PluginAsk<'a>>,
    /// A way to AWS; `None` in a build without it.
    pub ec2: Option<Ec2Ask<'a>>,
    /// Variables of the command line.
    pub extra: Option<&'a Arc<Table>>,
    /// Ask anew whatever a cache may hold.
    pub refresh: bool,
}

impl Inventory {
    /// Adds what a plugin found. Every variable gets the place `span`.
    ///
    /// # Errors
    /// A loop in `children`, as a finding at `span`.
    pub(super) fn add_plugin(
        &mut self,
        made: &PluginInventory,
        span: Span,
        source: &Arc<std::path::PathBuf>,
    ) -> Result<(), Diagnostic> {
        for (host, vars) in &made.hosts {
            self.add_host(host, Some(source));
            for (name, value) in vars {
                self.set_host_var(host, Arc::from(&**name), Arc::new(from_json(value, span)));
            }
        }
        for group in &made.groups {
            self.add_group(&group.name);
            for (name, value) in &group.vars {
                self.set_group_var(&group.name, Arc::from(&**name), Arc::new(from_json(value, span)));
            }
            for host in &group.hosts {
                self.add_host(host, Some(source));
                self.add_member(&group.name, host);
            }
            for child in &group.children {
                self.add_child(&group.name, child)
                    .map_err(|fault| Diagnostic::error("group-loop", fault.to_string(), span))?;
            }
        }
        Ok(())
    }
}
