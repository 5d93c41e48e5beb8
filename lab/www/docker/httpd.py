"""Static file server behind a stand-in nginx container: GET and HEAD of mounted directories, read in place."""

import argparse
import os
import socket
import socketserver
import sys
import threading
import time
import urllib.parse

TYPES = {".html": "text/html", ".json": "application/json", ".sh": "application/octet-stream", ".txt": "text/plain",
         ".latest": "application/octet-stream", ".xz": "application/x-xz"}
CHUNK = 1 << 16


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    mounts = ()

    def locate(self, path):
        """The root and file for a URL path below the most specific mount, or None; never outside of it."""
        path = os.path.normpath("/" + urllib.parse.unquote(path.partition("?")[0]).lstrip("/"))
        for target, source in self.mounts:
            if path == target or path.startswith(target.rstrip("/") + "/"):
                rest = path[len(target.rstrip("/")):].lstrip("/")
                real, root = os.path.realpath(os.path.join(source, rest)), os.path.realpath(source)
                return (root, real) if real == root or real.startswith(root.rstrip("/") + "/") else None
        return None


def others_may_read(root, path):
    """Whether a user who owns nothing may read the file: the workers of the real server run as such a user."""
    if not os.stat(path).st_mode & 0o004:
        return False
    folder = os.path.dirname(path)
    while folder.startswith(root):
        if not os.stat(folder).st_mode & 0o001:
            return False
        if folder == root:
            break
        folder = os.path.dirname(folder)
    return True


class Handler(socketserver.StreamRequestHandler):
    timeout = 60

    def handle(self):
        try:
            while self.one_request():
                pass
        except OSError:
            pass

    def one_request(self):
        start = self.rfile.readline(65536).decode("latin-1").split()
        if len(start) < 2:
            return False
        headers = {}
        while True:
            line = self.rfile.readline(65536)
            if line in (b"\r\n", b"\n", b""):
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        method, path = start[0], start[1]
        keep = start[2:] == ["HTTP/1.1"] and headers.get("connection", "").lower() != "close"
        if method not in ("GET", "HEAD"):
            self.answer("405 Method Not Allowed", b"", keep)
            return keep
        root, found = self.server.locate(path) or ("", "")
        if os.path.isdir(found):
            found = os.path.join(found, "index.html")
            if not os.path.exists(found):
                self.answer("403 Forbidden", b"<html><title>403 Forbidden</title></html>\n", keep, method, "text/html")
                return keep
        if not found or not os.path.isfile(found):
            self.answer("404 Not Found", b"<html><title>404 Not Found</title></html>\n", keep, method, "text/html")
            return keep
        if not others_may_read(root, found):
            self.answer("403 Forbidden", b"<html><title>403 Forbidden</title></html>\n", keep, method, "text/html")
            return keep
        with open(found, "rb") as stream:
            status = os.fstat(stream.fileno())
            kind = TYPES.get(os.path.splitext(found)[1], "application/octet-stream")
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(status.st_mtime))
            self.wfile.write((
                f"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: {kind}\r\nContent-Length: {status.st_size}\r\n"
                f"Last-Modified: {stamp}\r\nETag: \"{int(status.st_mtime):x}-{status.st_size:x}\"\r\n"
                f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n").encode())
            left = status.st_size if method == "GET" else 0
            while left > 0:
                block = stream.read(min(CHUNK, left))
                if not block:
                    return False
                self.wfile.write(block)
                left -= len(block)
        return keep

    def answer(self, status, body, keep, method="GET", kind="text/plain"):
        self.wfile.write((
            f"HTTP/1.1 {status}\r\nServer: nginx\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n").encode() + (body if method != "HEAD" else b""))


def notify_ready():
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(b"READY=1", "\0" + address[1:] if address[0] == "@" else address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append", required=True, help="ip:port")
    parser.add_argument("--mount", action="append", default=[], help="directory=/path")
    given = parser.parse_args()
    mounts = [(target, source) for source, _, target in (item.rpartition("=") for item in given.mount)]
    Server.mounts = tuple(sorted(mounts, key=lambda m: -len(m[0])))
    servers = []
    for item in given.listen:
        ip, _, port = item.rpartition(":")
        try:
            servers.append(Server((ip, int(port)), Handler))
        except OSError as problem:
            sys.exit(f"{item}: {problem}")
    notify_ready()
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


main()
