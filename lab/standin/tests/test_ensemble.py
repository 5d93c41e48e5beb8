import unittest

import simulation
from simulation import Cluster, replace_master
from standin.node import ensemble as model
from standin.node.ensemble import DOWN, LEADING, LOOKING, FOLLOWING, View

V1 = ["10.10.0.149", "10.10.0.158", "10.10.0.236", "100.10.0.158", "100.10.0.66"]
V1_TARGET = ["10.10.0.184", "10.10.0.230", "10.10.0.233", "100.10.0.147", "100.10.0.85"]
V2 = ["172.31.16.60", "172.31.18.152", "172.31.29.145", "172.31.29.82", "172.31.31.63"]
FIVE = ["10.0.2.10", "10.0.2.20", "10.0.2.30", "10.0.2.40", "10.0.2.50"]
THREE = FIVE[:3]


def view(ip, cfg, role=LOOKING, **more):
    return View(ip=ip, id=cfg[ip], cfg=cfg, role=role, **more)


def by_ip(*views):
    return {v.ip: v for v in views}


class ByteSort(unittest.TestCase):
    def test_dot_sorts_before_digits(self):
        self.assertEqual(model.byte_sorted(["100.10.0.158", "10.10.0.236"]), ["10.10.0.236", "100.10.0.158"])

    def test_digits_are_not_numbers(self):
        self.assertEqual(
            model.byte_sorted(["10.0.0.8", "10.0.0.9", "10.0.0.10"]), ["10.0.0.10", "10.0.0.8", "10.0.0.9"]
        )
        self.assertEqual(model.byte_sorted(["100.10.0.66", "100.10.0.158"]), ["100.10.0.158", "100.10.0.66"])

    def test_prefix_sorts_first(self):
        self.assertEqual(model.byte_sorted(["10.0.0.12", "10.0.0.1"]), ["10.0.0.1", "10.0.0.12"])

    def test_ensemble_string_counts_from_one(self):
        text = model.ensemble_string(reversed(V1))
        self.assertEqual(text, "1:10.10.0.149,2:10.10.0.158,3:10.10.0.236,4:100.10.0.158,5:100.10.0.66")
        self.assertEqual(model.parse_ensemble(text)["100.10.0.66"], 5)


class Hearing(unittest.TestCase):
    old = {"a": 1, "b": 2, "c": 3}
    new = {"a": 1, "b": 2, "n": 3}

    def test_members_of_one_list_hear_each_other(self):
        a, b = view("a", self.old), view("b", self.old)
        self.assertTrue(model.mutual(a, b, by_ip(a, b)))

    def test_stopped_process_is_not_heard(self):
        a, b = view("a", self.old), view("b", self.old, role=DOWN)
        self.assertFalse(model.hears(a, b, by_ip(a, b)))

    def test_stranger_with_higher_id_hears_but_is_not_heard(self):
        a, n = view("a", self.old), view("n", self.new)
        live = by_ip(a, n)
        self.assertTrue(model.hears(n, a, live))
        self.assertFalse(model.hears(a, n, live))

    def test_stranger_does_not_hear_while_the_owner_of_its_id_lives(self):
        a, c, n = view("a", self.old), view("c", self.old), view("n", self.new)
        self.assertFalse(model.hears(n, a, by_ip(a, c, n)))

    def test_stranger_with_lower_id_does_not_hear(self):
        c, n = view("c", self.old), view("n", {"n": 1, "b": 2, "c": 3})
        self.assertFalse(model.hears(n, c, by_ip(c, n)))

    def test_different_id_for_one_address_is_not_heard(self):
        a, b = view("a", self.old), view("b", {"a": 1, "x": 2, "b": 3})
        self.assertFalse(model.hears(a, b, by_ip(a, b)))


class Elections(unittest.TestCase):
    def test_highest_id_leads_when_all_are_empty(self):
        cluster = Cluster(FIVE)
        cluster.settle()
        self.assertEqual(cluster.leaders(), ["10.0.2.50"])
        self.assertTrue(cluster.serving())

    def test_highest_zxid_beats_highest_id(self):
        cluster = Cluster(THREE)
        cluster.lead_by("10.0.2.10")
        self.assertEqual(cluster.leaders(), ["10.0.2.10"])

    def test_minority_does_not_serve(self):
        cluster = Cluster(THREE)
        cluster.stop("10.0.2.10")
        cluster.stop("10.0.2.20")
        cluster.settle()
        self.assertFalse(cluster.serving())

    def test_majority_serves_without_the_last(self):
        cluster = Cluster(THREE)
        cluster.stop("10.0.2.10")
        cluster.settle()
        self.assertTrue(cluster.serving())

    def test_single_master_leads_alone(self):
        cluster = Cluster(["10.0.2.10"])
        cluster.settle(1)
        self.assertTrue(cluster.serving())

    def test_rolling_restart_of_five_never_loses_quorum(self):
        cluster = Cluster(FIVE)
        cluster.settle()
        for ip in FIVE:
            cluster.restart(ip)
            cluster.settle()
            self.assertTrue(cluster.serving(), ip)
        self.assertEqual(cluster.losses, [])

    def test_leader_without_followers_gives_up_when_its_time_is_over(self):
        cfg = {"a": 1, "b": 2, "c": 3}
        leader = view("c", cfg, role=LEADING, leader_ip="c", electors=("b",))
        self.assertEqual(model.step(leader, by_ip(leader), forming_expired=False).role, LEADING)
        self.assertEqual(model.step(leader, by_ip(leader), forming_expired=True).role, LOOKING)

    def test_follower_leaves_a_vanished_leader(self):
        cfg = {"a": 1, "b": 2, "c": 3}
        me = view("a", cfg, role=FOLLOWING, leader_ip="c", synced=True)
        self.assertEqual(model.step(me, by_ip(me)).role, LOOKING)


class Replacement(unittest.TestCase):
    def test_five_masters_lose_nothing_for_any_slot_and_leader(self):
        for slot, out in enumerate(FIVE):
            for leader in FIVE:
                with self.subTest(slot=slot + 1, leader=leader):
                    cluster = Cluster(FIVE)
                    cluster.lead_by(leader)
                    self.assertEqual(replace_master(cluster, out, out + "5"), [])
                    self.assertTrue(cluster.serving())
                    self.assertEqual(cluster.losses, [])
                    self.assertEqual(len(cluster.leaders()), 1)

    def test_three_masters_lose_quorum_for_slots_one_and_two_only(self):
        for slot, out in enumerate(THREE, 1):
            with self.subTest(slot=slot):
                cluster = Cluster(THREE)
                cluster.settle()
                replace_master(cluster, out, out + "5", gate=False)
                self.assertTrue(cluster.serving())
                self.assertEqual(len(cluster.losses), 0 if slot == 3 else 1)

    def test_v1_in_planned_order_passes_every_gate(self):
        for order in ((2, 1, 3, 4, 5), (5, 4, 3, 2, 1)):
            cluster = Cluster(V1)
            cluster.settle()
            for slot in order:
                self.assertEqual(replace_master(cluster, V1[slot - 1], V1_TARGET[slot - 1]), [], slot)
                self.assertTrue(cluster.serving(), slot)
            self.assertEqual(cluster.losses, [])
            self.assertEqual(sorted(v.id for v in cluster.nodes.values()), [1, 2, 3, 4, 5])

    def test_v1_starting_with_id_one_fails_at_the_first_survivor(self):
        for leader in V1:
            with self.subTest(leader=leader):
                cluster = Cluster(V1)
                cluster.lead_by(leader)
                failed = replace_master(cluster, V1[0], V1_TARGET[0])
                self.assertEqual(len(failed), 1)

    def test_v1_starting_with_id_one_loses_quorum_without_gates(self):
        cluster = Cluster(V1)
        cluster.settle()
        replace_master(cluster, V1[0], V1_TARGET[0], gate=False)
        self.assertNotEqual(cluster.losses, [])

    def test_v2_first_upgraded_survivor_stays_out(self):
        cluster = Cluster(V2)
        cluster.settle()
        self.assertEqual(len(replace_master(cluster, "172.31.31.63", "172.31.22.240")), 1)

    def test_two_survivors_at_once_lose_quorum(self):
        cluster = Cluster(FIVE)
        cluster.settle()
        cluster.stop(FIVE[0])
        cluster.settle()
        for ip in FIVE[1:3]:
            cluster.nodes[ip] = simulation.replace(model.looking(cluster.nodes[ip]), role=DOWN)
        cluster.settle(3)
        self.assertNotEqual(cluster.losses, [])

    def test_highest_slot_newcomer_joins_at_once(self):
        cluster = Cluster(FIVE)
        cluster.lead_by(FIVE[0])
        cluster.stop(FIVE[4])
        cfg = model.parse_ensemble(model.ensemble_string(FIVE[:4] + ["10.0.2.55"]))
        cluster.start("10.0.2.55", cfg)
        cluster.settle()
        self.assertTrue(cluster.serving("10.0.2.55"))

    def test_lowest_slot_newcomer_waits(self):
        cluster = Cluster(FIVE)
        cluster.settle()
        cluster.stop(FIVE[0])
        cfg = model.parse_ensemble(model.ensemble_string(FIVE[1:] + ["10.0.2.11"]))
        cluster.start("10.0.2.11", cfg)
        cluster.settle()
        self.assertFalse(cluster.serving("10.0.2.11"))

    def test_appended_expansion_joins_without_loss(self):
        cluster = Cluster(THREE)
        cluster.settle()
        cfg = model.parse_ensemble(model.ensemble_string(THREE + ["10.0.2.40", "10.0.2.50"]))
        for ip in ("10.0.2.40", "10.0.2.50"):
            cluster.start(ip, cfg)
            cluster.settle()
        self.assertTrue(cluster.serving())
        for ip in THREE:
            cluster.restart(ip, cfg)
            cluster.settle()
        self.assertTrue(cluster.serving())
        self.assertEqual(cluster.losses, [])


class Accusations(unittest.TestCase):
    old = {"a": 1, "b": 2, "c": 3}

    def test_id_mismatch_names_both_ids(self):
        a, b = view("a", self.old), view("b", {"a": 1, "n": 2, "b": 3})
        self.assertEqual(model.id_mismatches(a, by_ip(a, b)), [("b", 2, 3)])

    def test_newcomer_beside_the_old_master_is_no_conflict_yet(self):
        new = {"n": 1, "b": 2, "c": 3}
        live = by_ip(view("a", self.old), view("b", self.old), view("c", self.old), view("n", new))
        self.assertEqual(model.sid_conflicts(live), [])

    def test_old_master_left_running_is_a_conflict_once_a_survivor_moved(self):
        new = {"n": 1, "b": 2, "c": 3}
        live = by_ip(view("a", self.old), view("b", new), view("c", self.old), view("n", new))
        self.assertEqual(model.sid_conflicts(live), [(1, "a", "n")])

    def test_two_settled_leaders_of_one_cluster(self):
        lead = dict(role=LEADING, synced=True, cluster_id="x")
        live = by_ip(view("a", self.old, **lead), view("b", self.old, **lead))
        self.assertEqual(model.rival_leaders(live), ["a", "b"])

    def test_master_that_most_peers_gave_up_is_not_welcome(self):
        new = {"n": 1, "b": 2, "c": 3}
        old_life, new_life = view("a", self.old, joined=10.0), view("a", self.old, joined=30.0)
        b, c = view("b", new, dropped={"a": 20.0}), view("c", new, dropped={"a": 21.0})
        self.assertTrue(model.has_been_dropped(old_life, by_ip(old_life, b, c)))
        self.assertFalse(model.has_been_dropped(new_life, by_ip(new_life, b, c)))
        self.assertFalse(model.has_been_dropped(view("n", new), by_ip(view("n", new), b, c)))


if __name__ == "__main__":
    unittest.main()
