"""The evidence a node leaves for tests: `events.jsonl` and `violations.jsonl`."""

import json
import os
import socket
import sys
import time

from . import paths


def _append(name, record):
    os.makedirs(paths.LOGS, exist_ok=True)
    line = json.dumps(record, sort_keys=True) + "\n"
    with open(os.path.join(paths.LOGS, name), "a", encoding="utf-8") as stream:
        stream.write(line)
    print(line, end="", file=sys.stderr, flush=True)


def _record(kind, facts):
    return {"kind": kind, "at": round(time.time(), 3), "host": socket.gethostname(), **facts}


def event(kind, **facts):
    _append("events.jsonl", _record(kind, facts))


def violation(kind, **facts):
    """Records a rule that was broken; every record fails a lab test unless the test expects it."""
    _append("violations.jsonl", _record(kind, facts))


class Lasting:
    """Reports a condition once per episode, after it was seen a number of times in a row.

    An episode ends when the condition was away for some time: a node that restarts while it is in conflict is not news.
    """

    AWAY = 60

    def __init__(self, times):
        self.times = times
        self._seen = {}
        self._reported = {}

    def due(self, current):
        """The keys of `current` (an iterable) that became reportable with this look."""
        current = set(current)
        self._seen = {key: self._seen.get(key, 0) + 1 for key in current}
        self._reported = {
            key: 0 if key in current else away + 1 for key, away in self._reported.items() if away < self.AWAY
        }
        found = [key for key in sorted(current) if self._seen[key] >= self.times and key not in self._reported]
        self._reported.update({key: 0 for key in found})
        return found
