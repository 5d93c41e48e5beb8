//! One play: its hosts, its variables, its batches.
//!
//! Owns: what all hosts of a play share while it runs. Must not: walk a host's tasks (that is `walk`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use futures::future::join_all;

use super::handlers::Handlers;
use super::line::{Line, Position, Stops};
use super::prepared::Prepared;
use super::quorum;
use super::state::{Lost, Nobody, RunState, lock};
use super::walk::Walker;
use crate::inventory::{Limit, Pattern, Selection};
use crate::journal::{EventKind, NotRun};
use crate::plan::{BarrierReason, barrier_of};
use crate::resolve::{Order, Play, Resolver, Role, Strategy, Task, TaskPath};
use crate::source::{Node, Span, Yaml};
use crate::template::{Scope, SearchPath, Templates, Value};
use crate::vars::{ByName, PlayInfo, PlayState, PlayVars, RoleVars, ScopeParts, Store, Table};

/// A role, kept alive because its address is its key, and what it adds to its tasks.
type CompiledRole = (Arc<Role>, Arc<RoleVars>);

/// What makes hosts wait before a task, and where that is written.
pub(super) type Barrier = Option<(BarrierReason, Span)>;

/// Shared by the hosts of a running play.
pub(super) struct PlayRun {
    pub(super) run: Arc<RunState>,
    pub(super) play: Arc<Play>,
    published: RwLock<Arc<PlayVars>>,
    pub(super) state: Arc<PlayState>,
    pub(super) handlers: Handlers,
    /// Positions of plays of which each host must have done its part first.
    pub(super) by_host: Vec<usize>,
    /// What the play holds as a whole.
    pub(super) locks: BTreeSet<Arc<str>>,
    /// Hosts of the play in its order, lost ones included.
    hosts_all: Vec<Arc<str>>,
    /// Hosts that have left the play, by failure or by `end_host`; they don't count as its hosts any more.
    gone: Mutex<HashSet<Arc<str>>>,
    /// `meta: end_play` was met.
    pub(super) ended: AtomicBool,
    /// By task and role: hosts and items may include one role with other files of variables.
    prepared: RwLock<HashMap<(TaskPath, usize), Arc<Prepared>, ByName>>,
    /// By the role's address; the role is kept with it so that no other role gets that address.
    roles: Mutex<HashMap<usize, CompiledRole>>,
    /// Whether an include brings barriers, by its task.
    pub(super) opened: Mutex<HashMap<TaskPath, bool>>,
    /// Outlives what is prepared, which is made anew when a role's variables become public.
    barriers: Mutex<HashMap<TaskPath, Barrier, ByName>>,
}

/// One batch of a play's hosts.
pub(super) struct Batch {
    pub(super) hosts: Vec<Arc<str>>,
    pub(super) line: Line,
    pub(super) stops: Arc<Stops>,
    /// `--step`: what was answered, by the place of the task.
    pub(super) answers: tokio::sync::Mutex<HashMap<Position, bool>>,
}

/// Who is left when a play is over; a play that needs it is not run when nobody is.
#[derive(Debug)]
pub(super) enum Left {
    Some,
    /// All its hosts are lost, or a whole batch.
    Nobody(Nobody),
}

/// Why a play could not start.
#[derive(Debug)]
pub(super) struct PlayFault {
    pub(super) text: String,
    pub(super) at: Span,
}

/// Runs a play on its hosts, batch after batch; each host starts when it has done its part of the plays in `by_host`.
pub(super) async fn run_play(
    run: &Arc<RunState>,
    play: &Arc<Play>,
    by_host: Vec<usize>,
) -> Result<Left, PlayFault> {
    let inputs = &run.inputs;
    if run.stopping() {
        run.tell(EventKind::PlayNotRun { play: play.index, name: play.name.clone(), why: NotRun::Cancelled });
        return Ok(Left::Some);
    }
    let bare = bare_scope(&inputs.store, play);
    let (shown, selection) = select_hosts(play, &inputs.store, &inputs.templates)?;
    for warning in selection.warnings(play.hosts.span) {
        run.tell(EventKind::Warning { text: warning.message, place: Some(run.place(play.hosts.span)) });
    }
    let mut hosts = selection.hosts;
    // A majority is one of all hosts, also when this run works on a few of them.
    let everyone = hosts.clone();
    if let Some(limit) = &inputs.options.limit {
        let parsed = Limit::parse(limit, Path::new("."), &inputs.sources)
            .map_err(|d| PlayFault { text: d.message, at: play.hosts.span })?;
        hosts = parsed.apply(hosts, &inputs.store.inventory());
    }
    order(&mut hosts, play.order);
    if hosts.is_empty() {
        let why = NotRun::NoHosts { pattern: shown };
        run.tell(EventKind::PlayNotRun { play: play.index, name: play.name.clone(), why });
        return Ok(Left::Some);
    }
    let lost: Vec<Arc<str>> = {
        let lost = lock(&run.lost);
        hosts.iter().filter(|h| lost.contains_key(*h)).cloned().collect()
    };
    let hosts_all = hosts.clone();
    hosts.retain(|h| !lost.contains(h));
    if hosts.is_empty() {
        let why = NotRun::HostsLost { needs: String::new(), hosts: lost.clone() };
        run.tell(EventKind::PlayNotRun { play: play.index, name: play.name.clone(), why });
        return Ok(Left::Nobody(Nobody { hosts: lost, broke: false }));
    }
    let locks = lock_names(play, inputs, &bare)?;
    let mut interrupts = run.interrupts.clone();
    let _held = tokio::select! {
        held = run.locks.take(&locks, None) => held,
        _ = interrupts.wait_for(|n| *n > 0) => {
            let why = NotRun::Cancelled;
            run.tell(EventKind::PlayNotRun { play: play.index, name: play.name.clone(), why });
            return Ok(Left::Some);
        }
    };
    let name = match &bare_text(inputs, &play.name, &bare) {
        Some(text) => text.clone(),
        None => play.name.clone(),
    };
    run.tell(EventKind::PlayStarted {
        play: play.index,
        name,
        phase: play.phase.clone(),
        hosts: hosts.clone(),
        place: run.place(play.span),
        after: inputs.plan.plays[play.index].after.iter().map(|(other, _)| *other).collect(),
    });
    run.progress[play.index].starts(&hosts);
    for host in &hosts {
        run.count_host(host);
    }
    let files = vars_files(&inputs.templates, &inputs.resolver, play, &bare)?;
    let prompts = super::prompt::ask(run, play, &bare)?;
    let vars = PlayVars {
        role_defaults: Table::of(public_roles(&play.roles).iter().map(|r| &*r.defaults)),
        vars: Table::of([&*play.vars]),
        prompts,
        files,
        role_vars: Table::of(public_roles(&play.roles).iter().map(|r| &*r.file_vars)),
    };
    let role_names: Vec<String> =
        play.roles.iter().filter(|r| !r.dependency).map(|r| r.name.clone()).collect();
    let mut dependent: Vec<String> = Vec::new();
    for role in public_roles(&play.roles) {
        if !role_names.contains(&role.name) && !dependent.contains(&role.name) {
            dependent.push(role.name.clone());
        }
    }
    let info = PlayInfo::new(
        &play.name,
        inputs.options.playbook_directory.clone(),
        &hosts_all,
        &role_names,
        &dependent,
    );
    let playing = Arc::new(PlayRun {
        run: Arc::clone(run),
        play: Arc::clone(play),
        published: RwLock::new(Arc::new(vars)),
        state: PlayState::new(info),
        handlers: Handlers::new(play.handlers.clone()),
        by_host,
        locks,
        hosts_all,
        gone: Mutex::default(),
        ended: AtomicBool::new(false),
        prepared: RwLock::default(),
        roles: Mutex::default(),
        opened: Mutex::default(),
        barriers: Mutex::default(),
    });
    let mut batches = batches(play, hosts.len(), inputs, &bare)?;
    let started = hosts.clone();
    let mut rest = hosts.into_iter();
    let mut broke = None;
    for number in 0.. {
        if rest.len() == 0 || run.stopping() || playing.ended.load(Ordering::Acquire) {
            break;
        }
        let size = match &mut batches {
            Batches::Sizes(sizes) => sizes.next().unwrap_or(rest.len()),
            Batches::Quorum(at) => {
                let down: Vec<Arc<str>> = {
                    let lost = lock(&run.lost);
                    everyone.iter().filter(|h| lost.contains_key(*h)).cloned().collect()
                };
                match quorum::batch(everyone.len(), &down) {
                    Ok(size) => size,
                    Err(text) => {
                        run.tell(EventKind::PlayFinished { play: play.index });
                        return Err(PlayFault { text, at: *at });
                    }
                }
            }
        };
        let hosts: Vec<Arc<str>> = rest.by_ref().take(size).collect();
        if number > 0 || rest.len() > 0 {
            run.tell(EventKind::BatchStarted { play: play.index, batch: number, hosts: hosts.clone() });
        }
        // As in Ansible: a batch that is lost whole ends the play, so that a bad change reaches no further batch.
        if playing.batch(hosts.clone()).await {
            broke = Some(hosts);
            break;
        }
    }
    run.tell(EventKind::PlayFinished { play: play.index });
    if let Some(hosts) = broke {
        return Ok(Left::Nobody(Nobody { hosts, broke: true }));
    }
    let left = {
        let lost = lock(&run.lost);
        started.iter().any(|h| !lost.contains_key(h))
    };
    Ok(if left { Left::Some } else { Left::Nobody(Nobody { hosts: started, broke: false }) })
}

/// How a play's hosts are cut into batches.
enum Batches {
    Sizes(std::vec::IntoIter<usize>),
    /// `serial: quorum`, written here: each size depends on who is lost by then.
    Quorum(Span),
}

fn batches(
    play: &Play,
    hosts: usize,
    inputs: &super::state::Inputs,
    scope: &Arc<dyn Scope>,
) -> Result<Batches, PlayFault> {
    if let Some(node) = &play.serial
        && node.scalar_text().is_some_and(|text| text.trim() == "quorum")
    {
        return Ok(Batches::Quorum(node.span));
    }
    Ok(Batches::Sizes(batch_sizes(play, hosts, inputs, scope)?.into_iter()))
}

fn lock_names(
    play: &Play,
    inputs: &super::state::Inputs,
    scope: &Arc<dyn Scope>,
) -> Result<BTreeSet<Arc<str>>, PlayFault> {
    let mut names = BTreeSet::new();
    for node in &play.locks {
        let fault = |e: crate::template::TemplateError| PlayFault { text: e.to_string(), at: node.span };
        names.extend(strings(&inputs.templates.node(node, scope).map_err(fault)?).into_iter().map(Arc::from));
    }
    Ok(names)
}

/// The variables of a play before it has hosts.
fn bare_scope(store: &Arc<Store>, play: &Play) -> Arc<dyn Scope> {
    let parts = Arc::new(ScopeParts {
        play: Some(Arc::new(PlayVars { vars: Table::of([&*play.vars]), ..PlayVars::default() })),
        search: SearchPath { bases: vec![play.directory.clone()] },
        ..ScopeParts::default()
    });
    Arc::new(store.scope("localhost", &parts))
}

/// The variables of a play on this machine, its files of variables read; prompts have no answers.
pub(super) fn local_scope(
    play: &Play,
    store: &Arc<Store>,
    templates: &Templates,
    resolver: &Resolver,
) -> Result<Arc<dyn Scope>, PlayFault> {
    store.ensure_localhost("localhost");
    let files = vars_files(templates, resolver, play, &bare_scope(store, play))?;
    let vars = PlayVars {
        role_defaults: Table::of(public_roles(&play.roles).iter().map(|r| &*r.defaults)),
        vars: Table::of([&*play.vars]),
        prompts: Table::default(),
        files,
        role_vars: Table::of(public_roles(&play.roles).iter().map(|r| &*r.file_vars)),
    };
    let parts = ScopeParts {
        play: Some(Arc::new(vars)),
        search: SearchPath { bases: vec![play.directory.clone()] },
        ..ScopeParts::default()
    };
    Ok(Arc::new(store.scope("localhost", &Arc::new(parts))))
}

/// The hosts of a play's pattern, and the pattern as text.
pub(super) fn select_hosts(
    play: &Play,
    store: &Arc<Store>,
    templates: &Templates,
) -> Result<(String, Selection), PlayFault> {
    let fault = |text: String| PlayFault { text, at: play.hosts.span };
    let value = templates.node(&play.hosts, &bare_scope(store, play)).map_err(|e| fault(e.to_string()))?;
    let texts = strings(&value);
    let pattern = Pattern::of(texts.iter().map(String::as_str)).map_err(|e| fault(e.to_string()))?;
    for text in &texts {
        store.ensure_localhost(text);
    }
    Ok((texts.join(","), store.select(&pattern)))
}

impl PlayRun {
    /// Runs one batch; true when no host of it is left, or too many have failed.
    async fn batch(self: &Arc<Self>, hosts: Vec<Arc<str>>) -> bool {
        let stops = Arc::new(Stops { play: Arc::clone(&self.state), ..Stops::default() });
        let batch = Arc::new(Batch {
            line: Line::new(hosts.len(), Arc::clone(&stops)),
            hosts,
            stops,
            answers: tokio::sync::Mutex::default(),
        });
        self.refresh_info(&batch);
        let walks = batch.hosts.iter().enumerate().map(|(index, host)| {
            let walker = Walker::new(Arc::clone(self), Arc::clone(&batch), index, Arc::clone(host));
            tokio::spawn(walker.walk())
        });
        for ended in join_all(walks).await {
            if let Err(error) = ended {
                let text = format!("internal error: a host's worker ended: {error}");
                self.run.tell(EventKind::Warning { text, place: None });
            }
        }
        let lost = lock(&self.run.lost);
        batch.stops.aborted.load(Ordering::Acquire) || batch.hosts.iter().all(|h| lost.contains_key(h))
    }

    /// Brings `ansible_play_hosts` and `ansible_play_batch` up to date.
    pub(super) fn refresh_info(&self, batch: &Batch) {
        let mut out: HashSet<Arc<str>> = lock(&self.run.lost).keys().cloned().collect();
        out.extend(lock(&self.gone).iter().cloned());
        let left =
            |hosts: &[Arc<str>]| hosts.iter().filter(|h| !out.contains(*h)).cloned().collect::<Vec<_>>();
        let (left, here) = (left(&self.hosts_all), left(&batch.hosts));
        let info = self.state.get().with_hosts(&left, &here);
        self.state.set(info);
    }

    /// A host has failed for good or cannot be reached.
    pub(super) fn lose(&self, batch: &Batch, host: &Arc<str>, why: Lost) {
        self.run.lose(host, why);
        self.remove(batch, host);
    }

    /// A host takes no further part in the play.
    pub(super) fn remove(&self, batch: &Batch, host: &Arc<str>) {
        lock(&self.gone).insert(Arc::clone(host));
        self.refresh_info(batch);
    }

    /// A task made ready, once for all hosts.
    pub(super) fn prepared(&self, task: &Task) -> Arc<Prepared> {
        let key = (Arc::clone(&task.path), task.role.as_ref().map_or(0, |r| Arc::as_ptr(r) as usize));
        if let Some(known) = self.prepared.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key)
        {
            return Arc::clone(known);
        }
        let mut bases = Vec::new();
        if let Some(role) = &task.role {
            bases.push(role.path.clone());
        }
        for base in [&task.directory, &self.play.directory] {
            if !bases.contains(base) {
                bases.push(base.clone());
            }
        }
        let environment = (!task.settings.environment.is_empty()).then(|| {
            let span = task.settings.environment[0].span;
            Arc::new(Node { span, value: Yaml::Seq(task.settings.environment.clone()) })
        });
        let parts = Arc::new(ScopeParts {
            play: Some(self.vars()),
            play_state: Some(Arc::clone(&self.state)),
            role: task.role.as_ref().map(|r| self.role_vars(r)),
            task: task.vars.clone(),
            include_params: task.include_params.clone(),
            environment,
            search: SearchPath { bases },
        });
        let prepared = Arc::new(Prepared::of(self, task, parts));
        let mut known = self.prepared.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(known.entry(key).or_insert(prepared))
    }

    /// Makes an included role's variables visible to the whole play (`public: true`).
    pub(super) fn publish(&self, role: &Arc<Role>) {
        let mut published = self.published.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut vars = (**published).clone();
        for role in public_roles(std::slice::from_ref(role)) {
            vars.role_defaults.extend(&Table::of([&*role.defaults]));
            vars.role_vars.extend(&Table::of([&*role.file_vars]));
        }
        *published = Arc::new(vars);
        // Scopes made before do not know the role yet.
        self.prepared.write().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// The play's variables as they are now.
    pub(super) fn vars(&self) -> Arc<PlayVars> {
        Arc::clone(&self.published.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn role_vars(&self, role: &Arc<Role>) -> Arc<RoleVars> {
        let key = Arc::as_ptr(role) as usize;
        if let Some((_, vars)) = lock(&self.roles).get(&key) {
            return Arc::clone(vars);
        }
        let vars = Arc::new(compile_role(role));
        lock(&self.roles).insert(key, (Arc::clone(role), Arc::clone(&vars)));
        vars
    }

    /// The barrier before a task; remembered, because every host asks.
    pub(super) fn barrier(&self, task: &Task) -> Barrier {
        self.barrier_of(task, &self.prepared(task))
    }

    pub(super) fn barrier_of(&self, task: &Task, prepared: &Prepared) -> Barrier {
        let look = || {
            if self.run.inputs.options.step {
                return Some((BarrierReason::Play { keyword: "--step" }, self.play.span));
            }
            let looks = &self.run.inputs.plan.looks;
            barrier_of(&self.play, task, looks).or_else(|| {
                let inferred = self.play.strategy == Strategy::Inferred;
                let bases = &prepared.parts.search.bases;
                inferred.then(|| super::template_looks::barrier(task, bases, looks)).flatten()
            })
        };
        let find = || {
            if let Some(known) = lock(&self.barriers).get(&task.path) {
                return known.clone();
            }
            let found = look();
            lock(&self.barriers).insert(Arc::clone(&task.path), found.clone());
            found
        };
        prepared.barrier.get_or_init(find).clone()
    }
}

/// What a role adds to its tasks: its dependencies below, those that brought it in further below.
fn compile_role(role: &Role) -> RoleVars {
    let mut dependencies = Vec::new();
    collect_dependencies(role, &mut dependencies);
    let parents: Vec<&Role> = role.parents.iter().rev().map(|p| &**p).collect();
    RoleVars {
        name: role.name.clone(),
        full_name: role.name.clone(),
        path: role.path.clone(),
        parents: if role.dependency {
            Vec::new()
        } else {
            role.parents.iter().map(|p| (p.name.clone(), p.path.clone())).collect()
        },
        defaults: Table::of(
            dependencies
                .iter()
                .chain(&parents)
                .copied()
                .chain([role])
                .map(|r| &*r.defaults)
                .collect::<Vec<_>>(),
        ),
        vars: Table::of(
            parents.iter().chain(&dependencies).copied().chain([role]).map(|r| &*r.vars).collect::<Vec<_>>(),
        ),
        params: Table::of(parents.iter().copied().chain([role]).map(|r| &*r.params).collect::<Vec<_>>()),
    }
}

fn collect_dependencies<'a>(role: &'a Role, into: &mut Vec<&'a Role>) {
    for dependency in &role.dependencies {
        collect_dependencies(dependency, into);
        into.push(dependency);
    }
}

/// The play's roles with their dependencies, each before the role that needs it.
fn public_roles(roles: &[Arc<Role>]) -> Vec<&Role> {
    let mut all = Vec::new();
    for role in roles {
        collect_dependencies(role, &mut all);
        all.push(role);
    }
    all
}

fn bare_text(inputs: &super::state::Inputs, text: &str, scope: &Arc<dyn Scope>) -> Option<String> {
    let value = inputs.templates.text(text, None, scope).ok()?;
    crate::template::to_text(&value).ok()
}

/// Text values of a value that is one text or a list of them.
pub(super) fn strings(value: &Value) -> Vec<String> {
    match value.as_str() {
        Some(text) => vec![text.to_owned()],
        None => match value.try_iter() {
            Ok(items) => items.flat_map(|v| strings(&v)).collect(),
            Err(_) => vec![value.to_string()],
        },
    }
}

fn order(hosts: &mut [Arc<str>], order: Order) {
    match order {
        Order::Inventory => {}
        Order::ReverseInventory => hosts.reverse(),
        Order::Sorted => hosts.sort(),
        Order::ReverseSorted => {
            hosts.sort();
            hosts.reverse();
        }
        Order::Shuffle => {
            // Random bytes decide; a run that must be repeated exactly does not ask for `shuffle`.
            let mut keyed: Vec<_> = hosts.iter().map(|h| (uuid::Uuid::new_v4(), Arc::clone(h))).collect();
            keyed.sort();
            for (slot, (_, host)) in hosts.iter_mut().zip(keyed) {
                *slot = host;
            }
        }
    }
}

/// The sizes of the batches that `serial` asks for; the last size repeats, as in Ansible.
fn batch_sizes(
    play: &Play,
    hosts: usize,
    inputs: &super::state::Inputs,
    scope: &Arc<dyn Scope>,
) -> Result<Vec<usize>, PlayFault> {
    let Some(node) = &play.serial else { return Ok(vec![hosts]) };
    let value =
        inputs.templates.node(node, scope).map_err(|e| PlayFault { text: e.to_string(), at: node.span })?;
    let wanted = match value.kind() {
        minijinja::value::ValueKind::Seq => value.try_iter().map(Iterator::collect).unwrap_or_default(),
        _ => vec![value],
    };
    let mut sizes = Vec::new();
    for one in wanted {
        sizes.push(batch_size(&one.to_string(), hosts).ok_or_else(|| PlayFault {
            text: format!("`serial` must be a number of hosts, a percentage or `quorum`, not `{one}`"),
            at: node.span,
        })?);
    }
    let mut out = Vec::new();
    let mut left = hosts;
    let mut wanted = sizes.into_iter().peekable();
    let mut size = hosts;
    while left > 0 {
        if let Some(next) = wanted.next() {
            size = next;
        }
        let take = if size == 0 { left } else { size.min(left) };
        out.push(take);
        left -= take;
    }
    Ok(out)
}

/// `3`, `30%`; zero and less mean all hosts. A percentage is rounded down, but never to nothing.
fn batch_size(text: &str, hosts: usize) -> Option<usize> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().ok()?;
        let size = (percent / 100.0 * hosts as f64) as usize;
        return Some(size.max(1));
    }
    let number: i64 = text.trim().parse().ok()?;
    Some(usize::try_from(number).unwrap_or(0))
}

/// Reads `vars_files`; an entry that is a list takes the first file that exists.
fn vars_files(
    templates: &Templates,
    resolver: &Resolver,
    play: &Play,
    scope: &Arc<dyn Scope>,
) -> Result<Table, PlayFault> {
    let mut table = Table::default();
    for entry in &play.vars_files {
        let fault = |e: crate::template::TemplateError| PlayFault { text: e.to_string(), at: entry.span };
        let names = strings(&templates.node(entry, scope).map_err(fault)?);
        let tried: Vec<PathBuf> = names
            .iter()
            .flat_map(|n| [play.directory.join("vars").join(n), play.directory.join(n)])
            .collect();
        let Some(path) = tried.iter().find(|p| p.is_file()) else {
            return Err(PlayFault {
                text: format!("no vars file `{}` in {}", names.join("`, `"), play.directory.display()),
                at: entry.span,
            });
        };
        let layer = resolver.vars_file(path, entry.span).map_err(|found| PlayFault {
            text: found.list.first().map_or_else(String::new, |d| d.message.clone()),
            at: entry.span,
        })?;
        table.extend(&Table::of([&layer]));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::batch_size;

    #[test]
    fn batch_sizes_follow_ansible() {
        for (text, size) in
            [("2", Some(2)), ("0", Some(0)), ("-1", Some(0)), ("30%", Some(3)), ("1%", Some(1)), ("x", None)]
        {
            assert_eq!(batch_size(text, 10), size, "{text}");
        }
    }
}
