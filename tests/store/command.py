"""Runs lhc's command line in forks of one process that has loaded all libraries, so that many kills take seconds.

It reads JSON lines from its input. ``{"run": [...], "room": BYTES, "output": FILE, "told": FILE}`` starts a command and
prints its process id; its results go to the output, and each result's key to the other file as soon as it is put. The
command kills itself inside a write to the log after so many bytes. ``{"wait": PID}`` prints how a command ended.
"""

import json
import os
import signal
import sys
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lhc.measure.execution
from lhc.cli.app import app
from lhc.store import ResultLog

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def deadly(path: Path, mode: str, room: list[int]) -> FileIO:
    class DeadlyFile(FileIO):
        def write(self, data: "ReadableBuffer", /) -> int:
            part = memoryview(data)[: room[0]]
            room[0] -= super().write(part) or 0
            if room[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return len(part)

    return DeadlyFile(path, mode)


class TellingLog(ResultLog):
    """Says what was put."""

    told = -1

    def put(self, key: str, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        super().put(key, *rest, **named)
        os.write(self.told, f"{key}\n".encode())


def run(arguments: list[str], room: int, output: str, told: str) -> None:
    """In the fork."""
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    TellingLog.told = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log: Any = partial(TellingLog, opener=partial(deadly, room=[room]))
    lhc.measure.execution.ResultLog = log  # type: ignore[attr-defined]
    try:
        app(arguments)
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    os._exit(1)


def main() -> None:
    lhc.sensitivity("digits", samples=8, draws=2, method="fisher")  # loads everything
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            run(asked["run"], asked["room"], asked["output"], asked["told"])
        print(child, flush=True)


if __name__ == "__main__":
    main()
