//! Flags that several subcommands share, with Ansible's names and meanings.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

/// Where hosts come from, and which are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct InventoryFlags {
    /// Inventory file, folder, script, or `host1,host2,`; repeatable
    #[arg(
        short,
        long = "inventory",
        alias = "inventory-file",
        value_name = "SOURCE",
        env = "ANSIBLE_INVENTORY",
        value_delimiter = None
    )]
    pub inventory: Vec<String>,
    /// Only these hosts: a pattern such as `masters:!master2`, or @FILE
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Ask clouds anew, whatever the cache of an inventory holds
    #[arg(long)]
    pub refresh_cache: bool,
}

/// Variables from the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct VariableFlags {
    /// Extra variables: `name=value`, JSON or YAML text, or @FILE; win over all others
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// File with a vault password
    #[arg(long = "vault-password-file", visible_alias = "vault-pass-file", value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// Vault identity: ID@FILE
    #[arg(long, value_name = "ID@FILE")]
    pub vault_id: Vec<String>,
    /// Ask for the vault password
    #[arg(short = 'J', long = "ask-vault-pass", visible_alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
}

/// The sources of an inventory when none is given: a file named as people name it, beside the current folder.
pub const USUAL_INVENTORIES: [&str; 3] = ["inventory/lab.yml", "inventory.yml", "hosts"];

/// Columns of the terminal that output goes to; 100 where there is none.
#[must_use]
pub fn width() -> usize {
    if !std::io::stderr().is_terminal() {
        return 100;
    }
    usize::from(console::Term::stderr().size().1).clamp(40, 220)
}

/// Whether to colour what goes to standard output. <https://no-color.org>
#[must_use]
pub fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// An error with its causes, each on its own line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!("\n  because: {inner}"));
        cause = inner.source();
    }
    text
}
