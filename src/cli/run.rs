//! `dcos-play run`: the flags of `ansible-playbook`, and the run they ask for.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::sync::watch;

use super::common::{self, InventoryFlags, VariableFlags};
use super::listing::{self, Shown};
use super::setup::{self, Wanted};
use super::{Trouble, lab};
use crate::connection::{Pool, PoolSettings};
use crate::engine::{self, ConnectionDefaults, Edges, Inputs, Interrupted, Options, Resume};
use crate::inventory::Limit;
use crate::journal::{FORMAT, Header, History, HostsLock, Journal, RunFolder};
use crate::lab::{Lab, LabDirs, LabSpec};
use crate::report::{Console, HostLogs, Json, Plain, Settings, Terminal, page};
use crate::source::Diagnostics;
use crate::vars::RunInfo;
use crate::vars::secrets::Secret;
use crate::vars::vault::password_in;

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Live screen on a terminal, plain lines elsewhere
    Auto,
    /// One line an event
    Plain,
    /// Every event as a line of JSON
    Json,
}

/// What to do with an interrupted step whose module cannot be repeated blindly (`command`, `shell`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnInterrupted {
    /// The host stops there, unless its agent still has the result
    Stop,
    /// Run it again
    Repeat,
    /// Take it as done
    Skip,
}

/// Flags of `run`; those that `ansible-playbook` has carry its names.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Playbooks, run one after the other
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryFlags,
    #[command(flatten)]
    pub variables: VariableFlags,
    /// Change nothing; say what would change
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Show what changes in files, before and after
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Only plays and tasks with these tags
    #[arg(short, long, value_delimiter = ',', value_name = "TAGS")]
    pub tags: Vec<String>,
    /// All but plays and tasks with these tags
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub skip_tags: Vec<String>,
    /// Hosts working at once
    #[arg(short, long, default_value_t = 64, env = "ANSIBLE_FORKS", value_parser = clap::value_parser!(u32).range(1..))]
    pub forks: u32,
    /// List what would run, tasks of dynamic includes aside; run nothing
    #[arg(long)]
    pub list_tasks: bool,
    /// List all tags; run nothing
    #[arg(long)]
    pub list_tags: bool,
    /// List the hosts of each play; run nothing
    #[arg(long)]
    pub list_hosts: bool,
    /// Only check the playbooks; run nothing
    #[arg(long)]
    pub syntax_check: bool,
    /// Start at the task of this name, which may be a wildcard
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub start_at_task: Option<String>,
    /// Ask before each task whether to run it
    #[arg(long)]
    pub step: bool,
    /// Forget the facts of earlier runs
    #[arg(long)]
    pub flush_cache: bool,
    /// Let infrastructure plays replace instances; what is on them is lost
    #[arg(long)]
    pub allow_replace: bool,
    /// Make this object of an infrastructure play anew, as `plan` names it (`masters[1]`); repeatable
    #[arg(long, value_name = "NAME")]
    pub replace: Vec<String>,
    /// Run notified handlers even when a task failed
    #[arg(long)]
    pub force_handlers: bool,
    /// Become another user
    #[arg(short = 'b', long = "become")]
    pub r#become: bool,
    /// How to become another user: sudo, doas
    #[arg(long, value_name = "METHOD")]
    pub become_method: Option<String>,
    /// The user to become
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,
    /// Ask for the password to become another user
    #[arg(short = 'K', long = "ask-become-pass")]
    pub ask_become_pass: bool,
    /// Ask for the SSH password
    #[arg(short = 'k', long = "ask-pass")]
    pub ask_pass: bool,
    /// File with the password to become another user; `-` reads standard input, a program is run
    #[arg(long, visible_alias = "become-pass-file", value_name = "FILE", conflicts_with = "ask_become_pass")]
    pub become_password_file: Option<PathBuf>,
    /// File with the SSH password; `-` reads standard input, a program is run
    #[arg(long, visible_alias = "conn-pass-file", value_name = "FILE", conflicts_with = "ask_pass")]
    pub connection_password_file: Option<PathBuf>,
    /// The user to log in as
    #[arg(short = 'u', long = "user", value_name = "USER")]
    pub user: Option<String>,
    /// The private key to log in with
    #[arg(long = "private-key", visible_alias = "key-file", value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// How to reach hosts: ssh, local
    #[arg(short = 'c', long, value_name = "TYPE")]
    pub connection: Option<String>,
    /// Seconds within which a host must answer
    #[arg(short = 'T', long, default_value_t = 10, value_name = "SECONDS", env = "ANSIBLE_TIMEOUT")]
    pub timeout: u64,
    /// Seconds after which a task without `timeout` is ended; 0: never
    #[arg(long, default_value_t = 0, value_name = "SECONDS", env = "ANSIBLE_TASK_TIMEOUT")]
    pub task_timeout: u64,
    /// Arguments for ssh
    #[arg(long, value_name = "ARGS", env = "ANSIBLE_SSH_COMMON_ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// More arguments for ssh, after those
    #[arg(long, value_name = "ARGS", env = "ANSIBLE_SSH_EXTRA_ARGS", allow_hyphen_values = true)]
    pub ssh_extra_args: Option<String>,
    /// Folders with executables that are modules, separated by colons; those of the playbook come first
    #[arg(short = 'M', long, value_name = "FOLDERS", env = "ANSIBLE_LIBRARY")]
    pub module_path: Option<String>,
    /// Show more; repeat for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Go on where an earlier run of the same playbooks stopped: its id, or the latest
    #[arg(long, value_name = "RUN", num_args = 0..=1, require_equals = false)]
    pub resume: Option<Option<String>>,
    /// With --resume: only say where each host would go on, and why
    #[arg(long, requires = "resume")]
    pub explain: bool,
    /// With --resume: what to do with a step that was interrupted and may not be repeated blindly
    #[arg(long, value_enum, default_value_t = OnInterrupted::Stop, requires = "resume")]
    pub interrupted: OnInterrupted,
    /// How the run is shown
    #[arg(long, value_enum, default_value_t = Output::Auto)]
    pub output: Output,
}

/// Runs, and gives the exit status.
///
/// # Errors
/// Anything wrong before the first host is touched.
pub fn run(args: &RunArgs) -> Result<u8, Trouble> {
    run_to(args, engine::exit_code)
}

/// Hosts without anything left to do that `--explain` names one by one.
const SHOWN_DONE: usize = 20;

/// As [`run`], with another meaning of exit statuses.
pub(super) fn run_to(args: &RunArgs, status: fn(&engine::Ended) -> u8) -> Result<u8, Trouble> {
    let tags = |list: &[String], default: &[&str]| -> Vec<String> {
        if list.is_empty() { default.iter().map(|s| (*s).to_owned()).collect() } else { list.to_vec() }
    };
    let wanted = Wanted {
        library: args.module_path.as_deref(),
        kept_facts: true,
        run: RunInfo {
            check_mode: args.check,
            diff_mode: args.diff,
            forks: args.forks,
            verbosity: u32::from(args.verbose),
            run_tags: tags(&args.tags, &["all"]),
            skip_tags: args.skip_tags.clone(),
            limit: args.inventory.limit.clone(),
            ..RunInfo::default()
        },
        ..Wanted::new(&args.playbooks, &args.inventory, &args.variables)
    };
    let ready = setup::prepare(&wanted)?;
    let shown = Shown { tasks: args.list_tasks, tags: args.list_tags, hosts: args.list_hosts };
    if shown.any() || args.syntax_check {
        warn(&ready)?;
        check_limit(args, &ready)?;
        listing::print(&ready, args, shown, &mut std::io::stdout().lock())?;
        return Ok(crate::exit::FINE);
    }
    super::infrastructure::refuse_without_cloud(&ready)?;
    let start_at = match &args.start_at_task {
        Some(name) => Some(listing::find_start(&ready, args, name)?),
        None => None,
    };
    let earlier = earlier_run(args)?;
    check_limit(args, &ready)?;
    // A run that works on this machine alone, such as one over infrastructure, boots nobody.
    let used = engine::hosts_of(&ready.playbook, &ready.store, &ready.templates);
    if used.is_none_or(|used| used.iter().any(|host| &**host != "localhost")) {
        boot_labs(&ready.labs)?;
    }
    let (password, become_password) = passwords(args)?;
    let directory = std::env::current_dir()?;
    // What only explains is no run: it must not become the latest one.
    let scratch = if args.explain { Some(tempfile::tempdir()?) } else { None };
    let folder = match &scratch {
        Some(scratch) => RunFolder::scratch(scratch.path())?,
        None => RunFolder::create(&directory, &jiff::Zoned::now()).map_err(|e| no_journal(&e))?,
    };
    let _hosts = claim(args, &ready, &folder)?;
    let shown_folder = format!(".dcos-play/runs/{}", folder.id);
    let terminal =
        // Questions and a screen that redraws itself don't go together.
        args.output == Output::Auto && !args.step && std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
    let command = masked_command(&ready.masks);
    let settings = Settings {
        page: Some(format!("{shown_folder}/report.html")),
        folder: shown_folder,
        again: again(&command),
        verbosity: args.verbose,
        diff: args.diff,
        colour: common::colour(),
        width: common::width(),
    };
    let console = match args.output {
        _ if args.explain => Console::Plain(Plain::new(Box::new(std::io::sink()), settings.clone())),
        Output::Json => Console::Json(Json::new(Box::new(std::io::stdout()))),
        _ if terminal => Console::Terminal(Terminal::new(settings.clone())),
        _ => Console::Plain(Plain::new(Box::new(std::io::stdout()), settings.clone())),
    };
    warn(&ready)?;
    let (reports, events) = mpsc::sync_channel(engine::REPORTS_AHEAD);
    let logs = HostLogs::new(folder.clone());
    let reporter = std::thread::Builder::new()
        .name("report".to_owned())
        .spawn(move || crate::report::run(&events, logs, console, &mut std::io::stderr()))?;
    let header = Header {
        dcos_play_journal: FORMAT,
        run: folder.id.0.clone(),
        program: format!("dcos-play {}", env!("CARGO_PKG_VERSION")),
        agent_run: earlier.as_ref().map_or_else(|| folder.id.0.clone(), |(agent_run, _)| agent_run.clone()),
    };
    let agent_run = header.agent_run.clone();
    let journal = Journal::create(folder.journal(), &header).map_err(|e| no_journal(&e))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let pool = Arc::new(Pool::new(PoolSettings {
        run: agent_run,
        control_directory: control_directory()?,
        openings: 32,
        hello: Duration::from_secs(args.timeout.max(1) * 3),
        reconnect: Duration::from_secs(reconnect_seconds()),
    }));
    let (interrupted, interrupts) = watch::channel(0_u8);
    let vault = setup::vault_opener(&ready.vault);
    let reload = setup::reloader(&args.inventory, &args.variables, &args.playbooks[0], &ready)?;
    if let Some(cache) = ready.store.fact_cache().filter(|_| !args.check) {
        cache.keep();
    }
    if args.flush_cache {
        for host in ready.store.inventory().hosts() {
            ready.store.host(&host.name).clear_facts();
        }
    }
    let inputs = Inputs {
        run: folder.id.0.clone(),
        playbook: ready.playbook,
        plan: ready.plan,
        sources: ready.sources,
        store: ready.store,
        templates: ready.templates,
        resolver: ready.resolver,
        options: Options {
            forks: args.forks as usize,
            check: args.check,
            diff: args.diff,
            tags: args.tags.clone(),
            skip_tags: args.skip_tags.clone(),
            limit: args.inventory.limit.clone(),
            force_handlers: args.force_handlers,
            start_at,
            step: args.step,
            flush_cache: args.flush_cache,
            smart_gathering: ready.smart_gathering,
            clouds: true,
            allow_replace: args.allow_replace,
            replace: args.replace.clone(),
            task_timeout: (args.task_timeout > 0).then(|| Duration::from_secs(args.task_timeout)),
            connection: ConnectionDefaults {
                connection: args.connection.clone(),
                user: args.user.clone(),
                private_key: args.private_key.clone(),
                connect_timeout: Duration::from_secs(args.timeout.max(1)),
                check_host_keys: host_keys_checked(),
                common_args: args.ssh_common_args.clone(),
                extra_args: args.ssh_extra_args.clone(),
                ssh_args: super::config::get().value("ssh_connection", "ssh_args").map(str::to_owned),
                r#become: args.r#become,
                become_user: args.become_user.clone(),
                become_method: args.become_method.clone(),
                password,
                become_password,
            },
            playbook_directory: std::path::absolute(&args.playbooks[0])?
                .parent()
                .map(PathBuf::from)
                .unwrap_or(directory),
            playbooks: args
                .playbooks
                .iter()
                .map(|p| std::path::absolute(p).map(|p| p.display().to_string()))
                .collect::<Result<_, _>>()?,
            verbosity: args.verbose,
            command,
        },
        masks: ready.masks,
        vault,
        console: None,
        resume: earlier.map(|(_, resume)| resume),
        reload_inventory: Some(reload),
    };
    let edges = Edges {
        transport: pool,
        now: Arc::new(|| jiff::Timestamp::now().as_millisecond()),
        journal,
        reports,
        interrupts,
        clock: Arc::new(crate::actions::SystemClock::default()),
        pid: std::process::id(),
    };
    let ended = runtime.block_on(async move {
        tokio::spawn(listen_for_interrupts(interrupted));
        engine::run(inputs, edges).await
    });
    // Workers of hosts that never answer must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(200));
    let _ = reporter.join();
    if !args.explain {
        write_page(&folder)?;
    }
    if args.explain {
        let mut out = std::io::stdout().lock();
        for (host, what) in &ended.departures {
            writeln!(out, "{host:<14} goes on at {what}")?;
        }
        let goes_on = |host: &Arc<str>| ended.departures.iter().any(|(going, _)| going == host);
        let done: Vec<_> = ended.totals.hosts.keys().filter(|host| !goes_on(host)).collect();
        match (done.len(), ended.departures.is_empty()) {
            (_, true) => writeln!(out, "nothing is left to do")?,
            (count, _) if count > SHOWN_DONE => writeln!(out, "{count} other hosts have nothing left to do")?,
            _ => {
                for host in done {
                    writeln!(out, "{host:<14} has nothing left to do")?;
                }
            }
        }
    }
    if ended.journal_failed {
        writeln!(
            std::io::stderr(),
            "error: the run stopped because its journal could not be written any more\n  next: free some space, then go on with --resume; steps that had begun may be asked about"
        )?;
    }
    if let Some(fault) = &ended.fault {
        writeln!(std::io::stderr(), "error: {fault}")?;
    }
    Ok(status(&ended))
}

/// A run that cannot keep its journal does not begin.
fn no_journal(error: &dyn std::error::Error) -> Trouble {
    let text = format!(
        "error: {}\n  nothing was run: the journal is what a run goes on from after a failure\n  next: free some space, or run in another folder",
        common::with_causes(error)
    );
    Trouble::new(crate::exit::JOURNAL, text)
}

/// The run's page. The run is over: a page that cannot be written is worth a warning, no more.
fn write_page(folder: &RunFolder) -> Result<(), Trouble> {
    let mut err = std::io::stderr();
    if !page::wanted(folder) {
        writeln!(err, "note: a long run; `dcos-play report {}` writes its report.html", folder.id)?;
    } else if let Err(error) = page::write(folder, None) {
        writeln!(err, "warning: {}", common::with_causes(&error))?;
    }
    Ok(())
}

/// Shows the warnings about the playbooks.
fn warn(ready: &setup::Ready) -> Result<(), Trouble> {
    let mut err = std::io::stderr().lock();
    for warning in ready.warnings.list.iter().filter(|d| setup::is_warning(d)) {
        writeln!(err, "{}", warning.render(&ready.sources))?;
    }
    Ok(())
}

/// Reads the run that `--resume` names: the name agents know it by, and what it did.
fn earlier_run(args: &RunArgs) -> Result<Option<(String, Resume)>, Trouble> {
    let Some(wanted) = &args.resume else { return Ok(None) };
    let wrong = |text: String| Trouble::new(crate::exit::PLAYBOOK, format!("error: {text}"));
    let folder = crate::journal::latest(&std::env::current_dir()?, wanted.as_deref())
        .map_err(|e| wrong(e.to_string()))?;
    let (header, events) = crate::journal::read(&folder.journal()).map_err(|e| wrong(e.to_string()))?;
    let history = with_earlier(History::of(&events), &wrong)?;
    let given: Vec<String> = args
        .playbooks
        .iter()
        .map(|p| std::path::absolute(p).map(|p| p.display().to_string()))
        .collect::<Result<_, _>>()?;
    if history.playbooks != given {
        return Err(wrong(format!(
            "run {} was of {}, which is not what you want to resume",
            folder.id,
            history.playbooks.join(", ")
        )));
    }
    let interrupted = match args.interrupted {
        OnInterrupted::Stop => Interrupted::Ask,
        OnInterrupted::Repeat => Interrupted::Repeat,
        OnInterrupted::Skip => Interrupted::Skip,
    };
    let resume = Resume { history: Arc::new(history), explain: args.explain, interrupted };
    Ok(Some((header.agent_run, resume)))
}

/// Adds what the runs before knew: a resumed run that was killed early has not taken over all of it yet.
fn with_earlier(mut history: History, wrong: &dyn Fn(String) -> Trouble) -> Result<History, Trouble> {
    let mut seen = vec![history.run.clone()];
    while let Some(id) = history.resumes.take().filter(|id| !seen.contains(id)) {
        let folder = match crate::journal::latest(&std::env::current_dir()?, Some(&id)) {
            Ok(folder) => folder,
            // A run that came to its end has taken over all that it could.
            Err(_) if history.finished => break,
            Err(error) => {
                let text =
                    format!("run {} resumed run {id} and did not come to its end: {error}", history.run);
                return Err(wrong(text));
            }
        };
        let (_, events) = crate::journal::read(&folder.journal()).map_err(|e| wrong(e.to_string()))?;
        history = history.after(History::of(&events));
        seen.push(id);
    }
    Ok(history)
}

/// Counts Ctrl-C and SIGTERM. The third ends the run at once, and this process soon after, whatever it is busy with.
async fn listen_for_interrupts(interrupted: watch::Sender<u8>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        interrupted.send_modify(|n| *n = n.saturating_add(1));
        if *interrupted.borrow() >= 3 {
            // Time for the recap. A thread of its own, because what holds the end up may be a terminal that takes no more text,
            // and by then the runtime is gone. The journal is written event by event: leaving loses nothing that had happened.
            std::thread::spawn(|| {
                std::thread::sleep(Duration::from_secs(2));
                #[expect(clippy::exit, reason = "the third Ctrl-C means now")]
                std::process::exit(i32::from(crate::exit::CANCELLED));
            });
            return;
        }
    }
}

/// Boots the lab hosts that the inventory lists and that do not run yet.
fn boot_labs(labs: &[LabSpec]) -> Result<(), Trouble> {
    for spec in labs {
        let lab = Lab::new(spec.clone(), LabDirs::of_user()?, std::env::current_exe()?);
        lab.up(&lab::Lines::new(&mut std::io::stderr()))?;
    }
    Ok(())
}

fn check_limit(args: &RunArgs, ready: &setup::Ready) -> Result<(), Trouble> {
    let Some(limit) = &args.inventory.limit else { return Ok(()) };
    let directory = std::env::current_dir()?;
    let mut found = Diagnostics::default();
    match Limit::parse(limit, &directory, &ready.sources) {
        Ok(parsed) => {
            let inventory = ready.store.inventory();
            parsed.check(&inventory, &mut found);
            // This machine can be meant without being listed.
            let unlisted = ["localhost", "127.0.0.1", "::1"].map(Arc::from);
            let all: Vec<Arc<str>> = inventory.hosts().map(|h| Arc::clone(&h.name)).chain(unlisted).collect();
            if !found.has_errors() && parsed.apply(all, &inventory).is_empty() {
                let text = format!(
                    "error: --limit `{limit}` leaves no host\n  see what there is: dcos-play inventory list"
                );
                return Err(Trouble::new(crate::exit::PLAYBOOK, text));
            }
        }
        Err(finding) => found.push(finding),
    }
    if found.has_errors() {
        return Err(Trouble::new(crate::exit::PLAYBOOK, setup::shown(&found, &ready.sources)));
    }
    Ok(())
}

fn passwords(args: &RunArgs) -> Result<(Option<Secret>, Option<Secret>), Trouble> {
    let password =
        if args.ask_pass { Some(Secret::new(crate::ask::line("SSH password", None, true)?)) } else { None };
    let password = match &args.connection_password_file {
        Some(path) => Some(password_in(path, &[])?),
        None => password,
    };
    if let Some(path) = &args.become_password_file {
        return Ok((password, Some(password_in(path, &[])?)));
    }
    let become_password = if args.ask_become_pass {
        let default = if password.is_some() { " (empty: the SSH password)" } else { "" };
        let typed = crate::ask::line(&format!("BECOME password{default}"), None, true)?;
        if typed.is_empty() { password.clone() } else { Some(Secret::new(typed)) }
    } else {
        None
    };
    Ok((password, become_password))
}

/// Claims the hosts of all plays, so that no second run works on them at the same time.
fn claim(args: &RunArgs, ready: &setup::Ready, folder: &RunFolder) -> Result<HostsLock, Trouble> {
    let inventory = ready.store.inventory();
    let mut hosts: Vec<Arc<str>> = inventory.hosts().map(|h| Arc::clone(&h.name)).collect();
    if let Some(limit) = &args.inventory.limit
        && let Ok(limit) = Limit::parse(limit, &std::env::current_dir()?, &ready.sources)
    {
        hosts = limit.apply(hosts, &inventory);
    }
    let used = engine::hosts_of(&ready.playbook, &ready.store, &ready.templates);
    let mut names: BTreeSet<String> = hosts
        .iter()
        .filter(|h| used.as_ref().is_none_or(|used| used.contains(*h)))
        .map(|h| engine::address_of(&ready.store, &ready.templates, h))
        .filter(|address| address != "localhost")
        .collect();
    names.extend(super::infrastructure::claims(ready));
    let claims = state_directory()?.join("claims");
    let claimed = HostsLock::claim(&claims, &folder.id.0, names).map_err(|e| {
        let text = format!("error: the run's hosts cannot be claimed in {}: {e}", claims.display());
        Trouble::new(crate::exit::ERROR, text)
    })?;
    match claimed {
        Ok(lock) => Ok(lock),
        Err(conflict) => {
            // Nothing happened: an empty run folder would only be in the way of `latest`.
            let _ = fs_err::remove_dir_all(&folder.path);
            let text =
                format!("error: {conflict}\n  wait for it to end, or stop it: kill -INT {}", conflict.pid);
            Err(Trouble::new(crate::exit::BUSY, text))
        }
    }
}

pub(super) fn host_keys_checked() -> bool {
    match std::env::var("ANSIBLE_HOST_KEY_CHECKING") {
        Ok(said) => !matches!(said.to_lowercase().as_str(), "false" | "no" | "0" | "off"),
        Err(_) => {
            let config = super::config::get();
            let said = config.flag("defaults", "host_key_checking");
            said.or_else(|| config.flag("ssh_connection", "host_key_checking")).unwrap_or(true)
        }
    }
}

/// The command line as it can be shown: secrets given with `-e` are masked where they are known as such.
fn masked_command(masks: &crate::vars::secrets::Masks) -> Vec<String> {
    let mut words: Vec<String> = vec!["dcos-play".to_owned()];
    words.extend(std::env::args().skip(1).map(|w| {
        let shown = masks.mask(&w).into_owned();
        shlex::try_quote(&shown).map(std::borrow::Cow::into_owned).unwrap_or(shown)
    }));
    words
}

/// `$XDG_STATE_HOME/dcos-play`: what outlives a run and belongs to the user.
pub(super) fn state_directory() -> Result<PathBuf, Trouble> {
    let base = match std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => std::env::home_dir()
            .ok_or_else(|| {
                Trouble::new(crate::exit::ERROR, "error: no home folder: set HOME or XDG_STATE_HOME")
            })?
            .join(".local/state"),
    };
    Ok(base.join("dcos-play"))
}

/// A private folder with a short path: names of sockets are limited to about a hundred bytes.
fn control_directory() -> Result<PathBuf, Trouble> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let uid = nix::unistd::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty()).map(PathBuf::from);
    let path = match runtime.filter(|p| p.is_dir() && p.as_os_str().len() < 40) {
        Some(path) => path.join("dcos-play"),
        None => PathBuf::from(format!("/tmp/.dcos-play-{uid}")),
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
    let meta = fs_err::symlink_metadata(&path)?;
    if meta.uid() != uid || meta.mode() & 0o077 != 0 || !meta.is_dir() {
        let text = format!("error: {} must be a folder that only you can read: remove it", path.display());
        return Err(Trouble::new(crate::exit::ERROR, text));
    }
    Ok(path)
}

/// The command that goes on after a failure.
fn again(command: &[String]) -> String {
    let line = command.join(" ");
    if command.iter().any(|w| w == "--resume") { line } else { format!("{line} --resume") }
}

/// `DCOS_PLAY_RECONNECT`: seconds within which a connection that broke during a step must come back.
fn reconnect_seconds() -> u64 {
    std::env::var("DCOS_PLAY_RECONNECT").ok().and_then(|v| v.parse().ok()).unwrap_or(60)
}
