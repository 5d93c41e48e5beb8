//! The lookup `dig` (community.general).
//!
//! Owns: one question to a name server and what its answer means. Must not: search domains, keep answers, or follow
//! delegations; that is the name server's work.
//! Source: <https://docs.ansible.com/ansible/latest/collections/community/general/dig_lookup.html>, RFC 1035.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant};

use minijinja::Value;

use super::Call;
use crate::template::containers::Map;
use crate::template::error::R;
use crate::template::filters::Dice;
use crate::template::values::{list, map, text};

/// How long one name server has for its answer, and all of them together.
const ONE_SERVER: Duration = Duration::from_secs(2);
const ALL_SERVERS: Duration = Duration::from_secs(10);

/// Types that can be asked for, by number.
const TYPES: [(&str, u16); 10] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("CAA", 257),
];

/// What is asked, of whom, and what becomes of the answer.
struct Question {
    kind: (&'static str, u16),
    servers: Vec<String>,
    port: u16,
    flat: bool,
    tcp: bool,
    real_empty: bool,
    fail_on_error: bool,
    retry_servfail: bool,
    names: Vec<String>,
}

/// Why a server's answer has no records.
enum Nothing {
    NoSuchName,
    NoAnswer,
    /// It cannot answer now.
    Servfail,
    Refused(u8),
}

/// One record: its name, how long it is good for (seconds), and its parts with their names.
struct Record {
    owner: String,
    ttl: u32,
    kind: u16,
    parts: Vec<(&'static str, Part)>,
}

enum Part {
    Text(String),
    Number(u32),
    Strings(Vec<String>),
}

/// Asks for records of names.
pub(super) fn dig(_: &mut super::Cx, call: &Call) -> R<Vec<Value>> {
    let question = asked(call)?;
    let mut out = Vec::new();
    for name in &question.names {
        let (name, kind) = match name.split_once('/') {
            Some((name, kind)) => (name, named_type(call, kind)?),
            None => (name.as_str(), question.kind),
        };
        // An address is asked for by the name it has among names.
        let name = match name.parse::<IpAddr>() {
            Ok(address) if kind.0 == "PTR" => reversed(address),
            _ => name.to_owned(),
        };
        match exchange(&question, &name, kind.1) {
            Ok(Ok(records)) => {
                let ours = records.iter().filter(|record| record.kind == kind.1);
                let owner = records.iter().rfind(|record| record.kind == kind.1).map(|r| r.owner.clone());
                out.extend(
                    ours.map(|r| if question.flat { shown(r) } else { details(r, kind.0, owner.as_deref()) }),
                );
            }
            Ok(Err(nothing))
                if question.fail_on_error || matches!(nothing, Nothing::Servfail | Nothing::Refused(_)) =>
            {
                return Err(call.fail(format!("{} {name}: {}", kind.0, nothing.why())));
            }
            Ok(Err(_)) if question.real_empty => {}
            Ok(Err(nothing)) => {
                out.push(Value::from(if matches!(nothing, Nothing::NoSuchName) { "NXDOMAIN" } else { "" }));
            }
            Err(why) => return Err(call.fail(format!("{} {name}: {why}", kind.0))),
        }
    }
    Ok(out)
}

impl Nothing {
    fn why(&self) -> String {
        match self {
            Self::NoSuchName => "there is no such name".to_owned(),
            Self::NoAnswer => "the name has no such record".to_owned(),
            Self::Servfail => "every name server failed (SERVFAIL)".to_owned(),
            Self::Refused(code) => format!("the name server refused (code {code})"),
        }
    }
}

fn named_type(call: &Call, name: &str) -> R<(&'static str, u16)> {
    TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
        let known: Vec<&str> = TYPES.iter().map(|(known, _)| *known).collect();
        call.fail(format!("no records of type `{name}` here; known are {}", known.join(", ")))
    })
}

fn port(call: &Call, text: &str) -> R<u16> {
    text.parse().map_err(|_| call.fail(format!("`{text}` is no port")))
}

/// Options stand among the terms (`qtype=MX`, `@10.0.0.2`) or beside them.
fn asked(call: &Call) -> R<Question> {
    let mut question = Question {
        kind: named_type(call, &call.text("qtype", "A")?)?,
        servers: Vec::new(),
        port: port(call, &call.text("port", "53")?)?,
        flat: call.flag("flat", true)?,
        tcp: call.flag("tcp", false)?,
        real_empty: call.flag("real_empty", false)?,
        fail_on_error: call.flag("fail_on_error", false)?,
        retry_servfail: call.flag("retry_servfail", false)?,
        names: Vec::new(),
    };
    if !call.text("class", "IN")?.eq_ignore_ascii_case("IN") {
        return Err(call.fail("only the class `IN` can be asked for"));
    }
    for term in &call.terms {
        let term = text(term)?;
        if let Some(servers) = term.strip_prefix('@') {
            question.servers.extend(servers.split(',').map(|server| server.trim().to_owned()));
            continue;
        }
        let Some((option, value)) = term.split_once('=') else {
            question.names.push(term);
            continue;
        };
        match option {
            "qtype" => question.kind = named_type(call, value)?,
            "flat" => question.flat = call.switch(option, value)?,
            "tcp" => question.tcp = call.switch(option, value)?,
            "real_empty" => question.real_empty = call.switch(option, value)?,
            "fail_on_error" => question.fail_on_error = call.switch(option, value)?,
            "retry_servfail" => question.retry_servfail = call.switch(option, value)?,
            "class" if value.eq_ignore_ascii_case("IN") => {}
            "port" => question.port = port(call, value)?,
            _ => return Err(call.fail(format!("it has no option `{option}={value}`"))),
        }
    }
    if question.servers.is_empty() {
        let settings = fs_err::read_to_string("/etc/resolv.conf").map_err(|e| call.fail(e))?;
        let named = settings.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
        question.servers.extend(named.map(|server| server.trim().to_owned()));
    }
    if question.servers.is_empty() {
        return Err(call.fail("/etc/resolv.conf names no name server; give one as `@address`"));
    }
    Ok(question)
}

fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            digits.map(|digit| format!("{digit:x}.")).chain(["ip6.arpa".to_owned()]).collect()
        }
    }
}

/// Asks one server after the other until one of them knows.
fn exchange(question: &Question, name: &str, kind: u16) -> io::Result<Result<Vec<Record>, Nothing>> {
    let id = Dice::System.below(0x1_0000) as u16;
    let message = encoded(id, name, kind)?;
    let deadline = Instant::now() + ALL_SERVERS;
    let mut last = io::Error::other("no name server was asked");
    let mut failed = false;
    loop {
        for server in &question.servers {
            let answer = located(server, question.port).and_then(|server| {
                let answer = if question.tcp { None } else { by_udp(server, &message)? };
                answer.map_or_else(|| by_tcp(server, &message), Ok)
            });
            match answer.and_then(|answer| decoded(&answer, id)) {
                Ok(Err(Nothing::Servfail)) => failed = true,
                Ok(answer) => return Ok(answer),
                Err(why) => last = io::Error::new(why.kind(), format!("name server {server}: {why}")),
            }
        }
        let again = failed && question.retry_servfail;
        if !again || Instant::now() >= deadline {
            return if failed { Ok(Err(Nothing::Servfail)) } else { Err(last) };
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn located(server: &str, port: u16) -> io::Result<SocketAddr> {
    (server, port).to_socket_addrs()?.next().ok_or_else(|| io::Error::other("it has no address"))
}

/// The answer, or nothing when it is too long for a datagram.
fn by_udp(server: SocketAddr, message: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(message)?;
    let deadline = Instant::now() + ONE_SERVER;
    let mut answer = vec![0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut answer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"));
            }
            length => length?,
        };
        // A datagram that does not repeat the question's number answers something else.
        if length >= 12 && answer[..2] == message[..2] {
            answer.truncate(length);
            let cut_short = answer[2] & 2 != 0;
            return Ok((!cut_short).then_some(answer));
        }
    }
}

fn by_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, ONE_SERVER)?;
    stream.set_read_timeout(Some(ONE_SERVER))?;
    stream.set_write_timeout(Some(ONE_SERVER))?;
    stream.write_all(&(message.len() as u16).to_be_bytes())?;
    stream.write_all(message)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A question that wants the server to find out for us.
fn encoded(id: u16, name: &str, kind: u16) -> io::Result<Vec<u8>> {
    let mut out = Vec::from(id.to_be_bytes());
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.').filter(|_| name != ".") {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        let length =
            length.ok_or_else(|| io::Error::other(format!("`{name}` is no name of a host or domain")))?;
        out.push(length);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    Ok(out)
}

/// The records of an answer. A server can send anything, so nothing is taken beyond what it sent.
fn decoded(answer: &[u8], id: u16) -> io::Result<Result<Vec<Record>, Nothing>> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "its answer cannot be read");
    let mut reader = Reader { all: answer, at: 0 };
    let (theirs, flags) = (reader.short().ok_or_else(broken)?, reader.short().ok_or_else(broken)?);
    let questions = reader.short().ok_or_else(broken)?;
    let answers = reader.short().ok_or_else(broken)?;
    reader.at = 12;
    if theirs != id || flags & 0x8000 == 0 {
        return Err(broken());
    }
    match flags & 15 {
        0 => {}
        2 => return Ok(Err(Nothing::Servfail)),
        3 => return Ok(Err(Nothing::NoSuchName)),
        code => return Ok(Err(Nothing::Refused(code as u8))),
    }
    for _ in 0..questions {
        reader.name().ok_or_else(broken)?;
        reader.at += 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        records.extend(reader.record().ok_or_else(broken)?);
    }
    Ok(if records.is_empty() { Err(Nothing::NoAnswer) } else { Ok(records) })
}

struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let bytes = self.all.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|b| b[0])
    }

    fn short(&mut self) -> Option<u16> {
        self.bytes(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn long(&mut self) -> Option<u32> {
        self.bytes(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A name with its last dot; parts of it may stand earlier in the message, and only earlier, so this ends.
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut at = self.at;
        let mut end = None;
        let mut before = self.at;
        loop {
            let length = usize::from(*self.all.get(at)?);
            if length & 0xc0 == 0xc0 {
                let target = (length & 0x3f) << 8 | usize::from(*self.all.get(at + 1)?);
                end.get_or_insert(at + 2);
                if target >= before {
                    return None;
                }
                (before, at) = (target, target);
                continue;
            }
            if length == 0 {
                self.at = end.unwrap_or(at + 1);
                return Some(if out.is_empty() { ".".to_owned() } else { out });
            }
            out.push_str(&String::from_utf8_lossy(self.all.get(at + 1..at + 1 + length)?));
            out.push('.');
            at += 1 + length;
        }
    }

    /// Texts, each with its length before it, up to `end`.
    fn strings(&mut self, end: usize) -> Option<Vec<String>> {
        let mut out = Vec::new();
        while self.at < end {
            let length = self.byte()?;
            out.push(String::from_utf8_lossy(self.bytes(length.into())?).into_owned());
        }
        Some(out)
    }

    /// `Some(None)`: a record of a type that is not asked for, such as a signature.
    fn record(&mut self) -> Option<Option<Record>> {
        let owner = self.name()?;
        let kind = self.short()?;
        self.short()?;
        let ttl = self.long()?;
        let length = self.short()?;
        let end = self.at + usize::from(length);
        let parts = match TYPES.iter().find(|(_, number)| *number == kind).map(|(name, _)| *name) {
            Some("A") => {
                let octets: [u8; 4] = self.bytes(4)?.try_into().ok()?;
                vec![("address", Part::Text(Ipv4Addr::from(octets).to_string()))]
            }
            Some("AAAA") => {
                let octets: [u8; 16] = self.bytes(16)?.try_into().ok()?;
                vec![("address", Part::Text(Ipv6Addr::from(octets).to_string()))]
            }
            Some("MX") => vec![
                ("preference", Part::Number(self.short()?.into())),
                ("exchange", Part::Text(self.name()?)),
            ],
            Some("SRV") => vec![
                ("priority", Part::Number(self.short()?.into())),
                ("weight", Part::Number(self.short()?.into())),
                ("port", Part::Number(self.short()?.into())),
                ("target", Part::Text(self.name()?)),
            ],
            Some("SOA") => {
                let mut parts =
                    vec![("mname", Part::Text(self.name()?)), ("rname", Part::Text(self.name()?))];
                for name in ["serial", "refresh", "retry", "expire", "minimum"] {
                    parts.push((name, Part::Number(self.long()?)));
                }
                parts
            }
            Some("TXT") => vec![("strings", Part::Strings(self.strings(end)?))],
            Some("CAA") => {
                let flags = self.byte()?;
                let length = self.byte()?;
                let tag = String::from_utf8_lossy(self.bytes(length.into())?).into_owned();
                let value = String::from_utf8_lossy(self.bytes(end.checked_sub(self.at)?)?).into_owned();
                vec![
                    ("flags", Part::Number(flags.into())),
                    ("tag", Part::Text(tag)),
                    ("value", Part::Strings(vec![value])),
                ]
            }
            Some(_) => vec![("target", Part::Text(self.name()?))],
            None => {
                self.at = end;
                return Some(None);
            }
        };
        (self.at == end).then_some(Some(Record { owner, ttl, kind, parts }))
    }
}

/// A record as zone files write it; the outermost quotes of a TXT are left out, as Ansible does.
fn shown(record: &Record) -> Value {
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let parts = record.parts.iter().map(|(_, part)| match part {
        Part::Text(text) => text.clone(),
        Part::Number(number) => number.to_string(),
        Part::Strings(all) => all.iter().map(quoted).collect::<Vec<_>>().join(" "),
    });
    let line = parts.collect::<Vec<_>>().join(" ");
    let bare = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
    Value::from(bare.unwrap_or(&line))
}

/// A record with its parts by name: `flat=0`.
fn details(record: &Record, kind: &str, owner: Option<&str>) -> Value {
    let mut out = Map::new();
    for (name, part) in &record.parts {
        let value = match (part, *name) {
            (Part::Text(text), _) => Value::from(text.as_str()),
            (Part::Number(number), _) => Value::from(*number),
            (Part::Strings(all), "strings") => {
                list(all.iter().map(|text| Value::from(text.as_str())).collect())
            }
            (Part::Strings(all), _) => Value::from(all.concat()),
        };
        out.insert(Value::from(*name), value);
    }
    out.insert(Value::from("owner"), Value::from(owner.unwrap_or(&record.owner)));
    out.insert(Value::from("type"), Value::from(kind));
    out.insert(Value::from("ttl"), Value::from(record.ttl));
    out.insert(Value::from("class"), Value::from("IN"));
    map(out)
}
