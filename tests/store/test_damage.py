"""Torn, damaged and hostile files: nothing sound is lost, nothing wrong is given, nothing breaks."""

import logging
import os
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.store import ResultLog, fingerprint
from lhc.store.records import scan

Array = npt.NDArray[Any]
Unit = Callable[[int], tuple[str, npt.NDArray[np.float64]]]
Fill = Callable[[Path, range], None]

NAME = "results-000001-0123456789abcdef.lhclog"
KEY = fingerprint({"unit": "forged"})

pytestmark = pytest.mark.usefixtures("without_syncs")


def number_of(index: int) -> tuple[str, npt.NDArray[np.float64]]:
    return fingerprint({"index": index}), np.random.default_rng(index).random(3 + index)


def some_log(folder: Path, count: int) -> tuple[Path, list[tuple[int, int]]]:
    """A folder's only segment, and where in it each result begins and ends."""
    with ResultLog(folder) as log:
        run = log.context({"model": "a"})
        for index in range(count):
            key, value = number_of(index)
            log.put(key, value, {"index": index}, within=run if index % 2 else None)
    (path,) = folder.glob("*.lhclog")
    with FileIO(path) as file:
        spans = [(at, at + header.size) for at, header in scan(file, 0, path.stat().st_size) if header.kind == 1]
    return path, spans


def forged(
    description: bytes = b'{"dtype":"<f8","facts":{},"shape":[1]}',
    value: bytes = bytes(8),
    kind: int = 1,
    within: bytes = bytes(32),
    key: str = KEY,
    value_bytes: int | None = None,
) -> bytes:
    """A record with sound checksums, as docs/result-log.md describes it."""
    rest = struct.pack("<II", kind, len(description)) + struct.pack("<I", crc32(description))
    rest += struct.pack("<Q", len(value) if value_bytes is None else value_bytes) + struct.pack("<I", crc32(value))
    rest += bytes.fromhex(key) + within
    return b"\x89LHC\r\n\x1a\n" + struct.pack("<I", crc32(rest)) + rest + description + value


def test_records_are_as_documented(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(forged(value=struct.pack("<d", 0.125)))
    with ResultLog(tmp_path) as log:
        found = log.get(KEY)
        assert found is not None
        assert (found.dtype.str, found.tolist()) == ("<f8", [0.125])


def test_every_torn_tail_loses_that_record_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, spans = some_log(tmp_path, 4)
    data = path.read_bytes()
    third_begins, third_ends = spans[2]
    for length in range(third_begins, third_ends):
        path.write_bytes(data[:length])
        with ResultLog(tmp_path) as log:
            assert sorted(log.keys()) == sorted(number_of(index)[0] for index in (0, 1))
            key, value = number_of(2)
            assert log.get(key) is None
            log.put(key, value)
        with ResultLog(tmp_path) as log:
            assert len(log) == 3
            for index in range(3):
                key, value = number_of(index)
                np.testing.assert_array_equal(log.get(key), value)
        for other in tmp_path.glob("*.lhclog"):
            if other != path:
                other.unlink()
    assert caplog.records == [], "a kill is no reason to warn"


def test_a_torn_tail_is_no_business_of_other_processes(tmp_path: Path) -> None:
    path, spans = some_log(tmp_path, 4)
    whole = path.read_bytes()
    path.write_bytes(whole[: spans[3][0] + 50])
    key, value = number_of(7)
    with ResultLog(tmp_path) as one, ResultLog(tmp_path) as other:
        one.put(key, value)
        assert other.refresh() == 1
        np.testing.assert_array_equal(other.get(key), value)
        # The writer that seemed dead was only slow.
        path.write_bytes(whole)
        assert one.refresh() == other.refresh() == 1
        np.testing.assert_array_equal(one.get(number_of(3)[0]), number_of(3)[1])


@pytest.mark.parametrize("where", ["header", "description", "value"])
def test_a_damaged_record_is_skipped_with_a_warning(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, spans = some_log(tmp_path, 5)
    data = bytearray(path.read_bytes())
    begins, ends = spans[2]
    data[{"header": begins + 30, "description": begins + 105, "value": ends - 1}[where]] ^= 0x10
    path.write_bytes(data)
    with ResultLog(tmp_path) as log:
        found = [log.get(number_of(index)[0]) for index in range(5)]
        assert [value is None for value in found] == [False, False, True, False, False]
        assert all(entry.facts["index"] != 2 for entry in log.entries())
        assert "damaged" in caplog.text
        assert path.name in caplog.text
        key, value = number_of(2)
        log.put(key, value)
    for _ in range(2):  # the sound copy is found beside the damaged one, at each opening
        with ResultLog(tmp_path) as log:
            np.testing.assert_array_equal(log.get(key), value)


def test_the_older_copy_serves_where_the_newer_is_damaged(tmp_path: Path) -> None:
    some_log(tmp_path, 1)
    key, value = number_of(0)
    with ResultLog(tmp_path, fresh=True) as log:
        log.put(key, value)
    newest = max(tmp_path.glob("*.lhclog"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"\xff")
    with ResultLog(tmp_path) as log:
        np.testing.assert_array_equal(log.get(key), value)


def test_facts_that_changed_are_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, _ = some_log(tmp_path, 3)
    path.write_bytes(path.read_bytes().replace(b'"index":2', b'"index":7'))
    with ResultLog(tmp_path) as log:
        assert [entry.facts["index"] for entry in log.entries()] == [0, 1]
    assert "damaged" in caplog.text


def test_a_lost_context_costs_its_facts_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ResultLog(tmp_path) as log:
        run = log.context({"model": "a"})
        log.put(KEY, np.zeros(2), {"draw": 1}, within=run)
    (path,) = tmp_path.glob("*.lhclog")
    path.write_bytes(path.read_bytes().replace(b'"model":"a"', b'"model":"b"'))
    with ResultLog(tmp_path) as log:
        assert [entry.facts for entry in log.entries()] == [{"draw": 1}]
        assert list(log.entries({"model": "a"})) == []
        np.testing.assert_array_equal(log.get(KEY), np.zeros(2))
    assert "damaged" in caplog.text


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=40)), max_size=4),
    st.floats(0, 1),
    st.booleans(),
    st.booleans(),
)
def test_any_damage_loses_what_it_touches_only(
    overwritten: list[tuple[float, bytes]], cut: float, cuts: bool, inserts: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, spans = some_log(Path(folder), 6)
        data = bytearray(path.read_bytes())
        size = len(data)
        touched = []
        for share, patch in overwritten:
            at = int(share * size)
            patch = patch[: size - at]
            data[at : at + len(patch)] = patch
            touched.append((at, at + len(patch)))
        if inserts:  # last, for it moves what lies behind it
            between = spans[3][0]
            data[between:between] = b"\x89LHC\r\n\x1a\n" + bytes(range(100))
        if cuts:
            length = int(cut * size)
            del data[length:]
            touched.append((length - inserts * 108, size))
        path.write_bytes(data)
        with ResultLog(folder) as log:
            for index, (begins, ends) in enumerate(spans):
                key, value = number_of(index)
                found = log.get(key)
                if all(last <= begins or first >= ends for first, last in touched):
                    assert found is not None, (index, touched)
                if found is not None:
                    np.testing.assert_array_equal(found, value)
            entries = list(log.entries())
            assert all(entry.facts.get("model", "a") == "a" for entry in entries)


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.just(b"\x89LHC\r\n\x1a\n"),
            st.builds(
                forged,
                description=st.sampled_from(
                    [
                        b'{"dtype":"<f8","facts":{},"shape":[1]}',
                        b'{"dtype":"|O","facts":{},"shape":[1]}',
                        b'{"dtype":"<f8","facts":{},"shape":[-1]}',
                        b'{"dtype":"<f8","facts":{},"shape":[true]}',
                        b'{"dtype":"<f8","facts":{},"shape":[0,4611686018427387904,4611686018427387904]}',
                        b'{"dtype":"<f8","facts":[],"shape":[1]}',
                        b'{"dtype":"<f8","facts":{"a":1e999},"shape":[1]}',
                        b'{"dtype":8,"facts":{},"shape":{}}',
                        b'{"facts":{}}',
                        b"{}",
                        b"null",
                        b"",
                        b"[" * 3000,
                        b"cos\nsystem\n(S'true'\ntR.",
                    ]
                ),
                value=st.sampled_from([b"", bytes(8), bytes(64)]),
                kind=st.sampled_from([0, 1, 2, 3, 2**32 - 1]),
                within=st.sampled_from([bytes(32), bytes.fromhex(KEY)]),
                value_bytes=st.sampled_from([None, 0, 2**30, 2**62, 2**64 - 1]),
            ),
        ),
        max_size=6,
    )
)
def test_no_file_breaks_the_log(parts: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_bytes(b"".join(parts))
        with ResultLog(folder) as log:
            list(log.entries())
            found = log.get(KEY)
            assert found is None or found.dtype == np.float64
            log.put(number_of(0)[0], number_of(0)[1])
        with ResultLog(folder) as log:
            np.testing.assert_array_equal(log.get(number_of(0)[0]), number_of(0)[1])


def test_lengths_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    huge = forged(b'{"dtype":"|u1","facts":{},"shape":[1073741824]}', b"", value_bytes=2**30)
    (tmp_path / NAME).write_bytes(huge + forged(key=fingerprint({"unit": "behind"})))
    tracemalloc.start()
    try:
        with ResultLog(tmp_path) as log:
            assert log.get(KEY) is None
            assert log.get(fingerprint({"unit": "behind"})) is not None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_shrank_is_checked_again(tmp_path: Path) -> None:
    record = forged(b'{"dtype":"|u1","facts":{},"shape":[1073741824]}', b"", value_bytes=2**30)
    path = tmp_path / NAME
    with path.open("wb") as file:
        file.write(record)
        file.truncate(len(record) + 2**30)  # takes no room on the disk
    with ResultLog(tmp_path) as log:
        assert log.keys() == [KEY]
        os.truncate(path, len(record))
        tracemalloc.start()
        try:
            assert log.get(KEY) is None
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


def test_a_ring_of_contexts_is_not_followed(tmp_path: Path) -> None:
    one, other = "11" * 32, "22" * 32
    ring = forged(b'{"facts":{"a":1}}', b"", 2, bytes.fromhex(other), one)
    ring += forged(b'{"facts":{"b":1}}', b"", 2, bytes.fromhex(one), other)
    (tmp_path / NAME).write_bytes(ring + forged(within=bytes.fromhex(one)))
    with ResultLog(tmp_path) as log:
        assert [entry.facts for entry in log.entries()] == [{}]


def test_a_long_run_of_false_starts_is_passed_in_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).write_bytes(b"\x89LHC\r\n\x1a\n" * 20_000 + forged())
    with ResultLog(tmp_path) as log:
        assert log.keys() == [KEY]
    assert "160000 damaged bytes" in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_only_plain_files_are_segments(tmp_path: Path, fill: Fill, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / NAME)
    (tmp_path / NAME.replace("1-", "2-")).symlink_to("/dev/zero")
    (tmp_path / NAME.replace("1-", "3-")).symlink_to("nowhere")
    (tmp_path / NAME.replace("1-", "4-")).mkdir()
    (tmp_path / "results-x.lhclog").write_bytes(forged())
    fill(tmp_path, range(3))
    with ResultLog(tmp_path) as log:
        assert len(log) == 3
        log.clear()
    assert caplog.records == []
    assert len(list(tmp_path.iterdir())) == 6


def test_a_record_across_the_edge_of_what_is_read_at_once_is_found(tmp_path: Path) -> None:
    """Headers at every distance from the edge of 64 KiB, and records larger than that."""
    with ResultLog(tmp_path) as log:
        for index in range(120):
            log.put(fingerprint({"edge": index}), np.zeros(2**16 - 250 - index, np.uint8))
        log.put(KEY, np.arange(2.0**15))
    with ResultLog(tmp_path) as log:
        assert len(log) == 121
        np.testing.assert_array_equal(log.get(KEY), np.arange(2.0**15))


def test_a_mark_across_the_edge_of_what_is_searched_at_once_is_found(tmp_path: Path) -> None:
    for before in range(2**16 - 110, 2**16 + 12):
        (tmp_path / NAME).write_bytes(bytes(before) + forged())
        with ResultLog(tmp_path) as log:
            assert log.keys() == [KEY], before


def test_a_live_record_is_seen_once_it_is_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = forged()
    with caplog.at_level(logging.WARNING, "lhc"), ResultLog(tmp_path) as log:
        for length in range(1, len(record)):
            (tmp_path / NAME).write_bytes(record[:length])
            assert log.refresh() == 0
        (tmp_path / NAME).write_bytes(record)
        assert log.refresh() == 1
    assert caplog.records == []
