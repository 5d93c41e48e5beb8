# Builds the flat apt repository of stand-in packages. Sourced by build.sh, which sets `here`, `work` and `out`.

DOCKER_VERSION=5:19.03.5~3-0~debian
CONTAINERD_VERSION=1.2.10-3

# Wraps the tree $work/$1 into $out/debian with the control fields on stdin, and adds its stanza to Packages.
make_package() {
    local name=$1 version=$2 root=$work/$1 file
    file=${name}_${version#*:}_all.deb
    mkdir -p "$root/DEBIAN"
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nSection: admin\nPriority: optional\n' "$name" "$version"
        printf 'Maintainer: dcos-play lab <lab@localhost>\n'
        cat
    } >"$root/DEBIAN/control"
    find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zgzip --build "$root" "$out/debian/$file" >/dev/null
    {
        cat "$root/DEBIAN/control"
        printf 'Filename: ./%s\nSize: %s\n' "$file" "$(stat -c %s "$out/debian/$file")"
        printf 'MD5sum: %s\n' "$(md5sum <"$out/debian/$file" | cut -d' ' -f1)"
        printf 'SHA256: %s\n\n' "$(sha256sum <"$out/debian/$file" | cut -d' ' -f1)"
    } >>"$out/debian/Packages"
}

build_docker_ce() {
    local root=$work/docker-ce
    install -D -m 755 "$here/docker/dockerd" "$root/usr/bin/dockerd"
    install -D -m 644 "$here/docker/httpd.py" "$root/usr/lib/docker-standin/httpd.py"
    install -D -m 644 "$here/docker/docker.service" "$root/lib/systemd/system/docker.service"
    install -D -m 755 "$here/docker/postinst" "$root/DEBIAN/postinst"
    install -D -m 755 "$here/docker/prerm" "$root/DEBIAN/prerm"
    make_package docker-ce "$DOCKER_VERSION" <<TEXT
Depends: python3, systemd, docker-ce-cli (= $DOCKER_VERSION), containerd.io (>= 1.2.2-3)
Conflicts: docker.io, docker-engine
Description: docker shim for lab hosts
 Runs nginx containers as transient systemd units; a test fixture.
TEXT
}

build_docker_ce_cli() {
    install -D -m 755 "$here/docker/docker" "$work/docker-ce-cli/usr/bin/docker"
    make_package docker-ce-cli "$DOCKER_VERSION" <<TEXT
Depends: python3
Description: command line of the docker shim for lab hosts
TEXT
}

build_containerd() {
    local doc=$work/containerd.io/usr/share/doc/containerd.io
    mkdir -p "$doc"
    echo "Holds nothing: the docker shim of the lab needs no containerd." >"$doc/README"
    make_package containerd.io "$CONTAINERD_VERSION" <<TEXT
Description: empty companion of the docker shim for lab hosts
TEXT
}

build_repository() {
    mkdir -p "$out/debian"
    : >"$out/debian/Packages"
    build_docker_ce
    build_docker_ce_cli
    build_containerd
    gzip -9nc "$out/debian/Packages" >"$out/debian/Packages.gz"
    local file
    {
        printf 'Origin: dcos-play lab\nLabel: dcos-play lab\nSuite: lab\nArchitectures: all amd64\n'
        printf 'Date: %s\nSHA256:\n' "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
        for file in Packages Packages.gz; do
            printf ' %s %s %s\n' "$(sha256sum <"$out/debian/$file" | cut -d' ' -f1)" "$(stat -c %s "$out/debian/$file")" "$file"
        done
    } >"$out/debian/Release"
}
