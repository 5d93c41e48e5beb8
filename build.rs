//! Tells the linker to fold functions whose code is the same: a profile that builds fast leaves thousands of them, two
//! megabytes of the controller.
//!
//! Owns: how the controller is linked. Must not: generate code, or need anything but the compiler.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if links_with_lld() {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

/// Whether the linker is the LLD that comes with Rust, which no other linker's `--icf` is like. It is the default for this one
/// target since 1.90 (<https://blog.rust-lang.org/2025/09/01/rust-lld-on-1.90.0-stable/>); who passes flags of their own may
/// have chosen another.
fn links_with_lld() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    is("TARGET", "x86_64-unknown-linux-gnu")
        && is("HOST", "x86_64-unknown-linux-gnu")
        && is("CARGO_ENCODED_RUSTFLAGS", "")
        && env::var_os("RUSTC_LINKER").is_none()
}
