//! What the options of `docker_container` are called by Docker, and how their values look there.
//!
//! Owns: the table of options that describe a container, the body that creates it, the comparison with one that is there.
//! Must not: ask the daemon.

use serde_json::{Map, Value, json};

use super::Fault;
use super::docker::{self, Args, covers, dict, image_name, list, object, on, part, text, word};
use crate::options::{bytes, nearest};
use crate::{system, words};

/// How an option's value is turned into Docker's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// As it is.
    Plain,
    Bytes,
    /// Bytes, or -1 for `unlimited`.
    Limit,
    /// A number of processors as billionths.
    Billionths,
    /// A text is split into words.
    Argv,
    /// A list whose order doesn't count.
    Set,
    /// A mapping of texts.
    Dict,
    /// By a function of its own, below.
    Own,
}

/// An option, where Docker has it (`/` first: inside of `HostConfig`), and whether `update` can change it in place.
struct Row(&'static str, &'static str, As, bool);

static TABLE: &[Row] = &[
    Row("auto_remove", "/AutoRemove", As::Plain, false),
    Row("blkio_weight", "/BlkioWeight", As::Plain, true),
    Row("capabilities", "/CapAdd", As::Own, false),
    Row("cap_drop", "/CapDrop", As::Own, false),
    Row("cgroup_parent", "/CgroupParent", As::Plain, false),
    Row("cgroupns_mode", "/CgroupnsMode", As::Plain, false),
    Row("command", "Cmd", As::Argv, false),
    Row("cpu_period", "/CpuPeriod", As::Plain, true),
    Row("cpu_quota", "/CpuQuota", As::Plain, true),
    Row("cpu_shares", "/CpuShares", As::Plain, true),
    Row("cpus", "/NanoCpus", As::Billionths, false),
    Row("cpuset_cpus", "/CpusetCpus", As::Plain, true),
    Row("cpuset_mems", "/CpusetMems", As::Plain, true),
    Row("devices", "/Devices", As::Own, false),
    Row("dns_opts", "/DnsOptions", As::Set, false),
    Row("dns_search_domains", "/DnsSearch", As::Plain, false),
    Row("dns_servers", "/Dns", As::Plain, false),
    Row("domainname", "Domainname", As::Plain, false),
    Row("entrypoint", "Entrypoint", As::Argv, false),
    Row("env", "Env", As::Own, false),
    Row("etc_hosts", "/ExtraHosts", As::Own, false),
    Row("exposed_ports", "ExposedPorts", As::Own, false),
    Row("groups", "/GroupAdd", As::Set, false),
    Row("healthcheck", "Healthcheck", As::Own, false),
    Row("hostname", "Hostname", As::Plain, false),
    Row("init", "/Init", As::Plain, false),
    Row("interactive", "OpenStdin", As::Plain, false),
    Row("ipc_mode", "/IpcMode", As::Plain, false),
    Row("labels", "Labels", As::Dict, false),
    Row("links", "/Links", As::Own, false),
    Row("log_driver", "/LogConfig", As::Own, false),
    Row("mac_address", "MacAddress", As::Plain, false),
    Row("memory", "/Memory", As::Bytes, true),
    Row("memory_reservation", "/MemoryReservation", As::Bytes, true),
    Row("memory_swap", "/MemorySwap", As::Limit, true),
    Row("memory_swappiness", "/MemorySwappiness", As::Plain, false),
    Row("mounts", "/Mounts", As::Own, false),
    Row("network_mode", "/NetworkMode", As::Plain, false),
    Row("oom_killer", "/OomKillDisable", As::Plain, false),
    Row("oom_score_adj", "/OomScoreAdj", As::Plain, false),
    Row("pid_mode", "/PidMode", As::Plain, false),
    Row("pids_limit", "/PidsLimit", As::Plain, true),
    Row("privileged", "/Privileged", As::Plain, false),
    Row("publish_all_ports", "/PublishAllPorts", As::Plain, false),
    Row("published_ports", "/PortBindings", As::Own, false),
    Row("read_only", "/ReadonlyRootfs", As::Plain, false),
    Row("restart_policy", "/RestartPolicy", As::Own, true),
    Row("runtime", "/Runtime", As::Plain, false),
    Row("security_opts", "/SecurityOpt", As::Set, false),
    Row("shm_size", "/ShmSize", As::Bytes, false),
    Row("stop_signal", "StopSignal", As::Plain, false),
    Row("stop_timeout", "StopTimeout", As::Plain, false),
    Row("storage_opts", "/StorageOpt", As::Dict, false),
    Row("sysctls", "/Sysctls", As::Dict, false),
    Row("tmpfs", "/Tmpfs", As::Own, false),
    Row("tty", "Tty", As::Plain, false),
    Row("ulimits", "/Ulimits", As::Own, false),
    Row("user", "User", As::Plain, false),
    Row("userns_mode", "/UsernsMode", As::Plain, false),
    Row("uts", "/UTSMode", As::Plain, false),
    Row("volume_driver", "/VolumeDriver", As::Plain, false),
    Row("volumes", "/Binds", As::Own, false),
    Row("volumes_from", "/VolumesFrom", As::Set, false),
    Row("working_dir", "WorkingDir", As::Plain, false),
];

/// One thing that was asked for, as Docker has it.
struct Wish {
    row: &'static Row,
    value: Value,
}

/// Everything that was asked for.
pub(super) struct Wishes(Vec<Wish>);

/// What a container that is there has otherwise.
#[derive(Default)]
pub(super) struct Differences {
    pub(super) before: Map<String, Value>,
    pub(super) after: Map<String, Value>,
    /// Options with Docker's names that `update` takes; the rest needs a new container.
    pub(super) update: Map<String, Value>,
    pub(super) recreate: bool,
}

impl Wishes {
    /// Reads the options.
    ///
    /// # Errors
    /// When a value makes no sense to Docker; the message names the option.
    pub(super) fn of(args: &Args) -> Result<Self, Fault> {
        let mut wishes = Vec::new();
        for row in TABLE {
            if let Some(value) = wish(row, args)? {
                wishes.push(Wish { row, value });
            }
        }
        Ok(Self(wishes))
    }

    /// The body of `POST /containers/create`.
    pub(super) fn body(&self, image: &str) -> Value {
        let mut body = object(vec![("Image", image.into()), ("HostConfig", Map::new().into())]);
        for Wish { row, value } in &self.0 {
            match row.1.strip_prefix('/') {
                // A volume without a host's side is the container's own.
                Some("Binds") => {
                    let (binds, own): (Vec<&Value>, Vec<&Value>) =
                        items(value).partition(|v| v.as_str().is_some_and(|v| v.contains(':')));
                    body["HostConfig"]["Binds"] = json!(binds);
                    let own = own.into_iter().filter_map(Value::as_str).map(|v| (v.to_owned(), json!({})));
                    body["Volumes"] = own.collect();
                }
                Some(name) => body["HostConfig"][name] = value.clone(),
                None => body[row.1] = value.clone(),
            }
        }
        if let Some(bindings) = body["HostConfig"]["PortBindings"].as_object() {
            let published: Vec<String> = bindings.keys().cloned().collect();
            for port in published {
                body["ExposedPorts"][port] = json!({});
            }
        }
        body
    }

    /// Compares with the container that is there and the image that it would be made of.
    ///
    /// # Errors
    /// When `comparisons` asks for something unknown.
    pub(super) fn differences(
        &self,
        args: &Args,
        current: &Value,
        image: Option<&Value>,
    ) -> Result<Differences, Fault> {
        let rules = dict(args, "comparisons");
        if let Some(rules) = rules {
            check_rules(rules)?;
        }
        let mut found = Differences::default();
        for Wish { row, value } in &self.0 {
            let there = match row.1.strip_prefix('/') {
                Some(name) => &current["HostConfig"][name],
                None => &current["Config"][row.1],
            };
            let (mut there, value) = (plain(row, there), plain(row, value));
            if row.0 == "volumes" {
                // The container's own volumes stand elsewhere.
                let own = current["Config"]["Volumes"].as_object();
                let all = own.into_iter().flat_map(Map::keys).map(|k| json!(k));
                there = items(&there).cloned().chain(all).collect();
            }
            let usual = if loose(row) { "allow_more_present" } else { "strict" };
            let of = |name: &str| rules.and_then(|r| r.get(name)).and_then(Value::as_str);
            let general = of("*").map(|mode| if mode == "allow_more_present" { usual } else { mode });
            let mode = of(row.0).or(general).unwrap_or(usual);
            let same = match mode {
                "ignore" => true,
                "allow_more_present" => has_all(&there, &value),
                _ => equal(row, &there, &value, image),
            };
            if !same {
                found.before.insert(row.0.to_owned(), there.clone());
                found.after.insert(row.0.to_owned(), value.clone());
                if row.3 {
                    found.update.insert(row.1.trim_start_matches('/').to_owned(), value);
                } else {
                    found.recreate = true;
                }
            }
        }
        Ok(found)
    }
}

/// What `comparisons` says of something that is no row of the table: `image`, `networks`.
pub(super) fn rule<'a>(args: &'a Args, name: &str) -> Option<&'a str> {
    let rules = dict(args, "comparisons")?;
    rules.get(name).or_else(|| rules.get("*").filter(|mode| *mode == "ignore")).and_then(Value::as_str)
}

fn check_rules(rules: &Map<String, Value>) -> Result<(), Fault> {
    let known = || TABLE.iter().map(|row| row.0).chain(["*", "image", "networks", "env_file", "ports"]);
    for (name, mode) in rules {
        if !known().any(|k| k == name) {
            let near = nearest(name, known()).map_or(String::new(), |n| format!(", did you mean `{n}`?"));
            return Err(Fault::new(format!(
                "`comparisons` names `{name}`, which is no option to compare{near}"
            )));
        }
        if !mode.as_str().is_some_and(|m| ["strict", "ignore", "allow_more_present"].contains(&m)) {
            return Err(Fault::new(format!(
                "`comparisons` wants `strict`, `ignore` or `allow_more_present` for `{name}`, not `{}`",
                word(mode)
            )));
        }
    }
    Ok(())
}

/// Sets and mappings may have more than was asked for: the image brings some of its own.
fn loose(row: &Row) -> bool {
    matches!(row.2, As::Set | As::Dict)
        || row.2 == As::Own && !matches!(row.0, "healthcheck" | "restart_policy" | "log_driver")
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A list has every item that is wanted, whatever else it has.
fn has_all(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (_, Value::Array(wanted)) => wanted.iter().all(|w| items(there).any(|t| covers(t, w))),
        (there, Value::Object(wanted)) if there.is_null() => wanted.is_empty(),
        _ => covers(there, wanted),
    }
}

fn equal(row: &Row, there: &Value, wanted: &Value, image: Option<&Value>) -> bool {
    // What the image itself sets is no difference.
    let ours = |value: &Value| -> Value {
        let brought = image.map_or(&Value::Null, |i| &i["Config"][row.1]);
        match (value, brought) {
            (Value::Array(all), Value::Array(brought)) if row.0 == "env" => all
                .iter()
                .filter(|v| !brought.contains(v) || items(wanted).any(|w| w == *v))
                .cloned()
                .collect(),
            (Value::Object(all), Value::Object(brought)) => all
                .iter()
                .filter(|(k, v)| brought.get(*k) != Some(v) || wanted.get(*k).is_some())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            _ => value.clone(),
        }
    };
    let there = ours(there);
    match (&there, wanted) {
        (Value::Null, Value::Array(w)) => w.is_empty(),
        (Value::Null, Value::Object(w)) => w.is_empty(),
        (Value::Null, Value::String(w)) => w.is_empty(),
        (Value::Null, Value::Bool(w)) => !w,
        (Value::Array(t), Value::Array(w)) if loose(row) => t.len() == w.len() && covers(&there, wanted),
        (Value::Object(t), Value::Object(w)) if loose(row) => t.len() == w.len() && covers(&there, wanted),
        // Docker fills in what a health check or a policy leaves out.
        (Value::Object(_), Value::Object(_)) => covers(&there, wanted),
        _ => &there == wanted,
    }
}

/// Makes values that mean the same look the same.
fn plain(row: &Row, value: &Value) -> Value {
    match row.0 {
        "capabilities" | "cap_drop" => items(value)
            .filter_map(Value::as_str)
            .map(|c| c.to_ascii_uppercase().trim_start_matches("CAP_").to_owned())
            .collect(),
        "published_ports" => value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(port, ends)| {
                let ends = items(ends).map(|binding| {
                    let ip = binding["HostIp"].as_str().filter(|ip| *ip != "0.0.0.0").unwrap_or_default();
                    end(ip, binding["HostPort"].clone())
                });
                (port.clone(), ends.collect::<Value>())
            })
            .collect(),
        "volumes" => items(value).map(|v| json!(bind(&word(v)))).collect(),
        "links" => items(value)
            .filter_map(Value::as_str)
            .map(|link| {
                let (of, alias) = link.split_once(':').unwrap_or((link, link));
                let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
                format!("{}:{}", last(of), last(alias))
            })
            .collect(),
        "network_mode" if value == "default" || value == "bridge" => json!("bridge"),
        _ => value.clone(),
    }
}

/// A volume with its mode: `a:b` is `a:b:rw`.
fn bind(text: &str) -> String {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [from, to] => format!("{from}:{to}:rw"),
        [from, to, mode] if !mode.split(',').any(|m| m == "rw" || m == "ro") => {
            format!("{from}:{to}:rw,{mode}")
        }
        _ => text.to_owned(),
    }
}

fn bad(option: &str, value: &Value, wanted: &str) -> Fault {
    Fault::new(format!("`{option}` is `{}`, and {wanted} is wanted", word(value)))
}

/// Docker's value for an option; `None` when it was not given.
fn wish(row: &Row, args: &Args) -> Result<Option<Value>, Fault> {
    let name = row.0;
    // These have a second option beside them.
    if name == "env" {
        return env(args);
    }
    let Some(given) = args.get(name).filter(|v| !v.is_null()) else { return Ok(None) };
    let number = |value: &Value| bytes(value).ok_or_else(|| bad(name, value, "a size as `512M`"));
    Ok(Some(match row.2 {
        As::Plain if name == "oom_killer" => json!(!on(args, name)),
        As::Plain => given.clone(),
        As::Bytes => json!(number(given)?),
        As::Limit if word(given) == "unlimited" || word(given) == "-1" => json!(-1),
        As::Limit => json!(number(given)?),
        As::Billionths => {
            let cpus: f64 = word(given).parse().map_err(|_| bad(name, given, "a number"))?;
            #[expect(clippy::cast_possible_truncation, reason = "no machine has that many")]
            let billionths = (cpus * 1e9).round() as i64;
            json!(billionths)
        }
        As::Argv => match given {
            Value::Array(argv) => argv.iter().map(|w| json!(word(w))).collect(),
            line => json!(words::split(&word(line)).map_err(|e| Fault::new(format!("`{name}`: {e}")))?),
        },
        As::Set => items(given).map(|v| json!(word(v))).collect(),
        As::Dict => docker::words(dict(args, name).unwrap_or(&Map::new())),
        As::Own => match own(name, given, args)? {
            None => return Ok(None),
            Some(value) => value,
        },
    }))
}

fn own(name: &str, given: &Value, args: &Args) -> Result<Option<Value>, Fault> {
    let each = |make: &dyn Fn(&str) -> Result<Value, Fault>| -> Result<Value, Fault> {
        items(given).map(|v| make(&word(v))).collect::<Result<Vec<_>, _>>().map(Value::from)
    };
    Ok(Some(match name {
        "capabilities" | "cap_drop" | "links" | "volumes" => each(&|v| Ok(json!(v)))?,
        "devices" => each(&|device| {
            let mut parts = device.split(':');
            let outer = parts.next().unwrap_or_default();
            let inner = parts.next().unwrap_or(outer);
            let rights = parts.next().unwrap_or("rwm");
            Ok(object(vec![
                ("PathOnHost", outer.into()),
                ("PathInContainer", inner.into()),
                ("CgroupPermissions", rights.into()),
            ]))
        })?,
        "etc_hosts" => {
            let hosts = given.as_object().into_iter().flatten();
            hosts.map(|(host, address)| json!(format!("{host}:{}", word(address)))).collect()
        }
        "exposed_ports" => {
            let mut ports = Map::new();
            for port in items(given) {
                for (number, protocol) in range(name, &word(port))? {
                    ports.insert(format!("{number}/{protocol}"), json!({}));
                }
            }
            ports.into()
        }
        "healthcheck" => health(given)?,
        "log_driver" => {
            let options = docker::words(dict(args, "log_options").unwrap_or(&Map::new()));
            object(vec![("Type", given.clone()), ("Config", options)])
        }
        "mounts" => items(given).map(mount).collect::<Result<Vec<_>, _>>()?.into(),
        "published_ports" => match items(given).any(|p| p == "all") {
            true => return Ok(None),
            false => published(given, text(args, "default_host_ip").unwrap_or_default())?,
        },
        "restart_policy" => {
            let retries = args.get("restart_retries").and_then(Value::as_i64).unwrap_or(0);
            object(vec![("Name", given.clone()), ("MaximumRetryCount", retries.into())])
        }
        "tmpfs" => {
            let all = items(given).map(word).map(|t| match t.split_once(':') {
                Some((path, options)) => (path.to_owned(), json!(options)),
                None => (t, json!("")),
            });
            all.collect()
        }
        _ => each(&|limit| {
            let mut parts = limit.split(':');
            let name = parts.next().unwrap_or_default();
            let numbers: Vec<i64> = parts.filter_map(|p| p.trim().parse().ok()).collect();
            let soft = *numbers.first().ok_or_else(|| bad("ulimits", &json!(limit), "`name:soft:hard`"))?;
            let hard = *numbers.get(1).unwrap_or(&soft);
            Ok(object(vec![("Name", name.into()), ("Soft", soft.into()), ("Hard", hard.into())]))
        })?,
    }))
}

/// `env_file` first, `env` over it.
fn env(args: &Args) -> Result<Option<Value>, Fault> {
    let mut all: Map<String, Value> = Map::new();
    if let Some(file) = text(args, "env_file") {
        let lines = system::text(file).ok_or_else(|| {
            Fault::new(format!("cannot read `{file}` (`env_file`): is it there, and text?"))
        })?;
        for line in lines.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            all.insert(name.to_owned(), json!(value));
        }
    } else if args.get("env").is_none_or(Value::is_null) {
        return Ok(None);
    }
    all.extend(dict(args, "env").cloned().unwrap_or_default());
    Ok(Some(all.iter().map(|(name, value)| json!(format!("{name}={}", word(value)))).collect()))
}

/// `80`, `80/udp`, `8000-8010`.
fn range<'a>(option: &str, text: &'a str) -> Result<Vec<(u16, &'a str)>, Fault> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first..=last).map(|p| (p, protocol)).collect()),
        _ => Err(bad(option, &json!(text), "a port or a range of ports")),
    }
}

fn published(given: &Value, usual: &str) -> Result<Value, Fault> {
    let mut bindings = Map::new();
    for entry in items(given) {
        let entry = word(entry);
        // An IPv6 address stands in brackets.
        let (ip, rest) = match entry.strip_prefix('[').and_then(|e| e.split_once("]:")) {
            Some((ip, rest)) => (ip.to_owned(), rest.to_owned()),
            None => match entry.matches(':').count() {
                2.. => entry.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default(),
                _ => (usual.to_owned(), entry.clone()),
            },
        };
        let (outer, inner) = rest.split_once(':').unwrap_or(("", &rest));
        let inner = range("published_ports", inner)?;
        let outer = if outer.is_empty() { Vec::new() } else { range("published_ports", outer)? };
        if !outer.is_empty() && outer.len() != inner.len() {
            return Err(bad("published_ports", &json!(entry), "a range as long on both sides"));
        }
        for (at, (port, protocol)) in inner.iter().enumerate() {
            let outer = outer.get(at).map_or(String::new(), |(port, _)| port.to_string());
            let list = bindings.entry(format!("{port}/{protocol}")).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(end(&ip, outer.into()));
            }
        }
    }
    Ok(bindings.into())
}

fn end(ip: &str, port: Value) -> Value {
    object(vec![("HostIp", ip.into()), ("HostPort", port)])
}

fn mount(given: &Value) -> Result<Value, Fault> {
    let text = |name: &str| given.get(name).and_then(Value::as_str);
    let target = text("target").ok_or_else(|| Fault::new("`mounts` needs `target` in each of them"))?;
    let mut mount = vec![("Type", text("type").unwrap_or("volume").into()), ("Target", target.into())];
    if let Some(source) = text("source") {
        mount.push(("Source", source.into()));
    }
    if let Some(value) = part(given, "read_only") {
        mount.push(("ReadOnly", value.clone()));
    }
    if let Some(propagation) = text("propagation") {
        mount.push(("BindOptions", object(vec![("Propagation", propagation.into())])));
    }
    if let Some(options) = given.get("volume_options").and_then(Value::as_object) {
        let name = text("volume_driver").unwrap_or("local");
        let driver = object(vec![("Name", name.into()), ("Options", docker::words(options))]);
        mount.push(("VolumeOptions", object(vec![("DriverConfig", driver)])));
    }
    if let Some(size) = part(given, "tmpfs_size") {
        let size = bytes(size).ok_or_else(|| bad("tmpfs_size", size, "a size as `512M`"))?;
        mount.push(("TmpfsOptions", object(vec![("SizeBytes", size.into())])));
    }
    Ok(object(mount))
}

fn health(given: &Value) -> Result<Value, Fault> {
    let test = part(given, "test").ok_or_else(|| Fault::new("`healthcheck` needs `test`"))?;
    let test = match test {
        Value::Array(words) => words.iter().map(word).collect(),
        line if word(line).eq_ignore_ascii_case("none") => vec!["NONE".to_owned()],
        line => vec!["CMD-SHELL".to_owned(), word(line)],
    };
    let mut check = vec![("Test", test.into())];
    for (option, name) in [
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ] {
        if let Some(value) = part(given, option) {
            let span = nanoseconds(&word(value)).ok_or_else(|| bad(option, value, "a time as `1m30s`"))?;
            check.push((name, span.into()));
        }
    }
    if let Some(value) = part(given, "retries") {
        let count: u64 = word(value).parse().map_err(|_| bad("retries", value, "a number"))?;
        check.push(("Retries", count.into()));
    }
    Ok(object(check))
}

/// `1h2m3s4ms5us`, or a plain number of seconds.
fn nanoseconds(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000);
    }
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..unit_at].parse().ok()?;
        let tail = &rest[unit_at..];
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let unit = match &tail[..end] {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &tail[end..];
    }
    Some(total)
}

/// The networks that were asked for: name and its endpoint's configuration.
pub(super) fn networks(args: &Args) -> Result<Vec<(String, Value)>, Fault> {
    list(args, "networks")
        .iter()
        .map(|network| {
            let name = network.get("name").and_then(Value::as_str).or(network.as_str());
            let name = name.ok_or_else(|| Fault::new("`networks` needs `name` in each of them"))?;
            let mut end = Map::new();
            let mut address = Map::new();
            for (option, theirs) in [("ipv4_address", "IPv4Address"), ("ipv6_address", "IPv6Address")] {
                if let Some(value) = part(network, option) {
                    address.insert(theirs.to_owned(), value.clone());
                }
            }
            if !address.is_empty() {
                end.insert("IPAMConfig".to_owned(), address.into());
            }
            for (option, theirs) in [
                ("aliases", "Aliases"),
                ("links", "Links"),
                ("mac_address", "MacAddress"),
                ("driver_opts", "DriverOpts"),
            ] {
                if let Some(value) = part(network, option) {
                    end.insert(theirs.to_owned(), value.clone());
                }
            }
            Ok((name.to_owned(), end.into()))
        })
        .collect()
}

/// The image that a container is made of: what was asked for, else what the container has.
pub(super) fn image_of(args: &Args, current: Option<&Value>) -> Option<String> {
    text(args, "image")
        .map(image_name)
        .or_else(|| current.and_then(|c| c["Config"]["Image"].as_str()).map(str::to_owned))
}
