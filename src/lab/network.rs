//! The lab's network: addresses as a pure type, and the bridge on the machine.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::LabError;
use super::tools::{ip, succeeds};

/// An IPv4 network, such as `10.77.0.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    base: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no network for a lab.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not of the form `address/prefix`.
    #[error("`{0}` is no network; write it like `10.77.0.0/24`")]
    Form(String),
    /// Bits behind the prefix are set.
    #[error("`{written}` has host bits set; write `{meant}`")]
    HostBits { written: String, meant: String },
    /// Too large or too small for a lab.
    #[error("`{0}` has a prefix that no lab can use; take one from /16 to /29")]
    Prefix(String),
    /// Routable addresses might belong to somebody.
    #[error("`{0}` isn't a private network; take one inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")]
    Public(String),
}

impl Network {
    /// The `number`-th address; none for the network's own, the machine's (1) and the broadcast address.
    pub fn host(&self, number: u32) -> Option<Ipv4Addr> {
        (number >= 2 && number < self.size() - 1).then(|| Ipv4Addr::from(u32::from(self.base) + number))
    }

    /// The machine's own address in the network.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + 1)
    }

    /// The number of an address that a host can have.
    pub fn number_of(&self, address: Ipv4Addr) -> Option<u32> {
        let number = u32::from(address).checked_sub(u32::from(self.base))?;
        self.host(number).map(|_| number)
    }

    /// The largest number a host can have.
    pub fn last_number(&self) -> u32 {
        self.size() - 2
    }

    /// The length of the prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address of `other` lies in this network or the other way round.
    pub fn overlaps(&self, other: Network) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        u32::from(self.base) & mask == u32::from(other.base) & mask
    }

    fn size(&self) -> u32 {
        1 << (32 - self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let form = || NetworkError::Form(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        if prefix > 32 {
            return Err(form());
        }
        if !(16..=29).contains(&prefix) {
            return Err(NetworkError::Prefix(text.to_owned()));
        }
        let network = Network { base: Ipv4Addr::from(u32::from(address) & mask(prefix)), prefix };
        if network.base != address {
            return Err(NetworkError::HostBits { written: text.to_owned(), meant: network.to_string() });
        }
        if !address.is_private() {
            return Err(NetworkError::Public(text.to_owned()));
        }
        Ok(network)
    }
}

/// The lab's bridge. The machine has the first address on it, the hosts' links are its ports.
#[derive(Debug, Clone)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) network: Network,
}

impl Bridge {
    pub(super) fn exists(&self) -> bool {
        interface(&self.name).exists()
    }

    /// Makes the bridge; none of its packets can leave the machine.
    pub(super) fn create(&self) -> Result<(), LabError> {
        self.refuse_overlap()?;
        let name = self.name.as_str();
        let network = self.network.to_string();
        let gateway = self.network.gateway().to_string();
        ip(&["link", "add", name, "type", "bridge"])?;
        ip(&["address", "add", &format!("{gateway}/{}", self.network.prefix()), "dev", name])?;
        ip(&["link", "set", name, "up"])?;
        // Without quick acknowledgements each ssh login waits 40 ms for a delayed one.
        ip(&[
            "route", "change", &network, "dev", name, "proto", "kernel", "scope", "link", "src", &gateway,
            "quickack", "1",
        ])?;
        // The hosts have a default route, since programs ask it for the host's own address. What they send beyond the
        // lab is refused at once here, instead of being dropped after a long wait. The rule comes before forwarding.
        self.delete_rules();
        ip(&["rule", "add", "iif", name, "prohibit"])?;
        fs_err::write(format!("/proc/sys/net/ipv4/conf/{name}/forwarding"), "1")?;
        Ok(())
    }

    /// Removes the bridge and what belongs to it. Fine when it's not there.
    pub(super) fn delete(&self) -> Result<(), LabError> {
        if self.exists() {
            ip(&["link", "delete", &self.name])?;
        }
        self.delete_rules();
        Ok(())
    }

    fn delete_rules(&self) {
        while succeeds("ip", &["rule", "delete", "iif", &self.name, "prohibit"]) {}
    }

    fn refuse_overlap(&self) -> Result<(), LabError> {
        for line in ip(&["-oneline", "-4", "address", "show"])?.lines() {
            // `2: eth0    inet 192.0.2.2/24 brd ...`
            let mut words = line.split_whitespace().skip(1);
            let (Some(interface), Some("inet"), Some(cidr)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let (address, prefix) = cidr.split_once('/').unwrap_or((cidr, "32"));
            let (Ok(address), Ok(prefix)) = (address.parse::<Ipv4Addr>(), prefix.parse::<u8>()) else {
                continue;
            };
            let taken = Network { base: Ipv4Addr::from(u32::from(address) & mask(prefix)), prefix };
            if self.network.overlaps(taken) {
                let interface = interface.to_owned();
                return Err(LabError::NetworkTaken { network: self.network, address, interface });
            }
        }
        Ok(())
    }
}

/// The kernel's folder about an interface of the machine.
pub(super) fn interface(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    #[test]
    fn numbers_count_from_the_network_address() {
        let lab = network("10.77.0.0/24");
        assert_eq!(lab.gateway(), Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(lab.host(11), Some(Ipv4Addr::new(10, 77, 0, 11)));
        assert_eq!(lab.number_of(Ipv4Addr::new(10, 77, 0, 31)), Some(31));
    }

    #[test]
    fn network_machine_and_broadcast_addresses_belong_to_no_host() {
        let lab = network("10.77.0.0/29");
        assert_eq!((lab.host(0), lab.host(1), lab.host(7), lab.host(8)), (None, None, None, None));
        assert_eq!(lab.host(6), Some(Ipv4Addr::new(10, 77, 0, 6)));
        assert_eq!(lab.number_of(Ipv4Addr::new(10, 77, 1, 3)), None);
    }

    #[test]
    fn overlap_is_seen_from_both_sides() {
        let (wide, narrow) = (network("10.77.0.0/16"), network("10.77.3.0/24"));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide));
        assert!(!network("10.78.0.0/24").overlaps(narrow));
    }

    #[test]
    fn wrong_networks_say_what_to_write() {
        let message = |text: &str| text.parse::<Network>().expect_err(text).to_string();
        assert_eq!(message("10.77.0.0"), "`10.77.0.0` is no network; write it like `10.77.0.0/24`");
        assert_eq!(message("10.77.0.5/24"), "`10.77.0.5/24` has host bits set; write `10.77.0.0/24`");
        assert_eq!(
            message("10.0.0.0/8"),
            "`10.0.0.0/8` has a prefix that no lab can use; take one from /16 to /29"
        );
        assert_eq!(
            message("8.8.8.0/24"),
            "`8.8.8.0/24` isn't a private network; take one inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
        );
    }
}
