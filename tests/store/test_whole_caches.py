"""Caches as wholes: merging copies what is missing and whole, and removing takes nothing else."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lhc.errors import DataError, LhcError, UsageError
from lhc.store import Facts, Merged, ResultCache, clear_cache, contents_of, merge_caches

Fill = Callable[[Path, range], None]
Query = Callable[..., list[tuple[Any, ...]]]

AROUND: tuple[Facts, Facts] = {"network": "a"}, {"placement": ["first"]}


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A cache with a result that lies within facts, and a document."""
    folder = tmp_path / "nested"
    with ResultCache(folder) as cache:
        cache.put(np.arange(3.0), *AROUND, {"draw": 1})
        cache.update("report", "one", lambda before: b"theirs")
    return folder


def value(folder: Path, *facts: Facts) -> list[float] | None:
    with ResultCache(folder) as cache:
        found = cache.get(*facts)
    return None if found is None else found.tolist()


def test_what_is_missing_is_copied_and_read_as_if_it_was_measured_here(
    tmp_path: Path, fill: Fill, nested: Path
) -> None:
    fill(tmp_path / "here", range(600))
    fill(tmp_path / "there", range(500, 1100))  # more than are copied in one transaction

    found = merge_caches(tmp_path / "here", (tmp_path / "there", nested))

    assert found == (Merged(tmp_path / "there", 500, 100, 0), Merged(nested, 2, 0, 0))
    fill(tmp_path / "expected", range(1100))
    with ResultCache(tmp_path / "here") as here, ResultCache(tmp_path / "expected") as expected:
        for number in range(1100):
            assert np.array_equal(here.get({"unit": number}), expected.get({"unit": number}))  # type: ignore[arg-type]
        assert here.documents("report") == [b"theirs"]
    assert value(tmp_path / "here", *AROUND, {"draw": 1}) == [0, 1, 2]


def test_nothing_that_is_there_is_replaced(tmp_path: Path, nested: Path) -> None:
    with ResultCache(tmp_path / "here") as cache:
        cache.put(np.zeros(2), *AROUND, {"draw": 1})
        cache.update("report", "one", lambda before: b"ours")

    assert merge_caches(tmp_path / "here", (nested,)) == (Merged(nested, 0, 2, 0),)

    assert value(tmp_path / "here", *AROUND, {"draw": 1}) == [0, 0]
    with ResultCache(tmp_path / "here") as cache:
        assert cache.documents("report") == [b"ours"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE results SET data = zeroblob(24)",
        "UPDATE results SET digest = 3",
        "UPDATE facts SET facts = '{}'",
        "DELETE FROM facts WHERE within = ''",
    ],
    ids=["data", "checksum", "facts-around", "facts-missing"],
)
def test_what_is_not_whole_stays_out(damage: str, tmp_path: Path, nested: Path, query: Query) -> None:
    query(nested, damage)

    assert merge_caches(tmp_path / "here", (nested,)) == (Merged(nested, 1, 0, 1),)  # the document is whole

    assert value(tmp_path / "here", *AROUND, {"draw": 1}) is None


def test_a_result_under_another_key_than_that_of_its_facts_stays_out(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "there", range(1))
    from lhc.store.result_cache import _checksum

    (path,) = (tmp_path / "there").glob("*.sqlite3")
    with closing(sqlite3.connect(path)) as connection, connection:
        row = connection.execute("SELECT key, within, facts, type, shape, data FROM results").fetchone()
        forged = ("0" * 64, *row[1:])
        connection.execute("UPDATE results SET key = ?, digest = ?", (forged[0], _checksum(*forged)))

    assert merge_caches(tmp_path / "here", (tmp_path / "there",)) == (Merged(tmp_path / "there", 0, 0, 1),)


def test_the_other_cache_stays_as_it_is_also_while_it_is_written(tmp_path: Path, fill: Fill) -> None:
    there = tmp_path / "there"
    fill(there, range(3))
    before = {path.name: path.read_bytes() for path in there.iterdir()}
    merge_caches(tmp_path / "here", (there,))
    assert {path.name: path.read_bytes() for path in there.iterdir()} == before
    with ResultCache(there) as writer:  # what it just kept lies in sqlite's journal
        writer.put(np.ones(1), {"unit": 3})
        (found,) = merge_caches(tmp_path / "here", (there,))
    assert (found.copied, found.known) == (1, 3)


def test_what_is_no_cache_is_refused_by_name(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "here", range(1))
    (tmp_path / "empty").mkdir()
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "results-v2-000001.sqlite3").write_bytes(b"no database" * 100)
    closed = tmp_path / "file"
    closed.write_text("")

    with pytest.raises(UsageError, match=r"empty: holds no result cache"):
        merge_caches(tmp_path / "here", (tmp_path / "empty",))
    with pytest.raises(UsageError, match=r"is the cache that the others are merged into"):
        merge_caches(tmp_path / "here", (tmp_path / "empty" / ".." / "here",))
    with pytest.raises(DataError, match=r"000001.sqlite3: cannot be read as a result cache"):
        merge_caches(tmp_path / "here", (bad,))
    with pytest.raises(LhcError, match=r"results cannot be kept there"):
        merge_caches(closed, (tmp_path / "here",))


def test_a_cache_is_counted_and_removed_with_nothing_else(tmp_path: Path, fill: Fill, nested: Path) -> None:
    for name in ("notes.txt", "results-v2-000001.sqlite3.backup"):
        (nested / name).write_text("mine")
    found = contents_of(nested)
    assert (found.results, dict(found.documents), len(found.files)) == (1, {"report": 1}, 1)
    assert found.bytes == found.files[0].stat().st_size

    assert clear_cache(nested) == found

    assert sorted(path.name for path in nested.iterdir()) == ["notes.txt", "results-v2-000001.sqlite3.backup"]
    assert contents_of(nested).files == ()
    assert contents_of(tmp_path / "nowhere").results == 0
