#!/bin/bash
# Assembles what the lab's HTTP server serves: build.sh OUTDIR
#   OUTDIR/dcos/stable/<version>/dcos_generate_config.sh (+ .sha256) for every emulated version
#   OUTDIR/debian/ a flat apt repository with the docker shim
#   OUTDIR/object-store.py a store for Exhibitor's shared server list, run where a test wants one
#   OUTDIR/load-balancer.py what stands in front of masters that find each other through that list
# Does nothing when OUTDIR was built from the same sources. Needs bash, python3, dpkg-deb, gzip and sha256sum.
set -euo pipefail
export LC_ALL=C SOURCE_DATE_EPOCH=1577836800
umask 022

(( $# == 1 )) || { echo "usage: build.sh OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
standin=$here/../standin
target=$1

stamp=$(cd "$here/.." && find www standin/src standin/assemble.py standin/wrapper.sh -type f \
    ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
if [[ -f "$target/.stamp" && "$(<"$target/.stamp")" == "$stamp" ]]; then
    exit 0
fi

mkdir -p "$(dirname "$target")"
out=$(mktemp -d "$target.XXXXXX")
work=$(mktemp -d)
trap 'rm -rf "$work" "$out"' EXIT
chmod 755 "$out"

source "$here/debian.sh"

for version in $(python3 "$standin/assemble.py" --versions); do
    folder=$out/dcos/stable/$version
    mkdir -p "$folder"
    python3 "$standin/assemble.py" "$version" "$folder/dcos_generate_config.sh"
    (cd "$folder" && sha256sum dcos_generate_config.sh >dcos_generate_config.sh.sha256)
done
build_repository
install -m 755 "$here/object-store.py" "$here/load-balancer.py" "$out/"
echo "$stamp" >"$out/.stamp"

# A server may be reading the old tree: it goes away only after the new one is in place.
mkdir -p "$target"
old=$(mktemp -d "$target.XXXXXX")
for name in dcos debian object-store.py load-balancer.py .stamp; do
    [[ ! -e "$target/$name" ]] || mv "$target/$name" "$old/"
    mv "$out/$name" "$target/"
done
rm -rf "$old"
