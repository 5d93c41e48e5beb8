#!/bin/bash
# Format, lints, docs and generated files: what `.ci/run` checks besides the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked --quiet
scripts/generate.sh --check
