//! The lab's inventory file as it is written. Nothing is checked here beyond shape; see `spec` for the meaning.

use std::fmt;
use std::path::PathBuf;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor, value};

/// Variables as plain data, in the order in which they are written.
pub type Vars = serde_json::Map<String, serde_json::Value>;

/// A whole inventory file with `plugin: lab`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabConfig {
    /// Always `lab`; what tells the file from those of other inventory plugins.
    pub plugin: String,
    /// Names the lab; default: the name of the file.
    pub name: Option<String>,
    /// The network of the lab's bridge; default `10.77.0.0/24`.
    pub network: Option<String>,
    /// What a host is when neither it nor its group says otherwise.
    #[serde(default)]
    pub defaults: HostConfig,
    /// What the web server on the bridge serves; without it there is no server.
    pub www: Option<WwwConfig>,
    /// Variables of the group `all`.
    #[serde(default)]
    pub vars: Vars,
    /// The groups by name.
    #[serde(default)]
    pub groups: IndexMap<String, GroupConfig>,
}

/// The web server on the bridge: a folder, or a script that fills one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WwwConfig {
    /// A script that is called with the folder to fill; relative to the inventory file.
    pub build: Option<PathBuf>,
    /// A folder to serve as it is; relative to the inventory file.
    pub dir: Option<PathBuf>,
    /// The port; default 8077.
    pub port: Option<u16>,
}

/// A group: hosts by count, hosts by name, other groups.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Makes this many hosts, called `name` and a number from 1.
    pub count: Option<u32>,
    /// The stem of the counted hosts' names; default: the group's name.
    pub name: Option<String>,
    /// The first counted host's address; default: the lowest free ones.
    pub address: Option<AddressConfig>,
    /// Hosts by name.
    #[serde(default)]
    pub hosts: HostsConfig,
    /// Groups whose hosts belong to this one too.
    #[serde(default)]
    pub children: Vec<String>,
    /// Variables of the group.
    #[serde(default)]
    pub vars: Vars,
    /// The image of the hosts that this group makes.
    pub image: Option<String>,
    /// Whether the hosts that this group makes can run a docker daemon.
    pub docker: Option<bool>,
}

/// One host's settings, each optional.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// The host's address or its number in the network.
    pub address: Option<AddressConfig>,
    /// `standard` or `bare`.
    pub image: Option<String>,
    /// Whether a docker daemon can run inside.
    pub docker: Option<bool>,
    /// Variables of the host.
    #[serde(default)]
    pub vars: Vars,
}

/// An address: `11` is the eleventh of the network, `10.77.0.11` is spelled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressConfig {
    /// A number in the lab's network.
    Number(u32),
    /// A whole address.
    Written(String),
}

/// Hosts of a group: a list of names, or a mapping from names to settings.
#[derive(Debug, Clone, Default)]
pub struct HostsConfig(pub IndexMap<String, Option<HostConfig>>);

impl<'de> Deserialize<'de> for AddressConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Address;
        impl Visitor<'_> for Address {
            type Value = AddressConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as `11` or `10.77.0.11`")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AddressConfig, E> {
                u32::try_from(number)
                    .map(AddressConfig::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<AddressConfig, E> {
                u32::try_from(number)
                    .map(AddressConfig::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<AddressConfig, E> {
                Ok(AddressConfig::Written(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Address)
    }
}

/// A host in a mapping: nothing, its address alone, or settings.
struct HostEntry(Option<HostConfig>);

impl<'de> Deserialize<'de> for HostEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        fn at<E: de::Error>(address: impl de::IntoDeserializer<'static, E>) -> Result<HostEntry, E> {
            let address = Some(AddressConfig::deserialize(address.into_deserializer())?);
            Ok(HostEntry(Some(HostConfig { address, ..HostConfig::default() })))
        }
        impl<'de> Visitor<'de> for Entry {
            type Value = HostEntry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a host's address or a mapping of its settings")
            }
            fn visit_unit<E: de::Error>(self) -> Result<HostEntry, E> {
                Ok(HostEntry(None))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<HostEntry, E> {
                at(number)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<HostEntry, E> {
                at(number)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HostEntry, E> {
                at(text.to_owned())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HostEntry, A::Error> {
                HostConfig::deserialize(value::MapAccessDeserializer::new(map))
                    .map(|host| HostEntry(Some(host)))
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

impl<'de> Deserialize<'de> for HostsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hosts;
        impl<'de> Visitor<'de> for Hosts {
            type Value = HostsConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of host names or a mapping from names to addresses")
            }
            fn visit_unit<E: de::Error>(self) -> Result<HostsConfig, E> {
                Ok(HostsConfig::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<HostsConfig, A::Error> {
                let mut hosts = IndexMap::new();
                while let Some(name) = names.next_element::<String>()? {
                    hosts.insert(name, None);
                }
                Ok(HostsConfig(hosts))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HostsConfig, A::Error> {
                let mut hosts = IndexMap::new();
                while let Some((name, HostEntry(host))) = map.next_entry::<String, HostEntry>()? {
                    hosts.insert(name, host);
                }
                Ok(HostsConfig(hosts))
            }
        }
        deserializer.deserialize_any(Hosts)
    }
}
