"""The ensemble model: who hears whom, who leads, who serves. Pure: no clock, disk or network.

Section names refer to the reference of the project (11.5). A caller polls its peers, builds a `View` of each that
answered, and applies the functions here to its own view.
"""

from dataclasses import dataclass, field, replace
from typing import Dict, Optional, Tuple

LOOKING, FOLLOWING, LEADING, DOWN = "LOOKING", "FOLLOWING", "LEADING", "DOWN"


@dataclass(frozen=True)
class View:
    """What a node says about itself in one answer on the election port."""

    ip: str
    id: int
    cfg: Dict[str, int]
    role: str = DOWN
    leader_ip: Optional[str] = None
    epoch: int = 0
    zxid: int = 0
    # The leader has gathered its majority, the follower has copied its leader's data.
    synced: bool = False
    # Who took part in the election this leader won; they follow it without asking a third node.
    electors: Tuple[str, ...] = ()
    cluster_id: str = ""
    store_version: int = 0
    boot_id: str = ""
    # When this node's data began, and when each address left its list (seconds since 1970).
    joined: float = 0.0
    dropped: Dict[str, float] = field(default_factory=dict)

    @property
    def running(self):
        return self.role != DOWN

    @property
    def rank(self):
        return (self.epoch, self.zxid, self.id)


def byte_sorted(addresses):
    """Sorts addresses as the generator does: by their bytes, so `10.0.0.10` comes before `10.0.0.9`."""
    return sorted(addresses, key=lambda text: text.encode())


def ensemble_string(addresses):
    """Renders `1:ip,2:ip` over the byte-sorted addresses."""
    return ",".join(f"{n}:{ip}" for n, ip in enumerate(byte_sorted(addresses), 1))


def parse_ensemble(text):
    """Reads `1:ip,2:ip` into a map from address to id; `ValueError` on anything else."""
    cfg = {}
    for entry in filter(None, text.strip().split(",")):
        number, _, ip = entry.partition(":")
        cfg[ip] = int(number)
    return cfg


def majority(view):
    return len(view.cfg) // 2 + 1


def hears(a, b, live):
    """Whether `a` gets election messages of `b`; `live` maps address to view of all that answer."""
    if not (a.running and b.running) or a.cfg.get(b.ip) != b.id:
        return False
    if b.cfg.get(a.ip) == a.id:
        return True
    if a.ip in b.cfg or a.id <= b.id:
        return False
    # The connection runs from the higher id to the lower one, so `b` accepts a stranger with a higher id,
    # unless the rightful owner of that id is there too.
    return not any(
        other.running and other.ip != a.ip and b.cfg.get(other.ip) == a.id for other in live.values()
    )


def mutual(a, b, live):
    return hears(a, b, live) and hears(b, a, live)


def eligible(x, live):
    """Whether LOOKING `x` could win an election, and with whom (addresses without `x`)."""
    voters = [
        b.ip for b in live.values() if b.ip != x.ip and b.role == LOOKING and mutual(x, b, live)
    ]
    return 1 + len(voters) >= majority(x), tuple(sorted(voters))


def attached(leader, live):
    """Addresses of the nodes that follow `leader`, listed by it or not."""
    return [b.ip for b in live.values() if b.role == FOLLOWING and b.leader_ip == leader.ip and b.ip != leader.ip]


def leader_to_join(a, live):
    """The LEADING node that LOOKING `a` may follow, or None."""
    for leader in sorted(live.values(), key=lambda v: v.rank, reverse=True):
        if leader.role != LEADING or leader.ip == a.ip or not hears(a, leader, live):
            continue
        if a.ip in leader.electors and not leader.synced:
            return leader
        crowd = [
            b
            for b in live.values()
            if b.ip != a.ip
            and hears(a, b, live)
            and (b.ip == leader.ip or (b.role == FOLLOWING and b.leader_ip == leader.ip))
        ]
        if len(crowd) >= majority(a):
            return leader
    return None


def step(me, live, forming_expired=False):
    """The next own view after one look at `live` (which includes `me`).

    `forming_expired` says that a leader without its majority has waited long enough for its electors.
    """
    if not me.running:
        return me
    if len(me.cfg) == 1 and me.ip in me.cfg:
        if me.role == LEADING:
            return me
        return replace(me, role=LEADING, leader_ip=me.ip, epoch=me.epoch + 1, synced=True, electors=())
    if me.role == LOOKING:
        leader = leader_to_join(me, live)
        if leader is not None:
            return replace(me, role=FOLLOWING, leader_ip=leader.ip, synced=False, electors=())
        can_lead, voters = eligible(me, live)
        if not can_lead:
            return me
        rivals = [x for x in live.values() if x.role == LOOKING and x.ip != me.ip and eligible(x, live)[0]]
        if any(x.rank > me.rank and mutual(me, x, live) for x in rivals):
            return me
        # An election that one of the voters already won: wait to follow it instead of opening a second one.
        if any(x.role == LEADING and not x.synced and me.ip in x.electors for x in live.values()):
            return me
        epoch = max([me.epoch] + [live[ip].epoch for ip in voters]) + 1
        return replace(me, role=LEADING, leader_ip=me.ip, epoch=epoch, synced=False, electors=voters)
    if me.role == FOLLOWING:
        leader = live.get(me.leader_ip)
        if leader is None or leader.role != LEADING or not hears(me, leader, live):
            return looking(me)
        return me
    enough = 1 + len(attached(me, live)) >= majority(me)
    if enough:
        return me if me.synced else replace(me, synced=True)
    if me.synced or forming_expired:
        return looking(me)
    # Two nodes may win at once when each acted on an old look at the other: the lesser gives way.
    if any(
        x.role == LEADING and x.ip != me.ip and hears(me, x, live) and (x.synced or x.rank > me.rank)
        for x in live.values()
    ):
        return looking(me)
    return me


def looking(me):
    return replace(me, role=LOOKING, leader_ip=None, synced=False, electors=())


def serving(view):
    return view.role in (FOLLOWING, LEADING) and view.synced


def quorum_possible(me, live):
    """Whether a majority of `me`'s own list serves, or could elect a leader together with `me`."""
    if serving(me):
        return True
    listed = [b for b in live.values() if b.ip in me.cfg]
    if sum(1 for b in listed if serving(b)) >= majority(me):
        return True
    return 1 + sum(1 for b in listed if b.ip != me.ip and mutual(me, b, live)) >= majority(me)


# What a node may accuse others of. Each returns plain facts; how long they must last is the caller's business.


def id_mismatches(me, live):
    """Rule R3: an address whose owner announces another id than this node has for it."""
    return [
        (b.ip, me.cfg[b.ip], b.id)
        for b in live.values()
        if b.running and b.ip != me.ip and b.ip in me.cfg and me.cfg[b.ip] != b.id
    ]


def sid_conflicts(live):
    """Pairs of live nodes with one id, once others count on both of them.

    A newcomer that only lists itself beside the master it replaces is how a replacement starts, and is no conflict.
    """
    found = []
    nodes = sorted((v for v in live.values() if v.running), key=lambda v: v.ip)
    for n, p in enumerate(nodes):
        for q in nodes[n + 1:]:
            if p.id != q.id:
                continue
            others = [s for s in nodes if s.ip not in (p.ip, q.ip)]
            if any(s.cfg.get(p.ip) == p.id for s in others) and any(s.cfg.get(q.ip) == q.id for s in others):
                found.append((p.id, p.ip, q.ip))
    return found


def rival_leaders(live):
    """Addresses of two or more settled leaders of one cluster, or an empty list."""
    by_cluster = {}
    for v in live.values():
        if v.role == LEADING and v.synced and v.cluster_id:
            by_cluster.setdefault(v.cluster_id, []).append(v.ip)
    return sorted(ip for ips in by_cluster.values() if len(ips) > 1 for ip in ips)


def has_been_dropped(me, live):
    """Whether most reachable peers gave up this address after its data began, so that it is no newcomer there."""
    peers = [b for b in live.values() if b.ip != me.ip]
    gone = [b for b in peers if b.dropped.get(me.ip, 0.0) > me.joined and me.ip not in b.cfg]
    return bool(peers) and len(gone) > len(peers) // 2
