import unittest

import support  # noqa: F401
from standin.node.evidence import Lasting


class Episodes(unittest.TestCase):
    def test_condition_must_last(self):
        lasting = Lasting(3)
        self.assertEqual([lasting.due(c) for c in (["x"], ["x"], [], ["x"], ["x"])], [[]] * 5)
        self.assertEqual(lasting.due(["x"]), ["x"])

    def test_one_report_per_episode_in_spite_of_gaps(self):
        lasting = Lasting(1)
        self.assertEqual([lasting.due(c) for c in (["x"], ["x"], [], ["x", "y"], ["x"])], [["x"], [], [], ["y"], []])

    def test_condition_that_was_gone_is_news_again(self):
        lasting = Lasting(1)
        lasting.due(["x"])
        for _ in range(Lasting.AWAY + 1):
            lasting.due([])
        self.assertEqual(lasting.due(["x"]), ["x"])


if __name__ == "__main__":
    unittest.main()
