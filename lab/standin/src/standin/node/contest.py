"""Leader contest of Mesos masters and Marathons: the oldest contender with a ZooKeeper session leads."""

import asyncio
import os
import time
import uuid

from . import evidence, net

LOCAL = os.environ.get("STANDIN_BIND") or "127.0.0.1"


class Contest:
    """One contender. `port` is the service's own port, where the others ask `/standin/contender`."""

    def __init__(self, name, ip, port, knobs, facts=dict):
        self.name = name
        self.ip = ip
        self.port = port
        self.id = str(uuid.uuid4())
        self.session = max(3.0, knobs.scaled(10))
        self.period = 2.0 * float(knobs["tick"])
        self.facts = facts
        self.view = {}
        self.others = {}
        self.since = None
        self.leader = None
        self._serving_at = time.monotonic()

    def own(self):
        return {"ip": self.ip, "id": self.id, "since": self.since, **self.facts()}

    def leads(self):
        return self.leader is not None and self.leader["ip"] == self.ip

    async def run(self):
        """Contends until the session is lost while leading, which ends the process as the real one does."""
        while True:
            await self._look()
            now = time.monotonic()
            if self.view.get("serving_servers"):
                self._serving_at = now
                if self.since is None and self.view.get("serving"):
                    self.since = time.time()
            elif now - self._serving_at > self.session:
                led, self.since, self.leader = self.leads(), None, None
                if led:
                    evidence.event("leadership_lost", service=self.name, ip=self.ip)
                    raise SystemExit("lost the session while leading, committing suicide")
            self._choose()
            await asyncio.sleep(self.period)

    async def _look(self):
        view = await net.get_json(f"http://{LOCAL}:8181/standin/view", timeout=2.0)
        self.view = view or {**self.view, "serving_servers": []}
        asked = [ip for ip in self.view.get("servers", ()) if ip != self.ip]
        answers = await asyncio.gather(
            *(net.get_json(f"http://{ip}:{self.port}/standin/contender", timeout=1.5) for ip in asked)
        )
        self.others = {ip: answer for ip, answer in zip(asked, answers) if answer}

    def _choose(self):
        contenders = [c for c in [self.own(), *self.others.values()] if c["since"] is not None]
        chosen = min(contenders, key=lambda c: (c["since"], c["ip"]), default=None)
        if (chosen or {}).get("ip") != (self.leader or {}).get("ip"):
            evidence.event("leader", service=self.name, leader=chosen and chosen["ip"])
        self.leader = chosen
