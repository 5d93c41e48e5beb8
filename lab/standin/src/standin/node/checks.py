"""`dcos-check-runner` and `dcos-diagnostics check`: the built-in checks with their exit codes.

A check name that does not exist prints an error object and still exits 0, as the real runner does.
"""

import asyncio
import json
import os
import shutil
import subprocess

from . import exhibitor, identity, net
from . import knobs as knob_file
from .contest import LOCAL
from .diagnostics import Health

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3


async def _components():
    report = await Health(identity.detect_ip()).report()
    bad = [unit["id"] for unit in report["units"] if unit["health"]]
    return (CRITICAL, "unhealthy units: " + ", ".join(bad)) if bad else (OK, "all units are healthy")


def _tool(name):
    async def check():
        return (OK, f"{name} found") if shutil.which(name) else (CRITICAL, f"{name} is not on the path")

    return check


async def _docker():
    done = subprocess.run(["docker", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False) \
        if shutil.which("docker") else None
    return (OK, "docker answers") if done and done.returncode == 0 else (CRITICAL, "docker does not answer")


async def _ip_detect():
    try:
        return OK, identity.detect_ip()
    except SystemExit as problem:
        return CRITICAL, str(problem)


async def _metric(port, name, text):
    ip = identity.detect_ip()
    metrics = await net.get_json(f"http://{ip}:{port}/metrics/snapshot", timeout=3.0)
    value = (metrics or {}).get(name)
    return (OK, text) if value == 1.0 else (CRITICAL, f"{name} is {value} on {ip}:{port}")


async def _replog():
    return await _metric(5050, "registrar/log/recovered", "the replicated log is synchronized")


async def _registered():
    return await _metric(5051, "slave/registered", "the agent is registered")


async def _journald():
    return OK, "journald directories are readable"


async def _cockroach():
    view = await net.get_json(f"http://{LOCAL}:8181/standin/view", timeout=3.0)
    missing = sorted(set((view or {}).get("servers", ())) - set((view or {}).get("live", ())))
    if view is None:
        return CRITICAL, "cockroachdb does not answer"
    return (CRITICAL, f"under-replicated ranges, lost: {missing}") if missing else (OK, "no under-replicated ranges")


async def _clock():
    try:
        exhibitor.check_clock(knob_file.load())
        return OK, "the clock is synchronized"
    except SystemExit as problem:
        return CRITICAL, str(problem)


async def _exhibitor_status():
    status = await net.get_json(f"http://{LOCAL}:8181/exhibitor/v1/cluster/status", timeout=4.0)
    bad = [e["hostname"] for e in status or () if e["code"] != 3]
    if not status or bad:
        return CRITICAL, f"not serving: {bad or 'no answer'}"
    return OK, "every master serves"


BOTH = {
    "xz": _tool("xz"), "tar": _tool("tar"), "curl": _tool("curl"), "unzip": _tool("unzip"), "docker": _docker,
    "ip_detect_script": _ip_detect, "journald_dir_permissions": _journald, "clock_sync": _clock,
}
MASTER = {**BOTH, "components_master": _components, "mesos_master_replog_synchronized": _replog}
AGENT = {**BOTH, "components_agent": _components, "mesos_agent_registered_with_masters": _registered}


def table(kind, role, release):
    """The checks of one kind (`node-prestart`, `node-poststart`, `cluster`) for a role."""
    if kind == "cluster":
        return {"exhibitor_serving": _exhibitor_status} if role == "master" else {}
    if kind == "node-prestart":
        return {name: BOTH[name] for name in ("xz", "tar", "curl", "unzip", "docker", "ip_detect_script")}
    checks = dict(MASTER if role == "master" else AGENT)
    if role == "master" and release.since(1, 13):
        checks["cockroachdb_replication"] = _cockroach
    return checks


async def run(kind, names):
    """Runs checks; returns the JSON to print and the exit code."""
    checks = table(kind, identity.role(), identity.release())
    unknown = [name for name in names if name not in checks]
    if unknown:
        return {"error": f"check {unknown[0]} not found"}, 0
    if knob_file.load().fail.get("poststart_fail") and kind == "node-poststart":
        checks["standin_injected"] = _injected
        names = names and [*names, "standin_injected"]
    results = {}
    for name in names or sorted(checks):
        status, output = await checks[name]()
        results[name] = {"output": output + "\n", "status": status}
    worst = max((r["status"] for r in results.values()), default=OK)
    return {"status": worst, "checks": results}, worst


async def _injected():
    return CRITICAL, "injected failure"


def main(arguments):
    """`check [--list] <kind> [name…]`; exit 0 OK, 1 warning, 2 critical, 3 unknown."""
    words = [a for a in arguments if not a.startswith("-")]
    if words[:1] == ["check"]:
        words = words[1:]
    if not words or words[0] not in ("node-prestart", "node-poststart", "cluster"):
        print(json.dumps({"error": "a check type is needed: node-prestart, node-poststart or cluster"}))
        return 0 if words else UNKNOWN
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    if "--list" in arguments:
        print(json.dumps({n: {"description": n} for n in table(words[0], identity.role(), identity.release())}, indent=2))
        return 0
    result, code = asyncio.run(run(words[0], words[1:]))
    print(json.dumps(result, indent=2, sort_keys=True))
    return code
