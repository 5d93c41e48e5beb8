//! The drawing for Markdown pages that know Mermaid.

use std::fmt::Write as _;

use super::{ArrowKind, Drawing, NodeType};

pub(super) fn text(drawing: &Drawing) -> String {
    let mut out = String::from("flowchart TB\n");
    for (at, node) in drawing.nodes.iter().enumerate() {
        let mut lines = vec![node.title.clone()];
        if node.kind == NodeType::Done {
            lines.push("all hosts done".to_owned());
        }
        lines.extend(node.lines.iter().cloned());
        let label = lines.iter().map(|l| escaped(l)).collect::<Vec<_>>().join("<br/>");
        let _ = match node.kind {
            NodeType::Done => writeln!(out, "  n{at}([\"{label}\"])"),
            NodeType::Play | NodeType::Host => writeln!(out, "  n{at}[\"{label}\"]"),
        };
    }
    for edge in &drawing.edges {
        let arrow = match edge.kind {
            ArrowKind::Needs => "-->",
            ArrowKind::HostNeeds => "==>",
            ArrowKind::Order | ArrowKind::Part => "-.->",
        };
        let label =
            if edge.reason.is_empty() { String::new() } else { format!("|\"{}\"|", escaped(&edge.reason)) };
        let _ = writeln!(out, "  n{} {arrow}{label} n{}", edge.from, edge.to);
    }
    out
}

/// Mermaid takes entities by number inside quotes.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => "#quot;".to_owned(),
            '#' => "#35;".to_owned(),
            '<' => "#lt;".to_owned(),
            '>' => "#gt;".to_owned(),
            '`' => "#96;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}
