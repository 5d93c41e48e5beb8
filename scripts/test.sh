#!/bin/bash
# Runs every suite, also after one failed, and prints the totals. With the argument `aws`: only the one against an emulator
# of AWS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

failed=()
summary=()

# Everything that needs the feature `aws`. It is its own build, since nobody else should wait for the AWS crates.
test_aws() {
    scripts/emulator.sh || summary+=("aws: the emulator is missing, its tests were skipped")
    local log
    log=$(mktemp)
    cargo test --features aws --no-fail-fast --test 'aws_*' 2>&1 | tee "$log" || failed+=(aws)
    cargo test --features aws --no-fail-fast --lib -- aws 2>&1 | tee -a "$log" || failed+=(aws)
    summary+=("aws: $(awk '/^test result:/ { passed += $4; bad += $6 } END { printf "%d passed, %d failed", passed, bad }' "$log")")
    rm -f "$log"
}

finish() {
    say ""
    printf '%s\n' "${summary[@]}"
    if ((${#failed[@]})); then
        die "failed: ${failed[*]}"
    fi
}

if [[ ${1:-} == aws ]]; then
    test_aws
    finish
    exit 0
fi

# 1. The workspace. Tests on real hosts are in binaries called `lab_*` and boot their own labs.
obstacle=$(lab_obstacle)
if cargo nextest --version >/dev/null 2>&1; then
    selection=()
    if [[ -n $obstacle ]]; then
        selection=(-E 'not binary(/^lab_/)')
    fi
    cargo nextest run --workspace --no-fail-fast "${selection[@]}" || failed+=(workspace)
    summary+=("workspace: see nextest's summary above")
else
    say "note: cargo-nextest isn't installed, so \`cargo test\` runs the tests (slower; \`cargo install --locked cargo-nextest\`)"
    log=$(mktemp)
    plain=()
    for file in tests/*.rs agent/tests/*.rs; do
        name=$(basename "$file" .rs)
        [[ $name == lab_* || $name == aws_* ]] || plain+=(--test "$name")
    done
    cargo test --workspace --no-fail-fast --lib --bins "${plain[@]}" 2>&1 | tee "$log" || failed+=(workspace)
    if [[ -z $obstacle ]]; then
        # One at a time, as nextest does it by .config/nextest.toml: they share the machine's addresses and cores.
        cargo test --no-fail-fast --test 'lab_*' -- --test-threads=1 2>&1 | tee -a "$log" || failed+=(lab)
    fi
    summary+=("workspace: $(awk '/^test result:/ { passed += $4; bad += $6; left += $8 }
        END { printf "%d passed, %d failed, %d ignored", passed, bad, left }' "$log")")
    rm -f "$log"
fi
if [[ -n $obstacle ]]; then
    summary+=("lab: skipped, $obstacle")
fi

# 2. Examples in doc comments, which nextest doesn't run.
log=$(mktemp)
cargo test --workspace --doc 2>&1 | tee "$log" | grep -v '^$' || failed+=(docs)
summary+=("docs: $(awk '/^test result:/ { passed += $4; bad += $6 } END { printf "%d passed, %d failed", passed, bad }' "$log")")
rm -f "$log"

# 3. The stand-in for DC/OS, which is Python.
log=$(mktemp)
python3 -m unittest discover lab/standin/tests 2>&1 | tee "$log" | tail -n 4 || failed+=(stand-in)
ran=$(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} in .*/\1/p' "$log")
bad=$(sed -n 's/^FAILED (\(.*\))/\1/p' "$log" | tr ',' '\n' | awk -F= '/failures|errors/ { n += $2 } END { print n + 0 }')
if [[ -z $ran || $bad -gt 0 ]]; then
    cat "$log" >&2
fi
summary+=("stand-in: $((${ran:-0} - bad)) passed, $bad failed")
rm -f "$log"

# 4. Every tenth playbook of the corpus beside Ansible itself; `make oracle` takes them all.
log=$(mktemp)
if python3 tests/oracle/run.py --prepare >"$log" 2>&1; then
    cargo build --locked --quiet --bin dcos-play
    python3 tests/oracle/run.py --bin "${CARGO_TARGET_DIR:-target}/debug/dcos-play" --every 10 2>&1 | tee "$log" || failed+=(oracle)
    summary+=("beside Ansible: $(tail -n 1 "$log")")
    python3 tests/oracle/generated.py --bin "${CARGO_TARGET_DIR:-target}/debug/dcos-play" -n 300 2>&1 | tee "$log" || failed+=(oracle-generated)
    summary+=("beside Ansible: $(tail -n 1 "$log")")
    python3 tests/oracle/facts.py --bin "${CARGO_TARGET_DIR:-target}/debug/dcos-play" 2>&1 | tee "$log" || failed+=(oracle-facts)
    summary+=("beside Ansible: $(tail -n 1 "$log")")
else
    tail -n 5 "$log" >&2
    summary+=("beside Ansible: skipped, ansible-core can't be installed")
fi
rm -f "$log"

# 5. AWS.
test_aws

finish
