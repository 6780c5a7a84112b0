"""Full disks, folders that cannot be used, and where results lie by default."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pytest

from lhc.errors import LhcError, UsageError
from lhc.store import ResultLog, default_work_dir

Unit = Callable[[int], tuple[str, npt.NDArray[np.float64]]]
Fill = Callable[[Path, range], None]

ROOT = Path(__file__).resolve().parents[2]


class Disk(Protocol):
    room: int
    error: int
    truncates: bool

    def __call__(self, path: Path, mode: str) -> FileIO: ...


def check(log: ResultLog, unit: Unit, numbers: range) -> None:
    assert sorted(log.keys()) == sorted(unit(number)[0] for number in numbers)
    for number in numbers:
        key, value = unit(number)
        np.testing.assert_array_equal(log.get(key), value)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("truncates", [True, False])
def test_a_full_disk_at_any_byte_keeps_what_is_there(
    code: int,
    truncates: bool,
    tmp_path: Path,
    unit: Unit,
    disk: Disk,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    disk.error, disk.truncates = code, truncates
    steps = range(0, 300, 1 if code == errno.ENOSPC else 50)
    for room in steps:
        folder = tmp_path / str(room)
        disk.room = 2**40
        with ResultLog(folder, opener=disk) as log, ResultLog(folder) as other:
            for number in range(3):
                log.put(*unit(number))
            disk.room = room
            with pytest.raises(LhcError, match="the 3 there are kept: free some space") as caught:  # noqa: PT012
                log.put(*unit(35))
                log.put(*unit(36))
                pytest.fail("both fitted in")
            assert str(folder) in str(caught.value)
            assert os.strerror(code) in str(caught.value)
            check(log, unit, range(3))
            assert other.refresh() == 3
            disk.room = 2**40
            for number in range(3, 6):
                (log if number % 2 else other).put(*unit(number))
            log.refresh()
            check(log, unit, range(6))
        with ResultLog(folder) as log:
            check(log, unit, range(6))
    assert caplog.records == []


def test_half_a_record_is_taken_back(tmp_path: Path, unit: Unit, disk: Disk) -> None:
    with ResultLog(tmp_path, opener=disk) as log:
        log.put(*unit(1))
        size = log.total_bytes
        disk.room = 50
        with pytest.raises(LhcError, match="no room"):
            log.put(*unit(2))
        assert log.total_bytes == size


def test_a_context_that_did_not_fit_is_written_with_the_next_result(tmp_path: Path, unit: Unit, disk: Disk) -> None:
    with ResultLog(tmp_path, opener=disk) as log:
        run = log.context({"model": "a"})
        disk.room = 200
        with pytest.raises(LhcError, match="no room"):
            log.put(*unit(1), within=run)
        disk.room = 2**40
        log.put(*unit(1), within=run)
    with ResultLog(tmp_path) as log:
        assert [entry.facts for entry in log.entries()] == [{"model": "a"}]


def test_an_interrupt_inside_a_write_leaves_no_half_record(tmp_path: Path, unit: Unit) -> None:
    class Interrupted(FileIO):
        def write(self, data: object, /) -> int:
            super().write(bytes(data)[:60])  # type: ignore[call-overload]
            raise KeyboardInterrupt

    with ResultLog(tmp_path, opener=Interrupted) as log:
        with pytest.raises(KeyboardInterrupt):
            log.put(*unit(1))
        assert (log.total_bytes, len(log)) == (0, 0)


def test_a_disk_that_takes_nothing_is_left_without_segments(tmp_path: Path, unit: Unit, disk: Disk) -> None:
    disk.room = 0
    with ResultLog(tmp_path, opener=disk) as log:
        for number in range(3):
            with pytest.raises(LhcError, match="no room"):
                log.put(*unit(number))
        assert len(list(tmp_path.glob("*.lhclog"))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["lhc-results.json"]


def test_other_failures_of_a_write_are_told_too(tmp_path: Path, unit: Unit, disk: Disk) -> None:
    disk.room, disk.error = 50, errno.EIO
    with ResultLog(tmp_path, opener=disk) as log, pytest.raises(UsageError, match="cannot be written: Input/output"):
        log.put(*unit(1))


def test_syncs_are_one_a_second_at_most(tmp_path: Path, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, synced = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(clock[0]))
    with ResultLog(tmp_path) as log:
        for number, seconds in enumerate([0.0, 0.25, 0.5, 0.5, 1.5, 0.0]):
            clock[0] += seconds
            log.put(*unit(number))
        # The first put syncs the file and its name; then those a second or more after the last sync; then closing.
        assert synced == [100.0, 100.0, 101.25, 102.75]
    assert synced == [100.0, 100.0, 101.25, 102.75, 102.75]


def test_a_disk_that_refuses_to_sync_is_told(tmp_path: Path, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with ResultLog(tmp_path) as log:
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(LhcError, match="no room"):
            log.put(*unit(1))
        with pytest.raises(LhcError, match="no room"):
            log.close()


CHILD = """
import resource, sys
import numpy as np
from lhc.errors import LhcError
from lhc.store import ResultLog, fingerprint
folder, limit = sys.argv[1], int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
done = 0
with ResultLog(folder) as log:
    try:
        while done < 10_000:
            log.put(fingerprint({"unit": done}), np.full(100, float(done)))
            done += 1
    except LhcError as error:
        print(error)
with ResultLog(folder) as log:
    assert len(log) == done, (len(log), done)
    for number in range(done):
        assert (log.get(fingerprint({"unit": number})) == number).all()
"""

READ_ONLY = """
import subprocess, sys
import numpy as np
from lhc.errors import LhcError
from lhc.store import ResultLog, fingerprint
folder = sys.argv[1]
with ResultLog(folder + "/log") as log:
    log.put(fingerprint({"unit": 0}), np.zeros(3))
subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
with ResultLog(folder + "/log") as log:
    assert (log.get(fingerprint({"unit": 0})) == 0).all()
    try:
        log.put(fingerprint({"unit": 1}), np.zeros(3))
    except LhcError as error:
        print(error)
try:
    ResultLog(folder + "/new")
except LhcError as error:
    print(error)
"""


def run(command: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_small_disk(folder: Path, code: str) -> str:
    """Run code with a disk of 256 kB at the folder; no one else sees it, and it goes with the process."""
    mounting = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
    if (
        shutil.which("unshare") is None
        or subprocess.run([*mounting, mount, str(folder), "true"], check=False).returncode
    ):
        pytest.skip("no disk can be mounted here")
    return run([*mounting, mount, str(folder), sys.executable, "-c", code, str(folder), "0"])


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    assert "no room for more results (No space left on device)" in on_small_disk(tmp_path, CHILD)


def test_a_disk_that_is_really_read_only(tmp_path: Path) -> None:
    told = on_small_disk(tmp_path, READ_ONLY).splitlines()
    assert len(told) == 2
    assert "results cannot be written: Read-only file system; choose another folder" in told[0]
    assert "results cannot be kept there: Read-only file system; choose another folder" in told[1]


@pytest.mark.skipif(os.name != "posix", reason="no limits of file sizes on this system")
def test_a_real_limit_of_file_size(tmp_path: Path) -> None:
    # 53 records of 940 bytes fit in.
    assert "no room for more results (File too large); the 53 there" in run(
        [sys.executable, "-c", CHILD, str(tmp_path), "50000"]
    )


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=r"is or lies below a file; .*--work-dir"):
            ResultLog(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"schema_version": 2}', "newer lhc .*schema 2.*update lhc or choose another folder"),
        (b'{"schema_version": true}', "names no schema"),
        (b'{"schema_version": 0}', "names no schema"),
        (b'{"schema_version": "1"}', "names no schema"),
        (b"[1]", "names no schema"),
        (b"\xff\xfe", "names no schema"),
        (b"[" * 10**6, "names no schema"),
    ],
)
def test_a_schema_that_is_not_known_is_refused(text: bytes, message: str, tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, range(1))
    (tmp_path / "lhc-results.json").write_bytes(text)
    with pytest.raises(UsageError, match=message):
        ResultLog(tmp_path)


@pytest.mark.parametrize("text", [None, b"", b" \n"], ids=["missing", "empty", "blank"])
def test_a_schema_file_that_was_lost_is_written_again(
    text: bytes | None, tmp_path: Path, fill: Fill, unit: Unit
) -> None:
    fill(tmp_path, range(2))
    schema = tmp_path / "lhc-results.json"
    schema.unlink()
    if text is not None:
        schema.write_bytes(text)
    with ResultLog(tmp_path) as log:
        check(log, unit, range(2))
    assert schema.read_text() == '{"schema_version": 1}\n'


def test_a_folder_without_permission_to_write_is_readable(restricted_folder: Path, fill: Fill, unit: Unit) -> None:
    folder = restricted_folder / "log"
    fill(folder, range(3))
    folder.chmod(0o555)
    with ResultLog(folder) as log:
        check(log, unit, range(3))
        with pytest.raises(UsageError, match="cannot be written: Permission denied"):
            log.put(*unit(3))
        with pytest.raises(UsageError, match="cannot be deleted: Permission denied"):
            log.clear()
        check(log, unit, range(3))
    with pytest.raises(UsageError, match="cannot be kept there: Permission denied"):
        ResultLog(folder / "new")
    (restricted_folder / "empty").mkdir(mode=0o555)
    with pytest.raises(UsageError, match="cannot be kept there: Permission denied"):
        ResultLog(restricted_folder / "empty")
    folder.chmod(0o755)


def test_what_cannot_be_read_is_told(
    restricted_folder: Path, fill: Fill, unit: Unit, caplog: pytest.LogCaptureFixture
) -> None:
    folder = restricted_folder / "log"
    fill(folder, range(3))
    (segment,) = folder.glob("*.lhclog")
    segment.chmod(0)
    fill(folder, range(3, 5))
    assert "cannot be read: Permission denied" in caplog.text
    with ResultLog(folder) as log:
        check(log, unit, range(3, 5))
    folder.chmod(0)
    with pytest.raises(UsageError, match="Permission denied"):
        ResultLog(folder)
    folder.chmod(0o755)


def test_the_default_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LHC_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert default_work_dir() == tmp_path / ".cache" / "lhc"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert default_work_dir() == tmp_path / "xdg" / "lhc"
    monkeypatch.setenv("LHC_CACHE", "")
    assert default_work_dir().name == "lhc"
    monkeypatch.setenv("LHC_CACHE", str(tmp_path / "mine"))
    assert default_work_dir() == tmp_path / "mine"
    monkeypatch.setenv("LHC_CACHE", "~/mine")
    assert default_work_dir() == tmp_path / "mine"
    assert not (tmp_path / "mine").exists()
