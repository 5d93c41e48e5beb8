//! A fast hash for names of variables and paths of tasks.
//!
//! Every step asks for some twenty connection variables on some ten levels, so hashing is a good part of its cost. The
//! names come from the user's own files and modules: nobody gains by making them collide.

use std::hash::{BuildHasherDefault, Hasher};

/// For maps by name.
pub type ByName = BuildHasherDefault<NameHasher>;

/// Multiplies and rotates eight bytes at a time.
#[derive(Debug, Default, Clone, Copy)]
pub struct NameHasher(u64);

/// An odd number with well mixed bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl NameHasher {
    fn take(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.take(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.take(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, byte: u8) {
        self.take(u64::from(byte));
    }

    fn write_usize(&mut self, number: usize) {
        self.take(number as u64);
    }

    fn finish(&self) -> u64 {
        // The maps look at the upper and the lower bits.
        self.0 ^ (self.0 >> 29)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn names_that_look_alike_spread() {
        let build = ByName::default();
        let names: Vec<String> = (0..20_000)
            .flat_map(|n| {
                [format!("ansible_{n}"), format!("{n}"), format!("roles/a/tasks/main.yml/Step {n}#1")]
            })
            .collect();
        let hashes: Vec<u64> = names.iter().map(|n| build.hash_one(n.as_str())).collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), names.len(), "no two are equal");
        for (what, bits) in [("low", 0), ("high", 57)] {
            let mut buckets = [0_usize; 128];
            for hash in &hashes {
                buckets[(hash >> bits) as usize % 128] += 1;
            }
            let fair = names.len() / 128;
            assert!(buckets.iter().all(|b| *b < fair * 2 && *b > fair / 2), "{what} bits: {buckets:?}");
        }
    }

    #[test]
    fn a_text_and_its_parts_differ() {
        let build = ByName::default();
        let hash = |text: &str| build.hash_one(text);
        assert_ne!(hash("a"), hash("a\0"));
        assert_ne!(hash("12345678"), hash("12345678\0"));
        assert_ne!(hash(""), hash("\0"));
    }
}
