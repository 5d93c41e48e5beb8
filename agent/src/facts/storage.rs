//! Mounted file systems and block devices.
//!
//! Owns: `mounts`, `devices`, `device_links`. Must not: hang on a dead network mount, so sizes are asked under a deadline.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use serde_json::{Map, Value, json};

use super::Facts;
use crate::system;

struct Mount {
    device: String,
    point: String,
    kind: String,
    options: String,
    dump: u64,
    pass: u64,
}

/// Spaces and the like in mount tables are octal escapes.
pub(crate) fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'\\')
            .then(|| {
                tail.get(..3)
                    .and_then(|d| std::str::from_utf8(d).ok())
                    .and_then(|d| u8::from_str_radix(d, 8).ok())
            })
            .flatten();
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn mounts_of(table: &str, bind_points: &[String]) -> Vec<Mount> {
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [device, point, kind, options, rest @ ..] = fields.as_slice() else { return None };
            let device = unescape(device);
            let real = device.starts_with(['/', '\\']) || device.contains(":/");
            if !real || *kind == "none" {
                return None;
            }
            let point = unescape(point);
            let number = |at: usize| rest.get(at).and_then(|n| n.parse().ok()).unwrap_or(0);
            let mut options = (*options).to_owned();
            if bind_points.contains(&point) && !options.split(',').any(|o| o == "bind") {
                options.push_str(",bind");
            }
            Some(Mount { device, point, kind: (*kind).to_owned(), options, dump: number(0), pass: number(1) })
        })
        .collect()
}

/// Mount points whose root is a folder inside the mounted file system.
fn bind_points(mountinfo: &str) -> Vec<String> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (*fields.get(3)? != "/").then(|| unescape(fields.get(4).copied().unwrap_or_default()))
        })
        .collect()
}

/// `target name -> link names` of one folder below `/dev/disk`.
fn links(folder: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in system::names(folder) {
        if let Some(target) = system::link_name(format!("{folder}/{name}")) {
            found.entry(target).or_default().push(unescape_udev(&name));
        }
    }
    found
}

/// udev writes `\x20` for bytes that do not belong into file names.
fn unescape_udev(name: &str) -> String {
    name.replace("\\x20", " ").replace("\\x2f", "/")
}

fn sizes(point: &str) -> Option<Map<String, Value>> {
    let stats = statvfs(point).ok()?;
    let block = stats.fragment_size();
    let (total, available) = (stats.blocks(), stats.blocks_available());
    let inodes = (stats.files(), stats.files_free());
    let values = json!({
        "size_total": block * total,
        "size_available": block * available,
        "block_size": stats.block_size(),
        "block_total": total,
        "block_available": available,
        "block_used": total.saturating_sub(available),
        "inode_total": inodes.0,
        "inode_available": stats.files_available(),
        "inode_used": inodes.0.saturating_sub(inodes.1),
    });
    match values {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// The sizes of one mount point; `None` when they did not come in time, `Some(None)` when there are none.
#[expect(clippy::option_option, reason = "two ways to have none, and the caller tells them apart")]
pub(crate) fn sizes_of(point: &str, kind: &str, timeout: Duration) -> Option<Option<Map<String, Value>>> {
    if !NETWORK_KINDS.contains(&kind) {
        return Some(sizes(point));
    }
    let (send, receive) = mpsc::channel();
    let point = point.to_owned();
    std::thread::Builder::new().spawn(move || send.send(sizes(&point)).ok()).ok()?;
    receive.recv_timeout(timeout).ok()
}

/// The file system's id of a device.
pub(crate) fn device_uuid(device: &str) -> Option<String> {
    if !device.starts_with('/') {
        return None;
    }
    links("/dev/disk/by-uuid").remove(&device_name(device))?.into_iter().next()
}

const NETWORK_KINDS: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "glusterfs", "ceph", "fuse.sshfs", "9p"];

/// Sizes of file systems that may be dead are asked on threads that are left behind at the deadline.
fn sizes_within(mounts: &[Mount], timeout: Duration) -> Vec<Option<Map<String, Value>>> {
    let mut found: Vec<Option<Map<String, Value>>> = vec![None; mounts.len()];
    let (send, receive) = mpsc::channel();
    let mut awaited = 0;
    for (at, mount) in mounts.iter().enumerate() {
        if NETWORK_KINDS.contains(&mount.kind.as_str()) {
            let (send, point) = (send.clone(), mount.point.clone());
            let started = std::thread::Builder::new().spawn(move || send.send((at, sizes(&point))).ok());
            awaited += u32::from(started.is_ok());
        } else {
            found[at] = sizes(&mount.point);
        }
    }
    let deadline = Instant::now() + timeout;
    while awaited > 0 {
        let Ok((at, values)) = receive.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        else {
            break;
        };
        found[at] = values;
        awaited -= 1;
    }
    found
}

pub(super) fn mounts(facts: &mut Facts, timeout: Duration) {
    let table = system::text("/etc/mtab").or_else(|| system::text("/proc/self/mounts")).unwrap_or_default();
    let info = system::text("/proc/self/mountinfo").unwrap_or_default();
    let uuids = links("/dev/disk/by-uuid");
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in mounts_of(&table, &bind_points(&info)) {
        // What is mounted over something else hides it.
        mounts.retain(|m| m.point != mount.point);
        mounts.push(mount);
    }
    let sizes = sizes_within(&mounts, timeout);
    let list: Vec<Value> = mounts
        .iter()
        .zip(sizes)
        .map(|(mount, sizes)| {
            let name = device_name(&mount.device);
            let uuid = uuids.get(&name).and_then(|u| u.first()).map_or("N/A", String::as_str);
            let mut fact = Map::new();
            fact.insert("mount".into(), json!(mount.point));
            fact.insert("device".into(), json!(mount.device));
            fact.insert("fstype".into(), json!(mount.kind));
            fact.insert("options".into(), json!(mount.options));
            fact.insert("dump".into(), json!(mount.dump));
            fact.insert("passno".into(), json!(mount.pass));
            match sizes {
                Some(sizes) => fact.extend(sizes),
                None => {
                    fact.insert("note".into(), json!("could not get its size in time"));
                }
            }
            fact.insert("uuid".into(), json!(uuid));
            Value::Object(fact)
        })
        .collect();
    facts.put("mounts", json!(list));
}

/// `dm-0` for `/dev/mapper/vg-root`: by-uuid links point at kernel names.
fn device_name(device: &str) -> String {
    system::link_name(device).unwrap_or_else(|| device.rsplit('/').next().unwrap_or(device).to_owned())
}

/// A number of bytes as Ansible writes it in facts: `10.00 GB`.
#[must_use]
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 6] = [("EB", 60), ("PB", 50), ("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)];
    for (unit, shift) in UNITS {
        if bytes >= 1 << shift {
            #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
            let value = bytes as f64 / (1u64 << shift) as f64;
            return format!("{value:.2} {unit}");
        }
    }
    format!("{bytes}.00 Bytes")
}

struct DiskLinks {
    ids: BTreeMap<String, Vec<String>>,
    uuids: BTreeMap<String, Vec<String>>,
    labels: BTreeMap<String, Vec<String>>,
    masters: BTreeMap<String, Vec<String>>,
}

impl DiskLinks {
    fn read() -> Self {
        let mut masters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for device in system::names("/sys/block") {
            for slave in system::names(format!("/sys/block/{device}/slaves")) {
                masters.entry(slave).or_default().push(device.clone());
            }
        }
        Self {
            ids: links("/dev/disk/by-id"),
            uuids: links("/dev/disk/by-uuid"),
            labels: links("/dev/disk/by-label"),
            masters,
        }
    }

    fn of(&self, name: &str) -> Value {
        let get = |map: &BTreeMap<String, Vec<String>>| map.get(name).cloned().unwrap_or_default();
        json!({"ids": get(&self.ids), "uuids": get(&self.uuids), "labels": get(&self.labels), "masters": get(&self.masters)})
    }
}

fn partition(disk: &str, name: &str, links: &DiskLinks) -> Value {
    let base = format!("/sys/block/{disk}/{name}");
    let read = |file: &str| system::word(format!("{base}/{file}"));
    let sectors: u64 = read("size").and_then(|t| t.parse().ok()).unwrap_or(0);
    let sector = read("queue/logical_block_size")
        .or_else(|| system::word(format!("/sys/block/{disk}/queue/logical_block_size")));
    let own_links = links.of(name);
    let uuid = own_links["uuids"].get(0).cloned().unwrap_or(Value::Null);
    json!({
        "links": own_links,
        "start": read("start").unwrap_or_else(|| "0".into()),
        "sectors": sectors,
        "sectorsize": sector.and_then(|s| s.parse::<u64>().ok()).unwrap_or(512),
        "size": human_bytes(sectors * 512),
        "uuid": uuid,
        "holders": system::names(format!("{base}/holders")),
    })
}

fn disk(name: &str, links: &DiskLinks) -> Value {
    let base = format!("/sys/block/{name}");
    let read = |file: &str| system::word(format!("{base}/{file}"));
    let sectors: u64 = read("size").and_then(|t| t.parse().ok()).unwrap_or(0);
    let scheduler = read("queue/scheduler").unwrap_or_default();
    let scheduler =
        scheduler.split_once('[').and_then(|(_, r)| r.split_once(']')).map_or("", |(s, _)| s).to_owned();
    let sector = read("queue/logical_block_size").unwrap_or_else(|| "512".into());
    let discard = read("queue/discard_granularity").unwrap_or_else(|| "0".into());
    let partitions: Map<String, Value> = system::names(&base)
        .into_iter()
        .filter(|n| n.starts_with(name) && system::exists(format!("{base}/{n}/partition")))
        .map(|n| {
            let value = partition(name, &n, links);
            (n, value)
        })
        .collect();
    json!({
        // Ansible says 1 for every disk, virtual or not.
        "virtual": 1,
        "links": links.of(name),
        "vendor": read("device/vendor"),
        "model": read("device/model"),
        "sas_address": read("device/sas_address"),
        "sas_device_handle": read("device/sas_device_handle"),
        "removable": read("removable").unwrap_or_else(|| "0".into()),
        "support_discard": discard,
        "partitions": partitions,
        "rotational": read("queue/rotational").unwrap_or_else(|| "0".into()),
        "scheduler_mode": scheduler,
        "sectors": sectors,
        "sectorsize": sector,
        "size": human_bytes(sectors * 512),
        "host": "",
        "holders": system::names(format!("{base}/holders")),
    })
}

pub(super) fn devices(facts: &mut Facts) {
    let links = DiskLinks::read();
    let mut found = Map::new();
    for name in system::names("/sys/block") {
        found.insert(name.clone(), disk(&name, &links));
    }
    facts.put("devices", Value::Object(found));
    facts.put(
        "device_links",
        json!({"ids": links.ids, "uuids": links.uuids, "labels": links.labels, "masters": links.masters}),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::root::fake::FakeRoot;

    #[test]
    fn only_real_devices_are_mounts_and_binds_are_marked() {
        let table = "/dev/sda1 / ext4 rw 0 1\ntmpfs /run tmpfs rw 0 0\nnas:/x /mnt/my\\040x nfs rw 0 0\n/dev/sda1 /srv ext4 rw 0 0\n";
        let info = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:1 /data /srv rw - ext4 /dev/sda1 rw\n";
        let mounts = mounts_of(table, &bind_points(info));
        let seen: Vec<(&str, &str)> = mounts.iter().map(|m| (m.point.as_str(), m.options.as_str())).collect();
        assert_eq!(seen, [("/", "rw"), ("/mnt/my x", "rw"), ("/srv", "rw,bind")]);
        assert_eq!(mounts[0].pass, 1);
    }

    #[test]
    fn sizes_are_written_with_two_digits() {
        assert_eq!(human_bytes(0), "0.00 Bytes");
        assert_eq!(human_bytes(10 << 30), "10.00 GB");
        assert_eq!(human_bytes(1536 << 20), "1.50 GB");
    }

    #[test]
    fn a_disk_lists_its_partitions_with_their_links() {
        let root = FakeRoot::with(&[
            ("/sys/block/sda/size", "20971520\n"),
            ("/sys/block/sda/queue/scheduler", "none [mq-deadline]\n"),
            ("/sys/block/sda/sda1/partition", "1\n"),
            ("/sys/block/sda/sda1/start", "2048\n"),
            ("/sys/block/sda/sda1/size", "2097152\n"),
        ]);
        root.link("/dev/disk/by-uuid/1234-ABCD", "../../sda1");
        let fact = disk("sda", &DiskLinks::read());
        assert_eq!(
            (fact["size"].as_str(), fact["scheduler_mode"].as_str()),
            (Some("10.00 GB"), Some("mq-deadline"))
        );
        assert_eq!(fact["partitions"]["sda1"]["uuid"], "1234-ABCD");
        assert_eq!(fact["partitions"]["sda1"]["size"], "1.00 GB");
    }
}
