#!/bin/bash
# Fills a folder as build.sh does, and adds Debian's own Docker as a flat apt repository: build-docker.sh OUTDIR
#   OUTDIR/docker/ docker.io and what it needs beyond the lab's image
# For tests with a real daemon. Fetches with this machine's apt, so it wants the Debian that the lab's image has.
set -euo pipefail
export LC_ALL=C
umask 022

(( $# == 1 )) || { echo "usage: build-docker.sh OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$here/build.sh" "$1"
out=$1/docker
[[ ! -e "$out/Packages.gz" ]] || exit 0
rm -rf "$out"
work=$(mktemp -d "$1/.docker.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User=root docker.io containerd runc tini
for file in *.deb; do
    # A file's name may have what a URL may not.
    plain=${file//[^a-zA-Z0-9._-]/_}
    [[ "$plain" == "$file" ]] || mv "$file" "$plain"
    dpkg-deb --field "$plain"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$plain" "$(stat -c %s "$plain")" "$(sha256sum <"$plain" | cut -d' ' -f1)"
done >Packages
gzip -9nk Packages
{
    printf 'Origin: dcos-play lab\nLabel: dcos-play lab docker\nSuite: lab\nArchitectures: all amd64\nDate: %s\nSHA256:\n' "$(date -u -R)"
    for file in Packages Packages.gz; do
        printf ' %s %s %s\n' "$(sha256sum <"$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "$file"
    done
} >Release
chmod 755 .
mv "$work" "$out"
trap - EXIT
