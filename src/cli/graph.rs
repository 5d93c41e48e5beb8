//! `dcos-play graph`: the plan as a drawing.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Trouble;
use super::common::{InventoryFlags, VariableFlags};
use super::setup::{self, Wanted};
use crate::plan::{About, Drawing};

/// More boxes than this are no drawing that anybody could read.
const READABLE: usize = 2000;

/// Forms of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A picture for browsers
    Svg,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// For programs
    Json,
}

/// Flags of `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Playbooks to draw
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub variables: VariableFlags,
    /// The form
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    pub format: Format,
    /// A box for each host of each play
    #[arg(long)]
    pub hosts: bool,
}

/// Draws to standard output.
///
/// # Errors
/// The findings, when the playbook is wrong.
pub fn run(args: &GraphArgs, out: &mut dyn Write) -> Result<u8, Trouble> {
    let ready = setup::prepare(&Wanted::new(&args.playbooks, &args.inventory, &args.variables))?;
    let plays = &ready.playbook.plays;
    let hosts: Vec<_> =
        plays.iter().map(|play| crate::engine::hosts_of_play(play, &ready.store, &ready.templates)).collect();
    let place = |span| ready.sources.place(span);
    let about = About { playbook: &ready.playbook, hosts: &hosts, place: &place };
    let drawing = if args.hosts {
        Drawing::of_hosts(&ready.plan, &about)
    } else {
        Drawing::of_plays(&ready.plan, &about)
    };
    if args.format == Format::Svg && drawing.nodes.len() > READABLE {
        let text = format!(
            "error: {} boxes are too many for a picture\n  draw plays without --hosts, or use --format dot",
            drawing.nodes.len()
        );
        return Err(Trouble::new(crate::exit::PLAYBOOK, text));
    }
    let text = match args.format {
        Format::Svg => drawing.svg(),
        Format::Dot => drawing.dot(),
        Format::Mermaid => drawing.mermaid(),
        Format::Json => drawing.json() + "\n",
    };
    out.write_all(text.as_bytes())?;
    Ok(crate::exit::FINE)
}
