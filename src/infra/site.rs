//! Whose infrastructure it is, where it is, and the way there.
//!
//! Owns: what `infrastructure:` says besides its resources, rendered; the cloud for it. Must not: know a cloud's types.

use std::sync::Arc;

use super::cloud::Cloud;
use super::declare::Declared;
use super::fault::CloudFault;
use super::plan::PlanFault;
use crate::source::{Node, Span};
use crate::template::{self, Scope, Templates};

/// The owner and the account of an infrastructure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub owner: String,
    /// Else what the environment or the profile says.
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    /// Ids of instances that are to be made anew.
    pub leaving: Vec<String>,
}

/// Why there is no cloud to work on.
#[derive(Debug, thiserror::Error)]
pub enum NoCloud {
    #[error(
        "this dcos-play was built without AWS, so it cannot work on infrastructure: build it with `make build FEATURES=aws`, or `cargo build --features aws --bin dcos-play`"
    )]
    NotBuilt,
    #[error("{0}")]
    Access(String),
}

impl Site {
    /// Renders what a declaration says of its site.
    ///
    /// # Errors
    /// A template that fails, or a name that no tag can hold.
    pub fn of(declared: &Declared, templates: &Templates, scope: &Arc<dyn Scope>) -> Result<Self, PlanFault> {
        let text = |node: &Node| -> Result<Option<String>, PlanFault> {
            let value = templates.node(node, scope)?;
            if template::is_omit(&value) || value.is_none() || value.is_undefined() {
                return Ok(None);
            }
            Ok(Some(template::to_text(&value)?).filter(|t| !t.trim().is_empty()))
        };
        let optional = |node: &Option<Node>| node.as_ref().map_or(Ok(None), text);
        let leaving = match &declared.replace {
            None => Vec::new(),
            Some(node) => ids(&template::to_json(&templates.node(node, scope)?)?, node.span)?,
        };
        let owner = text(&declared.name)?.unwrap_or_default();
        check_owner(&owner, declared.name.span)?;
        Ok(Self {
            owner,
            region: optional(&declared.region)?,
            profile: optional(&declared.profile)?,
            endpoint_url: optional(&declared.endpoint_url)?,
            leaving,
        })
    }

    /// The account. Nothing is asked of it yet: wrong credentials show at the first call.
    ///
    /// # Errors
    /// No region, or a build without any cloud.
    #[cfg(feature = "aws")]
    pub async fn open(&self) -> Result<Box<dyn Cloud>, NoCloud> {
        use super::aws::Account;
        use super::aws::client::{Access, Clients};
        let access = Access {
            region: self.region.clone(),
            profile: self.profile.clone(),
            endpoint_url: self.endpoint_url.clone(),
            ..Access::default()
        };
        let clients = Clients::new(&access).await.map_err(|e| NoCloud::Access(e.to_string()))?;
        Ok(Box::new(Account::new(clients)))
    }

    /// There is no cloud in this build.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "aws"))]
    pub async fn open(&self) -> Result<Box<dyn Cloud>, NoCloud> {
        Err(NoCloud::NotBuilt)
    }
}

/// Ids of instances as a list. A name would be made anew by every run, so it is refused.
fn ids(value: &serde_json::Value, at: Span) -> Result<Vec<String>, PlanFault> {
    let fault = |text: String| PlanFault::Argument { resource: "infrastructure".to_owned(), text, at };
    let Some(items) = value.as_array() else {
        return Err(fault(format!("`replace` must be a list of ids of instances, not `{value}`")));
    };
    let id = |item: &serde_json::Value| match item.as_str() {
        Some(text) if text.starts_with("i-") => Ok(text.to_owned()),
        _ => Err(fault(format!("`replace` takes ids of instances such as `i-0a1b2c`, not `{item}`"))),
    };
    items.iter().map(id).collect()
}

/// Names stand in tags, in paths of IAM and at the beginning of other names.
fn check_owner(owner: &str, at: Span) -> Result<(), PlanFault> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text = match () {
        () if owner.is_empty() => "`name` is empty: it marks what belongs to this infrastructure".to_owned(),
        () if owner.len() > 64 => format!("`name` is longer than 64 characters: `{owner}`"),
        () if !owner.chars().all(fine) || !owner.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            format!(
                "`name` must be letters, digits, `-`, `_` and `.`, a letter or digit first, not `{owner}`"
            )
        }
        () => return Ok(()),
    };
    Err(PlanFault::Argument { resource: "infrastructure".to_owned(), text, at })
}

/// A fault in words for people: what happened, and what they can do.
pub async fn explained(cloud: &dyn Cloud, fault: &CloudFault) -> String {
    use super::fault::Class;
    // Only then is it worth a call to ask who we are.
    let who = if fault.class == Class::Auth { cloud.identity().await } else { None };
    match fault.help(who.as_deref()) {
        Some(help) => format!("{fault}; {help}"),
        None => fault.to_string(),
    }
}
