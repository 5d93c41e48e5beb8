//! Processors, from `/proc/cpuinfo`.
//!
//! Owns: the `processor*` and `flags` facts. Must not: ask anything but that file and the affinity mask.

use serde_json::{Value, json};

use super::Facts;
use crate::system;

#[derive(Default)]
struct CpuInfo {
    listed: Vec<String>,
    flags: Vec<String>,
    /// Blocks that count as processors, by key seen, for machines without `physical id`.
    models: u64,
    processors: u64,
    vendors: u64,
    /// `physical id` -> `cpu cores`
    sockets: Vec<(String, u64)>,
    /// `core id` -> `siblings`
    cores: Vec<(String, u64)>,
}

fn set(pairs: &mut Vec<(String, u64)>, key: &str, value: u64) {
    match pairs.iter_mut().find(|(k, _)| k == key) {
        Some(pair) => pair.1 = value,
        None => pairs.push((key.to_owned(), value)),
    }
}

fn parse(text: &str) -> CpuInfo {
    let mut info = CpuInfo::default();
    let (mut physical, mut core) = (String::new(), String::new());
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "flags" | "Features" if info.flags.is_empty() => {
                info.flags = value.split_whitespace().map(str::to_owned).collect();
            }
            "model name" | "Processor" | "vendor_id" | "cpu" | "Vendor" | "processor" => {
                info.listed.push(value.to_owned());
                match key {
                    "vendor_id" => info.vendors += 1,
                    "model name" => info.models += 1,
                    "processor" => info.processors += 1,
                    _ => {}
                }
            }
            "physical id" => physical = value.to_owned(),
            "core id" => core = value.to_owned(),
            "cpu cores" => set(&mut info.sockets, &physical, value.parse().unwrap_or(1)),
            "siblings" => {
                // `siblings` stands before `core id` in each block: the value belongs to the core seen last,
                // and every block of one package says the same number.
                set(&mut info.cores, &core, value.parse().unwrap_or(1));
            }
            _ => {}
        }
    }
    info
}

pub(super) fn gather(facts: &mut Facts) {
    let text = system::text("/proc/cpuinfo").unwrap_or_default();
    let allowed = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    for (name, value) in facts_of(&parse(&text), affinity().unwrap_or(allowed)) {
        facts.put(name, value);
    }
}

/// Processors this process may run on: what `nproc` says.
fn affinity() -> Option<u64> {
    let status = system::text("/proc/self/status")?;
    let mask = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed:"))?;
    Some(mask.chars().filter_map(|c| c.to_digit(16)).map(|d| u64::from(d.count_ones())).sum())
}

fn facts_of(info: &CpuInfo, nproc: u64) -> Vec<(&'static str, Value)> {
    // ARM lists only `processor` lines, x86 has a vendor and a model for each.
    let blocks =
        if info.vendors > 0 { info.vendors.max(info.models) } else { info.models.max(info.processors) };
    let count = if info.sockets.is_empty() { blocks } else { info.sockets.len() as u64 };
    let cores = info.sockets.first().map_or(1, |s| s.1.max(1));
    let threads = info.cores.first().map_or(1, |c| (c.1 / cores).max(1));
    vec![
        ("processor", json!(info.listed)),
        ("flags", json!(info.flags)),
        ("processor_count", json!(count)),
        ("processor_cores", json!(cores)),
        ("processor_threads_per_core", json!(threads)),
        ("processor_vcpus", json!(count * cores * threads)),
        ("processor_nproc", json!(nproc)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Value> {
        facts_of(&parse(text), 4).into_iter().skip(2).map(|(_, v)| v).collect()
    }

    #[test]
    fn sockets_cores_and_threads_multiply_to_vcpus() {
        let block = |n: u32, socket: u32, core: u32| {
            format!(
                "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Chip\nphysical id\t: {socket}\nsiblings\t: 4\ncore id\t: {core}\ncpu cores\t: 2\n\n"
            )
        };
        let text: String = (0..8).map(|n| block(n, n / 4, n % 2)).collect();
        assert_eq!(of(&text), [json!(2), json!(2), json!(2), json!(8), json!(4)]);
        assert_eq!(parse(&text).listed[..3], ["0", "GenuineIntel", "Chip"]);
    }

    #[test]
    fn arm_counts_processor_lines() {
        let text = "processor\t: 0\nFeatures\t: fp asimd\n\nprocessor\t: 1\nFeatures\t: fp asimd\n";
        assert_eq!(of(text), [json!(2), json!(1), json!(1), json!(2), json!(4)]);
        assert_eq!(parse(text).flags, ["fp", "asimd"]);
    }
}
