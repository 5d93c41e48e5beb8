import json
import os
import socket
import time
import unittest
import urllib.request

import support
from node_on_loopback import Loopback, until

MASTERS = ["127.0.77.11", "127.0.77.12", "127.0.77.13"]
STATUS = "/exhibitor/v1/cluster/status"


def word(ip, text):
    with socket.create_connection((ip, 2181), timeout=3) as connection:
        connection.sendall(text.encode())
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    return answer.decode()


def request(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(
        urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"}), timeout=10
    )


class Cluster(unittest.TestCase):
    """One life of a cluster, in order: install, serve, use, restart the leader."""

    def setUp(self):
        self.lab = Loopback()
        self.addCleanup(self.lab.close)

    def check(self, condition, message, limit=15.0):
        if not until(condition, limit):
            self.fail(message + "\n" + "\n".join(n.logs()[-3000:] for n in self.lab.nodes))

    def test_three_masters_and_agents(self):
        masters = [self.lab.node(ip, "master", MASTERS) for ip in MASTERS]
        agent = self.lab.node("127.0.77.21", "slave", MASTERS)
        public = self.lab.node("127.0.77.22", "slave_public", MASTERS)
        first, second, third = masters

        first.start("exhibitor")
        self.check(lambda: first.json(8181, STATUS), "exhibitor answers")
        self.check(lambda: [e["code"] for e in first.json(8181, STATUS)] == [2, 1, 1], "alone is not serving")
        self.assertIn("not currently serving", word(first.ip, "srvr"))
        self.assertEqual(word(first.ip, "ruok"), "imok")

        second.start("exhibitor")
        self.check(lambda: [e["code"] for e in first.json(8181, STATUS)] == [3, 3, 1], "two of three serve")
        third.start("exhibitor")
        self.check(lambda: all(
            [e["code"] for e in m.json(8181, STATUS) or ()] == [3, 3, 3] for m in masters), "all serve")
        status = first.json(8181, STATUS)
        self.assertEqual([e["description"] for e in status], ["serving"] * 3)
        self.assertEqual(sum(e["isLeader"] for e in status), 1)
        self.assertEqual(first.json(8181, "/exhibitor/v1/cluster/list"), {"servers": MASTERS, "port": 2181})
        modes = sorted(word(m.ip, "srvr").split("Mode: ")[1].split()[0] for m in masters)
        self.assertEqual(modes, ["follower", "follower", "leader"])
        ids = {m.read("/var/lib/dcos/cluster-id") for m in masters}
        self.assertEqual(len(ids), 1)

        for m in masters:
            m.start("mesos-master", "marathon", "adminrouter")
        metrics = lambda m: m.json(5050, "/metrics/snapshot") or {}
        self.check(lambda: all(metrics(m).get("registrar/log/recovered") == 1 for m in masters), "logs recover")
        self.check(lambda: sum(metrics(m).get("master/elected", 0) for m in masters) == 1, "one leads")

        agent.start("mesos-slave")
        public.start("mesos-slave", "adminrouter-agent")
        self.check(lambda: (agent.json(5051, "/metrics/snapshot") or {}).get("slave/registered") == 1, "agent registers")
        self.check(lambda: (public.json(5051, "/metrics/snapshot") or {}).get("slave/registered") == 1, "public registers")
        self.assertEqual(public.json(5051, "/state")["flags"]["default_role"], "slave_public")
        self.check(lambda: public.json(61001, "/system/health/v1"), "the health report answers")
        self.assertEqual(public.json(61001, "/system/health/v1")["node_role"], "agent_public")
        self.check(lambda: first.get(80, "/")[0] == 200, "adminrouter answers")
        self.assertEqual(len(first.json(80, "/mesos/slaves")["slaves"]), 2)
        self.assertEqual(first.get(5050, "/health"), (200, ""))
        self.assertIn("DC/OS", first.get(80, "/")[1])
        self.assertEqual(first.json(80, "/dcos-metadata/dcos-version.json")["version"], "2.0.6")
        self.assertEqual(len(first.json(80, "/exhibitor/exhibitor/v1/cluster/status")), 3)
        self.assertEqual(first.get(80, "/system/health/v1")[0], 502)

        self.check(lambda: all(m.get(80, "/")[0] == 200 for m in masters), "adminrouter answers")
        self.check(lambda: all((m.json(8080, "/v2/info") or {}).get("leader") for m in masters), "marathon leads")
        answers = [request("POST", f"http://{m.ip}:8080/v2/apps", {"id": f"/app{n}", "instances": 2}).status
                   for n, m in enumerate(masters)]
        self.assertEqual(answers, [201] * 3)
        self.assertEqual([a["id"] for a in second.json(80, "/marathon/v2/apps")["apps"]], ["/app0", "/app1", "/app2"])

        leader = next(m for m in masters if word(m.ip, "srvr").endswith("Mode: leader\nNode count: 5\n"))
        leader.stop("exhibitor")
        rest = [m for m in masters if m is not leader]
        self.check(lambda: all("Mode:" in word(m.ip, "srvr") for m in rest), "the rest elects")
        leader.start("exhibitor")
        self.check(lambda: all([e["code"] for e in m.json(8181, STATUS) or ()] == [3, 3, 3] for m in masters), "all again")
        self.assertEqual(len(rest[0].json(80, "/marathon/v2/apps")["apps"]), 3)
        self.assertEqual([n.violations() for n in self.lab.nodes], [[]] * 5)

    def test_lost_quorum_is_a_violation(self):
        masters = [self.lab.node(ip, "master", MASTERS) for ip in MASTERS]
        for m in masters:
            m.start("exhibitor")
        self.check(lambda: all([e["code"] for e in m.json(8181, STATUS) or ()] == [3, 3, 3] for m in masters), "all serve")
        masters[0].stop("exhibitor")
        masters[1].stop("exhibitor")
        self.check(lambda: masters[2].violations(), "quorum loss is noticed")
        found = masters[2].violations()[0]
        self.assertEqual((found["kind"], found["down"], found["expected"]), ("quorum_lost", MASTERS[:2], False))

    def test_gap_of_three_is_announced_unless_both_are_upgraded(self):
        # The first one has to be down for longer than two that went together may be apart, if nobody upgrades.
        for locks, apart, expected in ([], 2.5, True), (MASTERS[:2], 2.5, False), (MASTERS[1:2], 0.0, True):
            with self.subTest(locks=locks):
                lab = Loopback()
                self.addCleanup(lab.close)
                masters = [lab.node(ip, "master", MASTERS) for ip in MASTERS]
                for m in masters:
                    m.start("exhibitor")
                self.check(lambda: all([e["code"] for e in m.json(8181, STATUS) or ()] == [3, 3, 3] for m in masters), "all serve")
                for ip in locks:
                    request("PUT", f"http://{MASTERS[2]}:8181/standin/upgrades/{ip}")
                masters[0].stop("exhibitor")
                time.sleep(apart)
                masters[1].stop("exhibitor")
                self.check(lambda: masters[2].violations(), "quorum loss is noticed")
                found = masters[2].violations()[0]
                self.assertEqual((found["kind"], found["expected"]), ("quorum_lost", expected))
                lab.close()

    def test_address_outside_the_list_stops_exhibitor_since_1_12(self):
        stranger = self.lab.node("127.0.77.99", "master", MASTERS)
        stranger.start("exhibitor")
        self.assertEqual(stranger.processes["exhibitor"].wait(10), 1)
        self.assertIn("127.0.77.99 is not in the list of masters", stranger.logs())

    def test_changed_id_and_unwiped_rejoin_are_violations(self):
        alone = self.lab.node("127.0.77.12", "master", ["127.0.77.12"])
        alone.start("exhibitor")
        self.check(lambda: os.path.exists(alone.root + "/var/lib/dcos/cluster-id"), "a single master leads")
        alone.stop("exhibitor")
        alone.configure(MASTERS)
        alone.start("exhibitor")
        self.check(lambda: [v["kind"] for v in alone.violations()] == ["id_changed"], "a new id is noticed")
        alone.stop("exhibitor")
        alone.write("/etc/mesosphere/setup-flags/standin-install-id", "second")
        alone.start("exhibitor")
        self.check(lambda: [v["kind"] for v in alone.violations()] == ["id_changed", "not_wiped"], "old data is noticed")


if __name__ == "__main__":
    unittest.main()
