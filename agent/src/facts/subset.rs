//! `gather_subset`: names of families, of single facts, and their negations.
//!
//! Owns: the rules of <https://docs.ansible.com/ansible/latest/collections/ansible/builtin/setup_module.html>.
//! Must not: gather.

use std::collections::BTreeSet;

/// Families gathered unless `!min` is asked for.
const MINIMAL: [&str; 17] = [
    "apparmor",
    "caps",
    "cmdline",
    "date_time",
    "distribution",
    "dns",
    "env",
    "fips",
    "local",
    "lsb",
    "pkg_mgr",
    "platform",
    "python",
    "selinux",
    "service_mgr",
    "ssh_pub_keys",
    "user",
];

/// Families that only `all` adds.
const MORE: [&str; 7] = ["hardware", "network", "virtual", "chroot", "loadavg", "initiators", "systemd"];

/// Single facts and older names, each with the family that gathers it.
const NAMES: &[(&str, &str)] = &[
    ("all_ipv4_addresses", "network"),
    ("all_ipv6_addresses", "network"),
    ("default_ipv4", "network"),
    ("default_ipv6", "network"),
    ("interfaces", "network"),
    ("locally_reachable_ips", "network"),
    ("architecture", "platform"),
    ("kernel", "platform"),
    ("kernel_version", "platform"),
    ("machine", "platform"),
    ("machine_id", "platform"),
    ("system", "platform"),
    ("devices", "hardware"),
    ("mounts", "hardware"),
    ("processor", "hardware"),
    ("processor_cores", "hardware"),
    ("processor_count", "hardware"),
    ("distribution_major_version", "distribution"),
    ("distribution_release", "distribution"),
    ("distribution_version", "distribution"),
    ("os_family", "distribution"),
    ("effective_group_ids", "user"),
    ("effective_user_id", "user"),
    ("real_user_id", "user"),
    ("user_dir", "user"),
    ("user_gecos", "user"),
    ("user_gid", "user"),
    ("user_id", "user"),
    ("user_shell", "user"),
    ("user_uid", "user"),
    ("is_chroot", "chroot"),
    ("iscsi", "initiators"),
    ("nvme", "initiators"),
    ("fibre_channel_wwn", "initiators"),
    ("python_version", "python"),
    ("ssh_host_key_dsa_public", "ssh_pub_keys"),
    ("ssh_host_key_ecdsa_public", "ssh_pub_keys"),
    ("ssh_host_key_ed25519_public", "ssh_pub_keys"),
    ("ssh_host_key_rsa_public", "ssh_pub_keys"),
    ("ssh_host_pub_keys", "ssh_pub_keys"),
    ("system_capabilities", "caps"),
    ("system_capabilities_enforced", "caps"),
    ("virtualization_role", "virtual"),
    ("virtualization_tech_guest", "virtual"),
    ("virtualization_tech_host", "virtual"),
    ("virtualization_type", "virtual"),
];

/// Families whose facts belong to another one's meaning and so come with it.
const NEEDS: [(&str, &[&str]); 6] = [
    ("network", &["platform", "distribution"]),
    ("hardware", &["platform"]),
    ("service_mgr", &["platform", "distribution"]),
    ("pkg_mgr", &["distribution"]),
    ("loadavg", &["platform"]),
    ("initiators", &["platform"]),
];

/// The families to gather.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subset(BTreeSet<&'static str>);

/// A word that names no facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`gather_subset` of `setup` has no subset `{name}`; known are {}", known().join(", "))]
pub struct BadSubset {
    pub name: String,
}

fn known() -> Vec<&'static str> {
    let mut names = vec!["all", "min"];
    names.extend(MINIMAL.iter().chain(&MORE));
    names
}

fn family(name: &str) -> Option<&'static str> {
    MINIMAL
        .iter()
        .chain(&MORE)
        .find(|f| **f == name)
        .copied()
        .or_else(|| NAMES.iter().find(|(n, _)| *n == name).map(|(_, f)| *f))
}

impl Subset {
    /// Reads the option's words.
    ///
    /// # Errors
    /// When a word names no facts.
    pub fn parse(words: &[String]) -> Result<Self, BadSubset> {
        let (mut added, mut removed): (BTreeSet<&'static str>, BTreeSet<&'static str>) = Default::default();
        let (mut all, mut not_all, mut not_min, mut only_negative) = (false, false, false, true);
        for word in words.iter().map(|w| w.trim()).filter(|w| !w.is_empty()) {
            let (negated, name) = match word.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, word),
            };
            only_negative &= negated;
            match (name, negated) {
                ("all", false) => all = true,
                ("all", true) => not_all = true,
                ("min", false) | ("facter" | "ohai", _) => {}
                ("min", true) => not_min = true,
                (name, negated) => {
                    let family = family(name).ok_or_else(|| BadSubset { name: name.to_owned() })?;
                    if negated {
                        removed.insert(family)
                    } else {
                        added.insert(family)
                    };
                }
            }
        }
        // Only exclusions, or nothing at all, mean everything but them.
        all |= only_negative && !not_all;
        let mut wanted: BTreeSet<&'static str> = BTreeSet::new();
        if !not_min {
            wanted.extend(MINIMAL);
        }
        if all && !not_all {
            wanted.extend(MORE);
        }
        for family in removed {
            wanted.remove(family);
        }
        wanted.extend(added);
        for (family, needs) in NEEDS {
            if wanted.contains(family) {
                wanted.extend(needs);
            }
        }
        if wanted.contains("platform") {
            // The platform tells Python's version too.
            wanted.insert("python");
        }
        Ok(Self(wanted))
    }

    /// True when the family is to be gathered.
    #[must_use]
    pub fn wants(&self, family: &str) -> bool {
        self.0.contains(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Subset {
        Subset::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).expect("parses")
    }

    #[test]
    fn nothing_and_only_exclusions_mean_all_but_them() {
        assert!(of(&["all"]).wants("network") && of(&[]).wants("network"));
        let subset = of(&["!hardware"]);
        assert!(subset.wants("network") && subset.wants("env") && !subset.wants("hardware"));
    }

    #[test]
    fn a_named_family_comes_with_the_minimum_unless_that_is_excluded() {
        let subset = of(&["network"]);
        assert!(subset.wants("network") && subset.wants("env") && !subset.wants("hardware"));
        let subset = of(&["!all", "!min", "network"]);
        assert!(subset.wants("network") && subset.wants("platform") && !subset.wants("env"));
        let subset = of(&["!all"]);
        assert!(subset.wants("env") && !subset.wants("network"));
        assert_eq!(of(&["!all", "!min"]), Subset(BTreeSet::new()));
    }

    #[test]
    fn single_facts_name_their_family_and_unknown_words_are_told() {
        assert!(of(&["!all", "!min", "default_ipv4"]).wants("network"));
        let error = Subset::parse(&["nonsense".into()]).expect_err("unknown");
        assert!(
            error
                .to_string()
                .starts_with("`gather_subset` of `setup` has no subset `nonsense`; known are all, min, ")
        );
    }
}
