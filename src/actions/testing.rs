//! A stage for tests of actions: a scripted host, a clock that never waits, variables in a map.
//!
//! Owns: nothing outside tests.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json, json};

use super::controls::{Answer, Console};
use super::{Clock, Context, Done, Remote, Stop, WithBlob};
use crate::connection::{Content, Fault, FaultKind, RawOutput};
use crate::resolve::Arguments;
use crate::source::{Entry, Mapping, Node, Sources, Span, Spanned, Yaml};
use crate::template::{Options, Scope, SearchPath, Templates, Value, Var, VaultOpener};

/// A module call that an action made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) module: String,
    pub(super) args: Map<String, Json>,
    pub(super) uploads: Vec<(String, Vec<u8>)>,
    /// Would have run in check mode too.
    pub(super) always: bool,
}

impl Call {
    pub(super) fn upload_bytes(&self, option: &str) -> Vec<u8> {
        self.uploads.iter().find(|(o, _)| o == option).map(|(_, b)| b.clone()).expect("an upload")
    }

    pub(super) fn upload(&self, option: &str) -> String {
        String::from_utf8(self.upload_bytes(option)).expect("text")
    }
}

#[derive(Clone)]
enum Reaction {
    Answer(Json, Vec<u8>),
    Fault(Fault),
    Hang,
}

#[derive(Default)]
struct Script {
    reactions: HashMap<String, VecDeque<Reaction>>,
    always: HashMap<String, Reaction>,
    calls: Vec<Call>,
    raw: VecDeque<RawOutput>,
    raw_lines: Vec<String>,
    /// The last one stays.
    boots: VecDeque<Result<String, Fault>>,
    resets: usize,
    said: Vec<String>,
    reboots: Vec<(String, String)>,
    answers: Option<Answer>,
    questions: Vec<String>,
    /// The agent's own modules answer, on this machine.
    real: Option<Real>,
}

#[derive(Clone, Copy)]
struct Real {
    check: bool,
    diff: bool,
}

impl Real {
    fn react(self, mut call: Call) -> (Map<String, Json>, Vec<u8>) {
        let spool = tempfile::tempdir().expect("a folder");
        for (at, (option, bytes)) in call.uploads.iter().enumerate() {
            let path = spool.path().join(at.to_string());
            fs_err::write(&path, bytes).expect("written");
            call.args.insert(option.clone(), path.display().to_string().into());
        }
        let runner = dcos_play_agent::runner::Local::new();
        let host = dcos_play_agent::modules::Host {
            check: self.check && !call.always,
            diff: self.diff,
            environment: &[],
            runner: &runner,
        };
        dcos_play_agent::modules::run(&call.module, call.args, &host).expect("a module")
    }
}

#[derive(Default, Clone)]
struct Shared(Arc<Mutex<Script>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn react(&self, call: Call) -> Option<Result<WithBlob, Fault>> {
        let mut script = self.lock();
        let module = call.module.clone();
        script.calls.push(call.clone());
        if let Some(real) = script.real {
            return Some(Ok(real.react(call)));
        }
        let next = script.reactions.get_mut(&module).and_then(VecDeque::pop_front);
        match next.or_else(|| script.always.get(&module).cloned()) {
            Some(Reaction::Answer(Json::Object(map), blob)) => Some(Ok((map, blob))),
            Some(Reaction::Fault(fault)) => Some(Err(fault)),
            Some(Reaction::Hang) => None,
            other => panic!("no answer scripted for `{module}`: {}", other.is_some()),
        }
    }
}

async fn or_hang<T>(value: Option<T>) -> T {
    match value {
        Some(value) => value,
        None => std::future::pending().await,
    }
}

impl Remote for Shared {
    fn module<'a>(
        &'a self,
        module: &'a str,
        args: Map<String, Json>,
        uploads: Vec<(String, Content)>,
    ) -> BoxFuture<'a, Result<Map<String, Json>, Fault>> {
        let uploads = uploads
            .into_iter()
            .map(|(option, content)| match content {
                Content::Bytes(bytes) => (option, bytes.to_vec()),
                Content::File(path) => (option, fs_err::read(path).expect("readable")),
            })
            .collect();
        let reaction = self.react(Call { module: module.to_owned(), args, uploads, always: false });
        async move { Ok(or_hang(reaction).await?.0) }.boxed()
    }

    fn module_always<'a>(
        &'a self,
        module: &'a str,
        args: Map<String, Json>,
    ) -> BoxFuture<'a, Result<WithBlob, Fault>> {
        let reaction =
            self.react(Call { module: module.to_owned(), args, uploads: Vec::new(), always: true });
        or_hang(reaction).boxed()
    }

    fn raw<'a>(&'a self, command: &'a str, _: Option<Duration>) -> BoxFuture<'a, Result<RawOutput, Fault>> {
        let mut script = self.lock();
        script.raw_lines.push(command.to_owned());
        let output = script.raw.pop_front().expect("an output is scripted");
        async move { Ok(output) }.boxed()
    }

    fn reset(&self) -> BoxFuture<'_, ()> {
        self.lock().resets += 1;
        async {}.boxed()
    }

    fn boot_id(&self) -> BoxFuture<'_, Result<String, Fault>> {
        let mut script = self.lock();
        let next =
            if script.boots.len() > 1 { script.boots.pop_front() } else { script.boots.front().cloned() };
        let next = next.expect("a boot id is scripted");
        async move { next }.boxed()
    }

    fn busy(&self, what: &str) {
        self.lock().said.push(what.to_owned());
    }

    fn rebooted(&self, before: &str, after: &str, _: Duration) {
        self.lock().reboots.push((before.to_owned(), after.to_owned()));
    }
}

impl Console for Shared {
    fn ask<'a>(&'a self, text: &'a str, _: bool) -> BoxFuture<'a, Answer> {
        let mut script = self.lock();
        script.questions.push(text.to_owned());
        let answer = script.answers.clone().expect("an answer is scripted");
        async move { answer }.boxed()
    }
}

/// Time passes only by sleeping.
#[derive(Default, Clone)]
struct FakeClock(Arc<Mutex<Duration>>);

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wall(&self) -> jiff::Zoned {
        let now = jiff::Timestamp::from_second(1_700_000_000).expect("a time") + self.now();
        now.to_zoned(jiff::tz::TimeZone::UTC)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        // Only when it is waited for: a deadline that is not reached costs nothing.
        async move { *clock.0.lock().unwrap_or_else(|e| e.into_inner()) += time }.boxed()
    }
}

#[derive(Debug)]
struct MapScope {
    vars: BTreeMap<String, Var>,
    base: PathBuf,
}

impl Scope for MapScope {
    fn get(&self, name: &str) -> Option<Var> {
        self.vars.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.vars.keys().cloned().collect()
    }

    fn search(&self) -> SearchPath {
        SearchPath { bases: vec![self.base.clone()] }
    }
}

/// Everything that an action needs.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    shared: Shared,
    clock: FakeClock,
    vars: BTreeMap<String, Var>,
    sources: Sources,
    span: Span,
    check: bool,
    diff: bool,
    local: bool,
    console: bool,
    vault: Option<VaultOpener>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sources = Sources::new(folder.path().to_owned());
        let file = sources.add(folder.path().join("play.yml"), "- task\n".to_owned());
        Self {
            folder,
            shared: Shared::default(),
            clock: FakeClock::default(),
            vars: BTreeMap::new(),
            sources,
            span: Span { file, start: 0, end: 1 },
            check: false,
            diff: false,
            local: false,
            console: false,
            vault: None,
        }
    }

    /// Asks the agent's own modules from here on; `check` and `diff` are said before.
    pub(super) fn real(self) -> Self {
        self.shared.lock().real = Some(Real { check: self.check, diff: self.diff });
        self
    }

    /// A variable as a user would write it.
    pub(super) fn var(mut self, name: &str, value: Json) -> Self {
        let node = written(&value, self.span);
        self.vars.insert(name.to_owned(), Var::Yaml(Arc::new(node)));
        self
    }

    /// A variable that came from a host.
    pub(super) fn data(mut self, name: &str, value: Json) -> Self {
        self.vars
            .insert(name.to_owned(), Var::Data(serde_json::from_value::<Value>(value).expect("a value")));
        self
    }

    pub(super) fn check(mut self) -> Self {
        self.check = true;
        self
    }

    pub(super) fn diff(mut self) -> Self {
        self.diff = true;
        self
    }

    pub(super) fn local(mut self) -> Self {
        self.local = true;
        self
    }

    pub(super) fn vault(mut self, opened: &str) -> Self {
        let opened = opened.to_owned();
        self.vault = Some(Arc::new(move |_| Ok(opened.clone())));
        self
    }

    pub(super) fn console(mut self, answer: Answer) -> Self {
        self.console = true;
        self.shared.lock().answers = Some(answer);
        self
    }

    fn reaction(self, module: &str, reaction: Reaction) -> Self {
        self.shared.lock().reactions.entry(module.to_owned()).or_default().push_back(reaction);
        self
    }

    pub(super) fn answer(self, module: &str, result: Json) -> Self {
        self.reaction(module, Reaction::Answer(result, Vec::new()))
    }

    pub(super) fn answer_blob(self, module: &str, result: Json, blob: &[u8]) -> Self {
        self.reaction(module, Reaction::Answer(result, blob.to_vec()))
    }

    pub(super) fn unreachable(self, module: &str, why: &str) -> Self {
        self.reaction(
            module,
            Reaction::Fault(Fault { kind: FaultKind::Lost, what: why.to_owned(), next: None }),
        )
    }

    pub(super) fn always(self, module: &str, result: Json) -> Self {
        self.shared.lock().always.insert(module.to_owned(), Reaction::Answer(result, Vec::new()));
        self
    }

    pub(super) fn always_blob(self, module: &str, blob: &[u8]) -> Self {
        let reaction = Reaction::Answer(json!({"eof": true}), blob.to_vec());
        self.shared.lock().always.insert(module.to_owned(), reaction);
        self
    }

    pub(super) fn always_unreachable(self, module: &str, why: &str) -> Self {
        let fault = Fault { kind: FaultKind::Refused, what: why.to_owned(), next: None };
        self.shared.lock().always.insert(module.to_owned(), Reaction::Fault(fault));
        self
    }

    pub(super) fn always_hanging(self, module: &str) -> Self {
        self.shared.lock().always.insert(module.to_owned(), Reaction::Hang);
        self
    }

    pub(super) fn raw_answer(self, rc: i32, stdout: &str) -> Self {
        let output = RawOutput { rc, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() };
        self.shared.lock().raw.push_back(output);
        self
    }

    pub(super) fn boot(self, id: &str) -> Self {
        self.shared.lock().boots.push_back(Ok(id.to_owned()));
        self
    }

    pub(super) fn boot_fault(self, why: &str) -> Self {
        let fault = Fault { kind: FaultKind::Refused, what: why.to_owned(), next: None };
        self.shared.lock().boots.push_back(Err(fault));
        self
    }

    /// Writes a file of the playbook and gives its path.
    pub(super) fn file(&self, name: &str, text: &str) -> String {
        self.bytes(name, text.as_bytes())
    }

    pub(super) fn bytes(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(&path, bytes).expect("written");
        path.display().to_string()
    }

    pub(super) fn folder(&self, name: &str) {
        fs_err::create_dir_all(self.folder.path().join(name)).expect("a folder");
    }

    pub(super) fn link(&self, name: &str, to: &str) {
        std::os::unix::fs::symlink(to, self.folder.path().join(name)).expect("a link");
    }

    pub(super) fn mode(&self, path: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// Folder of the playbook.
    pub(super) fn directory(&self) -> String {
        self.folder.path().display().to_string()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    pub(super) fn raw_lines(&self) -> Vec<String> {
        self.shared.lock().raw_lines.clone()
    }

    pub(super) fn said(&self) -> Vec<String> {
        self.shared.lock().said.clone()
    }

    pub(super) fn questions(&self) -> Vec<String> {
        self.shared.lock().questions.clone()
    }

    pub(super) fn reboots(&self) -> Vec<(String, String)> {
        self.shared.lock().reboots.clone()
    }

    pub(super) fn resets(&self) -> usize {
        self.shared.lock().resets
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now()
    }

    pub(super) async fn run(&self, name: &str, args: Json) -> Result<Done, Stop> {
        let action = super::find(name).expect("an action");
        let Json::Object(args) = args else { panic!("arguments are a mapping") };
        let spanned = |k: &String| Spanned { value: k.clone(), span: self.span };
        let raw = Arguments {
            span: self.span,
            entries: args.iter().map(|(k, v)| (spanned(k), written(v, self.span))).collect(),
            whole: None,
        };
        let args = if action.renders_itself() {
            Map::new()
        } else {
            action.spec().coerce(args).unwrap_or_else(|faults| panic!("arguments of `{name}`: {faults:?}"))
        };
        let templates = Templates::new(Options::default());
        let context = Context {
            templates: &templates,
            scope: Arc::new(MapScope { vars: self.vars.clone(), base: self.folder.path().to_owned() }),
            remote: &self.shared,
            check: self.check,
            diff: self.diff,
            playbook_directory: self.folder.path(),
            raw: &raw,
            sources: &self.sources,
            role_directory: None,
            task_directory: self.folder.path(),
            host: "host1".into(),
            local: self.local,
            verbosity: 0,
            vault: self.vault.clone(),
            console: self.console.then_some(&self.shared),
            clock: &self.clock,
            clouds: false,
            allow_replace: false,
            replace: &[],
        };
        action.run(&context, args).await
    }

    /// The result of a step that works.
    pub(super) async fn result(&self, name: &str, args: Json) -> Json {
        match self.run(name, args).await {
            Ok(done) => Json::Object(done.result),
            Err(stop) => panic!("`{name}` stopped: {stop:?}"),
        }
    }

    /// The result of a step that fails.
    pub(super) async fn failure(&self, name: &str, args: Json) -> Json {
        match self.run(name, args).await {
            Err(Stop::Failed(result)) => Json::Object(result),
            Err(Stop::Template(error)) => json!({ "msg": super::rendering::told(&error) }),
            other => panic!("`{name}` did not fail: {other:?}"),
        }
    }
}

/// A value as YAML would bring it.
fn written(value: &Json, span: Span) -> Node {
    let value = match value {
        Json::String(s) => Yaml::Str(s.as_str().into()),
        Json::Array(items) => Yaml::Seq(items.iter().map(|v| written(v, span)).collect()),
        Json::Object(map) => Yaml::Map(Mapping {
            entries: map
                .iter()
                .map(|(k, v)| Entry {
                    key: Node { span, value: Yaml::Str(k.as_str().into()) },
                    value: written(v, span),
                })
                .collect(),
        }),
        other => return super::rendering::data_node(other, span),
    };
    Node { span, value }
}
