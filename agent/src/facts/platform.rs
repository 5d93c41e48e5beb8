//! The kernel's and the machine's names.
//!
//! Owns: `system`, `kernel`, `architecture`, `hostname`, `fqdn`, `machine_id`, the DMI facts, `is_chroot`.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::Facts;
use crate::system::{self, root};

pub(super) fn gather(facts: &mut Facts) {
    let Ok(uname) = nix::sys::utsname::uname() else { return };
    let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
    let (nodename, machine) = (text(uname.nodename()), text(uname.machine()));
    facts.put("system", json!(text(uname.sysname())));
    facts.put("kernel", json!(text(uname.release())));
    facts.put("kernel_version", json!(text(uname.version())));
    facts.put("machine", json!(machine));
    facts.put("nodename", json!(nodename));
    facts.put("hostname", json!(nodename.split('.').next().unwrap_or_default()));
    let fqdn = fqdn(&nodename);
    facts.put("domain", json!(fqdn.split_once('.').map_or("", |(_, domain)| domain)));
    facts.put("fqdn", json!(fqdn));
    facts.put("architecture", json!(architecture(&machine)));
    let bits = userspace_bits();
    if let Some(bits) = bits {
        facts.put("userspace_bits", json!(bits.to_string()));
        facts.put(
            "userspace_architecture",
            json!(if bits == 32 && machine == "x86_64" { "i386" } else { architecture(&machine) }),
        );
    }
    if let Some(id) = system::word("/var/lib/dbus/machine-id").or_else(|| system::word("/etc/machine-id")) {
        facts.put("machine_id", json!(id));
    }
}

fn architecture(machine: &str) -> &str {
    match machine {
        "i386" | "i486" | "i586" | "i686" => "i386",
        other => other,
    }
}

/// Word size of the host's own programs, from the class byte of an ELF file; the agent's own would say nothing.
fn userspace_bits() -> Option<u32> {
    let path = ["/bin/sh", "/usr/bin/env", "/sbin/init"].iter().find(|p| system::exists(p))?;
    let mut head = [0; 5];
    fs::File::open(root::at(path)).ok()?.read_exact(&mut head).ok()?;
    match head {
        [0x7f, b'E', b'L', b'F', 1] => Some(32),
        [0x7f, b'E', b'L', b'F', 2] => Some(64),
        _ => None,
    }
}

/// The full name, by the C library's rules for `getfqdn`: the canonical name of the node name's address, or its first
/// alias with a dot. `/etc/hosts` is asked first; what only DNS knows comes from a forward look-up with the search list.
fn fqdn(nodename: &str) -> String {
    let hosts = system::text("/etc/hosts").unwrap_or_default();
    if let Some(name) = fqdn_in_hosts(&hosts, nodename) {
        return name;
    }
    if nodename.contains('.') {
        return nodename.to_owned();
    }
    let resolver = system::text("/etc/resolv.conf").unwrap_or_default();
    fqdn_in_search_list(&resolver, nodename).unwrap_or_else(|| nodename.to_owned())
}

fn fqdn_in_hosts(hosts: &str, nodename: &str) -> Option<String> {
    let entries: Vec<(IpAddr, Vec<&str>)> = hosts
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let ip = words.next()?.parse().ok()?;
            Some((ip, words.collect()))
        })
        .collect();
    // IPv4 answers come first, as the C library sorts them on hosts without a global IPv6 address.
    let named = |v4: bool| {
        entries
            .iter()
            .find(|(ip, names)| ip.is_ipv4() == v4 && names.iter().any(|n| n.eq_ignore_ascii_case(nodename)))
    };
    let (ip, _) = named(true).or_else(|| named(false))?;
    let (_, names) = entries.iter().find(|(other, _)| other == ip)?;
    names.iter().find(|n| n.contains('.')).or_else(|| names.first()).map(|n| (*n).to_owned())
}

fn fqdn_in_search_list(resolver: &str, nodename: &str) -> Option<String> {
    let domains = resolver
        .lines()
        .filter_map(|l| l.trim().strip_prefix("search ").or_else(|| l.trim().strip_prefix("domain ")))
        .flat_map(str::split_whitespace);
    for domain in domains {
        let name = format!("{nodename}.{}", domain.trim_end_matches('.'));
        if (name.as_str(), 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some()) {
            return Some(name);
        }
    }
    None
}

pub(super) fn dmi(facts: &mut Facts) {
    const FILES: [(&str, &str); 18] = [
        ("bios_date", "bios_date"),
        ("bios_vendor", "bios_vendor"),
        ("bios_version", "bios_version"),
        ("board_asset_tag", "board_asset_tag"),
        ("board_name", "board_name"),
        ("board_serial", "board_serial"),
        ("board_vendor", "board_vendor"),
        ("board_version", "board_version"),
        ("chassis_asset_tag", "chassis_asset_tag"),
        ("chassis_serial", "chassis_serial"),
        ("chassis_vendor", "chassis_vendor"),
        ("chassis_version", "chassis_version"),
        ("form_factor", "chassis_type"),
        ("product_name", "product_name"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("product_version", "product_version"),
        ("system_vendor", "sys_vendor"),
    ];
    for (fact, file) in FILES {
        let value = dmi_word(file).unwrap_or_else(|| "NA".into());
        let value = if fact == "form_factor" { form_factor(&value) } else { value };
        facts.put(fact, json!(value));
    }
}

/// One of the firmware's words, e.g. `sys_vendor`.
pub(super) fn dmi_word(file: &str) -> Option<String> {
    system::word(format!("/sys/devices/virtual/dmi/id/{file}"))
}

/// Chassis names of the SMBIOS specification, 7.4.1.
fn form_factor(number: &str) -> String {
    const NAMES: [&str; 37] = [
        "Unknown",
        "Other",
        "Unknown",
        "Desktop",
        "Low Profile Desktop",
        "Pizza Box",
        "Mini Tower",
        "Tower",
        "Portable",
        "Laptop",
        "Notebook",
        "Hand Held",
        "Docking Station",
        "All In One",
        "Sub Notebook",
        "Space-saving",
        "Lunch Box",
        "Main Server Chassis",
        "Expansion Chassis",
        "Sub Chassis",
        "Bus Expansion Chassis",
        "Peripheral Chassis",
        "RAID Chassis",
        "Rack Mount Chassis",
        "Sealed-case PC",
        "Multi-system",
        "CompactPCI",
        "AdvancedTCA",
        "Blade",
        "Blade Enclosure",
        "Tablet",
        "Convertible",
        "Detachable",
        "IoT Gateway",
        "Embedded PC",
        "Mini PC",
        "Stick PC",
    ];
    number
        .parse::<usize>()
        .ok()
        .and_then(|n| NAMES.get(n))
        .map_or_else(|| number.to_owned(), |n| (*n).to_owned())
}

pub(super) fn chroot(facts: &mut Facts) {
    let inside = match (fs::metadata(root::at("/")), fs::metadata(root::at("/proc/1/root/."))) {
        (Ok(own), Ok(first)) => (own.dev(), own.ino()) != (first.dev(), first.ino()),
        // Ordinary users cannot look at process 1; the root of common file systems has inode 2 (ext), 128 (xfs), 256 (btrfs).
        (Ok(own), Err(_)) => !matches!(own.ino(), 2 | 128 | 256) && !system::exists("/run/systemd/container"),
        _ => false,
    };
    facts.put("is_chroot", json!(inside || std::env::var_os("debian_chroot").is_some()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_names_the_first_entry_of_the_address() {
        assert_eq!(
            fqdn_in_hosts("127.0.0.1 localhost\n127.0.0.1 web1\n", "web1").as_deref(),
            Some("localhost")
        );
        let hosts = "10.0.0.5 web1 web1.example.com # it\n::1 web1\n";
        assert_eq!(fqdn_in_hosts(hosts, "WEB1").as_deref(), Some("web1.example.com"));
        assert_eq!(fqdn_in_hosts(hosts, "other"), None);
    }

    #[test]
    fn chassis_numbers_have_names() {
        assert_eq!(
            (form_factor("1").as_str(), form_factor("23").as_str(), form_factor("NA").as_str()),
            ("Other", "Rack Mount Chassis", "NA")
        );
    }
}
