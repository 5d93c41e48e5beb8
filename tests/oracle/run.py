#!/usr/bin/env python3
"""Runs the corpus in cases/ with Ansible and with dcos-play and compares what the two did.

A file in cases/ holds many cases. A line `### name [words]` starts one; the word `tasks` wraps its text into a play for
all hosts without facts. `#! args` adds command line arguments. `#> path` starts another file
of the case. Without an `inventory` file the hosts are h1 and h2, both local.

Results of Ansible are kept in the cache folder by a hash of the case, so that only new cases cost its time.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dcos-play" / "oracle"
VERSION = "2.19"
INVENTORY = "h1\nh2\n[web]\nh1\n[db]\nh2\n[both:children]\nweb\ndb\n"
# Not results but circumstances: times, process numbers, the way the module was called.
DROP = {
    "invocation", "start", "end", "delta", "diff", "exception", "deprecations", "warnings", "atime", "mtime", "ctime",
    "inode", "version", "dev", "module_stdout", "module_stderr", "discovered_interpreter_python", "pid", "_blocks",
    "blocks", "block_size", "device_type", "attr_flags", "attributes", "mimetype", "charset", "backup_file", "md5sum",
    "src", "elapsed", "ansible_job_id", "results_file", "failed_when_suppressed_exception", "stop",
}
# Steps that only one of the two shows as results; the recap still counts them.
UNSEEN = {"include_tasks", "include_role", "import_role", "import_tasks", "meta", "include"}


def parse(path):
    case = None
    for line in path.read_text().splitlines(keepends=True):
        if line.startswith("### "):
            if case:
                yield case
            words = line[4:].split()
            case = {"name": f"{path.stem}/{words[0]}", "area": path.stem, "words": words[1:], "args": [], "files": {}}
            current = "playbook.yml"
        elif case is None:
            continue
        elif line.startswith("#! "):
            case["args"] += shlex.split(line[3:])
        elif line.startswith("#> "):
            current = line[3:].strip()
            case["files"].setdefault(current, "")
        else:
            case["files"][current] = case["files"].get(current, "") + line
    if case:
        yield case


def cases():
    for path in sorted((HERE / "cases").glob("*.yml")):
        for case in parse(path):
            if "tasks" in case["words"]:
                body = "".join("    " + line for line in case["files"]["playbook.yml"].splitlines(keepends=True))
                case["files"]["playbook.yml"] = "- hosts: all\n  gather_facts: false\n  tasks:\n" + body
            case["files"].setdefault("inventory", INVENTORY)
            yield case


def venv():
    """Makes the environment with Ansible when it is missing."""
    python = CACHE / "bin" / "python"
    if not (CACHE / "bin" / "ansible-playbook").exists():
        subprocess.run([sys.executable, "-m", "venv", str(CACHE)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", f"ansible-core=={VERSION}.*"], check=True)
    return python


def settle(value, folder):
    """Takes paths of the run and what circumstances decide out of a result."""
    if isinstance(value, dict):
        return {
            settle(key, folder): settle(item, folder)
            for key, item in value.items()
            if key not in DROP and not key.startswith("_ansible")
        }
    if isinstance(value, list):
        return [settle(item, folder) for item in value]
    if isinstance(value, str):
        value = value.replace(str(folder), "<CASE>")
        return re.sub(r"<CASE>/[^ ]*tmp[^ ]*", "<TMP>", value)
    return value


def tree(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        mode = oct(path.lstat().st_mode & 0o7777)
        if path.is_symlink():
            found[name] = ["link", os.readlink(path).replace(str(folder.parent), "<CASE>")]
        elif path.is_dir():
            found[name] = ["dir", mode]
        else:
            found[name] = ["file", mode, path.read_text(errors="replace").replace(str(folder.parent), "<CASE>")]
    return found


def lay(case, folder):
    for name, text in case["files"].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    (folder / "out").mkdir()


def step(host, task, action, status, result, folder):
    result = settle(result, folder)
    action = action.rsplit(".", 1)[-1]
    if action in ("setup", "gather_facts"):
        result = {}
    # The status says these for the task itself; in registered values they are compared.
    result.pop("failed", None)
    result.pop("skipped", None)
    for one in [result, *[r for r in result.get("results", []) if isinstance(r, dict)]]:
        # The words of an error are each program's own; those a playbook chose are compared.
        if (one.get("failed") or status in ("failed", "ignored")) and action not in ("fail", "assert"):
            one.pop("msg", None)
    return {"task": task, "status": status, "result": result}, host, action


def gather(steps):
    hosts = {}
    for one, host, action in steps:
        if action not in UNSEEN:
            hosts.setdefault(host, []).append(one)
    return hosts


def environment():
    keep = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    keep.update(LC_ALL="C.UTF-8", ORACLE_ENV="from the environment")
    return keep


def arguments(case, folder):
    return ["-i", "inventory", "-e", f"outdir={folder}/out", "-e", "ansible_connection=local", *case["args"], "playbook.yml"]


def temporary():
    # A name without `tmp` in it, so that module temporaries can be told from it.
    return Path(tempfile.mkdtemp(prefix="oracle-", dir="/var/tmp" if Path("/var/tmp").is_dir() else None))


def run_ansible(case, python):
    plugin = (HERE / "callback" / "oracle.py").read_text()
    key = hashlib.sha256(json.dumps([case["files"], case["args"], plugin, VERSION]).encode()).hexdigest()[:24]
    kept = CACHE / "results" / f"{key}.json"
    if kept.exists():
        raw = json.loads(kept.read_text())
    else:
        folder = temporary()
        lay(case, folder)
        env = environment()
        env.update(
            ANSIBLE_STDOUT_CALLBACK="oracle", ANSIBLE_CALLBACK_PLUGINS=str(HERE / "callback"),
            ORACLE_EVENTS=str(folder / "events"), ANSIBLE_PYTHON_INTERPRETER=str(python),
            ANSIBLE_LOCALHOST_WARNING="False", ANSIBLE_RETRY_FILES_ENABLED="False", ANSIBLE_NOCOLOR="1",
            ANSIBLE_HOME=str(folder / ".ansible"), PATH=f"{CACHE}/bin:{env['PATH']}",
            # Some of its lists are sets before: they come in one order on every machine.
            PYTHONHASHSEED="0",
        )
        done = subprocess.run(
            [str(CACHE / "bin" / "ansible-playbook"), *arguments(case, folder)], cwd=folder, env=env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )
        events = folder / "events"
        raw = {
            "folder": str(folder), "exit": done.returncode, "stderr": done.stderr[-3000:],
            "events": [json.loads(l) for l in events.read_text().splitlines()] if events.exists() else [],
            "tree": tree(folder / "out"),
        }
        shutil.rmtree(folder, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(raw))
    recap, steps = {}, []
    for event in raw["events"]:
        if "recap" in event:
            recap = {
                host: {("failed" if k == "failures" else k): v for k, v in sums.items() if v}
                for host, sums in event["recap"].items()
            }
        else:
            steps.append(step(event["host"], event["task"], event["action"], event["status"], event["result"], raw["folder"]))
    return {"hosts": gather(steps), "recap": recap, "exit": raw["exit"], "tree": raw["tree"]}, raw["stderr"]


OUTCOMES = {"failure_ignored": "ignored", "unreachable_ignored": "unreachable"}


def run_ours(case, binary):
    folder = temporary()
    lay(case, folder)
    done = subprocess.run(
        [str(binary), "run", *arguments(case, folder), "--output", "json"], cwd=folder, env=environment(),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )
    started, steps, recap = {}, [], {}
    for line in done.stdout.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        kind = event["event"]
        if kind == "step_started":
            started[event["step"]] = event
        elif kind == "step_finished":
            begun = started[event["step"]]
            task = f"{begun['role']} : {begun['name']}" if begun.get("role") else begun["name"]
            status = OUTCOMES.get(event["outcome"], event["outcome"])
            steps.append(step(event["host"], task, begun["action"], status, event["result"], folder))
        elif kind == "run_finished":
            recap = {
                host: {k: v for k, v in sums.items() if v and k != "busy_ms"}
                for host, sums in event["totals"]["hosts"].items()
                # A host without any step is in our recap only.
                if any(v for k, v in sums.items() if k != "busy_ms")
            }
    outcome = {"hosts": gather(steps), "recap": recap, "exit": done.returncode, "tree": tree(folder / "out")}
    shutil.rmtree(folder, ignore_errors=True)
    return outcome, done.stderr[-3000:]


def differences(theirs, ours, path=""):
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            here = f"{path}.{key}" if path else str(key)
            if key not in ours:
                yield here, theirs[key], "<none>"
            elif key not in theirs:
                yield here, "<none>", ours[key]
            else:
                yield from differences(theirs[key], ours[key], here)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (a, b) in enumerate(zip(theirs, ours)):
            yield from differences(a, b, f"{path}[{index}]")
    elif type(theirs) is not type(ours) or theirs != ours:
        yield path, theirs, ours


def sequence(outcome):
    """Turns a host's steps into names first: a missing step is one difference, not a hundred."""
    return {host: [f"{s['task']}={s['status']}" for s in steps] for host, steps in outcome["hosts"].items()}


def wanted():
    rules, rule = [], None
    path = HERE / "wanted.yml"
    for line in path.read_text().splitlines() if path.exists() else []:
        found = re.match(r"^(- |  )(case|path|reason): (.*)$", line)
        if not found:
            continue
        if found[1] == "- ":
            rule = {}
            rules.append(rule)
        text = found[3].strip()
        rule[found[2]] = text[1:-1].replace("''", "'") if text[:1] == "'" else text
    return rules


def compare(case, python, binary, rules):
    try:
        theirs, their_err = run_ansible(case, python)
        ours, our_err = run_ours(case, binary)
    except subprocess.TimeoutExpired as late:
        return {"case": case, "found": [("timeout", str(late.cmd[0]), "")], "excused": [], "err": ("", "")}
    a, b = sequence(theirs), sequence(ours)
    found = list(differences(a, b, "steps"))
    for host in a:
        if a[host] == b.get(host):
            for at, (one, two) in enumerate(zip(theirs["hosts"][host], ours["hosts"][host]), 1):
                found += differences(one["result"], two["result"], f"{host}:{at}:{one['task']}")
    for part in ("recap", "exit", "tree"):
        found += differences(theirs[part], ours[part], part)
    left, excused = [], []
    for one in found:
        rule = next(
            (r for r in rules if re.fullmatch(r["case"], case["name"]) and re.search(r.get("path", ""), one[0])), None
        )
        excused.append(rule) if rule else left.append(one)
    return {"case": case, "found": left, "excused": excused, "err": (their_err, our_err)}


def table(outcomes, rules):
    areas = {}
    for one in outcomes:
        row = areas.setdefault(one["case"]["area"], [0, 0, 0, 0])
        row[0] += 1
        row[3 if one["found"] else 2 if one["excused"] else 1] += 1
    total = [sum(row[i] for row in areas.values()) for i in range(4)]
    lines = [
        "# Side by side with Ansible", "",
        f"Generated by `tests/oracle/run.py --table docs/compatibility.md`: our own playbooks, run by ansible-core {VERSION} and by dcos-play,",
        "compared by task results, registered values, order, file trees, recap and exit code.", "",
        "`make oracle` also runs 7000 generated expressions (filters and tests on random values) through both.", "",
        "| Area | Cases | Equal | Wanted differences | Failures |", "|---|--:|--:|--:|--:|",
    ]
    lines += [f"| {area} | {r[0]} | {r[1]} | {r[2]} | {r[3]} |" for area, r in sorted(areas.items())]
    lines += [f"| **all** | {total[0]} | {total[1]} | {total[2]} | {total[3]} |", ""]
    lines += ["## Wanted differences", ""]
    lines += [f"- `{r['case']}` (`{r.get('path', '')}`): {r['reason']}" for r in rules]
    failing = [one for one in outcomes if one["found"]]
    if failing:
        lines += ["", "## Failures", ""]
        lines += [f"- `{one['case']['name']}`: " + ", ".join(f"`{f[0]}`" for f in one["found"][:3]) for one in failing]
    return "\n".join(lines) + "\n"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--prepare", action="store_true", help="install Ansible if it is missing, and nothing else")
    options.add_argument("--bin", type=Path, help="the dcos-play to compare")
    options.add_argument("--table", type=Path, help="write the table to this file")
    options.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 2)
    options.add_argument("-v", "--verbose", action="store_true", help="also show what the programs said")
    options.add_argument("--every", type=int, default=1, help="take every Nth case of each file only")
    options.add_argument("only", nargs="*", help="cases whose name contains one of these")
    chosen = options.parse_args()
    python, rules = venv(), wanted()
    if chosen.prepare:
        return
    if not chosen.bin:
        options.error("--bin is needed: which dcos-play?")
    binary = chosen.bin.resolve()
    picked = [c for c in cases() if not chosen.only or any(o in c["name"] for o in chosen.only)]
    picked = [c for n, c in enumerate(picked) if n % chosen.every == 0]
    names = [c["name"] for c in picked]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        sys.exit(f"two cases have one name: {', '.join(sorted(twice))}")
    with concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool:
        outcomes = list(pool.map(lambda c: compare(c, python, binary, rules), picked))
    for one in outcomes:
        if not one["found"]:
            continue
        print(f"DIFFERS {one['case']['name']}")
        for path, theirs, ours in one["found"][:12]:
            print(f"  {path}\n    ansible: {json.dumps(theirs)[:700]}\n    ours:    {json.dumps(ours)[:700]}")
        # What ours refused is the first thing to look at.
        if chosen.verbose or any(f[0] == "exit" for f in one["found"]):
            print("  ansible said: " + one["err"][0][:600].replace("\n", "\n    "))
            print("  ours said: " + one["err"][1][:900].replace("\n", "\n    "))
    failed = sum(bool(one["found"]) for one in outcomes)
    excused = sum(bool(one["excused"]) and not one["found"] for one in outcomes)
    print(f"{len(outcomes)} cases: {len(outcomes) - failed - excused} equal, {excused} wanted differences, {failed} failures")
    if chosen.table:
        chosen.table.write_text(table(outcomes, rules))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
