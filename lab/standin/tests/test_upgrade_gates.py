import asyncio
import unittest

import support  # noqa: F401
from standin.gen.upgrade import script
from standin.gen.packages import Package
from standin.node.upgrade_gates import accusations, settled
from standin.release import EMULATED, Release

OLD = {"a": 1, "b": 2, "c": 3}
NEW = {"n": 1, "b": 2, "c": 3}


def view(role="FOLLOWING", serving=("b", "c"), ensembles=None, upgrades=()):
    return {"ensemble": OLD, "role": role, "serving_servers": list(serving), "upgrades": list(upgrades),
            "ensembles": ensembles or {"b": OLD, "c": OLD, "n": NEW}}


class Gates(unittest.TestCase):
    def test_ordered_replacement_is_not_accused(self):
        self.assertEqual(accusations("b", view(), NEW), [])
        self.assertEqual(accusations("c", view("LEADING", ensembles={"b": NEW, "c": OLD, "n": NEW}), NEW), [])

    def test_leader_before_other_survivors(self):
        self.assertEqual(accusations("c", view("LEADING"), NEW), [("leader_not_last", {"not_upgraded": ["b"]})])

    def test_survivor_that_does_not_serve(self):
        found = accusations("b", view(serving=["b"]), NEW)
        self.assertEqual(found, [("upgrade_while_unhealthy", {"not_serving": ["c"]})])

    def test_plain_upgrade_wants_every_member(self):
        found = accusations("b", view(), OLD)
        self.assertEqual(found, [("upgrade_while_unhealthy", {"not_serving": ["a"]})])

    def test_running_upgrade_of_another(self):
        self.assertEqual(accusations("b", view(upgrades=["c"]), NEW), [("concurrent_upgrade", {"upgrading": ["c"]})])

    def test_election_of_a_moment_is_not_the_operators_fault(self):
        async def look():
            return looks.pop(0) if len(looks) > 1 else looks[0]

        for looks in ([view(serving=["b"]), None, view()], [view(serving=["b"])]):
            last = looks[-1]
            self.assertEqual(asyncio.run(settled("b", NEW, look, patience=0.2)), last)


class Script(unittest.TestCase):
    def text(self, version):
        args = {"bootstrap_url": "http://b:80", "exhibitor_static_ensemble": "1:a"}
        return script(args, Release(version), [Package("x", {}, "x--1")], "1.0.0")

    def test_arguments_matter_since_1_13(self):
        strict = {v: "strict_arguments=1\n" in self.text(v) for v in EMULATED}
        self.assertEqual(strict, {"1.9.10": False, "1.12.3": False, "2.0.6": True, "2.2.0": True})

    def test_checks_only_work_in_1_10_and_1_11(self):
        works = {v: "checks_work=1\n" in self.text(v) for v in (*EMULATED, "1.10.5", "1.11.7")}
        self.assertEqual([v for v, w in works.items() if w], ["1.10.5", "1.11.7"])

    def test_nothing_is_left_to_fill(self):
        for version in EMULATED:
            self.assertNotRegex(self.text(version), "@[a-z_]+@")


if __name__ == "__main__":
    unittest.main()
