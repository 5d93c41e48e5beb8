//! From the resolved playbook to the graph.

use std::collections::HashMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use sha2::{Digest as _, Sha256};

use super::{BarrierReason, Looks, barrier_of};
use crate::resolve::{ActionKind, Item, Meta, NeedScope, Play, Playbook, Strategy, Task};
use crate::source::Span;

/// What a node stands for; always for all hosts of its play.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    PlayStart {
        play: usize,
    },
    /// Consecutive tasks with no barrier between, walked by each host at its own pace.
    Segment {
        play: usize,
        tasks: usize,
        first: Span,
    },
    Barrier {
        play: usize,
        reason: BarrierReason,
        at: Span,
    },
    /// An include that expands into a sub-graph while the run goes on.
    Expansion {
        play: usize,
        at: Span,
    },
    PlayEnd {
        play: usize,
    },
}

/// Why one node waits for another.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// Tasks of a host run in the order written.
    HostOrder,
    /// No `needs`: plays run in the order written.
    PlayOrder,
    Needs {
        at: Span,
        scope: NeedScope,
    },
    /// All hosts must have come as far.
    Barrier,
}

/// An edge of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    pub reason: Reason,
}

/// What the engine needs to know of one play.
#[derive(Debug, Clone, Default)]
pub struct PlayPlan {
    /// Plays that must be over first, with the reach of the wait.
    pub after: Vec<(usize, NeedScope)>,
    pub barriers: usize,
}

/// The finished plan.
#[derive(Debug)]
pub struct Plan {
    pub graph: DiGraph<NodeKind, Edge>,
    pub plays: Vec<PlayPlan>,
    /// SHA-256 over the structure, in hex: two runs with the same digest did the same things in the same order.
    pub digest: String,
    pub looks: Looks,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error("the play `{play}` needs `{need}`, and there is no play of that id or name")]
    UnknownNeed { play: String, need: String, at: Span },
    #[error("plays need each other: {}", cycle.iter().map(|(n, _)| format!("`{n}`")).collect::<Vec<_>>().join(" -> "))]
    Cycle { cycle: Vec<(String, Span)> },
}

/// Builds the plan. `looks` says which names look at other hosts.
///
/// # Errors
/// Unknown and cyclic `needs`; resolve reports them with better words, so these guard against its mistakes.
pub fn build(playbook: &Playbook, looks: Looks) -> Result<Plan, PlanError> {
    let mut graph = DiGraph::new();
    let mut ends: Vec<(NodeIndex, NodeIndex)> = Vec::with_capacity(playbook.plays.len());
    let mut plays = Vec::with_capacity(playbook.plays.len());
    for play in &playbook.plays {
        let start = graph.add_node(NodeKind::PlayStart { play: play.index });
        let mut chain = Chain {
            graph: &mut graph,
            play,
            looks: &looks,
            last: start,
            segment: None,
            fence: None,
            barriers: 0,
        };
        chain.items(&play.items);
        let last = chain.close();
        let barriers = chain.barriers;
        let end = graph.add_node(NodeKind::PlayEnd { play: play.index });
        graph.add_edge(last, end, Edge { reason: Reason::HostOrder });
        ends.push((start, end));
        plays.push(PlayPlan { after: Vec::new(), barriers });
    }
    let by_name: HashMap<&str, usize> = playbook
        .plays
        .iter()
        .enumerate()
        .rev()
        .flat_map(|(at, p)| [(p.name.as_str(), at), (p.id.as_str(), at)])
        .collect();
    for (at, play) in playbook.plays.iter().enumerate() {
        match &play.needs {
            None if at > 0 => {
                graph.add_edge(ends[at - 1].1, ends[at].0, Edge { reason: Reason::PlayOrder });
                plays[at].after.push((at - 1, NeedScope::Play));
            }
            None => {}
            Some(needs) => {
                for need in needs {
                    let Some(&other) = by_name.get(need.play.value.as_str()) else {
                        return Err(PlanError::UnknownNeed {
                            play: play.name.clone(),
                            need: need.play.value.clone(),
                            at: need.play.span,
                        });
                    };
                    let reason = Reason::Needs { at: need.play.span, scope: need.scope };
                    graph.add_edge(ends[other].1, ends[at].0, Edge { reason });
                    plays[at].after.push((other, need.scope));
                }
            }
        }
    }
    refuse_cycles(&graph, playbook)?;
    let digest = digest(&graph, playbook);
    Ok(Plan { graph, plays, digest, looks })
}

/// Builds one play's chain of segments and barriers.
struct Chain<'a> {
    graph: &'a mut DiGraph<NodeKind, Edge>,
    play: &'a Play,
    looks: &'a Looks,
    last: NodeIndex,
    segment: Option<(usize, Span)>,
    /// A task at which others may still be, and that no host must run away from: the next one waits.
    fence: Option<Span>,
    barriers: usize,
}

impl Chain<'_> {
    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task),
                Item::Block(block) => {
                    self.items(&block.items);
                    // A failure goes around the rest of the block, luck around the rescue.
                    if !block.rescue.is_empty() {
                        self.goes_around(&block.items, block.span);
                        self.items(&block.rescue);
                        self.goes_around(&block.rescue, block.span);
                    }
                    self.items(&block.always);
                }
            }
        }
    }

    fn task(&mut self, task: &Task) {
        let fence = self.fence.take();
        let barrier = barrier_of(self.play, task, self.looks);
        if self.play.strategy == Strategy::Inferred {
            if barrier.as_ref().is_some_and(|(reason, _)| reason.fences()) {
                self.fence = Some(task.span);
            } else if matches!(task.action.kind, ActionKind::Meta(Meta::FlushHandlers)) {
                // Some hosts run handlers, others none.
                let looking = self.play.handlers.iter().find(|h| self.opens(&h.task));
                self.fence = looking.map(|h| h.task.span);
            }
        }
        if let Some((reason, at)) = barrier.or_else(|| fence.map(|at| (BarrierReason::After, at))) {
            let before = self.close();
            let node = self.graph.add_node(NodeKind::Barrier { play: self.play.index, reason, at });
            self.graph.add_edge(before, node, Edge { reason: Reason::Barrier });
            self.last = node;
            self.barriers += 1;
        }
        if matches!(task.action.kind, ActionKind::IncludeTasks | ActionKind::IncludeRole) {
            let before = self.close();
            let node = self.graph.add_node(NodeKind::Expansion { play: self.play.index, at: task.span });
            self.graph.add_edge(before, node, Edge { reason: Reason::HostOrder });
            self.last = node;
            return;
        }
        if task.is_implicit_flush() {
            return;
        }
        match &mut self.segment {
            Some((tasks, _)) => *tasks += 1,
            None => self.segment = Some((1, task.span)),
        }
    }

    fn opens(&self, task: &Task) -> bool {
        barrier_of(self.play, task, self.looks).is_some()
    }

    fn goes_around(&mut self, items: &[Item], at: Span) {
        if self.play.strategy == Strategy::Inferred && self.fence.is_none() && self.any_opens(items) {
            self.fence = Some(at);
        }
    }

    fn any_opens(&self, items: &[Item]) -> bool {
        items.iter().any(|item| match item {
            Item::Task(task) => self.opens(task),
            Item::Block(block) => {
                [&block.items, &block.rescue, &block.always].iter().any(|i| self.any_opens(i))
            }
        })
    }

    /// Ends the open segment and says what comes last.
    fn close(&mut self) -> NodeIndex {
        if let Some((tasks, first)) = self.segment.take() {
            let node = self.graph.add_node(NodeKind::Segment { play: self.play.index, tasks, first });
            self.graph.add_edge(self.last, node, Edge { reason: Reason::HostOrder });
            self.last = node;
        }
        self.last
    }
}

fn refuse_cycles(graph: &DiGraph<NodeKind, Edge>, playbook: &Playbook) -> Result<(), PlanError> {
    for component in tarjan_scc(graph) {
        if component.len() > 1 {
            let mut plays: Vec<usize> = component
                .iter()
                .filter_map(|n| match graph[*n] {
                    NodeKind::PlayStart { play } => Some(play),
                    _ => None,
                })
                .collect();
            plays.sort_unstable();
            let cycle =
                plays.iter().map(|p| (playbook.plays[*p].id.clone(), playbook.plays[*p].span)).collect();
            return Err(PlanError::Cycle { cycle });
        }
    }
    Ok(())
}

fn digest(graph: &DiGraph<NodeKind, Edge>, playbook: &Playbook) -> String {
    let mut hash = Sha256::new();
    for play in &playbook.plays {
        hash.update(play.id.as_bytes());
        hash.update([0]);
        paths(&play.items, &mut |path| {
            hash.update(path.as_bytes());
            hash.update([0]);
        });
    }
    for edge in graph.raw_edges() {
        let reason = match &edge.weight.reason {
            Reason::HostOrder => 0u8,
            Reason::PlayOrder => 1,
            Reason::Needs { scope: NeedScope::Play, .. } => 2,
            Reason::Needs { scope: NeedScope::Host, .. } => 3,
            Reason::Barrier => 4,
        };
        hash.update((edge.source().index() as u64).to_be_bytes());
        hash.update((edge.target().index() as u64).to_be_bytes());
        hash.update([reason]);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

fn paths(items: &[Item], visit: &mut dyn FnMut(&str)) {
    for item in items {
        match item {
            Item::Task(task) => visit(&task.path),
            Item::Block(block) => {
                paths(&block.items, visit);
                paths(&block.rescue, visit);
                paths(&block.always, visit);
            }
        }
    }
}
