"""`dcos-adminrouter` on masters and `dcos-adminrouter-agent`: the web front of a node."""

import asyncio
import os
import shutil
import subprocess

from . import identity, net, paths
from .contest import LOCAL
from .diagnostics import Health

PAGE = "<!DOCTYPE html><html><head><title>DC/OS</title></head><body>DC/OS {version} {cluster}</body></html>\n"
TLS_DIR = os.path.join(paths.LIB, "standin-tls")


class Front:
    def __init__(self, ip):
        self.ip = ip
        self.version = identity.version_file()
        self.cluster = identity.expanded().get("cluster_name", "")

    async def _forward(self, base, request, rest):
        query = f"?{request.query}" if request.query else ""
        try:
            status, headers, body = await net.http(
                request.method, f"{base}/{rest}{query}", request.body or None, timeout=12.0
            )
            for _ in range(3):
                if status != 307 or "location" not in headers:
                    break
                target = headers["location"]
                target = f"http:{target}" if target.startswith("//") else target
                status, headers, body = await net.http(request.method, target, request.body or None, timeout=12.0)
        except OSError as problem:
            return net.Response(502, f"<html><title>502 Bad Gateway</title>{problem}</html>\n", "text/html")
        return net.Response(status, body, headers.get("content-type", "text/plain"))

    async def handle(self, request):
        path = request.path
        if path in ("/", "/index.html"):
            return net.Response(200, PAGE.format(version=self.version["version"], cluster=self.cluster), "text/html")
        if path == "/dcos-metadata/dcos-version.json":
            return net.answer_json(self.version)
        if path == "/dcos-metadata/ui-config.json":
            return net.answer_json({"uiConfiguration": {"plugins": {}}, "clusterConfiguration": {"id": identity.cluster_id()}})
        head, _, rest = path.lstrip("/").partition("/")
        if head == "exhibitor":
            return await self._forward(f"http://{LOCAL}:8181", request, rest or "exhibitor/v1/ui/index.html")
        if head in ("mesos", "mesos_dns"):
            return await self._forward(f"http://{self.ip}:5050", request, rest)
        if head in ("marathon", "service"):
            rest = rest[len("marathon/"):] if head == "service" and rest.startswith("marathon/") else rest
            return await self._forward(f"http://{LOCAL}:8080", request, rest)
        if path.startswith("/system/health/v1"):
            return await self._forward(f"http://{LOCAL}:1050", request, path.lstrip("/"))
        return net.Response(404, "not found\n")


def tls_context():
    """A context with a certificate of its own, or None where `openssl` is missing."""
    if shutil.which("openssl") is None:
        return None
    key, cert = os.path.join(TLS_DIR, "adminrouter.key"), os.path.join(TLS_DIR, "adminrouter.crt")
    if not os.path.exists(cert):
        os.makedirs(TLS_DIR, mode=0o700, exist_ok=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-days", "3650", "-subj", "/CN=dcos-standin", "-keyout", key, "-out", cert],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


async def _run_master():
    front = Front(identity.detect_ip())
    host = os.environ.get("STANDIN_BIND") or "0.0.0.0"
    await net.serve_http(front.handle, host, 80)
    context = tls_context()
    if context is not None:
        await net.serve_http(front.handle, host, 443, ssl=context)
    await net.until_signalled()


async def _run_agent():
    health = Health(identity.detect_ip())

    async def handle(request):
        if request.path == "/dcos-metadata/dcos-version.json":
            return net.answer_json(identity.version_file())
        return await health.handle(request)

    await net.serve_http(handle, os.environ.get("STANDIN_BIND") or "0.0.0.0", 61001)
    await net.until_signalled()


def main():
    asyncio.run(_run_master())


def main_agent():
    asyncio.run(_run_agent())
