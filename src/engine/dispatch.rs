//! From a task to the module or action that does it.
//!
//! Owns: rendered arguments, module defaults, the environment, which host a step goes to. Must not: judge results.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use dcos_play_agent::options::{Repeat, Spec};
use serde_json::{Map, Value as Json};

use super::background::Job;
use super::prepared::Prepared;
use super::remote::StepRemote;
use super::resume::{Known, Prints};
use super::task::Keywords;
use super::unknown;
use super::walk::Walker;
use crate::actions::{Context, Effect, Stop};
use crate::connection::{Fault, FaultKind, Seat};
use crate::journal::{StepId, look};
use crate::resolve::{ActionKind, Arguments, Task, names_module};
use crate::source::{Node, Spanned, Yaml};
use crate::template::{Scope, TemplateError, Value, is_omit, is_unknown};
use crate::vars::TaskScope;

/// Facts, with the host they belong to when it is not the task's own.
pub(super) type Facts = (Option<Arc<str>>, Map<String, Json>);

/// A finished step and what it leaves behind.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) result: Map<String, Json>,
    pub(super) effects: Vec<Effect>,
    /// Facts that a module found, each with the host they belong to when it is not the task's own.
    pub(super) facts: Vec<Facts>,
    /// What `set_fact` with `delegate_facts` sets on another host.
    pub(super) set_elsewhere: Vec<(Arc<str>, Effect)>,
}

impl Done {
    pub(super) fn plain(result: Map<String, Json>) -> Self {
        Self { result, ..Self::default() }
    }
}

/// What a finished step leaves behind, shared by all who want to know of it.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    pub(super) result: Arc<Map<String, Json>>,
    pub(super) effects: Vec<Effect>,
    pub(super) facts: Vec<Facts>,
    pub(super) set_elsewhere: Vec<(Arc<str>, Effect)>,
}

impl From<Done> for Legacy {
    fn from(done: Done) -> Self {
        let Done { result, effects, facts, set_elsewhere } = done;
        Self { result: Arc::new(result), effects, facts, set_elsewhere }
    }
}

/// How one attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    Done(Done),
    Failed(Map<String, Json>),
    Unreachable(Fault),
    Cancelled,
}

/// One task on one host, with its keywords rendered.
pub(super) struct Pass<'a> {
    pub(super) walker: &'a Walker,
    pub(super) task: &'a Arc<Task>,
    pub(super) prepared: &'a Prepared,
    pub(super) keywords: &'a Keywords,
    pub(super) step: StepId,
    pub(super) prints: &'a Prints,
    /// Only find out what would be sent.
    pub(super) verify: bool,
    /// The step of an interrupted run whose calls may be collected.
    pub(super) collect: Option<String>,
    /// The user says that an interrupted step is to be repeated.
    pub(super) repeat: bool,
    pub(super) seat: Seat,
}

/// Why a step could not be put together.
pub(super) enum Unready {
    Template(TemplateError),
    Text(String),
}

impl From<TemplateError> for Unready {
    fn from(error: TemplateError) -> Self {
        Self::Template(error)
    }
}

impl Pass<'_> {
    /// Keeps in the fingerprint that the condition did not hold.
    pub(super) fn skipped(&self) {
        if self.prints.is_new() {
            self.prints.begin(Known::skipped());
        } else {
            self.prints.feed(b"skipped");
        }
    }

    /// Runs one attempt.
    pub(super) async fn run(&self, scope: &Arc<TaskScope>, item: Option<usize>, attempt: u32) -> Ended {
        match self.try_run(scope, item, attempt).await {
            Ok(ended) => ended,
            Err(Unready::Template(error)) => self.walker.template_end(&error),
            Err(Unready::Text(text)) => {
                let mut result = Map::new();
                result.insert("failed".into(), true.into());
                result.insert("msg".into(), text.into());
                Ended::Failed(result)
            }
        }
    }

    async fn try_run(
        &self,
        scope: &Arc<TaskScope>,
        item: Option<usize>,
        attempt: u32,
    ) -> Result<Ended, Unready> {
        let walker = self.walker;
        let run = &walker.playing.run;
        let task = self.task;
        let shared: Arc<dyn Scope> = Arc::clone(scope) as _;
        let delegate = self.delegate(&shared)?;
        let host = delegate.clone().unwrap_or_else(|| Arc::clone(&walker.host));
        let target = walker.target(task, self.prepared, scope, &host)?;
        let number = item.unwrap_or(0);
        let earlier = self.collect.as_ref().filter(|_| attempt == 1).map(|step| format!("{step}/{number}/1"));
        // In check mode nothing is started that could go on by itself.
        let job = if self.keywords.check {
            None
        } else {
            let key = || key(&run.inputs.run, &walker.host, self.step, number, attempt);
            walker.job(task, &shared, &|| earlier.clone().unwrap_or_else(key))?
        };
        if job.is_some() && !can_go_on(&task.action) {
            return Err(Unready::Text(format!("This action ({}) does not support async.", task.action.name)));
        }
        let remote = StepRemote {
            same_for_all: item.is_none()
                && self.prepared.arguments.is_some()
                && self.task.settings.environment.is_empty(),
            prepared: self.prepared,
            run,
            background: job.as_ref().map(Job::request),
            seat: self.seat.clone(),
            target,
            host: &walker.host,
            step: self.step,
            number,
            attempt,
            calls: std::sync::atomic::AtomicU32::new(0),
            check: self.keywords.check,
            diff: self.keywords.diff,
            no_log: self.keywords.no_log,
            environment: self.environment(&shared)?,
            timeout: self.timeout(&shared)?,
            // One print for each item: what the first attempt sends first.
            prints: (attempt == 1).then_some(self.prints),
            verify: self.verify,
            collect: earlier.filter(|_| job.is_none()).map(|step| format!("{step}/0")),
            repeat: self.repeat,
        };
        let ended = match &task.action.kind {
            ActionKind::Module(spec) => {
                let args = self.arguments(Some(spec), &shared)?;
                let sent = remote.send(
                    spec.name,
                    args,
                    Vec::new(),
                    self.keywords.check,
                    spec.repeat == Repeat::Safe,
                );
                match sent.await {
                    Ok(reply) => Ended::Done(Done::plain(reply.result)),
                    Err(fault) => Ended::Unreachable(fault),
                }
            }
            ActionKind::Custom(path) => {
                let args = Arc::unwrap_or_clone(self.arguments(None, &shared)?);
                let run = &walker.playing.run.inputs;
                let python =
                    run.templates.expression("ansible_python_interpreter | default('')", None, &shared)?;
                let mut wrapped = Map::new();
                wrapped.insert("_args".into(), Json::Object(args));
                wrapped.insert("_name".into(), (*task.action.name).into());
                wrapped.insert("_interpreter".into(), python.to_string().into());
                wrapped.insert("_verbosity".into(), run.options.verbosity.into());
                let upload = ("_path".to_owned(), crate::connection::Content::File(path.clone()));
                match remote
                    .send("_custom", Arc::new(wrapped), vec![upload], self.keywords.check, false)
                    .await
                {
                    Ok(reply) => Ended::Done(Done::plain(reply.result)),
                    Err(fault) => Ended::Unreachable(fault),
                }
            }
            ActionKind::Controller(spec) => self.action(spec, &remote, &shared).await?,
            ActionKind::Meta(_) | ActionKind::IncludeTasks | ActionKind::IncludeRole => {
                return Err(Unready::Text(
                    "internal error: an include or meta action was run as a step".to_owned(),
                ));
            }
        };
        let ended = match &job {
            Some(job) if !self.verify => walker.follow(job, &remote, ended).await,
            _ => ended,
        };
        Ok(self.finish(ended, delegate.as_ref(), &shared))
    }

    async fn action(
        &self,
        spec: &'static Spec,
        remote: &StepRemote<'_>,
        scope: &Arc<dyn Scope>,
    ) -> Result<Ended, Unready> {
        let run = &self.walker.playing.run;
        let Some(action) = self.prepared.action else {
            return Err(Unready::Text(format!("internal error: the action `{}` has no code", spec.name)));
        };
        let args = if action.renders_itself() {
            let feed = |prints: &Prints| {
                for (name, node) in &self.task.action.args.entries {
                    prints.feed(name.value.as_bytes());
                    prints.feed_node(node);
                }
                prints.feed(b"{}");
            };
            if self.prints.is_new() {
                self.prints.begin(self.prepared.written.get_or_init(|| Known::of(feed)));
            } else {
                feed(self.prints);
            }
            Map::new()
        } else {
            let raw = Arc::unwrap_or_clone(self.arguments(Some(spec), scope)?);
            let args = spec.coerce(raw).map_err(|faults| {
                Unready::Text(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            })?;
            self.prints.feed(&serde_json::to_vec(&args).unwrap_or_default());
            args
        };
        if self.verify && action.renders_itself() {
            return Ok(Ended::Done(Done::default()));
        }
        if !self.verify && !action.acts_remotely() && !run.commit() {
            return Ok(Ended::Cancelled);
        }
        let raw = self.with_defaults(spec);
        let context = Context {
            templates: &run.inputs.templates,
            scope: Arc::clone(scope),
            remote,
            check: self.keywords.check,
            diff: self.keywords.diff,
            playbook_directory: &self.walker.playing.play.directory,
            raw: &raw,
            sources: &run.inputs.sources,
            role_directory: self.task.role.as_ref().map(|r| &*r.path),
            task_directory: &self.task.directory,
            host: Arc::clone(&self.walker.host),
            local: remote.target.via == crate::connection::Via::Local,
            verbosity: run.inputs.options.verbosity,
            vault: run.inputs.vault.clone(),
            console: run.inputs.console.as_deref(),
            clock: &*run.clock,
            clouds: run.inputs.options.clouds,
            allow_replace: run.inputs.options.allow_replace,
            replace: &run.inputs.options.replace,
        };
        let mut interrupts = run.interrupts.clone();
        let ended = tokio::select! {
            ended = action.run(&context, args) => ended,
            // Waiting actions (pause, reboot) give way to the second Ctrl-C; modules are cancelled on their host.
            _ = interrupts.wait_for(|n| *n > 1) => return Ok(Ended::Cancelled),
        };
        Ok(match ended {
            Ok(done) => Ended::Done(Done { result: done.result, effects: done.effects, ..Done::default() }),
            Err(Stop::Failed(mut result)) => {
                result.insert("failed".into(), true.into());
                result.entry("changed").or_insert(false.into());
                Ended::Failed(result)
            }
            Err(Stop::Unreachable(fault)) if fault.kind == FaultKind::Cancelled => Ended::Cancelled,
            Err(Stop::Unreachable(fault)) => Ended::Unreachable(fault),
            Err(Stop::Template(error)) => self.walker.template_end(&error),
            Err(Stop::Unknown(why)) => Ended::Done(Done::plain(not_known(&why))),
        })
    }

    /// Adds what every result has, and turns facts into effects.
    fn finish(&self, ended: Ended, delegate: Option<&Arc<str>>, scope: &Arc<dyn Scope>) -> Ended {
        let named = |result: &mut Map<String, Json>| {
            let Some(host) = delegate else { return };
            let mut more = Map::new();
            more.insert("ansible_delegated_host".into(), (**host).into());
            result.insert("_ansible_delegated_vars".into(), Json::Object(more));
        };
        let mut done = match ended {
            Ended::Done(done) => done,
            Ended::Failed(mut result) => {
                named(&mut result);
                return Ended::Failed(result);
            }
            Ended::Unreachable(fault) if fault.kind == FaultKind::Cancelled => return Ended::Cancelled,
            other => return other,
        };
        // A pause tells what it did in words; they are no program's output.
        if &*self.task.action.name != "pause" {
            add_lines(&mut done.result);
        }
        named(&mut done.result);
        if self.keywords.check {
            unknown::mark(self.task, &mut done.result);
            unknown::mark_set(&mut done.result, &done.effects);
        }
        if self.walker.change_inventory(self.task, &done.effects) {
            done.result.insert("changed".into(), true.into());
        }
        let to_delegate = delegate.filter(|_| {
            let node = self.task.settings.delegate_facts.as_ref();
            node.is_some_and(|n| {
                self.walker.playing.run.inputs.templates.condition(n, scope).unwrap_or(false)
            })
        });
        if let Some(host) = to_delegate {
            let all = std::mem::take(&mut done.effects);
            let (set, rest): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|effect| matches!(effect, Effect::SetFact { .. }));
            done.effects = rest;
            done.set_elsewhere.extend(set.into_iter().map(|effect| (Arc::clone(host), effect)));
        }
        let own_facts = matches!(self.task.action.kind, ActionKind::Module(_) | ActionKind::Custom(_))
            || &*self.task.action.name == "gather_facts";
        if own_facts && let Some(Json::Object(facts)) = look(&done.result, "ansible_facts") {
            done.facts.push((to_delegate.cloned(), facts.clone()));
        }
        Ended::Done(done)
    }

    fn delegate(&self, scope: &Arc<dyn Scope>) -> Result<Option<Arc<str>>, Unready> {
        let Some(node) = &self.task.settings.delegate_to else { return Ok(None) };
        let value = known(self.walker.playing.run.inputs.templates.node(node, scope)?)?;
        if is_omit(&value) {
            return Ok(None);
        }
        let name = crate::template::to_text(&value)?;
        if name.trim().is_empty() {
            return Err(Unready::Text("`delegate_to` is empty".to_owned()));
        }
        self.walker.playing.run.inputs.store.ensure_localhost(&name);
        Ok(Some(name.into()))
    }

    fn timeout(&self, scope: &Arc<dyn Scope>) -> Result<Option<Duration>, Unready> {
        let run = &self.walker.playing.run;
        let Some(node) = &self.task.settings.timeout else { return Ok(run.inputs.options.task_timeout) };
        let value = known(run.inputs.templates.node(node, scope)?)?;
        match value.to_string().parse::<f64>() {
            Ok(seconds) if seconds > 0.0 => Ok(Some(Duration::from_secs_f64(seconds.min(1e9)))),
            Ok(_) => Ok(None),
            Err(_) => Err(Unready::Text(format!("`timeout` must be a number of seconds, not `{value}`"))),
        }
    }

    fn environment(&self, scope: &Arc<dyn Scope>) -> Result<Arc<[(String, String)]>, Unready> {
        if self.task.settings.environment.is_empty() {
            return Ok(Arc::default());
        }
        let mut all: Vec<(String, String)> = Vec::new();
        for node in &self.task.settings.environment {
            let value = known(self.walker.playing.run.inputs.templates.node(node, scope)?)?;
            let mut stack = vec![value];
            while let Some(value) = stack.pop() {
                match value.kind() {
                    minijinja::value::ValueKind::Map => {
                        for key in value.try_iter().into_iter().flatten() {
                            let text = crate::template::to_text(&value.get_item(&key).unwrap_or_default())?;
                            let name = key.to_string();
                            all.retain(|(n, _)| *n != name);
                            all.push((name, text));
                        }
                    }
                    minijinja::value::ValueKind::Seq => {
                        let mut inner: Vec<Value> =
                            value.try_iter().map(Iterator::collect).unwrap_or_default();
                        inner.reverse();
                        stack.extend(inner);
                    }
                    minijinja::value::ValueKind::Undefined | minijinja::value::ValueKind::None => {}
                    _ if is_omit(&value) || value.as_str().is_some_and(str::is_empty) => {}
                    _ => {
                        return Err(Unready::Text(format!("`environment` must be a mapping, not `{value}`")));
                    }
                }
            }
        }
        Ok(all.into())
    }

    /// The task's arguments over its module defaults, rendered; options given as `omit` are left out.
    fn arguments(
        &self,
        spec: Option<&'static Spec>,
        scope: &Arc<dyn Scope>,
    ) -> Result<Arc<Map<String, Json>>, Unready> {
        if let Some(args) = &self.prepared.arguments {
            return Ok(Arc::clone(args));
        }
        let mut args = Map::with_capacity(self.task.action.args.entries.len());
        let written = &self.task.action.args;
        for node in &self.task.settings.module_defaults {
            if let Yaml::Map(map) = &node.value {
                for entry in &map.entries {
                    let Some(name) = entry.key.as_str() else { continue };
                    if names_module(name, spec, &self.task.action.name) {
                        self.add_rendered(&mut args, &entry.value, spec, scope)?;
                    }
                }
            }
        }
        if let Some(whole) = &written.whole {
            self.add_rendered(&mut args, whole, spec, scope)?;
        }
        self.add_entries(&mut args, written, scope)?;
        Ok(Arc::new(args))
    }

    /// The arguments as written, module defaults added, for actions that render their own.
    fn with_defaults(&self, spec: &'static Spec) -> Cow<'_, Arguments> {
        let written = &self.task.action.args;
        if self.task.settings.module_defaults.is_empty() {
            return Cow::Borrowed(written);
        }
        let mut entries = written.entries.clone();
        // The innermost comes last and wins.
        for node in self.task.settings.module_defaults.iter().rev() {
            let Yaml::Map(map) = &node.value else { continue };
            for entry in &map.entries {
                let named =
                    entry.key.as_str().is_some_and(|n| names_module(n, Some(spec), &self.task.action.name));
                let Yaml::Map(options) = &entry.value.value else { continue };
                for option in options.entries.iter().filter(|_| named) {
                    let Some(name) = option.key.as_str() else { continue };
                    if !entries.iter().any(|(known, _)| known.value == name) {
                        entries.push((
                            Spanned { value: name.to_owned(), span: option.key.span },
                            option.value.clone(),
                        ));
                    }
                }
            }
        }
        Cow::Owned(Arguments { span: written.span, entries, whole: written.whole.clone() })
    }

    fn add_entries(
        &self,
        args: &mut Map<String, Json>,
        written: &Arguments,
        scope: &Arc<dyn Scope>,
    ) -> Result<(), Unready> {
        for (name, node) in &written.entries {
            if let Some(value) = constant(node) {
                args.insert(name.value.clone(), value);
                continue;
            }
            let value = known(self.walker.playing.run.inputs.templates.node(node, scope)?)?;
            if is_omit(&value) {
                args.remove(&name.value);
                continue;
            }
            args.insert(name.value.clone(), to_json(&value)?);
        }
        Ok(())
    }

    /// Adds a mapping known as a whole (`args: "{{ x }}"`, module defaults), aliases turned into names.
    fn add_rendered(
        &self,
        args: &mut Map<String, Json>,
        node: &Node,
        spec: Option<&'static Spec>,
        scope: &Arc<dyn Scope>,
    ) -> Result<(), Unready> {
        let value = known(self.walker.playing.run.inputs.templates.node(node, scope)?)?;
        if value.is_undefined() || value.is_none() || is_omit(&value) {
            return Ok(());
        }
        match to_json(&value)? {
            Json::Object(map) => {
                for (name, value) in map {
                    let canonical = spec.and_then(|s| s.option(&name)).map_or(name, |o| o.name.to_owned());
                    args.insert(canonical, value);
                }
                Ok(())
            }
            other => Err(Unready::Text(format!("the task's arguments must be a mapping, not `{other}`"))),
        }
    }
}

/// Begins the keys of a step's calls.
pub(super) fn key(run: &str, host: &str, step: StepId, number: usize, attempt: u32) -> String {
    format!("{run}/{host}/{step}/{number}/{attempt}")
}

/// Whether an action is one call of a module, which the host can go on with alone.
fn can_go_on(action: &crate::resolve::Action) -> bool {
    match &action.kind {
        ActionKind::Module(spec) => spec.name != "async_status",
        ActionKind::Custom(_) => true,
        ActionKind::Controller(spec) => spec.name == "uri",
        ActionKind::Meta(_) | ActionKind::IncludeTasks | ActionKind::IncludeRole => false,
    }
}

/// The JSON of a node in which nothing has to be rendered: most arguments of most tasks.
pub(super) fn constant(node: &Node) -> Option<Json> {
    Some(match &node.value {
        Yaml::Null => Json::Null,
        Yaml::Bool(flag) => (*flag).into(),
        Yaml::Int(number) => (*number).into(),
        Yaml::Str(text) if !crate::template::template_text(text) => (**text).into(),
        Yaml::Unsafe(text) => (**text).into(),
        Yaml::Seq(items) => Json::Array(items.iter().map(constant).collect::<Option<_>>()?),
        Yaml::Map(map) => {
            let entry = |e: &crate::source::Entry| {
                let name = e.key.as_str().filter(|name| !crate::template::template_text(name))?;
                Some((name.to_owned(), constant(&e.value)?))
            };
            Json::Object(map.entries.iter().map(entry).collect::<Option<_>>()?)
        }
        Yaml::Float(_) | Yaml::Str(_) | Yaml::Vault(_) => return None,
    })
}

/// The value, if check mode can know it.
pub(super) fn known(value: Value) -> Result<Value, TemplateError> {
    if is_unknown(&value) {
        return Err(TemplateError::new(
            crate::template::ErrorKind::Unknown,
            "the value is unknown in check mode, it depends on a change that was not made",
        ));
    }
    Ok(value)
}

/// A rendered value as JSON.
pub(super) fn to_json(value: &Value) -> Result<Json, TemplateError> {
    serde_json::to_value(value).map_err(|e| {
        TemplateError::new(
            crate::template::ErrorKind::Type,
            format!("a value cannot be sent to the host: {e}"),
        )
    })
}

/// A result that check mode cannot know.
pub(super) fn not_known(why: &str) -> Map<String, Json> {
    let mut result = Map::new();
    result.insert("skipped".into(), true.into());
    result.insert("changed".into(), false.into());
    result.insert(crate::journal::UNKNOWN.into(), true.into());
    result.insert("msg".into(), format!("not known before a real run: {why}").into());
    result
}

/// Adds `stdout_lines` and `stderr_lines`, as Ansible's controller does.
fn add_lines(result: &mut Map<String, Json>) {
    for (from, to) in [("stdout", "stdout_lines"), ("stderr", "stderr_lines")] {
        if let Some(Json::String(text)) = look(result, from)
            && look(result, to).is_none()
        {
            let lines = text.lines().map(|l| Json::String(l.to_owned())).collect();
            result.insert(to.to_owned(), Json::Array(lines));
        }
    }
}

/// What a value is, in words.
pub(super) fn kind_of(value: &Value) -> String {
    use minijinja::value::ValueKind as Kind;
    match value.kind() {
        Kind::Undefined => "something undefined".to_owned(),
        Kind::None => "nothing".to_owned(),
        Kind::Bool => "a boolean".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::String => "text".to_owned(),
        Kind::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// JSON from a host as a value for templates: data, never rendered.
pub(super) fn data(json: impl serde::Serialize) -> Value {
    Value::from(minijinja::value::Serde(json))
}
