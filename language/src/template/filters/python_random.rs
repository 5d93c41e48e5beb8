//! The numbers that Python's `random.Random(seed)` gives.
//!
//! Owns: the Mersenne Twister (MT19937, as its authors published it) and Python's ways of seeding it and drawing from it, so that a playbook's
//! seeded choices (the minute of a cron job, say) are the same as under Ansible. Must not: make secrets.

use sha2::Digest as _;

const WORDS: usize = 624;
const SHIFT: usize = 397;

/// What a generator is seeded with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::template) enum Seed {
    Int(i128),
    Text(String),
}

/// A seeded generator.
pub(in crate::template) struct PythonRandom {
    state: [u32; WORDS],
    next: usize,
}

impl PythonRandom {
    pub(in crate::template) fn new(seed: &Seed) -> Self {
        let key: Vec<u32> = match seed {
            Seed::Int(number) => words(&number.unsigned_abs().to_be_bytes()),
            // Python takes text and its SHA-512 together as one number.
            Seed::Text(text) => {
                let digest = sha2::Sha512::digest(text.as_bytes());
                words(&[text.as_bytes(), digest.as_slice()].concat())
            }
        };
        let mut random = Self { state: [0; WORDS], next: WORDS };
        random.begin(19_650_218);
        random.mix_in(&key);
        random
    }

    fn begin(&mut self, seed: u32) {
        self.state[0] = seed;
        for i in 1..WORDS {
            let before = self.state[i - 1];
            self.state[i] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(i as u32);
        }
    }

    fn mix_in(&mut self, key: &[u32]) {
        let (mut i, mut j) = (1, 0);
        let step = |i: &mut usize, state: &mut [u32; WORDS]| {
            *i += 1;
            if *i >= WORDS {
                state[0] = state[WORDS - 1];
                *i = 1;
            }
        };
        for _ in 0..WORDS.max(key.len()) {
            let before = self.state[i - 1];
            self.state[i] = (self.state[i] ^ (before ^ (before >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            step(&mut i, &mut self.state);
            j = (j + 1) % key.len();
        }
        for _ in 1..WORDS {
            let before = self.state[i - 1];
            self.state[i] = (self.state[i] ^ (before ^ (before >> 30)).wrapping_mul(1_566_083_941))
                .wrapping_sub(i as u32);
            step(&mut i, &mut self.state);
        }
        self.state[0] = 0x8000_0000;
    }

    fn word(&mut self) -> u32 {
        if self.next >= WORDS {
            for i in 0..WORDS {
                let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + SHIFT) % WORDS] ^ (joined >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn bits(&mut self, count: u32) -> u64 {
        match count {
            0 => 0,
            1..=32 => u64::from(self.word() >> (32 - count)),
            _ => {
                let low = u64::from(self.word());
                low | (u64::from(self.word() >> (64 - count.min(64))) << 32)
            }
        }
    }

    /// A number below `limit`; 0 when there is none.
    pub(in crate::template) fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 {
            return 0;
        }
        let count = u64::BITS - limit.leading_zeros();
        loop {
            let drawn = self.bits(count);
            if drawn < limit {
                return drawn;
            }
        }
    }
}

/// A number of any length as 32-bit words, lowest first; zero is one word.
fn words(big_endian: &[u8]) -> Vec<u32> {
    let mut words: Vec<u32> = big_endian
        .rchunks(4)
        .map(|chunk| chunk.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte)))
        .collect();
    while words.len() > 1 && words.last() == Some(&0) {
        words.pop();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that CPython 3.11 gives.
    #[test]
    fn draws_are_pythons() {
        let draws = |seed: Seed, limit: u64| {
            let mut random = PythonRandom::new(&seed);
            (0..4).map(|_| random.below(limit)).collect::<Vec<_>>()
        };
        assert_eq!(draws(Seed::Text("x".into()), 100), [80, 40, 76, 76]);
        assert_eq!(draws(Seed::Text("web1.example.com".into()), 60), [31, 34, 35, 43]);
        assert_eq!(draws(Seed::Int(42), 1000), [654, 114, 25, 759]);
        assert_eq!(
            draws(Seed::Int(-7), 1 << 40),
            [868_231_286_071, 105_874_957_392, 208_460_025_899, 470_330_855_157]
        );
        assert_eq!(draws(Seed::Int(0), 10), [6, 6, 0, 4]);
    }
}
