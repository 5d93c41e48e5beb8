import unittest

import support  # noqa: F401
from standin.gen import yaml_subset
from standin.gen.yaml_subset import YamlError


class Reading(unittest.TestCase):
    def read(self, text):
        return yaml_subset.load(text)

    def test_scalars_follow_yaml_1_1(self):
        text = "a: yes\nb: 'yes'\nc: 12\nd: 012\ne: null\nf:\ng: 1.5\nh: off\ni: a b # note\nj: 'it''s'\n"
        self.assertEqual(self.read(text), {
            "a": True, "b": "yes", "c": 12, "d": "012", "e": None, "f": None, "g": 1.5, "h": False, "i": "a b", "j": "it's",
        })

    def test_urls_and_addresses_stay_text(self):
        self.assertEqual(self.read("u: http://10.0.0.1:80\ni: 10.0.0.1\n"), {"u": "http://10.0.0.1:80", "i": "10.0.0.1"})

    def test_lists_may_stand_below_their_key(self):
        expected = {"m": ["10.0.0.1", "10.0.0.2"], "n": 1}
        self.assertEqual(self.read("m:\n- 10.0.0.1\n- 10.0.0.2\nn: 1\n"), expected)
        self.assertEqual(self.read("---\nm:\n    - 10.0.0.1\n\n    # two\n    - '10.0.0.2'\nn: 1\n"), expected)

    def test_flow_collections(self):
        self.assertEqual(self.read("r: [8.8.8.8, '8.8.4.4']\ne: []\nm: {a: 1, b: {c: [true]}}\n"), {
            "r": ["8.8.8.8", "8.8.4.4"], "e": [], "m": {"a": 1, "b": {"c": [True]}},
        })

    def test_flow_list_over_lines(self):
        self.assertEqual(self.read("r: [\n  a,\n  b ]\nk: v\n"), {"r": ["a", "b"], "k": "v"})

    def test_block_scalars(self):
        text = "a: |\n  #!/bin/sh\n\n    x\n  y\nb: >-\n  one\n  two\nc: |-\n  z\n"
        self.assertEqual(self.read(text), {"a": "#!/bin/sh\n\n  x\ny\n", "b": "one two", "c": "z"})

    def test_wrapped_scalars_are_joined(self):
        self.assertEqual(self.read("a: one two\n  three\nb: 'x\n  y'\nc: \"p q\\\n  \\ r\"\nd: 1\n"),
                         {"a": "one two three", "b": "x y", "c": "p q r", "d": 1})

    def test_maps_in_lists(self):
        self.assertEqual(self.read("- a: 1\n  b: 2\n- - x\n  - y\n"), [{"a": 1, "b": 2}, ["x", "y"]])

    def test_nested_maps(self):
        self.assertEqual(self.read("a:\n  b:\n    c: 1\n  d: 2\n"), {"a": {"b": {"c": 1}, "d": 2}})

    def test_json_is_read_too(self):
        self.assertEqual(self.read('{"a": ["x", 1], "b": "q: r"}'), {"a": ["x", 1], "b": "q: r"})

    def test_faults_name_their_line(self):
        for text, message in (
            ("a: 1\na: 2\n", "line 2: duplicate key `a`"),
            ("a: 1\n\tb: 2\n", "line 2: a tab cannot indent"),
            ("a: 1\njust words\n", "line 2: expected `key: value`, found `just words`"),
            ("a: *x\n", "`*` is not supported here"),
            ("a: [1\n", "`[` is never closed"),
        ):
            with self.subTest(text=text), self.assertRaises(YamlError) as caught:
                self.read(text)
            self.assertIn(message, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
