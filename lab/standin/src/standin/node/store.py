"""The data directory of the stand-in's ZooKeeper: own id, list history, last zxid and the replicated store."""

import json
import os
import shutil
import time

from . import evidence, paths

SNAPSHOT = os.path.join(paths.EXHIBITOR, "zookeeper/snapshot")
TRANSACTIONS = os.path.join(paths.EXHIBITOR, "zookeeper/transactions")
_MYID = os.path.join(SNAPSHOT, "myid")
_STORE = os.path.join(SNAPSHOT, "store.json")
_HISTORY = os.path.join(SNAPSHOT, "list-history.json")
_LOG = os.path.join(TRANSACTIONS, "last.json")


class Store:
    """Replicated data (`cluster_id`, `data`, `version`) and this node's own log position."""

    def __init__(self):
        saved = json.loads(paths.read(_STORE, "{}"))
        self.cluster_id = saved.get("cluster_id", "")
        self.version = saved.get("version", 0)
        self.data = saved.get("data", {})
        log = json.loads(paths.read(_LOG, "{}"))
        self.epoch = log.get("epoch", 0)
        self.zxid = log.get("zxid", 0)
        self._saved_zxid = self.zxid

    def wire(self):
        return {"cluster_id": self.cluster_id, "version": self.version, "data": self.data}

    def take(self, wire):
        """Replaces the replicated data by a leader's."""
        self.cluster_id, self.version, self.data = wire["cluster_id"], wire["version"], wire["data"]
        self.save()

    def put(self, key, value):
        """Changes one key (None deletes it) and returns the new version."""
        if value is None:
            self.data.pop(key, None)
        else:
            self.data[key] = value
        self.version += 1
        self.save()
        return self.version

    def save(self):
        paths.write(_STORE, json.dumps(self.wire(), sort_keys=True))

    def log(self, epoch, zxid, force=False):
        """Notes the position; on disk every few writes, since the zxid grows each second."""
        changed = epoch != self.epoch
        self.epoch, self.zxid = epoch, zxid
        if force or changed or zxid - self._saved_zxid >= 5:
            paths.write(_LOG, json.dumps({"epoch": epoch, "zxid": zxid}))
            self._saved_zxid = zxid


def open_directory(ip, own_id, cfg):
    """Prepares the directory for a start with this list, raising the accusations that compare it with the last one.

    Returns when the data began, and `{address: time}` of what earlier lists held and this one does not.
    """
    os.makedirs(SNAPSHOT, exist_ok=True)
    os.makedirs(TRANSACTIONS, exist_ok=True)
    install_id = paths.read(paths.INSTALL_ID, "")
    last = json.loads(paths.read(_HISTORY, "{}"))
    old_id = paths.read(_MYID)
    has_data = os.path.exists(_STORE)
    if last and has_data and last.get("install_id") != install_id:
        evidence.violation("not_wiped", ip=ip, id=own_id, previous_id=int(old_id or 0))
    elif old_id is not None and int(old_id) != own_id and has_data:
        evidence.violation("id_changed", ip=ip, id=own_id, previous_id=int(old_id))
    same_life = bool(last) and last.get("install_id") == install_id
    history = {"cfg": cfg, "dropped": _dropped(last, cfg), "install_id": install_id,
               "joined": last["joined"] if same_life else time.time()}
    paths.write(_HISTORY, json.dumps(history, sort_keys=True))
    paths.write(_MYID, f"{own_id}\n")
    return history["joined"], history["dropped"]


def _dropped(last, cfg):
    gone = {ip: time.time() for ip in last.get("cfg", ())}
    gone.update(last.get("dropped", {}))
    return {ip: at for ip, at in gone.items() if ip not in cfg}


def is_open():
    return os.path.exists(_HISTORY)


def change_list(own_id, cfg):
    """Notes a list that changed while running (automatic instance management)."""
    last = json.loads(paths.read(_HISTORY, "{}"))
    last.update(dropped=_dropped(last, cfg), cfg=cfg)
    paths.write(_HISTORY, json.dumps(last, sort_keys=True))
    if own_id:
        paths.write(_MYID, f"{own_id}\n")
    return last["dropped"]


def write_zoo_cfg(cfg):
    lines = [
        "tickTime=2000", "initLimit=10", "syncLimit=5", "clientPort=2181",
        f"dataDir={SNAPSHOT}", f"dataLogDir={TRANSACTIONS}", "autopurge.snapRetainCount=5",
    ]
    lines += [f"server.{number}={ip}:2888:3888" for ip, number in sorted(cfg.items(), key=lambda item: item[1])]
    paths.write(os.path.join(paths.EXHIBITOR, "conf/zoo.cfg"), "\n".join(lines) + "\n")


def archive(target):
    """Copies the ZooKeeper directory into a tar archive."""
    base = target[: -len(".tar.gz")] if target.endswith(".tar.gz") else target
    return shutil.make_archive(base, "gztar", os.path.join(paths.EXHIBITOR, "zookeeper"))
