"""Writes every task result of a run as one line of JSON to $ORACLE_EVENTS."""

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: oracle
type: stdout
short_description: results as lines of JSON
description: [for the side-by-side comparison]
"""


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "oracle"

    def __init__(self):
        super().__init__()
        self.out = open(os.environ["ORACLE_EVENTS"], "w", encoding="utf-8")

    def put(self, **event):
        self.out.write(json.dumps(event) + "\n")
        self.out.flush()

    def result(self, status, result, ignored=False):
        task = result._task
        self.put(
            host=result._host.get_name(),
            task=str(task.get_name()).strip(),
            action=str(task.action).rsplit(".", 1)[-1],
            status="ignored" if ignored else status,
            result=plain(result._result),
        )

    def v2_runner_on_ok(self, result):
        self.result("changed" if result._result.get("changed") else "ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.result("failed", result, ignore_errors)

    def v2_runner_on_skipped(self, result):
        self.result("skipped", result)

    def v2_runner_on_unreachable(self, result):
        self.result("unreachable", result)

    def v2_playbook_on_stats(self, stats):
        self.put(recap={str(host): stats.summarize(host) for host in stats.processed})
