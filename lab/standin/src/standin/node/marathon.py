"""`dcos-marathon`: apps in the replicated store, simulated tasks, everything answered by the leader."""

import asyncio
import json
import time
import urllib.parse

from . import identity, net
from . import knobs as knob_file
from .contest import LOCAL, Contest

PORT = 8080
VERSION = "1.11.24"
STORE = "marathon%2Fapps"
# Seconds after which every follower has what was committed, or does not serve.
WRITE_MEMORY = 10.0


class Marathon:
    def __init__(self, ip, knobs):
        self.ip = ip
        self.contest = Contest("marathon", ip, PORT, knobs)
        # What this leader wrote last, and when: its own node may be a follower that has not got it yet.
        self._written, self._written_at = None, 0.0
        self._one_at_a_time = asyncio.Lock()

    async def _apps(self):
        if self._written is not None and time.monotonic() - self._written_at < WRITE_MEMORY:
            return dict(self._written)
        status, _, body = await net.http("GET", f"http://{LOCAL}:8181/standin/store/{STORE}", timeout=5.0)
        if status == 404:
            return {}
        if status != 200:
            raise ConnectionError(body.decode())
        return json.loads(body)

    async def _save(self, apps):
        status, _, body = await net.http("PUT", f"http://{LOCAL}:8181/standin/store/{STORE}", apps, timeout=9.0)
        if status != 200:
            self._written = None
            raise ConnectionError(body.decode())
        self._written, self._written_at = dict(apps), time.monotonic()

    async def handle(self, request):
        path = request.path.rstrip("/")
        if path == "/ping":
            return net.Response(200, "pong\n")
        if path == "/standin/contender":
            return net.answer_json(self.contest.own())
        leader = self.contest.leader
        if path == "/v2/info":
            return net.answer_json({
                "name": "marathon", "version": VERSION, "elected": self.contest.leads(),
                "leader": f"{leader['ip']}:{PORT}" if leader else None, "frameworkId": "standin-0001",
            })
        if leader is None:
            return net.answer_json({"message": "Could not determine the current leader"}, 503)
        if path == "/v2/leader":
            return net.answer_json({"leader": f"{leader['ip']}:{PORT}"})
        if not self.contest.leads():
            self._written = None
            return await self._proxy(leader["ip"], request)
        if path == "/v2/deployments":
            return net.answer_json([])
        if path == "/v2/apps" or path.startswith("/v2/apps/"):
            try:
                async with self._one_at_a_time:
                    return await self._crud(request, urllib.parse.unquote(path[len("/v2/apps"):]))
            except ConnectionError as problem:
                return net.answer_json({"message": f"the store does not answer: {problem}"}, 503)
        return net.answer_json({"message": "not found"}, 404)

    async def _proxy(self, ip, request):
        try:
            status, headers, body = await net.http(
                request.method, f"http://{ip}:{PORT}{request.target}", request.body or None, timeout=12.0
            )
        except OSError as problem:
            return net.answer_json({"message": f"leader {ip}: {problem}"}, 502)
        return net.Response(status, body, headers.get("content-type", "application/json"))

    async def _crud(self, request, name):
        apps = await self._apps()
        if request.method in ("GET", "HEAD"):
            if not name:
                return net.answer_json({"apps": [_shown(apps[key]) for key in sorted(apps)]})
            if name.endswith("/tasks") and name[: -len("/tasks")] in apps:
                return net.answer_json({"tasks": _tasks(apps[name[: -len("/tasks")]])})
            if name not in apps:
                return net.answer_json({"message": f"App '{name}' does not exist"}, 404)
            return net.answer_json({"app": _shown(apps[name])})
        version = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        if request.method == "DELETE":
            if apps.pop(name, None) is None:
                return net.answer_json({"message": f"App '{name}' does not exist"}, 404)
            await self._save(apps)
            return net.answer_json({"version": version, "deploymentId": self.contest.id})
        if request.method not in ("POST", "PUT"):
            return net.answer_json({"message": "method not allowed"}, 405)
        app = request.json()
        if not isinstance(app, dict):
            return net.answer_json({"message": "Invalid JSON"}, 400)
        key = "/" + (name or app.get("id", "")).strip("/")
        if key == "/":
            return net.answer_json({"message": "Object is not valid", "details": [{"path": "/id"}]}, 422)
        if request.method == "POST" and key in apps:
            return net.answer_json({"message": f"An app with id [{key}] already exists."}, 409)
        apps[key] = {"instances": 1, "cpus": 0.1, "mem": 128, **apps.get(key, {}), **app, "id": key, "version": version}
        await self._save(apps)
        if request.method == "POST":
            return net.answer_json(_shown(apps[key]), 201)
        return net.answer_json({"version": version, "deploymentId": self.contest.id})


def _tasks(app):
    return [{"id": f"{app['id'].strip('/').replace('/', '_')}.{n}", "appId": app["id"], "state": "TASK_RUNNING"}
            for n in range(int(app["instances"]))]


def _shown(app):
    running = int(app["instances"])
    return {**app, "tasksRunning": running, "tasksHealthy": running, "tasksStaged": 0, "tasksUnhealthy": 0, "deployments": []}


async def _run():
    marathon = Marathon(identity.detect_ip(), knob_file.load())
    await net.serve_http(marathon.handle, LOCAL if LOCAL != "127.0.0.1" else "0.0.0.0", PORT)
    stop = asyncio.create_task(net.until_signalled())
    work = asyncio.create_task(marathon.contest.run())
    done, _ = await asyncio.wait([stop, work], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def main():
    asyncio.run(_run())
