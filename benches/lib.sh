# What the measuring scripts share. Sourced by them after `set -euo pipefail`, in the clone's root.
source scripts/lib.sh

program=${DCOS_PLAY:-$PWD/dcos-play}
[[ -x $program ]] || die "no $program: make build, or name the program to measure in DCOS_PLAY"

# Where the benches' own labs lie: the first three numbers of a network that nothing else on this machine uses.
network=${BENCH_NETWORK:-10.79.0}

# Milliseconds since the epoch, without starting a program.
now_ms() {
    local now=${EPOCHREALTIME/[.,]/}
    printf '%s' "${now:0:-3}"
}

# timed FILE COMMAND..: runs it quietly and adds its wall time in milliseconds to FILE; its output is shown if it fails.
timed() {
    local file=$1 log begin status=0
    shift
    log=$(mktemp)
    begin=$(now_ms)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    echo $(($(now_ms) - begin)) >>"$file"
    if ((status)); then
        cat "$log" >&2
        die "exit status $status from: $*"
    fi
    rm -f "$log"
}

# The median of the numbers in a file.
median() {
    sort -n "$1" | awk '{ n[NR] = $1 } END { print NR % 2 ? n[(NR + 1) / 2] : (n[NR / 2] + n[NR / 2 + 1]) / 2 }'
}

# The smallest and the largest of them.
spread() { sort -n "$1" | awk 'NR == 1 { low = $1 } { high = $1 } END { print low " to " high }'; }

row() { printf '  %-46s %8s ms   (%s)\n' "$1" "$(median "$2")" "$(spread "$2")"; }

# verdict WHAT VALUE LIMIT: says whether a number is within its limit and remembers a miss in `missed`.
missed=0
verdict() {
    local word=ok
    if awk -v v="$2" -v l="$3" 'BEGIN { exit !(v > l) }'; then
        word="TOO MUCH"
        missed=1
    fi
    printf '  %-46s %8s      limit %s: %s\n' "$1" "$2" "$3" "$word"
}

# Ends the ssh masters that a run left for the next one. XDG_RUNTIME_DIR is the bench's own, so all of them are ours.
close_connections() {
    local socket
    for socket in "$XDG_RUNTIME_DIR"/dcos-play/*; do
        [[ -S $socket ]] || continue
        ssh -F none -o ControlPath="$socket" -O exit any >/dev/null 2>&1 || true
    done
}
