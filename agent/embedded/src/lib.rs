//! The agent that the controller carries to hosts.
//!
//! Owns: the embedded bytes and their name. Must not: talk to hosts.
//! Called by: the code that brings the agent up on a host.
//!
//! A crate of its own so that the agent is built (`agent/binary`) and packed beside the controller's dependencies rather
//! than after them, which is half a minute of a first build.

use std::io::{self, Read};

use flate2::read::GzDecoder;

/// The agent's binary.
#[derive(Debug)]
pub struct Agent {
    /// SHA-256 of the uncompressed binary in hexadecimal digits; names it on hosts.
    pub hash: &'static str,
    /// Size of the uncompressed binary in bytes.
    pub size: usize,
    /// The binary, compressed with gzip, which every host can unpack.
    pub gzip: &'static [u8],
}

impl Agent {
    /// Unpacks the binary.
    ///
    /// # Errors
    /// Only when this program's own file is damaged.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.size);
        GzDecoder::new(self.gzip).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

static AGENT: Agent = Agent {
    hash: env!("DCOS_PLAY_AGENT_HASH"),
    size: parse(env!("DCOS_PLAY_AGENT_SIZE")),
    gzip: include_bytes!(concat!(env!("OUT_DIR"), "/agent.gz")),
};

/// The agent for x86-64 Linux.
#[must_use]
pub fn agent() -> &'static Agent {
    &AGENT
}

const fn parse(digits: &str) -> usize {
    let digits = digits.as_bytes();
    let mut number = 0;
    let mut at = 0;
    while at < digits.len() {
        number = number * 10 + (digits[at] - b'0') as usize;
        at += 1;
    }
    number
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_agent_is_small() {
        assert!(agent().size < 4_000_000, "the agent travels to every host and has {} bytes", agent().size);
    }

    #[test]
    fn the_embedded_agent_is_the_one_its_hash_names() {
        let bytes = agent().bytes().expect("unpacks");
        assert_eq!(bytes.len(), agent().size);
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hash, agent().hash);
        assert!(bytes.starts_with(b"\x7fELF"));
    }
}
