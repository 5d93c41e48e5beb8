"""What the upgrade script notices before it acts: it accuses the operator, and then does as it is told."""

import asyncio
import time

from . import evidence, identity, net
from . import knobs as knob_file
from .contest import LOCAL
from .ensemble import LEADING, parse_ensemble

# Seconds. An election that nobody caused, on a machine that had no CPU for a moment, is over sooner, and no operator could
# have waited for it.
PATIENCE = 3.0


def accusations(ip, view, new_cfg):
    """Violations of an upgrade run on master `ip` to `new_cfg`, as `(kind, facts)`; `view` is its local one."""
    found = []
    expected = _expected(ip, view, new_cfg)
    unhealthy = _unhealthy(ip, view, new_cfg)
    if unhealthy:
        found.append(("upgrade_while_unhealthy", {"not_serving": unhealthy}))
    behind = sorted(other for other in expected if view["ensembles"].get(other, new_cfg) != new_cfg)
    if view["role"] == LEADING and behind:
        found.append(("leader_not_last", {"not_upgraded": behind}))
    running = [other for other in view["upgrades"] if other != ip]
    if running:
        found.append(("concurrent_upgrade", {"upgrading": running}))
    return found


def _expected(ip, view, new_cfg):
    return [other for other in view["ensemble"] if other != ip and other in new_cfg]


def _unhealthy(ip, view, new_cfg):
    return sorted(other for other in _expected(ip, view, new_cfg) if other not in view["serving_servers"])


async def settled(ip, new_cfg, look, patience=PATIENCE):
    """The first view of `look()` in which every expected server serves, or the last one within `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        view = await look()
        if (view and not _unhealthy(ip, view, new_cfg)) or time.monotonic() >= deadline:
            return view
        await asyncio.sleep(patience / 10)


async def _run(new_cfg):
    ip = identity.detect_ip()

    async def look():
        return await net.get_json(f"http://{LOCAL}:8181/standin/view")

    view = await settled(ip, new_cfg, look)
    if view is None:
        evidence.violation("upgrade_while_unhealthy", ip=ip, not_serving=[ip])
        return
    for other in view["live"]:
        if other != ip:
            try:
                await net.http("PUT", f"http://{other}:8181/standin/upgrades/{ip}", b"", timeout=1.0)
            except OSError:
                continue
    # Told first and looked at afterwards: of two runs that start in one moment at least one sees the other.
    told = await look()
    view["upgrades"] = (told or view)["upgrades"]
    for kind, facts in accusations(ip, view, new_cfg):
        evidence.violation(kind, ip=ip, **facts)


def main(arguments):
    """`upgrade-gates <new ensemble>`; exit 1 only for the injected failure."""
    if knob_file.load().fail.get("upgrade_exit_1"):
        print("injected failure")
        return 1
    if arguments and arguments[0] and identity.role() == "master":
        asyncio.run(_run(parse_ensemble(arguments[0])))
    evidence.event("upgrade", ensemble=arguments[0] if arguments else "")
    return 0
