"""One running ZooKeeper of the stand-in: polls its peers, steps through the ensemble model, accuses.

Owns the election port 3888 and the leader's port 2888. It knows nothing of Exhibitor's REST interface.
"""

import asyncio
import json
import os
import time
import uuid
from dataclasses import asdict, fields, replace

from . import ensemble as model
from . import evidence, net, paths, store

# An election is over within a few ticks; an unsuccessful one this long means that nobody can lead.
ELECTION_LIMIT = 10.0
ACCUSE_AFTER = 8.0
FORMING_LIMIT = 4.0
# A newcomer's contact is remembered this long after its last question.
CONTACT_MEMORY = 10.0
REVIVAL_WINDOW = 15.0


class Peer:
    def __init__(self):
        self.view = None
        self.answered = 0.0
        self.lost_at = time.monotonic()

    def dead(self):
        if self.view is not None:
            self.lost_at = time.monotonic()
        self.view = None


class Member:
    def __init__(self, ip, cfg, knobs, bind, fixed_size=0):
        self.knobs = knobs
        self.bind = bind
        self.tick = float(knobs["tick"])
        self.store = store.Store()
        # With automatic instance management the list may lack this node, and is incomplete at first.
        self.fixed_size = fixed_size
        self.listed = ip in cfg
        own_id = cfg.get(ip, 0)
        joined, dropped = store.open_directory(ip, own_id, cfg) if self.listed else (time.time(), {})
        store.write_zoo_cfg(cfg)
        self.me = model.View(
            ip=ip, id=own_id, cfg=cfg, epoch=self.store.epoch, zxid=self.store.zxid,
            cluster_id=self.store.cluster_id, store_version=self.store.version,
            boot_id=uuid.uuid4().hex, joined=joined, dropped=dropped,
        )
        self.peers = {}
        self._pollers = {}
        self._contacts = {}
        self._start_at = 0.0
        self._role_since = time.monotonic()
        self._not_serving_since = time.monotonic()
        self._born = time.monotonic()
        self._has_served = False
        self._lost_since = None
        self._impossible_since = None
        self._lost_reported = False
        self._last_write = 0.0
        self._quorum_server = None
        self._lasting = {
            kind: evidence.Lasting(times)
            for kind, times in (("id_mismatch", 3), ("sid_conflict", 3), ("two_leaders", 4), ("data_rollback", 1))
        }
        self._revival_reported = False
        self.stopped = False
        # Upgrade runs of other masters that have not come back yet: address to time of their start.
        self.upgrades = {}
        self.start_zookeeper()

    # Process life

    def start_zookeeper(self):
        """Starts (again) the simulated process; it looks for a leader after its start delay."""
        self.stopped = False
        self._set(replace(model.looking(self.me), role=model.DOWN))
        self._start_at = time.monotonic() + self.knobs.delay("zk_start_delay")
        paths.write(paths.ZK_PID, f"{os.getpid()}\n")

    def stop_zookeeper(self):
        self.stopped = True
        self._set(replace(model.looking(self.me), role=model.DOWN))

    def change_list(self, cfg):
        """Takes another server list and restarts ZooKeeper on it."""
        own_id = cfg.get(self.me.ip, 0)
        self.listed = self.me.ip in cfg
        if store.is_open():
            dropped = store.change_list(own_id, cfg)
        elif self.listed:
            _, dropped = store.open_directory(self.me.ip, own_id, cfg)
        else:
            dropped = {}
        self.me = replace(self.me, cfg=cfg, id=own_id, dropped=dropped)
        store.write_zoo_cfg(cfg)
        self.start_zookeeper()

    def assembling(self):
        """Whether a new cluster still gathers its members; none starts before the list is complete."""
        return len(self.me.cfg) < self.fixed_size and not self.store.cluster_id

    def pause(self):
        """Seconds to the next look: shorter while nobody leads, so that an election takes few of them."""
        return self.tick * (0.4 if self.me.role == model.LOOKING else 1.0)

    def live(self):
        """Every node that answers, this one included."""
        views = {ip: peer.view for ip, peer in self.peers.items() if peer.view is not None}
        views[self.me.ip] = self.me
        return views

    def _set(self, view):
        if view.role != self.me.role or view.leader_ip != self.me.leader_ip:
            self._role_since = time.monotonic()
            evidence.event("role", ip=view.ip, id=view.id, role=view.role, leader=view.leader_ip, epoch=view.epoch)
        self.me = view

    # Election port

    async def answer_peer(self, reader, writer):
        try:
            words = (await asyncio.wait_for(reader.readline(), 2)).decode().split()
            asker = words[1] if len(words) > 1 else ""
            if asker in self._unheard():
                return
            if words[:1] == ["store"]:
                answer = self.store.wire()
            else:
                if asker and asker != self.me.ip:
                    self._contacts[asker] = time.monotonic()
                answer = asdict(self.me)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (OSError, asyncio.TimeoutError, UnicodeDecodeError):
            pass
        finally:
            writer.close()

    def _unheard(self):
        return self.knobs.fail.get("drop_peers", ())

    async def _poll(self, ip, peer):
        known = {f.name for f in fields(model.View)}
        while True:
            try:
                if ip in self._unheard():
                    raise ConnectionRefusedError(ip)
                answer = await net.ask_line(ip, 3888, f"hello {self.me.ip}", 1.0)
                answer = {key: value for key, value in answer.items() if key in known}
                answer["electors"] = tuple(answer["electors"])
                peer.view = model.View(**answer)
                peer.answered = time.monotonic()
            except ConnectionRefusedError:
                peer.dead()
            except OSError:
                if time.monotonic() - peer.answered > self.knobs["peer_timeout"]:
                    peer.dead()
            await asyncio.sleep(self.pause())

    def _tend_pollers(self):
        now = time.monotonic()
        recent = {ip for ip, at in self._contacts.items() if now - at < CONTACT_MEMORY}
        wanted = (set(self.me.cfg) | recent) - {self.me.ip}
        for ip in wanted - set(self._pollers):
            self.peers[ip] = Peer()
            self._pollers[ip] = asyncio.create_task(self._poll(ip, self.peers[ip]))
        for ip in set(self._pollers) - wanted:
            self._pollers.pop(ip).cancel()
            del self.peers[ip]

    # The loop

    async def run(self):
        await asyncio.start_server(self.answer_peer, self.bind or "0.0.0.0", 3888)
        last = time.monotonic()
        while True:
            self._tend_pollers()
            await asyncio.sleep(self.pause())
            now = time.monotonic()
            # A host without CPU for a while saw nothing, and must not accuse anyone because of it.
            stalled, last = now - last > 2.0, now
            await self._tick(now)
            await self._tend_quorum_port()
            if not stalled:
                self._accuse(now)

    async def _tick(self, now):
        if not self.listed or self.stopped or self.assembling():
            return
        if self.me.role == model.DOWN:
            if now < self._start_at:
                return
            self._set(model.looking(self.me))
            self._not_serving_since = now
        live = self.live()
        self._set(model.step(self.me, live, forming_expired=now - self._role_since > FORMING_LIMIT))
        if self.me.role == model.LEADING:
            self._lead(now)
        elif self.me.role == model.FOLLOWING:
            await self._follow(now)
        if model.serving(self.me):
            self._not_serving_since = now
        elif now - self._not_serving_since > max(self.knobs.scaled(40), ELECTION_LIMIT):
            evidence.event("zookeeper_restarted", ip=self.me.ip, why="not serving for too long")
            self._not_serving_since = now
            self.start_zookeeper()

    def _lead(self, now):
        if not self.me.synced or now - self._role_since < float(self.knobs.fail.get("slow_serving", 0)):
            return
        zxid = self.me.zxid
        if zxid >> 32 != self.me.epoch:
            zxid = self.me.epoch << 32
        if not self.store.cluster_id:
            self.store.cluster_id = str(uuid.uuid4())
            self.store.version += 1
            self.store.save()
        if now - self._last_write >= 1.0:
            zxid += 1
            self._last_write = now
        self._note(self.me.epoch, zxid)

    async def _follow(self, now):
        leader = self.live().get(self.me.leader_ip)
        if leader is None or not leader.synced or not leader.cluster_id:
            return
        wait = self.knobs.delay("sync_delay") + float(self.knobs.fail.get("slow_serving", 0))
        if now - self._role_since < wait:
            return
        if not self.me.synced:
            self._check_rollback(leader)
        if not self.me.synced or leader.store_version != self.store.version:
            try:
                self.store.take(await net.ask_line(leader.ip, 3888, f"store {self.me.ip}", 1.0))
            except (OSError, KeyError):
                return
        self.me = replace(self.me, synced=True)
        self._note(leader.epoch, leader.zxid)

    def _note(self, epoch, zxid):
        self.store.log(epoch, zxid)
        self.me = replace(
            self.me, epoch=epoch, zxid=zxid, cluster_id=self.store.cluster_id, store_version=self.store.version
        )
        if not os.path.exists(paths.CLUSTER_ID):
            paths.write(paths.CLUSTER_ID, self.store.cluster_id)

    def _check_rollback(self, leader):
        older = leader.zxid < self.store.zxid - 10
        foreign = bool(self.store.cluster_id) and leader.cluster_id != self.store.cluster_id
        if older or foreign:
            evidence.violation(
                "data_rollback", ip=self.me.ip, leader=leader.ip, leader_zxid=leader.zxid, stored_zxid=self.store.zxid,
                cluster_id=self.store.cluster_id, leader_cluster_id=leader.cluster_id,
            )

    async def _tend_quorum_port(self):
        leads = self.me.role == model.LEADING and len(self.me.cfg) > 1
        if leads and self._quorum_server is None:
            try:
                self._quorum_server = await asyncio.start_server(self.answer_peer, self.bind or "0.0.0.0", 2888)
            except OSError as problem:
                evidence.event("quorum_port", ip=self.me.ip, error=str(problem))
        elif not leads and self._quorum_server is not None:
            self._quorum_server.close()
            self._quorum_server = None

    # Writes

    async def commit(self, key, value, timeout=5.0):
        """Writes one key on the leader and waits for a majority; False when it cannot be committed."""
        if self.me.role != model.LEADING or not self.me.synced:
            return False
        version = self.store.put(key, value)
        self._note(self.me.epoch, self.me.zxid + 1)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.me.role == model.LEADING:
            live = self.live()
            have = [ip for ip in model.attached(self.me, live) if live[ip].store_version >= version]
            if 1 + len(have) >= model.majority(self.me):
                return True
            await asyncio.sleep(0.1)
        return False

    # Accusations

    def _accuse(self, now):
        live = self.live()
        me = self.me
        for ip, expected, announced in self._lasting["id_mismatch"].due(model.id_mismatches(me, live)):
            evidence.violation("id_mismatch", ip=me.ip, peer=ip, expected_id=expected, announced_id=announced)
        for number, first, second in self._lasting["sid_conflict"].due(model.sid_conflicts(live)):
            evidence.violation("sid_conflict", ip=me.ip, id=number, nodes=[first, second])
        for pair in self._lasting["two_leaders"].due(filter(None, [tuple(model.rival_leaders(live))])):
            evidence.violation("two_leaders", ip=me.ip, leaders=list(pair))
        if not self.fixed_size and not self._revival_reported and now - self._born < REVIVAL_WINDOW and model.has_been_dropped(me, live):
            self._revival_reported = True
            evidence.violation("old_master_revived", ip=me.ip, id=me.id, peers=sorted(set(live) - {me.ip}))
        self._accuse_of_quorum_loss(now, live)

    def _accuse_of_quorum_loss(self, now, live):
        me = self.me
        if model.serving(me):
            if not self._has_served:
                asyncio.create_task(self._tell_upgrade_is_over())
            self._has_served, self._lost_reported = True, False
            self._lost_since = self._impossible_since = None
            return
        if not self._has_served or not me.running or self._lost_reported:
            return
        if self._lost_since is None:
            self._lost_since = now
        possible = model.quorum_possible(me, live)
        self._impossible_since = None if possible else self._impossible_since or now
        impossible_for = 0.0 if possible else now - self._impossible_since
        if impossible_for < 2 * self.tick and now - self._lost_since < ACCUSE_AFTER:
            return
        self._lost_reported = True
        down = sorted(ip for ip in me.cfg if ip != me.ip and (ip not in live or not live[ip].running))
        evidence.violation(
            "quorum_lost", ip=me.ip, id=me.id, ensemble=me.cfg, down=down, no_leader=possible,
            roles={ip: v.role for ip, v in live.items()}, expected=self._loss_was_announced(now, down, live),
        )

    def _loss_was_announced(self, now, down, live):
        """Three masters, one stopped for good and one restarting: a gap that every plan has to announce.

        Two that are upgraded at once are not it, however far apart they went. One whose upgrade run is known is the one
        that restarts; without any such run the two must not have gone together.
        """
        if len(self.me.cfg) != 3 or len(down) != 2:
            return False
        upgraded = len(set(down) & set(self.running_upgrades()))
        if upgraded > 0:
            return upgraded == 1
        ages = sorted(now - self.peers[ip].lost_at if ip not in live else 0.0 for ip in down)
        return ages[1] - ages[0] > 1.5

    # Upgrade runs

    async def _tell_upgrade_is_over(self):
        """Releases the lock that an upgrade run of this node left with its peers."""
        for ip in sorted(set(self.live()) - {self.me.ip}):
            try:
                await net.http("DELETE", f"http://{ip}:8181/standin/upgrades/{self.me.ip}", timeout=1.0)
            except OSError:
                continue

    def running_upgrades(self):
        """Addresses of other masters whose upgrade run is not over, as far as they told."""
        limit = max(60.0, self.knobs.delay("settle"))
        return sorted(ip for ip, at in self.upgrades.items() if time.monotonic() - at < limit)

    def shut_down(self):
        """Saves the last position; the process ends right after."""
        if self.listed:
            self.store.log(self.me.epoch, self.me.zxid, force=True)
