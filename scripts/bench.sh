#!/bin/bash
# Runs the measuring scripts in benches/, or those named as arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

(($#)) || set -- startup shell_script provision
missed=()
for bench; do
    [[ -x benches/$bench/run ]] || die "no bench \`$bench\`; there are: $(cd benches && printf '%s ' */run | sed 's#/run##g')"
    say "== $bench"
    "benches/$bench/run" || missed+=("$bench")
done
((${#missed[@]} == 0)) || die "over the limit or failed: ${missed[*]}"
