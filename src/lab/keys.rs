//! The keys of a lab: one for the client, one for each host, made before the hosts boot.
//!
//! Because the lab makes the hosts' keys itself, its `known_hosts` is exact and host keys are checked like anywhere else.

use std::path::Path;

use super::dirs::LabDirs;
use super::error::LabError;
use super::spec::LabSpec;
use super::tools::{program, run};

/// Makes the keys that are missing and writes `known_hosts`.
pub(super) fn prepare(spec: &LabSpec, dirs: &LabDirs) -> Result<(), LabError> {
    make(&dirs.key(&spec.name), &format!("dcos-play lab {}", spec.name))?;
    fs_err::create_dir_all(dirs.lab(&spec.name).join("keys"))?;
    let mut known_hosts = String::new();
    for host in &spec.hosts {
        let key = host_key(dirs, &spec.name, &host.name);
        make(&key, &host.name)?;
        let public = fs_err::read_to_string(key.with_extension("pub"))?;
        known_hosts.push_str(&format!("{},{} {public}", host.name, host.address));
    }
    let path = dirs.known_hosts(&spec.name);
    if fs_err::read_to_string(&path).is_ok_and(|present| present == known_hosts) {
        return Ok(());
    }
    // Beside and renamed: an ssh that starts right now must not see half a file.
    let new = path.with_extension("new");
    fs_err::write(&new, known_hosts)?;
    fs_err::rename(new, path)?;
    Ok(())
}

/// The private key of a host; the public one is beside it with `.pub`.
pub(super) fn host_key(dirs: &LabDirs, lab: &str, host: &str) -> std::path::PathBuf {
    dirs.lab(lab).join("keys").join(host)
}

fn make(key: &Path, comment: &str) -> Result<(), LabError> {
    // The public half is written last, so its presence means that both are whole.
    if key.with_extension("pub").exists() {
        return Ok(());
    }
    match fs_err::remove_file(key) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    run(program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(key))?;
    Ok(())
}
