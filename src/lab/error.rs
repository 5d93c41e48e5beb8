//! Everything that can go wrong with a lab, each with the next step in its message.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::network::Network;
use super::spec::SpecError;

/// A failure of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The inventory file of the lab is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),

    /// The process isn't root.
    #[error("the lab needs root, for containers and a bridge; run it again with `sudo`")]
    NotRoot,

    /// Programs that the lab calls are not installed.
    #[error("the lab needs {}; install with `apt-get install {}`", listed(.programs), .packages.join(" "))]
    MissingPrograms { programs: Vec<&'static str>, packages: Vec<&'static str> },

    /// The machine has no cgroup hierarchy that systemd in a container could use.
    #[error(
        "no cgroup hierarchy for systemd is mounted; mount one with \
         `mount -t cgroup2 none /sys/fs/cgroup` or, on cgroup v1, the hierarchy `name=systemd`"
    )]
    NoCgroups,

    /// Neither the variable for a folder nor the home directory is known.
    #[error("no folder for the lab's files; set `{variable}` or `HOME`")]
    NoHome { variable: &'static str },

    /// An overlay can't lie in this folder.
    #[error("`{}` can't be part of an overlay mount because of `{character}` in it; set `{variable}` to another folder", .path.display())]
    OverlayPath { path: PathBuf, character: char, variable: &'static str },

    /// Another interface of the machine has addresses of the lab's network.
    #[error(
        "network {network} overlaps with {address} on interface `{interface}`{}; \
         give the lab another `network:` in its inventory file{}",
        bridge_of(.interface), way_to_free(.interface)
    )]
    NetworkTaken { network: Network, address: Ipv4Addr, interface: String },

    /// The lab runs with another network than the inventory file has now.
    #[error(
        "lab `{lab}` runs on {running}, but its inventory file says {wanted}; run `dcos-play lab down` first"
    )]
    NetworkChanged { lab: String, running: Network, wanted: Network },

    /// The lab has no such host.
    #[error("lab `{lab}` has no host `{host}`{}", hint(.near, .known))]
    UnknownHost { lab: String, host: String, near: Option<String>, known: Vec<String> },

    /// The host must run for what was asked.
    #[error("host `{host}` isn't running; start it with `dcos-play lab start {host}`")]
    HostDown { host: String },

    /// The host ended before its sshd answered.
    #[error("host `{host}` ended while it booted: {last}; its console is in `{}`", .console.display())]
    HostDied { host: String, last: String, console: PathBuf },

    /// The host's sshd did not answer in time.
    #[error(
        "host `{host}` didn't answer on {address}:22 within {seconds} s; its console is in `{}`, \
         `dcos-play lab exec {host} -- journalctl -b` shows more", .console.display()
    )]
    HostSilent { host: String, address: Ipv4Addr, seconds: u64, console: PathBuf },

    /// A killed process stayed.
    #[error("processes of `{what}` are still there {seconds} s after SIGKILL: {}", .pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Unkillable { what: String, seconds: u64, pids: Vec<i32> },

    /// The image could not be built.
    #[error("building the image of lab hosts failed at `{stage}`: {last}; the whole output is in `{}`", .log.display())]
    ImageFailed { stage: String, last: String, log: PathBuf },

    /// The script that makes the web server's content failed.
    #[error("`{}` failed: {last}; the whole output is in `{}`", .script.display(), .log.display())]
    WwwFailed { script: PathBuf, last: String, log: PathBuf },

    /// The web server did not start.
    #[error("the lab's web server didn't start on {address}: {last}")]
    WwwSilent { address: String, last: String },

    /// The web server can't use its address.
    #[error("can't listen on {address}: {source}")]
    Listen { address: String, source: Box<dyn std::error::Error + Send + Sync> },

    /// A program ended with a failure.
    #[error("`{command}` failed: {last}")]
    Command { command: String, last: String },

    /// The host did not take the order to reboot.
    #[error("host `{host}` didn't reboot: {last}")]
    RebootRefused { host: String, last: String },

    /// A file or program could not be used; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The lab that an interface is the bridge of; its prefix is the lab's own.
fn lab_of(interface: &str) -> Option<&str> {
    interface.strip_prefix("dl-")
}

fn bridge_of(interface: &str) -> String {
    lab_of(interface).map(|lab| format!(", the bridge of lab `{lab}`")).unwrap_or_default()
}

/// A lab whose inventory file is gone (a test that was killed) can only be removed by hand.
fn way_to_free(interface: &str) -> String {
    let Some(lab) = lab_of(interface) else { return String::new() };
    format!(
        ", or end lab `{lab}` with `dcos-play lab down -i` and its inventory file; \
         if nothing of it is left but the bridge, remove that with `ip link delete {interface}`"
    )
}

fn hint(near: &Option<String>, known: &[String]) -> String {
    match near {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; it has {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::LabError;

    #[test]
    fn missing_programs_come_with_the_command_that_installs_them() {
        let error = LabError::MissingPrograms {
            programs: vec!["systemd-nspawn", "debootstrap"],
            packages: vec!["systemd-container", "debootstrap"],
        };
        assert_eq!(
            error.to_string(),
            "the lab needs `systemd-nspawn`, `debootstrap`; install with `apt-get install systemd-container debootstrap`"
        );
    }

    #[test]
    fn bridge_that_another_lab_left_is_named_with_the_way_to_remove_it() {
        let error = |interface: &str| LabError::NetworkTaken {
            network: "10.79.0.0/24".parse().expect("a network"),
            address: [10, 79, 0, 1].into(),
            interface: interface.to_owned(),
        };
        assert_eq!(
            error("dl-gone").to_string(),
            "network 10.79.0.0/24 overlaps with 10.79.0.1 on interface `dl-gone`, the bridge of lab `gone`; \
             give the lab another `network:` in its inventory file, \
             or end lab `gone` with `dcos-play lab down -i` and its inventory file; \
             if nothing of it is left but the bridge, remove that with `ip link delete dl-gone`"
        );
        assert_eq!(
            error("eth0").to_string(),
            "network 10.79.0.0/24 overlaps with 10.79.0.1 on interface `eth0`; \
             give the lab another `network:` in its inventory file"
        );
    }

    #[test]
    fn unknown_host_is_answered_with_the_nearest_or_with_all() {
        let error = |near: Option<&str>| LabError::UnknownHost {
            lab: "lab".to_owned(),
            host: "mastr1".to_owned(),
            near: near.map(str::to_owned),
            known: vec!["master1".to_owned(), "agent1".to_owned()],
        };
        assert_eq!(
            error(Some("master1")).to_string(),
            "lab `lab` has no host `mastr1`; did you mean `master1`?"
        );
        assert_eq!(error(None).to_string(), "lab `lab` has no host `mastr1`; it has master1, agent1");
    }

    #[test]
    fn host_that_died_shows_its_last_words_and_where_the_rest_is() {
        let error =
            LabError::HostDied { host: "one".to_owned(), last: "no space".to_owned(), console: "/c".into() };
        assert_eq!(error.to_string(), "host `one` ended while it booted: no space; its console is in `/c`");
    }
}
