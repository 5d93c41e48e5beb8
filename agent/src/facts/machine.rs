//! Whether this host is virtual, and what it can run as a host itself.
//!
//! Owns: the `virtualization_*` facts. Must not: run `systemd-detect-virt`; files tell the same.

use serde_json::json;

use super::Facts;
use super::platform::dmi_word;
use crate::system;

#[derive(Default)]
struct Found {
    /// `(type, role)` of the first thing recognized.
    first: Option<(String, &'static str)>,
    guest: Vec<String>,
    host: Vec<String>,
}

impl Found {
    fn guest(&mut self, name: &str) {
        add(&mut self.guest, name);
        self.first.get_or_insert_with(|| (name.to_owned(), "guest"));
    }

    fn host(&mut self, name: &str) {
        add(&mut self.host, name);
        self.first.get_or_insert_with(|| (name.to_owned(), "host"));
    }
}

fn add(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|n| n == name) {
        list.push(name.to_owned());
    }
}

pub(super) fn gather(facts: &mut Facts) {
    let mut found = Found::default();
    containers(&mut found);
    firmware(&mut found);
    kernel_side(&mut found);
    let (kind, role) = found.first.unwrap_or_else(|| ("NA".into(), "NA"));
    found.guest.sort();
    found.host.sort();
    facts.put("virtualization_type", json!(kind));
    facts.put("virtualization_role", json!(role));
    facts.put("virtualization_tech_guest", json!(found.guest));
    facts.put("virtualization_tech_host", json!(found.host));
}

fn containers(found: &mut Found) {
    let cgroup = system::text("/proc/1/cgroup").unwrap_or_default();
    let environ = system::text("/proc/1/environ").unwrap_or_default();
    let variable = environ.split('\0').find_map(|v| v.strip_prefix("container=")).unwrap_or_default();
    let systemd_says = system::word("/run/systemd/container").unwrap_or_default();
    let in_docker = system::exists("/.dockerenv")
        || system::exists("/.dockerinit")
        || cgroup.lines().any(|l| l.contains("/docker/") || l.contains("/docker-"));
    if in_docker {
        found.guest("docker");
        add(&mut found.guest, "container");
    }
    if cgroup.lines().any(|l| l.contains("/lxc/")) || variable == "lxc" || systemd_says == "lxc" {
        found.guest("lxc");
        add(&mut found.guest, "container");
    }
    if variable == "podman" || systemd_says == "podman" || system::exists("/run/.containerenv") {
        found.guest("podman");
        add(&mut found.guest, "container");
    }
    if variable == "systemd-nspawn" || systemd_says == "systemd-nspawn" {
        found.guest("container");
        add(&mut found.guest, "systemd-nspawn");
    } else if !variable.is_empty() && !matches!(variable, "lxc" | "podman" | "docker") {
        found.guest("container");
    }
    if system::exists("/proc/vz") && !system::exists("/proc/lve") {
        if system::exists("/proc/bc") { found.host("openvz") } else { found.guest("openvz") }
    }
}

fn firmware(found: &mut Found) {
    let read = |file: &str| dmi_word(file).unwrap_or_default();
    let (product, vendor, bios, family) =
        (read("product_name"), read("sys_vendor"), read("bios_vendor"), read("product_family"));
    if system::exists("/proc/xen") {
        let capabilities = system::text("/proc/xen/capabilities").unwrap_or_default();
        if capabilities.contains("control_d") { found.host("xen") } else { found.guest("xen") }
    }
    match product.as_str() {
        "KVM" | "KVM Server" | "Bochs" | "AHV" => found.guest("kvm"),
        "RHEV Hypervisor" => found.guest("RHEV"),
        "oVirt Node" => found.guest("oVirt"),
        "VMware Virtual Platform" | "VMware7,1" | "VMware20,1" => found.guest("VMware"),
        "OpenStack Compute" | "OpenStack Nova" => found.guest("openstack"),
        "VirtualBox" => found.guest("virtualbox"),
        "HVM domU" => found.guest("xen"),
        _ => {}
    }
    match bios.as_str() {
        "Xen" => found.guest("xen"),
        "innotek GmbH" => found.guest("virtualbox"),
        "Amazon EC2" | "DigitalOcean" | "Hetzner" | "Bochs" | "BHYVE" => {
            found.guest(if bios == "BHYVE" { "bhyve" } else { "kvm" });
        }
        _ => {}
    }
    match vendor.as_str() {
        "Microsoft Corporation" if product == "Virtual Machine" => found.guest("VirtualPC"),
        "Parallels Software International Inc." | "Parallels International GmbH." => found.guest("parallels"),
        "OpenStack Foundation" => found.guest("openstack"),
        "QEMU" | "Amazon EC2" | "Google" | "Scaleway" | "Nutanix" | "DigitalOcean" | "Hetzner" => {
            found.guest("kvm")
        }
        "KubeVirt" => found.guest("KubeVirt"),
        "VMware, Inc." => found.guest("VMware"),
        _ => {}
    }
    if family == "RHV" || family == "oVirt" {
        found.guest(&family);
    }
}

fn kernel_side(found: &mut Found) {
    let cpuinfo = system::text("/proc/cpuinfo").unwrap_or_default();
    for line in cpuinfo.lines() {
        if let Some(model) = line.strip_prefix("model name")
            && model.contains("QEMU Virtual CPU")
        {
            found.guest("kvm");
        }
        if line.starts_with("vendor_id") && line.contains("User Mode Linux") {
            found.guest("uml");
        }
        if line.starts_with("vendor_id") && line.contains("PowerVM Lx86") {
            found.guest("powervm_lx86");
        }
    }
    if system::exists("/dev/kvm") {
        found.host("kvm");
    }
    let modules = system::text("/proc/modules").unwrap_or_default();
    let loaded = |name: &str| modules.lines().any(|l| l.split_whitespace().next() == Some(name));
    if loaded("kvm") {
        found.host("kvm");
    }
    if loaded("vboxdrv") {
        found.host("virtualbox");
    }
    if loaded("virtio") && found.guest.is_empty() && cpuinfo.contains("hypervisor") {
        found.guest("kvm");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use serde_json::Value;

    fn fact(facts: &Facts, name: &str) -> Value {
        facts.get(name).cloned().unwrap_or(Value::Null)
    }

    #[test]
    fn an_ec2_instance_is_a_kvm_guest() {
        let _root = FakeRoot::with(&[
            ("/sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2\n"),
            ("/sys/devices/virtual/dmi/id/product_name", "m5.large\n"),
        ]);
        let mut facts = Facts::default();
        gather(&mut facts);
        assert_eq!(
            (fact(&facts, "virtualization_type"), fact(&facts, "virtualization_role")),
            (json!("kvm"), json!("guest"))
        );
    }

    #[test]
    fn a_container_comes_before_the_machine_below_it() {
        let _root = FakeRoot::with(&[("/proc/1/environ", "container=systemd-nspawn\0"), ("/dev/kvm", "")]);
        let mut facts = Facts::default();
        gather(&mut facts);
        assert_eq!(fact(&facts, "virtualization_type"), "container");
        assert_eq!(fact(&facts, "virtualization_tech_host"), json!(["kvm"]));
        assert_eq!(fact(&facts, "virtualization_tech_guest"), json!(["container", "systemd-nspawn"]));
    }

    #[test]
    fn bare_metal_is_not_available() {
        let _root = FakeRoot::with(&[]);
        let mut facts = Facts::default();
        gather(&mut facts);
        assert_eq!(fact(&facts, "virtualization_type"), "NA");
    }
}
