"""`dcos-mesos-master`: health, metrics, redirect, state and the agents that registered."""

import asyncio
import os
import time

from . import identity, net, paths
from . import knobs as knob_file
from .contest import Contest

PORT = 5050
VERSION = "1.11.0"


class Master:
    def __init__(self, ip, knobs):
        self.ip = ip
        self.knobs = knobs
        self.started = time.monotonic()
        settings = identity.environment("mesos-master")
        self.quorum = int(settings.get("MESOS_QUORUM", "1"))
        self.log_dir = paths.at(settings.get("MESOS_WORK_DIR", "/var/lib/dcos/mesos/master") + "/replicated_log")
        self.recovered = False
        self.agents = {}
        self.agent_silence = max(10.0, knobs.scaled(75))
        self.contest = Contest("mesos", ip, PORT, knobs, facts=lambda: {"log": self.has_log()})
        self.cluster = identity.expanded().get("cluster_name", "")

    def has_log(self):
        return os.path.isdir(self.log_dir)

    async def recover(self):
        """Creates the log replica after its delay; it counts once a quorum of masters has one."""
        await asyncio.sleep(self.knobs.delay("replog_delay"))
        os.makedirs(self.log_dir, exist_ok=True)
        while not self.recovered:
            having = 1 + sum(1 for other in self.contest.others.values() if other.get("log"))
            self.recovered = having >= self.quorum and self.contest.leader is not None
            await asyncio.sleep(0.5)
        await asyncio.Event().wait()

    def active_agents(self):
        now = time.monotonic()
        return {key: a for key, a in self.agents.items() if now - a["seen"] < self.agent_silence}

    def metrics(self):
        leads = self.contest.leads()
        active = len(self.active_agents()) if leads else 0
        return {
            "registrar/log/recovered": 1.0 if self.recovered else 0.0,
            "registrar/log/ensemble_size": float(len(self.contest.view.get("servers", ()))),
            "master/elected": 1.0 if leads else 0.0,
            "master/slaves_active": float(active),
            "master/slaves_connected": float(active),
            "master/slaves_disconnected": float(len(self.agents) - active if leads else 0),
            "master/uptime_secs": time.monotonic() - self.started,
        }

    def slaves(self):
        active = self.active_agents()
        return [
            {
                "id": key, "hostname": a["ip"], "pid": f"slave(1)@{a['ip']}:5051", "active": key in active, "port": 5051,
                "attributes": a["attributes"], "registered_time": a["registered"], "version": VERSION,
                "resources": {"cpus": 4.0, "mem": 8192.0, "disk": 65536.0, "ports": "[1025-32000]"},
                "reserved_resources": {"slave_public": {"cpus": 4.0}} if a["role"] == "slave_public" else {},
            }
            for key, a in sorted(self.agents.items())
        ]

    def state(self):
        leader = self.contest.leader or {}
        return {
            "version": VERSION, "id": self.contest.id, "pid": f"master@{self.ip}:{PORT}", "hostname": self.ip,
            "cluster": self.cluster, "leader": f"master@{leader.get('ip')}:{PORT}",
            "leader_info": {"id": leader.get("id"), "hostname": leader.get("ip"), "port": PORT},
            "activated_slaves": float(len(self.active_agents())), "slaves": self.slaves(),
            "frameworks": [{"id": f"{leader.get('id')}-0000", "name": "marathon", "active": True, "tasks": []}],
            "flags": {"quorum": str(self.quorum), "cluster": self.cluster, "port": str(PORT)},
        }

    async def handle(self, request):
        path = request.path.rstrip("/") or "/"
        if path.startswith("/master/"):
            path = path[len("/master"):]
        if path == "/health":
            return net.Response(200)
        if path in ("/metrics/snapshot",):
            return net.answer_json(self.metrics())
        if path == "/version":
            return net.answer_json({"version": VERSION, "build_user": "standin"})
        if path == "/standin/contender":
            return net.answer_json(self.contest.own())
        if path == "/standin/leader":
            return net.answer_json({"leader": (self.contest.leader or {}).get("ip"), "recovered": self.recovered})
        if path == "/standin/register":
            return self._register(request)
        if path == "/overlay-master/state":
            agents = [{"ip": a["ip"], "overlays": [{"info": {"name": "dcos"}}]} for a in self.active_agents().values()]
            masters = [{"ip": ip, "overlays": []} for ip in self.contest.view.get("servers", ())]
            return net.answer_json({"network": {"vtep_mtu": 1420}, "agents": agents + masters})
        return self._of_the_leader(path)

    def _of_the_leader(self, path):
        leader = self.contest.leader
        if path not in ("/redirect", "/state", "/state-summary", "/slaves", "/"):
            return net.Response(404)
        if leader is None:
            return net.Response(503, "no leading master is known\n")
        base = f"//{leader['ip']}:{PORT}"
        if path == "/redirect":
            return net.Response(307, headers={"Location": base})
        if not self.contest.leads():
            return net.Response(307, headers={"Location": base + path})
        if path == "/slaves":
            return net.answer_json({"slaves": self.slaves(), "recovered_slaves": []})
        state = self.state()
        if path == "/state-summary":
            state = {key: state[key] for key in ("hostname", "cluster", "slaves", "frameworks")}
        return net.answer_json(state)

    def _register(self, request):
        if not (self.contest.leads() and self.recovered):
            return net.Response(503, "not the leading master\n")
        agent = request.json()
        known = self.agents.get(agent["id"], {"registered": time.time()})
        # One address runs one agent: a wiped host takes the place of its former self.
        for key in [k for k, a in self.agents.items() if a["ip"] == agent["ip"] and k != agent["id"]]:
            del self.agents[key]
        self.agents[agent["id"]] = {**known, **agent, "seen": time.monotonic()}
        return net.answer_json({"master": self.contest.id, "cluster_id": identity.cluster_id()})


async def _run():
    knobs = knob_file.load()
    master = Master(identity.detect_ip(), knobs)
    await net.serve_http(master.handle, master.ip, PORT)
    work = [asyncio.create_task(master.contest.run()), asyncio.create_task(master.recover())]
    stop = asyncio.create_task(net.until_signalled())
    done, _ = await asyncio.wait([stop, *work], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def main():
    asyncio.run(_run())
