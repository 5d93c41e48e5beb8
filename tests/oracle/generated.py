#!/usr/bin/env python3
"""Compares generated template expressions: random values through random filters and tests, by Ansible and by dcos-play.

The seed is printed; the same seed makes the same expressions. A difference is shown with its expression, which is short enough to be
made a case of the corpus.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import run

# What a filter takes, how it is written, what it gives. `S`: text, `I`: integer, `F`: number, `B`: truth, `L`: list of texts or
# integers, `N`: list of integers, `D`: mapping, `R`: list of mappings, `*`: anything.
FILTERS = [
    ("S", "upper", "S"), ("S", "lower", "S"), ("S", "title", "S"), ("S", "capitalize", "S"), ("S", "trim", "S"), ("S", "length", "I"),
    ("S", "reverse", "S"), ("S", "list", "L"), ("S", "b64encode", "S"), ("S", "hash('sha1')", "S"), ("S", "quote", "S"), ("S", "urlencode", "S"),
    ("S", "regex_replace('[aeiou]', '<\\\\g<0>>')", "S"), ("S", "regex_findall('[a-z]+')", "L"), ("S", "regex_search('[0-9]+') | default('', true)", "S"),
    ("S", "regex_escape", "S"), ("S", "replace('a', 'XY')", "S"), ("S", "split", "L"), ("S", "split(',')", "L"), ("S", "wordcount", "I"), ("S", "indent(3)", "S"),
    ("S", "truncate(7)", "S"), ("S", "wordwrap(6)", "S"), ("S", "center(12)", "S"), ("S", "int", "I"), ("S", "int(5)", "I"), ("S", "float", "F"), ("S", "first | default('')", "S"),
    ("S", "basename", "S"), ("S", "dirname", "S"), ("S", "splitext | list", "L"), ("S", "comment", "S"), ("S", "to_json", "S"), ("S", "to_uuid", "S"), ("S", "e", "S"), ("S", "striptags", "S"),
    ("S", "checksum", "S"), ("S", "to_yaml", "S"), ("S", "unique | join('')", "S"), ("S", "bool | default('none')", "*"), ("S", "string", "S"), ("S", "default('d', true)", "S"),
    ("I", "string", "S"), ("I", "abs", "I"), ("I", "float", "F"), ("I", "pow(2)", "I"), ("I", "filesizeformat", "S"), ("I", "human_readable", "S"), ("I", "to_json", "S"), ("I", "bool", "B"), ("I", "int", "I"),
    ("F", "round", "F"), ("F", "round(1)", "F"), ("F", "round(0, 'ceil') | int", "I"), ("F", "int", "I"), ("F", "string", "S"), ("F", "abs", "F"), ("F", "to_json", "S"), ("F", "to_nice_yaml", "S"),
    ("L", "length", "I"), ("L", "join('-')", "S"), ("L", "first | default('none')", "S"), ("L", "last | default('none')", "S"), ("L", "unique", "L"), ("L", "reverse | list", "L"), ("L", "map('string') | list", "L"),
    ("L", "map('string') | sort", "L"), ("L", "to_json", "S"), ("L", "to_nice_json", "S"), ("L", "to_nice_yaml", "S"), ("L", "to_yaml", "S"), ("L", "batch(2) | list", "*"), ("L", "slice(2) | list", "*"), ("L", "zip(range(9)) | list", "*"),
    ("L", "difference(['a', 1]) | map('string') | sort", "L"), ("L", "union(['a', 1]) | map('string') | sort", "L"), ("L", "intersect(['a', 1]) | map('string') | sort", "L"), ("L", "symmetric_difference(['a', 1]) | map('string') | sort", "L"), ("L", "select('string') | list", "L"), ("L", "reject('number') | list", "L"),
    ("L", "map('length') | list", "N"), ("L", "flatten", "L"), ("L", "product([1]) | list", "*"), ("L", "permutations(2) | list | length", "I"), ("L", "random(seed='s')", "S"), ("L", "shuffle(seed='s')", "L"), ("L", "select | list", "L"), ("L", "string", "S"),
    ("N", "sum", "I"), ("N", "max", "I"), ("N", "min", "I"), ("N", "sort", "N"), ("N", "sort(reverse=true)", "N"), ("N", "select('odd') | list", "N"), ("N", "reject('gt', 3) | list", "N"), ("N", "map('pow', 2) | list", "*"), ("N", "join(',')", "S"), ("N", "combinations(2) | list", "*"),
    ("D", "dict2items", "R"), ("D", "length", "I"), ("D", "combine({'a': 9, 'zz': [1]})", "D"), ("D", "to_json", "S"), ("D", "to_nice_json", "S"), ("D", "to_nice_yaml", "S"), ("D", "to_yaml", "S"), ("D", "dictsort", "*"), ("D", "list", "L"), ("D", "string", "S"), ("D", "items | list", "*"),
    ("D", "to_json(sort_keys=true)", "S"), ("D", "combine({'n': {'q': 1}}, recursive=true)", "D"), ("D", "dict2items | map(attribute='key') | list", "L"),
    ("R", "map(attribute='key') | list", "L"), ("R", "items2dict", "D"), ("R", "selectattr('key', 'match', '[a-m]') | list", "R"), ("R", "rejectattr('value', 'string') | list", "R"), ("R", "length", "I"), ("R", "sort(attribute='key')", "R"), ("R", "groupby('key') | map('first') | list", "L"), ("R", "to_nice_json", "S"),
    ("*", "type_debug", "S"), ("*", "to_json", "S"), ("*", "string", "S"), ("*", "ternary('y', 'n')", "S"), ("*", "default('d')", "*"), ("*", "to_nice_yaml", "S"),
]
TESTS = [
    "string", "number", "mapping", "sequence", "iterable", "none", "boolean", "integer", "float", "defined", "truthy", "falsy", "in [1, 'a']", "sameas true", "callable",
]
TEXTS = ["", "a", "abc", "Hello World", " pad ", "a,b,,c", "k=v x='y z'", "10", "-3", "1.5", "true", "no", "é ñ ü", "日本語", "line\none", "/etc/x.d/f.tar.gz", "it's", "<b>x</b> &", "A_b-C.d", "%s {x}", "tab\there", "0x1f", "null", "~", "- a", "a: b", "#c", "1e3", "12:30", "2020-01-02"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        return self.random.choice(TEXTS)

    def scalar(self):
        pick = self.random.random()
        if pick < 0.5:
            return self.text()
        if pick < 0.8:
            return self.random.choice([0, 1, -1, 7, 42, 1000, 123456789, -5])
        return self.random.choice([0.5, 1.0, -2.25, 3.14159, 100.0, True, False, None])

    def mapping(self, depth=0):
        keys = self.random.sample(["a", "b", "key", "n", "x y", "é", "on"], self.random.randint(0, 4))
        return {key: self.value(depth + 1) for key in keys}

    def value(self, depth=0):
        pick = self.random.random()
        if depth > 2 or pick < 0.6:
            return self.scalar()
        if pick < 0.8:
            return [self.value(depth + 1) for _ in range(self.random.randint(0, 3))]
        return self.mapping(depth)

    def of(self, kind):
        if kind == "S":
            return self.text()
        if kind == "I":
            return self.random.choice([0, 1, -1, 7, 42, 1000, 123456789, -5, 2**40])
        if kind == "F":
            return self.random.choice([0.5, 1.0, -2.25, 3.14159, 2.5, 1e10, 100.0])
        if kind == "L":
            return [self.random.choice([self.text(), self.random.randint(-3, 9)]) for _ in range(self.random.randint(0, 5))]
        if kind == "N":
            return [self.random.randint(-3, 9) for _ in range(self.random.randint(1, 5))]
        if kind == "D":
            return self.mapping()
        if kind == "R":
            return [{"key": self.random.choice("abxyz"), "value": self.scalar()} for _ in range(self.random.randint(1, 4))]
        return self.value()

    def case(self):
        kind = self.random.choice("SSSILLLNDDRF*")
        value, words = self.of(kind), []
        for _ in range(self.random.randint(1, 3)):
            fitting = [f for f in FILTERS if f[0] == kind or (f[0] == "*" and self.random.random() < 0.1)]
            if not fitting:
                break
            chosen = self.random.choice(fitting)
            words.append(chosen[1])
            kind = chosen[2]
        expression = " | ".join(["v", *words])
        if self.random.random() < 0.15:
            expression = f"({expression}) is {self.random.choice(TESTS)}"
        return value, expression


def playbook(cases):
    """One task a case; JSON is YAML, and no text in it is a template but the one that is meant."""
    tasks = [
        {"name": f"c{n}", "debug": {"msg": "{{ " + expression + " }}"}, "vars": {"v": value}, "ignore_errors": True}
        for n, (value, expression) in enumerate(cases)
    ]
    return json.dumps([{"hosts": "h1", "gather_facts": False, "tasks": tasks}], ensure_ascii=False, indent=1)


def outcomes(result):
    return {s["task"]: (s["status"], s["result"].get("msg")) for s in result["hosts"].get("h1", [])}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin", required=True, type=Path)
    options.add_argument("--seed", default="1")
    options.add_argument("-n", "--count", type=int, default=400)
    chosen = options.parse_args()
    maker = Maker(chosen.seed)
    cases = [maker.case() for _ in range(chosen.count)]
    case = {"name": "generated", "area": "generated", "words": [], "args": [], "files": {"playbook.yml": playbook(cases), "inventory": "h1\n"}}
    python = run.venv()
    theirs, their_err = run.run_ansible(case, python)
    ours, our_err = run.run_ours(case, chosen.bin.resolve())
    a, b = outcomes(theirs), outcomes(ours)
    if len(a) != len(cases) or len(b) != len(cases):
        sys.exit(f"{len(cases)} cases, Ansible ran {len(a)}, dcos-play {len(b)}\n{their_err}\n{our_err}")
    rules = run.wanted()
    found, excused = 0, 0
    for n, (value, expression) in enumerate(cases):
        one, two = a[f"c{n}"], b[f"c{n}"]
        if json.dumps(one) == json.dumps(two):
            continue
        if any(r["case"] == "generated" and run.re.search(r["path"], expression) for r in rules):
            excused += 1
            continue
        found += 1
        print(f"DIFFERS {expression}\n  v       {json.dumps(value, ensure_ascii=False)}\n  ansible {json.dumps(one, ensure_ascii=False)[:500]}\n  ours    {json.dumps(two, ensure_ascii=False)[:500]}")
    print(f"{len(cases)} expressions by seed {chosen.seed}: {len(cases) - found - excused} equal, {excused} wanted differences, {found} failures")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
