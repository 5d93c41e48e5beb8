import os
import subprocess
import sys
import unittest

import support
from node_on_loopback import Loopback, until
from standin.node import aim

STATUS = "/exhibitor/v1/cluster/status"
STORE = "127.0.77.50:8079"
S3 = {"exhibitor_storage_backend": "aws_s3", "master_discovery": "master_http_loadbalancer", "num_masters": "3",
      "exhibitor_address": "127.0.77.31", "aws_region": "r", "s3_bucket": "bucket", "s3_prefix": "exhibitor",
      "exhibitor_explicit_keys": "false"}


class Rules(unittest.TestCase):
    def test_properties_escape_colons(self):
        text = aim.render_properties({aim.SPEC: "1:10.0.0.1,2:10.0.0.2"})
        self.assertEqual(text, "com.netflix.exhibitor.servers-spec=1\\:10.0.0.1,2\\:10.0.0.2\n")
        self.assertEqual(aim.parse_properties("# note\n" + text), {aim.SPEC: "1:10.0.0.1,2:10.0.0.2"})

    def test_newcomer_takes_the_next_id_and_drops_all_that_are_down(self):
        cfg = {"a": 1, "b": 2, "c": 3}
        self.assertEqual(aim.wanted_list("n", cfg, ["a", "c"], 3), {"b": 2, "n": 4})

    def test_full_healthy_list_is_left_alone(self):
        self.assertIsNone(aim.wanted_list("n", {"a": 1, "b": 2, "c": 3}, [], 3))
        self.assertIsNone(aim.wanted_list("a", {"a": 1}, ["a"], 3))

    def test_first_node_starts_the_list(self):
        self.assertEqual(aim.wanted_list("a", {}, [], 3), {"a": 1})

    def test_leader_restarts_last(self):
        old, new = {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "n": 4}
        self.assertEqual(aim.turn_order(old, new, "a"), ["n", "b", "a"])


class Cluster(unittest.TestCase):
    def test_three_masters_find_each_other_and_replace_a_lost_one(self):
        lab = Loopback()
        self.addCleanup(lab.close)
        store = subprocess.Popen([sys.executable, os.path.join(support.REPOSITORY, "lab/www/object-store.py"), STORE,
                                  os.path.join(lab.folder.name, "objects")])
        self.addCleanup(store.wait)
        self.addCleanup(store.kill)
        knobs = {"s3_endpoint": f"http://{STORE}", "aim_period": 15.0, "check_ms": 10000}

        def master(number):
            node = lab.node(f"127.0.77.{number}", "master", [], knobs=knobs, change=S3)
            node.start("exhibitor")
            return node

        def serving(nodes):
            return all([e["code"] for e in n.json(8181, STATUS) or ()] == [3, 3, 3] for n in nodes)

        first = [master(n) for n in (31, 32, 33)]
        self.assertTrue(until(lambda: serving(first), 25), "\n".join(n.logs()[-2000:] for n in first))
        ids = first[0].json(8181, "/standin/view")["ensemble"]
        self.assertEqual(sorted(ids.values()), [1, 2, 3])
        lost = next(n for n in first if n.json(8181, "/standin/view")["role"] == "FOLLOWING")
        lost.stop("exhibitor")
        rest = [n for n in first if n is not lost] + [master(34)]
        self.assertTrue(until(lambda: serving(rest), 25), "\n".join(n.logs()[-2000:] for n in rest))
        after = rest[0].json(8181, "/standin/view")["ensemble"]
        self.assertEqual(after, {**{ip: n for ip, n in ids.items() if ip != lost.ip}, "127.0.77.34": 4})
        self.assertEqual([n.violations() for n in lab.nodes], [[], [], [], []])


if __name__ == "__main__":
    unittest.main()
