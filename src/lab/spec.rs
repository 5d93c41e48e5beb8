//! What a lab consists of, checked: every host has a name, an address and an image, every group is known.
//!
//! Pure apart from reading the file: the same inventory file always gives the same hosts and addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::json;

use super::config::{AddressConfig, GroupConfig, HostConfig, LabConfig, Vars};
use super::dirs::LabDirs;
use super::network::{Network, NetworkError};
use crate::source::nearest;

const DEFAULT_NETWORK: &str = "10.77.0.0/24";
const DEFAULT_WWW_PORT: u16 = 8077;
/// Addresses without a number of their own start here, behind those that people like to give by hand.
const FIRST_FREE_NUMBER: u32 = 10;
/// `dl-` and this many characters are the longest name Linux takes for an interface.
const LONGEST_LAB_NAME: usize = 12;

/// A lab, ready to be run.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// Tells labs of one machine apart.
    pub name: String,
    /// The network on the lab's bridge.
    pub network: Network,
    /// All hosts, in the order in which the file gives them.
    pub hosts: Vec<HostSpec>,
    /// What the web server on the bridge serves.
    pub www: Option<WwwSpec>,
    /// Variables of the group `all`.
    pub vars: Vars,
    /// The groups, in the file's order.
    pub groups: IndexMap<String, InventoryGroup>,
}

/// One host of a lab.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSpec {
    /// The host's name in the inventory, and its hostname.
    pub name: String,
    /// Its address on the lab's bridge.
    pub address: Ipv4Addr,
    /// What its disk holds at first.
    pub image: Image,
    /// Whether a docker daemon can run inside, at the price of fewer limits on the container.
    pub docker_capable: bool,
    /// Its variables from the file.
    pub vars: Vars,
}

/// What a host's disk holds at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Image {
    /// Debian 12 with what clusters need and Python.
    Standard,
    /// The same without Python.
    Bare,
}

impl Image {
    /// The word for it in inventory files.
    pub fn name(self) -> &'static str {
        match self {
            Image::Standard => "standard",
            Image::Bare => "bare",
        }
    }
}

/// The web server on the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WwwSpec {
    /// Where the content comes from.
    pub source: WwwSource,
    /// The port on the machine's address in the lab.
    pub port: u16,
}

/// Where the content of the web server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WwwSource {
    /// A script that is called with the folder to fill each time the lab is brought up. When the folder is up to date it
    /// must see so itself and do nothing.
    Build(PathBuf),
    /// A folder, served as it is.
    Dir(PathBuf),
}

/// A group as inventories know it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InventoryGroup {
    /// Hosts of the group itself.
    pub hosts: Vec<String>,
    /// Groups inside this one.
    pub children: Vec<String>,
    /// Variables of the group.
    pub vars: Vars,
}

/// What an inventory needs to know about a lab, as plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct LabInventory {
    /// Hosts with their variables, connection included.
    pub hosts: IndexMap<String, Vars>,
    /// Groups by name, without `all` and `ungrouped`.
    pub groups: IndexMap<String, InventoryGroup>,
    /// Variables of the group `all`.
    pub vars: Vars,
}

/// What is wrong with a lab's inventory file.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file can't be read.
    #[error("{0}; name the lab's inventory file with `--inventory`")]
    Read(#[from] std::io::Error),
    /// The file is no YAML or has another shape.
    #[error("`{}` is no lab inventory: {source}", .path.display())]
    Shape { path: PathBuf, source: serde_norway::Error },
    /// A value has another type than the key wants.
    #[error("`{}` is no lab inventory: {source}", .path.display())]
    Value { path: PathBuf, source: serde_json::Error },
    /// The file belongs to another plugin.
    #[error("`plugin: {0}` isn't a lab; a lab's inventory file says `plugin: lab`")]
    Plugin(String),
    /// The network can't be used.
    #[error("`network`: {0}")]
    Network(#[from] NetworkError),
    /// The name of the lab can't be used.
    #[error(
        "`{0}` can't name a lab; take 1 to {LONGEST_LAB_NAME} lower-case letters, digits and hyphens, a letter first, \
         and give it as `name:`"
    )]
    LabName(String),
    /// The name of a host can't be used.
    #[error(
        "`{name}` in group `{group}` can't name a host; take lower-case letters, digits and hyphens, at most 63"
    )]
    HostName { name: String, group: String },
    /// The name of a group can't be used.
    #[error(
        "`{0}` can't name a group; every inventory has that one anyway, its variables go to `vars:` at the top"
    )]
    GroupName(String),
    /// A host is described twice.
    #[error(
        "host `{host}` is described in group `{first}` and again in `{second}`; give only its name in one of them"
    )]
    HostTwice { host: String, first: String, second: String },
    /// Two hosts share an address.
    #[error("hosts `{first}` and `{second}` both have address {address}")]
    AddressTwice { first: String, second: String, address: Ipv4Addr },
    /// An address isn't one of the network.
    #[error(
        "address `{written}` of host `{host}` isn't one for a host in {network}; numbers go from 2 to {last}"
    )]
    Address { written: String, host: String, network: Network, last: u32 },
    /// The network has no address left.
    #[error("{network} has no free address for host `{host}`; take a larger network")]
    NetworkFull { network: Network, host: String },
    /// An image has no such name.
    #[error("no image `{0}`; there are `standard` and `bare`")]
    Image(String),
    /// A key makes no sense without another one.
    #[error("group `{group}` has `{key}` but no `count`; it belongs to hosts that are counted")]
    WithoutCount { group: String, key: &'static str },
    /// A child is no group.
    #[error("group `{group}` has the unknown child `{child}`{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownChild { group: String, child: String, near: Option<String> },
    /// Groups contain each other.
    #[error("group `{0}` is its own child, by way of its children")]
    Cycle(String),
    /// The web server has no content, or twice.
    #[error("`www` takes either `build` or `dir`")]
    Www,
    /// A key has no place there.
    #[error("`defaults` can't have `{0}`; it belongs to single hosts")]
    Defaults(&'static str),
}

impl LabSpec {
    /// Reads and checks an inventory file.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        let text = fs_err::read_to_string(path)?;
        let config = serde_norway::from_str(&text)
            .map_err(|source| SpecError::Shape { path: path.to_owned(), source })?;
        Self::resolve(config, &default_name(path), path.parent().unwrap_or(Path::new("")))
    }

    /// Checks what was written. `default_name` names a lab that has no name, `folder` is where relative paths start.
    pub fn resolve(config: LabConfig, default_name: &str, folder: &Path) -> Result<Self, SpecError> {
        if config.plugin != "lab" {
            return Err(SpecError::Plugin(config.plugin));
        }
        let name = config.name.unwrap_or_else(|| default_name.to_owned());
        if !is_label(&name, LONGEST_LAB_NAME) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(SpecError::LabName(name));
        }
        let network = config.network.as_deref().unwrap_or(DEFAULT_NETWORK).parse()?;
        if config.defaults.address.is_some() {
            return Err(SpecError::Defaults("address"));
        }
        if !config.defaults.vars.is_empty() {
            return Err(SpecError::Defaults("vars"));
        }
        let www = match config.www {
            None => None,
            Some(www) => Some(WwwSpec {
                source: match (www.build, www.dir) {
                    (Some(build), None) => WwwSource::Build(folder.join(build)),
                    (None, Some(dir)) => WwwSource::Dir(folder.join(dir)),
                    _ => return Err(SpecError::Www),
                },
                port: www.port.unwrap_or(DEFAULT_WWW_PORT),
            }),
        };
        let mut hosts = Hosts { network, defaults: config.defaults, found: IndexMap::new() };
        let mut groups = IndexMap::new();
        for (group, written) in config.groups {
            if matches!(group.as_str(), "all" | "ungrouped") {
                return Err(SpecError::GroupName(group));
            }
            groups.insert(group.clone(), hosts.take_group(&group, written)?);
        }
        check_children(&groups)?;
        Ok(LabSpec { name, network, hosts: hosts.with_addresses()?, www, vars: config.vars, groups })
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&HostSpec> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// Tells an inventory the hosts, how to reach them, and the groups.
    pub fn inventory(&self, dirs: &LabDirs) -> LabInventory {
        let key = dirs.key(&self.name).to_string_lossy().into_owned();
        let ssh = ssh_options(&dirs.known_hosts(&self.name))
            .iter()
            .map(|option| format!("-o {}", shell_word(option)))
            .collect::<Vec<_>>()
            .join(" ");
        let hosts = self.hosts.iter().map(|host| {
            let mut vars = Vars::new();
            vars.insert("ansible_host".to_owned(), json!(host.address.to_string()));
            vars.insert("ansible_user".to_owned(), json!("root"));
            vars.insert("ansible_ssh_private_key_file".to_owned(), json!(key));
            vars.insert("ansible_ssh_common_args".to_owned(), json!(ssh));
            vars.extend(host.vars.clone());
            (host.name.clone(), vars)
        });
        LabInventory { hosts: hosts.collect(), groups: self.groups.clone(), vars: self.vars.clone() }
    }
}

/// The name of a lab whose file gives none.
pub(super) fn default_name(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What ssh must be told to trust exactly the lab's hosts.
pub(super) fn ssh_options(known_hosts: &Path) -> [String; 3] {
    // ssh splits this value at spaces, unless it is quoted for ssh itself.
    let path = known_hosts.to_string_lossy();
    let path = if path.contains(' ') { format!("\"{path}\"") } else { path.into_owned() };
    [
        format!("UserKnownHostsFile={path}"),
        "StrictHostKeyChecking=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
    ]
}

fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=+@:%".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn is_label(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Hosts as they are found, until all addresses that were asked for are known.
struct Hosts {
    network: Network,
    defaults: HostConfig,
    found: IndexMap<String, FoundHost>,
}

struct FoundHost {
    /// The group that describes it, or the first that names it.
    group: String,
    described: bool,
    number: Option<u32>,
    image: Image,
    docker_capable: bool,
    vars: Vars,
}

impl Hosts {
    fn take_group(&mut self, group: &str, written: GroupConfig) -> Result<InventoryGroup, SpecError> {
        if written.count.is_none() {
            let extra = [("name", written.name.is_some()), ("address", written.address.is_some())];
            if let Some((key, _)) = extra.into_iter().find(|(_, given)| *given) {
                return Err(SpecError::WithoutCount { group: group.to_owned(), key });
            }
        }
        let mut names = Vec::new();
        let stem = written.name.as_deref().unwrap_or(group);
        for nth in 0..written.count.unwrap_or(0) {
            let name = format!("{stem}{}", nth + 1);
            let number = match &written.address {
                None => None,
                Some(first) => Some(self.number(first, &name)?.saturating_add(nth)),
            };
            let address = number.map(AddressConfig::Number);
            let host = HostConfig { address, ..HostConfig::default() };
            self.take_host(group, &written.image, written.docker, name.clone(), Some(host))?;
            names.push(name);
        }
        for (name, host) in written.hosts.0 {
            self.take_host(group, &written.image, written.docker, name.clone(), host)?;
            names.push(name);
        }
        Ok(InventoryGroup { hosts: names, children: written.children, vars: written.vars })
    }

    fn take_host(
        &mut self,
        group: &str,
        group_image: &Option<String>,
        group_docker: Option<bool>,
        name: String,
        host: Option<HostConfig>,
    ) -> Result<(), SpecError> {
        if !is_label(&name, 63) {
            return Err(SpecError::HostName { name, group: group.to_owned() });
        }
        let described = host.is_some();
        if let Some(known) = self.found.get(&name) {
            if described && known.described {
                let (first, second) = (known.group.clone(), group.to_owned());
                return Err(SpecError::HostTwice { host: name, first, second });
            }
            if !described {
                return Ok(());
            }
        }
        let host = host.unwrap_or_default();
        let image = host.image.as_ref().or(group_image.as_ref()).or(self.defaults.image.as_ref());
        let found = FoundHost {
            group: group.to_owned(),
            described,
            number: host.address.as_ref().map(|address| self.number(address, &name)).transpose()?,
            image: match image.map(String::as_str) {
                None | Some("standard") => Image::Standard,
                Some("bare") => Image::Bare,
                Some(other) => return Err(SpecError::Image(other.to_owned())),
            },
            docker_capable: host.docker.or(group_docker).or(self.defaults.docker).unwrap_or(false),
            vars: host.vars,
        };
        // A host that was only named before keeps its place in the order.
        self.found.insert(name, found);
        Ok(())
    }

    fn number(&self, address: &AddressConfig, host: &str) -> Result<u32, SpecError> {
        let (written, number) = match address {
            AddressConfig::Number(number) => (number.to_string(), Some(*number)),
            AddressConfig::Written(text) => {
                let number = match text.parse::<Ipv4Addr>() {
                    Ok(address) => self.network.number_of(address),
                    Err(_) => text.parse().ok(),
                };
                (text.clone(), number)
            }
        };
        number.filter(|number| self.network.host(*number).is_some()).ok_or_else(|| SpecError::Address {
            written,
            host: host.to_owned(),
            network: self.network,
            last: self.network.last_number(),
        })
    }

    fn with_addresses(self) -> Result<Vec<HostSpec>, SpecError> {
        let network = self.network;
        let mut taken: BTreeMap<u32, &str> = BTreeMap::new();
        for (name, host) in &self.found {
            let Some(number) = host.number else { continue };
            if let Some(first) = taken.insert(number, name) {
                let (first, second) = (first.to_owned(), name.clone());
                let address = network.host(number).unwrap_or(network.gateway());
                return Err(SpecError::AddressTwice { first, second, address });
            }
        }
        let mut free = (FIRST_FREE_NUMBER..=network.last_number()).chain(2..FIRST_FREE_NUMBER);
        let mut addresses = Vec::with_capacity(self.found.len());
        for (name, host) in &self.found {
            let number = host.number.or_else(|| free.find(|number| !taken.contains_key(number)));
            let address = number.and_then(|number| network.host(number));
            addresses.push(address.ok_or_else(|| SpecError::NetworkFull { network, host: name.clone() })?);
        }
        let spec = |((name, host), address): ((String, FoundHost), Ipv4Addr)| HostSpec {
            name,
            address,
            image: host.image,
            docker_capable: host.docker_capable,
            vars: host.vars,
        };
        Ok(self.found.into_iter().zip(addresses).map(spec).collect())
    }
}

fn check_children(groups: &IndexMap<String, InventoryGroup>) -> Result<(), SpecError> {
    for (name, group) in groups {
        for child in &group.children {
            if !groups.contains_key(child) {
                let near = nearest(child, groups.keys().map(String::as_str)).map(str::to_owned);
                return Err(SpecError::UnknownChild { group: name.clone(), child: child.clone(), near });
            }
        }
        let mut below: Vec<&String> = group.children.iter().collect();
        let mut seen = Vec::new();
        while let Some(child) = below.pop() {
            if child == name {
                return Err(SpecError::Cycle(name.clone()));
            }
            if !seen.contains(&child) {
                seen.push(child);
                below.extend(groups.get(child).into_iter().flat_map(|group| &group.children));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(yaml: &str) -> Result<LabSpec, SpecError> {
        let config = serde_norway::from_str(yaml)
            .map_err(|source| SpecError::Shape { path: PathBuf::from("lab.yml"), source })?;
        LabSpec::resolve(config, "lab", Path::new("inventory"))
    }

    fn spec(yaml: &str) -> LabSpec {
        resolve(yaml).unwrap_or_else(|error| panic!("{error}"))
    }

    fn message(yaml: &str) -> String {
        resolve(yaml).expect_err("a mistake").to_string()
    }

    fn addresses(spec: &LabSpec) -> Vec<String> {
        spec.hosts.iter().map(|host| format!("{} {}", host.name, host.address)).collect()
    }

    #[test]
    fn shipped_inventory_has_a_cluster_of_seven() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory/lab.yml");
        let spec = LabSpec::read(&path).expect("the shipped file");
        assert_eq!(spec.name, "lab");
        assert_eq!(
            addresses(&spec),
            [
                "bootstrap1 10.77.0.10",
                "master1 10.77.0.11",
                "master2 10.77.0.12",
                "master3 10.77.0.13",
                "agent1 10.77.0.21",
                "agent2 10.77.0.22",
                "public1 10.77.0.31",
            ]
        );
        assert_eq!(spec.groups["agents"].children, ["private_agents", "public_agents"]);
        assert_eq!(spec.groups["masters"].hosts, ["master1", "master2", "master3"]);
        assert_eq!(spec.groups["dcos"].children, ["bootstrap", "masters", "agents"]);
    }

    #[test]
    fn counted_hosts_take_the_group_name_unless_told() {
        let spec = spec("{plugin: lab, groups: {web: {count: 2}, masters: {count: 1, name: master}}}");
        assert_eq!(addresses(&spec), ["web1 10.77.0.10", "web2 10.77.0.11", "master1 10.77.0.12"]);
    }

    #[test]
    fn hosts_without_address_take_the_lowest_free_ones() {
        let spec = spec("{plugin: lab, groups: {a: {hosts: [x, y]}, b: {hosts: {z: 10, w: 10.77.0.12}}}}");
        assert_eq!(addresses(&spec), ["x 10.77.0.11", "y 10.77.0.13", "z 10.77.0.10", "w 10.77.0.12"]);
    }

    #[test]
    fn small_network_is_used_up_to_its_last_address() {
        let small = "{plugin: lab, network: 10.9.0.0/28, groups: {a: {count: COUNT}}}";
        let all = spec(&small.replace("COUNT", "13"));
        assert_eq!(all.hosts.last().map(|host| host.address.to_string()).as_deref(), Some("10.9.0.9"));
        assert_eq!(
            message(&small.replace("COUNT", "14")),
            "10.9.0.0/28 has no free address for host `a14`; take a larger network"
        );
    }

    #[test]
    fn nearest_setting_of_image_and_docker_wins() {
        let spec = spec(
            "{plugin: lab, defaults: {image: bare}, groups: {
               a: {hosts: [one]},
               b: {image: standard, docker: true, hosts: {two: 20, three: {image: bare, docker: false}}}}}",
        );
        let got: Vec<_> = spec
            .hosts
            .iter()
            .map(|host| (host.name.as_str(), host.image.name(), host.docker_capable))
            .collect();
        assert_eq!(got, [("one", "bare", false), ("two", "standard", true), ("three", "bare", false)]);
    }

    #[test]
    fn host_described_once_can_be_named_in_other_groups() {
        let spec = spec("{plugin: lab, groups: {all_of_them: {hosts: [a, b]}, some: {hosts: {b: 44}}}}");
        assert_eq!(addresses(&spec), ["a 10.77.0.10", "b 10.77.0.44"]);
        assert_eq!(spec.groups["some"].hosts, ["b"]);
    }

    #[test]
    fn inventory_checks_host_keys_and_keeps_vars_at_every_level() {
        let spec = spec(
            "{plugin: lab, vars: {v: 1}, groups: {
               g: {vars: {v: 2}, hosts: {h: {vars: {v: 3, ansible_user: ops}}}}, p: {children: [g]}}}",
        );
        let inventory = spec.inventory(&LabDirs::new("/c", "/my state"));
        let host = serde_json::to_value(&inventory.hosts["h"]).expect("plain data");
        assert_eq!(
            host,
            json!({
                "ansible_host": "10.77.0.10",
                "ansible_user": "ops",
                "ansible_ssh_private_key_file": "/my state/lab/id_ed25519",
                "ansible_ssh_common_args": "-o 'UserKnownHostsFile=\"/my state/lab/known_hosts\"' \
                                            -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes",
                "v": 3,
            })
        );
        assert_eq!(inventory.groups["g"].vars["v"], json!(2));
        assert_eq!(inventory.groups["p"].children, ["g"]);
        assert_eq!(inventory.vars["v"], json!(1));
    }

    #[test]
    fn paths_of_the_web_server_start_at_the_file() {
        let www = spec("{plugin: lab, www: {build: ../lab/www/build.sh}}").www.expect("a web server");
        assert_eq!(www.source, WwwSource::Build(PathBuf::from("inventory/../lab/www/build.sh")));
        assert_eq!(www.port, 8077);
        assert_eq!(message("{plugin: lab, www: {}}"), "`www` takes either `build` or `dir`");
    }

    #[test]
    fn mistakes_say_what_and_where_and_what_next() {
        let cases = [
            ("{plugin: yaml}", "`plugin: yaml` isn't a lab; a lab's inventory file says `plugin: lab`"),
            (
                "{plugin: lab, name: My lab}",
                "`My lab` can't name a lab; take 1 to 12 lower-case letters, digits and hyphens, a letter first, \
                 and give it as `name:`",
            ),
            (
                "{plugin: lab, network: 10.77.0.9/24}",
                "`network`: `10.77.0.9/24` has host bits set; write `10.77.0.0/24`",
            ),
            (
                "{plugin: lab, groups: {a: {hosts: {x: 11, y: 11}}}}",
                "hosts `x` and `y` both have address 10.77.0.11",
            ),
            (
                "{plugin: lab, groups: {a: {hosts: {x: 11}}, b: {hosts: {x: 12}}}}",
                "host `x` is described in group `a` and again in `b`; give only its name in one of them",
            ),
            (
                "{plugin: lab, groups: {a: {hosts: {x: 255}}}}",
                "address `255` of host `x` isn't one for a host in 10.77.0.0/24; numbers go from 2 to 254",
            ),
            (
                "{plugin: lab, groups: {a: {hosts: {x: 10.78.0.5}}}}",
                "address `10.78.0.5` of host `x` isn't one for a host in 10.77.0.0/24; numbers go from 2 to 254",
            ),
            (
                "{plugin: lab, groups: {a: {count: 3, address: 253}}}",
                "address `255` of host `a3` isn't one for a host in 10.77.0.0/24; numbers go from 2 to 254",
            ),
            (
                "{plugin: lab, groups: {masters: {count: 1}, all_of_them: {children: [mastres]}}}",
                "group `all_of_them` has the unknown child `mastres`; did you mean `masters`?",
            ),
            (
                "{plugin: lab, groups: {a: {children: [b]}, b: {children: [a]}}}",
                "group `a` is its own child, by way of its children",
            ),
            (
                "{plugin: lab, groups: {a: {address: 11, hosts: [x]}}}",
                "group `a` has `address` but no `count`; it belongs to hosts that are counted",
            ),
            (
                "{plugin: lab, groups: {a: {hosts: [Master_1]}}}",
                "`Master_1` in group `a` can't name a host; take lower-case letters, digits and hyphens, at most 63",
            ),
            (
                "{plugin: lab, groups: {all: {hosts: [x]}}}",
                "`all` can't name a group; every inventory has that one anyway, its variables go to `vars:` at the top",
            ),
            (
                "{plugin: lab, defaults: {image: tiny}, groups: {a: {count: 1}}}",
                "no image `tiny`; there are `standard` and `bare`",
            ),
            (
                "{plugin: lab, defaults: {address: 5}}",
                "`defaults` can't have `address`; it belongs to single hosts",
            ),
        ];
        for (yaml, expected) in cases {
            assert_eq!(message(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_their_place() {
        let text = message("plugin: lab\ngroups:\n  a:\n    cuont: 3\n");
        assert!(text.starts_with("`lab.yml` is no lab inventory: groups.a: unknown field `cuont`"), "{text}");
        assert!(text.contains("line 4"), "{text}");
    }
}
