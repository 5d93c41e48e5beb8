//! The simulated hosts, and the transport to them.
//!
//! Owns: what each host has become so far, and how many are busy. Must not: depend on the order in which different
//! hosts are asked: an answer follows from the seed, the host and what that host was asked before.

use std::collections::HashMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dcos_play_agent::protocol::{StepKey, StepResult, Stream};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::answers::{Dice, Kind, facts, kind, said, searched, subject};
use super::faults::{Answer, Faults};
use crate::connection::{
    self, Call, Content, FaultKind, OutputSink, RawOutput, Reply, Target, Transport, Via,
};
use crate::vars::{ByName, NameHasher};

/// How long the real transport tries to reconnect before it gives a host up.
const RECONNECT: Duration = Duration::from_secs(60);

/// Hosts in memory.
#[derive(Debug)]
pub struct Fleet {
    dice: Dice,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: HashMap<Arc<str>, Host, ByName>,
    /// Calls under way by host.
    busy: HashMap<Arc<str>, usize, ByName>,
    most_busy: usize,
    calls: u64,
}

#[derive(Debug, Default)]
struct Host {
    calls: u64,
    /// Matching calls so far, for each fault that meets the host.
    met: Vec<(usize, u64)>,
    /// Hash of the state of each thing (hash of module and subject).
    things: HashMap<u64, u64, ByName>,
    boots: u64,
    drawn: bool,
}

/// What the faults make of one call.
#[derive(Debug, Default)]
struct Fate {
    fail: Option<String>,
    unreachable: bool,
    dead: bool,
    slow: f64,
    partition: f64,
    /// Number of the host's call, for the latency.
    number: u64,
}

/// Counts a host as busy until dropped, also when the caller gives up.
struct Working<'a>(&'a Fleet, Arc<str>);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Some(count) = state.busy.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                state.busy.remove(&self.1);
            }
        }
    }
}

impl Fleet {
    /// A fleet in its first state.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { dice: Dice::new(seed), faults, state: Mutex::default() }
    }

    /// The most hosts that were busy at the same time.
    #[must_use]
    pub fn most_busy(&self) -> usize {
        self.lock().most_busy
    }

    /// Calls answered or refused so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, host: &Arc<str>, text: &dyn Fn() -> String) -> (Working<'_>, Fate) {
        let mut state = self.lock();
        state.calls += 1;
        *state.busy.entry(Arc::clone(host)).or_insert(0) += 1;
        state.most_busy = state.most_busy.max(state.busy.len());
        let fate = self.fate(&mut state, host, text);
        drop(state);
        (Working(self, Arc::clone(host)), fate)
    }

    fn fate(&self, state: &mut State, host: &Arc<str>, text: &dyn Fn() -> String) -> Fate {
        let known = state.hosts.entry(Arc::clone(host)).or_default();
        if !known.drawn {
            known.drawn = true;
            let meeting = self.faults.faults.iter().enumerate().filter(|(n, f)| f.meets(self.dice, *n, host));
            known.met = meeting.map(|(n, _)| (n, 0)).collect();
        }
        known.calls += 1;
        let mut fate = Fate { slow: 1.0, number: known.calls, ..Fate::default() };
        for (number, met) in &mut known.met {
            let fault = &self.faults.faults[*number];
            if fault.r#match.as_ref().is_some_and(|m| !text().contains(m.as_str())) {
                continue;
            }
            *met += 1;
            let nth = met.saturating_sub(fault.after);
            if nth == 0 || fault.times.is_some_and(|times| nth > times) {
                continue;
            }
            fate.fail = fate.fail.or_else(|| fault.fail.clone());
            fate.unreachable |= fault.unreachable;
            fate.dead |= fault.dead;
            fate.slow *= fault.slow.unwrap_or(1.0);
            fate.partition += fault.partition.unwrap_or(0.0);
        }
        fate
    }

    fn latency(&self, host: &str, fate: &Fate) -> Duration {
        let base = match self.faults.latency {
            Some((least, most)) => {
                least + (most - least).max(0.0) * self.dice.of(("latency", host, fate.number)).unit()
            }
            None => 0.0,
        };
        Duration::from_secs_f64((base * fate.slow + fate.partition).clamp(0.0, 1e6))
    }

    /// Waits as the host's fate says; an error when the host cannot be used.
    async fn pass(
        &self,
        target: &Target,
        fate: &Fate,
        timeout: Option<Duration>,
    ) -> Result<bool, connection::Fault> {
        let host = &target.host;
        if fate.unreachable {
            let limit = match &target.via {
                Via::Ssh(ssh) => ssh.connect_timeout,
                Via::Local => Duration::ZERO,
            };
            wait(limit).await;
            let what = format!("nobody answers at {host} (simulated)");
            return Err(connection::Fault { kind: FaultKind::TimedOut, what, next: None });
        }
        if fate.dead {
            wait(RECONNECT).await;
            let what = format!("the connection to {host} broke and did not come back within 60s (simulated)");
            return Err(connection::Fault { kind: FaultKind::Lost, what, next: None });
        }
        let takes = self.latency(host, fate);
        match timeout.filter(|limit| *limit < takes) {
            Some(limit) => {
                wait(limit).await;
                Ok(false)
            }
            None => {
                wait(takes).await;
                Ok(true)
            }
        }
    }

    fn answer(&self, host: &Arc<str>, text: &str) -> Option<&Answer> {
        self.faults.answers.iter().find(|a| a.meets(host, text))
    }

    /// What the module returns when the host works.
    fn result(&self, host: &Arc<str>, call: &Call) -> Map<String, Value> {
        let mut result = match kind(&call.module) {
            Kind::Command => self.command(host, call),
            Kind::Read => self.read(host, call),
            Kind::State => self.bring_about(host, call),
        };
        if !self.faults.answers.is_empty()
            && let Some(answer) = self.answer(host, &searched(&call.module, &call.args))
        {
            for (key, value) in &answer.result {
                result.insert(key.clone(), value.clone());
            }
        }
        result
    }

    fn command(&self, host: &Arc<str>, call: &Call) -> Map<String, Value> {
        if call.check {
            return map(
                json!({"changed": false, "skipped": true, "msg": "a command is not run in check mode"}),
            );
        }
        let text = searched(&call.module, &call.args);
        let answer = self.answer(host, &text);
        let stdout = answer.and_then(|a| a.stdout.clone()).unwrap_or_else(|| said(self.dice, host, &text));
        let stderr = answer.and_then(|a| a.stderr.clone()).unwrap_or_default();
        let rc = answer.and_then(|a| a.rc).unwrap_or(0);
        // With room for what the controller adds.
        let mut result = Map::with_capacity(8);
        for (name, value) in [
            ("changed", true.into()),
            ("rc", rc.into()),
            ("stdout", stdout.into()),
            ("stderr", stderr.into()),
        ] {
            let value: Value = value;
            result.insert(name.to_owned(), value);
        }
        if rc != 0 {
            result.insert("failed".into(), true.into());
            result.insert("msg".into(), "non-zero return code".into());
        }
        result
    }

    fn read(&self, host: &Arc<str>, call: &Call) -> Map<String, Value> {
        match &*call.module {
            "setup" => map(json!({"changed": false, "ansible_facts": facts(self.dice, host)})),
            "ping" => map(json!({"changed": false, "ping": "pong"})),
            "stat" => {
                let exists = subject(&call.args).is_some_and(|(_, value)| {
                    let thing = hash(value);
                    self.lock().hosts.get(host).is_some_and(|h| h.things.contains_key(&thing))
                });
                map(json!({"changed": false, "stat": {"exists": exists}}))
            }
            "slurp" => map(json!({"changed": false, "content": "", "encoding": "base64"})),
            "find" => map(json!({"changed": false, "files": [], "matched": 0, "examined": 0})),
            "uri" => map(json!({"changed": false, "status": 200, "content": "", "json": {}})),
            _ => map(json!({"changed": false})),
        }
    }

    fn bring_about(&self, host: &Arc<str>, call: &Call) -> Map<String, Value> {
        let mut hasher = NameHasher::default();
        for (name, value) in &*call.args {
            (name, hash(value)).hash(&mut hasher);
        }
        for (name, content) in &call.uploads {
            name.hash(&mut hasher);
            match content {
                Content::Bytes(bytes) => bytes.hash(&mut hasher),
                Content::File(path) => path.hash(&mut hasher),
            }
        }
        let wanted = hasher.finish();
        let subject = subject(&call.args);
        let thing = subject.map_or_else(|| hash(&Value::from(&*call.module)), |(_, value)| hash(value));
        let mut state = self.lock();
        let known = state.hosts.entry(Arc::clone(host)).or_default();
        let changed = known.things.get(&thing) != Some(&wanted);
        if changed && !call.check {
            known.things.insert(thing, wanted);
        }
        drop(state);
        let mut result = Map::with_capacity(4);
        result.insert("changed".into(), changed.into());
        if let Some((name, value)) = subject {
            result.insert(name.to_owned(), value.clone());
        }
        result
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = NameHasher::default();
    match value {
        Value::String(text) => text.hash(&mut hasher),
        other => other.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

async fn wait(time: Duration) {
    // Even an immediate answer comes through the scheduler, as a real one would.
    if time.is_zero() { tokio::task::yield_now().await } else { tokio::time::sleep(time).await }
}

/// The way to a [`Fleet`].
#[derive(Debug, Clone)]
pub struct SimulatedTransport(pub Arc<Fleet>);

impl Transport for SimulatedTransport {
    fn call<'a>(
        &'a self,
        target: &'a Target,
        call: Call,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<Reply, connection::Fault>> {
        async move {
            let fleet = &*self.0;
            let (working, fate) = fleet.begin(&target.host, &|| searched(&call.module, &call.args));
            if fate.dead {
                // As with real hosts: while one is waited for, its place is free.
                drop(working);
                // Boxed, as what is rare need not make every call's future large.
                call.seat.without(fleet.pass(target, &fate, call.timeout)).boxed().await?;
                return Ok(reply(Map::new()));
            }
            if fate.unreachable {
                drop(working);
                call.seat.connecting(fleet.pass(target, &fate, call.timeout)).boxed().await?;
                return Ok(reply(Map::new()));
            }
            let _working = working;
            if !fleet.pass(target, &fate, call.timeout).await? {
                let seconds = call.timeout.unwrap_or_default().as_secs_f64();
                let msg = format!("Timed out after {seconds} second(s).");
                return Ok(reply(map(json!({"changed": false, "failed": true, "msg": msg}))));
            }
            if let Some(msg) = fate.fail {
                return Ok(reply(map(json!({"changed": false, "failed": true, "msg": msg}))));
            }
            let result = fleet.result(&target.host, &call);
            if let Some(text) = result.get("stdout").and_then(Value::as_str).filter(|t| !t.is_empty()) {
                output(Stream::Stdout, format!("{text}\n").as_bytes());
            }
            Ok(reply(result))
        }
        .boxed()
    }

    fn raw<'a>(
        &'a self,
        target: &'a Target,
        command: &'a str,
        timeout: Option<Duration>,
        output: OutputSink,
    ) -> BoxFuture<'a, Result<RawOutput, connection::Fault>> {
        async move {
            let mut args = Map::new();
            args.insert("cmd".into(), command.into());
            let call = Call { module: "shell".into(), args: Arc::new(args), timeout, ..Call::default() };
            let result = self.call(target, call, output).await?.result;
            let text =
                |key: &str| result.get(key).and_then(Value::as_str).unwrap_or_default().as_bytes().to_vec();
            let failed = result.get("failed") == Some(&Value::Bool(true));
            let rc = result.get("rc").and_then(Value::as_i64).unwrap_or(i64::from(failed));
            Ok(RawOutput {
                rc: i32::try_from(rc).unwrap_or(1),
                stdout: text("stdout"),
                stderr: text("stderr"),
            })
        }
        .boxed()
    }

    fn cancel<'a>(&'a self, _: &'a Target, _: &'a StepKey, _: Duration) -> BoxFuture<'a, bool> {
        async { true }.boxed()
    }

    fn reset<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()> {
        async move {
            let mut state = self.0.lock();
            state.hosts.entry(Arc::clone(&target.host)).or_default().boots += 1;
        }
        .boxed()
    }

    fn boot_id<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<String, connection::Fault>> {
        async move {
            let (_working, fate) = self.0.begin(&target.host, &|| "boot_id".to_owned());
            self.0.pass(target, &fate, None).await?;
            let boots = self.0.lock().hosts.get(&target.host).map_or(0, |h| h.boots);
            Ok(format!("{:016x}", self.0.dice.of(("boot", &*target.host, boots)).number()))
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

fn reply(result: StepResult) -> Reply {
    Reply { result, blob: Vec::new() }
}
