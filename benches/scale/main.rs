//! How the controller scales: many hosts, two hundred tasks each, on the simulated transport, journal and logs on.
//!
//! `cargo bench --bench scale` runs 1,000, 3,000 and 10,000 hosts, each in a process of its own because the peak memory
//! of a process never goes down; `cargo bench --bench scale -- 500` one other size. Exits with 1 when a limit is missed.
//! CPU is that of the whole process (with reports, logs and clock), less what the simulated hosts take themselves.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use dcos_play::cli::common::{InventoryFlags, VariableFlags};
use dcos_play::cli::simulate::{Rehearsal, rehearse_through};
use dcos_play::engine::REPORTS_AHEAD;
use dcos_play::journal::{RunFolder, RunId};
use dcos_play::report::{Console, HostLogs, Plain, Settings};
use dcos_play::simulation::Faults;

mod metered;

use metered::Metered;

const SIZES: [u64; 3] = [1_000, 3_000, 10_000];
const TASKS: u64 = 200;
/// Of the plan, in seconds; of memory, in MB; of CPU a step, in microseconds.
const LIMITS: (f64, u64, f64) = (3.0, 600, 10.0);

/// The program's own, see src/main.rs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let sizes: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    if let Some(folder) = std::env::var_os("__DCOS_PLAY_SCALE") {
        let met = measure(Path::new(&folder), sizes[0]);
        std::process::exit(i32::from(!met));
    }
    // Removed at the end only: right after so many files were deleted, making new ones costs ext4 more.
    let folder = tempfile::tempdir().expect("a temporary folder");
    println!("  hosts    steps   plan s    run s    CPU s   fleet s   us/step   peak MB   journal MB");
    let mut met = true;
    for size in if sizes.is_empty() { SIZES.to_vec() } else { sizes } {
        let program = std::env::current_exe().expect("this program's path");
        let place = folder.path().join(size.to_string());
        let ended = Command::new(program).arg(size.to_string()).env("__DCOS_PLAY_SCALE", place).status();
        met &= ended.is_ok_and(|s| s.success());
    }
    drop(folder);
    std::process::exit(i32::from(!met));
}

fn measure(place: &Path, hosts: u64) -> bool {
    std::fs::create_dir_all(place.join("run/hosts")).expect("a folder");
    std::fs::write(place.join("site.yml"), playbook()).expect("a file");
    std::fs::write(place.join("hosts.ini"), format!("[fleet]\nnode[00001:{hosts:05}]\n")).expect("a file");
    let run = RunFolder { id: RunId("scale".to_owned()), path: place.join("run") };
    let (reports, events) = mpsc::sync_channel(REPORTS_AHEAD);
    let settings = Settings {
        folder: "run".to_owned(),
        page: None,
        again: String::new(),
        verbosity: 0,
        diff: false,
        colour: false,
        width: 100,
    };
    let console = Console::Plain(Plain::new(Box::new(std::io::sink()), settings));
    let logs = HostLogs::new(run.clone());
    let reporter =
        std::thread::spawn(move || dcos_play::report::run(&events, logs, console, &mut std::io::stderr()));
    let wanted = Rehearsal {
        playbooks: vec![place.join("site.yml")],
        inventory: InventoryFlags {
            inventory: vec![place.join("hosts.ini").display().to_string()],
            limit: None,
            refresh_cache: false,
        },
        variables: VariableFlags::default(),
        faults: Faults { latency: Some((0.01, 0.1)), ..Faults::default() },
        seed: 1,
        forks: 64,
        check: false,
        tags: Vec::new(),
        skip_tags: Vec::new(),
        verbosity: 0,
    };
    let spent = Arc::default();
    let before = cpu();
    let rehearsed = rehearse_through(&wanted, &run, reports, |fleet| Arc::new(Metered::new(fleet, &spent)));
    let rehearsed = match rehearsed {
        Ok(rehearsed) => rehearsed,
        Err(trouble) => {
            eprintln!("{}", trouble.text);
            return false;
        }
    };
    let _ = reporter.join();
    let used = cpu().saturating_sub(before).saturating_sub(rehearsed.planned_in);
    let by_hosts = spent.by_hosts();
    let rows = rehearsed.ended.totals.hosts.values();
    let steps: u64 = rows.map(|t| u64::from(t.ok + t.skipped + t.failed)).sum();
    let step = used.saturating_sub(by_hosts).as_secs_f64() * 1e6 / steps.max(1) as f64;
    let peak = peak_megabytes();
    let journal = std::fs::metadata(run.journal()).map_or(0, |m| m.len()) >> 20;
    let planned = rehearsed.planned_in.as_secs_f64();
    println!(
        "{hosts:>7} {steps:>8} {planned:>8.2} {:>8.1} {:>8.1} {:>9.1} {step:>9.1} {peak:>9} {journal:>12}",
        rehearsed.ran_in.as_secs_f64(),
        used.as_secs_f64(),
        by_hosts.as_secs_f64()
    );
    check_end(place, hosts);
    rehearsed.ended.fault.is_none() && planned < LIMITS.0 && peak < LIMITS.1 && step < LIMITS.2
}

/// What a large playbook is made of: commands, files, conditions on registered results, facts, a few looks at others.
fn playbook() -> String {
    let mut text = String::from("- hosts: fleet\n  gather_facts: true\n  tasks:\n");
    for n in 0..TASKS - 1 {
        let _ = match n % 10 {
            0 | 5 => write!(
                text,
                "    - name: ask {n}\n      command: ask {n} {{{{ inventory_hostname }}}}\n      register: r{}\n      changed_when: false\n",
                n % 20
            ),
            1 => write!(
                text,
                "    - name: use {n}\n      file: {{path: /srv/{n}, state: directory}}\n      when: r{}.rc == 0\n",
                n % 20 - 1
            ),
            2 => write!(
                text,
                "    - name: keep {n}\n      set_fact: {{f{}: \"{{{{ r0.stdout }}}}\"}}\n",
                n % 20
            ),
            3 => write!(
                text,
                "    - name: write {n}\n      copy: {{dest: /etc/{n}.conf, content: \"host={{{{ inventory_hostname }}}}\"}}\n"
            ),
            4 if n == 104 => write!(
                text,
                "    - name: look {n}\n      debug: {{msg: \"{{{{ hostvars['node00001'].r0.stdout }}}}\"}}\n"
            ),
            4 => write!(
                text,
                "    - name: skip {n}\n      command: never {n}\n      when: ansible_os_family == 'Windows'\n"
            ),
            6 => write!(
                text,
                "    - name: line {n}\n      lineinfile: {{path: /etc/hosts, line: \"{n} here\"}}\n"
            ),
            7 => write!(
                text,
                "    - name: say {n}\n      debug: {{msg: \"{{{{ ansible_hostname }}}} is here\"}}\n"
            ),
            8 => write!(
                text,
                "    - name: service {n}\n      systemd: {{name: s{n}, state: started, enabled: true}}\n"
            ),
            _ => write!(text, "    - name: shell {n}\n      shell: echo {n} | cat\n"),
        };
    }
    text
}

/// The figures are worth nothing when logs or journal stopped on the way.
fn check_end(place: &Path, hosts: u64) {
    let logs = std::fs::read_dir(place.join("run/hosts")).map_or(0, Iterator::count);
    assert_eq!(logs as u64, hosts, "each host has a log");
    assert!(place.join("run/summary.json").exists(), "the reports came to the end");
}

fn cpu() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage of this process");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status of this process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) >> 10
}
