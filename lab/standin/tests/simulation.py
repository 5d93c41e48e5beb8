"""A whole cluster in one process: every node looks at the same moment, and steps together."""

from dataclasses import replace

import support  # noqa: F401
from standin.node import ensemble as model


class Cluster:
    def __init__(self, addresses):
        self.nodes = {}
        self.losses = []
        self._served = set()
        self._down = {}
        cfg = model.parse_ensemble(model.ensemble_string(addresses))
        for ip in addresses:
            self.start(ip, cfg)

    def start(self, ip, cfg):
        self.nodes[ip] = model.View(ip=ip, id=cfg[ip], cfg=cfg, role=model.LOOKING)

    def stop(self, ip):
        del self.nodes[ip]
        self._served.discard(ip)

    def restart(self, ip, cfg=None):
        """One tick down, then looking with the (new) list, as an upgrade run does."""
        old = self.nodes[ip]
        cfg = cfg or old.cfg
        self._served.discard(ip)
        self.nodes[ip] = replace(
            old, cfg=cfg, id=cfg[ip], role=model.DOWN, leader_ip=None, synced=False, electors=()
        )
        self.settle(3)
        self.nodes[ip] = replace(self.nodes[ip], role=model.LOOKING)

    def settle(self, ticks=12):
        for _ in range(ticks):
            self._tick()

    def _tick(self):
        live = dict(self.nodes)
        after = {}
        for ip, me in live.items():
            new = model.step(me, live, forming_expired=False)
            leader = live.get(new.leader_ip)
            if new.role == model.FOLLOWING and me.role == model.FOLLOWING and leader and leader.synced:
                new = replace(new, synced=True, epoch=leader.epoch)
            after[ip] = new
        self.nodes = after
        for ip, me in after.items():
            if model.serving(me):
                self._served.add(ip)
            elif ip in self._served and not model.quorum_possible(me, after):
                if self._down.setdefault(ip, 0) == 1:
                    self.losses.append(ip)
                self._down[ip] += 1
                continue
            self._down[ip] = 0

    def serving(self, *addresses):
        return all(model.serving(self.nodes[ip]) for ip in addresses or self.nodes)

    def leaders(self):
        return [ip for ip, v in self.nodes.items() if v.role == model.LEADING and v.synced]

    def lead_by(self, wanted):
        """Makes `wanted` the leader: everybody looks again and it has seen most."""
        for ip, v in self.nodes.items():
            self.nodes[ip] = replace(model.looking(v), zxid=1 if ip == wanted else 0)
        self._served.clear()
        self.settle()
        for ip, v in self.nodes.items():
            self.nodes[ip] = replace(v, zxid=1)
        assert self.leaders() == [wanted], self.leaders()


def replace_master(cluster, out, new, gate=True):
    """The ordered procedure for one replacement; returns the survivors that failed their gate."""
    survivors = [ip for ip in cluster.nodes if ip != out]
    cfg = model.parse_ensemble(model.ensemble_string(survivors + [new]))
    cluster.start(new, cfg)
    cluster.settle()
    cluster.stop(out)
    cluster.settle()
    left = list(model.byte_sorted(survivors))
    failed = []
    while left:
        leader = cluster.leaders()
        ip = next((s for s in left if s not in leader), left[0])
        left.remove(ip)
        cluster.restart(ip, cfg)
        cluster.settle()
        if not cluster.serving(*survivors):
            failed.append(ip)
            if gate:
                return failed
    return failed
