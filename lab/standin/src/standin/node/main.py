"""`standin <service>`: one program for every unit and tool of a node."""

import os
import sys

if not os.environ.get("STANDIN_TLS"):
    # asyncio imports ssl when it can, which doubles a service's start on a busy machine. Only TLS needs it.
    TLS_USERS = ("adminrouter",)
    if not (len(sys.argv) > 1 and sys.argv[1] in TLS_USERS):
        sys.modules.setdefault("ssl", None)


def _service(module, entry="main"):
    def run(_arguments):
        import importlib

        getattr(importlib.import_module(f"standin.node.{module}"), entry)()
        return 0

    return run


def _tool(module, entry="main"):
    def run(arguments):
        import importlib

        return getattr(importlib.import_module(f"standin.node.{module}"), entry)(arguments)

    return run


COMMANDS = {
    "exhibitor": _service("exhibitor"),
    "mesos-master": _service("mesos_master"),
    "mesos-slave": _service("mesos_agent"),
    "marathon": _service("marathon"),
    "adminrouter": _service("adminrouter"),
    "adminrouter-agent": _service("adminrouter", "main_agent"),
    "diagnostics": _service("diagnostics"),
    "check-runner": _tool("checks"),
    "pkgpanda": _tool("pkgpanda"),
    "zk": _tool("zk_backup"),
    "upgrade-gates": _tool("upgrade_gates"),
}


def main(arguments):
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: standin {{{','.join(COMMANDS)}}}", file=sys.stderr)
        return 2
    return COMMANDS[arguments[0]](arguments[1:]) or 0
