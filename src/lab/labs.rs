//! A lab as a whole: bringing it up, asking after it, acting on its hosts, taking it down without a trace.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;

use super::cgroup::{self, Cgroup};
use super::dirs::LabDirs;
use super::error::LabError;
use super::host::{Host, HostState, remove_all};
use super::image::{self, Images, recipe_hash};
use super::keys;
use super::network::{Bridge, Network};
use super::progress::{LabEvent, Progress};
use super::spec::{HostSpec, LabInventory, LabSpec, ssh_options};
use super::tools::{last_line, require_root_and_programs};
use super::www;
use crate::source::nearest;

/// Hosts boot in about a second; this is for a machine that is busy with a dozen of them.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);
/// What services in a host get to end by themselves.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(25);
/// The web server's cgroup; no host can have this name.
const WWW: &str = "_www";

/// A lab on this machine.
#[derive(Debug, Clone)]
pub struct Lab {
    spec: LabSpec,
    dirs: LabDirs,
    program: PathBuf,
}

/// How a host is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct HostStatus {
    /// Which host.
    pub host: HostSpec,
    /// What it does.
    pub state: HostState,
    /// How many processes it has.
    pub processes: usize,
}

/// What is written down about a lab that was brought up, for the times when its inventory file says something else.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    network: String,
}

impl Lab {
    /// Prepares to act on a lab; nothing is touched yet. `program` is the `dcos-play` binary that serves the web folder.
    pub fn new(spec: LabSpec, dirs: LabDirs, program: impl Into<PathBuf>) -> Self {
        Lab { spec, dirs, program: program.into() }
    }

    /// What the lab consists of.
    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// Where its files are.
    pub fn dirs(&self) -> &LabDirs {
        &self.dirs
    }

    /// The hosts as an inventory has them.
    pub fn inventory(&self) -> LabInventory {
        self.spec.inventory(&self.dirs)
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.dirs.lab(&self.spec.name)
    }

    pub(super) fn bridge(&self) -> Bridge {
        Bridge { name: format!("dl-{}", self.spec.name), network: self.spec.network }
    }

    /// Boots what doesn't run, and returns when every host's sshd answers. Hosts that are cut off stay so.
    pub fn up(&self, progress: &dyn Progress) -> Result<(), LabError> {
        require_root_and_programs()?;
        let hierarchies = cgroup::hierarchies()?;
        let _lock = self.lock(progress)?;
        self.check_record()?;
        self.make_bridge()?;
        self.stop_strangers(&hierarchies, progress)?;

        // The content of the web server needs neither the image nor a host.
        std::thread::scope(|scope| {
            let served = scope.spawn(|| match &self.spec.www {
                Some(www) => {
                    www::ensure(self, www, &Cgroup::new(&hierarchies, &self.spec.name, WWW), progress)
                }
                None => Ok(()),
            });
            self.boot_missing(&hierarchies, progress)?;
            match served.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn boot_missing(&self, hierarchies: &[PathBuf], progress: &dyn Progress) -> Result<(), LabError> {
        let hosts = self.hosts(hierarchies);
        let recipe = recipe_hash();
        let missing = in_parallel(&hosts, |host| {
            let fine =
                matches!(host.state(), HostState::Up | HostState::CutOff) && host.outdated(&recipe).is_none();
            Ok((!fine).then_some(host))
        })?;
        let missing: Vec<&Host<'_>> = missing.into_iter().flatten().collect();
        if missing.is_empty() {
            return Ok(());
        }
        allow_watches(hosts.len(), progress);
        let images = Images::ensure(&self.dirs, progress)?;
        keys::prepare(&self.spec, &self.dirs)?;
        in_parallel(&missing, |host| self.bring_up(host, &images, progress))?;
        Ok(())
    }

    /// Tells how each host is doing.
    pub fn status(&self) -> Result<Vec<HostStatus>, LabError> {
        let hierarchies = cgroup::hierarchies()?;
        in_parallel(&self.hosts(&hierarchies), |host| {
            Ok(HostStatus {
                host: host.spec.clone(),
                state: host.state(),
                processes: host.cgroup.processes()?.len(),
            })
        })
    }

    /// Boots one host and waits until its sshd answers.
    pub fn start_host(&self, name: &str, progress: &dyn Progress) -> Result<(), LabError> {
        require_root_and_programs()?;
        self.known(name)?;
        let _lock = self.lock(progress)?;
        self.check_record()?;
        let hierarchies = cgroup::hierarchies()?;
        let host = self.host(name, &hierarchies)?;
        self.make_bridge()?;
        let images = Images::ensure(&self.dirs, progress)?;
        keys::prepare(&self.spec, &self.dirs)?;
        self.bring_up(&host, &images, progress)
    }

    /// Shuts one host down; `Kill` ends it as if its power went.
    pub fn stop_host(&self, name: &str, how: Stop, progress: &dyn Progress) -> Result<(), LabError> {
        require_root_and_programs()?;
        let hierarchies = cgroup::hierarchies()?;
        let host = self.host(name, &hierarchies)?;
        if how == Stop::ShutDown && host.cgroup.is_alive() {
            // Fails when the host is already on its way down; then waiting is right, too.
            let asked =
                self.exec(name, &["systemctl".to_owned(), "--no-block".to_owned(), "poweroff".to_owned()])?;
            let deadline = Instant::now() + STOP_DEADLINE;
            while asked.status.success() && host.cgroup.is_alive() && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
        }
        host.kill()?;
        progress.on_event(&LabEvent::HostStopped { host: name });
        Ok(())
    }

    /// Reboots one host and waits until its sshd answers under a new boot id.
    pub fn reboot_host(&self, name: &str, progress: &dyn Progress) -> Result<(), LabError> {
        require_root_and_programs()?;
        let hierarchies = cgroup::hierarchies()?;
        let host = self.host(name, &hierarchies)?;
        let started = Instant::now();
        let before = host.boot_id()?;
        let argv = ["systemctl", "--no-block", "reboot"].map(str::to_owned);
        let asked = self.exec(name, &argv)?;
        if !asked.status.success() {
            let said = String::from_utf8_lossy(&asked.stderr).into_owned();
            let last = last_line(&said).unwrap_or("it said nothing").to_owned();
            return Err(LabError::RebootRefused { host: name.to_owned(), last });
        }
        progress.on_event(&LabEvent::HostStarting { host: name });
        let deadline = Instant::now() + BOOT_DEADLINE;
        // Between the two boots there is no process to ask.
        while host.boot_id().map_or(true, |now| now == before) {
            if Instant::now() > deadline {
                let last = format!("it still runs the same boot after {} s", BOOT_DEADLINE.as_secs());
                return Err(LabError::RebootRefused { host: name.to_owned(), last });
            }
            std::thread::sleep(POLL);
        }
        if !host.is_cut() {
            host.wait_until_up(BOOT_DEADLINE)?;
        }
        progress.on_event(&LabEvent::HostReady { host: name, took: started.elapsed() });
        Ok(())
    }

    /// Ends one host, throws its disk away and boots it anew, with the keys and the address it had.
    pub fn reset_host(&self, name: &str, progress: &dyn Progress) -> Result<(), LabError> {
        require_root_and_programs()?;
        self.stop_host(name, Stop::Kill, progress)?;
        {
            let _lock = self.lock(progress)?;
            let hierarchies = cgroup::hierarchies()?;
            self.host(name, &hierarchies)?.wipe()?;
        }
        progress.on_event(&LabEvent::HostWiped { host: name, why: "it is reset" });
        self.start_host(name, progress)
    }

    /// Drops all packets to and from the host, which keeps running. Lasts over reboots, until [`Lab::reconnect`].
    pub fn cut_off(&self, name: &str) -> Result<(), LabError> {
        require_root_and_programs()?;
        self.host(name, &cgroup::hierarchies()?)?.set_cut(true)
    }

    /// Lets the host's packets pass again.
    pub fn reconnect(&self, name: &str) -> Result<(), LabError> {
        require_root_and_programs()?;
        self.host(name, &cgroup::hierarchies()?)?.set_cut(false)
    }

    /// The id of the host's current boot.
    pub fn boot_id(&self, name: &str) -> Result<String, LabError> {
        self.host(name, &cgroup::hierarchies()?)?.boot_id()
    }

    /// Runs a program in the host as root, past the network, and returns what it printed.
    pub fn exec(&self, name: &str, argv: &[String]) -> Result<Output, LabError> {
        Ok(self.exec_command(name, argv)?.stdin(Stdio::null()).output()?)
    }

    /// Prepares a program in the host as root, past the network; the caller decides about input and output.
    pub fn exec_command(&self, name: &str, argv: &[String]) -> Result<Command, LabError> {
        require_root_and_programs()?;
        self.host(name, &cgroup::hierarchies()?)?.command(argv)
    }

    /// Prepares an ssh to the host.
    pub fn ssh_command(&self, name: &str, user: &str, argv: &[String]) -> Result<Command, LabError> {
        let host = self.known(name)?;
        // Without the bridge the address would be looked for in other networks, and might be somebody's.
        if !self.bridge().exists() {
            return Err(LabError::HostDown { host: name.to_owned() });
        }
        let mut command = Command::new("ssh");
        command.arg("-i").arg(self.dirs.key(&self.spec.name));
        for option in ssh_options(&self.dirs.known_hosts(&self.spec.name)) {
            command.arg("-o").arg(option);
        }
        command.arg(format!("{user}@{}", host.address)).args(argv);
        Ok(command)
    }

    /// Ends the lab and removes all that it made on the machine, except images: those stay unless `images` says otherwise.
    pub fn down(&self, images: KeepImages, progress: &dyn Progress) -> Result<(), LabError> {
        require_root_and_programs()?;
        let hierarchies = cgroup::hierarchies()?;
        {
            let _lock = self.lock(progress)?;
            self.stop_all(&hierarchies, progress)?;
            self.bridge().delete()?;
            cgroup::remove_lab(&hierarchies, &self.spec.name)?;
            remove_all(&self.folder())?;
            if images == KeepImages::No {
                match self.another_lab()? {
                    None => image::purge(&self.dirs)?,
                    Some(lab) => {
                        progress.on_event(&LabEvent::Note(&format!(
                            "the images stay, since lab `{lab}` runs on them"
                        )));
                    }
                }
            }
        }
        // After the last lab the folders of all labs go too; with another lab or images inside they stay.
        for folder in [self.dirs.state(), self.dirs.cache()] {
            for folder in [Some(folder), folder.parent()].into_iter().flatten() {
                if fs_err::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A lab of this user besides this one.
    fn another_lab(&self) -> Result<Option<String>, LabError> {
        for entry in fs_err::read_dir(self.dirs.state())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != *self.spec.name {
                return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
            }
        }
        Ok(None)
    }

    fn make_bridge(&self) -> Result<(), LabError> {
        if self.bridge().exists() {
            return Ok(());
        }
        self.bridge().create()?;
        fs_err::create_dir_all(self.folder())?;
        let record = Record { network: self.spec.network.to_string() };
        fs_err::write(self.record(), serde_json::to_string(&record).unwrap_or_default())?;
        Ok(())
    }

    fn bring_up(&self, host: &Host<'_>, images: &Images, progress: &dyn Progress) -> Result<(), LabError> {
        let name = host.spec.name.as_str();
        let started = Instant::now();
        if let Some(why) = host.outdated(images.hash()) {
            host.kill()?;
            host.wipe()?;
            progress.on_event(&LabEvent::HostWiped { host: name, why });
        }
        if !host.cgroup.is_alive() {
            // Removes what a host that ended by itself left: its link and its empty groups.
            host.kill()?;
            progress.on_event(&LabEvent::HostStarting { host: name });
            host.boot(images)?;
        }
        if host.is_cut() {
            return Ok(());
        }
        host.wait_until_up(BOOT_DEADLINE)?;
        progress.on_event(&LabEvent::HostReady { host: name, took: started.elapsed() });
        Ok(())
    }

    fn known(&self, name: &str) -> Result<&HostSpec, LabError> {
        self.spec.host(name).ok_or_else(|| {
            let known: Vec<_> = self.spec.hosts.iter().map(|host| host.name.clone()).collect();
            let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            LabError::UnknownHost { lab: self.spec.name.clone(), host: name.to_owned(), near, known }
        })
    }

    fn host<'a>(&'a self, name: &str, hierarchies: &[PathBuf]) -> Result<Host<'a>, LabError> {
        self.known(name).map(|spec| self.host_of(spec, hierarchies))
    }

    fn host_of<'a>(&'a self, spec: &'a HostSpec, hierarchies: &[PathBuf]) -> Host<'a> {
        Host { lab: self, spec, cgroup: Cgroup::new(hierarchies, &self.spec.name, &spec.name) }
    }

    fn hosts(&self, hierarchies: &[PathBuf]) -> Vec<Host<'_>> {
        self.spec.hosts.iter().map(|spec| self.host_of(spec, hierarchies)).collect()
    }

    /// Ends hosts that run but are no longer in the inventory file, and throws their disks away.
    fn stop_strangers(&self, hierarchies: &[PathBuf], progress: &dyn Progress) -> Result<(), LabError> {
        for name in self.names_on_disk()? {
            if self.spec.host(&name).is_some() {
                continue;
            }
            Cgroup::new(hierarchies, &self.spec.name, &name).kill()?;
            remove_all(&self.dirs.host(&self.spec.name, &name))?;
            progress
                .on_event(&LabEvent::HostWiped { host: &name, why: "the inventory file has it no longer" });
        }
        Ok(())
    }

    fn stop_all(&self, hierarchies: &[PathBuf], progress: &dyn Progress) -> Result<(), LabError> {
        let mut names: Vec<String> = self.spec.hosts.iter().map(|host| host.name.clone()).collect();
        names.extend(self.names_on_disk()?);
        names.push(WWW.to_owned());
        names.sort();
        names.dedup();
        in_parallel(&names, |name| {
            let group = Cgroup::new(hierarchies, &self.spec.name, name);
            let ran = group.is_alive();
            group.kill()?;
            if ran && name != WWW {
                progress.on_event(&LabEvent::HostStopped { host: name });
            }
            Ok(())
        })?;
        Ok(())
    }

    fn names_on_disk(&self) -> Result<Vec<String>, LabError> {
        match fs_err::read_dir(self.folder().join("hosts")) {
            Ok(entries) => Ok(entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<Result<_, LabError>>()?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn record(&self) -> PathBuf {
        self.folder().join("lab.json")
    }

    /// Refuses to mix two networks in one lab.
    fn check_record(&self) -> Result<(), LabError> {
        let Ok(text) = fs_err::read_to_string(self.record()) else { return Ok(()) };
        let Ok(record) = serde_json::from_str::<Record>(&text) else { return Ok(()) };
        match record.network.parse::<Network>() {
            Ok(running) if running != self.spec.network => Err(LabError::NetworkChanged {
                lab: self.spec.name.clone(),
                running,
                wanted: self.spec.network,
            }),
            _ => Ok(()),
        }
    }

    /// Waits until nobody else changes this lab.
    fn lock(&self, progress: &dyn Progress) -> Result<Held, LabError> {
        let path = self.dirs.lock(&self.spec.name);
        loop {
            fs_err::create_dir_all(self.dirs.state())?;
            let file = match fs_err::File::create(&path) {
                // Somebody who took a lab down removed the folder in between.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other?,
            };
            match file.file().try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    progress.on_event(&LabEvent::Note(
                        "another dcos-play works on this lab; waiting for it to end",
                    ));
                    file.file().lock()?;
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            // Whoever takes a lab down removes the lock with it; then this one guards nothing.
            if fs_err::metadata(&path)
                .is_ok_and(|now| file.metadata().is_ok_and(|held| held.ino() == now.ino()))
            {
                return Ok(Held { _file: file, path, lab: self.folder() });
            }
        }
    }
}

/// The right to change a lab, for as long as this lives.
struct Held {
    _file: fs_err::File,
    path: PathBuf,
    lab: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Where no lab is there is nothing to guard; whoever waits for the file sees that it's gone and takes a new one.
        if !self.lab.exists() {
            drop(fs_err::remove_file(&self.path));
        }
    }
}

/// How a host is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// systemd in the host stops its services first.
    ShutDown,
    /// At once, as if its power went.
    Kill,
}

/// What happens to the images in the cache when a lab goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepImages {
    /// They stay for the next lab.
    Yes,
    /// They are thrown away.
    No,
}

/// Does the same with all of them at once, and returns the first failure in their order when all are done.
fn in_parallel<'a, T: Sync, R: Send>(
    all: &'a [T],
    work: impl Fn(&'a T) -> Result<R, LabError> + Sync,
) -> Result<Vec<R>, LabError> {
    let results: Vec<Mutex<Option<Result<R, LabError>>>> = all.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for (one, result) in all.iter().zip(&results) {
            let work = &work;
            scope.spawn(move || {
                let done = work(one);
                if let Ok(mut place) = result.lock() {
                    *place = Some(done);
                }
            });
        }
    });
    results.into_iter().filter_map(|result| result.into_inner().ok().flatten()).collect()
}

/// Every systemd watches files with about ten of the kernel's objects, and all hosts share root's 128: beyond a dozen hosts
/// the next one would end while it boots. The limit is the kernel's until it restarts, as with every program that raises it.
fn allow_watches(hosts: usize, progress: &dyn Progress) {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    // More than this lab needs: other labs, and who else is root here, take from the same.
    let wanted = 2048 + 16 * hosts;
    let is = fs_err::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse::<usize>().ok());
    let Some(is) = is.filter(|is| *is < wanted) else { return };
    let note = match fs_err::write(LIMIT, wanted.to_string()) {
        Ok(()) => format!("fs.inotify.max_user_instances raised from {is} to {wanted}, for {hosts} hosts"),
        Err(error) => format!("fs.inotify.max_user_instances stays {is}, which may be too little: {error}"),
    };
    progress.on_event(&LabEvent::Note(&note));
}
