//! What the simulated fleet promises: chance by seed alone, limits kept exactly, one host never holds up the others.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use dcos_play::cli::common::{InventoryFlags, VariableFlags};
use dcos_play::cli::simulate::{Rehearsal, Rehearsed, rehearse};
use dcos_play::journal::{Event, EventKind, RunFolder, RunId};
use dcos_play::simulation::{Fault, Faults};

const PLAYBOOK: &str = "- hosts: all
  gather_facts: false
  tasks:
    - {name: one, command: one, register: r}
    - {name: two, file: {path: /srv/two, state: directory}}
    - {name: three, command: three, when: r.rc == 0}
    - {name: four, command: four}
    - {name: five, command: five}
";

fn simulate(at: &Path, hosts: usize, seed: u64, faults: Faults) -> (Rehearsed, Vec<Arc<Event>>) {
    std::fs::create_dir_all(at.join("run/hosts")).expect("folders");
    std::fs::write(at.join("site.yml"), PLAYBOOK).expect("playbook");
    std::fs::write(at.join("hosts.ini"), format!("node[1:{hosts}]\n")).expect("inventory");
    let wanted = Rehearsal {
        playbooks: vec![at.join("site.yml")],
        inventory: InventoryFlags {
            inventory: vec![at.join("hosts.ini").display().to_string()],
            limit: None,
            refresh_cache: false,
        },
        variables: VariableFlags::default(),
        faults,
        seed,
        forks: 16,
        check: false,
        tags: Vec::new(),
        skip_tags: Vec::new(),
        verbosity: 0,
    };
    let (reports, events) = mpsc::sync_channel(1 << 20);
    let folder = RunFolder { id: RunId("test".to_owned()), path: at.join("run") };
    let rehearsed = rehearse(&wanted, &folder, reports).map_err(|t| t.text).expect("runs");
    (rehearsed, events.try_iter().collect())
}

fn latency() -> Faults {
    Faults { latency: Some((0.1, 5.0)), ..Faults::default() }
}

#[test]
fn the_same_seed_gives_the_same_journal_byte_for_byte() {
    let folder = tempfile::tempdir().expect("temp dir");
    let journal = |seed: u64| {
        let _ = std::fs::remove_dir_all(folder.path().join("run"));
        simulate(folder.path(), 30, seed, latency());
        std::fs::read(folder.path().join("run/journal.jsonl")).expect("journal")
    };
    let first = journal(7);
    assert_eq!(first, journal(7));
    assert_ne!(first, journal(8));
}

#[test]
fn the_most_busy_hosts_are_exactly_the_forks() {
    let folder = tempfile::tempdir().expect("temp dir");
    let (rehearsed, _) = simulate(folder.path(), 60, 1, latency());
    assert_eq!(rehearsed.fleet.most_busy(), 16);
    assert_eq!(rehearsed.fleet.calls(), 300);
}

#[test]
fn a_dead_host_costs_the_others_nothing_while_it_is_waited_for() {
    let folder = tempfile::tempdir().expect("temp dir");
    // When the last other host was done, in simulated milliseconds.
    let others_done = |name: &str, faults: Faults| {
        let (rehearsed, events) = simulate(&folder.path().join(name), 1000, 3, faults);
        let mut last = 0;
        for event in &events {
            if let EventKind::StepFinished { host, .. } = &event.kind
                && **host != *"node5"
            {
                last = event.at;
            }
        }
        (rehearsed.ended.unreachable, last - dcos_play::simulation::EPOCH_MS)
    };
    let dead = Fault { hosts: vec!["node5".to_owned()], dead: true, after: 2, ..Fault::default() };
    let (unreachable, fine) = others_done("fine", latency());
    assert!(!unreachable);
    let (unreachable, with_dead) = others_done("dead", Faults { faults: vec![dead], ..latency() });
    assert!(unreachable);
    // Its slot is free while it is waited for: what it costs is its own calls, and the order of the others'.
    let most = 5_000;
    assert!(with_dead <= fine + most, "{fine} ms without the dead host, {with_dead} ms with it");
    assert!(with_dead * 100 <= fine * 101, "{fine} ms without the dead host, {with_dead} ms with it");
}
