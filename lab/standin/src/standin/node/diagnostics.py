"""`dcos-diagnostics` (`dcos-3dt`) on masters and the health report both roles share."""

import asyncio
import os
import time

from . import identity, net, paths

PORT = 1050
WANTS = os.path.join(paths.UNITS, "dcos.target.wants")
MEMORY = 2.0


class Health:
    """The report of `/system/health/v1`, from the real state of the wanted units."""

    def __init__(self, ip):
        self.ip = ip
        self.role = {"master": "master", "slave": "agent", "slave_public": "agent_public"}[identity.role()]
        self._at = 0.0
        self._report = {}

    async def report(self):
        if time.monotonic() - self._at > MEMORY:
            self._report = await self._make()
            self._at = time.monotonic()
        return self._report

    async def _make(self):
        names = sorted(n for n in os.listdir(WANTS) if n.endswith(".service")) if os.path.isdir(WANTS) else []
        states = await _is_active(names)
        units = [
            {
                "id": name, "health": 0 if state == "active" else 1,
                "output": "" if state == "active" else f"{name} state is {state}",
                "description": f"DC/OS component {name}", "help": "", "name": name[len("dcos-"):-len(".service")],
            }
            for name, state in zip(names, states)
        ]
        return {
            "units": units, "hostname": self.ip, "ip": self.ip, "dcos_version": identity.version_file().get("version", ""),
            "node_role": self.role, "mesos_id": "", "dcos_diagnostics_version": "0.4.0",
            "system": {},
        }

    async def handle(self, request):
        if request.path.rstrip("/") == "/system/health/v1":
            return net.answer_json(await self.report())
        if request.path.startswith("/system/health/v1/units"):
            return net.answer_json({"units": (await self.report())["units"]})
        return net.Response(404)


async def _is_active(names):
    if not names:
        return []
    process = await asyncio.create_subprocess_exec(
        "systemctl", "is-active", "--", *names, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    out, _ = await process.communicate()
    states = out.decode().split()
    # A unit that runs once and leaves, like the poststart checks, is healthy when it is not failed.
    states = ["active" if n.startswith(ONCE) and s in ("inactive", "activating") else s for n, s in zip(names, states)]
    return states + ["unknown"] * (len(names) - len(states))


ONCE = ("dcos-checks-poststart", "dcos-gen-resolvconf", "dcos-logrotate")


async def _run():
    health = Health(identity.detect_ip())
    await net.serve_http(health.handle, os.environ.get("STANDIN_BIND") or "0.0.0.0", PORT)
    await net.until_signalled()


def main():
    asyncio.run(_run())
