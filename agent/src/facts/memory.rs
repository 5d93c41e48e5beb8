//! Memory and swap, from `/proc/meminfo`.
//!
//! Owns: the `mem*`, `swap*` and `memory_mb` facts, in MiB rounded down.

use serde_json::{Value, json};

use super::Facts;
use crate::system;

pub(super) fn gather(facts: &mut Facts) {
    let text = system::text("/proc/meminfo").unwrap_or_default();
    for (name, value) in facts_of(&text) {
        facts.put(name, value);
    }
}

fn facts_of(text: &str) -> Vec<(&'static str, Value)> {
    let megabytes = |key: &str| -> i64 {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok())
            .unwrap_or(0)
            / 1024
    };
    let (total, free) = (megabytes("MemTotal"), megabytes("MemFree"));
    let no_cache = free + megabytes("Cached") + megabytes("Buffers");
    let (swap_total, swap_free) = (megabytes("SwapTotal"), megabytes("SwapFree"));
    vec![
        ("memtotal_mb", json!(total)),
        ("memfree_mb", json!(free)),
        ("swaptotal_mb", json!(swap_total)),
        ("swapfree_mb", json!(swap_free)),
        (
            "memory_mb",
            json!({
                "real": {"total": total, "used": total - free, "free": free},
                "nocache": {"free": no_cache, "used": total - no_cache},
                "swap": {"total": swap_total, "free": swap_free, "used": swap_total - swap_free, "cached": megabytes("SwapCached")},
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kibibytes_become_mebibytes_and_caches_count_as_free() {
        let text = "MemTotal: 4096 kB\nMemFree: 1024 kB\nBuffers: 1024 kB\nCached: 1500 kB\nSwapTotal: 2048 kB\nSwapFree: 2048 kB\nSwapCached: 0 kB\n";
        let facts = facts_of(text);
        assert_eq!(facts[0].1, json!(4));
        assert_eq!(facts[4].1["nocache"], json!({"free": 3, "used": 1}));
        assert_eq!(facts[4].1["swap"]["used"], json!(0));
    }
}
