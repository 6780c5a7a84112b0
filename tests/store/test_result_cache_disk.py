"""Full disks, folders that cannot be used, what older versions left, and where results lie by default."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lhc.errors import LhcError
from lhc.store import Facts, ResultCache

Unit = Callable[[int], tuple[npt.NDArray[np.float64], Facts]]
Fill = Callable[[Path, range], None]
Query = Callable[..., list[tuple[Any, ...]]]

ROOT = Path(__file__).resolve().parents[2]

LIMITED = """
import resource, sys
import numpy as np
from lhc.errors import LhcError
from lhc.store import ResultCache
folder, limits = sys.argv[1], map(int, sys.argv[2:])
done = 0
with ResultCache(folder) as cache, ResultCache(folder) as other:
    for limit in limits:
        soft = resource.RLIM_INFINITY if limit == 0 else limit
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        try:
            while done < 3000:
                cache.put(np.full(100, float(done)), {"unit": done})
                done += 1
        except LhcError as error:
            print(error)
        for one in (cache, other):
            assert one.get({"unit": done}) is None
            assert all((one.get({"unit": n}) == n).all() for n in range(done))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for one in (other, cache):
            one.put(np.full(100, float(done)), {"unit": done})
            done += 1
with ResultCache(folder) as cache:
    assert all((cache.get({"unit": n}) == n).all() for n in range(done))
"""

FULL = """
import sys
import numpy as np
from lhc.errors import LhcError
from lhc.store import ResultCache
folder, done = sys.argv[1], 0
with ResultCache(folder) as cache:
    try:
        while done < 10_000:
            cache.put(np.full(100, float(done)), {"unit": done})
            done += 1
    except LhcError as error:
        print(error)
    try:
        cache.update("report", "one", lambda _: bytes(100_000))
    except LhcError as error:
        print("document:", error)
with ResultCache(folder) as cache:
    assert done > 3
    assert all((cache.get({"unit": n}) == n).all() for n in range(done))
    assert cache.get({"unit": done}) is None
    assert cache.documents("report") == []
"""

READ_ONLY = """
import logging, subprocess, sys
import numpy as np
from lhc.store import ResultCache
logging.basicConfig(format="%(message)s")
folder = sys.argv[1]
with ResultCache(folder + "/kept") as cache:
    cache.put(np.zeros(3), {"unit": 0})
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
for place in ("/kept", "/new"):
    with ResultCache(folder + place) as cache:
        cache.get({"unit": 0})
        cache.put(np.ones(3), {"unit": 1})
        assert (cache.get({"unit": 1}) == 1).all()
"""


def run(command: list[str]) -> tuple[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def on_small_disk(folder: Path, code: str) -> tuple[str, str]:
    """Run code with a disk of 256 kB at the folder; no one else sees it, and it goes with the process."""
    mounting = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
    if (
        shutil.which("unshare") is None
        or subprocess.run([*mounting, mount, str(folder), "true"], check=False).returncode
    ):
        pytest.skip("no disk can be mounted here")
    return run([*mounting, mount, str(folder), sys.executable, "-c", code, str(folder)])


@pytest.mark.skipif(os.name != "posix", reason="no limits of file sizes on this system")
def test_a_disk_that_is_full_at_any_byte_keeps_what_is_there(tmp_path: Path) -> None:
    limits = [40_000 + 4_321 * step for step in range(30)]
    told, warned = run([sys.executable, "-c", LIMITED, str(tmp_path), *map(str, limits)])
    assert len(told.splitlines()) == len(limits)
    assert all(
        "no room for more results (disk I/O error). Those that are there are kept. Free some space" in line
        for line in told.splitlines()
    )
    assert str(tmp_path) in told
    assert warned == ""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    told, warned = on_small_disk(tmp_path, FULL)
    results, document = told.splitlines()
    assert "no room for more results (database or disk is full). Those that are there are kept" in results
    assert "document: " in document
    assert "no room" in document
    assert warned == ""


def test_a_disk_that_is_really_read_only_serves_from_memory(tmp_path: Path) -> None:
    _, warned = on_small_disk(tmp_path, READ_ONLY)
    kept, new = warned.splitlines()
    assert f"{tmp_path}/kept: results cannot be kept there (" in kept
    assert f"{tmp_path}/new: results cannot be kept there (Read-only file system), only in memory" in new


def test_syncs_are_one_a_second_at_most(tmp_path: Path, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, commits = [100.0], []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                (level,) = super().execute("PRAGMA synchronous").fetchone()
                commits.append({1: "not synced", 2: "synced"}[level])
            return super().execute(sql, *values)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, **named, factory=Watched))
    with ResultCache(tmp_path) as cache:
        cache.put(*unit(0))
        commits.clear()
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        cache._synced = 0.0
        for number, seconds in enumerate([0.0, 0.25, 0.5, 0.5, 1.5, 0.0]):
            clock[0] += seconds
            cache.put(*unit(number))
    assert commits == ["synced", "not synced", "not synced", "synced", "synced", "not synced"]


def test_what_is_kept_is_synced_when_the_cache_is_closed(tmp_path: Path, unit: Unit) -> None:
    """Also while another process has the database open: it is in the file, not only in the log of writes."""
    with ResultCache(tmp_path) as other:
        other.put(*unit(0))
        with ResultCache(tmp_path) as cache:
            cache.put(*unit(1))
        (path,) = tmp_path.glob("*.sqlite3")
        (tmp_path / "copy").mkdir()
        shutil.copy(path, tmp_path / "copy")
    with ResultCache(tmp_path / "copy") as cache:
        assert cache.get(unit(1)[1]) is not None


def test_a_folder_that_is_a_file_serves_from_memory(
    tmp_path: Path, unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with ResultCache(folder) as cache:
            cache.put(*unit(1))
            np.testing.assert_array_equal(cache.get(unit(1)[1]), unit(1)[0])
        assert f"{folder}: results cannot be kept there (" in caplog.text
    assert "only in memory; choose another folder (--work-dir)" in caplog.text
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_without_permission_to_write_serves_from_memory(
    restricted_folder: Path, fill: Fill, unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    folder = restricted_folder / "kept"
    fill(folder, range(3))
    folder.chmod(0o555)
    (restricted_folder / "empty").mkdir(mode=0o555)
    for place in (folder, folder / "new", restricted_folder / "empty"):
        with ResultCache(place) as cache:
            assert cache.get(unit(5)[1]) is None
            cache.put(*unit(3))
            cache.update("report", "one", lambda _: b"text")
            assert cache.get(unit(3)[1]) is not None
            assert cache.documents("report") == [b"text"]
        assert f"{place}: results cannot be kept there (" in caplog.text
    assert len(caplog.records) == 3, "each says so once"
    folder.chmod(0o755)
    with ResultCache(folder) as cache:
        assert [cache.get(unit(number)[1]) is not None for number in range(4)] == [True, True, True, False]


def test_a_file_that_cannot_be_read_serves_from_memory(
    restricted_folder: Path, fill: Fill, unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    folder = restricted_folder / "kept"
    fill(folder, range(3))
    (path,) = folder.iterdir()
    for place in (path, folder):
        place.chmod(0)
        with ResultCache(folder) as cache:
            cache.put(*unit(4))
            assert cache.get(unit(4)[1]) is not None
        place.chmod(0o755)
    assert len(caplog.records) == 2
    with ResultCache(folder) as cache:
        assert cache.get(unit(2)[1]) is not None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_another_user_could_have_written_is_not_believed(
    what: str, tmp_path: Path, fill: Fill, unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "kept", range(3))
    (path,) = (tmp_path / "kept").iterdir()
    folder = tmp_path / "kept"
    if what == "link":
        folder = tmp_path / "link"
        folder.symlink_to("kept")
    os.lchown(path if what == "file" else folder, 12345, 12345)
    with ResultCache(folder) as cache:
        assert cache.get(unit(1)[1]) is None
        cache.put(*unit(1))
        assert cache.get(unit(1)[1]) is not None
    assert "belongs to another user), only in memory" in caplog.text


def test_a_link_of_ones_own_is_followed(tmp_path: Path, fill: Fill, unit: Unit) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "link").symlink_to("large disk")
    fill(tmp_path / "link", range(3))
    with ResultCache(tmp_path / "large disk") as cache:
        assert cache.get(unit(1)[1]) is not None


def test_a_link_to_nowhere_serves_from_memory(tmp_path: Path, unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with ResultCache(tmp_path / "link") as cache:
        cache.put(*unit(1))
        assert cache.get(unit(1)[1]) is not None
    assert "only in memory" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_database_that_stays_locked_is_given_up(
    tmp_path: Path, fill: Fill, unit: Unit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lhc.store.result_cache.BUSY_S", 0.1)
    fill(tmp_path, range(3))
    (path,) = tmp_path.iterdir()
    stopped = sqlite3.connect(path, isolation_level=None)
    stopped.execute("BEGIN IMMEDIATE")
    with ResultCache(tmp_path) as cache:
        assert cache.get(unit(1)[1]) is not None, "a writer does not hold readers up"
        cache.put(*unit(4))
        assert cache.get(unit(4)[1]) is not None
    assert "(database is locked), only in memory" in caplog.text
    stopped.close()


def test_what_an_older_lhc_left_is_not_used_and_that_is_said_once(
    tmp_path: Path, unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lhc-results.json").write_text('{"schema_version": 1}')
    (tmp_path / "results-000001-0123456789abcdef.lhclog").write_bytes(b"\x89LHC\r\n\x1a\n")
    for number in range(2):
        with ResultCache(tmp_path) as cache:
            assert cache.get(unit(number)[1]) is None
            cache.put(*unit(number))
    (record,) = caplog.records
    assert "an older lhc left *.lhclog and the folders" in record.getMessage()


def test_what_a_newer_lhc_keeps_elsewhere_is_left_alone(tmp_path: Path, unit: Unit) -> None:
    newer = tmp_path / "results-v3-000001.sqlite3"
    newer.write_bytes(b"of a newer lhc")
    with ResultCache(tmp_path) as cache:
        cache.put(*unit(1))
    assert newer.read_bytes() == b"of a newer lhc"
    assert {path.name for path in tmp_path.iterdir()} == {newer.name, "results-v2-000001.sqlite3"}


def test_memory_that_is_full_is_told(tmp_path: Path, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with ResultCache(tmp_path / "file") as cache:
        cache.put(*unit(1))
        assert cache._connection is not None
        cache._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(LhcError, match="no room for more results"):
            cache.put(np.zeros(10_000), {"unit": "large"})
