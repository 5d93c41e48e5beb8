//! `dcos-play destroy`: takes down what the infrastructure plays of a playbook own.
//!
//! Owns: the list, the question, the report of what is left. Must not: decide the order of deletions.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;

use super::Trouble;
use super::common::{InventoryFlags, VariableFlags};
use super::infrastructure::{self, Part};
use super::setup::{self, Ready, Wanted};
use crate::infra::apply::{ApplyFault, Doing, Watch, destroy, find_all, find_unmarked};
use crate::infra::cloud::Found;
use crate::infra::kinds::Kind;
use crate::infra::site::explained;
use crate::journal::HostsLock;

/// Flags of `destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Playbooks with infrastructure plays
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub variables: VariableFlags,
    /// Delete without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// Lists, asks, deletes, and says what is left.
///
/// # Errors
/// A playbook that is wrong, or a cloud that doesn't answer.
pub fn run(args: &DestroyArgs, out: &mut (dyn Write + Send)) -> Result<u8, Trouble> {
    let wanted = Wanted::new(&args.playbooks, &args.inventory, &args.variables);
    let ready = setup::prepare(&wanted)?;
    let mut parts = infrastructure::parts(&ready)?;
    if parts.is_empty() {
        let text = "error: nothing to destroy: these playbooks have no infrastructure play";
        return Err(Trouble::new(crate::exit::PLAYBOOK, text));
    }
    let claims = super::run::state_directory()?.join("claims");
    let _claimed = HostsLock::claim(
        &claims,
        &format!("destroy-{}", std::process::id()),
        parts.iter().map(Part::claim).collect(),
    )?
    .map_err(|conflict| Trouble::new(crate::exit::BUSY, format!("error: {conflict}")))?;
    // What was made last goes first.
    parts.reverse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut status = crate::exit::FINE;
        for part in &parts {
            status = status.max(one(&ready, part, args.yes, out).await?);
        }
        Ok(status)
    })
}

async fn one(ready: &Ready, part: &Part, yes: bool, out: &mut (dyn Write + Send)) -> Result<u8, Trouble> {
    let cloud = part.open().await?;
    let owner = &part.site.owner;
    let declares = |kind: Kind| part.declared.resources.iter().any(|r| r.kind == kind);
    let optional = |kind: Kind| kind.stands_apart() && !declares(kind);
    let failed = |text: String| Trouble::new(crate::exit::ERROR, format!("error: {text}"));
    let mut found = match find_all(&*cloud, owner, &optional).await {
        Ok(found) => found,
        Err(fault) => return Err(failed(explained(&*cloud, &fault).await)),
    };
    let more = match find_unmarked(&part.planner(ready, &*cloud, &[]), &found).await {
        Ok(more) => more,
        Err(fault) => return Err(failed(explained(&*cloud, &fault).await)),
    };
    found.extend_from_slice(&more);
    if found.is_empty() {
        writeln!(out, "nothing is there that belongs to `{owner}`")?;
        return Ok(crate::exit::FINE);
    }
    found.sort_by_key(|f| (f.kind.teardown_rank(), f.kind, f.identity.clone()));
    for object in &found {
        writeln!(out, "- delete {}", named(object))?;
    }
    let count =
        if found.len() == 1 { "this object".to_owned() } else { format!("these {} objects", found.len()) };
    if !yes {
        if !std::io::stdin().is_terminal() {
            out.flush()?;
            let text = format!("error: nobody can be asked here: to delete {count} of `{owner}`, say --yes");
            return Err(Trouble::new(crate::exit::PLAYBOOK, text));
        }
        let answer =
            crate::ask::line(&format!("Delete {count} of `{owner}`, for good? Type `yes`"), None, false)?;
        if answer.trim() != "yes" {
            writeln!(out, "nothing was deleted")?;
            return Ok(crate::exit::FINE);
        }
    }
    let watch = Lines(Mutex::new(out));
    let ended = destroy(&*cloud, owner, &optional, &more, &watch).await;
    let out = watch.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (outcome, left) = match ended {
        Ok(ended) => ended,
        Err(fault) => return Err(failed(explained(&*cloud, &fault).await)),
    };
    for fault in &outcome.faults {
        match fault {
            ApplyFault::Cloud { resource, fault } => {
                writeln!(out, "failed    {resource}: {}", explained(&*cloud, fault).await)?;
            }
            other => writeln!(out, "failed    {other}")?,
        }
    }
    if left.is_empty() {
        writeln!(out, "nothing is left of `{owner}`")?;
        return Ok(if outcome.faults.is_empty() { crate::exit::FINE } else { crate::exit::HOSTS_FAILED });
    }
    writeln!(out, "left of `{owner}`:")?;
    for object in &left {
        writeln!(out, "  {}", named(object))?;
    }
    writeln!(out, "run the same command again to go on")?;
    Ok(crate::exit::HOSTS_FAILED)
}

fn named(found: &Found) -> String {
    format!("{} ({}) {}", found.identity, found.kind, found.id)
}

/// A line for each object that is gone.
struct Lines<'a>(Mutex<&'a mut (dyn Write + Send)>);

impl Watch for Lines<'_> {
    fn done(&self, doing: &Doing) {
        let mut out = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A pipe that nobody reads any more must not stop the deletions.
        let _ = writeln!(out, "deleted   {} ({}) {}", doing.identity, doing.kind, doing.id);
    }
}
