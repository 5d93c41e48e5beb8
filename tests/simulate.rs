//! What the simulated fleet promises: chance by seed alone, limits kept exactly, one host never holds up the others.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use dcos_play::cli::common::{InventoryFlags, VariableFlags};
use dcos_play::cli::simulate::{Rehearsal, Rehearsed, rehearse};
use dcos_play::journal::{Event, EventKind, RunFolder, RunId};
use dcos_play::simulation::{Fault, Faults, Invariants};

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
    let events: Vec<Arc<Event>> = events.try_iter().collect();
    let mut invariants = Invariants::default();
    events.iter().for_each(|event| invariants.after(event).expect("what always holds"));
    (rehearsed, events)
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

#[test]
fn a_black_holed_host_delays_a_thousand_others_by_at_most_one_percent() {
    let folder = tempfile::tempdir().expect("temp dir");
    let last_of_others = |name: &str, faults: Faults| {
        let (rehearsed, events) = simulate(&folder.path().join(name), 1000, 3, faults);
        let ends = events.iter().filter_map(|event| match &event.kind {
            EventKind::StepFinished { host, .. } if **host != *"node5" => Some(event.at),
            _ => None,
        });
        (rehearsed.ended.unreachable, ends.max().unwrap_or(0) - dcos_play::simulation::EPOCH_MS)
    };
    // Calls so short that ten seconds of connect timeout on one of sixteen slots would be seven percent.
    let quick = || Faults { latency: Some((0.01, 0.05)), ..Faults::default() };
    let hole = Fault { hosts: vec!["node5".to_owned()], unreachable: true, ..Fault::default() };
    let (unreachable, fine) = last_of_others("fine", quick());
    assert!(!unreachable);
    let (unreachable, with_hole) = last_of_others("hole", Faults { faults: vec![hole], ..quick() });
    assert!(unreachable);
    assert!(with_hole * 100 <= fine * 101, "{fine} ms without the host, {with_hole} ms with it");
}

/// Blocks, loops, retries, handlers, a look at others, batches, files; with everything that a faults file knows.
const STORMY: &str = "- hosts: web
  tasks:
    - {name: ask, command: ask, register: r}
    - {name: conf, copy: {dest: /etc/conf, content: '{{ inventory_hostname }} {{ r.stdout }}'}, notify: again}
    - block:
        - {name: flaky, command: flaky}
      rescue:
        - {name: mend, command: mend}
      always:
        - {name: tidy, file: {path: '/tmp/{{ item }}', state: absent}, loop: [a, b]}
    - {name: ready, command: is-ready, register: s, until: s.rc == 0, retries: 3, delay: 2}
    - {name: look, debug: {msg: \"{{ hostvars[groups['web'][0]].r.stdout }}\"}}
  handlers:
    - {name: again, service: {name: x, state: restarted}}
- hosts: db
  serial: 3
  needs: []
  tasks:
    - {name: alone, command: alone, throttle: 1}
    - {name: boot, reboot: {}}
- hosts: all
  gather_facts: false
  tasks:
    - {name: end, command: end}
";

const STORM: &str = "latency: [0.05, 0.5]
faults:
  - {share: 0.05, unreachable: true}
  - {share: 0.05, dead: true, after: 3}
  - {share: 0.1, slow: 20}
  - {match: flaky, fail: it broke, share: 0.3}
  - {match: alone, partition: 45, times: 1, share: 0.5}
answers:
  - {match: is-ready, rc: 1, hosts: [node03, node10]}
";

#[test]
fn the_same_seed_gives_the_same_run_byte_for_byte_in_every_file_and_on_the_terminal() {
    let run = |seed: &str| {
        let project = support::Project::new();
        project.file("site.yml", STORMY).file("storm.yml", STORM);
        let args = ["simulate", "site.yml", "--hosts", "40", "--faults", "storm.yml", "--seed", seed];
        let said =
            project.command(&[&args[..], &["--keep", "kept", "-v"]].concat()).output().expect("it runs");
        let code = said.status.code();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(&project.path("").display().to_string(), "")
        };
        assert!(matches!(code, Some(2 | 4)), "{}{}", text(&said.stdout), text(&said.stderr));
        let mut files = BTreeMap::from([("terminal".to_owned(), text(&said.stdout) + &text(&said.stderr))]);
        let mut folders = vec![project.path("kept")];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let whole = text(&fs_err::read(&path).expect("a file"));
                    files.insert(path.file_name().expect("a name").display().to_string(), whole);
                }
            }
        }
        files
    };
    let first = run("7");
    for name in ["terminal", "journal.jsonl", "summary.json", "report.html", "node03.log"] {
        assert!(first.contains_key(name), "{:?}", first.keys());
    }
    let again = run("7");
    assert_eq!(first.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
    for (name, text) in &first {
        let differs = text.lines().zip(again[name].lines()).find(|(a, b)| a != b);
        assert!(*text == again[name], "{name}: {differs:?}");
    }
    assert_ne!(first["journal.jsonl"], run("8")["journal.jsonl"]);
}
