"""`dcos-mesos-slave` and `dcos-mesos-slave-public`: finds the leading master and keeps registered with it."""

import asyncio
import json
import os
import time
import uuid

from . import evidence, identity, net, paths
from . import knobs as knob_file
from .public_apps import Balancer

PORT = 5051
VERSION = "1.11.0"


def attributes(role):
    """`MESOS_ATTRIBUTES` of the node, and `public_ip:true` on public agents."""
    text = paths.read(os.path.join(paths.LIB, "mesos-slave-common"), "")
    found = {"public_ip": "true"} if role == "slave_public" else {}
    for line in text.splitlines():
        if line.startswith("MESOS_ATTRIBUTES="):
            value = line.partition("=")[2].strip("'\"")
            found.update(item.partition(":")[::2] for item in value.split(";") if ":" in item)
    return found


def open_meta(wanted):
    """The id of this agent; `SystemExit` when its attributes changed without the recovery link being removed."""
    latest = os.path.join(paths.MESOS_META, "slaves/latest")
    saved = json.loads(paths.read(os.path.join(latest, "slave.info"), "{}"))
    if saved:
        if saved["attributes"] != wanted:
            raise SystemExit(
                f"incompatible agent info: attributes were {saved['attributes']}, are {wanted}; remove {latest} to recover"
            )
        return saved["id"]
    own_id = f"{uuid.uuid4()}-S0"
    folder = os.path.join(paths.MESOS_META, "slaves", own_id)
    os.makedirs(folder)
    paths.write(os.path.join(folder, "slave.info"), json.dumps({"id": own_id, "attributes": wanted}))
    if os.path.islink(latest):
        os.unlink(latest)
    os.symlink(folder, latest)
    return own_id


class Agent:
    def __init__(self, ip, role, knobs):
        self.ip = ip
        self.role = role
        self.attributes = attributes(role)
        self.id = open_meta(self.attributes)
        self.period = max(1.0, knobs.delay("register_period"))
        self.patience = max(10.0, knobs.scaled(30))
        self.leader = None
        self.registered_at = None
        self.master_id = ""
        self._ever = False
        self._known = []
        self._alive_at = time.monotonic()
        self._stale_reported = False

    def registered(self):
        return self.registered_at is not None and time.monotonic() - self.registered_at < 3 * self.period + 3

    async def masters(self):
        listed = identity.listed_masters()
        if listed:
            return listed
        # The answer takes long while one of the masters hangs; without one the list of before holds.
        status = await net.get_json(identity.environment("dns_config").get("EXHIBITOR_URI", ""), timeout=5.0)
        if status:
            self._known = [entry["hostname"] for entry in status]
        return self._known

    async def run(self):
        while True:
            masters = await self.masters()
            if not await self._register(masters):
                await self._check_staleness(masters)
            await asyncio.sleep(self.period)

    async def _register(self, masters):
        for ip in sorted(masters, key=lambda m: m != self.leader):
            answer = await net.get_json(f"http://{ip}:5050/standin/leader", timeout=1.5)
            if not answer or not answer["leader"]:
                continue
            try:
                status, _, body = await net.http(
                    "POST", f"http://{answer['leader']}:5050/standin/register",
                    {"id": self.id, "ip": self.ip, "role": self.role, "attributes": self.attributes},
                )
            except OSError:
                continue
            if status == 200:
                self._note(answer["leader"], json.loads(body))
                return True
        return False

    def _note(self, leader, answer):
        if self.leader != leader or not self.registered():
            evidence.event("registered", agent=self.ip, master=leader)
        self.leader, self.master_id = leader, answer["master"]
        self.registered_at = self._alive_at = time.monotonic()
        self._ever, self._stale_reported = True, False
        if answer["cluster_id"] and not identity.cluster_id():
            paths.write(paths.CLUSTER_ID, answer["cluster_id"])

    async def _check_staleness(self, masters):
        """A master that runs but has no leader yet still counts as alive: its ZooKeeper port answers."""
        for ip in masters:
            try:
                await asyncio.wait_for(_touch(ip, 8181), 1.0)
                self._alive_at = time.monotonic()
                return
            except (OSError, asyncio.TimeoutError):
                continue
        if self._ever and not self._stale_reported and time.monotonic() - self._alive_at > self.patience:
            self._stale_reported = True
            evidence.violation("stale_agent", agent=self.ip, masters=list(masters))

    async def handle(self, request):
        path = request.path.rstrip("/")
        if path.startswith("/slave(1)"):
            path = path[len("/slave(1)"):]
        if path == "/health":
            return net.Response(200)
        if path == "/metrics/snapshot":
            return net.answer_json({"slave/registered": 1.0 if self.registered() else 0.0})
        if path == "/version":
            return net.answer_json({"version": VERSION, "build_user": "standin"})
        if path == "/overlay-agent/overlay":
            return net.answer_json({"ip": self.ip, "overlays": [{"info": {"name": "dcos"}, "state": {"status": "STATUS_OK"}}]})
        if path == "/state":
            return net.answer_json({
                "id": self.id, "pid": f"slave(1)@{self.ip}:{PORT}", "hostname": self.ip, "version": VERSION,
                "attributes": self.attributes, "master_hostname": self.leader if self.registered() else None,
                "flags": {"default_role": "slave_public" if self.role == "slave_public" else "*", "port": str(PORT)},
                "frameworks": [],
            })
        return net.Response(404)


async def _touch(ip, port):
    _, writer = await asyncio.open_connection(ip, port)
    writer.close()


async def _run():
    agent = Agent(identity.detect_ip(), identity.role(), knob_file.load())
    await net.serve_http(agent.handle, agent.ip, PORT)
    stop = asyncio.create_task(net.until_signalled())
    work = [asyncio.create_task(agent.run())]
    if agent.role == "slave_public":
        work.append(asyncio.create_task(Balancer(agent.ip, lambda: agent.leader).run(agent.period)))
    done, _ = await asyncio.wait([stop, *work], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def main():
    asyncio.run(_run())
