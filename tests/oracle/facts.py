#!/usr/bin/env python3
"""Compares the facts that Ansible and dcos-play find on this machine.

Every fact that the census of real playbooks names must be there and equal, and so must every other that Ansible finds,
but for what is in DIFFERENT, with its reason. What changes from moment to moment is only compared in its shape.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import run as oracle

CENSUS = (
    "distribution os_family distribution_major_version distribution_version service_mgr default_ipv4 architecture "
    "distribution_release hostname selinux date_time system fqdn kernel pkg_mgr python processor_vcpus "
    "all_ipv4_addresses mounts virtualization_type all_ipv6_addresses memtotal_mb interfaces env nodename default_ipv6 lsb "
    "python_version processor_count local user_dir services packages getent_group getent_passwd"
).split()
# Another moment, or another process.
MOMENT = {
    "date_time", "loadavg", "memfree_mb", "memory_mb", "swapfree_mb", "uptime_seconds", "env", "mounts", "python",
    "python_version", "hostnqn", "mount_points",
}
DIFFERENT = {
    "_ansible_facts_gathered": "Ansible's own mark",
    "discovered_interpreter_python": "there is no interpreter to discover",
    "system_capabilities": "ansible-core reads an older form of capsh's answer",
    "module_setup": "Ansible's own mark",
    "gather_subset": "Ansible's own mark",
    "systemd": "Ansible only tells it when its own interpreter has what it needs",
}
PLAY = """
- hosts: all
  tasks:
    - service_facts:
    - package_facts:
    - mount_facts: {sources: [static, /proc/mounts]}
    - getent: {database: passwd}
    - getent: {database: group}
    - copy: {content: "{{ ansible_facts | to_json }}", dest: "{{ out }}"}
"""


def passing(name):
    """Interfaces of labs and containers come and go."""
    return name.startswith(("dl", "veth", "vb_", "ve_", "tap", "br_", "docker"))


def settled(facts):
    """Without what is chance: order of interfaces, link-local addresses, labs that other tests boot."""
    facts = {k: v for k, v in facts.items() if not passing(k)}
    names = [n for n in facts.get("interfaces", []) if not passing(n.replace("-", "_"))]
    facts["interfaces"] = sorted(names)
    own = {facts[n.replace("-", "_")].get("ipv4", {}).get("address") for n in names if n.replace("-", "_") in facts}
    facts["all_ipv4_addresses"] = sorted(a for a in facts.get("all_ipv4_addresses", []) if a in own)
    facts["all_ipv6_addresses"] = sorted(a for a in facts.get("all_ipv6_addresses", []) if not a.startswith("fe80"))
    reachable = facts.pop("locally_reachable_ips", {})
    facts["reachable"] = sorted(a for a in reachable.get("ipv4", []) if a.startswith("127."))
    facts["virtualization_tech_guest"] = sorted(facts.get("virtualization_tech_guest", []))
    for versions in facts.get("packages", {}).values():
        for package in versions:
            # apt's lists are not read for it.
            package.pop("origin", None)
            package.pop("category", None)
    # Ansible leaves out what `service` lists when systemd masks it.
    services = facts.get("services", {})
    facts["services"] = {k: v["source"] for k, v in services.items() if k.endswith(".service") and "@" not in k}
    return facts


def shape(value):
    if isinstance(value, dict):
        return sorted(value)
    return type(value).__name__


def differences(theirs, ours):
    missing = set(CENSUS) - set(ours)
    found = [f"{name}: the census names it, and it is not there" for name in sorted(missing & set(theirs))]
    for name in sorted(set(theirs) | set(ours)):
        if name in DIFFERENT:
            continue
        if name not in ours or name not in theirs:
            found.append(f"{name}: only {'Ansible' if name in theirs else 'dcos-play'} has it")
            continue
        left, right = theirs[name], ours[name]
        if name in ("env", "mounts", "mount_points", "python"):
            # Which they are, not what is in them at the moment.
            if name == "mounts":
                left, right = ([m["mount"] for m in side if "/lab/" not in m["mount"]] for side in (left, right))
            elif name == "mount_points":
                left, right = (sorted(shape(m)[0] for m in side.values()) for side in (left, right))
                left, right = left[:1], right[:1]
            elif name == "env":
                left, right = left["HOME"], right["HOME"]
            else:
                left, right = left["version"]["major"], right["version"]["major"]
        elif name in MOMENT:
            left, right = shape(left), shape(right)
        if left != right:
            found.append(f"{name}: Ansible {str(left)[:300]} / dcos-play {str(right)[:300]}")
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=Path)
    args = parser.parse_args()
    python = oracle.venv()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "play.yml").write_text(PLAY)
        env = {**os.environ, "ANSIBLE_HOME": str(folder / "ansible"), "ANSIBLE_LOCALHOST_WARNING": "0"}
        sides = {
            "theirs": [str(python.parent / "ansible-playbook"), "-e", f"ansible_python_interpreter={python}"],
            "ours": [str(args.bin.resolve()), "run"],
        }
        # Interfaces may come and go between the two: a real difference stays when both look again.
        for attempt in range(3):
            facts = {}
            for side, command in sides.items():
                out = folder / f"{side}.json"
                command = [*command, "play.yml", "-i", "h1,", "-c", "local", "-e", f"out={out}"]
                done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
                facts[side] = settled(json.loads(out.read_text()))
            found = differences(facts["theirs"], facts["ours"])
            if not found:
                break
    print("\n".join(found))
    print(f"{len(facts['theirs'])} facts of this machine compared, {len(found)} different")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
