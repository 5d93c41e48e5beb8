"""Where a node keeps its things. Tests and loopback runs move everything by `STANDIN_ROOT`."""

import os

ROOT = os.environ.get("STANDIN_ROOT", "").rstrip("/")


def at(path):
    """An absolute node path below the root in use."""
    return ROOT + path


MESOSPHERE = at("/opt/mesosphere")
ETC = at("/opt/mesosphere/etc")
ROLES = at("/etc/mesosphere/roles")
SETUP_FLAGS = at("/etc/mesosphere/setup-flags")
INSTALL_ID = at("/etc/mesosphere/setup-flags/standin-install-id")
KNOBS = at("/etc/mesosphere/standin.json")
UNITS = at("/etc/systemd/system")
LOGS = at("/var/log/dcos-standin")
LIB = at("/var/lib/dcos")
EXHIBITOR = at("/var/lib/dcos/exhibitor")
ZK_PID = at("/var/lib/dcos/exhibitor/zk.pid")
CLUSTER_ID = at("/var/lib/dcos/cluster-id")
MESOS_META = at("/var/lib/mesos/slave/meta")


def read(path, default=None):
    """Text of a file without its last newline, or `default` when it does not exist."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read().rstrip("\n")
    except FileNotFoundError:
        return default


def write(path, text, mode=0o644):
    """Replaces a file in one step, so that no reader sees half of it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    scratch = f"{path}.new"
    with open(scratch, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(scratch, mode)
    os.replace(scratch, path)
