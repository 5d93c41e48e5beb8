//! What is known about a host, by the names of Ansible's facts.
//!
//! Owns: which family of facts a `gather_subset` asks for, and the order of gathering. Each family is one file.
//! Must not: change the host, or start a process where a file tells the same.
//! Called by: the module `setup`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::modules::Host;

mod clock;
pub mod distribution;
mod local;
mod machine;
mod memory;
mod network;
mod platform;
mod processor;
pub(crate) mod security;
pub mod services;
mod session;
pub(crate) mod storage;
mod subset;

pub use subset::{BadSubset, Subset};

/// Facts gathered so far, by their names without `ansible_`.
#[derive(Debug, Default)]
pub struct Facts(Map<String, Value>);

impl Facts {
    fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// One fact.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All facts with Ansible's prefix.
    #[must_use]
    pub fn prefixed(self) -> Map<String, Value> {
        self.0.into_iter().map(|(name, value)| (format!("ansible_{name}"), value)).collect()
    }
}

/// What to gather, and how.
#[derive(Debug)]
pub struct Request {
    pub subset: Subset,
    pub timeout: Duration,
    pub fact_path: String,
}

/// Gathers facts; warnings are about local facts that could not be read.
#[must_use]
pub fn gather(request: &Request, host: &Host<'_>, warnings: &mut Vec<String>) -> Facts {
    let mut facts = Facts::default();
    let wants = |family: &str| request.subset.wants(family);
    std::thread::scope(|scope| {
        // Python takes longer to start than everything else takes to read.
        let python = wants("python").then(|| {
            scope.spawn(|| {
                let mut facts = Facts::default();
                local::python(&mut facts, host);
                facts
            })
        });
        let systemd = wants("systemd").then(|| {
            scope.spawn(|| {
                let mut facts = Facts::default();
                local::systemd(&mut facts, host);
                facts
            })
        });
        if wants("platform") {
            platform::gather(&mut facts);
        }
        let found = distribution::detect();
        if wants("distribution") {
            distribution::gather(&mut facts, &found);
        }
        if wants("service_mgr") {
            facts.put("service_mgr", json!(services::service_manager()));
        }
        if wants("pkg_mgr") {
            facts.put("pkg_mgr", json!(services::package_manager(&found)));
        }
        minimal(&mut facts, request, host, warnings);
        optional(&mut facts, request);
        for started in [python, systemd].into_iter().flatten() {
            if let Ok(found) = started.join() {
                facts.0.extend(found.0);
            }
        }
    });
    facts
}

fn minimal(facts: &mut Facts, request: &Request, host: &Host<'_>, warnings: &mut Vec<String>) {
    let wants = |family: &str| request.subset.wants(family);
    if wants("user") {
        session::user(facts);
    }
    if wants("env") {
        session::environment(facts, host.environment);
    }
    if wants("date_time") {
        clock::date_time(facts);
    }
    if wants("cmdline") {
        session::command_line(facts);
    }
    if wants("dns") {
        network::dns(facts);
    }
    if wants("ssh_pub_keys") {
        session::host_keys(facts);
    }
    if wants("selinux") {
        security::gather_selinux(facts);
    }
    if wants("apparmor") {
        security::gather_apparmor(facts);
    }
    if wants("fips") {
        security::gather_fips(facts);
    }
    if wants("caps") {
        security::gather_capabilities(facts);
    }
    if wants("lsb") {
        facts.put("lsb", distribution::lsb());
    }
    if wants("local") {
        local::gather(facts, &request.fact_path, host, warnings);
    }
}

fn optional(facts: &mut Facts, request: &Request) {
    let wants = |family: &str| request.subset.wants(family);
    if wants("hardware") {
        processor::gather(facts);
        memory::gather(facts);
        platform::dmi(facts);
        clock::uptime(facts);
        storage::devices(facts);
        storage::mounts(facts, request.timeout);
        // Volume groups are only known to the LVM tools; a host without them has none to tell.
        if crate::system::run::find_program("vgs").is_none() {
            facts.put("lvm", json!("N/A"));
        }
    }
    if wants("network") {
        network::gather(facts);
    }
    if wants("virtual") {
        machine::gather(facts);
    }
    if wants("chroot") {
        platform::chroot(facts);
    }
    if wants("loadavg") {
        clock::load(facts);
    }
    if wants("initiators") {
        session::initiators(facts);
    }
}
