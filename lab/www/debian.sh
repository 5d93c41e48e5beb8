# Builds the flat apt repository of stand-in packages. Sourced by build.sh, which sets `here`, `work` and `out`.

# What DC/OS 2.x, 1.13, 1.12 and 1.9 are installed with.
CE_VERSIONS="5:19.03.5~3-0~debian 5:18.09.2~3-0~debian"
ENGINE_VERSIONS="17.05.0~ce-0~debian 1.13.1-0~debian"
CONTAINERD_VERSION=1.2.6-3

# Wraps the tree $work/$1 into $out/debian with the control fields on stdin, and adds its stanza to Packages.
# The tree is removed: the next version starts afresh.
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
    rm -r "$root"
}

# The version `docker --version` shows for a package version.
shown_version() {
    local text=${1#*:}
    text=${text%%-*}
    case $text in
        17.05.0~ce) echo 17.05.0-ce ;;
        *) echo "${text%%~*}" ;;
    esac
}

install_daemon() {
    install -D -m 755 "$here/docker/dockerd" "$1/usr/bin/dockerd"
    install -D -m 644 "$here/docker/httpd.py" "$1/usr/lib/docker-standin/httpd.py"
    install -D -m 644 "$here/docker/docker.service" "$1/lib/systemd/system/docker.service"
    install -D -m 755 "$here/docker/postinst" "$1/DEBIAN/postinst"
    install -D -m 755 "$here/docker/prerm" "$1/DEBIAN/prerm"
}

install_client() {
    install -D -m 755 "$here/docker/docker" "$1/usr/bin/docker"
    install -D -m 644 "$here/docker/containers.py" "$1/usr/lib/docker-standin/containers.py"
    shown_version "$2" >"$1/usr/lib/docker-standin/version"
}

build_docker_ce() {
    install_daemon "$work/docker-ce"
    make_package docker-ce "$1" <<TEXT
Depends: python3, systemd, docker-ce-cli (= $1), containerd.io (>= 1.2.2-3)
Conflicts: docker.io, docker-engine
Description: docker shim for lab hosts
 Runs nginx containers as transient systemd units; a test fixture.
TEXT
    install_client "$work/docker-ce-cli" "$1"
    make_package docker-ce-cli "$1" <<TEXT
Depends: python3
Conflicts: docker-engine
Description: command line of the docker shim for lab hosts
TEXT
}

build_docker_engine() {
    install_daemon "$work/docker-engine"
    install_client "$work/docker-engine" "$1"
    make_package docker-engine "$1" <<TEXT
Depends: python3, systemd
Conflicts: docker.io, docker-ce, docker-ce-cli
Description: docker shim for lab hosts, under the name of older releases
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
    local version
    for version in $CE_VERSIONS; do build_docker_ce "$version"; done
    for version in $ENGINE_VERSIONS; do build_docker_engine "$version"; done
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
