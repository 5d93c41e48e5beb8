"""A small HTTP server and client on asyncio, and the line protocol of the election port.

Every service of a node is one process with one loop; nothing here starts a thread.
"""

import asyncio
import json
import urllib.parse

MAX_BODY = 8 * 1024 * 1024


class Request:
    def __init__(self, method, target, headers, body, peer):
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body = body
        self.peer = peer

    def json(self):
        return json.loads(self.body or b"null")

    def params(self):
        return dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True))


class Response:
    def __init__(self, status=200, body=b"", kind="text/plain; charset=utf-8", headers=None):
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.kind = kind
        self.headers = headers or {}


def answer_json(value, status=200):
    return Response(status, json.dumps(value), "application/json")


REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 302: "Found", 307: "Temporary Redirect",
    400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 412: "Precondition Failed",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
}


async def _read_head(reader):
    start = await reader.readline()
    headers = {}
    while True:
        line = await reader.readline()
        if line in (b"\r\n", b"\n", b""):
            return start.decode("latin-1").strip(), headers
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()


async def _read_body(reader, headers):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            size = int((await reader.readline()).split(b";")[0] or b"0", 16)
            if size == 0:
                await reader.readline()
                return body
            body += await reader.readexactly(size)
            await reader.readline()
    length = int(headers.get("content-length") or 0)
    if length > MAX_BODY:
        raise ValueError("body too large")
    return await reader.readexactly(length) if length else b""


async def serve_http(handler, host, port, ssl=None):
    """Serves `handler(request) -> Response` (a coroutine function) until cancelled."""

    async def client(reader, writer):
        try:
            while True:
                start, headers = await asyncio.wait_for(_read_head(reader), 60)
                if not start:
                    return
                method, target, version = (start.split(" ") + ["HTTP/1.0", "HTTP/1.0"])[:3]
                if headers.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await _read_body(reader, headers)
                peer = writer.get_extra_info("peername")[0]
                try:
                    response = await handler(Request(method, target, headers, body, peer))
                except Exception as problem:  # the client gets to see it, and the service lives on
                    response = Response(500, f"{type(problem).__name__}: {problem}\n")
                keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
                head = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, '-')}"]
                if response.status != 204:
                    head.append(f"Content-Type: {response.kind}")
                    head.append(f"Content-Length: {len(response.body)}")
                head += [f"{name}: {value}" for name, value in response.headers.items()]
                head.append("Connection: keep-alive" if keep else "Connection: close")
                writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
                if method != "HEAD" and response.status != 204:
                    writer.write(response.body)
                await writer.drain()
                if not keep:
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(client, host, port, ssl=ssl, reuse_address=True)


async def http(method, url, body=None, timeout=2.0, headers=None):
    """One request to a plain HTTP URL; returns `(status, headers, body)`.

    Raises `OSError` when nobody answers in time.
    """
    parts = urllib.parse.urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()

    async def exchange():
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        try:
            lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            if data is not None:
                if not any(name.lower() == "content-type" for name in headers or ()):
                    lines.append("Content-Type: application/json")
                lines.append(f"Content-Length: {len(data)}")
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (data or b""))
            await writer.drain()
            start, answer_headers = await _read_head(reader)
            if not start:
                raise ConnectionError("empty answer")
            status = int(start.split(" ")[1])
            if method == "HEAD" or status == 204:
                return status, answer_headers, b""
            if "content-length" in answer_headers or "transfer-encoding" in answer_headers:
                return status, answer_headers, await _read_body(reader, answer_headers)
            return status, answer_headers, await reader.read()
        finally:
            writer.close()

    try:
        return await asyncio.wait_for(exchange(), timeout)
    except (asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError) as problem:
        raise ConnectionError(f"{url}: {problem or 'no answer in time'}") from problem


async def get_json(url, timeout=2.0):
    """The JSON of a 200 answer, or None."""
    try:
        status, _, body = await http("GET", url, timeout=timeout)
        return json.loads(body) if status == 200 else None
    except (OSError, ValueError):
        return None


async def ask_line(ip, port, line, timeout):
    """Sends one line and reads one JSON line back; `OSError` when there is no answer."""

    async def exchange():
        reader, writer = await asyncio.open_connection(ip, port, limit=MAX_BODY)
        try:
            writer.write(line.encode() + b"\n")
            return json.loads(await reader.readline())
        finally:
            writer.close()

    try:
        return await asyncio.wait_for(exchange(), timeout)
    except asyncio.TimeoutError as problem:
        raise TimeoutError(f"{ip}:{port} is silent") from problem
    except ValueError as problem:
        raise ConnectionResetError(f"{ip}:{port} closed without an answer") from problem


async def until_signalled():
    """Waits for SIGTERM or SIGINT."""
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
