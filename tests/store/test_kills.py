"""Processes that are killed, and processes that work side by side: no finished result is lost or measured twice."""

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lhc.store import ResultLog
from lhc.store.records import scan

Unit = Callable[[int], tuple[str, npt.NDArray[np.float64]]]
StartWriter = Callable[..., subprocess.Popen[str]]

ENOUGH = 2**40
"""Bytes that no test writes."""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")


def torn_bytes(path: Path) -> int:
    """Bytes behind the last whole record."""
    size = path.stat().st_size
    with FileIO(path) as file:
        ends = [at + header.size for at, header in scan(file, 0, size)]
    return size - max(ends, default=0)


def check(folder: Path, unit: Unit, finished: list[int]) -> None:
    with ResultLog(folder) as log:
        for number in finished:
            key, value = unit(number)
            np.testing.assert_array_equal(log.get(key), value)


def go(*writers: subprocess.Popen[str]) -> None:
    """Let writers begin, all of them once each has opened the log."""
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")


def told(writer: subprocess.Popen[str], count: int | None = None) -> list[int]:
    """Numbers of the next units that it put; all until its end by default."""
    assert writer.stdout is not None
    return [int(line) for line in islice(writer.stdout, count)]


def test_twenty_kills_lose_nothing(
    tmp_path: Path, unit: Unit, start_writer: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(20250817)
    units, finished = 2000, []
    for kill in range(20):
        inside_a_write = kill % 2 == 0
        writer = start_writer(tmp_path, 0, units, int(rng.integers(1, 4000)) if inside_a_write else ENOUGH)
        go(writer)
        if not inside_a_write:
            finished += told(writer, int(rng.integers(1, 20)))
            os.kill(writer.pid, signal.SIGKILL)
        finished += told(writer)
        assert writer.wait() == -signal.SIGKILL
        check(tmp_path, unit, finished)
    assert sum(torn_bytes(path) > 0 for path in tmp_path.glob("*.lhclog")) >= 5
    writer = start_writer(tmp_path, 0, units, ENOUGH)
    go(writer)
    finished += told(writer)
    assert writer.wait() == 0
    check(tmp_path, unit, list(range(units)))
    assert len(set(finished)) == len(finished), "a finished unit was measured again"
    # Each kill may have come between a put and telling of it.
    assert units - 20 <= len(finished) <= units
    assert caplog.records == []


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_side_by_side_lose_and_spoil_nothing(
    processes: int, tmp_path: Path, unit: Unit, start_writer: StartWriter, caplog: pytest.LogCaptureFixture
) -> None:
    each = 300
    # Their ranges overlap by half: some units are measured twice.
    ranges = [range(index * each // 2, index * each // 2 + each) for index in range(processes)]
    writers = [start_writer(tmp_path, work.start, work.stop, ENOUGH) for work in ranges]
    go(*writers)
    expected = dict(unit(number) for number in range(ranges[-1].stop))
    seen: set[str] = set()
    with ResultLog(tmp_path) as log, ThreadPoolExecutor() as pool:
        finished = [pool.submit(told, writer) for writer in writers]
        while not all(telling.done() for telling in finished):
            log.refresh()
            for key in set(log.keys()) - seen:
                np.testing.assert_array_equal(log.get(key), expected[key])
                seen.add(key)
        log.refresh()
        assert set(log.keys()) == set(expected)
    assert [writer.wait() for writer in writers] == [0] * processes
    assert [telling.result() for telling in finished] == [list(work) for work in ranges]
    check(tmp_path, unit, list(range(ranges[-1].stop)))
    assert [torn_bytes(path) for path in tmp_path.glob("*.lhclog")] == [0] * processes
    assert caplog.records == []


def test_a_kill_beside_a_living_writer_spoils_nothing_of_it(
    tmp_path: Path, unit: Unit, start_writer: StartWriter
) -> None:
    dying, living = start_writer(tmp_path, 0, 300, 3000), start_writer(tmp_path, 100, 400, ENOUGH)
    go(dying, living)
    finished = told(dying)
    assert told(living) == list(range(100, 400))
    assert (dying.wait(), living.wait()) == (-signal.SIGKILL, 0)
    assert finished
    check(tmp_path, unit, finished + list(range(100, 400)))
