//! Interfaces, addresses and default routes, without a subprocess.
//!
//! Owns: `interfaces`, the fact per interface, `default_ipv4/6`, `all_ipv4/6_addresses`, `locally_reachable_ips`, `dns`.
//! Must not: send a packet; the source address of the default route comes from connecting a UDP socket, which sends none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use serde_json::{Map, Value, json};

use super::Facts;
use crate::system;

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    /// The label, `eth0` or `eth0:1`.
    label: String,
    ip: IpAddr,
    mask: Option<IpAddr>,
    broadcast: Option<Ipv4Addr>,
}

fn addresses() -> Vec<Address> {
    let Ok(found) = getifaddrs() else { return Vec::new() };
    found
        .filter_map(|entry| {
            let ip = ip_of(entry.address.as_ref()?)?;
            let broadcast = match entry.broadcast.as_ref().and_then(ip_of) {
                Some(IpAddr::V4(v4)) => Some(v4),
                _ => None,
            };
            Some(Address {
                label: entry.interface_name,
                ip,
                mask: entry.netmask.as_ref().and_then(ip_of),
                broadcast,
            })
        })
        .collect()
}

fn ip_of(storage: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(IpAddr::V4(v4.ip()));
    }
    storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
}

fn prefix_of(mask: &IpAddr) -> u32 {
    match mask {
        IpAddr::V4(m) => u32::from(*m).count_ones(),
        IpAddr::V6(m) => u128::from(*m).count_ones(),
    }
}

fn scope_of(ip: &Ipv6Addr) -> &'static str {
    let head = ip.segments()[0];
    if ip.is_loopback() {
        "host"
    } else if head & 0xffc0 == 0xfe80 {
        "link"
    } else if head & 0xffc0 == 0xfec0 {
        "site"
    } else {
        "global"
    }
}

fn ipv4_value(address: &Address) -> Option<Value> {
    let IpAddr::V4(ip) = address.ip else { return None };
    let mask = match address.mask {
        Some(IpAddr::V4(mask)) => mask,
        _ => Ipv4Addr::BROADCAST,
    };
    let network = Ipv4Addr::from(u32::from(ip) & u32::from(mask));
    // Loopback and point-to-point links have no broadcast address, though the C library makes one up.
    let broadcast = match address.broadcast {
        Some(b) if !ip.is_loopback() && b != ip => b.to_string(),
        _ => String::new(),
    };
    Some(json!({
        "address": ip.to_string(),
        "broadcast": broadcast,
        "netmask": mask.to_string(),
        "network": network.to_string(),
        "prefix": u32::from(mask).count_ones().to_string(),
    }))
}

fn ipv6_value(address: &Address) -> Option<Value> {
    let IpAddr::V6(ip) = address.ip else { return None };
    let prefix = address.mask.as_ref().map_or(128, prefix_of);
    Some(json!({"address": ip.to_string(), "prefix": prefix.to_string(), "scope": scope_of(&ip)}))
}

fn number(path: &str) -> Option<i64> {
    system::word(path)?.parse().ok()
}

fn type_name(kind: i64) -> &'static str {
    match kind {
        1 => "ether",
        32 => "infiniband",
        512 => "ppp",
        772 => "loopback",
        65534 => "tunnel",
        _ => "unknown",
    }
}

/// One interface as its fact; `addresses` are all of the host's.
fn interface(name: &str, addresses: &[Address]) -> Map<String, Value> {
    let base = format!("/sys/class/net/{name}");
    let mut fact = Map::new();
    fact.insert("device".into(), json!(name));
    if let Some(mac) = system::word(format!("{base}/address"))
        && mac != "00:00:00:00:00:00"
    {
        fact.insert("macaddress".into(), json!(mac));
    }
    if let Some(mtu) = number(&format!("{base}/mtu")) {
        fact.insert("mtu".into(), json!(mtu));
    }
    if let Some(state) = system::word(format!("{base}/operstate")) {
        fact.insert("active".into(), json!(state != "down"));
    }
    if let Some(module) = system::link_name(format!("{base}/device/driver/module")) {
        fact.insert("module".into(), json!(module));
    }
    if let Some(kind) = number(&format!("{base}/type")) {
        let kind = type_name(kind);
        if kind != "unknown" {
            fact.insert("type".into(), json!(kind));
        }
    }
    bridge(&base, &mut fact);
    bonding(&base, &mut fact);
    if let Some(device) = system::link_name(format!("{base}/device")) {
        fact.insert("pciid".into(), json!(device));
    }
    if let Some(speed) = number(&format!("{base}/speed")) {
        fact.insert("speed".into(), json!(speed));
    }
    if let Some(flags) = system::word(format!("{base}/flags"))
        && let Ok(flags) = i64::from_str_radix(flags.trim_start_matches("0x"), 16)
    {
        fact.insert("promisc".into(), json!(flags & 0x100 != 0));
    }
    let own = |a: &&Address| a.label == name;
    let mut v4 = addresses.iter().filter(own).filter_map(ipv4_value);
    if let Some(first) = v4.next() {
        fact.insert("ipv4".into(), first);
        let others: Vec<Value> = v4.collect();
        if !others.is_empty() {
            fact.insert("ipv4_secondaries".into(), json!(others));
        }
    }
    let v6: Vec<Value> = addresses.iter().filter(own).filter_map(ipv6_value).collect();
    if !v6.is_empty() {
        fact.insert("ipv6".into(), json!(v6));
    }
    fact
}

fn bridge(base: &str, fact: &mut Map<String, Value>) {
    if !system::exists(format!("{base}/bridge")) {
        return;
    }
    fact.insert("type".into(), json!("bridge"));
    fact.insert("interfaces".into(), json!(system::names(format!("{base}/brif"))));
    if let Some(id) = system::word(format!("{base}/bridge/bridge_id")) {
        fact.insert("id".into(), json!(id));
    }
    if let Some(stp) = system::word(format!("{base}/bridge/stp_state")) {
        fact.insert("stp".into(), json!(stp == "1"));
    }
}

fn bonding(base: &str, fact: &mut Map<String, Value>) {
    if !system::exists(format!("{base}/bonding")) {
        return;
    }
    let read = |file: &str| system::word(format!("{base}/bonding/{file}"));
    fact.insert("type".into(), json!("bonding"));
    let slaves: Vec<String> =
        read("slaves").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    fact.insert("slaves".into(), json!(slaves));
    // These files hold `name number`.
    let first = |file: &str| read(file).and_then(|t| t.split_whitespace().next().map(str::to_owned));
    fact.insert("mode".into(), json!(first("mode").unwrap_or_default()));
    fact.insert("miimon".into(), json!(first("miimon").unwrap_or_default()));
    fact.insert("lacp_rate".into(), json!(first("lacp_rate").unwrap_or_default()));
    if let Some(primary) = read("primary") {
        fact.insert("primary".into(), json!(primary));
        fact.insert("all_slaves_active".into(), json!(read("all_slaves_active").as_deref() == Some("1")));
    }
}

/// Interface and gateway of the default route, the one with the lowest metric.
fn default_route_v4(table: &str) -> Option<(String, Ipv4Addr)> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
            let up = hex(3)? & 1 == 1;
            if !up || hex(1)? != 0 || hex(7)? != 0 {
                return None;
            }
            let metric: u64 = fields.get(6)?.parse().ok()?;
            Some((metric, (*fields.first()?).to_owned(), Ipv4Addr::from(hex(2)?.swap_bytes())))
        })
        .min_by_key(|(metric, _, _)| *metric)
        .map(|(_, name, gateway)| (name, gateway))
}

fn default_route_v6(table: &str) -> Option<(String, Ipv6Addr)> {
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [destination, prefix, _, _, gateway, metric, _, _, flags, name] = fields.as_slice() else {
                return None;
            };
            let flags = u32::from_str_radix(flags, 16).ok()?;
            let rejected = flags & 0x200 != 0;
            if *prefix != "00" || destination.bytes().any(|b| b != b'0') || rejected || *name == "lo" {
                return None;
            }
            let gateway = u128::from_str_radix(gateway, 16).ok()?;
            Some((u64::from_str_radix(metric, 16).ok()?, (*name).to_owned(), Ipv6Addr::from(gateway)))
        })
        .min_by_key(|(metric, _, _)| *metric)
        .map(|(_, name, gateway)| (name, gateway))
}

/// The address the kernel would send from; nothing is sent.
fn source_towards(bind: &str, target: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(bind).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn default_v4(addresses: &[Address], facts: &[(String, Map<String, Value>)]) -> Value {
    let Some((name, gateway)) = system::text("/proc/net/route").as_deref().and_then(default_route_v4) else {
        return json!({});
    };
    let source = source_towards("0.0.0.0:0", "8.8.8.8:53");
    let chosen = addresses
        .iter()
        .find(|a| Some(a.ip) == source)
        .or_else(|| addresses.iter().find(|a| a.label == name && a.ip.is_ipv4()));
    let mut fact = Map::new();
    fact.insert("interface".into(), json!(name));
    if gateway != Ipv4Addr::UNSPECIFIED {
        fact.insert("gateway".into(), json!(gateway.to_string()));
    }
    if let Some(address) = chosen {
        fact.insert("alias".into(), json!(address.label));
        if let Some(Value::Object(values)) = ipv4_value(address) {
            fact.extend(values);
        }
    }
    copy_link_values(&name, facts, &mut fact);
    Value::Object(fact)
}

fn default_v6(addresses: &[Address], facts: &[(String, Map<String, Value>)]) -> Value {
    let Some((name, gateway)) = system::text("/proc/net/ipv6_route").as_deref().and_then(default_route_v6)
    else {
        return json!({});
    };
    let source = source_towards("[::]:0", "[2404:6800:400a:800::1012]:53");
    let global =
        |a: &&Address| matches!(a.ip, IpAddr::V6(v6) if a.label == name && scope_of(&v6) == "global");
    let chosen = addresses.iter().find(|a| Some(a.ip) == source).or_else(|| addresses.iter().find(global));
    let mut fact = Map::new();
    fact.insert("interface".into(), json!(name));
    if gateway != Ipv6Addr::UNSPECIFIED {
        fact.insert("gateway".into(), json!(gateway.to_string()));
    }
    if let Some(Value::Object(values)) = chosen.and_then(ipv6_value) {
        fact.extend(values);
    }
    copy_link_values(&name, facts, &mut fact);
    Value::Object(fact)
}

fn copy_link_values(name: &str, facts: &[(String, Map<String, Value>)], to: &mut Map<String, Value>) {
    let Some((_, link)) = facts.iter().find(|(n, _)| n == name) else { return };
    for key in ["macaddress", "mtu", "type"] {
        if let Some(value) = link.get(key) {
            to.insert(key.into(), value.clone());
        }
    }
}

/// Local addresses and networks of the routing table `local`.
fn reachable_v4(trie: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut address = "";
    for line in trie.lines() {
        let line = line.trim();
        if let Some(a) = line.strip_prefix("|-- ") {
            address = a;
        } else if line.ends_with("host LOCAL") {
            let prefix = line.split_whitespace().next().unwrap_or("/32");
            let entry = if prefix == "/32" { address.to_owned() } else { format!("{address}{prefix}") };
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
    }
    found
}

pub(super) fn gather(facts: &mut Facts) {
    let all = addresses();
    let mut names: Vec<String> = system::names("/sys/class/net")
        .into_iter()
        .filter(|n| system::exists(format!("/sys/class/net/{n}/mtu")))
        .collect();
    // Labelled addresses (`eth0:1`) are interfaces of their own to Ansible.
    for address in &all {
        if address.label.contains(':') && !names.contains(&address.label) {
            names.push(address.label.clone());
        }
    }
    let links: Vec<(String, Map<String, Value>)> =
        names.iter().map(|n| (n.clone(), interface(n, &all))).collect();
    facts.put("interfaces", json!(names));
    facts.put("default_ipv4", default_v4(&all, &links));
    facts.put("default_ipv6", default_v6(&all, &links));
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in &all {
        match address.ip {
            IpAddr::V4(ip) if !ip.is_loopback() => v4.push(ip.to_string()),
            IpAddr::V6(ip) if !ip.is_loopback() => v6.push(ip.to_string()),
            _ => {}
        }
    }
    facts.put("all_ipv4_addresses", json!(v4));
    facts.put("all_ipv6_addresses", json!(v6));
    let trie = system::text("/proc/net/fib_trie").unwrap_or_default();
    let own_v6: Vec<String> = all.iter().filter(|a| a.ip.is_ipv6()).map(|a| a.ip.to_string()).collect();
    facts.put("locally_reachable_ips", json!({"ipv4": reachable_v4(&trie), "ipv6": own_v6}));
    for (name, fact) in links {
        facts.put(&name.replace(['-', ':'], "_"), Value::Object(fact));
    }
}

pub(super) fn dns(facts: &mut Facts) {
    let text = system::text("/etc/resolv.conf").unwrap_or_default();
    facts.put("dns", dns_of(&text));
}

fn dns_of(text: &str) -> Value {
    let mut fact = Map::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(key), values) = (words.next(), words.collect::<Vec<_>>()) else { continue };
        match (key, values.as_slice()) {
            ("nameserver", values) => {
                let servers = fact.entry("nameservers").or_insert_with(|| json!([]));
                if let Value::Array(list) = servers {
                    list.extend(values.iter().map(|v| json!(v)));
                }
            }
            ("domain", [name, ..]) => {
                fact.insert("domain".into(), json!(name));
            }
            ("search" | "sortlist", values) => {
                fact.insert(key.into(), json!(values));
            }
            ("options", values) => {
                let options: Map<String, Value> = values
                    .iter()
                    .map(|option| match option.split_once(':') {
                        Some((name, value)) => (name.to_owned(), json!(value)),
                        None => ((*option).to_owned(), json!(true)),
                    })
                    .collect();
                fact.insert("options".into(), Value::Object(options));
            }
            _ => {}
        }
    }
    Value::Object(fact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;

    #[test]
    fn the_default_route_is_the_one_with_the_lowest_metric() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
            eth1 00000000 0102A8C0 0003 0 0 200 00000000 0 0 0\n\
            eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0\n\
            eth0 0000000A 00000000 0001 0 0 100 00FFFFFF 0 0 0\n";
        assert_eq!(default_route_v4(table), Some(("eth0".into(), Ipv4Addr::new(10, 0, 0, 1))));
        let table6 = format!(
            "{z} 00 {z} 00 {gw} 00000400 0 0 00000003 eth0\n{z} 00 {z} 00 {z} ffffffff 0 0 00200200 lo\n",
            z = "0".repeat(32),
            gw = "fe800000000000000000000000000001"
        );
        assert_eq!(default_route_v6(&table6), Some(("eth0".into(), "fe80::1".parse().expect("address"))));
    }

    #[test]
    fn an_interface_has_its_first_address_and_the_rest_as_secondaries() {
        let root = FakeRoot::with(&[
            ("/sys/class/net/eth0/address", "02:00:00:00:00:01\n"),
            ("/sys/class/net/eth0/mtu", "9001\n"),
            ("/sys/class/net/eth0/operstate", "up\n"),
            ("/sys/class/net/eth0/type", "1\n"),
            ("/sys/class/net/eth0/flags", "0x1103\n"),
        ]);
        let address = |ip: &str, mask: &str, broadcast: &str| Address {
            label: "eth0".into(),
            ip: ip.parse().expect("ip"),
            mask: Some(mask.parse().expect("mask")),
            broadcast: broadcast.parse().ok(),
        };
        let all = [
            address("10.0.1.5", "255.255.255.0", "10.0.1.255"),
            address("10.0.1.6", "255.255.255.255", ""),
            address("fe80::1", "ffff:ffff:ffff:ffff::", ""),
        ];
        let fact = Value::Object(interface("eth0", &all));
        assert_eq!(
            fact["ipv4"],
            json!({"address": "10.0.1.5", "broadcast": "10.0.1.255", "netmask": "255.255.255.0", "network": "10.0.1.0", "prefix": "24"})
        );
        assert_eq!(fact["ipv4_secondaries"][0]["address"], "10.0.1.6");
        assert_eq!(fact["ipv6"], json!([{"address": "fe80::1", "prefix": "64", "scope": "link"}]));
        assert_eq!(
            (fact["promisc"].as_bool(), fact["active"].as_bool(), fact["mtu"].as_i64()),
            (Some(true), Some(true), Some(9001))
        );
        root.put("/sys/class/net/eth0/bridge/bridge_id", "8000.02\n");
        assert_eq!(Value::Object(interface("eth0", &all))["type"], "bridge");
    }

    #[test]
    fn the_trie_tells_local_networks_once() {
        let trie = "Main:\n |-- 127.0.0.0\n    /8 host LOCAL\n |-- 127.0.0.1\n   /32 host LOCAL\n |-- 10.0.0.0\n  /24 link UNICAST\nLocal:\n |-- 127.0.0.1\n /32 host LOCAL\n";
        assert_eq!(reachable_v4(trie), ["127.0.0.0/8", "127.0.0.1"]);
    }

    #[test]
    fn resolver_options_are_flags_or_values() {
        let fact =
            dns_of("# c\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nsearch a.b c.d\noptions ndots:5 rotate\n");
        assert_eq!(
            fact,
            json!({"nameservers": ["10.0.0.2", "10.0.0.3"], "search": ["a.b", "c.d"], "options": {"ndots": "5", "rotate": true}})
        );
    }
}
