#!/bin/bash
# DC/OS node installer, stand-in for lab hosts. Version @version@, configuration @config_id@.
set -u -o pipefail

version=@version@
bootstrap_id=@bootstrap_id@
repository_url=@repository_url@
knobs=/etc/mesosphere/standin.json
needs_nogroup=@needs_nogroup@
needs_ifconfig=@needs_ifconfig@
needs_docker_info=@needs_docker_info@
accepts_enforcing=@accepts_enforcing@
checks_xfs=@checks_xfs@
warns_about_raid=@warns_about_raid@

disable_preflight=0
preflight_only=0
block=1
roles=()
failures=0

usage() {
    cat <<TEXT
Usage: dcos_install.sh [<options>] <roles>

Options:
  -d, --disable-preflight   do not run the checks
  -p, --preflight-only      run the checks and stop
  --no-block-dcos-setup     do not wait for dcos-setup
  -h, --help                this text

Roles: master, slave, slave_public, minuteman
TEXT
    exit 1
}

# A flag or number of the lab's knob file; empty when unset.
knob() {
    [[ -r "$knobs" ]] || return 0
    local text
    text=$(tr -d '\n' <"$knobs")
    [[ "$text" =~ \"$1\":[[:space:]]*([a-z0-9]+) ]] && printf '%s' "${BASH_REMATCH[1]}"
}

while (( $# )); do
    case "$1" in
        -d | --disable-preflight) disable_preflight=1 ;;
        -p | --preflight-only) preflight_only=1 ;;
        --no-block-dcos-setup) block=0 ;;
        -h | --help) usage ;;
        -*) echo "Unknown option: $1" >&2; usage ;;
        *) roles+=("$1") ;;
    esac
    shift
done

if (( EUID != 0 )); then
    echo "dcos_install.sh must be run as root" >&2
    exit 1
fi
(( ${#roles[@]} )) || usage

# Prints the verdict of one check: status, what was checked, optional remark.
verdict() {
    if (( $1 == 0 )); then
        echo "Checking $2: PASS${3:+ ($3)}"
    else
        echo "Checking $2: FAIL${3:+ ($3)}"
        (( ++failures ))
    fi
}

version_at_least() { [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" == "$1" ]]; }

check_existing_install() {
    local wants=(/etc/systemd/system/dcos*.wants)
    if [[ -e /etc/systemd/system/dcos.target || -e "${wants[0]}" ]] \
        || [[ -d /opt/mesosphere && -n "$(ls -A /opt/mesosphere)" ]]; then
        verdict 1 "if DC/OS is already installed" "Currently installed"
        echo "This host carries DC/OS. Uninstall it before it is installed again; how is in the product documentation."
        exit 1
    fi
    verdict 0 "if DC/OS is already installed" "Not installed"
}

check_selinux() {
    command -v getenforce >/dev/null || { verdict 0 "if SELinux is in the right mode" "not present"; return; }
    local mode policy
    mode=$(getenforce)
    if [[ "$mode" == Enforcing ]]; then
        policy=$(sed -n 's/^SELINUXTYPE=//p' /etc/selinux/config 2>/dev/null)
        if (( accepts_enforcing )) && [[ "$policy" == targeted ]]; then
            verdict 0 "if SELinux is in the right mode" "enforcing, targeted"
        else
            verdict 1 "if SELinux is in the right mode" "enforcing"
        fi
    else
        verdict 0 "if SELinux is in the right mode" "${mode,,}"
    fi
}

check_tools() {
    local tool tools=(docker curl bash ping tar xz unzip ipset systemd-notify systemctl)
    (( needs_ifconfig )) && tools+=(ifconfig)
    for tool in "${tools[@]}"; do
        command -v "$tool" >/dev/null
        verdict $? "if $tool is on the path"
    done
    if (( needs_nogroup )); then
        getent group nogroup >/dev/null
        verdict $? "if group 'nogroup' exists"
    fi
}

check_docker() {
    command -v docker >/dev/null || return 0
    local found info driver answers
    found=$(docker --version 2>/dev/null | sed -n 's/^Docker version \([0-9.]*\).*/\1/p')
    [[ -n "$found" ]] && version_at_least 1.6 "$found"
    verdict $? "if docker is at least 1.6" "$found"
    info=$(docker info 2>/dev/null)
    answers=$?
    if (( needs_docker_info )); then verdict $answers "if the docker daemon answers"; fi
    driver=$(sed -n 's/^ *Storage Driver: *//p' <<<"$info")
    if [[ "$driver" == devicemapper && "$info" == *"Data loop file"* ]]; then
        verdict 1 "docker's storage driver" "devicemapper on a loop device is not usable"
        exit 1
    fi
    verdict 0 "docker's storage driver" "${driver:-unknown}"
}

check_systemd() {
    local found
    found=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    (( ${found:-0} >= 200 ))
    verdict $? "if systemd is at least 200" "${found:-none}"
}

check_ports() {
    local ports port hex used line format=%04x
    case " ${roles[*]} " in
        *" master "*) ports="53 80 443 1050 2181 5050 7070 8080 8101 8123 8181 9000 9990 15055 15101 15201 61053 61420" ;;
        *) ports="53 5051 15001 61001 61420" ;;
    esac
    # The real check compares lower-case hex with the kernel's upper-case one, so it misses most ports.
    [[ "$(knob fix_port_check)" == true ]] && format=%04X
    used=' '
    for line in tcp tcp6 udp udp6; do
        [[ -r "/proc/net/$line" ]] || continue
        while read -r _ local_address _; do used+="${local_address##*:} "; done <"/proc/net/$line"
    done
    for port in $ports; do
        printf -v hex "$format" "$port"
        [[ "$used" != *" $hex "* ]]
        verdict $? "if port $port is free"
    done
}

check_xfs() {
    local path=/var/lib/mesos
    [[ " ${roles[*]} " == *" slave"* ]] || return 0
    while [[ ! -d "$path" ]]; do path=${path%/*}; path=${path:-/}; done
    [[ "$(stat -f -c %T "$path")" == xfs ]] || return 0
    ! xfs_info "$path" 2>/dev/null | grep -q 'ftype=0'
    verdict $? "if the XFS below $path has ftype=1"
}

check_roles() {
    local role
    for role in "${roles[@]}"; do
        [[ "$role" =~ ^(master|slave|slave_public|minuteman)$ ]]
        verdict $? "if role $role is known"
    done
}

preflight() {
    echo "Running preflight checks"
    check_existing_install
    check_selinux
    check_systemd
    check_tools
    check_docker
    check_ports
    (( checks_xfs )) && check_xfs
    check_roles
    if (( warns_about_raid )); then
        local module
        for module in raid1 dm_raid; do
            grep -qs "^$module " /proc/modules || echo "Checking if kernel module $module is loaded: WARNING (not loaded)"
        done
    fi
    if (( failures )); then
        echo "$failures preflight checks failed" >&2
    fi
    return 0
}

write_files() {
    mkdir -p /etc/mesosphere/roles /etc/mesosphere/setup-flags /etc/systemd/journald.conf.d /etc/rexray
    local role
    for role in "${roles[@]}"; do : >>"/etc/mesosphere/roles/$role"; done
    printf '%s\n' "$repository_url" >/etc/mesosphere/setup-flags/repository-url
@package_flags@
    cat /proc/sys/kernel/random/uuid >/etc/mesosphere/setup-flags/standin-install-id
    printf '[Journal]\nMaxLevelConsole=warning\nRateLimitInterval=1s\nRateLimitBurst=10000\n' \
        >/etc/systemd/journald.conf.d/dcos.conf
    cat >/etc/rexray/config.yml <<'TEXT'
@rexray_config@
TEXT
@docker_credentials@
}

write_units() {
    local archive=/run/dcos-bootstrap.tar.xz
    cat >/etc/systemd/system/dcos-link-env.service <<'TEXT'
[Unit]
Description=DC/OS environment for login shells
Before=dcos-setup.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ln -sf /opt/mesosphere/bin/add_dcos_path.sh /etc/profile.d/dcos.sh
TEXT
    cat >/etc/systemd/system/dcos-download.service <<TEXT
[Unit]
Description=download of the DC/OS bootstrap tree
After=network-online.target
Wants=network-online.target
ConditionPathExists=!@skip_download_when@
[Service]
Type=oneshot
StandardOutput=journal
StandardError=journal
ExecStartPre=/bin/mkdir -p /opt/mesosphere
ExecStart=/bin/bash -c 'if command -v curl; then \\
  curl -fLsS --retry 20 --retry-connrefused --retry-delay 1 -o $archive $repository_url/bootstrap/$bootstrap_id.bootstrap.tar.xz; \\
  else python3 -c "import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])" \\
  $repository_url/bootstrap/$bootstrap_id.bootstrap.tar.xz $archive; fi'
ExecStart=/bin/tar -xJf $archive -C /opt/mesosphere
ExecStart=/bin/rm $archive
TEXT
    cat >/etc/systemd/system/dcos-setup.service <<'TEXT'
[Unit]
Description=DC/OS setup by pkgpanda
Requires=dcos-download.service
After=dcos-download.service dcos-link-env.service
ConditionPathExists=/opt/mesosphere/bootstrap
[Service]
Type=oneshot
StandardOutput=journal
StandardError=journal
ExecStart=/opt/mesosphere/bin/pkgpanda setup --no-block-systemd
[Install]
WantedBy=multi-user.target
TEXT
}

must() { "$@" || { echo "failed: $*" >&2; exit 1; }; }

if (( ! disable_preflight )); then
    preflight
    if (( failures || preflight_only )); then exit $(( failures % 256 )); fi
elif (( preflight_only )); then
    exit 0
fi

injected=$(knob install_exit)
if [[ -n "$injected" ]]; then
    echo "injected failure" >&2
    exit "$injected"
fi

echo "Starting DC/OS $version install: ${roles[*]}"
write_files
write_units
must systemctl daemon-reload
must systemctl restart systemd-journald
must systemctl restart docker
must systemctl start dcos-link-env
must systemctl --quiet enable dcos-setup
if (( block )); then must systemctl start dcos-setup; else must systemctl start --no-block dcos-setup; fi
echo "DC/OS units were started"
