"""The result cache against a dictionary, and what it promises to those who share it."""

import json
import subprocess
import sys
import tempfile
import threading
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
from lhc.store import Facts, ResultCache

Array = npt.NDArray[Any]
Unit = Callable[[int], tuple[npt.NDArray[np.float64], Facts]]
Fill = Callable[[Path, range], None]
Query = Callable[..., list[tuple[Any, ...]]]

FACTS: list[Facts] = [{"number": number} for number in range(6)]
ARRAYS = nps.arrays(
    st.sampled_from(["f8", "f4", "f2", "i8", "i4", "u1", "?", ">f8", ">i4"]), nps.array_shapes(min_dims=0, min_side=0)
)
ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 1), st.sampled_from(range(6)), ARRAYS),
    st.tuples(st.just("reopen"), st.integers(0, 1), st.just(0), st.none()),
)


def same(found: Array | None, expected: Array | None) -> bool:
    if found is None or expected is None:
        return found is expected
    native = expected.astype(expected.dtype.newbyteorder("="))
    return found.dtype == native.dtype and found.shape == native.shape and found.tobytes() == native.tobytes()


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTIONS, max_size=30))
def test_two_caches_on_one_folder_are_a_dictionary(actions: list[tuple[str, int, int, Array]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        caches = [ResultCache(folder), ResultCache(folder)]
        everything: dict[int, Array] = {}
        for action, which, number, value in actions:
            if action == "put":
                caches[which].put(value, FACTS[number])
                everything[number] = value
            else:
                caches[which].close()
                caches[which] = ResultCache(folder)
            for cache in caches:
                assert all(same(cache.get(FACTS[n]), everything.get(n)) for n in range(6))
        for cache in caches:
            cache.close()


def test_a_value_that_changes_later_was_kept_as_it_was(tmp_path: Path) -> None:
    with ResultCache(tmp_path) as cache:
        value = np.zeros(3)
        cache.put(value, FACTS[0])
        value += 1
        found = cache.get(FACTS[0])
        assert same(found, np.zeros(3))
        assert found is not None
        found += 1
        assert same(cache.get(FACTS[0]), np.zeros(3))


def test_arrays_need_not_be_contiguous(tmp_path: Path) -> None:
    value = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    with ResultCache(tmp_path) as cache:
        cache.put(value, FACTS[0])
        assert same(cache.get(FACTS[0]), np.ascontiguousarray(value))


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a"]),
        np.array([None]),
        np.array([1j]),
        np.array(["2020"], "M8[Y]"),
        np.zeros((1,) * 40),
        np.broadcast_to(np.zeros(1, np.uint8), 2**29 + 1),
    ],
    ids=["text", "object", "complex", "date", "axes", "size"],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_written(value: Array, tmp_path: Path) -> None:
    with ResultCache(tmp_path) as cache, pytest.raises(DataError, match="cannot be kept"):
        cache.put(value, FACTS[0])
    assert list(tmp_path.iterdir()) == []


def put_runs(cache: ResultCache) -> None:
    """Two models, two placements each, three draws each."""
    for model in "ab":
        run: Facts = {"model": model, "hardware": {"rows": 512.0}}
        for layers in (["conv1"], ["conv1", "fc"]):
            for draw in range(3):
                cache.put(np.full(4, draw, np.float32), run, {"placement": layers}, {"draw": draw})


def test_every_level_of_facts_counts(tmp_path: Path) -> None:
    with ResultCache(tmp_path) as cache:
        put_runs(cache)
        known: tuple[Facts, ...] = {"model": "b", "hardware": {"rows": 512}}, {"placement": ["conv1"]}, {"draw": 2}
        assert same(cache.get(*known), np.full(4, 2, np.float32))
        assert cache.get({**known[0], "model": "c"}, *known[1:]) is None
        assert cache.get(known[0], {"placement": ["fc"]}, known[2]) is None
        assert cache.get(*known[:2], {"draw": 3}) is None
        assert cache.get(*known[1:]) is None
        assert cache.get(*known[:2]) is None


def test_other_programs_find_results_by_what_they_are(tmp_path: Path, query: Query) -> None:
    """With sqlite alone."""
    with ResultCache(tmp_path) as cache:
        put_runs(cache)
    rows = query(
        tmp_path,
        "SELECT run.facts, placed.facts, results.facts, type, shape, data FROM results"
        " JOIN facts AS placed ON placed.name = results.within JOIN facts AS run ON run.name = placed.within"
        " WHERE json_extract(run.facts, '$.model') = 'b' AND json_extract(results.facts, '$.draw') = 2",
    )
    assert [json.loads(placed)["placement"] for _, placed, *_ in rows] == [["conv1"], ["conv1", "fc"]]
    assert [json.loads(run) for run, *_ in rows] == 2 * [{"model": "b", "hardware": {"rows": 512}}]
    assert [(json.loads(own), kind, shape) for _, _, own, kind, shape, _ in rows] == 2 * [({"draw": 2}, "<f4", "4")]
    assert all(same(np.frombuffer(data, "<f4"), np.full(4, 2, np.float32)) for *_, data in rows)


def test_facts_that_are_shared_are_written_once(tmp_path: Path, query: Query) -> None:
    for number in range(2):
        with ResultCache(tmp_path, fresh=number > 0) as cache:
            put_runs(cache)
    assert query(tmp_path, "SELECT count(*) FROM facts") == [(2 + 4,)]
    assert query(tmp_path, "SELECT count(*) FROM results") == [(12,)]
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().count(b'"hardware"') == 2


def test_looking_makes_nothing(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "new") as cache:
        assert cache.get(FACTS[0]) is None
        assert cache.documents("report") == []
    with ResultCache(tmp_path / "new", fresh=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_database_can_be_copied_elsewhere(tmp_path: Path, query: Query) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    with ResultCache(there) as cache:
        put_runs(cache)
    here.mkdir()
    (path,) = there.iterdir()
    path.rename(here / path.name)
    with ResultCache(here) as cache:
        assert (
            cache.get({"model": "b", "hardware": {"rows": 512}}, {"placement": ["conv1", "fc"]}, {"draw": 1})
            is not None
        )
    assert query(here, "SELECT count(*) FROM facts") == [(6,)]


def test_fresh_looks_at_nothing_old_and_its_results_replace_it(tmp_path: Path) -> None:
    with ResultCache(tmp_path) as cache:
        cache.put(np.zeros(3), FACTS[0])
        cache.put(np.zeros(3), FACTS[1])
    with ResultCache(tmp_path, fresh=True) as cache, ResultCache(tmp_path) as other:
        assert cache.get(FACTS[0]) is None
        cache.put(np.ones(3), FACTS[0])
        cache.close()
        assert same(cache.get(FACTS[0]), np.ones(3)), "opened again, it still knows its own"
        assert cache.get(FACTS[1]) is None
        other.put(np.ones(3), FACTS[2])
        assert same(cache.get(FACTS[2]), np.ones(3)), "what others measure since is not old"
    with ResultCache(tmp_path) as cache:
        assert same(cache.get(FACTS[0]), np.ones(3))
        assert same(cache.get(FACTS[1]), np.zeros(3))


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted there")
def test_a_cache_whose_files_are_deleted_goes_on_in_a_new_one(tmp_path: Path, fill: Fill, unit: Unit) -> None:
    fill(tmp_path, range(3))
    (tmp_path / "report.html").write_text("mine")
    with ResultCache(tmp_path, fresh=True) as cache, ResultCache(tmp_path) as other:
        cache.put(*unit(4))
        for path in tmp_path.glob("results-*"):
            path.unlink()
        assert cache.get(unit(4)[1]) is None
        cache.put(*unit(5))
        assert other.get(unit(1)[1]) is None
        assert same(other.get(unit(5)[1]), unit(5)[0])
        other.put(*unit(6))
        assert same(cache.get(unit(6)[1]), unit(6)[0])
    with ResultCache(tmp_path) as cache:
        assert [cache.get(unit(n)[1]) is not None for n in range(7)] == 5 * [False] + 2 * [True]
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_cache_can_be_used_after_it_was_closed(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    for facts in FACTS[:2]:
        cache.put(np.zeros(3), facts)
        cache.close()
    with cache:
        assert all(same(cache.get(facts), np.zeros(3)) for facts in FACTS[:2])
    assert [path.name for path in tmp_path.iterdir()] == ["results-v2-000001.sqlite3"]


def test_threads_share_a_cache(tmp_path: Path, unit: Unit) -> None:
    wrong = []
    with ResultCache(tmp_path) as cache:

        def work(first: int) -> None:
            for number in range(first, first + 60):
                value, facts = unit(number)
                cache.put(value, facts)
                if not same(cache.get(facts), value):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 30, 60, 90)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    with ResultCache(tmp_path) as cache:
        assert all(same(cache.get(unit(number)[1]), unit(number)[0]) for number in range(150))


FORKING = """
import os, sys, numpy as np
from lhc.store import ResultCache
with ResultCache(sys.argv[1]) as cache:
    cache.put(np.zeros(9), {"unit": "before"})
    child = os.fork()
    for number in range(200):
        cache.put(np.zeros(9), {"unit": number, "child": child == 0})
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on this system")
def test_a_forked_process_shares_the_folder_and_no_connection(
    tmp_path: Path, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    done = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert query(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    with ResultCache(tmp_path) as cache:
        assert cache.get({"unit": "before"}) is not None
        for number in range(200):
            assert all(same(cache.get({"unit": number, "child": is_child}), np.zeros(9)) for is_child in (True, False))
    assert caplog.records == []


MAKING = """
import sys, time, numpy as np
from lhc.store import ResultCache
with ResultCache(sys.argv[1]) as cache:
    print(flush=True)
    sys.stdin.readline()
    cache.put(np.zeros(9), {"process": sys.argv[2]})
"""


@pytest.mark.slow
def test_processes_that_make_the_database_at_the_same_time_all_keep_their_results(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        processes = [
            subprocess.Popen([sys.executable, "-c", MAKING, str(folder), str(n)], text=True, **pipes) for n in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.communicate()[1] for process in processes] == 4 * [""]
        with ResultCache(folder) as cache:
            assert all(cache.get({"process": str(n)}) is not None for n in range(4))


def test_documents_are_listed_by_kind_and_name_the_last_first(tmp_path: Path) -> None:
    with ResultCache(tmp_path) as cache:
        for kind, name in (("front", "a 1"), ("front", "a 2"), ("front", "b_1"), ("report", "a 1")):
            cache.update(kind, name, lambda _: f"{kind} {name}".encode())  # noqa: B023
    with ResultCache(tmp_path, fresh=True) as cache:
        assert cache.documents("front") == [b"front b_1", b"front a 2", b"front a 1"]
        assert cache.documents("front", "a ") == [b"front a 2", b"front a 1"]
        assert cache.documents("front", "b%") == []
        cache.update("front", "a 1", lambda before: (before or b"") + b" again")
        assert cache.documents("front", "a ") == [b"front a 1 again", b"front a 2"]
        assert cache.documents("report") == [b"report a 1"]


ADDING = """
import sys
from lhc.store import ResultCache
with ResultCache(sys.argv[1]) as cache:
    for number in range(100):
        cache.update("report", "one", lambda before: (before or b"") + f"{sys.argv[2]}{number} ".encode())
"""


def test_what_two_processes_change_has_the_changes_of_both(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", ADDING, str(tmp_path), name]) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    with ResultCache(tmp_path) as cache:
        (text,) = cache.documents("report")
    words = text.decode().split()
    for name in "ab":
        assert [word for word in words if word[0] == name] == [f"{name}{number}" for number in range(100)]


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    def fail(before: bytes | None) -> bytes:
        raise KeyboardInterrupt

    with ResultCache(tmp_path) as cache:
        cache.update("report", "one", lambda _: b"sound")
        with pytest.raises(KeyboardInterrupt):
            cache.update("report", "one", fail)
        assert cache.documents("report") == [b"sound"]
        cache.update("report", "one", lambda before: (before or b"") + b" still")
        assert cache.documents("report") == [b"sound still"]


def test_results_of_an_earlier_run_are_counted_once_each(tmp_path: Path) -> None:
    """Those of this run are no earlier ones, whoever asks for them how often."""
    with ResultCache(tmp_path) as first:
        first.put(np.ones(2), FACTS[0])
        first.put(np.ones(2), FACTS[1])
        assert first.get(FACTS[0]) is not None
        assert first.earlier == 0
    with ResultCache(tmp_path) as second:
        assert second.get(FACTS[5]) is None
        assert second.earlier == 0
        for number in (0, 0, 1):
            assert second.get(FACTS[number]) is not None
        second.put(np.ones(2), FACTS[2])
        assert second.get(FACTS[2]) is not None
        assert second.earlier == 2
    with ResultCache(tmp_path, fresh=True) as third:
        assert third.get(FACTS[0]) is None
        assert third.earlier == 0
