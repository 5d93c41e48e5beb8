#!/bin/sh
# Builds the disk images of lab hosts. Usage: build.sh OUTDIR
#
# OUTDIR/bare      Debian 12 with systemd and sshd, without Python
# OUTDIR/standard  the overlay layer over `bare` that adds Python
#
# Both come out of one debootstrap. The packages are fetched beforehand by apt, which uses one connection for all of
# them; debootstrap alone asks for one file after the other and takes three times as long.
#
# The hosts have no way out of the lab, so everything a cluster's prerequisites would install from a distribution is
# in the image already, and apt in the hosts knows no sources.
set -eu
umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

out=$1
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages="systemd systemd-sysv dbus openssh-server sudo chrony locales ca-certificates
  iproute2 iptables iputils-ping ipset kmod procps hostname netbase net-tools less cron
  curl tar gzip bzip2 xz-utils unzip rsync jq"
# What debootstrap adds on its own; named so that apt fetches it together with the rest.
implied="apt lsb-base usr-is-merged"

if [ ! -e "$keyring" ]; then
  echo "no Debian keyring on this machine; install it with \`apt-get install debian-archive-keyring\`" >&2
  exit 1
fi

say() { printf '%s\n' "$*"; }

rm -rf "$out"
mkdir -p "$out/bare" "$out/work"
apt=$out/work/apt
debs=$out/work/debs
mkdir -p "$apt/lists/partial" "$debs/partial"

private_apt() {
  apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$apt/lists" -o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache= \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= -o DPkg::Post-Invoke= \
    -o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Debug::NoLocking=1 "$@"
}

# The mirror is the one this machine uses itself; on a machine that isn't Debian, debootstrap's own default. Other
# archives may have a suite of the same name, but they aren't signed by Debian.
candidates=${DCOS_PLAY_LAB_MIRROR:-}
if [ -z "$candidates" ] && grep -qx 'ID=debian' /etc/os-release; then
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  candidates=$(apt-get -o Dir::State::Lists="$apt/lists" update --print-uris |
    sed -n "s#^'\([^']*\)/dists/$codename/InRelease'.*#\1#p")
fi
say "fetching packages"
mirror=
for candidate in $candidates; do
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$candidate" "$suite" >"$apt/sources.list"
  if private_apt update; then
    mirror=$candidate
    break
  fi
done
if [ -n "$mirror" ]; then
  # shellcheck disable=SC2086  # lists of words
  private_apt -o Dir::State::status=/dev/null -o Dir::Cache::Archives="$debs" install -y --download-only \
    '?priority(required)' '?essential' $packages $implied python3
fi

say "installing Debian"
# No fsync while the image is made, and nothing that a host never reads.
mkdir -p "$out/bare/etc/dpkg/dpkg.cfg.d"
cat >"$out/bare/etc/dpkg/dpkg.cfg.d/lab" <<'END'
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
END
# shellcheck disable=SC2086
include=$(printf ',%s' $packages)
debootstrap --cache-dir="$debs" --keyring="$keyring" --variant=minbase --include="${include#,}" \
  "$suite" "$out/bare" ${mirror:+"$mirror"} >"$out/work/debootstrap.log" 2>&1 || {
  tail -n 20 "$out/work/debootstrap.log" >&2
  exit 1
}

say "setting up the image"
chroot "$out/bare" /bin/sh -eu <<'END'
echo 'en_US.UTF-8 UTF-8' >/etc/locale.gen
locale-gen >/dev/null
echo 'LANG=en_US.UTF-8' >/etc/default/locale

# Numbers are fixed, so that a file a test prepares outside belongs to the same user inside.
useradd --create-home --uid 1000 --shell /bin/bash ops
useradd --create-home --uid 1001 --shell /bin/bash opspw
echo 'opspw:lab-sudo-pw' | chpasswd
echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
echo 'opspw ALL=(ALL:ALL) ALL' >/etc/sudoers.d/opspw
chmod 0440 /etc/sudoers.d/ops /etc/sudoers.d/opspw

rm -f /etc/ssh/ssh_host_*
cat >/etc/ssh/sshd_config.d/lab.conf <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/lab_authorized_keys
PasswordAuthentication no
UseDNS no
GSSAPIAuthentication no
PrintLastLog no
# The post-quantum exchange costs 60 ms of CPU time a login, and this network never leaves the machine.
KexAlgorithms -sntrup*
CONF
# The message of the day runs scripts at every login.
sed -i -e '/pam_motd/d' -e '/pam_mail/d' /etc/pam.d/sshd
# A host that answers on port 22 lets everybody in, not only root.
mkdir -p /etc/systemd/system/ssh.service.d
printf '[Unit]\nAfter=systemd-user-sessions.service\n' >/etc/systemd/system/ssh.service.d/lab.conf

# A container may not set the clock, which it shares with the machine. chronyd still runs and says so.
mkdir -p /etc/systemd/system/chrony.service.d /etc/chrony/conf.d
printf '[Unit]\nConditionCapability=\n' >/etc/systemd/system/chrony.service.d/lab.conf
echo 'DAEMON_OPTS="-F 1 -x"' >/etc/default/chrony
sed -i '/^pool /d' /etc/chrony/chrony.conf
echo 'local stratum 8' >/etc/chrony/conf.d/lab.conf

mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\nForwardToSyslog=no\n' >/etc/systemd/journald.conf.d/lab.conf

# Of no use in a container, and each of them costs time at boot.
systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  e2scrub_reap.service getty.target getty-static.service console-getty.service \
  systemd-pstore.service systemd-firstboot.service systemd-journal-flush.service systemd-random-seed.service \
  systemd-modules-load.service systemd-binfmt.service kmod-static-nodes.service systemd-machine-id-commit.service \
  proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount dev-hugepages.mount systemd-ask-password-wall.path \
  systemd-ask-password-console.path systemd-repart.service

rm -f /etc/machine-id /var/lib/dbus/machine-id /etc/hostname /etc/resolv.conf
: >/etc/machine-id
END

say "adding Python"
merged=$out/work/merged
layer=$out/work/standard
mkdir -p "$merged" "$layer" "$out/work/overlay"
mount -t overlay overlay -o "lowerdir=$out/bare,upperdir=$layer,workdir=$out/work/overlay" "$merged"
if [ -n "$mirror" ]; then
  # What apt fetched and debootstrap had no use for: Python and what it needs.
  mkdir "$merged/debs"
  for deb in "$debs"/*.deb; do
    name=${deb##*/}
    name=${name%%_*}
    set -- "$out/bare/var/lib/dpkg/info/$name".list "$out/bare/var/lib/dpkg/info/$name":*.list
    [ -e "$1" ] || [ -e "$2" ] || ln "$deb" "$merged/debs/" 2>/dev/null || cp "$deb" "$merged/debs/"
  done
  chroot "$merged" sh -c 'apt-get -qq install -y --no-install-recommends /debs/*.deb' >"$out/work/python.log" 2>&1 || {
    tail -n 20 "$out/work/python.log" >&2
    exit 1
  }
  rm -rf "$merged/debs"
else
  cp -L /etc/resolv.conf "$merged/etc/resolv.conf"
  chroot "$merged" sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends python3' \
    >"$out/work/python.log" 2>&1 || {
    tail -n 20 "$out/work/python.log" >&2
    exit 1
  }
  chroot "$merged" apt-get clean
  rm -rf "$merged/etc/resolv.conf" "$merged"/var/lib/apt/lists/*
fi
umount "$merged"
mv "$layer" "$out/standard"

# Hosts have no way to any mirror; a playbook adds the sources it brings along.
: >"$out/bare/etc/apt/sources.list"
rm -rf "$out/bare"/var/lib/apt/lists/* "$out"/*/var/cache/apt/*.bin "$out/bare"/var/log/bootstrap.log
rm -rf "$out/work"
