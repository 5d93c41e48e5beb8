//! Builds the agent for hosts and tells who depends on this crate where it lies.
//!
//! Owns: the nested build of `agent/`. Must not: build anything else, touch the outer build's target folder, or have
//! dependencies, which would keep it waiting.
//!
//! The agent is linked statically so that it runs on any x86-64 Linux: against musl when that target is installed for
//! the toolchain, else against the static glibc. `DCOS_PLAY_AGENT` names a prebuilt agent to take instead.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";
/// Path of an agent that was built elsewhere.
const PREBUILT: &str = "DCOS_PLAY_AGENT";

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "../Cargo.toml", "../src", "../link.ld", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let binary = match env::var_os(PREBUILT).filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => build(&out)?,
    };
    println!("cargo::metadata=path={}", binary.display());
    Ok(())
}

/// Runs the nested build and gives the binary's path.
fn build(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let agent = here.parent().ok_or("the agent's folder is above this one")?;
    let target_dir = shared_target_dir(out);
    let musl = has_musl();
    let target = if musl { MUSL } else { GNU };
    // Nobody reads unwind tables in a program that aborts on panic, and a fixed address saves the table of relocations:
    // together a quarter of the agent's size.
    let mut rustflags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Cforce-unwind-tables=no".to_owned(),
        "-Crelocation-model=static".to_owned(),
    ];
    if musl {
        rustflags.push(format!("-Clink-arg=-Wl,-T,{}", agent.join("link.ld").display()));
    }
    let rustflags = rustflags.join("\u{1f}");
    if !musl {
        println!(
            "cargo::warning=the agent is linked against glibc: `rustup target add {MUSL}` makes it smaller and free of it"
        );
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What the outer build tells its build scripts and compilers must not leak into the inner one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let outer = text.starts_with("CARGO_FEATURE_")
            || text.starts_with("CARGO_CFG_")
            || text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_PROFILE_")
            || matches!(
                &*text,
                "RUSTC_WORKSPACE_WRAPPER"
                    | "CLIPPY_ARGS"
                    | "RUSTFLAGS"
                    | "CARGO_MAKEFLAGS"
                    | "MAKEFLAGS"
                    | "MFLAGS"
                    | "TARGET"
                    | "HOST"
                    | "PROFILE"
                    | "OPT_LEVEL"
                    | "DEBUG"
                    | "NUM_JOBS"
                    | "CARGO_BUILD_TARGET"
            );
        if outer {
            cargo.env_remove(&name);
        }
    }
    cargo
        .current_dir(agent)
        .args([
            "rustc",
            "--package",
            "dcos-play-agent",
            "--bin",
            "dcos-play-agent",
            "--profile",
            "agent",
            "--target",
            target,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        // Sequences that occur often become functions; the last step sees the code of all crates.
        .args(["--", "-Cllvm-args=-enable-machine-outliner=always"])
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags);
    if musl && let Some((compiler, flags)) = musl_compiler() {
        cargo.env("CC_x86_64_unknown_linux_musl", compiler).env("CFLAGS_x86_64_unknown_linux_musl", flags);
    }
    let output = cargo.output().map_err(|e| format!("cannot run cargo for the agent: {e}"))?;
    if !output.status.success() {
        return Err(format!("the agent does not build:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(target_dir.join(target).join("agent").join("dcos-play-agent"))
}

/// A folder beside the outer profiles, so that `check`, `build` and `test` share one agent. It can't be the outer
/// target folder itself: the outer cargo holds its lock.
fn shared_target_dir(out: &Path) -> PathBuf {
    // <target>/[<triple>/]<profile>/build/<package>-<hash>/out
    match out.ancestors().nth(4) {
        Some(target) if out.ancestors().nth(2).is_some_and(|p| p.ends_with("build")) => {
            target.join("agent-build")
        }
        _ => out.join("agent-build"),
    }
}

fn has_musl() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libdir = Command::new(rustc).args(["--print", "target-libdir", "--target", MUSL]).output();
    libdir.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && fs::read_dir(path).is_ok_and(|mut files| files.next().is_some())
    })
}

/// The C compiler for the crypto library's few C files. They need no C library to link against, only its headers,
/// and the host's do.
fn musl_compiler() -> Option<(&'static str, &'static str)> {
    if env::var_os("CC_x86_64_unknown_linux_musl").is_some() {
        return None;
    }
    let works =
        |compiler: &str| Command::new(compiler).arg("--version").output().is_ok_and(|o| o.status.success());
    if works("musl-gcc") {
        Some(("musl-gcc", ""))
    } else {
        // Fortified calls and stack protector helpers exist in glibc only.
        works("cc").then_some(("cc", "-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0 -fno-stack-protector"))
    }
}
