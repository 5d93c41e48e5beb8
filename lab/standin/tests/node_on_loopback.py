"""Nodes as processes on 127.0.77.x, without systemd: a tree like `/opt/mesosphere` and the real services on it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import support
from standin.gen import packages
from standin.gen.config import resolve
from standin.gen.genconf import configuration_id
from standin.release import Release

KNOBS = {"time_scale": 0.02, "tick": 0.1, "peer_timeout": 1.0, "check_time_source": "none"}


class Node:
    """One node below its own root; `start(service)` runs a service of it."""

    def __init__(self, base, ip, role, masters, release="2.0.6", knobs=None, change=None):
        self.ip = ip
        self.root = os.path.join(base, ip)
        self.role = role
        self.processes = {}
        self.knobs = {**KNOBS, **(knobs or {})}
        self.configure(masters, release, change)
        self.write("/etc/mesosphere/setup-flags/standin-install-id", "first")

    def write(self, path, text, mode=0o644):
        path = self.root + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(path, mode)

    def read(self, path):
        with open(self.root + path, encoding="utf-8") as stream:
            return stream.read()

    def configure(self, masters, release="2.0.6", change=None):
        """Writes what the generated configuration package would bring."""
        release = Release(release)
        given = {"bootstrap_url": "http://b", "cluster_name": "loop", "exhibitor_storage_backend": "static",
                 "master_discovery": "static", "master_list": masters}
        if change:
            del given["master_list"]
            given.update(change)
        args = resolve(given, release, lambda name: f"#!/bin/sh\necho {self.ip}\n")
        config_id = configuration_id(args, release)
        config = packages.config_package(args, {}, config_id)
        metadata = packages.metadata_package(release, "c", "b", config_id)
        for path, file in sorted({**config.files, **metadata.files}.items()):
            folder, _, name = path.partition("/")
            if folder.partition("_")[2] in ("", self.role):
                self.write(f"/opt/mesosphere/{folder.partition('_')[0]}/{name}", file.data.decode(), file.mode)
        self.write(f"/etc/mesosphere/roles/{self.role}", "")
        self.write("/etc/mesosphere/standin.json", json.dumps(self.knobs))

    def start(self, *services):
        environment = {"PATH": os.environ["PATH"], "STANDIN_ROOT": self.root, "STANDIN_BIND": self.ip,
                       "PYTHONPATH": os.path.join(support.STANDIN, "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        for service in services:
            log = open(os.path.join(self.root, f"{service}.log"), "ab")
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-S", "-c", "import sys; from standin.node.main import main; sys.exit(main(sys.argv[1:]))", service],
                env=environment, stdout=log, stderr=log)
            log.close()

    def stop(self, *services, how=signal.SIGTERM):
        for service in services or list(self.processes):
            process = self.processes.pop(service)
            process.send_signal(how)
            process.wait(10)

    def get(self, port, path):
        """Status and body of one request; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.ip}:{port}{path}", timeout=3) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as problem:
            return problem.code, problem.read().decode()
        except OSError:
            return 0, ""

    def json(self, port, path):
        status, body = self.get(port, path)
        return json.loads(body) if status == 200 else None

    def violations(self):
        try:
            with open(self.root + "/var/log/dcos-standin/violations.jsonl", encoding="utf-8") as stream:
                return [json.loads(line) for line in stream]
        except FileNotFoundError:
            return []

    def logs(self):
        return "\n".join(f"--- {name}\n" + self.read(f"/{name}")
                         for name in sorted(os.listdir(self.root)) if name.endswith(".log"))


class Loopback:
    """A temporary folder of nodes that ends every process it started."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.nodes = []

    def node(self, *args, **more):
        made = Node(self.folder.name, *args, **more)
        self.nodes.append(made)
        return made

    def close(self):
        for node in self.nodes:
            node.stop(how=signal.SIGKILL)
        self.folder.cleanup()


def until(condition, limit=15.0):
    """Waits for a condition; returns whether it came true."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())
