#!/usr/bin/env python3
"""Object store of the lab: GET, HEAD, PUT and DELETE of files, with ETag, If-Match and If-None-Match.

Usage: object-store.py IP:PORT DIRECTORY. The store that Exhibitor's shared configuration lives in (knob s3_endpoint).
"""

import hashlib
import http.server
import os
import sys
import threading

LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def path_of(self):
        name = os.path.normpath("/" + self.path.partition("?")[0]).lstrip("/")
        return os.path.join(self.server.folder, name.replace("/", "%2F"))

    def stored(self):
        try:
            with open(self.path_of(), "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def answer(self, status, body=b"", tag=None):
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        data = self.stored()
        if data is None:
            return self.answer(404, b"no such key\n")
        return self.answer(200, data, tag_of(data))

    do_HEAD = do_GET

    def refused(self, data):
        wanted, absent = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        return (wanted is not None and (data is None or wanted != tag_of(data))) or (absent == "*" and data is not None)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with LOCK:
            if self.refused(self.stored()):
                return self.answer(412)
            with open(self.path_of() + ".new", "wb") as stream:
                stream.write(body)
            os.replace(self.path_of() + ".new", self.path_of())
        return self.answer(200, tag=tag_of(body))

    def do_DELETE(self):
        with LOCK:
            if self.refused(self.stored()):
                return self.answer(412)
            if self.stored() is not None:
                os.unlink(self.path_of())
        return self.answer(204)

    def log_message(self, *_):
        pass


def tag_of(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    ip, _, port = sys.argv[1].rpartition(":")
    os.makedirs(sys.argv[2], exist_ok=True)
    server = http.server.ThreadingHTTPServer((ip, int(port)), Handler)
    server.folder = sys.argv[2]
    server.serve_forever()


if __name__ == "__main__":
    main()
