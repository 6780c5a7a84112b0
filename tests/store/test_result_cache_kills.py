"""Processes that are killed, and processes that work side by side: no finished result is lost or measured twice."""

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lhc.store import Facts, ResultCache

Unit = Callable[[int], tuple[npt.NDArray[np.float64], Facts]]
StartWriter = Callable[..., subprocess.Popen[str]]
Query = Callable[..., list[tuple[Any, ...]]]

ANY = 0
"""Of any size may files be."""
LOG_HEADER, FRAME_HEADER, PAGE = 32, 24, 4096
"""Bytes in sqlite's write-ahead log; see https://www.sqlite.org/fileformat2.html#walformat."""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits of file sizes on this system")


def ahead(folder: Path) -> int:
    """Bytes in the write-ahead log."""
    return sum(path.stat().st_size for path in folder.glob("*-wal"))


def is_torn(folder: Path) -> bool:
    """Whether the write-ahead log ends within a page."""
    size = ahead(folder)
    return size > 0 and (size - LOG_HEADER) % (FRAME_HEADER + PAGE) != 0


def check(folder: Path, unit: Unit, finished: list[int]) -> None:
    with ResultCache(folder) as cache:
        for number in finished:
            value, facts = unit(number)
            np.testing.assert_array_equal(cache.get(facts), value)


def go(*writers: subprocess.Popen[str]) -> None:
    """Let writers begin, all of them once each has opened the cache."""
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


@pytest.mark.slow
def test_twenty_kills_lose_nothing(
    tmp_path: Path, unit: Unit, start_writer: StartWriter, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(20250817)
    units, torn = 2000, 0
    finished: list[int] = []
    for kill in range(20):
        inside_a_write = kill % 2 == 0
        if inside_a_write and kill:
            query(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")  # so that the log's size says where the next write goes
        # 36,864: sqlite's index of the log is not to be what is too large.
        limit = max(ahead(tmp_path), 36_864) + int(rng.integers(1, 40_000)) if inside_a_write else ANY
        writer = start_writer(tmp_path, 0, units, limit)
        go(writer)
        if not inside_a_write:
            finished += told(writer, int(rng.integers(1, 20)))
            os.kill(writer.pid, signal.SIGKILL)
        finished += told(writer)
        assert writer.wait() == -(signal.SIGXFSZ if inside_a_write else signal.SIGKILL)
        torn += is_torn(tmp_path)
        if kill % 4 > 1:  # else the next writer is the first to open what the kill left
            check(tmp_path, unit, finished)
    assert torn >= 5
    writer = start_writer(tmp_path, 0, units, ANY)
    go(writer)
    finished += told(writer)
    assert writer.wait() == 0
    check(tmp_path, unit, list(range(units)))
    assert len(set(finished)) == len(finished), "a finished unit was measured again"
    # Each kill may have come between a put and telling of it.
    assert units - 20 <= len(finished) <= units
    assert query(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    assert caplog.records == []


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_side_by_side_lose_and_spoil_nothing(
    processes: int,
    tmp_path: Path,
    unit: Unit,
    start_writer: StartWriter,
    query: Query,
    caplog: pytest.LogCaptureFixture,
) -> None:
    each = 300
    # Their ranges overlap by half: some units are measured twice.
    ranges = [range(index * each // 2, index * each // 2 + each) for index in range(processes)]
    writers = [start_writer(tmp_path, work.start, work.stop, ANY) for work in ranges]
    go(*writers)
    everything = range(ranges[-1].stop)
    seen: set[int] = set()
    with ResultCache(tmp_path) as cache, ThreadPoolExecutor() as pool:
        finished = [pool.submit(told, writer) for writer in writers]
        while True:
            over = all(telling.done() for telling in finished)
            for number in set(everything) - seen:
                value, facts = unit(number)
                found = cache.get(facts)
                if found is not None:
                    np.testing.assert_array_equal(found, value)
                    seen.add(number)
            if over:
                break
    assert seen == set(everything), "what others put is seen at once"
    assert [writer.wait() for writer in writers] == [0] * processes
    told_of = [number for telling in finished for number in telling.result()]
    assert set(told_of) == set(everything)
    assert len(told_of) < sum(map(len, ranges)), "what one has put, another does not measure"
    assert query(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    assert query(tmp_path, "SELECT count(*) FROM results") == [(len(everything),)]
    assert caplog.records == []


def test_a_kill_beside_a_living_writer_spoils_nothing_of_it(
    tmp_path: Path, unit: Unit, start_writer: StartWriter
) -> None:
    # However the two take turns, the first one dies: it has more to put than its limit lets into the log. It dies
    # before it is at 200: a result adds three pages or more, and the log begins anew once at most, after a thousand.
    dying, living = start_writer(tmp_path, 0, 2000, 400_000), start_writer(tmp_path, 200, 500, ANY)
    go(dying)
    finished = told(dying, 1)
    go(living)
    finished += told(dying)
    assert told(living) == list(range(200, 500))
    assert (dying.wait(), living.wait()) == (-signal.SIGXFSZ, 0)
    check(tmp_path, unit, finished + list(range(200, 500)))
