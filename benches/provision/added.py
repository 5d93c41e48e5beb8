"""Reads a provision's journal and prints where its time went; the last line is what dcos-play added, in seconds.

At each moment of the run, either some host waits for something that takes its time however it's asked for (a reboot,
DC/OS's generator or installer, a gate of the role verify), or none does. The second kind is what's added.
"""

import json
import sys

WAITS = {
    "reboots": lambda step: step["action"].endswith("reboot"),
    "generator and installer": lambda step: step["name"] in ("Run genconf", "Run the node installer"),
    "gates": lambda step: (step.get("role") or "") == "verify",
}


def union(spans):
    """Total length of time that lies in at least one of the spans."""
    total, end = 0, None
    for begin, stop in sorted(spans):
        if end is None or begin > end:
            total, end = total + stop - begin, stop
        elif stop > end:
            total, end = total + stop - end, stop
    return total


def main(path):
    started, spans, begin, finish = {}, {name: [] for name in WAITS}, None, None
    with open(path, encoding="utf-8") as journal:
        next(journal)  # the header
        for line in journal:
            event = json.loads(line)
            kind, at = event["event"], event["at"]
            if kind == "run_started":
                begin = at
            elif kind == "run_finished":
                finish = at
            elif kind == "step_started":
                started[event["step"]] = event
            elif kind == "step_finished" and event["outcome"] != "skipped":
                first = started.get(event["step"])
                for name, fits in WAITS.items():
                    if first is not None and fits(first):
                        spans[name].append((first["at"], at))
    for name, of_kind in spans.items():
        if not of_kind:
            sys.exit(f"no step in the journal counts as `{name}`: added.py no longer fits the roles")
        print(f"  at least one host in: {name:<24} {union(of_kind):8} ms")
    everything = [span for of_kind in spans.values() for span in of_kind]
    print(f"{(finish - begin - union(everything)) / 1000:.1f}")


main(sys.argv[1])
