//! One host's way through a play: blocks, rescue, always, handlers, includes.
//!
//! Owns: the order in which a host meets tasks and what a failure does to it. Must not: run a task (that is `task`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json};

use super::dispatch::Unready;
use super::line::{Group, Position};
use super::play::{Batch, PlayRun};
use super::prepared::Prepared;
use super::slot::Slot;
use super::state::{Lost, lock};
use super::tags::selected;
use super::target::Reached;
use super::task::TaskEnd;
use crate::journal::EventKind;
use crate::plan::BarrierReason;
use crate::resolve::{ActionKind, Block, Item, Meta, Strategy, Task, TaskPath};
use crate::source::Span;
use crate::template::{Value, Var};
use crate::vars::{PlayInfo, TaskScope};

/// How a stretch of tasks ended for the host.
#[derive(Debug)]
pub(super) enum Flow {
    Next,
    /// A task failed; a `rescue` may take it up.
    Failed(Box<Failed>),
    /// The host leaves the play.
    Left(Left),
}

/// The failure that a `rescue` sees.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) task: Arc<Task>,
    pub(super) result: Arc<Map<String, Json>>,
    /// The task was fine here: another host's failure is fatal for all (`any_errors_fatal`).
    pub(super) by_others: bool,
}

impl Failed {
    fn by_others(task: &Arc<Task>) -> Self {
        Self { task: Arc::clone(task), result: Arc::default(), by_others: true }
    }
}

/// Why a host leaves without having failed a task of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Unreachable,
    /// `end_host`, `end_batch`, `end_play`.
    Ended,
    Cancelled,
    /// Another host's failure ends the batch.
    Aborted,
}

/// Walks one host through one batch.
pub(super) struct Walker {
    pub(super) playing: Arc<PlayRun>,
    pub(super) batch: Arc<Batch>,
    pub(super) index: usize,
    pub(super) host: Arc<str>,
    /// Handlers that were notified and have not run, by position in the play's list.
    pub(super) notified: BTreeSet<usize>,
    /// Check mode: handlers that tasks may notify of which it is not known whether they change anything.
    pub(super) perhaps: BTreeSet<usize>,
    /// Roles that `meta: end_role` ended for this host.
    ended_roles: HashSet<usize>,
    /// The place of a task at which others may still be, and that this host must not run away from: its next task
    /// waits.
    pub(super) fence: Option<Span>,
    /// The play's hosts when the barrier before the current task opened.
    pub(super) info: Option<Arc<PlayInfo>>,
    /// How often each task was met: a resumed run looks for the same time in the journal.
    pub(super) met: HashMap<TaskPath, usize>,
    /// Fatal failures of the batch that this host has taken in, and the place of the last one that was its own.
    fatals: usize,
    own_fatal: Option<Position>,
    /// False until the task that `--start-at-task` names is met.
    started: bool,
    /// Variables above all others: `ansible_failed_task` in a rescue, an include's loop variables.
    pub(super) locals: Vec<(Arc<str>, Var)>,
    /// The host's place among those that work at once, as long as it goes on without waiting.
    pub(super) slot: Option<Arc<Slot>>,
    /// A scope of this host, from which others are made.
    pub(super) last_scope: Mutex<Option<TaskScope>>,
    /// How the host was reached last.
    pub(super) reached: Mutex<Option<Reached>>,
}

impl Walker {
    pub(super) fn new(playing: Arc<PlayRun>, batch: Arc<Batch>, index: usize, host: Arc<str>) -> Self {
        let start = playing.run.inputs.options.start_at.as_ref();
        Self {
            started: start.is_none_or(|(play, _)| playing.play.index != *play),
            playing,
            batch,
            index,
            host,
            notified: BTreeSet::new(),
            perhaps: BTreeSet::new(),
            ended_roles: HashSet::new(),
            fence: None,
            fatals: 0,
            own_fatal: None,
            info: None,
            met: HashMap::new(),
            locals: Vec::new(),
            slot: None,
            last_scope: Mutex::default(),
            reached: Mutex::default(),
        }
    }

    /// Goes through the whole play.
    pub(super) async fn walk(mut self) {
        let play = Arc::clone(&self.playing.play);
        let run = Arc::clone(&self.playing.run);
        for need in &self.playing.by_host {
            run.progress[*need].until_host(&self.host).await;
        }
        // Lost in the play it waited for: it takes no part in this one.
        let lost = !self.playing.by_host.is_empty() && self.is_lost(&self.host);
        let mut flow = if lost { Flow::Left(Left::Ended) } else { self.gather_facts(&[0]).await };
        if matches!(flow, Flow::Next) {
            flow = self.items(&play.items, &[1]).await;
        }
        if let Flow::Failed(failed) = &flow {
            let why = if failed.by_others { Lost::Aborted } else { Lost::Failed };
            self.playing.lose(&self.batch, &self.host, why);
            self.check_fail_percentage();
            if self.forces_handlers() {
                self.fence = Some(play.span);
                let last = u32::MAX;
                if let Flow::Left(left) = self.flush_handlers(&[last]).await {
                    flow = Flow::Left(left);
                }
            }
        }
        match flow {
            Flow::Failed(_) => {}
            Flow::Left(Left::Unreachable) => {
                self.playing.lose(&self.batch, &self.host, Lost::Unreachable);
                self.check_fail_percentage();
            }
            Flow::Left(Left::Aborted) => self.playing.lose(&self.batch, &self.host, Lost::Aborted),
            Flow::Left(_) | Flow::Next => {}
        }
        run.commit();
        self.batch.line.leave(self.index);
        run.progress[play.index].host_done(&self.host);
    }

    fn forces_handlers(&self) -> bool {
        if self.playing.run.inputs.options.force_handlers {
            return true;
        }
        let Some(node) = &self.playing.play.force_handlers else { return false };
        self.playing.run.inputs.templates.condition(node, &self.play_scope()).unwrap_or(false)
    }

    fn check_fail_percentage(&self) {
        let Some(node) = &self.playing.play.max_fail_percentage else { return };
        let Ok(value) = self.playing.run.inputs.templates.node(node, &self.play_scope()) else { return };
        let Ok(limit) = value.to_string().trim_end_matches('%').parse::<f64>() else { return };
        let lost = lock(&self.playing.run.lost);
        let gone = self.batch.hosts.iter().filter(|h| lost.get(*h) == Some(&Lost::Failed)).count();
        if gone as f64 * 100.0 / self.batch.hosts.len() as f64 > limit {
            self.batch.stops.aborted.store(true, Ordering::Release);
        }
    }

    /// Walks tasks and blocks in order.
    pub(super) fn items<'a>(&'a mut self, items: &'a [Item], base: &'a [u32]) -> BoxFuture<'a, Flow> {
        async move {
            let mut at: Position = base.to_vec();
            at.push(0);
            for (number, item) in items.iter().enumerate() {
                if let Some(last) = at.last_mut() {
                    *last = u32::try_from(number).unwrap_or(u32::MAX);
                }
                let flow = match item {
                    // Not boxed: only includes and handlers, which are, lead back here.
                    Item::Task(task) => self.one_task(task, &at).await,
                    Item::Block(block) => self.block(block, &at).await,
                };
                if !matches!(flow, Flow::Next) {
                    return flow;
                }
            }
            Flow::Next
        }
        .boxed()
    }

    async fn block(&mut self, block: &Block, at: &[u32]) -> Flow {
        let part = |n: u32| {
            let mut at = at.to_vec();
            at.push(n);
            at
        };
        let mut flow = self.items(&block.items, &part(0)).await;
        if matches!(flow, Flow::Failed(_)) {
            self.goes_around(&block.items, block.span);
        } else {
            self.goes_around(&block.rescue, block.span);
        }
        if let Flow::Failed(failed) = flow {
            if block.rescue.is_empty() {
                flow = Flow::Failed(failed);
            } else {
                let before = self.locals.len();
                if !failed.by_others {
                    self.playing.run.count_rescue(&self.host);
                    self.playing.run.tell(EventKind::HostRescued {
                        play: self.playing.play.index,
                        host: Arc::clone(&self.host),
                    });
                    let result = super::unknown::variable(&failed.result);
                    self.locals.push(("ansible_failed_result".into(), Var::Data(result)));
                    self.locals.push(("ansible_failed_task".into(), Var::Data(describe(&failed.task))));
                }
                flow = self.items(&block.rescue, &part(1)).await;
                if matches!(flow, Flow::Failed(_)) {
                    self.goes_around(&block.rescue, block.span);
                }
                // Ansible keeps both in sight for `always` and what follows.
                let keep = self.locals.split_off(before);
                self.locals.splice(0..0, keep);
            }
        }
        if block.always.is_empty() {
            return flow;
        }
        match flow {
            // The host is gone or done, or the user wants to stop: nothing more is done on it.
            Flow::Left(Left::Unreachable | Left::Cancelled | Left::Ended) => flow,
            flow => match self.items(&block.always, &part(2)).await {
                Flow::Next => flow,
                worse => worse,
            },
        }
    }

    /// True when the host must stop before its next step, and why.
    pub(super) fn must_leave(&self) -> Option<Left> {
        if self.playing.run.stopping() { Some(Left::Cancelled) } else { self.batch.stops.left() }
    }

    pub(super) fn task<'a>(&'a mut self, task: &'a Arc<Task>, at: &'a [u32]) -> BoxFuture<'a, Flow> {
        self.one_task(task, at).boxed()
    }

    async fn one_task(&mut self, task: &Arc<Task>, at: &[u32]) -> Flow {
        if let Some(left) = self.must_leave() {
            return Flow::Left(left);
        }
        if matches!(self.playing.play.strategy, Strategy::Free | Strategy::HostPinned) {
            // No barrier will tell.
            let fatals = lock(&self.batch.stops.fatals).len();
            if self.is_hit(fatals) {
                return Flow::Failed(Box::new(Failed::by_others(task)));
            }
        }
        let options = &self.playing.run.inputs.options;
        if !self.started {
            self.started = options.start_at.as_ref().is_some_and(|(_, path)| *path == task.path);
            if !self.started {
                self.batch.line.advance(self.index, at);
                return Flow::Next;
            }
        }
        let implicit_flush = matches!(task.action.kind, ActionKind::Meta(Meta::FlushHandlers));
        if !implicit_flush && !selected(&task.tags, &options.tags, &options.skip_tags) {
            self.batch.line.advance(self.index, at);
            return Flow::Next;
        }
        if task.role.as_ref().is_some_and(|r| self.ended_roles.contains(&(Arc::as_ptr(r) as usize))) {
            self.goes_around(std::slice::from_ref(&Item::Task(Arc::clone(task))), task.span);
            self.batch.line.advance(self.index, at);
            return Flow::Next;
        }
        let mut prepared = self.playing.prepared(task);
        let barrier = self.playing.barrier_of(task, &prepared);
        let fence = self.fence.take();
        self.info = None;
        if barrier.as_ref().is_some_and(|(reason, _)| reason.fences())
            && self.playing.play.strategy == Strategy::Inferred
        {
            self.fence = Some(task.span);
        }
        let group = match barrier.or_else(|| fence.map(|at| (BarrierReason::After, at))) {
            None => {
                self.batch.line.advance(self.index, at);
                None
            }
            Some((reason, span)) => {
                self.rests();
                if self.batch.hosts.len() > 1 && self.batch.line.must_wait(at) {
                    self.playing.run.tell(EventKind::HostWaiting {
                        play: self.playing.play.index,
                        host: Arc::clone(&self.host),
                        reason: reason.to_string(),
                        place: self.playing.run.place(span),
                    });
                }
                let Ok(group) = self.batch.line.arrive(self.index, at).await else {
                    return Flow::Left(Left::Cancelled);
                };
                if self.playing.run.stopping() {
                    return Flow::Left(Left::Cancelled);
                }
                if let Some(left) = group.left {
                    return Flow::Left(left);
                }
                if self.is_hit(group.fatals) {
                    return Flow::Failed(Box::new(Failed::by_others(task)));
                }
                self.info = Some(Arc::clone(&group.info));
                // Others may have published variables meanwhile.
                prepared = self.playing.prepared(task);
                Some(group)
            }
        };
        if !matches!(task.action.kind, ActionKind::Meta(_)) && !self.is_wanted(task, at).await {
            return Flow::Next;
        }
        match task.action.kind {
            ActionKind::Meta(meta) => self.meta(task, meta, at).await,
            ActionKind::IncludeTasks | ActionKind::IncludeRole => self.include(task, at).await,
            _ => self.step(task, &prepared, group, at).await,
        }
    }

    /// Before the host waits for others: it leaves its place to them, keeps no old inventory, and what it did is on record.
    pub(super) fn rests(&mut self) {
        self.slot = None;
        *lock(&self.last_scope) = None;
        self.playing.run.commit();
    }

    /// Whether another host failed fatally since this one last looked.
    fn is_hit(&mut self, fatals: usize) -> bool {
        let known = lock(&self.batch.stops.fatals);
        let hit = known.iter().take(fatals).skip(self.fatals).any(|at| Some(at) != self.own_fatal.as_ref());
        self.fatals = self.fatals.max(fatals);
        hit
    }

    /// This host's failure is one for all.
    fn fails_fatally(&mut self, at: &[u32]) {
        let mut known = lock(&self.batch.stops.fatals);
        if !known.iter().any(|other| other == at) {
            known.push(at.to_vec());
        }
        self.own_fatal = Some(at.to_vec());
    }

    /// After a task with `any_errors_fatal`: waits for the others to have done it, and fails when one of them did. Only so
    /// does a rescue around the task take all of them up.
    async fn after_fatal(&mut self, task: &Arc<Task>, at: &[u32]) -> Flow {
        if matches!(self.playing.play.strategy, Strategy::Free | Strategy::HostPinned) {
            return Flow::Next;
        }
        self.rests();
        let mut end = at.to_vec();
        end.push(u32::MAX);
        let Ok(group) = self.batch.line.arrive(self.index, &end).await else {
            return Flow::Left(Left::Cancelled);
        };
        if self.is_hit(group.fatals) { Flow::Failed(Box::new(Failed::by_others(task))) } else { Flow::Next }
    }

    async fn step(
        &mut self,
        task: &Arc<Task>,
        prepared: &Prepared,
        group: Option<Arc<Group>>,
        at: &[u32],
    ) -> Flow {
        let end = match group {
            Some(group) if self.runs_once(task) => self.once(task, prepared, &group).await,
            _ => self.run_task(task, prepared).await,
        };
        match end {
            TaskEnd::Fine if self.any_errors_fatal(task) => self.after_fatal(task, at).await,
            TaskEnd::Fine => Flow::Next,
            TaskEnd::Failed(result) => {
                if self.any_errors_fatal(task) {
                    self.fails_fatally(at);
                }
                Flow::Failed(Box::new(Failed { task: Arc::clone(task), result, by_others: false }))
            }
            TaskEnd::Unreachable => {
                if self.any_errors_fatal(task) {
                    self.fails_fatally(at);
                }
                Flow::Left(Left::Unreachable)
            }
            TaskEnd::Cancelled => Flow::Left(Left::Cancelled),
            TaskEnd::Aborted => Flow::Left(Left::Aborted),
            TaskEnd::Explained => Flow::Left(Left::Ended),
        }
    }

    fn any_errors_fatal(&self, task: &Task) -> bool {
        self.flag(&task.settings.any_errors_fatal, task)
    }

    fn runs_once(&self, task: &Task) -> bool {
        let for_all = crate::actions::find(&task.action.name).is_some_and(|a| a.once_for_all_hosts());
        for_all || self.flag(&task.settings.run_once, task)
    }

    pub(super) fn flag(&self, node: &Option<crate::source::Node>, task: &Task) -> bool {
        let Some(node) = node else { return false };
        self.playing.run.inputs.templates.condition(node, &self.scope(task)).unwrap_or(false)
    }

    async fn meta(&mut self, task: &Arc<Task>, meta: Meta, at: &[u32]) -> Flow {
        if !task.when.is_empty() && meta != Meta::FlushHandlers {
            match self.when(task, &self.scope(task)) {
                Ok(None) => {}
                Ok(Some(_)) => return Flow::Next,
                // Whether the host would leave here is not known; what follows is shown as if it did not.
                Err(error) if self.is_unknown(&error) => {
                    self.left_unknown(task, &error);
                    return Flow::Next;
                }
                Err(error) => return self.fail_outright(task, &error.to_string()),
            }
        }
        match meta {
            Meta::Noop => Flow::Next,
            Meta::FlushHandlers => self.flush_handlers(at).await,
            Meta::EndHost => {
                self.playing.remove(&self.batch, &self.host);
                Flow::Left(Left::Ended)
            }
            Meta::EndPlay => {
                self.playing.ended.store(true, Ordering::Release);
                self.batch.stops.ended.store(true, Ordering::Release);
                Flow::Left(Left::Ended)
            }
            Meta::EndBatch => {
                self.batch.stops.ended.store(true, Ordering::Release);
                Flow::Left(Left::Ended)
            }
            Meta::EndRole => {
                if let Some(role) = &task.role {
                    self.ended_roles.insert(Arc::as_ptr(role) as usize);
                }
                Flow::Next
            }
            Meta::ClearFacts => {
                self.playing.run.inputs.store.host(&self.host).clear_facts();
                Flow::Next
            }
            Meta::ClearHostErrors => {
                lock(&self.playing.run.lost).clear();
                self.playing.refresh_info(&self.batch);
                Flow::Next
            }
            Meta::ResetConnection => match self.own_target(task) {
                Ok(target) => {
                    self.playing.run.transport.reset(&target).await;
                    Flow::Next
                }
                Err(Unready::Text(text)) => self.fail_outright(task, &text),
                Err(Unready::Template(error)) => self.fail_outright(task, &self.explain(&error)),
            },
            Meta::RefreshInventory => match &self.playing.run.inputs.reload_inventory {
                Some(reload) => match reload() {
                    Ok(fresh) => {
                        self.playing.run.inputs.store.replace_inventory(fresh);
                        Flow::Next
                    }
                    Err(text) => self.fail_outright(task, &text),
                },
                None => Flow::Next,
            },
        }
    }

    /// Runs the notified handlers in the order they are defined; handlers that handlers notify come in the same flush.
    pub(super) async fn flush_handlers(&mut self, at: &[u32]) -> Flow {
        let mut round = 0;
        while !(self.notified.is_empty() && self.perhaps.is_empty()) {
            let mut after = 0;
            while let Some(next) = self.next_handler(after) {
                let sure = self.notified.remove(&next);
                self.perhaps.remove(&next);
                after = next + 1;
                let Some(handler) = self.playing.handlers.get(next) else { continue };
                if !sure {
                    self.may_run(&handler.task);
                    continue;
                }
                let mut position = at.to_vec();
                position.push(round);
                position.push(u32::try_from(next).unwrap_or(u32::MAX));
                let flow = self.task(&handler.task, &position).await;
                if !matches!(flow, Flow::Next) {
                    return flow;
                }
            }
            round += 1;
        }
        self.goes_around_handlers();
        Flow::Next
    }

    /// The first handler from here on that is to run, or may be.
    fn next_handler(&self, from: usize) -> Option<usize> {
        let first = |list: &BTreeSet<usize>| list.range(from..).next().copied();
        first(&self.notified).into_iter().chain(first(&self.perhaps)).min()
    }

    async fn gather_facts(&mut self, at: &[u32]) -> Flow {
        let Some(task) = super::facts::task(&self.playing.play) else { return Flow::Next };
        if let Some(node) = &self.playing.play.gather_facts {
            match self.playing.run.inputs.templates.condition(node, &self.play_scope()) {
                Ok(true) => {}
                Ok(false) => return Flow::Next,
                Err(error) => return self.fail_outright(&task, &error.to_string()),
            }
        }
        let options = &self.playing.run.inputs.options;
        if options.smart_gathering && self.playing.run.inputs.store.host(&self.host).is_gathered() {
            return Flow::Next;
        }
        // Facts belong to the play, not to a place in it.
        let started = std::mem::replace(&mut self.started, true);
        let flow = self.task(&task, at).await;
        self.started = started;
        flow
    }

    /// `--step`: asks once for all hosts of the batch whether they are to do a task.
    async fn is_wanted(&self, task: &Task, at: &[u32]) -> bool {
        let run = &self.playing.run;
        if !run.inputs.options.step || run.step_on.load(Ordering::Acquire) {
            return true;
        }
        // Who comes first asks, the others wait for the answer.
        let mut answers = self.batch.answers.lock().await;
        if let Some(answer) = answers.get(at) {
            return *answer;
        }
        if run.step_on.load(Ordering::Acquire) {
            return true;
        }
        let name = self.title(task, &self.scope(task));
        let role = task.role.as_ref().map(|r| format!("{} : ", r.name)).unwrap_or_default();
        let question = format!("Perform task: TASK: {role}{name} (N)o/(y)es/(c)ontinue");
        let asked = tokio::task::spawn_blocking(move || crate::ask::line(&question, None, false)).await;
        // Nobody there to answer means no, as an empty line does.
        let answer = asked.ok().and_then(Result::ok).unwrap_or_default().to_lowercase();
        let go_on = matches!(answer.as_str(), "c" | "continue");
        if go_on {
            run.step_on.store(true, Ordering::Release);
        }
        let wanted = go_on || matches!(answer.as_str(), "y" | "yes");
        answers.insert(at.to_vec(), wanted);
        wanted
    }
}

/// What `ansible_failed_task` shows of a task.
fn describe(task: &Task) -> Value {
    let name = task.name.as_ref().and_then(|n| n.as_str()).unwrap_or_default();
    super::dispatch::data(
        serde_json::json!({ "name": name, "action": &*task.action.name, "tags": task.tags }),
    )
}
