"""Process 1 of the stand-in container: reads the environment as the real images do, writes a node's files, runs its services.

The real image has systemd inside; here this program starts the services, again when one ends.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

sys.path.insert(0, "/opt/standin")

from standin.gen import packages
from standin.gen.config import resolve
from standin.gen.genconf import configuration_id
from standin.release import Release

RELEASE = "2.2.0"
PREFIXES = ("MARATHON", "MESOS", "DCOS", "EXHIBITOR", "OAUTH", "MASTER", "RESOLVER", "AWS", "SEARCH")
SERVICES = {
    "master": ["exhibitor", "mesos-master", "marathon", "adminrouter"],
    "slave": ["mesos-slave", "adminrouter-agent"],
}
# Their ports are the master's, when both share a host.
SHARED = ("127.0.0.1", "localhost")


def given(name, default=""):
    return os.environ.get(name) or default


def abort(text):
    print(text, file=sys.stderr, flush=True)
    sys.exit(1)


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(path, mode)


def own_address():
    """The source address of the route to the other nodes."""
    import socket

    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.connect((given("STANDIN_ROUTE_TO", "198.51.100.1"), 9))
    return probe.getsockname()[0]


def cluster_name(role):
    name = given("MESOS_CLUSTER")
    if not name and role == "slave":
        try:
            with urllib.request.urlopen(f"http://{given('EXHIBITOR_ADDRESS')}/mesos/state", timeout=5) as answer:
                name = json.load(answer).get("cluster", "")
        except (OSError, ValueError):
            pass
    return name or base64.b64encode(os.urandom(8)).decode()


def configuration(role):
    size = int(given("MESOS_CLUSTER_SIZE", "1"))
    if role == "master" and size > 1 and not given("AWS_S3_BUCKET"):
        abort("AWS_S3_BUCKET not defined, aborting")
    if role == "slave" and not given("EXHIBITOR_ADDRESS"):
        abort("EXHIBITOR_ADDRESS not defined, aborting")
    cluster = cluster_name(role)
    address = own_address()
    settings = {"bootstrap_url": "http://none", "cluster_name": cluster}
    if role == "master" and size == 1:
        settings.update(exhibitor_storage_backend="static", master_discovery="static", master_list=[address])
    else:
        settings.update(
            exhibitor_storage_backend="aws_s3", master_discovery="master_http_loadbalancer", num_masters=size,
            exhibitor_address=given("EXHIBITOR_ADDRESS", address), exhibitor_explicit_keys=False,
            aws_region=given("AWS_REGION", "none"), s3_bucket=given("AWS_S3_BUCKET", "none"),
            s3_prefix=given("AWS_S3_PREFIX", f"cluster_{cluster}"))
    release = Release(RELEASE)
    args = resolve(settings, release, lambda name: f"#!/bin/sh\necho {address}\n")
    config_id = configuration_id(args, release)
    files = {**packages.config_package(args, {}, config_id).files,
             **packages.metadata_package(release, "c", "b", config_id).files}
    for path, file in sorted(files.items()):
        folder, _, name = path.partition("/")
        if folder.partition("_")[2] in ("", role):
            write(f"/opt/mesosphere/{folder.partition('_')[0]}/{name}", file.data.decode(), file.mode)
    write(f"/etc/mesosphere/roles/{role}", "")
    write("/etc/mesosphere/setup-flags/standin-install-id", "container")
    copied = {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}
    # What the image makes of it when nobody says better; wrong beyond three masters.
    copied.setdefault("MESOS_QUORUM", str(max(1, size - 1)))
    lines = "".join(f"{name}={value}\n" for name, value in sorted(copied.items()))
    write("/opt/mesosphere/etc/dcos-docker.env", lines)
    # The last environment file of each unit wins.
    for unit in ("mesos-master", "mesos-slave"):
        path = f"/opt/mesosphere/etc/{unit}"
        if os.path.exists(path):
            with open(path, "a", encoding="utf-8") as stream:
                stream.write("".join(line + "\n" for line in lines.splitlines() if re.match("MESOS_", line)))


def keep_data():
    """What must outlive the container stands below /data."""
    for path in ("/var/lib/dcos", "/var/lib/mesos", "/var/log/dcos-standin"):
        kept = "/data" + path
        os.makedirs(kept, exist_ok=True)
        if not os.path.islink(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.isdir(path):
                os.rmdir(path)
            os.symlink(kept, path)


def main():
    role = os.environ["STANDIN_ROLE"]
    keep_data()
    configuration(role)
    knobs = {"check_time_source": "none"}
    if given("STANDIN_S3_ENDPOINT"):
        knobs["s3_endpoint"] = given("STANDIN_S3_ENDPOINT")
    write("/etc/mesosphere/standin.json", json.dumps(knobs))
    environment = {**os.environ, "PYTHONPATH": "/opt/standin", "PYTHONDONTWRITEBYTECODE": "1"}
    running = {}

    def start(service):
        code = "import sys; from standin.node.main import main; sys.exit(main(sys.argv[1:]))"
        running[subprocess.Popen(["/usr/bin/python3", "-S", "-c", code, service], env=environment).pid] = service

    def stop(_number, _frame):
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for service in SERVICES[role]:
        if not (role == "slave" and service.startswith("adminrouter") and given("EXHIBITOR_ADDRESS") in SHARED):
            start(service)
    while True:
        pid, status = os.wait()
        service = running.pop(pid, None)
        if service:
            # As systemd does it: what ends is started again.
            print(f"{service} ended with {status}, starting it again", file=sys.stderr, flush=True)
            signal.sigtimedwait([], 1)
            start(service)


if __name__ == "__main__":
    main()
