//! The drawing as one SVG file that needs nothing else.
//!
//! Owns: sizes, colours and text. Must not: decide where things stand (`layout` does).

use std::fmt::Write as _;

use super::layout::{self, Size};
use super::{ArrowKind, Drawing, Node, NodeType};

const MARGIN: f64 = 28.0;
const LINE: f64 = 17.0;
const ROOM: f64 = 54.0;
const PAD: f64 = 14.0;

/// Ground and edge for each phase in turn; dark text reads well on all of them.
const COLOURS: [(&str, &str); 7] = [
    ("#e8f0fe", "#3867d6"),
    ("#e6f6ec", "#218c53"),
    ("#fff4e0", "#c77700"),
    ("#f3e9fb", "#7d3cb5"),
    ("#e3f6f8", "#0e7c86"),
    ("#fdeaea", "#c0392b"),
    ("#f0f0ec", "#6b6b5e"),
];

const STYLE: &str = "text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1c2430}\
.t{font-weight:600;font-size:14px}.s{fill:#465063;font-size:12px}.r{fill:#5b6577;font-size:11.5px;font-style:italic}\
.e{fill:none;stroke:#66728a;stroke-width:1.5}.o{stroke-dasharray:5 4}.h{stroke:#3867d6;stroke-width:2.2}\
.p{stroke:#a9b1c0;stroke-width:1.1}";

/// One row of text in a box, with its class and the width of its letters.
struct Line {
    class: &'static str,
    letter: f64,
    text: String,
}

pub(super) fn text(drawing: &Drawing) -> String {
    let phases = phases(drawing);
    let lines: Vec<Vec<Line>> = (0..drawing.nodes.len()).map(|at| lines(drawing, at)).collect();
    let sizes: Vec<Size> = drawing
        .nodes
        .iter()
        .zip(&lines)
        .map(|(node, lines)| {
            let widest = lines.iter().map(|l| l.text.chars().count() as f64 * l.letter).fold(0.0, f64::max);
            let height = lines.len() as f64 * LINE + PAD + 4.0;
            Size { width: (widest + 2.0 * PAD).max(90.0), height, group: node.play }
        })
        .collect();
    let edges: Vec<(usize, usize)> = drawing.edges.iter().map(|e| (e.from, e.to)).collect();
    let placed = layout::place(&sizes, &edges, ROOM);
    let legend = if phases.is_empty() { 0.0 } else { 34.0 };
    let keys: f64 = phases.iter().map(|p| p.chars().count() as f64 * 7.2 + 40.0).sum();
    let (width, height) = (placed.width.max(keys) + 2.0 * MARGIN, placed.height + 2.0 * MARGIN + legend);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<defs>"
    );
    for (name, colour) in [("a", "#66728a"), ("b", "#3867d6"), ("c", "#a9b1c0")] {
        let _ = write!(
            out,
            "<marker id=\"{name}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"9\" markerHeight=\"9\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{colour}\"/></marker>"
        );
    }
    out.push_str("</defs>\n");
    let mut x = MARGIN;
    for (number, phase) in phases.iter().enumerate() {
        let (ground, edge) = COLOURS[number % COLOURS.len()];
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{MARGIN}\" width=\"14\" height=\"14\" rx=\"3\" fill=\"{ground}\" stroke=\"{edge}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 20.0,
            MARGIN + 11.5,
            escaped(phase)
        );
        x += phase.chars().count() as f64 * 7.2 + 40.0;
    }
    // Narrower than the legend: in the middle below it.
    let left = MARGIN + (width - 2.0 * MARGIN - placed.width) / 2.0;
    let top = MARGIN + legend;
    let at = |point: (f64, f64)| (point.0 + left, point.1 + top);
    for (edge, bends) in drawing.edges.iter().zip(&placed.bends) {
        let (from, to) = (at(placed.boxes[edge.from]), at(placed.boxes[edge.to]));
        let mut points = vec![(from.0, from.1 + sizes[edge.from].height / 2.0)];
        points.extend(bends.iter().map(|b| at(*b)));
        points.push((to.0, to.1 - sizes[edge.to].height / 2.0 - 1.0));
        let (class, end) = match edge.kind {
            ArrowKind::Needs => ("e", "a"),
            ArrowKind::Order => ("e o", "a"),
            ArrowKind::HostNeeds => ("e h", "b"),
            ArrowKind::Part => ("e p", "c"),
        };
        let _ = writeln!(
            out,
            "<path class=\"{class}\" marker-end=\"url(#{end})\" d=\"{}\"><title>{}</title></path>",
            curve(&points),
            escaped(&edge.reason)
        );
    }
    for (at_node, node) in drawing.nodes.iter().enumerate() {
        let middle = at(placed.boxes[at_node]);
        let phase = node.phase.as_ref().and_then(|p| phases.iter().position(|known| known == p));
        draw(&mut out, node, &lines[at_node], sizes[at_node], middle, phase);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, node: &Node, lines: &[Line], size: Size, middle: (f64, f64), phase: Option<usize>) {
    let (ground, edge) = phase.map_or(("#f6f7f9", "#66728a"), |p| COLOURS[p % COLOURS.len()]);
    let (x, y) = (middle.0 - size.width / 2.0, middle.1 - size.height / 2.0);
    let round = if node.kind == NodeType::Done { size.height / 2.0 } else { 7.0 };
    let waits: Vec<String> = node.waits.iter().map(|w| format!("{} ({})", w.reason, w.place)).collect();
    let _ = write!(
        out,
        "<g><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{round:.1}\" \
         fill=\"{ground}\" stroke=\"{edge}\" stroke-width=\"1.4\"/>",
        escaped(&waits.join("\n")),
        size.width,
        size.height
    );
    for (number, line) in lines.iter().enumerate() {
        let _ = write!(
            out,
            "<text class=\"{}\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            line.class,
            middle.0,
            y + PAD / 2.0 + 14.0 + number as f64 * LINE,
            escaped(&line.text)
        );
    }
    out.push_str("</g>\n");
}

/// What stands in a box. Why a play waits stands in its own box: labels on arrows would lie on each other.
fn lines(drawing: &Drawing, at: usize) -> Vec<Line> {
    let node = &drawing.nodes[at];
    let mut lines = Vec::new();
    match node.kind {
        NodeType::Host => lines.push(Line { class: "", letter: 7.4, text: node.title.clone() }),
        NodeType::Play => lines.push(Line { class: "t", letter: 8.3, text: node.title.clone() }),
        NodeType::Done => {
            lines.push(Line { class: "t", letter: 8.3, text: node.title.clone() });
            lines.push(Line { class: "s", letter: 6.6, text: "all hosts done".to_owned() });
        }
    }
    lines.extend(node.lines.iter().map(|l| Line { class: "s", letter: 6.9, text: l.clone() }));
    if node.kind == NodeType::Play {
        for edge in drawing.edges.iter().filter(|e| e.to == at) {
            let other = &drawing.nodes[edge.from].title;
            let text = match edge.kind {
                ArrowKind::Order => format!("after {other}: {}", edge.reason),
                _ => format!("needs {other}{}", edge.reason.strip_prefix("needs").unwrap_or_default()),
            };
            lines.push(Line { class: "r", letter: 6.5, text });
        }
    }
    lines
}

/// The phases in the order in which they are met.
fn phases(drawing: &Drawing) -> Vec<String> {
    let mut phases: Vec<String> = Vec::new();
    for phase in drawing.nodes.iter().filter_map(|n| n.phase.as_ref()) {
        if !phases.contains(phase) {
            phases.push(phase.clone());
        }
    }
    phases
}

/// A smooth line that leaves and arrives upright.
fn curve(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (number, pair) in points.windows(2).enumerate() {
        let ((x, y), (to_x, to_y)) = (pair[0], pair[1]);
        if number == 0 {
            let _ = write!(path, "M{x:.1} {y:.1}");
        }
        let half = (to_y - y) / 2.0;
        let _ = write!(path, "C{x:.1} {:.1} {to_x:.1} {:.1} {to_x:.1} {to_y:.1}", y + half, to_y - half);
    }
    path
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
