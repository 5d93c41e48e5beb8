"""Containers of the docker shim: their records in /var/lib/docker/standin and the systemd units behind them.

Images are only names. A container of the nginx image is a transient unit that serves the mounted directories; anything
else is a unit that sleeps. The command line is in `docker`.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time

VERSION_FILE = "/usr/lib/docker-standin/version"
BUILD, API = "633a0ea", "1.40"
HOME = "/var/lib/docker/standin"
PID_FILE = "/run/docker.pid"
SERVER = "/usr/lib/docker-standin/httpd.py"
WEB_ROOT = "/usr/share/nginx/html"


def read_version():
    """The version the installed package stands for."""
    try:
        with open(VERSION_FILE, encoding="ascii") as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return "19.03.5"


VERSION = read_version()


class Failure(Exception):
    def __init__(self, text, code=1):
        super().__init__(text)
        self.code = code


# State


def load(name):
    try:
        with open(os.path.join(HOME, name), encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None


def save(name, value):
    path = os.path.join(HOME, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, sort_keys=True)
    os.replace(f"{path}.new", path)


def containers():
    folder = os.path.join(HOME, "containers")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [load(f"containers/{n}") for n in names if n.endswith(".json")]
    return sorted(found, key=lambda c: -c["created"])


def keep(container):
    save(f"containers/{container['id']}.json", container)


def find(name):
    for c in containers():
        if name in (c["name"], f"/{c['name']}") or (len(name) >= 2 and c["id"].startswith(name)):
            return c
    raise Failure(f"Error response from daemon: No such container: {name}")


def image_name(name):
    tail = name.rpartition("/")[2]
    return name if ":" in tail or "@" in tail else f"{name}:latest"


def add_image(name):
    images = load("images.json") or {}
    name = image_name(name)
    if name in images:
        return False
    images[name] = {"id": hashlib.sha256(name.encode()).hexdigest(), "created": int(time.time())}
    save("images.json", images)
    return True


def need_daemon():
    try:
        with open(PID_FILE, encoding="ascii") as stream:
            os.kill(int(stream.read()), 0)
    except (OSError, ValueError):
        raise Failure("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")


def unit_of(container):
    return f"docker-{container['id'][:12]}.service"


def is_running(container):
    return subprocess.run(["systemctl", "is-active", "--quiet", unit_of(container)]).returncode == 0


# Life of a container


def command_of(container):
    """What stands for the container's process, and whether it tells systemd when it is ready."""
    if container["image"].rpartition("/")[2].split(":")[0] != "nginx":
        return ["/bin/sleep", "infinity"], False
    command = ["/usr/bin/python3", SERVER]
    for host_ip, host_port, _ in container["ports"]:
        command += ["--listen", f"{host_ip}:{host_port}"]
    if not container["ports"]:
        command += ["--listen", "0.0.0.0:80" if container["network"] == "host" else "127.0.0.1:0"]
    for source, target, _ in container["volumes"]:
        if target == WEB_ROOT or target.startswith(WEB_ROOT + "/"):
            command += ["--mount", f"{source}={target[len(WEB_ROOT):] or '/'}"]
    return command, True


def start(container, wait=False):
    """Starts the container's unit; with `wait` stays until it ends and returns its status, as in the foreground."""
    for host_ip, host_port, _ in container["ports"]:
        if port_taken(host_ip, host_port):
            raise Failure(
                f"Error response from daemon: driver failed programming external connectivity on endpoint {container['name']}: "
                f"Bind for {host_ip}:{host_port} failed: port is already allocated", 125)
    unit = unit_of(container)
    subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL)
    command, notifies = command_of(container)
    words = ["systemd-run", "--quiet", f"--unit={unit}", "--collect", f"--description=container {container['name']}"]
    if notifies:
        words += ["--service-type=notify", "--property=NotifyAccess=main"]
    if container["restart"].split(":")[0] not in ("no", ""):
        words.append("--property=Restart=on-failure")
    container.update(stopped_by_user=False, started=int(time.time()), exit_code=0)
    keep(container)
    if wait:
        return foreground(container, [*words, "--wait", "--", *command])
    done = subprocess.run([*words, "--", *command], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure(f"Error response from daemon: {done.stderr.strip()}", 125)
    return 0


def foreground(container, words):
    """Waits for the unit and hands signals on to it."""
    import signal

    def hand_on(number, _frame):
        subprocess.run(["systemctl", "stop", unit_of(container)], stderr=subprocess.DEVNULL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)
    status = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True).wait()
    if container["remove"]:
        forget(container)
    return status


def forget(container):
    try:
        os.unlink(os.path.join(HOME, "containers", f"{container['id']}.json"))
    except FileNotFoundError:
        pass


def port_taken(ip, port):
    import socket

    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((ip, port))
    except OSError:
        return True
    finally:
        probe.close()
    return False


def stop(container, by_user=True):
    # Noted first: a container in the foreground removes its record as soon as its unit has ended.
    container.update(stopped_by_user=by_user)
    keep(container)
    subprocess.run(["systemctl", "stop", unit_of(container)], stderr=subprocess.DEVNULL)


def described(c, running):
    ports = {}
    for ip, host, inner in c["ports"]:
        ports.setdefault(f"{inner}/tcp", []).append({"HostIp": ip, "HostPort": str(host)})
    policy, _, retries = c["restart"].partition(":")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime(c["started"]))
    return {
        "Id": c["id"], "Name": f"/{c['name']}", "Created": c["created"], "Image": f"sha256:{hashlib.sha256(c['image'].encode()).hexdigest()}",
        "State": {"Status": "running" if running else ("exited" if c["started"] else "created"), "Running": running, "Paused": False,
                  "Restarting": False, "Dead": False, "ExitCode": c["exit_code"], "StartedAt": stamp, "Error": ""},
        "Config": {"Image": c["image"], "Env": c["env"], "Labels": c["labels"], "Cmd": c["arguments"]},
        "HostConfig": {"Binds": [":".join(v) for v in c["volumes"]], "PortBindings": ports, "NetworkMode": c["network"],
                       "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(retries or 0)}},
        "Mounts": [{"Type": "bind", "Source": s, "Destination": t, "RW": "ro" not in m.split(",")} for s, t, m in c["volumes"]],
        "NetworkSettings": {"Ports": ports if running else {}},
    }


def storage_driver():
    """What the daemon was told, by `--storage-driver` or `daemon.json`."""
    try:
        with open("/run/docker.args", encoding="utf-8") as stream:
            told = re.search(r"(?:--storage-driver[= ]|-s[= ])(\S+)", stream.read())
        if told:
            return told.group(1)
        with open("/etc/docker/daemon.json", encoding="utf-8") as stream:
            return json.load(stream).get("storage-driver", "overlay2")
    except (OSError, ValueError):
        return "overlay2"


# The daemon's side, called by docker.service


def daemon_start():
    """Restarts what its policy asks for; called once before the daemon settles."""
    for c in containers():
        if c["remove"] and not is_running(c):
            forget(c)
            continue
        policy = c["restart"].split(":")[0]
        wanted = policy == "always" or (policy in ("unless-stopped", "on-failure") and not c["stopped_by_user"] and c["started"])
        if wanted and not is_running(c):
            try:
                start(c)
            except Failure as problem:
                print(f"container {c['name']}: {problem}", file=sys.stderr)


def daemon_stop():
    for c in containers():
        if is_running(c):
            stop(c, by_user=c["stopped_by_user"])
