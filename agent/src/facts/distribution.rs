//! Which distribution runs here, in the words of Ansible's `distribution*` and `os_family` facts.
//!
//! Owns: `/etc/os-release`, the release files of the Red Hat family, the table of families. Must not: run programs.
//! Called by: the facts, and modules that behave by distribution.

use serde_json::{Value, json};

use super::Facts;
use crate::system;

/// The distribution as facts name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    pub name: String,
    pub version: String,
    pub major: String,
    pub minor: Option<String>,
    pub release: String,
    pub file_path: Option<&'static str>,
    pub file_variety: Option<&'static str>,
    pub file_search: Option<&'static str>,
}

impl Distribution {
    /// The family whose package tools and layout it shares; its own name when it belongs to none.
    #[must_use]
    pub fn family(&self) -> String {
        FAMILIES
            .iter()
            .find(|(_, members)| members.contains(&self.name.as_str()))
            .map_or_else(|| self.name.clone(), |(family, _)| (*family).to_owned())
    }

    /// The major version as a number, 0 when it is none (`rolling`).
    #[must_use]
    pub fn major_number(&self) -> u32 {
        self.major.parse().unwrap_or(0)
    }
}

/// Families and their members, by Ansible's names.
const FAMILIES: [(&str, &[&str]); 9] = [
    (
        "RedHat",
        &[
            "RedHat",
            "RHEL",
            "Fedora",
            "CentOS",
            "Scientific",
            "SLC",
            "Ascendos",
            "CloudLinux",
            "PSBM",
            "OracleLinux",
            "OVS",
            "OEL",
            "Amazon",
            "Amzn",
            "Virtuozzo",
            "XenServer",
            "Alibaba",
            "EulerOS",
            "openEuler",
            "AlmaLinux",
            "Rocky",
            "TencentOS",
            "EuroLinux",
            "Kylin Linux Advanced Server",
            "MIRACLE",
        ],
    ),
    (
        "Debian",
        &[
            "Debian",
            "Ubuntu",
            "Raspbian",
            "Neon",
            "KDE neon",
            "Linux Mint",
            "SteamOS",
            "Devuan",
            "Kali",
            "Cumulus Linux",
            "Pop!_OS",
            "Parrot",
            "Pardus GNU/Linux",
            "Uos",
            "Deepin",
            "OSMC",
        ],
    ),
    (
        "Suse",
        &[
            "SuSE",
            "SLES",
            "SLED",
            "openSUSE",
            "openSUSE Tumbleweed",
            "SLES_SAP",
            "SUSE_LINUX",
            "openSUSE Leap",
            "ALP-Dolomite",
            "SL-Micro",
            "openSUSE MicroOS",
        ],
    ),
    ("Archlinux", &["Archlinux", "Antergos", "Manjaro"]),
    ("Mandrake", &["Mandrake", "Mandriva"]),
    ("Gentoo", &["Gentoo", "Funtoo"]),
    ("Alpine", &["Alpine"]),
    ("Altlinux", &["Altlinux"]),
    ("ClearLinux", &["Clear Linux OS", "Clear Linux Mix"]),
];

/// `KEY=value` lines as in os-release, quotes removed.
#[must_use]
pub fn shell_assignments(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            if line.starts_with('#') {
                return None;
            }
            let (key, value) = line.split_once('=')?;
            Some((key.trim().to_owned(), unquote(value.trim())))
        })
        .collect()
}

fn unquote(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote)) {
            return inner.replace("\\\"", "\"").replace("\\$", "$").replace("\\`", "`").replace("\\\\", "\\");
        }
    }
    value.to_owned()
}

struct OsRelease(Vec<(String, String)>);

impl OsRelease {
    fn get(&self, key: &str) -> &str {
        self.0.iter().rev().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str())
    }

    fn codename(&self) -> String {
        let named = self.get("VERSION_CODENAME");
        if !named.is_empty() {
            return named.to_owned();
        }
        let ubuntu = self.get("UBUNTU_CODENAME");
        if !ubuntu.is_empty() {
            return ubuntu.to_owned();
        }
        // `VERSION="8 (jessie)"` or `VERSION="14.04.6 LTS, Trusty Tahr"`
        let version = self.get("VERSION");
        parenthesized(version)
            .or_else(|| version.split_once(", ").map(|(_, name)| name.trim().to_owned()))
            .unwrap_or_default()
    }
}

fn parenthesized(text: &str) -> Option<String> {
    let inner = text.split_once('(')?.1.split_once(')')?.0.trim();
    (!inner.is_empty()).then(|| inner.to_owned())
}

/// The first run of digits and dots that stands for a version in a release file.
fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()))
}

fn split_version(version: &str) -> (String, Option<String>) {
    match version.split_once('.') {
        Some((major, rest)) => (major.to_owned(), rest.split('.').next().map(str::to_owned)),
        None => (version.to_owned(), None),
    }
}

fn first_parts(version: &str, parts: usize) -> String {
    version.split('.').take(parts).collect::<Vec<_>>().join(".")
}

/// Reads the host's release files.
#[must_use]
pub fn detect() -> Distribution {
    let os_text = system::text("/etc/os-release").or_else(|| system::text("/usr/lib/os-release"));
    let os = OsRelease(os_text.as_deref().map(shell_assignments).unwrap_or_default());
    red_hat_family(&os)
        .or_else(|| amazon(&os))
        .or_else(|| alpine(&os))
        .or_else(|| arch(&os))
        .or_else(|| suse(&os))
        .or_else(|| debian_family(&os))
        .or_else(|| flatcar(&os))
        .unwrap_or_else(|| other(&os))
}

fn red_hat_family(os: &OsRelease) -> Option<Distribution> {
    if let Some(text) = system::word("/etc/oracle-release")
        && text.contains("Oracle Linux")
    {
        return Some(from_release_file(
            "OracleLinux",
            &text,
            "/etc/oracle-release",
            "OracleLinux",
            "Oracle Linux",
        ));
    }
    if let Some(text) = system::word("/etc/centos-release")
        && text.contains("CentOS Stream")
    {
        let mut found = from_release_file("CentOS", &text, "/etc/centos-release", "CentOS", "");
        found.file_search = None;
        found.release = "Stream".into();
        return Some(found);
    }
    let text = system::word("/etc/redhat-release")?;
    let mut found = if text.contains("Red Hat") {
        from_release_file("RedHat", &text, "/etc/redhat-release", "RedHat", "Red Hat")
    } else {
        let name = text.split_whitespace().next().unwrap_or("RedHat").to_owned();
        let mut found = from_release_file(&name, &text, "/etc/redhat-release", "RedHat", "");
        found.file_search = None;
        found
    };
    // CentOS writes 7.9.2009; the fact has always been 7.9.
    if found.name == "CentOS" {
        found.version = first_parts(&found.version, 2);
    }
    if found.version.is_empty() {
        found.version = os.get("VERSION_ID").to_owned();
        found.major = split_version(&found.version).0;
    }
    Some(found)
}

fn from_release_file(
    name: &str,
    text: &str,
    path: &'static str,
    variety: &'static str,
    search: &'static str,
) -> Distribution {
    let version = version_in(text).unwrap_or_default().to_owned();
    let (major, minor) = split_version(&version);
    let _ = minor;
    Distribution {
        name: name.to_owned(),
        major,
        minor: None,
        release: parenthesized(text).unwrap_or_default(),
        version,
        file_path: Some(path),
        file_variety: Some(variety),
        file_search: Some(search),
    }
}

fn amazon(os: &OsRelease) -> Option<Distribution> {
    let from_os_release = os.get("NAME").contains("Amazon");
    let system_release = system::word("/etc/system-release").filter(|t| t.contains("Amazon"));
    if !from_os_release && system_release.is_none() {
        return None;
    }
    let version = if from_os_release {
        os.get("VERSION_ID").to_owned()
    } else {
        system_release.as_deref().and_then(version_in).unwrap_or_default().to_owned()
    };
    let (major, minor) = split_version(&version);
    Some(Distribution {
        name: "Amazon".into(),
        major,
        minor: Some(minor.unwrap_or_else(|| "NA".into())),
        version,
        release: "NA".into(),
        file_path: Some(if from_os_release { "/etc/os-release" } else { "/etc/system-release" }),
        file_variety: Some("Amazon"),
        file_search: None,
    })
}

fn alpine(os: &OsRelease) -> Option<Distribution> {
    let text = system::word("/etc/alpine-release")?;
    if os.get("ID") != "alpine" && !os.get("ID").is_empty() {
        return None;
    }
    Some(Distribution {
        name: "Alpine".into(),
        major: split_version(&text).0,
        version: text,
        release: "NA".into(),
        file_path: Some("/etc/alpine-release"),
        file_variety: Some("Alpine"),
        ..Distribution::default()
    })
}

fn arch(os: &OsRelease) -> Option<Distribution> {
    let marked = system::exists("/etc/arch-release");
    if !marked && os.get("ID") != "arch" {
        return None;
    }
    let name = if os.get("ID") == "manjaro" { "Manjaro" } else { "Archlinux" };
    Some(Distribution {
        name: name.into(),
        version: "rolling".into(),
        major: "rolling".into(),
        release: os.codename(),
        file_path: Some(if marked { "/etc/arch-release" } else { "/etc/os-release" }),
        file_variety: Some("Archlinux"),
        ..Distribution::default()
    })
}

fn suse(os: &OsRelease) -> Option<Distribution> {
    let id = os.get("ID");
    let like = os.get("ID_LIKE");
    if !(id.starts_with("opensuse") || id.starts_with("sle") || id == "suse" || like.contains("suse")) {
        return None;
    }
    let name = match id {
        "sles" => "SLES",
        "sled" => "SLED",
        "sles_sap" => "SLES_SAP",
        "sl-micro" => "SL-Micro",
        "opensuse-leap" => "openSUSE Leap",
        "opensuse-tumbleweed" => "openSUSE Tumbleweed",
        "opensuse-microos" => "openSUSE MicroOS",
        _ => "openSUSE",
    };
    let version = os.get("VERSION_ID").to_owned();
    let (major, minor) = split_version(&version);
    Some(Distribution {
        name: name.into(),
        release: minor.unwrap_or_else(|| "0".into()),
        major,
        version,
        file_path: Some("/etc/os-release"),
        file_variety: Some("SUSE"),
        ..Distribution::default()
    })
}

fn debian_family(os: &OsRelease) -> Option<Distribution> {
    let id = os.get("ID");
    let name = match id {
        "debian" => "Debian",
        "ubuntu" => "Ubuntu",
        "raspbian" => "Raspbian",
        "devuan" => "Devuan",
        "kali" => "Kali",
        "linuxmint" => "Linux Mint",
        "pop" => "Pop!_OS",
        "neon" => "KDE neon",
        "parrot" => "Parrot",
        "steamos" => "SteamOS",
        "cumulus-linux" => "Cumulus Linux",
        "deepin" | "Deepin" => "Deepin",
        "osmc" => "OSMC",
        _ if os.get("ID_LIKE").split_whitespace().any(|l| l == "debian" || l == "ubuntu") => {
            return Some(Distribution { file_variety: Some("Debian"), ..other(os) });
        }
        _ => return None,
    };
    let mut version = os.get("VERSION_ID").to_owned();
    let mut minor = None;
    if name == "Debian"
        && let Some(point) = system::word("/etc/debian_version")
        && point.starts_with(|c: char| c.is_ascii_digit())
    {
        // os-release knows only 12; the point release stands in debian_version.
        minor = split_version(&point).1;
        version = point;
    }
    Some(Distribution {
        name: name.into(),
        major: split_version(&version).0,
        minor,
        version,
        release: os.codename(),
        file_path: Some("/etc/os-release"),
        file_variety: Some("Debian"),
        file_search: None,
    })
}

fn flatcar(os: &OsRelease) -> Option<Distribution> {
    let name = match os.get("ID") {
        "flatcar" => "Flatcar",
        "coreos" => "Coreos",
        _ => return None,
    };
    let version = os.get("VERSION_ID").to_owned();
    Some(Distribution {
        name: name.into(),
        major: split_version(&version).0,
        release: if name == "Coreos" {
            system::text("/etc/coreos/update.conf")
                .and_then(|t| shell_assignments(&t).into_iter().find(|(k, _)| k == "GROUP").map(|(_, v)| v))
                .unwrap_or_default()
        } else {
            os.get("GROUP").to_owned()
        },
        version,
        file_path: Some("/etc/os-release"),
        file_variety: Some(if name == "Coreos" { "Coreos" } else { "Flatcar" }),
        ..Distribution::default()
    })
}

/// A distribution without a rule of its own: its first word, as os-release writes it.
fn other(os: &OsRelease) -> Distribution {
    let name = os.get("NAME").split_whitespace().next().unwrap_or("Linux").to_owned();
    let version = os.get("VERSION_ID").to_owned();
    Distribution {
        name,
        major: split_version(&version).0,
        version,
        release: os.codename(),
        file_path: (!os.0.is_empty()).then_some("/etc/os-release"),
        file_variety: (!os.0.is_empty()).then_some("NA"),
        ..Distribution::default()
    }
}

pub(super) fn gather(facts: &mut Facts, found: &Distribution) {
    let or_na = |text: &str| if text.is_empty() { json!("NA") } else { json!(text) };
    facts.put("distribution", json!(found.name));
    facts.put("distribution_version", or_na(&found.version));
    facts.put("distribution_major_version", or_na(&found.major));
    facts.put("distribution_release", json!(found.release));
    if let Some(minor) = &found.minor {
        facts.put("distribution_minor_version", json!(minor));
    }
    if let Some(path) = found.file_path {
        facts.put("distribution_file_path", json!(path));
        facts.put("distribution_file_variety", found.file_variety.map_or(Value::Null, Value::from));
        facts.put("distribution_file_parsed", json!(true));
        if let Some(search) = found.file_search {
            facts.put("distribution_file_search_string", json!(search));
        }
    }
    facts.put("os_family", json!(found.family()));
}

/// The `lsb` fact: what `lsb_release -a` would say, and nothing where that is not installed.
pub(super) fn lsb() -> Value {
    let file = system::text("/etc/lsb-release").map(|t| OsRelease(shell_assignments(&t)));
    let (id, release, codename, description) = match file.filter(|f| !f.get("DISTRIB_ID").is_empty()) {
        Some(f) => (
            f.get("DISTRIB_ID").to_owned(),
            f.get("DISTRIB_RELEASE").to_owned(),
            f.get("DISTRIB_CODENAME").to_owned(),
            f.get("DISTRIB_DESCRIPTION").to_owned(),
        ),
        None => {
            if system::run::find_program("lsb_release").is_none() {
                return json!({});
            }
            let Some(text) = system::text("/etc/os-release").or_else(|| system::text("/usr/lib/os-release"))
            else {
                return json!({});
            };
            let os = OsRelease(shell_assignments(&text));
            let id = match os.get("ID") {
                "debian" => "Debian".to_owned(),
                _ => os.get("NAME").replace(' ', ""),
            };
            (id, os.get("VERSION_ID").to_owned(), os.codename(), os.get("PRETTY_NAME").to_owned())
        }
    };
    let major = release.split('.').next().unwrap_or_default().to_owned();
    json!({"codename": codename, "description": description, "id": id, "major_release": major, "release": release})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;

    #[test]
    fn debian_takes_its_point_release_from_debian_version() {
        let _root = FakeRoot::with(&[
            (
                "/etc/os-release",
                "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
            ),
            ("/etc/debian_version", "12.7\n"),
        ]);
        let found = detect();
        assert_eq!(
            (found.name.as_str(), found.version.as_str(), found.major.as_str()),
            ("Debian", "12.7", "12")
        );
        assert_eq!((found.minor.as_deref(), found.release.as_str()), (Some("7"), "bookworm"));
        assert_eq!(found.family(), "Debian");
    }

    #[test]
    fn centos_seven_is_read_from_redhat_release_and_cut_to_two_parts() {
        let _root = FakeRoot::with(&[
            ("/etc/os-release", "NAME=\"CentOS Linux\"\nID=\"centos\"\nVERSION_ID=\"7\"\n"),
            ("/etc/centos-release", "CentOS Linux release 7.9.2009 (Core)\n"),
            ("/etc/redhat-release", "CentOS Linux release 7.9.2009 (Core)\n"),
        ]);
        let found = detect();
        assert_eq!(
            (found.name.as_str(), found.version.as_str(), found.release.as_str()),
            ("CentOS", "7.9", "Core")
        );
        assert_eq!(found.file_path, Some("/etc/redhat-release"));
        assert_eq!(found.family(), "RedHat");
    }

    #[test]
    fn centos_stream_says_stream_and_red_hat_names_its_search_string() {
        let root = FakeRoot::with(&[
            ("/etc/os-release", "NAME=\"CentOS Stream\"\nID=\"centos\"\nVERSION_ID=\"9\"\n"),
            ("/etc/centos-release", "CentOS Stream release 9\n"),
            ("/etc/redhat-release", "CentOS Stream release 9\n"),
        ]);
        assert_eq!((detect().version.as_str(), detect().release.as_str()), ("9", "Stream"));
        std::fs::remove_file(root.path("/etc/centos-release")).expect("removes");
        root.put("/etc/redhat-release", "Red Hat Enterprise Linux release 8.6 (Ootpa)\n");
        let found = detect();
        assert_eq!(
            (found.name.as_str(), found.version.as_str(), found.release.as_str()),
            ("RedHat", "8.6", "Ootpa")
        );
        assert_eq!(found.file_search, Some("Red Hat"));
    }

    #[test]
    fn amazon_flatcar_and_strangers_have_their_names() {
        let root =
            FakeRoot::with(&[("/etc/os-release", "NAME=\"Amazon Linux\"\nID=\"amzn\"\nVERSION_ID=\"2\"\n")]);
        root.put("/etc/system-release", "Amazon Linux release 2 (Karoo)\n");
        let found = detect();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("Amazon", "2"));
        assert_eq!((found.minor.as_deref(), found.family().as_str()), (Some("NA"), "RedHat"));
        std::fs::remove_file(root.path("/etc/system-release")).expect("removes");
        root.put(
            "/etc/os-release",
            "NAME=\"Flatcar Container Linux\"\nID=flatcar\nVERSION_ID=3510.2.0\nGROUP=stable\n",
        );
        assert_eq!((detect().name.as_str(), detect().release.as_str()), ("Flatcar", "stable"));
        root.put("/etc/os-release", "NAME=\"Wind River\"\nID=wr\nVERSION_ID=1\n");
        assert_eq!((detect().name.as_str(), detect().family().as_str()), ("Wind", "Wind"));
    }

    #[test]
    fn lsb_reads_its_file_first() {
        let _root = FakeRoot::with(&[(
            "/etc/lsb-release",
            "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=22.04\nDISTRIB_CODENAME=jammy\nDISTRIB_DESCRIPTION=\"Ubuntu 22.04.3 LTS\"\n",
        )]);
        assert_eq!(
            lsb(),
            json!({"codename": "jammy", "description": "Ubuntu 22.04.3 LTS", "id": "Ubuntu", "major_release": "22", "release": "22.04"})
        );
    }
}
