#!/bin/bash
# Installs the emulator of AWS that tests use: a Python environment with moto in the user's cache folder. Says nothing
# when it is there. What it needs from the system is Python with `venv`; nothing is installed outside of its folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

# Tests compare what this version answers.
moto="moto[server]==5.2.5"
folder=${DCOS_PLAY_EMULATOR:-${XDG_CACHE_HOME:-$HOME/.cache}/dcos-play/emulator}

if [[ -x $folder/bin/python && $(cat "$folder/installed" 2>/dev/null) == "$moto" ]]; then
    exit 0
fi
have python3 || die "no python3"
say "installing $moto into $folder"
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
log=$(mktemp)
if ! python3 -m venv "$folder" >"$log" 2>&1 || ! "$folder/bin/pip" --quiet --disable-pip-version-check install "$moto" >>"$log" 2>&1; then
    tail -n 5 "$log" >&2
    rm -rf "$folder" "$log"
    die "the emulator of AWS can't be installed (Debian: apt-get install python3-venv; moto comes from PyPI)"
fi
rm -f "$log"
printf '%s\n' "$moto" >"$folder/installed"
