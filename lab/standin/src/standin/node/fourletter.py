"""ZooKeeper's client port: the four-letter words that health checks use."""

import asyncio

from . import ensemble as model

NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"
VERSION = "3.4.14-standin"


def mode(view):
    if len(view.cfg) == 1:
        return "standalone"
    return "leader" if view.role == model.LEADING else "follower"


def answer(word, member):
    """Text for one word, or None when the process would not answer at all."""
    view = member.me
    if not view.running:
        return None
    if word == "ruok":
        return "imok"
    if word == "conf":
        return f"clientPort=2181\ntickTime=2000\nserverId={view.id}\ninitLimit=10\nsyncLimit=5\nelectionPort=3888\nquorumPort=2888\n"
    if word not in ("srvr", "stat", "mntr"):
        return f"{word} is not executed because it is not known here.\n"
    if not model.serving(view):
        return NOT_SERVING
    zxid = f"0x{view.zxid:x}"
    if word == "mntr":
        lines = [f"zk_version\t{VERSION}", f"zk_server_state\t{mode(view)}", f"zk_znode_count\t{len(member.store.data) + 5}"]
        if mode(view) == "leader":
            followers = len(model.attached(view, member.live()))
            lines += [f"zk_followers\t{followers}", f"zk_synced_followers\t{followers}"]
        return "\n".join(lines) + "\n"
    lines = [f"Zookeeper version: {VERSION}", "Latency min/avg/max: 0/0/1", "Received: 1", "Sent: 1",
             "Connections: 1", "Outstanding: 0", f"Zxid: {zxid}", f"Mode: {mode(view)}", "Node count: 5"]
    if word == "stat":
        lines.insert(1, "Clients:\n")
    return "\n".join(lines) + "\n"


async def serve(member, host, port=2181):
    async def client(reader, writer):
        try:
            word = (await asyncio.wait_for(reader.readexactly(4), 5)).decode("latin-1")
            text = answer(word, member)
            if text is not None:
                writer.write(text.encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(client, host, port)
