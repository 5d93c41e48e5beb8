//! `dcos-play simulate`: the user's own playbook on a fleet that exists only in memory.
//!
//! Owns: the wiring of a run whose transport and time are simulated. Must not: contact any host.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::watch;

use super::Trouble;
use super::common::{self, InventoryFlags, VariableFlags};
use super::setup::{self, Wanted};
use crate::connection::Transport;
use crate::engine::{self, ConnectionDefaults, Edges, Ended, Inputs, Options};
use crate::journal::{Event, FORMAT, Header, Journal, RunFolder, RunId};
use crate::report::{Console, HostLogs, Plain, Settings, page};
use crate::simulation::{EPOCH_MS, Faults, Fleet, Invariants, SimulatedTransport, VirtualClock};
use crate::vars::{RunInfo, Store};

/// Flags of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Playbooks, run one after the other
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub variables: VariableFlags,
    /// Hosts of the fleet, spread over the groups that the playbooks name; instead of an inventory
    #[arg(long, value_name = "N", conflicts_with = "inventory", value_parser = clap::value_parser!(u32).range(1..))]
    pub hosts: Option<u32>,
    /// What goes wrong and how long calls take; `docs/simulate.md` has the format
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Decides all chance: the same seed gives the same run
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Hosts working at once
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub forks: u32,
    /// Change nothing; say what would change
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Only plays and tasks with these tags
    #[arg(short, long, value_delimiter = ',', value_name = "TAGS")]
    pub tags: Vec<String>,
    /// All but plays and tasks with these tags
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub skip_tags: Vec<String>,
    /// Show more; repeat for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Keep journal and host logs in this folder, which must not exist
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
}

/// What to rehearse.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    pub playbooks: Vec<PathBuf>,
    pub inventory: InventoryFlags,
    pub variables: VariableFlags,
    pub faults: Faults,
    pub seed: u64,
    pub forks: u32,
    pub check: bool,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    pub verbosity: u8,
}

/// A finished rehearsal.
#[derive(Debug)]
pub struct Rehearsed {
    pub ended: Ended,
    /// All variables as the run left them.
    pub store: Arc<Store>,
    pub fleet: Arc<Fleet>,
    /// Real time from the first file read to the finished plan.
    pub planned_in: Duration,
    /// Real time of the run itself.
    pub ran_in: Duration,
    /// Simulated time of the run.
    pub simulated: Duration,
}

/// Runs a rehearsal on this thread, and sends every event. Journal and logs lie in `folder`.
///
/// # Errors
/// Anything wrong before the run, or a folder that cannot be written.
pub fn rehearse(
    wanted: &Rehearsal,
    folder: &RunFolder,
    reports: mpsc::SyncSender<Arc<Event>>,
) -> Result<Rehearsed, Trouble> {
    rehearse_through(wanted, folder, reports, |fleet| Arc::new(fleet))
}

/// As [`rehearse`], with something between the run and the fleet.
///
/// # Errors
/// As [`rehearse`].
pub fn rehearse_through(
    wanted: &Rehearsal,
    folder: &RunFolder,
    reports: mpsc::SyncSender<Arc<Event>>,
    way: impl FnOnce(SimulatedTransport) -> Arc<dyn Transport>,
) -> Result<Rehearsed, Trouble> {
    let began = Instant::now();
    let ready = setup::prepare(&Wanted {
        run: RunInfo {
            check_mode: wanted.check,
            forks: wanted.forks,
            verbosity: u32::from(wanted.verbosity),
            run_tags: wanted.tags.clone(),
            skip_tags: wanted.skip_tags.clone(),
            limit: wanted.inventory.limit.clone(),
            ..RunInfo::default()
        },
        ..Wanted::new(&wanted.playbooks, &wanted.inventory, &wanted.variables)
    })?;
    let planned_in = began.elapsed();
    let fleet = Arc::new(Fleet::new(wanted.seed, wanted.faults.clone()));
    let store = Arc::clone(&ready.store);
    let header = Header {
        dcos_play_journal: FORMAT,
        run: folder.id.0.clone(),
        program: format!("dcos-play {}", env!("CARGO_PKG_VERSION")),
        agent_run: folder.id.0.clone(),
    };
    let journal = Journal::create(folder.journal(), &header)?;
    let vault = setup::vault_opener(&ready.vault);
    let inputs = Inputs {
        run: folder.id.0.clone(),
        playbook: ready.playbook,
        plan: ready.plan,
        sources: ready.sources,
        store: ready.store,
        templates: ready.templates,
        resolver: ready.resolver,
        options: options(wanted, ready.smart_gathering)?,
        masks: ready.masks,
        vault,
        console: None,
        resume: None,
        reload_inventory: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let transport = way(SimulatedTransport(Arc::clone(&fleet)));
    // Nobody interrupts a rehearsal; the sender must live as long as the run all the same.
    let (_interrupted, interrupts) = watch::channel(0_u8);
    let began = Instant::now();
    let (ended, simulated) = runtime.block_on(async move {
        let clock = VirtualClock::start();
        let edges = Edges {
            transport,
            now: Arc::new(move || clock.milliseconds()),
            journal,
            reports,
            interrupts,
            clock: Arc::new(clock),
            pid: 0,
        };
        let ended = engine::run(inputs, edges).await;
        let simulated = u64::try_from(clock.milliseconds() - EPOCH_MS).unwrap_or_default();
        (ended, Duration::from_millis(simulated))
    });
    Ok(Rehearsed { ended, store, fleet, planned_in, ran_in: began.elapsed(), simulated })
}

fn options(wanted: &Rehearsal, smart_gathering: bool) -> Result<Options, Trouble> {
    let absolute = |path: &PathBuf| std::path::absolute(path);
    let playbooks: Vec<PathBuf> = wanted.playbooks.iter().map(absolute).collect::<Result<_, _>>()?;
    Ok(Options {
        forks: wanted.forks as usize,
        check: wanted.check,
        diff: false,
        tags: wanted.tags.clone(),
        skip_tags: wanted.skip_tags.clone(),
        limit: wanted.inventory.limit.clone(),
        force_handlers: false,
        start_at: None,
        step: false,
        flush_cache: false,
        smart_gathering,
        clouds: false,
        allow_replace: false,
        replace: Vec::new(),
        task_timeout: None,
        connection: ConnectionDefaults {
            connect_timeout: Duration::from_secs(10),
            check_host_keys: true,
            ..ConnectionDefaults::default()
        },
        playbook_directory: playbooks
            .first()
            .and_then(|p| p.parent())
            .map(Path::to_owned)
            .unwrap_or_default(),
        playbooks: playbooks.iter().map(|p| p.display().to_string()).collect(),
        verbosity: wanted.verbosity,
        command: vec!["dcos-play".to_owned(), "simulate".to_owned()],
    })
}

/// Simulates, and gives the exit status of the simulated run.
///
/// # Errors
/// Anything wrong before the run.
pub fn run(args: &SimulateArgs) -> Result<u8, Trouble> {
    let faults = match &args.faults {
        Some(path) => {
            Faults::read(path).map_err(|e| Trouble::new(crate::exit::PLAYBOOK, format!("error: {e}")))?
        }
        None => Faults::default(),
    };
    let scratch = tempfile::tempdir()?;
    let mut inventory = args.inventory.clone();
    if let Some(hosts) = args.hosts {
        let path = scratch.path().join("fleet.yml");
        fs_err::write(&path, fleet_inventory(&args.playbooks, hosts)?)?;
        inventory.inventory = vec![path.display().to_string()];
    }
    let place = match &args.keep {
        Some(path) => path.clone(),
        None => scratch.path().join("run"),
    };
    fs_err::create_dir(&place)?;
    fs_err::create_dir(place.join("hosts"))?;
    let folder = RunFolder { id: RunId("simulated".to_owned()), path: place };
    let settings = Settings {
        folder: args.keep.as_ref().map_or_else(|| "not kept".to_owned(), |p| p.display().to_string()),
        page: args.keep.as_ref().map(|p| p.join("report.html").display().to_string()),
        again: "dcos-play simulate ...".to_owned(),
        verbosity: args.verbose,
        diff: false,
        colour: common::colour(),
        width: common::width(),
    };
    let console = Console::Plain(Plain::new(Box::new(std::io::stdout()), settings));
    let (reports, told) = mpsc::sync_channel::<Arc<Event>>(engine::REPORTS_AHEAD);
    let (checked, events) = mpsc::sync_channel(engine::REPORTS_AHEAD);
    let watcher = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        let mut invariants = Invariants::default();
        let mut broken = None;
        for event in told {
            if broken.is_none() {
                broken = invariants.after(&event).err();
            }
            // A reporter that ended has said why; the rules are checked all the same.
            let _ = checked.send(event);
        }
        broken
    })?;
    let logs = HostLogs::new(folder.clone());
    let reporter = std::thread::Builder::new()
        .name("report".to_owned())
        .spawn(move || crate::report::run(&events, logs, console, &mut std::io::stderr()))?;
    let wanted = Rehearsal {
        playbooks: args.playbooks.clone(),
        inventory,
        variables: args.variables.clone(),
        faults,
        seed: args.seed,
        forks: args.forks,
        check: args.check,
        tags: args.tags.clone(),
        skip_tags: args.skip_tags.clone(),
        verbosity: args.verbose,
    };
    let rehearsed = rehearse(&wanted, &folder, reports)?;
    let broken = watcher.join().ok().flatten();
    let _ = reporter.join();
    if args.keep.is_some() {
        page::write(&folder, None)?;
    }
    if let Some(fault) = &rehearsed.ended.fault {
        writeln!(std::io::stderr(), "error: {fault}")?;
    }
    let fleet = &rehearsed.fleet;
    writeln!(
        std::io::stdout(),
        "simulated   seed {}, {} calls, at most {} hosts busy at once",
        args.seed,
        fleet.calls(),
        fleet.most_busy()
    )?;
    let most = fleet.most_busy();
    let broken = match broken {
        None if most > args.forks as usize => {
            Some(format!("{most} hosts were busy at once, with --forks {}", args.forks))
        }
        broken => broken.map(|b| b.to_string()),
    };
    if let Some(broken) = broken {
        let text = format!(
            "internal error: a rule that holds in every run was broken {broken}\n  please report it with the playbook and --seed {}",
            args.seed
        );
        return Err(Trouble::new(crate::exit::ERROR, text));
    }
    Ok(engine::exit_code(&rehearsed.ended))
}

/// An inventory of so many hosts, in equal parts in the groups that the plays name.
fn fleet_inventory(playbooks: &[PathBuf], hosts: u32) -> Result<String, Trouble> {
    let mut groups = BTreeSet::new();
    for path in playbooks {
        // A playbook that cannot be read or parsed gets its proper message a moment later.
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        for line in text.lines() {
            let line = line.trim_start_matches(['-', ' ']);
            let Some(pattern) = line.strip_prefix("hosts:") else { continue };
            let words = pattern.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
            groups.extend(words.filter(|w| w.starts_with(char::is_alphabetic)).map(str::to_owned));
        }
    }
    for known in ["all", "localhost", "ungrouped"] {
        groups.remove(known);
    }
    let mut text = String::from("all:\n");
    let digits = hosts.to_string().len();
    let line = |n: u32| format!("node{:0digits$}:\n", n + 1);
    if groups.is_empty() {
        text.push_str("  hosts:\n");
        (0..hosts).for_each(|n| text.push_str(&format!("    {}", line(n))));
        return Ok(text);
    }
    text.push_str("  children:\n");
    let count = u32::try_from(groups.len()).unwrap_or(1);
    for (number, group) in groups.iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(0);
        text.push_str(&format!("    {group}:\n      hosts:\n"));
        let mine = (0..hosts).filter(|n| n % count == number);
        mine.for_each(|n| text.push_str(&format!("        {}", line(n))));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_is_spread_over_the_groups_that_plays_name() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("site.yml");
        std::fs::write(&path, "- hosts: web:db\n- hosts: all\n- hosts: localhost\n").expect("writes");
        let text = fleet_inventory(&[path], 3).expect("spreads");
        let wanted = "all:\n  children:\n    db:\n      hosts:\n        node1:\n        node3:\n    web:\n      hosts:\n        node2:\n";
        assert_eq!(text, wanted);
    }
}
