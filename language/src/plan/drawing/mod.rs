//! A plan as something to look at: boxes, arrows, and why each arrow is there.
//!
//! Owns: what is drawn, and its four forms (dot, mermaid, json, svg). Must not: read anything but the plan, or write.

use std::collections::BTreeMap;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::visit::EdgeRef as _;
use serde::Serialize;

use super::{NodeKind, Plan, Reason};
use crate::resolve::{NeedScope, Play, Playbook};
use crate::source::Span;

mod dot;
mod layout;
mod mermaid;
mod svg;

/// Boxes and arrows; arrows name boxes by their position.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drawing {
    pub plan: String,
    pub nodes: Vec<Node>,
    pub edges: Vec<Arrow>,
}

/// A play, a host's part of it, or the point at which all its hosts are done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub id: String,
    pub kind: NodeType,
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The play it belongs to, by position.
    pub play: usize,
    /// What is said below the title.
    pub lines: Vec<String>,
    /// Where hosts of the play wait for each other, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
}

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeType {
    Play,
    Host,
    /// All hosts of the play are done.
    Done,
}

/// A barrier inside a play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    pub reason: String,
    pub place: String,
}

/// One box waits for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    pub kind: ArrowKind,
    /// Empty where the boxes say it all: a host's part belongs to its play.
    pub reason: String,
}

/// How an arrow is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrowKind {
    /// The order written.
    Order,
    Needs,
    /// `needs` with `scope: host`.
    HostNeeds,
    /// From a host to the end of its play.
    Part,
}

/// What is known beside the plan.
pub struct About<'a> {
    pub playbook: &'a Playbook,
    /// The hosts of each play; `None` when they are only known during the run.
    pub hosts: &'a [Option<Vec<Arc<str>>>],
    /// Words for a place.
    pub place: &'a dyn Fn(Span) -> String,
}

impl Drawing {
    /// One box a play.
    #[must_use]
    pub fn of_plays(plan: &Plan, about: &About<'_>) -> Self {
        let nodes = about.playbook.plays.iter().map(|play| play_box(plan, play, about)).collect();
        let mut drawing = Self { plan: plan.digest.clone(), nodes, edges: Vec::new() };
        for (from, to, reason) in play_edges(plan) {
            let (kind, reason) = described(&reason, about);
            drawing.edges.push(Arrow { from, to, kind, reason });
        }
        drawing
    }

    /// One box a host and play, and one where all hosts of a play are done: so the number of arrows grows with the
    /// hosts, not with their square.
    #[must_use]
    pub fn of_hosts(plan: &Plan, about: &About<'_>) -> Self {
        let mut drawing = Self { plan: plan.digest.clone(), nodes: Vec::new(), edges: Vec::new() };
        let mut boxes: Vec<BTreeMap<Arc<str>, usize>> = Vec::new();
        let mut done = Vec::new();
        for play in &about.playbook.plays {
            let hosts = about.hosts.get(play.index).cloned().flatten();
            let names = hosts.unwrap_or_else(|| vec![Arc::from(pattern(play))]);
            let mut mine = BTreeMap::new();
            for name in names {
                mine.insert(Arc::clone(&name), drawing.nodes.len());
                drawing.nodes.push(Node {
                    id: format!("{}/{name}", play.id),
                    kind: NodeType::Host,
                    title: name.to_string(),
                    phase: play.phase.clone(),
                    play: play.index,
                    lines: Vec::new(),
                    waits: Vec::new(),
                });
            }
            let end = drawing.nodes.len();
            drawing.nodes.push(Node {
                id: play.id.clone(),
                kind: NodeType::Done,
                title: play.name.clone(),
                phase: play.phase.clone(),
                play: play.index,
                lines: Vec::new(),
                waits: waits(plan, play.index, about),
            });
            for from in mine.values() {
                drawing.edges.push(Arrow {
                    from: *from,
                    to: end,
                    kind: ArrowKind::Part,
                    reason: String::new(),
                });
            }
            boxes.push(mine);
            done.push(end);
        }
        for (from, to, reason) in play_edges(plan) {
            let (kind, reason) = described(&reason, about);
            for (host, target) in &boxes[to] {
                let from = match boxes[from].get(host) {
                    Some(own) if kind == ArrowKind::HostNeeds => *own,
                    // A host that has no part in the needed play need not wait for it.
                    None if kind == ArrowKind::HostNeeds => continue,
                    _ => done[from],
                };
                drawing.edges.push(Arrow { from, to: *target, kind, reason: reason.clone() });
            }
            if boxes[to].is_empty() {
                drawing.edges.push(Arrow { from: done[from], to: done[to], kind, reason });
            }
        }
        drawing
    }

    /// For Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        dot::text(self)
    }

    /// For Markdown.
    #[must_use]
    pub fn mermaid(&self) -> String {
        mermaid::text(self)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// For browsers: one file, drawn by ourselves.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::text(self)
    }
}

fn play_of(kind: &NodeKind) -> usize {
    match kind {
        NodeKind::PlayStart { play }
        | NodeKind::Segment { play, .. }
        | NodeKind::Barrier { play, .. }
        | NodeKind::Expansion { play, .. }
        | NodeKind::PlayEnd { play } => *play,
    }
}

/// Which play waits for which.
fn play_edges(plan: &Plan) -> Vec<(usize, usize, Reason)> {
    let starts = plan.graph.node_indices().filter(|n| matches!(plan.graph[*n], NodeKind::PlayStart { .. }));
    starts
        .flat_map(|start| {
            // The graph gives the newest edge first.
            let mut edges: Vec<_> = plan
                .graph
                .edges_directed(start, Direction::Incoming)
                .map(|e| {
                    (play_of(&plan.graph[e.source()]), play_of(&plan.graph[start]), e.weight().reason.clone())
                })
                .collect();
            edges.reverse();
            edges
        })
        .collect()
}

fn described(reason: &Reason, about: &About<'_>) -> (ArrowKind, String) {
    match reason {
        Reason::Needs { at, scope: NeedScope::Play } => {
            (ArrowKind::Needs, format!("needs ({})", (about.place)(*at)))
        }
        Reason::Needs { at, scope: NeedScope::Host } => {
            (ArrowKind::HostNeeds, format!("needs, host by host ({})", (about.place)(*at)))
        }
        Reason::PlayOrder | Reason::HostOrder | Reason::Barrier => {
            (ArrowKind::Order, "the order written".to_owned())
        }
    }
}

fn waits(plan: &Plan, play: usize, about: &About<'_>) -> Vec<Wait> {
    plan.graph
        .node_weights()
        .filter_map(|kind| match kind {
            NodeKind::Barrier { play: mine, reason, at } if *mine == play => {
                Some(Wait { reason: reason.to_string(), place: (about.place)(*at) })
            }
            _ => None,
        })
        .collect()
}

fn pattern(play: &Play) -> String {
    play.hosts.scalar_text().unwrap_or_else(|| "hosts known later".to_owned())
}

fn play_box(plan: &Plan, play: &Play, about: &About<'_>) -> Node {
    let mine = |kind: &&NodeKind| play_of(kind) == play.index;
    let tasks: usize = plan
        .graph
        .node_weights()
        .filter(mine)
        .map(|kind| match kind {
            NodeKind::Segment { tasks, .. } => *tasks,
            NodeKind::Expansion { .. } => 1,
            _ => 0,
        })
        .sum();
    let count = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let hosts = about.hosts.get(play.index).and_then(Option::as_ref);
    let alone = hosts.is_some_and(|h| h.len() < 2);
    let hosts = hosts.map_or_else(|| "hosts known later".to_owned(), |h| count(h.len(), "host"));
    let mut lines = vec![format!("{} · {hosts} · {}", pattern(play), count(tasks, "task"))];
    if let Some(serial) = play.serial.as_ref().and_then(|n| n.scalar_text()) {
        lines.push(format!("serial: {serial}"));
    }
    let waits = waits(plan, play.index, about);
    if !waits.is_empty() && !alone {
        lines.push(format!("hosts wait for each other {}", times(waits.len())));
    }
    Node {
        id: play.id.clone(),
        kind: NodeType::Play,
        title: play.name.clone(),
        phase: play.phase.clone(),
        play: play.index,
        lines,
        waits,
    }
}

fn times(n: usize) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}
