"""Runs lhc's command line in forks of one process that has loaded all libraries, so that many kills take seconds.

It reads JSON lines from its input. ``{"run": [...], "limit": BYTES, "output": FILE, "told": FILE}`` starts a command
and prints its process id; its results go to the output, and each result's fingerprint to the other file once it is put.
The system kills the command inside the write that would make a file larger than the limit; 0: none is too large.
``{"wait": PID}`` prints how a command ended.
"""

import json
import os
import resource
import signal
import sys

import lhc.measure.running
from lhc.cli.framework.app import app
from lhc.samples.metrics import Array
from lhc.store import Facts, ResultCache, fingerprint


class TellingCache(ResultCache):
    """Says what was put."""

    told = -1

    def put(self, value: Array, *facts: Facts) -> None:
        super().put(value, *facts)
        os.write(self.told, f"{fingerprint(*facts)}\n".encode())


def run(arguments: list[str], limit: int, output: str, told: str) -> None:
    """In the fork."""
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    TellingCache.told = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    lhc.measure.running.ResultCache = TellingCache  # type: ignore[attr-defined]
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        app(arguments)
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(0 if end.code is None else int(end.code))
    os._exit(1)


def main() -> None:
    lhc.sensitivity("digits-narrow", samples=8, draws=2, method="fisher")  # loads everything
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            run(asked["run"], asked["limit"], asked["output"], asked["told"])
        print(child, flush=True)


if __name__ == "__main__":
    main()
