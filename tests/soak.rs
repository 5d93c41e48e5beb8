//! The proof that barriers by need change nothing but time: random playbooks end the same under `strategy: linear`
//! and under the inferred plan.
//!
//! `DCOS_PLAY_SOAK=10000` runs that many cases, `DCOS_PLAY_SEED=7` that one, with its playbook printed.

#[path = "soak/generator.rs"]
mod generator;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use dcos_play::cli::common::{InventoryFlags, VariableFlags};
use dcos_play::cli::simulate::{Rehearsal, Rehearsed, rehearse};
use dcos_play::journal::{Event, EventKind, RunFolder, RunId};
use dcos_play::simulation::{Faults, Invariants};
use generator::{Case, case};

const CASES: u64 = 200;

/// What must be equal in both runs.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// What each host did, in its own order: tasks, items, handlers, rescues.
    hosts: BTreeMap<String, Vec<String>>,
    variables: BTreeMap<String, String>,
    recap: BTreeMap<String, String>,
    plays: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

#[test]
fn random_playbooks_end_the_same_in_step_and_by_need() {
    if let Some(seed) = number("DCOS_PLAY_SEED") {
        let case = case(seed);
        for (name, text) in &case.files {
            eprintln!("--- {name}\n{text}");
        }
        eprintln!("--- faults\n{}", case.faults);
        assert_eq!(check(seed, true), Ok(()));
        return;
    }
    let cases = number("DCOS_PLAY_SOAK").unwrap_or(CASES);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut wrong = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= cases {
                            return wrong;
                        }
                        if let Err(text) = check(seed, false) {
                            wrong.push(format!("DCOS_PLAY_SEED={seed}: {text}"));
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|w| w.join().expect("a worker's checks")).collect()
    });
    assert!(wrong.is_empty(), "{} of {cases} cases differ\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs a case both ways.
fn check(seed: u64, show: bool) -> Result<(), String> {
    let case = case(seed);
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let linear = run(seed, &case, "strategy: linear", &folder.path().join("linear"))?;
    let inferred = run(seed, &case, "vars_files: []", &folder.path().join("inferred"))?;
    if show {
        let shown = format!("--- linear\n{:#?}\n--- inferred\n{:#?}", linear.recap, inferred.recap);
        writeln!(std::io::stderr(), "{shown}").map_err(|e| e.to_string())?;
    }
    difference(&linear, &inferred).map_or(Ok(()), Err)
}

fn run(seed: u64, case: &Case, strategy: &str, at: &Path) -> Result<Outcome, String> {
    let failed = |e: std::io::Error| e.to_string();
    std::fs::create_dir_all(at.join("run/hosts")).map_err(failed)?;
    for (name, text) in &case.files {
        std::fs::write(at.join(name), text.replace("STRATEGY", strategy)).map_err(failed)?;
    }
    std::fs::write(at.join("faults.yml"), &case.faults).map_err(failed)?;
    let wanted = Rehearsal {
        playbooks: vec![at.join("site.yml")],
        inventory: InventoryFlags {
            inventory: vec![at.join("hosts.yml").display().to_string()],
            limit: None,
            refresh_cache: false,
        },
        variables: VariableFlags::default(),
        faults: Faults::read(&at.join("faults.yml")).map_err(|e| e.to_string())?,
        seed,
        forks: case.forks,
        check: false,
        tags: Vec::new(),
        skip_tags: Vec::new(),
        verbosity: 0,
    };
    let (reports, events) = mpsc::sync_channel(1 << 20);
    let folder = RunFolder { id: RunId("soak".to_owned()), path: at.join("run") };
    let rehearsed = rehearse(&wanted, &folder, reports).map_err(|t| t.text)?;
    let events: Vec<Arc<Event>> = events.try_iter().collect();
    let mut invariants = Invariants::default();
    events.iter().try_for_each(|event| invariants.after(event)).map_err(|broken| broken.to_string())?;
    Ok(outcome(case, &rehearsed, &events, &at.display().to_string()))
}

fn outcome(case: &Case, rehearsed: &Rehearsed, events: &[Arc<Event>], folder: &str) -> Outcome {
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut plays = Vec::new();
    for event in events {
        let (host, text) = match &event.kind {
            EventKind::StepFinished { host, path, outcome, result, .. } => {
                (host, format!("{path}: {outcome:?} {}", serde_json::Value::Object((**result).clone())))
            }
            EventKind::StepItem { host, label, outcome, .. } => (host, format!("item {label}: {outcome:?}")),
            EventKind::HandlersNotified { host, handlers, .. } => (host, format!("notifies {handlers:?}")),
            EventKind::HostRescued { host, .. } => (host, "rescued".to_owned()),
            EventKind::PlayNotRun { name, why, .. } => {
                plays.push(format!("{name} not run: {why:?}"));
                continue;
            }
            EventKind::PlayStarted { name, hosts, .. } => {
                plays.push(format!("{name}: {hosts:?}"));
                continue;
            }
            _ => continue,
        };
        hosts.entry(host.to_string()).or_default().push(text.replace(folder, ""));
    }
    let mut variables = BTreeMap::new();
    for host in &case.hosts {
        let state = rehearsed.store.host(host);
        for name in &case.names {
            if let Some(value) = state.set_value(name) {
                variables.insert(format!("{host}.{name}"), serde_json::to_string(&value).unwrap_or_default());
            }
        }
        let groups =
            rehearsed.store.inventory().group_names(host).iter().map(ToString::to_string).collect::<Vec<_>>();
        variables.insert(format!("{host} groups"), format!("{groups:?}"));
    }
    let mut recap = BTreeMap::new();
    for (host, row) in &rehearsed.ended.totals.hosts {
        let row = dcos_play::journal::HostTotals { busy_ms: 0, ..*row };
        recap.insert(host.to_string(), format!("{row:?}"));
    }
    recap.insert(
        "run".to_owned(),
        format!("{:?}", (rehearsed.ended.failed, rehearsed.ended.unreachable, &rehearsed.ended.fault)),
    );
    Outcome { hosts, variables, recap, plays }
}

/// The first thing that differs, in a few lines.
fn difference(linear: &Outcome, inferred: &Outcome) -> Option<String> {
    if linear == inferred {
        return None;
    }
    let nothing = Vec::new();
    for host in linear.hosts.keys().chain(inferred.hosts.keys()) {
        let (one, other) =
            (linear.hosts.get(host).unwrap_or(&nothing), inferred.hosts.get(host).unwrap_or(&nothing));
        for at in 0..one.len().max(other.len()) {
            if one.get(at) != other.get(at) {
                return Some(format!(
                    "{host}, event {at}\n  linear:   {}\n  inferred: {}",
                    one.get(at).map_or("(nothing)", |t| t),
                    other.get(at).map_or("(nothing)", |t| t)
                ));
            }
        }
    }
    for (one, other) in [(&linear.variables, &inferred.variables), (&linear.recap, &inferred.recap)] {
        for name in one.keys().chain(other.keys()) {
            if one.get(name) != other.get(name) {
                return Some(format!(
                    "{name}\n  linear:   {:?}\n  inferred: {:?}",
                    one.get(name),
                    other.get(name)
                ));
            }
        }
    }
    Some(format!("plays\n  linear:   {:?}\n  inferred: {:?}", linear.plays, inferred.plays))
}
