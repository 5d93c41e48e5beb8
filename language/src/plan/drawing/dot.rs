//! The drawing for Graphviz.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{ArrowKind, Drawing, NodeType};

pub(super) fn text(drawing: &Drawing) -> String {
    let mut out = String::from(
        "digraph plan {\n  rankdir=TB;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n",
    );
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    let mut groups: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    for (at, node) in drawing.nodes.iter().enumerate() {
        let group = match node.kind {
            // Phases may come again: a group is a phase, wherever its plays stand.
            NodeType::Play => (0, node.phase.as_deref().unwrap_or_default()),
            NodeType::Host | NodeType::Done => (node.play + 1, play_title(drawing, node.play)),
        };
        groups.entry(group).or_default().push(at);
    }
    for (number, ((_, name), members)) in groups.iter().enumerate() {
        let indent = if name.is_empty() { "  " } else { "    " };
        if !name.is_empty() {
            let _ = writeln!(out, "  subgraph cluster_{number} {{\n    label={};", quoted(name));
        }
        for at in members {
            let node = &drawing.nodes[*at];
            let label = match node.kind {
                NodeType::Done => "all hosts done".to_owned(),
                _ => [std::slice::from_ref(&node.title), node.lines.as_slice()].concat().join("\n"),
            };
            let shape = if node.kind == NodeType::Done { ", shape=ellipse" } else { "" };
            let _ = writeln!(out, "{indent}n{at} [label={}{shape}];", quoted(&label));
        }
        if !name.is_empty() {
            out.push_str("  }\n");
        }
    }
    for edge in &drawing.edges {
        let style = match edge.kind {
            ArrowKind::Order => ", style=dashed",
            ArrowKind::HostNeeds => ", style=bold",
            ArrowKind::Needs => "",
            ArrowKind::Part => ", style=dotted",
        };
        let _ = writeln!(out, "  n{} -> n{} [label={}{style}];", edge.from, edge.to, quoted(&edge.reason));
    }
    out.push_str("}\n");
    out
}

fn play_title(drawing: &Drawing, play: usize) -> &str {
    let end = drawing.nodes.iter().find(|n| n.play == play && n.kind == NodeType::Done);
    end.map_or("", |n| &n.title)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
