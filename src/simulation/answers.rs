//! What a simulated host says when nothing is wrong.
//!
//! Owns: results by module. Must not: keep state (that is `fleet`).

use std::hash::{DefaultHasher, Hash, Hasher as _};

use serde_json::{Map, Value, json};

/// Chance that depends on nothing but the seed and what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The dice for one question.
    pub(super) fn of(self, question: impl Hash) -> Self {
        // `DefaultHasher::new` has fixed keys: the same in every process.
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        question.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// A number from 0 up to 1.
    pub(super) fn unit(self) -> f64 {
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

/// How a module is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Says something; always changed.
    Command,
    /// Looks and changes nothing.
    Read,
    /// Brings about a state: changed the first time.
    State,
}

pub(super) fn kind(module: &str) -> Kind {
    match module {
        "command" | "shell" | "expect" | "custom" => Kind::Command,
        "setup" | "ping" | "stat" | "slurp" | "find" | "wait_for" | "uri" | "getent" | "service_facts"
        | "package_facts" | "async_status" | "tempfile" | "debug" => Kind::Read,
        _ => Kind::State,
    }
}

/// The facts that a simulated host has; few, because ten thousand hosts keep them.
pub(super) fn facts(dice: Dice, host: &str) -> Map<String, Value> {
    let dice = dice.of(("facts", host));
    let [_, a, b, c, ..] = dice.number().to_be_bytes();
    let mut facts = Map::new();
    let mut set = |name: &str, value: Value| {
        facts.insert(format!("ansible_{name}"), value);
    };
    set("hostname", host.split('.').next().unwrap_or(host).into());
    set("nodename", host.into());
    set("fqdn", host.into());
    set("system", "Linux".into());
    set("os_family", "Debian".into());
    set("distribution", "Debian".into());
    set("distribution_major_version", "13".into());
    set("architecture", "x86_64".into());
    set("service_mgr", "systemd".into());
    set("processor_vcpus", (1_u64 << (dice.number() % 5)).into());
    set("memtotal_mb", (1024_u64 << (dice.number() % 7)).into());
    set("default_ipv4", json!({"address": format!("10.{a}.{b}.{c}"), "interface": "eth0"}));
    facts
}

/// The identity of what a state module works on: the same thing twice is `ok` the second time.
pub(super) fn subject(args: &Map<String, Value>) -> Option<(&'static str, &Value)> {
    ["dest", "path", "name", "key", "repo", "src"].into_iter().find_map(|k| Some((k, args.get(k)?)))
}

/// The parts of a call that a rule's `match` looks at.
pub(super) fn searched(module: &str, args: &Map<String, Value>) -> String {
    let mut text = module.to_owned();
    for value in args.values() {
        text.push(' ');
        match value {
            Value::String(part) => text.push_str(part),
            other => text.push_str(&other.to_string()),
        }
    }
    text
}

/// Result of a command: its words, and something that differs by host.
pub(super) fn said(dice: Dice, host: &str, command: &str) -> String {
    format!("{host} {:04x}", dice.of(("said", host, command)).number() & 0xffff)
}
