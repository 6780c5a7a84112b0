"""The result log against a dictionary, and what it promises to those who share it."""

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from lhc.errors import DataError
from lhc.store import Facts, JsonValue, ResultLog, fingerprint

Array = npt.NDArray[Any]
Unit = Callable[[int], tuple[str, npt.NDArray[np.float64]]]
Fill = Callable[[Path, range], None]

KEYS = [fingerprint({"number": number}) for number in range(6)]
ARRAYS = nps.arrays(
    st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", "?", ">f8", ">i4"]), nps.array_shapes(min_dims=0, min_side=0)
)
ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 1), st.sampled_from(KEYS), ARRAYS),
    st.tuples(st.sampled_from(["reopen", "refresh"]), st.integers(0, 1), st.none(), st.none()),
)

pytestmark = pytest.mark.usefixtures("without_syncs")


def same(found: Array | None, expected: Array | None) -> bool:
    if found is None or expected is None:
        return found is expected
    native = expected.astype(expected.dtype.newbyteorder("="))
    return found.dtype == native.dtype and found.shape == native.shape and found.tobytes() == native.tobytes()


@settings(max_examples=60)
@given(st.lists(ACTIONS, max_size=30))
def test_two_logs_on_one_folder_are_a_dictionary(actions: list[tuple[str, int, str, Array]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs = [ResultLog(folder), ResultLog(folder)]
        known: list[dict[str, Array]] = [{}, {}]  # what each log sees
        everything: dict[str, Array] = {}
        for action, which, key, value in actions:
            if action == "put":
                # The value belongs to the key: two logs never put different ones.
                value = everything.setdefault(key, value)
                logs[which].put(key, value)
                known[which][key] = value
            else:
                if action == "reopen":
                    logs[which].close()
                    logs[which] = ResultLog(folder)
                else:
                    assert logs[which].refresh() == len(everything) - len(known[which])
                known[which] = dict(everything)
            for log, expected in zip(logs, known, strict=True):
                assert sorted(log.keys()) == sorted(expected)
                assert len(log) == len(expected)
                assert all(same(log.get(key), expected.get(key)) for key in KEYS)
                assert all((key in log) == (key in expected) for key in KEYS)
        for log in logs:
            log.close()


def test_the_first_value_of_a_key_stays(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        log.put(KEYS[0], np.zeros(3))
        size = log.total_bytes
        log.put(KEYS[0], np.ones(3))
        assert log.total_bytes == size
        assert same(log.get(KEYS[0]), np.zeros(3))


def test_a_value_that_changes_later_was_kept_as_it_was(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        value = np.zeros(3)
        log.put(KEYS[0], value)
        value += 1
        found = log.get(KEYS[0])
        assert same(found, np.zeros(3))
        assert found is not None
        found += 1
        assert same(log.get(KEYS[0]), np.zeros(3))


def test_arrays_need_not_be_contiguous(tmp_path: Path) -> None:
    value = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    with ResultLog(tmp_path) as log:
        log.put(KEYS[0], value)
        assert same(log.get(KEYS[0]), np.ascontiguousarray(value))


@pytest.mark.parametrize(
    "value", [np.array(["a"]), np.array([None]), np.array([1j]), np.array(["2020"], "M8[Y]"), np.zeros((1,) * 40)]
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_written(value: Array, tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        with pytest.raises(DataError, match="cannot be kept"):
            log.put(KEYS[0], value)
        assert log.total_bytes == 0


@pytest.mark.parametrize("key", ["", "xyz", KEYS[0][:-1], KEYS[0].upper(), KEYS[0] + "\n"])
def test_a_key_that_is_none_is_refused(key: str, tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log, pytest.raises(ValueError, match="64"):
        log.get(key)


def put_runs(log: ResultLog) -> None:
    """Two models, two placements each, three draws each."""
    for model in "ab":
        run = log.context({"model": model, "hardware": {"rows": 512.0}})
        for layers in (["conv1"], ["conv1", "fc"]):
            placed = log.context({"placement": layers}, within=run)
            for draw in range(3):
                unit: Facts = {"draw": draw}
                log.put(fingerprint(unit, within=placed), np.full(4, draw, np.float32), unit, within=placed)


def test_results_are_listed_by_what_they_are(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        put_runs(log)
    with ResultLog(tmp_path) as log:
        placements = [entry.facts["placement"] for entry in log.entries({"model": "a", "draw": 0})]
        assert placements == [["conv1"], ["conv1", "fc"]]
        assert len(list(log.entries())) == 12
        assert len(list(log.entries({"hardware": {"rows": 512}}))) == 12
        assert list(log.entries({"model": "c"})) == []
        assert list(log.entries({"unknown": None})) == []
        (entry,) = log.entries({"model": "b", "placement": ["conv1"], "draw": 2})
        assert entry.facts == {"model": "b", "hardware": {"rows": 512}, "placement": ["conv1"], "draw": 2}
        assert (entry.dtype, entry.shape) == ("<f4", (4,))
        assert same(log.get(entry.key), np.full(4, 2, np.float32))


def test_facts_that_are_shared_are_written_once_a_segment(tmp_path: Path) -> None:
    for number in range(2):
        with ResultLog(tmp_path, fresh=number > 0) as log:
            put_runs(log)
    segments = [path.read_bytes() for path in sorted(tmp_path.glob("*.lhclog"))]
    assert [segment.count(b'"hardware"') for segment in segments] == [2, 2]
    assert [segment.count(b'"placement"') for segment in segments] == [4, 4]


def test_the_sizes_of_all_entries_and_contexts_are_the_file(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        for number in range(5):
            log.put(KEYS[number], np.zeros(number), {"number": number})
        assert sum(entry.bytes for entry in log.entries()) == log.total_bytes


def test_a_context_alone_writes_nothing(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        log.context({"model": "a"})
    assert list(tmp_path.glob("*.lhclog")) == []


def test_each_segment_can_be_copied_elsewhere(tmp_path: Path, fill: Fill) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    with ResultLog(there) as log:
        put_runs(log)
    fill(here, range(3))
    for path in there.glob("*.lhclog"):
        path.rename(here / path.name)
    with ResultLog(here) as log:
        assert len(log) == 15
        assert len(list(log.entries({"model": "b", "placement": ["conv1", "fc"]}))) == 3


def test_a_name_says_one_thing(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        run = log.context({"model": "a"})
        with pytest.raises(ValueError, match="model"):
            log.context({"model": "b"}, within=run)
        with pytest.raises(ValueError, match="model"):
            log.put(KEYS[0], np.zeros(1), {"model": "a"}, within=run)
        with pytest.raises(ValueError, match="not introduced"):
            log.put(KEYS[0], np.zeros(1), within=KEYS[1])
        assert len(log) == 0


def test_fresh_looks_at_nothing_old_and_its_results_go_before_it(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        log.put(KEYS[0], np.zeros(3))
        log.put(KEYS[1], np.zeros(3))
    with ResultLog(tmp_path, fresh=True) as log, ResultLog(tmp_path) as other:
        assert len(log) == 0
        log.put(KEYS[0], np.ones(3))
        other.put(KEYS[2], np.ones(3))
        assert log.refresh() == 1
        assert sorted(log.keys()) == sorted([KEYS[0], KEYS[2]])
    with ResultLog(tmp_path) as log:
        assert same(log.get(KEYS[0]), np.ones(3))
        assert same(log.get(KEYS[1]), np.zeros(3))


def test_clear_deletes_results_and_nothing_else(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, range(3))
    (tmp_path / "report.html").write_text("mine")
    with ResultLog(tmp_path) as log:
        log.put(KEYS[0], np.zeros(3))
        log.clear()
        assert (len(log), log.total_bytes, log.get(KEYS[0])) == (0, 0, None)
        log.put(KEYS[0], np.ones(3))
    with ResultLog(tmp_path) as log:
        assert log.keys() == [KEYS[0]]
    assert (tmp_path / "report.html").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be deleted there")
def test_a_log_whose_files_another_one_clears_goes_on(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log, ResultLog(tmp_path) as other:
        log.put(KEYS[0], np.zeros(3))
        other.clear()
        log.put(KEYS[1], np.ones(3))
        assert log.refresh() == -1
        assert log.get(KEYS[0]) is None
        assert other.refresh() == 1
        assert same(other.get(KEYS[1]), np.ones(3))


def test_a_result_whose_file_vanished_is_not_there(tmp_path: Path, fill: Fill, unit: Unit) -> None:
    fill(tmp_path, range(3))
    with ResultLog(tmp_path) as log:
        for path in tmp_path.glob("*.lhclog"):
            path.unlink()
        assert log.get(unit(0)[0]) is None
        assert list(log.entries()) == []


def test_a_log_can_be_used_after_it_was_closed(tmp_path: Path) -> None:
    log = ResultLog(tmp_path)
    for key in KEYS[:2]:
        log.put(key, np.zeros(3))
        log.close()
    with log:
        assert all(same(log.get(key), np.zeros(3)) for key in KEYS[:2])
    assert len(list(tmp_path.glob("*.lhclog"))) == 2


def test_threads_share_a_log(tmp_path: Path, unit: Unit) -> None:
    wrong = []
    with ResultLog(tmp_path) as log:

        def work(first: int) -> None:
            for number in range(first, first + 60):
                key, value = unit(number)
                log.put(key, value)
                if not same(log.get(key), value):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 30, 60, 90)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    with ResultLog(tmp_path) as log:
        assert sorted(log.keys()) == sorted(unit(number)[0] for number in range(150))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_writes_a_segment_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = f"""
import os, numpy as np
from lhc.store import ResultLog, fingerprint
with ResultLog({str(tmp_path)!r}) as log:
    log.put(fingerprint({{"unit": "before"}}), np.zeros(9))
    child = os.fork()
    for number in range(200):
        log.put(fingerprint({{"unit": number, "child": child == 0}}), np.zeros(9))
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with caplog.at_level(logging.DEBUG, "lhc"), ResultLog(tmp_path) as log:
        assert len(log) == 401
        assert all(same(log.get(key), np.zeros(9)) for key in log.keys())  # noqa: SIM118
    assert caplog.records == []


def test_an_iterator_of_entries_lives_through_changes(tmp_path: Path) -> None:
    with ResultLog(tmp_path) as log:
        put_runs(log)
        entries = log.entries()
        next(entries)
        log.put(KEYS[0], np.zeros(1))
        assert len(list(entries)) == 11
        entries = log.entries()
        next(entries)
        log.clear()
        assert list(entries) == []


@pytest.mark.slow
def test_a_hundred_thousand_results_open_soon(tmp_path: Path) -> None:
    value: Array = np.zeros(128)
    with ResultLog(tmp_path) as log:
        for number in range(100_000):
            facts: dict[str, JsonValue] = {"number": number}
            log.put(fingerprint(facts), value, facts)
    start = time.perf_counter()
    with ResultLog(tmp_path) as log:
        # A third of a second on the machine that docs/result-log.md names; a busy one may be ten times slower.
        assert time.perf_counter() - start < 5
        assert len(log) == 100_000
