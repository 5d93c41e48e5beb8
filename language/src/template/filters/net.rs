//! Addresses and networks: `ipaddr` and kin, as the `ansible.utils` collection has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minijinja::Value;

use crate::template::error::R;
use crate::template::eval::Cx;
use crate::template::registry::{Args, Row};
use crate::template::values::{as_int, int, is_list, items, list, text};

pub(super) const TABLE: &[Row] = &[
    Row("ipaddr", "value query version alias", |_, a| ipaddr(a, None)),
    Row("ipv4", "value query", |_, a| ipaddr(a, Some(true))),
    Row("ipv6", "value query", |_, a| ipaddr(a, Some(false))),
    Row("ipwrap", "value query", ipwrap),
    Row("ipsubnet", "value query index", ipsubnet),
    Row("nthhost", "value query", nthhost),
    Row("ipmath", "value amount", ipmath),
    Row("network_in_network", "value test", within),
    Row("network_in_usable", "value test", usable),
    Row("ip4_hex", "arg delimiter", ip4_hex),
    Row("next_nth_usable", "value offset", next_nth_usable),
    Row("previous_nth_usable", "value offset", previous_nth_usable),
    Row("cidr_merge", "value action", cidr_merge),
    Row("hwaddr macaddr", "value query", hwaddr),
];

/// An address with a prefix; one written without a prefix has the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Net {
    bits: u128,
    v4: bool,
    prefix: u32,
    /// Whether a prefix was written.
    explicit: bool,
}

impl Net {
    fn width(self) -> u32 {
        if self.v4 { 32 } else { 128 }
    }

    fn mask(self) -> u128 {
        let host = self.width() - self.prefix;
        let all = if self.v4 { u128::from(u32::MAX) } else { u128::MAX };
        if host >= 128 { 0 } else { (all >> host) << host }
    }

    fn full(self) -> u128 {
        if self.v4 { u128::from(u32::MAX) } else { u128::MAX }
    }

    fn first(self) -> u128 {
        self.bits & self.mask()
    }

    fn last(self) -> u128 {
        self.bits | (!self.mask() & self.full())
    }

    /// The number of addresses; `None` when it does not fit.
    fn size(self) -> Option<u128> {
        (self.last() - self.first()).checked_add(1)
    }

    fn show(self, bits: u128) -> String {
        if self.v4 { Ipv4Addr::from(bits as u32).to_string() } else { Ipv6Addr::from(bits).to_string() }
    }

    fn address(self) -> String {
        self.show(self.bits)
    }

    fn is_host(self) -> bool {
        self.bits != self.first() || self.prefix == self.width()
    }

    fn usable(self) -> Option<(u128, u128)> {
        let (first, last) = (self.first(), self.last());
        match self.size() {
            Some(1) => None,
            Some(2) => Some((first, last)),
            _ if self.v4 => Some((first + 1, last - 1)),
            _ => Some((first + 1, last)),
        }
    }

    fn contains(self, other: Self) -> bool {
        self.v4 == other.v4 && self.first() <= other.first() && other.last() <= self.last()
    }

    fn ip(self) -> IpAddr {
        if self.v4 {
            IpAddr::V4(Ipv4Addr::from(self.bits as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.bits))
        }
    }
}

fn parse(written: &str) -> Option<Net> {
    let (address, prefix) = match written.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (written, None),
    };
    let (bits, v4) = match address.trim().parse::<IpAddr>().ok()? {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), true),
        IpAddr::V6(ip) => (u128::from(ip), false),
    };
    let width = if v4 { 32 } else { 128 };
    let length = match prefix {
        None => width,
        Some(written) => match written.parse::<u32>() {
            Ok(length) if length <= width => length,
            Ok(_) => return None,
            Err(_) => {
                let mask = u32::from(written.parse::<Ipv4Addr>().ok()?);
                (v4 && mask.leading_ones() == mask.count_ones()).then(|| mask.leading_ones())?
            }
        },
    };
    Some(Net { bits, v4, prefix: length, explicit: prefix.is_some() })
}

fn net_of(value: &Value) -> R<Option<Net>> {
    if let Some(number) = as_int(value).filter(|_| value.is_number()) {
        return Ok(u128::try_from(number).ok().map(|bits| {
            let v4 = bits <= u128::from(u32::MAX);
            Net { bits, v4, prefix: if v4 { 32 } else { 128 }, explicit: false }
        }));
    }
    Ok(parse(text(value)?.trim()))
}

fn no() -> Value {
    Value::from(false)
}

/// The address that stands in front of a port or in brackets is not one; lists are filtered.
fn ipaddr(a: &Args, only: Option<bool>) -> R<Value> {
    let query = a.get(1).cloned().unwrap_or_else(|| Value::from(""));
    let only = match a.some(2).and_then(as_int) {
        Some(4) => Some(true),
        Some(6) => Some(false),
        _ => only,
    };
    let value = a.value()?;
    if is_list(value) {
        let mut out = Vec::new();
        for one in items(value)? {
            let found = answer(a, &one, &query, only)?;
            if found.is_true() {
                out.push(found);
            }
        }
        return Ok(list(out));
    }
    answer(a, value, &query, only)
}

fn answer(a: &Args, value: &Value, query: &Value, only: Option<bool>) -> R<Value> {
    if value.is_none() || value.as_str() == Some("") || value.kind() == minijinja::value::ValueKind::Bool {
        return Ok(no());
    }
    let Some(net) = net_of(value)? else { return Ok(no()) };
    if only.is_some_and(|v4| v4 != net.v4) {
        return Ok(no());
    }
    if let Some(index) = as_int(query).filter(|_| query.is_number()) {
        return Ok(
            nth(net, index).map_or_else(no, |bits| Value::from(format!("{}/{}", net.show(bits), net.prefix)))
        );
    }
    let query = text(query)?;
    if let Ok(index) = query.parse::<i128>() {
        return Ok(
            nth(net, index).map_or_else(no, |bits| Value::from(format!("{}/{}", net.show(bits), net.prefix)))
        );
    }
    let when = |hit: bool| if hit { value.clone() } else { no() };
    let said = |s: String| Value::from(s);
    let with_prefix = |bits: u128| Value::from(format!("{}/{}", net.show(bits), net.prefix));
    let optional =
        |bits: Option<u128>| bits.map_or_else(|| Value::from(()), |bits| Value::from(net.show(bits)));
    let ip = net.ip();
    Ok(match query.as_str() {
        "" => {
            if net.explicit {
                said(format!("{}/{}", net.address(), net.prefix))
            } else {
                said(net.address())
            }
        }
        "address" | "ip" => {
            if net.is_host() || net.prefix == net.width() || net.prefix + 1 == net.width() {
                said(net.address())
            } else {
                no()
            }
        }
        "address/prefix" | "ip/prefix" | "gateway" | "gw" | "host" | "hostnet" | "router"
        | "ipaddress/prefix" => {
            let fits = net.is_host() || net.prefix + 1 >= net.width();
            if fits { with_prefix(net.bits) } else { no() }
        }
        "ip_netmask" | "address/netmask" => said(format!("{} {}", net.address(), net.show(net.mask()))),
        "bool" => Value::from(true),
        "broadcast" => match net.size() {
            Some(1 | 2) => Value::from(()),
            _ => said(net.show(net.last())),
        },
        "cidr" | "cidr_lookup" => with_prefix(net.bits),
        "first_usable" => optional(net.usable().map(|u| u.0)),
        "last_usable" => optional(net.usable().map(|u| u.1)),
        "range_usable" => match net.usable() {
            Some((first, last)) => said(format!("{}-{}", net.show(first), net.show(last))),
            None => Value::from(()),
        },
        "next_usable" => optional(
            net.usable().and_then(|u| (net.bits < u.1).then(|| net.bits + 1)).filter(|_| net.explicit),
        ),
        "previous_usable" => optional(
            net.usable().and_then(|u| (net.bits > u.0).then(|| net.bits - 1)).filter(|_| net.explicit),
        ),
        "peer" => match net.size() {
            Some(2) => said(net.show(net.bits ^ 1)),
            Some(4) if net.usable().is_some_and(|u| u.0 == net.bits) => said(net.show(net.bits + 1)),
            Some(4) => said(net.show(net.bits - 1)),
            _ => return Err(a.refuse("only networks of two hosts have a peer")),
        },
        "host/prefix" => {
            if net.is_host() && net.explicit {
                with_prefix(net.bits)
            } else {
                no()
            }
        }
        "hostmask" | "wildcard" => said(net.show(!net.mask() & net.full())),
        "int" => {
            if net.explicit && net.prefix != net.width() {
                said(format!("{}/{}", net.bits, net.prefix))
            } else {
                int(i128::try_from(net.bits).unwrap_or(i128::MAX))
            }
        }
        "ipv4" => when(net.v4),
        "ipv6" => when(!net.v4),
        "link-local" => when(match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0) == 0xfe80,
        }),
        "lo" | "loopback" => when(ip.is_loopback()),
        "multicast" => when(ip.is_multicast()),
        "unicast" => when(!ip.is_multicast()),
        "private" => when(match ip {
            IpAddr::V4(ip) => ip.is_private(),
            IpAddr::V6(ip) => (ip.segments()[0] & 0xfe00) == 0xfc00,
        }),
        "public" => when(match ip {
            IpAddr::V4(ip) => {
                !(ip.is_private()
                    || ip.is_loopback()
                    || ip.is_link_local()
                    || ip.is_multicast()
                    || ip.is_broadcast()
                    || ip.is_documentation()
                    || ip.is_unspecified())
            }
            IpAddr::V6(ip) => (ip.segments()[0] & 0xe000) == 0x2000 && ip.segments()[..2] != [0x2001, 0xdb8],
        }),
        "net" => {
            if net.size().is_none_or(|s| s > 1) && net.bits == net.first() {
                with_prefix(net.first())
            } else {
                no()
            }
        }
        "netmask" => said(net.show(net.mask())),
        "network" => said(net.show(net.first())),
        "network_id" | "network/address" => said(net.show(net.first())),
        "network/prefix" | "subnet" => with_prefix(net.first()),
        "network_netmask" => said(format!("{} {}", net.show(net.first()), net.show(net.mask()))),
        "network_wildcard" => {
            said(format!("{} {}", net.show(net.first()), net.show(!net.mask() & net.full())))
        }
        "prefix" => int(i128::from(net.prefix)),
        "revdns" => said(reverse_name(net)),
        "size" => net.size().map_or_else(no, |s| int(i128::try_from(s).unwrap_or(i128::MAX))),
        "type" => said(if net.is_host() { "address" } else { "network" }.to_owned()),
        "version" => int(if net.v4 { 4 } else { 6 }),
        "wrap" => said(wrapped(net)),
        other => match parse(other) {
            Some(around) => when(around.contains(net)),
            None => return Err(a.refuse(format!("unknown filter type: `{other}`"))),
        },
    })
}

fn nth(net: Net, index: i128) -> Option<u128> {
    let bits = if index < 0 {
        net.last().checked_sub(index.unsigned_abs() - 1)?
    } else {
        net.first().checked_add(index.unsigned_abs())?
    };
    (net.first()..=net.last()).contains(&bits).then_some(bits)
}

fn reverse_name(net: Net) -> String {
    if net.v4 {
        let [a, b, c, d] = (net.bits as u32).to_be_bytes();
        return format!("{d}.{c}.{b}.{a}.in-addr.arpa.");
    }
    let digits: Vec<String> = format!("{:032x}", net.bits).chars().rev().map(String::from).collect();
    format!("{}.ip6.arpa.", digits.join("."))
}

fn wrapped(net: Net) -> String {
    let address = if net.v4 { net.address() } else { format!("[{}]", net.address()) };
    if net.explicit { format!("{address}/{}", net.prefix) } else { address }
}

/// Puts IPv6 addresses in brackets; anything that is no address stays.
fn ipwrap(_: &mut Cx, a: &Args) -> R<Value> {
    let one = |value: &Value| -> R<Value> {
        Ok(match net_of(value)? {
            Some(net) if value.as_str().is_some() => Value::from(wrapped(net)),
            _ => value.clone(),
        })
    };
    let value = a.value()?;
    if is_list(value) {
        return Ok(list(items(value)?.iter().map(one).collect::<R<_>>()?));
    }
    one(value)
}

fn ipsubnet(_: &mut Cx, a: &Args) -> R<Value> {
    let Some(net) = net_of(a.value()?)? else { return Ok(no()) };
    let Some(query) = a.some(1).filter(|q| q.as_str() != Some("")) else {
        return Ok(Value::from(format!("{}/{}", net.show(net.first()), net.prefix)));
    };
    let query = text(query)?;
    let Ok(length) = query.parse::<u32>() else {
        // The position of this network among those of its length in the other one.
        let Some(around) = parse(&query) else { return Err(a.refuse(format!("`{query}` is no network"))) };
        if !around.contains(net) {
            return Err(a.refuse(format!("`{}` is not in the network `{query}`", a.text()?)));
        }
        let size = net.size().unwrap_or(u128::MAX);
        return Ok(int(i128::try_from((net.first() - around.first()) / size + 1).unwrap_or(i128::MAX)));
    };
    if length > net.width() {
        return Ok(no());
    }
    let index = a.optional_int(2)?;
    if net.is_host() && net.prefix == net.width() || length < net.prefix {
        // A supernet: the index counts lengths from the end of those below it.
        return Ok(match index {
            None if length <= net.prefix => {
                let above = Net { prefix: length, ..net };
                Value::from(format!("{}/{length}", above.show(above.first())))
            }
            _ => no(),
        });
    }
    let count = 1u128.checked_shl(length - net.prefix).unwrap_or(u128::MAX);
    let Some(index) = index else { return Ok(int(i128::try_from(count).unwrap_or(i128::MAX))) };
    let at = if index < 0 { count.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) };
    let Some(at) = at.filter(|at| *at < count) else { return Ok(no()) };
    let step = Net { prefix: length, ..net }.size().unwrap_or(u128::MAX);
    Ok(Value::from(format!("{}/{length}", net.show(net.first() + at * step))))
}

fn nthhost(_: &mut Cx, a: &Args) -> R<Value> {
    let Some(net) = net_of(a.value()?)? else { return Ok(no()) };
    Ok(nth(net, a.int_at(1)?).map_or_else(no, |bits| Value::from(net.show(bits))))
}

fn ipmath(_: &mut Cx, a: &Args) -> R<Value> {
    let Some(net) = net_of(a.value()?)? else {
        return Err(a.refuse(format!("`{}` is no address", a.text()?)));
    };
    let moved = i128::try_from(net.bits).ok().and_then(|bits| bits.checked_add(a.int_at(1).ok()?));
    let moved = moved.and_then(|m| u128::try_from(m).ok()).filter(|m| *m <= net.full());
    moved.map(|bits| Value::from(net.show(bits))).ok_or_else(|| a.refuse("the result is no address"))
}

fn both(a: &Args) -> R<Option<(Net, Net)>> {
    Ok(net_of(a.value()?)?.zip(net_of(a.required(1)?)?))
}

fn within(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(both(a)?.is_some_and(|(net, inner)| net.contains(inner))))
}

fn usable(_: &mut Cx, a: &Args) -> R<Value> {
    Ok(Value::from(both(a)?.is_some_and(|(net, inner)| {
        net.contains(inner)
            && net.usable().is_some_and(|(first, last)| first <= inner.first() && inner.last() <= last)
    })))
}

fn ip4_hex(_: &mut Cx, a: &Args) -> R<Value> {
    match parse(&a.text()?) {
        Some(net) if net.v4 => {
            let parts: Vec<String> =
                (net.bits as u32).to_be_bytes().iter().map(|b| format!("{b:02x}")).collect();
            Ok(Value::from(parts.join(&a.text_or(1, "")?)))
        }
        _ => Err(a.refuse(format!("`{}` is no IPv4 address", a.text()?))),
    }
}

fn moved(a: &Args, sign: i128) -> R<Value> {
    let Some(net) = net_of(a.value()?)? else { return Ok(no()) };
    let offset = a.int_at(1)? * sign;
    let Some((first, last)) = net.usable() else { return Ok(no()) };
    let at = i128::try_from(net.bits)
        .ok()
        .and_then(|b| b.checked_add(offset))
        .and_then(|b| u128::try_from(b).ok());
    Ok(at.filter(|at| (first..=last).contains(at)).map_or_else(no, |at| Value::from(net.show(at))))
}

fn next_nth_usable(_: &mut Cx, a: &Args) -> R<Value> {
    moved(a, 1)
}

fn previous_nth_usable(_: &mut Cx, a: &Args) -> R<Value> {
    moved(a, -1)
}

fn cidr_merge(_: &mut Cx, a: &Args) -> R<Value> {
    let mut nets = Vec::new();
    for one in items(a.value()?)? {
        match net_of(&one)? {
            Some(net) => nets.push(Net { bits: net.first(), ..net }),
            None => return Err(a.refuse(format!("`{}` is no network", text(&one)?))),
        }
    }
    if a.text_or(1, "merge")? == "span" {
        let Some(first) = nets.first().copied() else { return Ok(Value::from(())) };
        let mut span = first;
        while !nets.iter().all(|n| span.contains(*n)) && span.prefix > 0 {
            span.prefix -= 1;
        }
        return Ok(Value::from(format!("{}/{}", span.show(span.first()), span.prefix)));
    }
    loop {
        nets.sort_by_key(|n| (!n.v4, n.first(), n.prefix));
        nets.dedup_by(|b, a| a.contains(*b));
        let pair = nets.windows(2).position(|w| {
            w[0].v4 == w[1].v4
                && w[0].prefix == w[1].prefix
                && w[0].prefix > 0
                && Net { prefix: w[0].prefix - 1, ..w[0] }.contains(w[1])
        });
        match pair {
            Some(at) => {
                nets.remove(at + 1);
                nets[at].prefix -= 1;
                nets[at].bits = nets[at].first();
            }
            None => break,
        }
    }
    Ok(list(nets.iter().map(|n| Value::from(format!("{}/{}", n.show(n.first()), n.prefix))).collect()))
}

fn hwaddr(_: &mut Cx, a: &Args) -> R<Value> {
    let written = a.text()?;
    let digits: String = written.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    if digits.len() != 12 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(no());
    }
    let lower = digits.to_lowercase();
    let upper = digits.to_uppercase();
    let grouped = |s: &str, size: usize, glue: &str| {
        let parts: Vec<&str> = (0..12 / size).filter_map(|n| s.get(n * size..(n + 1) * size)).collect();
        parts.join(glue)
    };
    Ok(Value::from(match a.text_or(1, "")?.as_str() {
        "" => written,
        "bool" => return Ok(Value::from(true)),
        "bare" => upper,
        "cisco" => grouped(&lower, 4, "."),
        "eui48" | "win" => grouped(&upper, 2, "-"),
        "linux" | "unix" => grouped(&lower, 2, ":"),
        "int" => return Ok(int(i128::from_str_radix(&lower, 16).unwrap_or(0))),
        other => return Err(a.refuse(format!("unknown filter type: `{other}`"))),
    }))
}
