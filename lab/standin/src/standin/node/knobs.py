"""Lab knobs of `/etc/mesosphere/standin.json`: delays and injected faults (11.8)."""

import json
import os

from . import paths

DEFAULTS = {
    "time_scale": 0.1,
    # Seconds between two looks at the peers; not scaled.
    "tick": 0.5,
    "zk_start_delay": 5.0,
    "sync_delay": 3.0,
    "replog_delay": 5.0,
    "check_ms": 30000,
    "aim_period": 60.0,
    "register_period": 5.0,
    "settle": 60.0,
    # Silence after which a peer counts as dead; a refused connection counts at once.
    "peer_timeout": 2.0,
    "require_docker": True,
    "fix_port_check": False,
    # `auto` asks the kernel except in a container, whose clock belongs to the machine below it.
    "check_time_source": "auto",
    "fail": {},
    "s3_endpoint": "",
}


class Knobs:
    """The knobs of one process, read once at its start."""

    def __init__(self, given=None):
        self.values = dict(DEFAULTS, **(given or {}))
        self.fail = self.values["fail"] or {}

    def __getitem__(self, name):
        return self.values[name]

    def delay(self, name):
        """Seconds of a knob after scaling."""
        return self.scaled(self.values[name])

    def scaled(self, seconds):
        return float(seconds) * float(self.values["time_scale"])


def load():
    """Reads the knob file; a broken one is an error, since a test meant something by it."""
    text = paths.read(paths.KNOBS, "{}")
    try:
        given = json.loads(text or "{}")
    except ValueError as problem:
        raise SystemExit(f"{paths.KNOBS}: {problem}")
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise SystemExit(f"{paths.KNOBS}: unknown knobs: {', '.join(unknown)}")
    return Knobs(given)


def in_container():
    return os.path.exists("/run/systemd/container")
