"""What tests of the result cache share: units of work, and a process that can be killed."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pytest

from lhc.store import Facts, ResultCache

Scores = npt.NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


@pytest.fixture(scope="session")
def unit() -> Callable[[int], tuple[Scores, Facts]]:
    """Value and facts of the unit of work with this number; `writer.py` has the same."""

    def numbered(number: int) -> tuple[Scores, Facts]:
        return np.random.default_rng(number).random(1 + number % 40), {"unit": number}

    return numbered


class Fill(Protocol):
    def __call__(self, folder: Path, numbers: range) -> None: ...


@pytest.fixture(scope="session")
def fill(unit: Callable[[int], tuple[Scores, Facts]]) -> Fill:
    """Puts units of work into a folder."""

    def put_all(folder: Path, numbers: range) -> None:
        with ResultCache(folder) as cache:
            for number in numbers:
                cache.put(*unit(number))

    return put_all


class Query(Protocol):
    def __call__(self, folder: Path, sql: str, *values: object) -> list[tuple[Any, ...]]: ...


@pytest.fixture(scope="session")
def query() -> Query:
    """What another program finds in, or does to, the only database of a folder."""

    def run(folder: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
        (path,) = folder.glob("*.sqlite3")
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    return run


@pytest.fixture
def start_writer() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``writer.py FOLDER FIRST END LIMIT``; none is left behind."""
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
