#!/bin/bash
# Ends the demo's lab.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

[[ -x ./dcos-play ]] || die "./dcos-play isn't built: make build"
can_be_root || die "ending the lab's hosts needs root: run \`make lab-down\` as root"
as_root ./dcos-play lab down -i inventory/lab.yml
