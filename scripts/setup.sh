#!/bin/bash
# Installs what is missing for: build, lab, test, lint (any of them as arguments). Says nothing when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

# Programs of `sbin` count, too: users don't have it in their PATH.
there() { PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin have "$1"; }

declare -A wanted=()
# want PACKAGE PROGRAM..: the package, unless all its programs are there.
want() {
    local package=$1 program
    shift
    for program; do
        there "$program" || wanted[$package]=$program
    done
}

install_packages() {
    ((${#wanted[@]})) || return 0
    local packages=("${!wanted[@]}") log
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort)
    have apt-get || die "missing: ${wanted[*]}. This machine has no apt-get; install what Debian calls: ${packages[*]}"
    can_be_root || die "missing packages; as root: apt-get install ${packages[*]}"
    say "installing ${packages[*]}"
    log=$(mktemp)
    # The package lists may be old or not there at all, but mostly they do.
    if ! apt_install "$log" "${packages[@]}"; then
        as_root apt-get -qq -o DPkg::Lock::Timeout=300 update >>"$log" 2>&1 || true
        apt_install "$log" "${packages[@]}" || {
            tail -n 20 "$log" >&2
            die "apt-get cannot install ${packages[*]}; all it said is in $log"
        }
    fi
    rm -f "$log"
}

apt_install() {
    local log=$1
    shift
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@" >>"$log" 2>&1 </dev/null
}

# What the build needs besides packages.
check_rust() {
    have cargo || die "no cargo: install Rust from https://rustup.rs, then run this again"
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    if [[ $(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1) != "$needed" ]]; then
        die "Rust $found is too old, $needed is needed: rustup update stable"
    fi
}

# The agent for managed hosts is linked against musl, where rustup can bring it; build.rs knows another way.
add_musl() {
    local target=x86_64-unknown-linux-musl
    have rustup && [[ ! -d "$(rustc --print target-libdir --target "$target" 2>/dev/null)" ]] || return 0
    say "adding the Rust target $target"
    rustup --quiet target add "$target" || say "note: it could not be added, so the agent is linked against glibc"
}

add_component() {
    cargo "$1" --version >/dev/null 2>&1 && return 0
    have rustup || die "no \`cargo $1\`, and no rustup to add it"
    say "adding the Rust component $2"
    rustup --quiet component add "$2"
}

for part; do
    case $part in
        build)
            want gcc cc
            [[ -e /usr/include/stdio.h ]] || wanted[libc6-dev]="C headers"
            ;;
        lab)
            want systemd-container systemd-nspawn
            want debootstrap debootstrap
            want iproute2 ip bridge
            want openssh-client ssh ssh-keygen
            want util-linux unshare nsenter setsid
            # The stand-in for DC/OS that the lab's web server serves is put together by these.
            want python3 python3
            want dpkg dpkg-deb
            if have apt-get && [[ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
                wanted[debian-archive-keyring]="Debian's keys"
            fi
            ;;
        test)
            want python3 python3
            # A host whose userland is this alone is one of those that tests work on.
            want busybox-static busybox
            # AWS's emulator and Ansible, which tests compare with, live in environments of their own.
            python3 -c 'import ensurepip' 2>/dev/null || wanted[python3-venv]="Python's venv"
            ;;
        lint) ;;
        *) die "setup.sh knows build, lab, test and lint, not \`$part\`" ;;
    esac
done
install_packages
for part; do
    case $part in
        build)
            check_rust
            add_musl
            ;;
        lint)
            add_component fmt rustfmt
            add_component clippy clippy
            ;;
        *) ;;
    esac
done
