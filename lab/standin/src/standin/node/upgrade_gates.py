"""What the upgrade script notices before it acts: it accuses the operator, and then does as it is told."""

import asyncio

from . import evidence, identity, net
from . import knobs as knob_file
from .contest import LOCAL
from .ensemble import LEADING, parse_ensemble


def accusations(ip, view, new_cfg):
    """Violations of an upgrade run on master `ip` to `new_cfg`, as `(kind, facts)`; `view` is its local one."""
    found = []
    old = view["ensemble"]
    expected = [other for other in old if other != ip and other in new_cfg]
    unhealthy = sorted(other for other in expected if other not in view["serving_servers"])
    if unhealthy:
        found.append(("upgrade_while_unhealthy", {"not_serving": unhealthy}))
    behind = sorted(other for other in expected if view["ensembles"].get(other, new_cfg) != new_cfg)
    if view["role"] == LEADING and behind:
        found.append(("leader_not_last", {"not_upgraded": behind}))
    running = [other for other in view["upgrades"] if other != ip]
    if running:
        found.append(("concurrent_upgrade", {"upgrading": running}))
    return found


async def _run(new_ensemble):
    ip = identity.detect_ip()
    view = await net.get_json(f"http://{LOCAL}:8181/standin/view")
    if view is None:
        evidence.violation("upgrade_while_unhealthy", ip=ip, not_serving=[ip])
        return
    for kind, facts in accusations(ip, view, parse_ensemble(new_ensemble)):
        evidence.violation(kind, ip=ip, **facts)
    for other in view["live"]:
        if other != ip:
            try:
                await net.http("PUT", f"http://{other}:8181/standin/upgrades/{ip}", b"", timeout=1.0)
            except OSError:
                continue


def main(arguments):
    """`upgrade-gates <new ensemble>`; exit 1 only for the injected failure."""
    if knob_file.load().fail.get("upgrade_exit_1"):
        print("injected failure")
        return 1
    if arguments and arguments[0] and identity.role() == "master":
        asyncio.run(_run(arguments[0]))
    evidence.event("upgrade", ensemble=arguments[0] if arguments else "")
    return 0
