"""Torn, damaged and hostile files: nothing wrong is given, nothing breaks, and what is lost is said."""

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.store import Facts, ResultCache

Unit = Callable[[int], tuple[npt.NDArray[np.float64], Facts]]
Fill = Callable[[Path, range], None]
Query = Callable[..., list[tuple[Any, ...]]]

NAME, NEXT = "results-v2-000001.sqlite3", "results-v2-000002.sqlite3"
COUNT = 40
DOCUMENTS = [f"report {number} ".encode() * 300 for number in range(4)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, fill: Fill) -> bytes:
    """A database with results and documents."""
    folder = tmp_path_factory.mktemp("sound")
    fill(folder, range(COUNT))
    with ResultCache(folder) as cache:
        for number in range(len(DOCUMENTS)):
            cache.update("report", str(number), lambda _: DOCUMENTS[number])  # noqa: B023
    return (folder / NAME).read_bytes()


def believed(folder: Path, unit: Unit) -> int:
    """How many results are found, all of which are right; the cache takes new ones, which are there later."""
    found = 0
    with ResultCache(folder) as cache:
        for number in range(COUNT):
            value, facts = unit(number)
            result = cache.get(facts)
            if result is not None:
                np.testing.assert_array_equal(result, value)
                found += 1
        assert set(cache.documents("report")) <= set(DOCUMENTS)
        cache.put(np.ones(3), {"unit": "new"})
    with ResultCache(folder) as cache:
        assert cache.get({"unit": "new"}) is not None
    return found


@pytest.mark.parametrize("column", ["within", "facts", "type", "shape", "data", "digest"])
@pytest.mark.parametrize("change", ["cut", "other", "number", "none"])
def test_a_changed_row_is_not_believed_and_measured_again(
    column: str, change: str, tmp_path: Path, unit: Unit, fill: Fill, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, range(3))
    to = {"cut": f"substr({column}, 2)", "other": f"CAST({column} || 'x' AS BLOB)", "number": "8", "none": "NULL"}
    where = "WHERE key = (SELECT key FROM results WHERE id = 2)"
    query(tmp_path, f"UPDATE results SET {column} = {to[change]} {where}")
    if column == "within" and change == "cut":
        query(tmp_path, f"UPDATE results SET within = 'x' {where}")  # it was empty
    with ResultCache(tmp_path) as cache:
        value, facts = unit(1)
        assert [cache.get(unit(number)[1]) is None for number in range(3)] == [False, True, False]
        assert "a damaged result counts as not measured" in caplog.text
        cache.put(value, facts)
        np.testing.assert_array_equal(cache.get(facts), value)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_result_under_the_key_of_another_is_not_believed(
    tmp_path: Path, unit: Unit, fill: Fill, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, range(2))
    query(tmp_path, "UPDATE results SET key = 'x' || key WHERE id = 1")
    query(tmp_path, "UPDATE results SET key = (SELECT substr(key, 2) FROM results WHERE id = 1) WHERE id = 2")
    with ResultCache(tmp_path) as cache:
        assert cache.get(unit(0)[1]) is None
    assert "damaged" in caplog.text


@pytest.mark.parametrize("column", ["kind", "name", "text"])
def test_a_changed_document_is_not_believed(column: str, tmp_path: Path, query: Query) -> None:
    with ResultCache(tmp_path) as cache:
        cache.update("report", "one", lambda _: b"one")
        cache.update("report", "two", lambda _: b"two")
    to = {"kind": "report", "name": "three", "text": "four"}[column]
    query(tmp_path, f"UPDATE documents SET {column} = ? WHERE id = 1", to)
    if column == "kind":
        query(tmp_path, "UPDATE documents SET kind = 'front' WHERE id = 1")
    with ResultCache(tmp_path) as cache:
        assert cache.documents("report") == [b"two"]
        assert cache.documents("front") == []
        cache.update("report", "one", lambda found: b"new" if found is None else b"old")
        assert cache.documents("report", "one") == [b"new"]


@pytest.mark.slow
def test_no_flipped_bit_is_believed(sound: bytes, unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    rng, lost, anew = np.random.default_rng(3), 0, 0
    for place in rng.integers(0, len(sound), 200):
        data = bytearray(sound)
        data[place] ^= 1 << rng.integers(8)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / NAME).write_bytes(data)
            caplog.clear()
            missing = believed(Path(folder), unit) < COUNT
            lost += missing
            anew += (Path(folder) / NEXT).exists()
            assert (Path(folder) / NEXT).exists() == ("begins anew" in caplog.text)
            assert (Path(folder) / NAME).exists(), "it is left aside, for whoever wants to look into it"
    assert lost > 20, "some flips hit what counts"
    assert anew > 5, "some hit what sqlite itself relies on"


def test_a_file_of_any_length_is_survived(sound: bytes, unit: Unit) -> None:
    lengths = [0, 1, 15, 16, 17, 99, 100, 101, 511, 512, *range(1000, len(sound), 3001)]
    for length in lengths:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / NAME).write_bytes(sound[:length])
            assert believed(Path(folder), unit) < (1 if length <= 4096 else COUNT + 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=5000)), min_size=1, max_size=4))
def test_whatever_is_written_over_a_file_is_survived(
    sound: bytes, unit: Unit, overwritten: list[tuple[float, bytes]]
) -> None:
    data = bytearray(sound)
    for share, patch in overwritten:
        at = int(share * len(data))
        data[at : at + len(patch)] = patch
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_bytes(data)
        believed(Path(folder), unit)


def test_a_damaged_log_of_writes_loses_what_was_written_last(tmp_path: Path, unit: Unit) -> None:
    """As a loss of power in the middle of a write may leave it."""
    with ResultCache(tmp_path) as cache:
        for number in range(COUNT):
            cache.put(*unit(number))
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
    (log,) = (name for name in files if name.endswith("-wal"))
    counts = []
    for place in range(0, len(files[log]), len(files[log]) // 30):
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                changed = bytearray(data)
                if name == log:
                    changed[place] ^= 4
                (Path(folder) / name).write_bytes(changed)
            counts.append(believed(Path(folder), unit))
            assert not (Path(folder) / NEXT).exists()
    assert counts == sorted(counts)
    assert counts[0] < 3
    assert counts[-1] > COUNT - 3


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE results (key, value)",
        "CREATE TABLE results (key, within, facts, type, shape, data, digest)",
        "CREATE VIEW results AS SELECT 1 AS key",
        "CREATE TABLE mine (text)",
    ],
)
def test_a_database_of_other_tables_is_left_aside(made: str, tmp_path: Path, unit: Unit, query: Query) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as connection:
        connection.execute(made)
    assert believed(tmp_path, unit) == 0
    (tmp_path / NEXT).unlink()
    assert query(tmp_path, "SELECT sql FROM sqlite_schema") == [(made,)]


def test_a_trigger_of_someone_else_does_not_run(tmp_path: Path, unit: Unit, fill: Fill, query: Query) -> None:
    fill(tmp_path, range(3))
    query(tmp_path, "CREATE TRIGGER mine AFTER INSERT ON results BEGIN DELETE FROM results; END")
    assert believed(tmp_path, unit) == 0
    assert (tmp_path / NEXT).exists()


def test_all_who_meet_the_damage_go_on_in_the_same_new_database(
    tmp_path: Path, unit: Unit, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, range(20))
    with ResultCache(tmp_path) as one, ResultCache(tmp_path) as other, ResultCache(tmp_path) as third:
        for cache in (one, other):
            assert cache.get(unit(0)[1]) is not None
        path = tmp_path / NAME
        with path.open("r+b") as file:  # all pages but the first
            file.seek(4096)
            file.write(bytes(path.stat().st_size - 4096))
        for cache, number in ((one, 30), (other, 31), (third, 32)):
            cache.get(unit(7)[1])
            cache.put(*unit(number))
        assert all(cache.get(unit(number)[1]) is not None for cache in (one, other, third) for number in (30, 31, 32))
    assert sorted(path.name for path in tmp_path.glob("*.sqlite3")) == [NAME, NEXT]
    assert "damaged (database disk image is malformed)" in caplog.text


def forge(folder: Path, kind: object, shape: object, data: object) -> None:
    """A row whose checksum is right, whatever it says."""
    from lhc.store import fingerprint, result_cache

    values = (fingerprint({"unit": 0}), "", '{"unit":0}', kind, shape, data)
    with closing(sqlite3.connect(folder / NAME)) as connection, connection:
        digest = result_cache._checksum(*values)  # type: ignore[arg-type]
        connection.execute("REPLACE INTO results VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", (*values, digest))


@pytest.mark.parametrize(
    ("kind", "shape", "data"),
    [
        ("|O", "1", bytes(8)),
        ("<f8", "2", bytes(8)),
        ("<f8", "1", bytes(7)),
        ("<f8", "0 4611686018427387904 4611686018427387904", b""),
        ("|u1", "1073741824", b""),
        ("nothing", "1", bytes(8)),
        ("<f8", "one", bytes(8)),
        ("<f8", "1 " * 70, bytes(8)),
        ("(2,2)<f8", "1", bytes(32)),
        ("V8", "1", bytes(8)),
        ("<U2", "1", bytes(8)),
    ],
)
def test_a_forged_row_breaks_nothing(kind: str, shape: str, data: bytes, tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, range(1))
    forge(tmp_path, kind, shape, data)
    with ResultCache(tmp_path) as cache:
        assert cache.get({"unit": 0}) is None
        cache.put(np.ones(2), {"unit": 0})
        np.testing.assert_array_equal(cache.get({"unit": 0}), np.ones(2))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("kind", ["pipe", "device", "dangling", "link", "folder"])
def test_only_a_plain_file_is_a_database(
    kind: str, tmp_path: Path, unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / NAME
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "link": "elsewhere"}[kind])
    with ResultCache(tmp_path) as cache:
        cache.put(*unit(1))
        assert cache.get(unit(1)[1]) is not None
    assert "is no plain file), only in memory" in caplog.text
    assert elsewhere.stat().st_size == 0
    assert {path.name for path in tmp_path.iterdir()} == {NAME, "elsewhere"}
