"""Serves moto's AWS on a free port of loopback, says which, and ends when the test that started it does."""

import os
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


def end_with_the_test():
    # Standard input closes when the test's process ends, in whatever way it does.
    sys.stdin.read()
    os._exit(0)


app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
threading.Thread(target=end_with_the_test, daemon=True).start()
print(server.port, flush=True)
server.serve_forever()
