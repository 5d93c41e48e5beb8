//! The agent's binary. Placeholder until the build embeds it.

/// The agent as it travels.
pub struct Agent {
    /// SHA-256 of the binary, in hex.
    pub hash: &'static str,
    /// Size of the binary in bytes.
    pub size: usize,
    /// The binary, compressed.
    pub gzip: &'static [u8],
}

impl Agent {
    /// The binary.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// The agent of this build.
#[must_use]
pub fn agent() -> &'static Agent {
    static AGENT: Agent = Agent { hash: "", size: 0, gzip: &[] };
    &AGENT
}
