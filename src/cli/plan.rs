//! `dcos-play plan`: what would run, in which order, and why something waits.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use petgraph::visit::EdgeRef as _;

use super::Trouble;
use super::common::{InventoryFlags, VariableFlags};
use super::infrastructure;
use super::setup::{self, Wanted};
use crate::plan::{NodeKind, Reason};

/// Flags of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Playbooks to plan
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub variables: VariableFlags,
    /// Plan to make this object of an infrastructure play anew (`masters[1]`); repeatable
    #[arg(long, value_name = "NAME")]
    pub replace: Vec<String>,
    /// Show every barrier with its reason and place
    #[arg(long)]
    pub explain: bool,
}

/// Prints the plan.
///
/// # Errors
/// The findings, when the playbook is wrong.
pub fn run(args: &PlanArgs, out: &mut dyn Write) -> Result<u8, Trouble> {
    let wanted = Wanted::new(&args.playbooks, &args.inventory, &args.variables);
    let ready = setup::prepare(&wanted)?;
    let plan = &ready.plan;
    for play in &ready.playbook.plays {
        let hosts = play.hosts.scalar_text().unwrap_or_else(|| "(computed)".to_owned());
        let count = crate::engine::hosts_of_play(play, &ready.store, &ready.templates).map(|h| h.len());
        let count = count.map_or_else(
            || "? hosts".to_owned(),
            |n| if n == 1 { "1 host".to_owned() } else { format!("{n} hosts") },
        );
        let phase = play.phase.as_deref().map(|p| format!("  [{p}]")).unwrap_or_default();
        writeln!(out, "{}{phase}  {hosts} ({count})", play.name)?;
        let mine = |kind: &NodeKind| match kind {
            NodeKind::PlayStart { play }
            | NodeKind::Segment { play, .. }
            | NodeKind::Barrier { play, .. }
            | NodeKind::Expansion { play, .. }
            | NodeKind::PlayEnd { play } => *play,
        };
        for node in plan.graph.node_indices().filter(|n| mine(&plan.graph[*n]) == play.index) {
            match &plan.graph[node] {
                NodeKind::PlayStart { .. } => {
                    for edge in plan.graph.edges_directed(node, petgraph::Direction::Incoming) {
                        let other = &ready.playbook.plays[mine(&plan.graph[edge.source()])];
                        match &edge.weight().reason {
                            Reason::Needs { at, .. } => writeln!(
                                out,
                                "  waits for `{}`: needs ({})",
                                other.name,
                                ready.sources.place(*at)
                            )?,
                            Reason::PlayOrder => {
                                writeln!(out, "  waits for `{}`: the play before", other.name)?
                            }
                            Reason::HostOrder | Reason::Barrier => {}
                        }
                    }
                }
                NodeKind::Segment { tasks, first, .. } => {
                    let tasks = if *tasks == 1 { "1 task".to_owned() } else { format!("{tasks} tasks") };
                    writeln!(out, "  {tasks} from {}", ready.sources.place(*first))?;
                }
                NodeKind::Barrier { reason, at, .. } if args.explain => {
                    writeln!(
                        out,
                        "  all hosts wait for each other: {reason} ({})",
                        ready.sources.place(*at)
                    )?;
                }
                NodeKind::Expansion { at, .. } => {
                    writeln!(out, "  include that expands during the run ({})", ready.sources.place(*at))?;
                    if args.explain {
                        writeln!(
                            out,
                            "  if it looks at other hosts, hosts wait for each other in and after it"
                        )?;
                    }
                }
                NodeKind::Barrier { .. } | NodeKind::PlayEnd { .. } => {}
            }
        }
    }
    writeln!(out, "plan {}", &plan.digest[..16])?;
    let parts = infrastructure::parts(&ready)?;
    if parts.is_empty() {
        return Ok(crate::exit::FINE);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut status = crate::exit::FINE;
    for part in &parts {
        let plan = runtime.block_on(part.plan(&ready, &args.replace))?;
        writeln!(out, "\n{} (`{}`)", part.play.name, part.site.owner)?;
        write!(out, "{}", plan.show())?;
        if !plan.is_empty() {
            status = crate::exit::CHANGES;
        }
    }
    Ok(status)
}
