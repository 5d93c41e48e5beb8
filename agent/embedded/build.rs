//! Puts the agent, compressed, where the library beside it includes it.
//!
//! Owns: its name and its compression. Must not: build it (`agent/binary`).

use std::env;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let binary = PathBuf::from(env::var("DEP_DCOS_PLAY_AGENT_BINARY_PATH")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", binary.display());
    let bytes =
        fs::read(&binary).map_err(|e| format!("cannot read the agent `{}`: {e}", binary.display()))?;
    let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&bytes)?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("agent.gz"), packed.finish()?)?;
    println!("cargo::rustc-env=DCOS_PLAY_AGENT_HASH={hash}");
    println!("cargo::rustc-env=DCOS_PLAY_AGENT_SIZE={}", bytes.len());
    Ok(())
}
