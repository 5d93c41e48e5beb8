//! `wait_for`: waits until a port, a file or time itself is as wanted.
//!
//! Owns: polling with a deadline. Must not: change anything; in check mode it is skipped.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Fault, Host, Inspection, Module, Outcome};
use crate::options::{CheckSupport, Opt, Spec};
use crate::system::{self, fault, outcome};

/// The module.
pub struct WaitFor;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Started,
    Present,
    Stopped,
    Absent,
    Drained,
}

/// Typed arguments.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Args {
    host: String,
    port: Option<u16>,
    path: Option<String>,
    search_regex: Option<String>,
    state: State,
    timeout: u64,
    connect_timeout: u64,
    delay: u64,
    sleep: u64,
    msg: Option<String>,
    exclude_hosts: Vec<String>,
    active_connection_states: Vec<String>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: None,
            path: None,
            search_regex: None,
            state: State::Started,
            timeout: 300,
            connect_timeout: 5,
            delay: 0,
            sleep: 1,
            msg: None,
            exclude_hosts: Vec::new(),
            active_connection_states: [
                "ESTABLISHED",
                "FIN_WAIT1",
                "FIN_WAIT2",
                "SYN_RECV",
                "SYN_SENT",
                "TIME_WAIT",
            ]
            .map(str::to_owned)
            .into(),
        }
    }
}

const OPTIONS: &[Opt] = &[
    Opt::str("host"),
    Opt::int("port"),
    Opt::path("path"),
    Opt::str("search_regex"),
    Opt::str("state").choices(&["started", "present", "stopped", "absent", "drained"]),
    Opt::int("timeout"),
    Opt::int("connect_timeout"),
    Opt::int("delay"),
    Opt::int("sleep"),
    Opt::str("msg"),
    Opt::list("exclude_hosts"),
    Opt::list("active_connection_states"),
];

impl Module for WaitFor {
    const SPEC: Spec = Spec {
        options: &[OPTIONS],
        mutually_exclusive: &[&["port", "path"]],
        check: CheckSupport::None,
        ..Spec::new("wait_for")
    };
    type Args = Args;
    type Change = ();

    fn inspect(args: &Args, _: &Host<'_>) -> Result<Inspection<()>, Fault> {
        for (name, given) in [
            ("state: stopped", args.state == State::Stopped),
            ("state: drained", args.state == State::Drained),
        ] {
            if args.path.is_some() && given {
                return Err(fault(format!("`wait_for` takes `{name}` only with `port`")));
            }
        }
        if !args.exclude_hosts.is_empty() && args.state != State::Drained {
            return Err(fault("`exclude_hosts` of `wait_for` is only for `state: drained`"));
        }
        regex_of(args)?;
        Ok(Inspection::Differs { change: (), predicted: outcome(false, json!({})) })
    }

    fn apply(args: &Args, (): (), host: &Host<'_>) -> Result<Outcome, Fault> {
        let start = Instant::now();
        let regex = regex_of(args)?;
        sleep(Duration::from_secs(args.delay), host)?;
        let deadline = start + Duration::from_secs(args.timeout);
        let mut captured = None;
        if args.port.is_none() && args.path.is_none() {
            sleep(deadline.saturating_duration_since(Instant::now()), host)?;
        } else {
            loop {
                if let Some(found) = satisfied(args, regex.as_ref(), deadline)? {
                    captured = found;
                    break;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(timed_out(args, start));
                }
                sleep(Duration::from_secs(args.sleep).min(left), host)?;
            }
        }
        Ok(result(args, captured, start))
    }
}

fn regex_of(args: &Args) -> Result<Option<Regex>, Fault> {
    let build = |pattern: &String| {
        RegexBuilder::new(pattern)
            .multi_line(true)
            .build()
            .map_err(|e| fault(format!("`search_regex` of `wait_for` is no pattern: {e}")))
    };
    args.search_regex.as_ref().map(build).transpose()
}

/// Sleeps in pieces, so that a cancelled step ends.
fn sleep(time: Duration, host: &Host<'_>) -> Result<(), Fault> {
    let until = Instant::now() + time;
    loop {
        if host.runner.cancelled() {
            return Err(fault("cancelled while waiting"));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// What a pattern found: numbered groups and named ones.
type Captured = Option<(Vec<Value>, Map<String, Value>)>;

fn captured(regex: Option<&Regex>, text: &str) -> Option<Captured> {
    let Some(regex) = regex else { return Some(None) };
    let found = regex.captures(text)?;
    let value = |m: Option<regex::Match<'_>>| m.map_or(Value::Null, |m| json!(m.as_str()));
    let groups = found.iter().skip(1).map(value).collect();
    let named = regex.capture_names().flatten().map(|n| (n.to_owned(), value(found.name(n)))).collect();
    Some(Some((groups, named)))
}

/// `Some` once the condition holds.
fn satisfied(args: &Args, regex: Option<&Regex>, deadline: Instant) -> Result<Option<Captured>, Fault> {
    if let Some(path) = &args.path {
        return Ok(file_satisfied(args, path, regex));
    }
    let port = args.port.unwrap_or(0);
    match args.state {
        State::Drained => Ok((connections(args, port)? == 0).then_some(None)),
        State::Stopped | State::Absent => Ok(connect(args, port, deadline).is_none().then_some(None)),
        State::Started | State::Present => {
            let Some(stream) = connect(args, port, deadline) else { return Ok(None) };
            Ok(match regex {
                None => Some(None),
                Some(_) => read_until(stream, regex, deadline),
            })
        }
    }
}

fn file_satisfied(args: &Args, path: &str, regex: Option<&Regex>) -> Option<Captured> {
    let there = system::exists(path);
    if matches!(args.state, State::Absent) {
        // With a pattern it is the text that must be gone.
        let text_there = || system::text(path).is_some_and(|t| captured(regex, &t).is_some());
        return (!there || (regex.is_some() && !text_there())).then_some(None);
    }
    if !there {
        return None;
    }
    if regex.is_none() {
        return Some(None);
    }
    captured(regex, &system::text(path)?)
}

fn connect(args: &Args, port: u16, deadline: Instant) -> Option<TcpStream> {
    let addresses = (args.host.as_str(), port).to_socket_addrs().ok()?;
    let limit = Duration::from_secs(args.connect_timeout.max(1));
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(10));
        if let Ok(stream) = TcpStream::connect_timeout(&address, limit.min(left)) {
            return Some(stream);
        }
    }
    None
}

fn read_until(mut stream: TcpStream, regex: Option<&Regex>, deadline: Instant) -> Option<Captured> {
    let mut data = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        stream.set_read_timeout(Some(left)).ok()?;
        let read = stream.read(&mut piece).ok()?;
        if read == 0 {
            return None;
        }
        data.extend_from_slice(&piece[..read]);
        if let Some(found) = captured(regex, &String::from_utf8_lossy(&data)) {
            return Some(found);
        }
    }
}

/// States of `/proc/net/tcp`, by the kernel's numbers.
const STATES: [&str; 11] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];

fn connections(args: &Args, port: u16) -> Result<usize, Fault> {
    let resolve = |name: &str| -> Vec<IpAddr> {
        (name, 0).to_socket_addrs().map(|a| a.map(|s| s.ip()).collect()).unwrap_or_default()
    };
    let own = resolve(&args.host);
    if own.is_empty() {
        return Err(fault(format!("`host` of `wait_for` cannot be resolved: `{}`", args.host)));
    }
    let excluded: Vec<IpAddr> = args.exclude_hosts.iter().flat_map(|h| resolve(h)).collect();
    let everywhere = own.iter().any(IpAddr::is_unspecified);
    let table = ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(system::text).collect::<String>();
    Ok(sockets(&table)
        .filter(|(local, remote, state)| {
            let active = args.active_connection_states.iter().any(|s| s.eq_ignore_ascii_case(state));
            local.port() == port
                && active
                && (everywhere || own.contains(&local.ip()) || local.ip().is_unspecified())
                && !excluded.contains(&remote.ip())
        })
        .count())
}

fn sockets(table: &str) -> impl Iterator<Item = (SocketAddr, SocketAddr, &'static str)> + '_ {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let state = usize::from_str_radix(fields.get(3)?, 16).ok()?;
        Some((address(fields.get(1)?)?, address(fields.get(2)?)?, *STATES.get(state.checked_sub(1)?)?))
    })
}

/// `0100007F:1F90`: groups of four bytes in the host's order; IPv4 within IPv6 becomes IPv4.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            let v6 = Ipv6Addr::from(bytes);
            v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn timed_out(args: &Args, start: Instant) -> Fault {
    let msg = args.msg.clone().unwrap_or_else(|| {
        let what = match (&args.path, args.port) {
            (Some(path), _) => format!("file `{path}`"),
            (_, Some(port)) => format!("`{}:{port}`", args.host),
            _ => "time".into(),
        };
        let wanted = match (args.state, &args.search_regex) {
            (State::Drained, _) => " to be drained".to_owned(),
            (State::Stopped, _) => " to stop".to_owned(),
            (State::Absent, _) if args.path.is_some() => " to be absent".to_owned(),
            (State::Absent, _) => " to stop".to_owned(),
            (_, Some(pattern)) => format!(" to show `{pattern}`"),
            _ => String::new(),
        };
        format!("timeout when waiting for {what}{wanted}")
    });
    system::fault_with(msg, json!({"elapsed": start.elapsed().as_secs()}))
}

fn result(args: &Args, found: Captured, start: Instant) -> Outcome {
    let state = match args.state {
        State::Started => "started",
        State::Present => "present",
        State::Stopped => "stopped",
        State::Absent => "absent",
        State::Drained => "drained",
    };
    let (groups, named) = found.unwrap_or_default();
    let values = json!({
        "state": state, "port": args.port, "search_regex": args.search_regex, "path": args.path,
        "elapsed": start.elapsed().as_secs(), "match_groups": groups, "match_groupdict": named,
    });
    let mut outcome = outcome(false, values);
    if let Some(path) = &args.path {
        // As with every result of Ansible's that has a `path`.
        outcome.values.extend(crate::files::info::path_info(Path::new(path)));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;
    use crate::system::script::{Script, args};
    use std::io::Write;
    use std::net::TcpListener;

    fn wait(arguments: Value) -> Result<Outcome, Fault> {
        let script = Script::of(&[]);
        WaitFor::inspect(&args(arguments.clone()), &script.host())?;
        WaitFor::apply(&args(arguments), (), &script.host())
    }

    #[test]
    fn an_open_port_is_started_and_a_closed_one_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        assert_eq!(wait(json!({"port": port})).expect("waits").values["state"], "started");
        let error = wait(json!({"port": port, "state": "stopped", "timeout": 0})).expect_err("still open");
        assert_eq!(error.msg, format!("timeout when waiting for `127.0.0.1:{port}` to stop"));
        drop(listener);
        assert!(wait(json!({"port": port, "state": "stopped"})).is_ok());
        let error = wait(json!({"port": port, "timeout": 0, "msg": "too late"})).expect_err("closed");
        assert_eq!(error.msg, "too late");
    }

    #[test]
    fn a_pattern_is_looked_for_in_what_the_port_says() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(b"SSH-2.0-OpenSSH_9\r\n").expect("writes");
        });
        let found = wait(json!({"port": port, "search_regex": "Open(?P<name>SSH)_(\\d)"})).expect("waits");
        assert_eq!(found.values["match_groups"], json!(["SSH", "9"]));
        assert_eq!(found.values["match_groupdict"], json!({"name": "SSH"}));
        server.join().expect("ends");
    }

    #[test]
    fn files_are_waited_for_and_their_text_too() {
        let _root = FakeRoot::with(&[("/run/ready", "state: up\n")]);
        assert!(wait(json!({"path": "/run/ready"})).is_ok());
        assert!(wait(json!({"path": "/run/ready", "search_regex": "^state: (up)$"})).is_ok());
        assert!(wait(json!({"path": "/run/lock", "state": "absent"})).is_ok());
        assert!(wait(json!({"path": "/run/ready", "search_regex": "down", "state": "absent"})).is_ok());
        let error =
            wait(json!({"path": "/run/ready", "search_regex": "down", "timeout": 0})).expect_err("never");
        assert_eq!(error.msg, "timeout when waiting for file `/run/ready` to show `down`");
    }

    #[test]
    fn drained_counts_active_connections_but_for_excluded_hosts() {
        let _root = FakeRoot::with(&[(
            "/proc/net/tcp",
            "sl local remote st\n 0: 0100007F:1F90 0200007F:C350 01\n 1: 0100007F:1F90 00000000:0000 0A\n",
        )]);
        let of = |arguments| connections(&args(arguments), 8080).expect("counts");
        assert_eq!(of(json!({})), 1);
        assert_eq!(of(json!({"exclude_hosts": ["127.0.0.2"]})), 0);
        assert_eq!(of(json!({"active_connection_states": ["LISTEN"]})), 1);
    }

    #[test]
    fn options_that_exclude_each_other_are_told() {
        let error = wait(json!({"path": "/x", "state": "drained"})).expect_err("refused");
        assert_eq!(error.msg, "`wait_for` takes `state: drained` only with `port`");
        let error = wait(json!({"port": 1, "search_regex": "("})).expect_err("refused");
        assert!(error.msg.starts_with("`search_regex` of `wait_for` is no pattern"), "{}", error.msg);
    }
}
