import os
import stat
import sys
from pathlib import Path

import pytest

from lhc.errors import UsageError
from lhc.support.files import alone_in, check_writable, default_work_dir, write_file, write_files

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="permissions, links and pipes are POSIX's")


def put(path: Path, content: bytes = b"new") -> None:
    write_file(path, lambda file: file.write(content))


def test_permissions_of_a_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o600)
    put(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    put(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(UsageError, match="is no file, and would be replaced"):
            put(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_file_and_name_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    put(tmp_path / "out")
    assert synced == [False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")
def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    def fail(file: object) -> None:
        raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"):
        write_file(tmp_path / "out", fail)
    assert list(tmp_path.iterdir()) == []


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


def test_a_second_command_waits_until_files_that_belong_together_are_written(tmp_path: Path) -> None:
    import fcntl

    def is_free() -> bool:
        handle = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    with alone_in(tmp_path):
        assert not is_free()
    assert is_free()
    with pytest.raises(ValueError, match="on the way"), alone_in(tmp_path):
        raise ValueError("on the way")
    assert is_free()
    with alone_in(tmp_path / "nowhere"):
        pass


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no folder here that takes no file of anybody")
def test_a_place_that_takes_no_file_is_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match=r"net.onnx: cannot be written: .*; choose another place"):
        check_writable(Path("/proc/self/net.onnx"))


def test_a_place_that_takes_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine", encoding="utf-8")
    for name in ("there", "new"):
        check_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")
def test_of_files_that_belong_together_none_is_replaced_where_one_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"old")
    (tmp_path / "weights").write_bytes(b"old")

    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match=r"model: cannot be written: No space left"):
        write_files([(tmp_path / "weights", lambda file: file.write(b"new")), (tmp_path / "model", full)])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model": b"old", "weights": b"old"}
