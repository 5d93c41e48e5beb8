"""What marathon-lb shows on a public agent: the apps of its group, each on its service port, one answer an instance in turn.

Simulated like the tasks themselves: nothing runs but the listeners of this agent.
"""

import asyncio

from . import net

BALANCER = "/marathon-lb"
HEALTH_PORT = 9090
PAGE = "<html><head><title>Hello world!</title></head><body><h1>Hello world!</h1><h3>My hostname is {host}</h3></body></html>\n"


def shown(apps):
    """`{service port: app}` of what the balancer shows, itself under its health port; nothing while there is no balancer."""
    balancer = next((a for a in apps if a["id"] == BALANCER), None)
    if balancer is None or not int(balancer.get("instances", 1)):
        return {}
    words = balancer.get("args") or []
    group = words[words.index("--group") + 1] if "--group" in words[:-1] else "external"
    ports = {HEALTH_PORT: balancer}
    for app in apps:
        if group not in str((app.get("labels") or {}).get("HAPROXY_GROUP", "")).split(","):
            continue
        docker = (app.get("container") or {}).get("docker") or {}
        for mapping in docker.get("portMappings") or ():
            if int(mapping.get("servicePort") or 0):
                ports[int(mapping["servicePort"])] = app
    return ports


class Balancer:
    def __init__(self, ip, leader):
        self.ip = ip
        self.leader = leader
        self.apps = {}
        self.servers = {}
        self.turn = 0

    async def run(self, period):
        while True:
            leader = self.leader()
            answer = leader and await net.get_json(f"http://{leader}:8080/v2/apps", timeout=3.0)
            # Without a master the last known apps go on being shown.
            if answer:
                await self.show(shown(answer["apps"]))
            await asyncio.sleep(period)

    async def show(self, apps):
        self.apps = apps
        for port in [p for p in self.servers if p not in apps]:
            self.servers.pop(port).close()
        for port in apps:
            if port not in self.servers:
                try:
                    self.servers[port] = await net.serve_http(self.handler(port), self.ip, port)
                except OSError:
                    continue

    def handler(self, port):
        async def handle(request):
            app = self.apps.get(port)
            if port == HEALTH_PORT:
                return net.Response(200, "OK\n") if request.path == "/_haproxy_health_check" else net.Response(404)
            instances = int(app["instances"]) if app else 0
            if not instances:
                return net.Response(503, "<html><body><h1>503 Service Unavailable</h1></body></html>\n", "text/html")
            self.turn += 1
            name = app["id"].strip("/").replace("/", "_")
            return net.Response(200, PAGE.format(host=f"{name}-{self.turn % instances}"), "text/html")

        return handle
