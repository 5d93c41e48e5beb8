//! Mandatory access control and capabilities.
//!
//! Owns: `selinux`, `apparmor`, `fips`, `system_capabilities*`.

use serde_json::{Value, json};

use super::Facts;
use crate::system;

/// SELinux as the kernel and `/etc/selinux/config` say.
#[must_use]
pub(crate) fn selinux() -> Value {
    let folder = ["/sys/fs/selinux", "/selinux"].into_iter().find(|f| system::exists(format!("{f}/enforce")));
    let Some(folder) = folder else { return json!({"status": "disabled"}) };
    let config = system::text("/etc/selinux/config").unwrap_or_default();
    let setting = |key: &str| {
        config
            .lines()
            .find_map(|l| {
                l.trim().strip_prefix(key)?.trim_start().strip_prefix('=').map(|v| v.trim().to_owned())
            })
            .unwrap_or_else(|| "unknown".into())
    };
    let mode = if system::word(format!("{folder}/enforce")).as_deref() == Some("1") {
        "enforcing"
    } else {
        "permissive"
    };
    let version = system::word(format!("{folder}/policyvers")).and_then(|v| v.parse::<u64>().ok());
    json!({
        "status": "enabled",
        "policyvers": version.map_or_else(|| json!("unknown"), |v| json!(v)),
        "config_mode": setting("SELINUX").to_lowercase(),
        "mode": mode,
        "type": setting("SELINUXTYPE"),
    })
}

pub(super) fn gather_selinux(facts: &mut Facts) {
    facts.put("selinux", selinux());
    // Ansible means its Python binding by this; nothing is missing here to report the fact above.
    facts.put("selinux_python_present", json!(true));
}

pub(super) fn gather_apparmor(facts: &mut Facts) {
    let enabled = system::exists("/sys/kernel/security/apparmor");
    facts.put("apparmor", json!({"status": if enabled { "enabled" } else { "disabled" }}));
}

pub(super) fn gather_fips(facts: &mut Facts) {
    facts.put("fips", json!(system::word("/proc/sys/crypto/fips_enabled").as_deref() == Some("1")));
}

/// Bit n of the kernel's masks.
const CAPABILITIES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

pub(super) fn gather_capabilities(facts: &mut Facts) {
    let status = system::text("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|l| l.strip_prefix("CapEff:"))
        .and_then(|m| u64::from_str_radix(m.trim(), 16).ok());
    let Some(mask) = mask else { return };
    let last = system::word("/proc/sys/kernel/cap_last_cap")
        .and_then(|l| l.parse::<u32>().ok())
        .unwrap_or(40)
        .min(62);
    let all = (1u64 << (last + 1)) - 1;
    let held: Vec<&str> = if mask & all == all {
        Vec::new()
    } else {
        (0..CAPABILITIES.len()).filter(|n| mask >> n & 1 == 1).map(|n| CAPABILITIES[n]).collect()
    };
    facts.put("system_capabilities_enforced", json!(if mask & all == all { "False" } else { "True" }));
    facts.put("system_capabilities", json!(held));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;

    #[test]
    fn selinux_is_disabled_where_the_kernel_has_no_folder_for_it() {
        let root = FakeRoot::with(&[("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n")]);
        assert_eq!(selinux(), json!({"status": "disabled"}));
        root.put("/sys/fs/selinux/enforce", "0");
        root.put("/sys/fs/selinux/policyvers", "31");
        assert_eq!(
            selinux(),
            json!({"status": "enabled", "policyvers": 31, "config_mode": "enforcing", "mode": "permissive", "type": "targeted"})
        );
    }
}
