"""What tests of the result log share: files that break, and a process that can be killed."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import pytest

from lhc.store import ResultLog, fingerprint

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Scores = npt.NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


class Disk:
    """Opens files that take so many bytes, all together, and then fail as a full disk does.

    Attributes:
        room: bytes that can still be written.
        error: what a write gets when there is none.
        truncates: whether a file can be made shorter.
    """

    def __init__(self) -> None:
        self.room = 2**40
        self.error = errno.ENOSPC
        self.truncates = True

    def __call__(self, path: Path, mode: str) -> FileIO:
        disk = self

        class LimitedFile(FileIO):
            def write(self, data: "ReadableBuffer", /) -> int:
                part = memoryview(data)[: disk.room]
                if not part:
                    raise OSError(disk.error, os.strerror(disk.error))
                disk.room -= len(part)
                return super().write(part) or 0

            def truncate(self, size: int | None = None, /) -> int:
                if not disk.truncates:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return super().truncate(size)

        return LimitedFile(path, mode)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def unit() -> Callable[[int], tuple[str, Scores]]:
    """Key and value of the unit of work with this number; `writer.py` has the same."""

    def numbered(number: int) -> tuple[str, Scores]:
        return fingerprint({"unit": number}), np.random.default_rng(number).random(1 + number % 40)

    return numbered


class Fill(Protocol):
    def __call__(self, folder: Path, numbers: range) -> None: ...


@pytest.fixture
def fill(unit: Callable[[int], tuple[str, Scores]]) -> Fill:
    """Puts units of work into a folder, in a segment of their own."""

    def put_all(folder: Path, numbers: range) -> None:
        with ResultLog(folder) as log:
            for number in numbers:
                log.put(*unit(number))

    return put_all


@pytest.fixture
def start_writer() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``writer.py FOLDER FIRST END ROOM``; none is left behind."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).with_name("writer.py")), *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def restricted_folder() -> Iterator[Path]:
    """A folder of a user for whom file permissions count, as they do not for root."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions are other things on this system")
    root = os.geteuid() == 0
    # pytest's own folders are closed to all users but one.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        if root:
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


@pytest.fixture(scope="module")
def without_syncs() -> Iterator[None]:
    """Nothing waits for the disk; for tests that open hundreds of logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield
