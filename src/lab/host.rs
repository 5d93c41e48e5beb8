//! One host: making its disk, booting, ending and cutting it off.
//!
//! `lab/image/host.sh` keeps the container; this file decides what it is given. Who may do what when (locks, order) is
//! decided in `labs`.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::error::LabError;
use super::image::{Images, short_hash};
use super::keys::host_key;
use super::labs::Lab;
use super::network::interface;
use super::spec::HostSpec;
use super::tools::{last_line_of, program, run};

const KEEPER: &str = include_str!("../../lab/image/host.sh");
/// One look whether sshd answers; on the bridge an answer takes microseconds.
const LOOK: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(25);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A shell outside of the host's PID namespace that runs the command inside. A host that goes down stops all its processes
/// before it ends them: `nsenter` in the shell's place stops itself with its child, and nothing wakes it again.
const OUTSIDE: &str = "\"$@\"; exit $?";

/// Whether a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// Runs, and its sshd answers.
    Up,
    /// Runs, but its sshd doesn't answer: on its way up or down.
    Silent,
    /// Runs, but its link is cut.
    CutOff,
    /// Doesn't run.
    Down,
}

impl HostState {
    /// The word for it on screens.
    pub fn word(self) -> &'static str {
        match self {
            HostState::Up => "up",
            HostState::Silent => "not answering",
            HostState::CutOff => "cut off",
            HostState::Down => "down",
        }
    }
}

/// What a host's disk was made from. A host that should be something else now gets a new disk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    recipe: String,
    image: String,
    address: Ipv4Addr,
}

/// One host of a lab, with everything needed to act on it.
pub(super) struct Host<'a> {
    pub(super) lab: &'a Lab,
    pub(super) spec: &'a HostSpec,
    pub(super) cgroup: Cgroup,
}

impl Host<'_> {
    pub(super) fn folder(&self) -> PathBuf {
        self.lab.dirs().host(&self.lab.spec().name, &self.spec.name)
    }

    pub(super) fn console(&self) -> PathBuf {
        self.folder().join("console.log")
    }

    /// The machine's end of the host's link. Names of interfaces are short, so this one is a hash.
    pub(super) fn link(&self) -> String {
        let hash = short_hash(format!("{}/{}", self.lab.spec().name, self.spec.name).as_bytes());
        format!("dl{}", &hash[..10])
    }

    pub(super) fn state(&self) -> HostState {
        if !self.cgroup.is_alive() {
            HostState::Down
        } else if self.is_cut() {
            HostState::CutOff
        } else if self.answers() {
            HostState::Up
        } else {
            HostState::Silent
        }
    }

    /// Whether sshd greets. A connection alone doesn't count: sshd may not have read its keys yet.
    fn answers(&self) -> bool {
        let address = SocketAddr::from((self.spec.address, 22));
        let Ok(mut stream) = TcpStream::connect_timeout(&address, LOOK) else { return false };
        let mut greeting = [0; 4];
        stream.set_read_timeout(Some(LOOK)).is_ok()
            && stream.read_exact(&mut greeting).is_ok()
            && &greeting == b"SSH-"
    }

    /// Whether the bridge drops what goes to and from the host.
    pub(super) fn is_cut(&self) -> bool {
        // 3 is the kernel's number for a port that forwards.
        fs_err::read_to_string(interface(&self.link()).join("brport/state"))
            .is_ok_and(|state| state.trim() != "3")
    }

    /// Drops all packets from now on, or lets them pass again. The host sees no link go down, just as with a broken switch.
    pub(super) fn set_cut(&self, cut: bool) -> Result<(), LabError> {
        if !self.cgroup.is_alive() {
            return Err(LabError::HostDown { host: self.spec.name.clone() });
        }
        let state = if cut { "0" } else { "3" };
        run(program("bridge").args(["link", "set", "dev", &self.link(), "state", state]))?;
        Ok(())
    }

    /// Why the host's disk has to be made anew; nothing when it fits or isn't there.
    pub(super) fn outdated(&self, made_now: &str) -> Option<&'static str> {
        let made: Made =
            serde_json::from_str(&fs_err::read_to_string(self.folder().join("made.json")).ok()?).ok()?;
        if made.image != self.spec.image.name() {
            Some("its image is another one now")
        } else if made.address != self.spec.address {
            Some("its address is another one now")
        } else if made.recipe != made_now && Images::cached(self.lab.dirs(), &made.recipe).is_none() {
            Some("the image below it is gone")
        } else {
            None
        }
    }

    /// Starts the container and returns at once. Must not be called while it runs.
    pub(super) fn boot(&self, images: &Images) -> Result<(), LabError> {
        let folder = self.folder();
        let images = match self.made() {
            Some(made) => Images::cached(self.lab.dirs(), &made.recipe).unwrap_or_else(|| images.clone()),
            None => {
                self.make_disk(images)?;
                images.clone()
            }
        };
        let spec = self.lab.spec();
        let cgroups: Vec<_> =
            self.cgroup.create()?.iter().map(|folder| folder.display().to_string()).collect();
        let options = if self.spec.docker_capable {
            "--capability=all --system-call-filter=add_key --system-call-filter=keyctl --system-call-filter=bpf"
        } else {
            ""
        };
        let console = fs_err::File::create(self.console())?.into_parts().0;
        let status = program("setsid")
            .args([
                "--fork",
                "unshare",
                "--mount",
                "--propagation",
                "slave",
                "/bin/sh",
                "-c",
                KEEPER,
                "lab-host",
            ])
            .env("HOST_DIR", &folder)
            .env("HOST_CGROUPS", cgroups.join(" "))
            .env("HOST_LAYERS", images.layers(self.spec.image))
            .env("HOST_LINK", self.link())
            .env("HOST_NAME", &self.spec.name)
            .env("HOST_MAC", mac(self.spec.address))
            .env("HOST_ADDRESS", format!("{}/{}", self.spec.address, spec.network.prefix()))
            .env("HOST_BRIDGE", self.lab.bridge().name)
            .env("HOST_GATEWAY", spec.network.gateway().to_string())
            .env("HOST_OPTIONS", options)
            .stdout(console.try_clone()?)
            .stderr(console)
            .status()?;
        if !status.success() {
            return Err(self.died());
        }
        Ok(())
    }

    /// Waits until sshd answers.
    pub(super) fn wait_until_up(&self, deadline: Duration) -> Result<(), LabError> {
        let until = Instant::now() + deadline;
        let booted = Instant::now();
        loop {
            if self.answers() {
                return Ok(());
            }
            // The keeper needs a moment to enter its cgroup.
            if booted.elapsed() > Duration::from_secs(2) && !self.cgroup.is_alive() {
                return Err(self.died());
            }
            if Instant::now() > until {
                return Err(LabError::HostSilent {
                    host: self.spec.name.clone(),
                    address: self.spec.address,
                    seconds: deadline.as_secs(),
                    console: self.console(),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    fn died(&self) -> LabError {
        let (host, console) = (self.spec.name.clone(), self.console());
        LabError::HostDied { host, last: last_line_of(&console), console }
    }

    /// Ends the host as if its power went. What it wrote is kept.
    pub(super) fn kill(&self) -> Result<(), LabError> {
        self.cgroup.kill()?;
        // The kernel removes the link some time after the host's network namespace; a new host wants the name now.
        let link = self.link();
        if interface(&link).exists() {
            let deleted = run(program("ip").args(["link", "delete", &link]));
            if interface(&link).exists() {
                deleted?;
            }
        }
        Ok(())
    }

    /// Throws the host's disk away. Must not be called while it runs.
    pub(super) fn wipe(&self) -> Result<(), LabError> {
        remove_all(&self.folder())
    }

    /// Prepares a command inside the host, as root; also works while the link is cut.
    pub(super) fn command(&self, argv: &[String]) -> Result<Command, LabError> {
        let init = self.init()?.ok_or_else(|| LabError::HostDown { host: self.spec.name.clone() })?;
        let mut command = program("nsenter");
        command
            .args([
                "--target",
                &init.to_string(),
                "--mount",
                "--uts",
                "--ipc",
                "--net",
                "--pid",
                "--cgroup",
                "--no-fork",
                "--",
                "/bin/sh",
                "-c",
                OUTSIDE,
                "lab-exec",
            ])
            .args(argv)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("USER", "root")
            .env("LANG", "en_US.UTF-8");
        Ok(command)
    }

    /// The id of the current boot, as the host sees it. Looked at from outside: a process that is in the host when it goes
    /// down is one more for its systemd to end and to wait for.
    pub(super) fn boot_id(&self) -> Result<String, LabError> {
        let down = || LabError::HostDown { host: self.spec.name.clone() };
        let init = self.init()?.ok_or_else(down)?;
        let inside = fs_err::read_to_string(format!("/proc/{init}/root{BOOT_ID}")).map_err(|_| down())?;
        // Until nspawn has made an id of the host's own, the machine's is seen.
        if inside == fs_err::read_to_string(BOOT_ID)? {
            return Err(down());
        }
        Ok(inside.trim().to_owned())
    }

    /// The container's first process, as the machine counts it.
    fn init(&self) -> Result<Option<i32>, LabError> {
        for pid in self.cgroup.processes()? {
            let Ok(status) = fs_err::read_to_string(format!("/proc/{pid}/status")) else { continue };
            if is_first_of_host(&status) {
                return Ok(Some(pid));
            }
        }
        Ok(None)
    }

    fn made(&self) -> Option<Made> {
        serde_json::from_str(&fs_err::read_to_string(self.folder().join("made.json")).ok()?).ok()
    }

    /// Lays out a new disk: the empty upper layer, with what makes this host different from the others.
    fn make_disk(&self, images: &Images) -> Result<(), LabError> {
        let folder = self.folder();
        remove_all(&folder)?;
        let upper = folder.join("upper");
        fs_err::create_dir_all(upper.join("etc/ssh"))?;
        let write = |path: &str, content: &str, mode: u32| {
            write_with_mode(&upper.join(path), content.as_bytes(), mode)
        };
        let spec = self.lab.spec();
        let mut hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
        for host in &spec.hosts {
            hosts.push_str(&format!("{} {}\n", host.address, host.name));
        }
        write("etc/hosts", &hosts, 0o644)?;
        write("etc/hostname", &format!("{}\n", self.spec.name), 0o644)?;
        write("etc/machine-id", &format!("{}\n", uuid::Uuid::new_v4().simple()), 0o444)?;
        write("etc/resolv.conf", "# The lab has no name server; /etc/hosts knows its hosts.\n", 0o644)?;
        let key = host_key(self.lab.dirs(), &spec.name, &self.spec.name);
        write("etc/ssh/ssh_host_ed25519_key", &fs_err::read_to_string(&key)?, 0o600)?;
        let public = fs_err::read_to_string(key.with_extension("pub"))?;
        write("etc/ssh/ssh_host_ed25519_key.pub", &public, 0o644)?;
        let client = fs_err::read_to_string(self.lab.dirs().key(&spec.name).with_extension("pub"))?;
        write("etc/ssh/lab_authorized_keys", &client, 0o644)?;
        // Last, since its presence says that the disk is whole.
        let made = Made {
            recipe: images.hash().to_owned(),
            image: self.spec.image.name().to_owned(),
            address: self.spec.address,
        };
        write_with_mode(
            &folder.join("made.json"),
            serde_json::to_string(&made).unwrap_or_default().as_bytes(),
            0o644,
        )
    }
}

/// A hardware address that belongs to the address for good, from the range for local use.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:dc:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Reads `NSpid` of a process's status: its ids from the outer to the inner namespace. More than two belong to the first
/// process of a container inside the host; its id may well be the lower one, since ids wrap around.
fn is_first_of_host(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .is_some_and(|ids| matches!(ids.split_whitespace().collect::<Vec<_>>()[..], [_, "1"]))
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> Result<(), LabError> {
    use std::io::Write;
    let mut file = fs_err::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    Ok(())
}

/// Removes a folder with all in it; fine when it's not there.
pub(super) fn remove_all(folder: &Path) -> Result<(), LabError> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_first_of_host;

    #[test]
    fn init_is_the_process_that_counts_itself_as_one() {
        assert!(is_first_of_host("Name:\tsystemd\nNSpid:\t4711\t1\n"));
        assert!(!is_first_of_host("Name:\tsshd\nNSpid:\t4712\t30\n"));
        assert!(!is_first_of_host("Name:\tinit\nNSpid:\t1\n"));
        assert!(!is_first_of_host("Name:\ta container's entrypoint\nNSpid:\t305\t210\t1\n"));
    }
}
