//! How one host of the inventory is reached, outside of a run.
//!
//! Owns: the flags for it, rendering a host's connection variables. Must not: connect.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::Trouble;
use super::common::{VariableFlags, with_causes};
use crate::connection::{SshTarget, Via};
use crate::inventory::Inventory;
use crate::lab::{LabDirs, LabPlugin};
use crate::source::{Diagnostics, Sources};
use crate::template::{Scope, Templates, Var};
use crate::vars::connection::{self, ConnectionError, Given};
use crate::vars::{Lazy, RunInfo, Store, StoreParts};

/// Where the host stands and how to log in; `run` has the same flags.
#[derive(Debug, Clone, clap::Args)]
pub struct ReachFlags {
    /// Inventory file, folder, script, or `host1,host2,`; repeatable
    #[arg(short, long = "inventory", value_name = "SOURCE", env = "ANSIBLE_INVENTORY")]
    pub inventory: Vec<String>,
    #[command(flatten)]
    pub variables: VariableFlags,
    /// Log in as this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// SSH private key
    #[arg(long, visible_alias = "key-file", value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// More arguments for ssh, for instance `-J jumphost`
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// Seconds to wait for a connection
    #[arg(short = 'T', long, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u64,
}

/// An inventory whose hosts can be asked how they are reached.
pub(super) struct Hosts {
    store: Arc<Store>,
    templates: Arc<Templates>,
    given: Given,
    timeout: Duration,
}

impl Hosts {
    /// Reads the inventory and the variables of the command line.
    pub(super) fn read(flags: &ReachFlags) -> Result<Self, Trouble> {
        let directory = std::env::current_dir()?;
        let sources = Arc::new(Sources::new(directory.clone()));
        let masks = Arc::new(crate::vars::secrets::Masks::default());
        let vault = Arc::new(super::setup::vault(&flags.variables, &masks)?);
        let mut found = Diagnostics::default();
        let labs = LabPlugin::new(LabDirs::of_user()?);
        super::setup::inventories_exist(&flags.inventory)?;
        let extra = crate::vars::extra::parse_extra_vars(
            &flags.variables.extra_vars,
            &directory,
            &vault,
            &sources,
            &mut found,
        );
        let from = super::setup::From {
            given: &flags.inventory,
            refresh: false,
            directory: &directory,
            playbook_dir: None,
            extra: &extra,
        };
        let inventory = super::setup::read_inventory(&from, &vault, &sources, &mut found, &labs);
        if found.has_errors() {
            return Err(Trouble::new(crate::exit::PLAYBOOK, super::setup::shown(&found, &sources)));
        }
        let known_hosts: Arc<OnceLock<Weak<Store>>> = Arc::default();
        let options = super::setup::template_options(&vault, directory.clone(), Arc::clone(&known_hosts));
        let templates = Arc::new(Templates::new(options));
        let lazy = {
            let templates = Arc::clone(&templates);
            Lazy::new(move |node, scope, name| templates.lazy(Arc::clone(node), Arc::clone(scope), name))
        };
        let run = RunInfo { playbook_dir: directory, ..RunInfo::default() };
        let store = Store::new(StoreParts {
            inventory,
            extra,
            run,
            inject_facts: true,
            lazy,
            vault,
            sources,
            fact_cache: None,
        });
        let _ = known_hosts.set(Arc::downgrade(&store));
        let given = Given {
            user: flags.user.clone(),
            private_key_file: flags.private_key.as_ref().map(|p| p.display().to_string()),
            common_args: flags.ssh_common_args.clone(),
            ..Given::default()
        };
        Ok(Self { store, templates, given, timeout: Duration::from_secs(flags.timeout.max(1)) })
    }

    /// The inventory as it was read.
    pub(super) fn inventory(&self) -> Arc<Inventory> {
        self.store.inventory()
    }

    /// A variable of a host, rendered; `None` when it has none of that name, or one that is no text.
    pub(super) fn text(&self, host: &str, name: &str) -> Result<Option<String>, Trouble> {
        let scope: Arc<dyn Scope> = Arc::new(self.store.scope(host, &Arc::default()));
        let found = match scope.get(name) {
            None => return Ok(None),
            Some(Var::Data(value)) => value,
            Some(Var::Yaml(node)) => self.templates.node(&node, &scope).map_err(|fault| {
                let why = with_causes(&fault);
                Trouble::new(crate::exit::ERROR, format!("error: {host}: `{name}` cannot be rendered: {why}"))
            })?,
        };
        Ok(found.as_str().map(str::to_owned))
    }

    /// What `ssh` is told to reach this host.
    pub(super) fn ssh(&self, host: &str) -> Result<SshTarget, Trouble> {
        super::inventory::known_host(&self.inventory(), host)?;
        let refused = |why: String| Trouble::new(crate::exit::ERROR, format!("error: {host}: {why}"));
        let scope: Arc<dyn Scope> = Arc::new(self.store.scope(host, &Arc::default()));
        let render = |var: &Var| match var {
            Var::Yaml(node) => self.templates.node(node, &scope),
            Var::Data(value) => Ok(value.clone()),
        };
        let resolved =
            connection::resolve(scope.as_ref(), host, &self.given, &render).map_err(|e| match e {
                ConnectionError::Render { name, fault } => {
                    refused(format!("`{name}` cannot be rendered: {}", with_causes(&fault)))
                }
                other @ ConnectionError::Value { .. } => refused(other.to_string()),
            })?;
        match crate::engine::via(&resolved, super::run::host_keys_checked(), self.timeout) {
            Ok(Via::Ssh(ssh)) => Ok(*ssh),
            Ok(Via::Local) => Err(refused(
                "is this machine (`ansible_connection: local`), there is nothing to log in to".into(),
            )),
            Err(why) => Err(refused(why)),
        }
    }
}
