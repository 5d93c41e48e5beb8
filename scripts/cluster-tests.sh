#!/bin/bash
# Runs DC/OS through its life on a lab, one test after the other, and says which ran, how long each took, and which did not.
#   scripts/cluster-tests.sh [WORD]           those whose binary or name has WORD in it; all of them without
#   DCOS_PLAY_CLUSTER_MINUTES=30              starts none after so many minutes, and says how to run the rest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

word=${1:-}
minutes=${DCOS_PLAY_CLUSTER_MINUTES:-}
# No single test may take longer.
limit=20m
# What says most about the shipped playbooks comes first, in case time runs out.
suites=(lab_daytwo lab_dynamic lab_scenarios lab_moves lab_releases lab_docker)

obstacle=$(lab_obstacle)
if [[ -n $obstacle ]]; then
    say "cluster tests: skipped, $obstacle"
    exit 0
fi

export DCOS_PLAY_CLUSTER_TESTS=1
tests=()
for suite in "${suites[@]}"; do
    tests+=("--test" "$suite")
done
cargo test --locked --no-run "${tests[@]}"

binary=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug/dcos-play

ran=()
failed=()
skipped=()
SECONDS=0
for suite in "${suites[@]}"; do
    names=$(cargo test --locked --quiet --test "$suite" -- --list 2>/dev/null | sed -n 's/: test$//p')
    for name in $names; do
        [[ "$suite $name" == *"$word"* ]] || continue
        if [[ -n $minutes ]] && ((SECONDS >= minutes * 60)); then
            skipped+=("skipped for want of time: $name (make test-cluster ONLY=$name)")
            continue
        fi
        started=$SECONDS
        folder=$(mktemp -d /tmp/dcos-play.XXXX)
        if TMPDIR=$folder timeout --kill-after=10s "$limit" \
            cargo test --locked --quiet --test "$suite" -- --exact "$name" --nocapture </dev/null; then
            ran+=("passed in $((SECONDS - started)) s: $name")
        else
            failed+=("FAILED after $((SECONDS - started)) s: $name (make test-cluster ONLY=$name)")
        fi
        # A lab goes down with its test, but not with one that was killed.
        for file in "$folder"/*/lab.yml; do
            [[ -e $file ]] || continue
            (cd "$(dirname "$file")" && XDG_STATE_HOME=$PWD/state "$binary" lab -i lab.yml down) || true
        done
        rm -rf "$folder"
    done
done

say ""
say "cluster tests: ${#ran[@]} passed, ${#failed[@]} failed, ${#skipped[@]} skipped, $((SECONDS / 60)) minutes"
for line in "${ran[@]}" "${failed[@]}" "${skipped[@]}"; do
    say "  $line"
done
((${#failed[@]} == 0))
