"""What this node is: role, addresses, configuration files of `/opt/mesosphere/etc`."""

import json
import os
import subprocess

from ..release import Release
from . import paths


def detect_ip():
    """Runs the installed ip-detect; `SystemExit` when it fails, like the services that need it."""
    script = os.path.join(paths.MESOSPHERE, "bin/detect_ip")
    run = subprocess.run([script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    address = run.stdout.strip()
    if run.returncode or not is_ipv4(address):
        raise SystemExit(f"detect_ip failed: exit {run.returncode}, stdout {run.stdout!r}, stderr {run.stderr!r}")
    return address


def is_ipv4(text):
    parts = text.split(".")
    return len(parts) == 4 and all(p.isdigit() and int(p) < 256 and str(int(p)) == p for p in parts)


def environment(name):
    """A `KEY=value` file of `/opt/mesosphere/etc`; empty when absent."""
    text = paths.read(os.path.join(paths.ETC, name), "")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def version_file():
    return json.loads(paths.read(os.path.join(paths.ETC, "dcos-version.json"), "{}"))


def release():
    return Release(version_file()["version"])


def role():
    """The single role word of this node."""
    roles = sorted(r for r in os.listdir(paths.ROLES) if r in ("master", "slave", "slave_public"))
    if len(roles) != 1:
        raise SystemExit(f"a node must have exactly one role, this one has: {', '.join(roles) or 'none'}")
    return roles[0]


def master_count():
    return int(paths.read(os.path.join(paths.ETC, "master_count"), "1") or 1)


def expanded():
    """Every resolved configuration value, as text."""
    return json.loads(paths.read(os.path.join(paths.ETC, "expanded.config.json"), "{}"))


def listed_masters():
    """Addresses of `master_list`, or an empty list with master discovery over a load balancer."""
    return json.loads(paths.read(os.path.join(paths.ETC, "master_list"), "[]"))


def cluster_id():
    return paths.read(paths.CLUSTER_ID, "")
