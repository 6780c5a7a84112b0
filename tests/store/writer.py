"""Measures units of work into a result log, until it is done or killed.

``writer.py FOLDER FIRST END ROOM``: units FIRST to END - 1 that the folder does not hold yet. It prints a line when it
has opened the log, starts when it gets one, and prints the number of each unit once it is put, in lines so long that a
pipe holds a few hundred: nobody who reads a few comes too late. It kills itself inside a write after ROOM bytes.
"""

import os
import signal
import sys
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lhc.store import ResultLog, fingerprint

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def deadly(path: Path, mode: str) -> FileIO:
    room = int(sys.argv[4])

    class DeadlyFile(FileIO):
        def write(self, data: "ReadableBuffer", /) -> int:
            nonlocal room
            part = memoryview(data)[:room]
            room -= super().write(part) or 0
            if room == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return len(part)

    return DeadlyFile(path, mode)


def main() -> None:
    with ResultLog(sys.argv[1], opener=deadly) as log:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(sys.argv[2]), int(sys.argv[3])):
            key = fingerprint({"unit": number})
            if log.get(key) is None:
                log.put(key, np.random.default_rng(number).random(1 + number % 40))
                print(f"{number:200}", flush=True)


if __name__ == "__main__":
    main()
