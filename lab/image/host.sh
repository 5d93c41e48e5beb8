#!/bin/sh
# Keeps one lab host running. Started by the lab inside a mount namespace of its own, with everything about the host in
# its environment. All that it sets up (overlay, network namespace, link) lives and dies with its processes, so killing
# them is the whole clean-up.
set -eu
umask 022
cd "$HOST_DIR"

# The lab finds, counts and ends the host's processes by these cgroups. systemd inside takes them for its root.
for group in $HOST_CGROUPS; do
  echo $$ >"$group/cgroup.procs"
done

# Containers of one machine share this folder; a tmpfs of its own keeps each host to itself.
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn

mkdir -p upper work root
# `volatile` spares every fsync. The kernel refuses such an overlay after a hard stop until this mark is gone; the page
# cache that holds the data belongs to the machine and is still there.
rm -rf work/work/incompat
mount -t overlay overlay -o "lowerdir=$HOST_LAYERS,upperdir=upper,workdir=work,volatile" root 2>/dev/null ||
  mount -t overlay overlay -o "lowerdir=$HOST_LAYERS,upperdir=upper,workdir=work" root

# The network namespace outlasts a reboot: the address answers `no route` only while the link is cut, as a real one does.
: >net
unshare --net=net true
in_net() { nsenter --net=net "$@"; }
in_net ip link set lo up
# Always the same hardware address: the machine and the other hosts remember the one they saw last for half a minute.
in_net ip link add eth0 address "$HOST_MAC" type veth peer name "$HOST_LINK" netns $$
in_net ip address add "$HOST_ADDRESS" dev eth0
in_net ip link set eth0 up
ip link set "$HOST_LINK" alias "dcos-play lab host $HOST_NAME" master "$HOST_BRIDGE" up
in_net ip route add default via "$HOST_GATEWAY"

# The network is the host's own, so its settings may be changed inside (`sysctl net.*`, addresses, packet filters).
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network

# A reboot inside ends nspawn with this status, because it isn't registered with a machine manager.
rebooted=133
status=$rebooted
while [ "$status" -eq "$rebooted" ]; do
  status=0
  # shellcheck disable=SC2086  # a list of options
  systemd-nspawn --quiet --boot --register=no --keep-unit --settings=no --link-journal=no --resolv-conf=off \
    --timezone=off --directory=root --machine="$HOST_NAME" --hostname="$HOST_NAME" \
    --network-namespace-path="$HOST_DIR/net" --capability=CAP_NET_ADMIN $HOST_OPTIONS || status=$?
done
exit "$status"
