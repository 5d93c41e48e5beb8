# What the scripts share. Sourced, never run; the caller has set `-euo pipefail` and stands in the clone's root.

say() { printf '%s\n' "$*"; }

# Ends the script with a message for a person.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [[ $(id -u) -eq 0 ]]; }

# Whether `as_root` can work: as root, or by sudo that needs no password or has somebody to ask.
can_be_root() {
    is_root || { have sudo && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; }
}

as_root() {
    if is_root; then "$@"; else sudo -- "$@"; fi
}

# Why this machine can't run lab hosts; empty when it can.
lab_obstacle() {
    if ! is_root; then
        say "not root"
    elif [[ ! -d /sys/fs/cgroup ]]; then
        say "no cgroups"
    elif ! PATH=$PATH:/usr/sbin:/sbin have systemd-nspawn; then
        say "no systemd-nspawn"
    elif ! PATH=$PATH:/usr/sbin:/sbin have debootstrap; then
        say "no debootstrap"
    elif ! unshare --mount true 2>/dev/null; then
        say "no mount namespaces (a container without privileges?)"
    fi
}
