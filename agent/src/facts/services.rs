//! Which service manager and package manager this host has.
//!
//! Owns: `service_mgr` and `pkg_mgr`. Called by: the facts, and `service` and `package` to choose their tool.

use super::distribution::Distribution;
use crate::system::{self, run::find_program};

/// The service manager by Ansible's name: `systemd`, `sysvinit`, `openrc`, `upstart`, ...
#[must_use]
pub fn service_manager() -> String {
    let first = system::word("/proc/1/comm").unwrap_or_default();
    // `init` and shells say nothing about who manages services.
    if !first.is_empty() && first != "init" && !first.ends_with("sh") {
        return match first.as_str() {
            "procd" => "openwrt_init".into(),
            "runit-init" => "runit".into(),
            "svscan" => "svc".into(),
            "openrc-init" => "openrc".into(),
            _ => first,
        };
    }
    if find_program("systemctl").is_some()
        && ["/run/systemd/system", "/dev/.run/systemd", "/dev/.systemd"].iter().any(system::exists)
    {
        "systemd".into()
    } else if find_program("initctl").is_some() && system::exists("/etc/init") {
        "upstart".into()
    } else if system::exists("/sbin/openrc") {
        "openrc".into()
    } else if find_program("systemctl").is_some()
        && system::link_name("/sbin/init").as_deref() == Some("systemd")
    {
        "systemd".into()
    } else if system::exists("/etc/init.d") {
        "sysvinit".into()
    } else if system::exists("/etc/dinit.d") {
        "dinit".into()
    } else {
        "service".into()
    }
}

/// The package manager by Ansible's name, `unknown` when none is found.
#[must_use]
pub fn package_manager(distribution: &Distribution) -> &'static str {
    const TOOLS: [(&str, &str); 14] = [
        ("/usr/bin/rpm-ostree", "atomic_container"),
        ("/usr/bin/dnf5", "dnf5"),
        ("/usr/bin/dnf-3", "dnf"),
        ("/usr/bin/dnf", "dnf"),
        ("/usr/bin/yum", "yum"),
        ("/usr/bin/apt-get", "apt"),
        ("/usr/bin/zypper", "zypper"),
        ("/usr/sbin/urpmi", "urpmi"),
        ("/usr/bin/pacman", "pacman"),
        ("/bin/opkg", "opkg"),
        ("/sbin/apk", "apk"),
        ("/usr/bin/emerge", "portage"),
        ("/usr/sbin/swupd", "swupd"),
        ("/usr/bin/xbps-install", "xbps"),
    ];
    let has = |tool: &str| TOOLS.iter().any(|(path, name)| *name == tool && system::exists(path));
    let first_of = |tools: &[&'static str]| tools.iter().copied().find(|t| has(t));
    let preferred = match distribution.family().as_str() {
        "Debian" => first_of(&["apt"]),
        "RedHat" if system::exists("/run/ostree-booted") => {
            first_of(&["atomic_container", "dnf5", "dnf", "yum"])
        }
        "RedHat" => {
            let major = distribution.major_number();
            let old = match distribution.name.as_str() {
                "Fedora" => major < 23,
                "Amazon" => major < 2022,
                _ => major < 8,
            };
            let newest = distribution.name == "Fedora" && major >= 41;
            if old {
                first_of(&["yum", "dnf", "dnf5"])
            } else if newest {
                first_of(&["dnf5", "dnf", "yum"])
            } else {
                first_of(&["dnf", "dnf5", "yum"])
            }
        }
        "Suse" => first_of(&["zypper"]),
        _ => None,
    };
    preferred
        .or_else(|| TOOLS.iter().find(|(path, _)| system::exists(path)).map(|(_, name)| *name))
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;

    #[test]
    fn process_one_names_the_service_manager() {
        let root = FakeRoot::with(&[("/proc/1/comm", "systemd\n")]);
        assert_eq!(service_manager(), "systemd");
        root.put("/proc/1/comm", "init\n");
        root.dir("/etc/init.d");
        assert_eq!(service_manager(), "sysvinit");
        root.program("/usr/bin/systemctl");
        root.dir("/run/systemd/system");
        assert_eq!(service_manager(), "systemd");
    }

    #[test]
    fn the_family_chooses_among_several_tools() {
        let root = FakeRoot::with(&[("/usr/bin/apt-get", ""), ("/usr/bin/yum", "")]);
        let of = |name: &str, major: &str| {
            package_manager(&Distribution {
                name: name.into(),
                major: major.into(),
                ..Distribution::default()
            })
        };
        assert_eq!(of("Ubuntu", "22"), "apt");
        assert_eq!(of("CentOS", "7"), "yum");
        root.put("/usr/bin/dnf-3", "");
        assert_eq!((of("CentOS", "7"), of("Rocky", "9")), ("yum", "dnf"));
    }
}
