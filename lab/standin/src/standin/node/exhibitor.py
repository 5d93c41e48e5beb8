"""`dcos-exhibitor`: start checks, the monitor that lags behind ZooKeeper, and the REST interface on 8181."""

import asyncio
import os
import time
import urllib.parse

from . import ensemble as model
from . import evidence, fourletter, identity, net
from . import knobs as knob_file
from .member import Member

LATENT, DOWN, NOT_SERVING, SERVING = 0, 1, 2, 3
DESCRIPTIONS = {LATENT: "latent", DOWN: "down", NOT_SERVING: "not serving", SERVING: "serving"}
PORT = 8181
# How long one assembled status answers further requests; many gates poll it at once.
STATUS_MEMORY = 0.4


def code_of(view):
    if not view.running:
        return DOWN
    return SERVING if model.serving(view) else NOT_SERVING


class Exhibitor:
    def __init__(self, member, knobs, single):
        self.member = member
        self.knobs = knobs
        self.code = LATENT
        self.is_leader = False
        period = 2.0 if single else knobs["check_ms"] / 1000.0
        self.check_period = max(0.2, knobs.scaled(period))
        self._status = (0.0, [])

    async def monitor(self):
        while True:
            await asyncio.sleep(self.check_period)
            view = self.member.me
            if self.member.assembling() or not self.member.listed:
                self.code, self.is_leader = LATENT, False
                continue
            self.code, self.is_leader = code_of(view), view.role == model.LEADING and model.serving(view)

    def forget(self):
        """Starts over as latent: ZooKeeper was just configured anew, and is not down because it has not answered yet."""
        self.code, self.is_leader = LATENT, False

    def own_state(self):
        return {
            "switches": {"restarts": True, "cleanup": True, "unlistedRestarts": True, "backups": True},
            "state": self.code,
            "description": DESCRIPTIONS[self.code],
            "isLeader": self.is_leader,
        }

    async def _state_of(self, ip):
        if ip == self.member.me.ip:
            state = self.own_state()
        else:
            state = await net.get_json(f"http://{ip}:{PORT}/exhibitor/v1/cluster/state", timeout=2.0)
        code = state["state"] if state else DOWN
        return {
            "hostname": ip,
            "code": code,
            "description": DESCRIPTIONS[code],
            "isLeader": bool(state and state["isLeader"]),
        }

    def servers(self):
        cfg = self.member.me.cfg
        return sorted(cfg, key=cfg.get)

    async def status(self):
        at, known = self._status
        if time.monotonic() - at > STATUS_MEMORY:
            known = list(await asyncio.gather(*(self._state_of(ip) for ip in self.servers())))
            self._status = (time.monotonic(), known)
        return known

    # REST

    async def handle(self, request):
        if self.knobs.fail.get("exhibitor_hang"):
            await asyncio.sleep(3600)
        if request.path.startswith("/standin/"):
            return await self._internal(request)
        parts = [p for p in request.path.split("/") if p]
        if parts[:2] != ["exhibitor", "v1"]:
            if parts[:1] == ["exhibitor"]:
                return net.Response(200, "<html><title>Exhibitor for ZooKeeper</title></html>", "text/html")
            return net.Response(404, "not found\n")
        if parts[2:] == ["config", "get-state"]:
            return net.answer_json(self._config())
        if parts[2:3] != ["cluster"] or len(parts) < 4:
            return net.Response(404, "not found\n")
        word, rest = parts[3], parts[4:]
        if word == "status":
            return net.answer_json(await self.status())
        if word == "state":
            return net.answer_json(self.own_state())
        if word == "list":
            return self._list(request)
        if word == "4ltr" and rest:
            text = fourletter.answer(rest[0], self.member)
            return net.answer_json({"response": text or "", "success": text is not None, "errorMessage": ""})
        if word in ("start", "stop", "restart"):
            return await self._queue(word, rest)
        return net.Response(404, "not found\n")

    def _list(self, request):
        servers = self.servers()
        if "x-www-form-urlencoded" in request.headers.get("accept", ""):
            pairs = [("count", len(servers))] + [(f"server{n}", ip) for n, ip in enumerate(servers)] + [("port", 2181)]
            return net.Response(200, urllib.parse.urlencode(pairs), "application/x-www-form-urlencoded")
        return net.answer_json({"servers": servers, "port": 2181})

    def _config(self):
        cfg = self.member.me.cfg
        spec = ",".join(f"S:{cfg[ip]}:{ip}" for ip in self.servers())
        return {
            "config": {
                "hostname": self.member.me.ip, "serverId": self.member.me.id, "serversSpec": spec,
                "clientPort": 2181, "connectPort": 2888, "electionPort": 3888,
                "checkMs": int(self.check_period * 1000), "zookeeperDataDirectory": "/var/lib/dcos/exhibitor/zookeeper/snapshot",
                "rollInProgress": False, "rollStatus": "n/a", "rollPercentDone": 0,
            },
            "backupActive": False, "standaloneMode": len(cfg) == 1, "running": self.member.me.running,
            "version": "v1.5.6-standin", "extraHeadingText": None, "nodeMutationsAllowed": False,
        }

    async def _queue(self, word, rest):
        if rest and rest[0] not in (self.member.me.ip, "localhost"):
            try:
                await net.http("GET", f"http://{rest[0]}:{PORT}/exhibitor/v1/cluster/{word}")
            except OSError as problem:
                return net.answer_json({"message": str(problem), "succeeded": False})
        elif word == "stop":
            self.member.stop_zookeeper()
        else:
            self.member.start_zookeeper()
        evidence.event("exhibitor_action", action=word, host=rest[0] if rest else self.member.me.ip)
        return net.answer_json({"message": "OK", "succeeded": True})

    async def _internal(self, request):
        """What the other stand-in services need of ZooKeeper: the view, and a replicated key store."""
        me, live = self.member.me, self.member.live()
        if request.path == "/standin/view":
            return net.answer_json({
                "ip": me.ip, "id": me.id, "serving": model.serving(me), "mode": fourletter.mode(me) if model.serving(me) else "",
                "leader_ip": me.leader_ip, "servers": self.servers(), "cluster_id": me.cluster_id,
                "ensemble": me.cfg, "zxid": me.zxid, "epoch": me.epoch,
                "role": me.role, "ensembles": {ip: v.cfg for ip, v in live.items()},
                "upgrades": self.member.running_upgrades(), "live": sorted(live),
                "serving_servers": sorted(ip for ip, v in live.items() if model.serving(v)),
            })
        if request.path.startswith("/standin/upgrades/"):
            ip = request.path.rpartition("/")[2]
            if request.method == "PUT":
                self.member.upgrades[ip] = time.monotonic()
            elif request.method == "DELETE":
                self.member.upgrades.pop(ip, None)
            return net.Response(204)
        if not request.path.startswith("/standin/store/"):
            return net.Response(404, "not found\n")
        key = urllib.parse.unquote(request.path[len("/standin/store/"):])
        if not model.serving(me):
            return net.Response(503, fourletter.NOT_SERVING)
        if request.method == "GET":
            if key not in self.member.store.data:
                return net.Response(404, "no such key\n")
            return net.answer_json(self.member.store.data[key])
        if me.role != model.LEADING:
            status, _, body = await net.http(
                request.method, f"http://{me.leader_ip}:{PORT}{request.target}", request.body, timeout=8.0
            )
            return net.Response(status, body, "application/json")
        value = None if request.method == "DELETE" else request.json()
        if await self.member.commit(key, value):
            return net.answer_json({"version": self.member.store.version})
        return net.Response(503, "not committed by a majority\n")


# Start checks


def clock_is_synchronized():
    """Asks the kernel; STA_UNSYNC (0x40) means that nothing keeps its clock."""
    import ctypes

    class Timex(ctypes.Structure):
        _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
                    ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
                    ("rest", ctypes.c_char * 512)]

    answer = Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(answer)) < 0:
        return False
    return not answer.status & 0x40


def check_clock(knobs):
    """Raises `SystemExit` when the clock is wanted in sync and is not; returns why it was not asked, or None."""
    source = knobs["check_time_source"]
    if identity.expanded().get("check_time", "true") != "true" or source == "none":
        return "not wanted"
    if source == "auto" and knob_file.in_container():
        return "the clock belongs to the machine below this container"
    if not clock_is_synchronized():
        raise SystemExit("Unable to determine clock synchronization: time is not in sync, refusing to start")
    return None


def static_ensemble():
    settings = identity.environment("exhibitor")
    backend = settings.get("EXHIBITOR_BACKEND")
    if backend != "STATIC":
        raise SystemExit(f"exhibitor backend {backend} is not emulated")
    return model.parse_ensemble(settings["EXHIBITOR_STATICENSEMBLE"])


async def _run(bind):
    knobs = knob_file.load()
    skipped = check_clock(knobs)
    if skipped:
        evidence.event("clock_check_skipped", why=skipped)
    ip = knobs.fail.get("detect_ip_wrong") or identity.detect_ip()
    settings = identity.environment("exhibitor")
    manager = None
    if settings.get("EXHIBITOR_BACKEND") == "AWS_S3":
        from . import aim

        manager = aim.Manager(ip, settings, knobs)
        cfg = await manager.first_list()
    else:
        cfg = static_ensemble()
        if ip not in cfg and identity.release().exhibitor_refuses_unlisted_address:
            raise SystemExit(f"detected address {ip} is not in the list of masters {sorted(cfg)}")
    member = Member(ip, cfg, knobs, bind, fixed_size=manager.fixed_size if manager else 0)
    exhibitor = Exhibitor(member, knobs, single=identity.master_count() == 1)
    evidence.event("exhibitor_started", ip=ip, id=member.me.id, ensemble=cfg)
    await net.serve_http(exhibitor.handle, bind or "0.0.0.0", PORT)
    await fourletter.serve(member, bind or "0.0.0.0")
    work = [asyncio.create_task(member.run()), asyncio.create_task(exhibitor.monitor())]
    if manager is not None:
        work.append(asyncio.create_task(manager.run(member, exhibitor)))
    stop = asyncio.create_task(net.until_signalled())
    done, _ = await asyncio.wait([stop, *work], return_when=asyncio.FIRST_COMPLETED)
    member.shut_down()
    for task in done:
        task.result()


def main():
    asyncio.run(_run(os.environ.get("STANDIN_BIND")))
