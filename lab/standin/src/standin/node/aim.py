"""Exhibitor's automatic instance management: the server list lives in a shared object that the masters edit.

The object store is the lab's: plain HTTP with ETag and If-Match. The rules are those of the reference's section 7.
"""

import asyncio
import random
import sys
import time

from . import ensemble as model
from . import evidence, identity, net

SPEC = "com.netflix.exhibitor.servers-spec"
# A node that is dropped and back within this time was only rebooting.
DROPPED_TOO_EARLY = 120.0


def parse_properties(text):
    """`{key: value}` of a Java properties text, as far as Exhibitor writes it."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().replace("\\:", ":") for key, _, value in pairs}


def render_properties(values):
    return "".join(f"{key}={value.replace(':', chr(92) + ':')}\n" for key, value in sorted(values.items()))


def spec_of(cfg):
    return ",".join(f"{number}:{ip}" for ip, number in sorted(cfg.items(), key=lambda item: item[1]))


def wanted_list(ip, cfg, down, fixed_size):
    """The list this node would write, or None when it has no reason to act.

    It acts when it is missing and there is room: too few members, or members that are down, all of which are dropped.
    """
    if ip in cfg or not (len(cfg) < fixed_size or down):
        return None
    kept = {other: number for other, number in cfg.items() if other not in down}
    return {**kept, ip: max(cfg.values(), default=0) + 1}


def turn_order(old, new, leader):
    """Who restarts on the new list when: newcomers, then unchanged members, the leader last."""
    newcomers = [ip for ip in new if ip not in old]
    stayers = sorted((ip for ip in new if ip in old), key=lambda ip: (ip == leader, new[ip]))
    return newcomers + stayers


class Manager:
    """The passes of one node."""

    def __init__(self, ip, settings, knobs):
        self.ip = ip
        self.knobs = knobs
        self.fixed_size = identity.master_count()
        endpoint = knobs["s3_endpoint"].rstrip("/")
        if not endpoint:
            raise SystemExit("the knob s3_endpoint is not set: there is no object store to keep the server list in")
        self.url = f"{endpoint}/{settings['AWS_S3_BUCKET']}/{settings['AWS_S3_PREFIX']}"
        self.properties = {}
        self.tag = None

    async def read(self):
        """The list of the shared object; empty when there is none yet. `OSError` when the store is away."""
        status, headers, body = await net.http("GET", self.url, timeout=5.0)
        if status == 404:
            self.properties, self.tag = {}, None
        elif status == 200:
            self.properties, self.tag = parse_properties(body.decode()), headers.get("etag")
        else:
            raise ConnectionError(f"{self.url}: HTTP {status}")
        return model.parse_ensemble(self.properties.get(SPEC, ""))

    async def write(self, cfg):
        """Replaces the list unless somebody else did since it was read; returns whether it was written."""
        condition = {"If-Match": self.tag} if self.tag else {"If-None-Match": "*"}
        text = render_properties({**self.properties, SPEC: spec_of(cfg)})
        status, _, _ = await net.http("PUT", self.url, text.encode(), timeout=5.0,
                                      headers={**condition, "Content-Type": "text/plain"})
        return status in (200, 201, 204)

    async def first_list(self):
        while True:
            try:
                return await self.read()
            except OSError as problem:
                print(f"waiting for the shared configuration: {problem}", file=sys.stderr, flush=True)
                await asyncio.sleep(2)

    async def run(self, member, exhibitor):
        # Peers need a moment to be seen before anything can be said about them.
        await asyncio.sleep(3 * member.tick + 1)
        self._accuse_of_early_drop(member)
        while True:
            try:
                shared = await self.read()
            except OSError as problem:
                print(f"shared configuration: {problem}", file=sys.stderr, flush=True)
                await asyncio.sleep(2)
                continue
            if shared != member.me.cfg:
                if self._is_my_turn(member, shared):
                    evidence.event("list_changed", ip=self.ip, old=spec_of(member.me.cfg), new=spec_of(shared))
                    member.change_list(shared)
                    exhibitor.forget()
                await asyncio.sleep(2 * member.tick)
                continue
            await self._tend(shared, exhibitor)
            await asyncio.sleep(max(2 * member.tick, self.knobs.delay("aim_period") * random.uniform(1.0, 2.0)))

    async def _tend(self, shared, exhibitor):
        """Adds this node to the list when it is missing and there is room."""
        if self.ip in shared:
            return
        down = [entry["hostname"] for entry in await exhibitor.status() if entry["code"] == 1] if shared else []
        wanted = wanted_list(self.ip, shared, down, self.fixed_size)
        if wanted is not None and await self.write(wanted):
            print(f"Automatic Instance Management will change the server list: {spec_of(shared)} ==> {spec_of(wanted)}",
                  file=sys.stderr, flush=True)
            evidence.event("list_written", ip=self.ip, old=spec_of(shared), new=spec_of(wanted), dropped=down)

    def _is_my_turn(self, member, shared):
        live = member.live()
        old = member.me.cfg
        if self.ip not in old or member.assembling() or self.ip not in shared:
            return True
        leader = next((v.ip for v in live.values() if v.role == model.LEADING and v.synced), None)
        if leader is None:
            # Without a quorum the change waits.
            return False
        for ip in turn_order(old, shared, leader):
            if ip == self.ip:
                return True
            view = live.get(ip)
            if view is None or view.cfg != shared or (ip in old and not model.serving(view)):
                return False
        return False

    def _accuse_of_early_drop(self, member):
        if member.listed:
            return
        times = [v.dropped[self.ip] for v in member.live().values() if self.ip in v.dropped]
        if times and time.time() - max(times) < DROPPED_TOO_EARLY:
            evidence.violation("aim_dropped_live_member", ip=self.ip, list=spec_of(member.me.cfg))
