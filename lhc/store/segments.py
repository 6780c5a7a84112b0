"""The folder of a result log and the files in it.

``lhc-results.json`` says which schema the folder follows. Segments hold the records; they are called
``results-NNNNNN-RANDOM.lhclog``: a number one above the greatest that was there, so that later runs sort later, and 16
random hexadecimal digits, so that no two processes meet. A file of any other name is not touched.
"""

import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

import platformdirs

from lhc.errors import UsageError
from lhc.files import write_file

__all__ = ["SCHEMA_VERSION", "Opener", "Segment", "claim", "default_work_dir", "new_segment", "segment_sizes"]

SCHEMA_VERSION = 1
SCHEMA_FILE = "lhc-results.json"
CACHE_VARIABLE = "LHC_CACHE"

_SEGMENT = re.compile(r"results-(\d{6})-[0-9a-f]{16}\.lhclog")
_SCHEMA_BYTES = 4096
"""Most of a schema file that is read."""
SYNC_SECONDS = 1.0
"""An append that comes so long after the last sync is synced to the disk; so is the first."""

Opener = Callable[[Path, str], FileIO]
"""Opens a new segment for writing; tests give one whose files break."""


def default_work_dir() -> Path:
    """Where results are kept unless the user says otherwise: ``$LHC_CACHE``, else ``lhc`` in the user's cache folder.

    On Linux that is ``$XDG_CACHE_HOME/lhc``, else ``~/.cache/lhc``; on macOS and Windows what is usual there. The
    folder may not exist yet.
    """
    value = os.environ.get(CACHE_VARIABLE)
    return Path(value).expanduser() if value else platformdirs.user_cache_path("lhc", appauthor=False)


def claim(folder: Path) -> None:
    """Make the folder where there is none, and see that this lhc can read it.

    Raises:
        UsageError: it cannot be made or read, or a newer lhc wrote it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        version = _schema_version(folder / SCHEMA_FILE)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder}: is or lies below a file; name a folder for results (--work-dir)") from error
    except OSError as error:
        raise _unusable(folder, error) from error
    if version is None:
        _write_schema(folder)
    elif version > SCHEMA_VERSION:
        raise UsageError(
            f"{folder}: holds results of a newer lhc (schema {version}, this one reads {SCHEMA_VERSION}): update lhc or"
            " choose another folder (--work-dir)"
        )


def _schema_version(path: Path) -> int | None:
    """None where there is no such file, or an empty one."""
    try:
        with path.open("rb") as file:
            text = file.read(_SCHEMA_BYTES)
    except FileNotFoundError:
        return None
    if not text.strip():
        return None
    try:
        version = json.loads(text)["schema_version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        version = None
    if type(version) is not int or version < 1:
        raise UsageError(f"{path}: names no schema; delete it if the folder is lhc's, else choose another (--work-dir)")
    return version


def _write_schema(folder: Path) -> None:
    text = json.dumps({"schema_version": SCHEMA_VERSION}) + "\n"
    try:
        write_file(folder / SCHEMA_FILE, lambda file: file.write(text.encode()))
    except UsageError as error:
        raise _unusable(folder, error.__cause__) from error


def _unusable(folder: Path, error: BaseException | None) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return UsageError(f"{folder}: results cannot be kept there: {reason}; choose another folder (--work-dir)")


def segment_sizes(folder: Path) -> dict[str, int]:
    """Name -> bytes of every segment, oldest first.

    Raises:
        UsageError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: _size(entry) for entry in entries if _SEGMENT.fullmatch(entry.name)}
    except OSError as error:
        raise _unusable(folder, error) from error
    return {name: size for name, size in sorted(found.items()) if size is not None}


def _size(entry: "os.DirEntry[str]") -> int | None:
    """None for what is no plain file, or gone by now."""
    try:
        status = Path(entry).stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def new_segment(folder: Path) -> Path:
    """Where a new segment goes; nothing is made yet."""
    numbers = [int(found[1]) for name in segment_sizes(folder) if (found := _SEGMENT.fullmatch(name))]
    number = min(max(numbers, default=0) + 1, 999_999)
    return folder / f"results-{number:06}-{secrets.token_hex(8)}.lhclog"


class Segment:
    """A new file, written by this process alone, that holds whole records whatever happens to a write.

    Attributes:
        path: the file.
        contexts: fingerprints of the contexts that it holds.
        end: bytes of whole records; what lies behind them is overwritten.
    """

    def __init__(self, path: Path, opener: Opener) -> None:
        self.path = path
        self.contexts: set[str] = set()
        self.end = 0
        self._file = opener(path, "xb")
        self._process = os.getpid()
        self._synced = -SYNC_SECONDS

    @property
    def usable(self) -> bool:
        """False in a process that was forked off, and once the file was removed."""
        return self._process == os.getpid() and os.fstat(self._file.fileno()).st_nlink > 0

    def append(self, data: bytes) -> None:
        """Write whole records; half of one is taken back.

        Raises:
            OSError: they could not be written or synced.
        """
        try:
            self._file.seek(self.end)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            self.end += len(data)
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self.sync()
        except BaseException:
            with suppress(OSError):
                self._file.truncate(self.end)
            raise

    def sync(self) -> None:
        """See to it that what was appended outlasts a loss of power.

        Raises:
            OSError: the disk refused.
        """
        os.fsync(self._file.fileno())
        if self._synced < 0:
            _sync_folder(self.path.parent)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; a file in which nothing could be written is removed.

        Raises:
            OSError: the disk refused.
        """
        mine = self._process == os.getpid()
        try:
            if mine:
                self.sync()
        finally:
            self._file.close()
        if mine and self.end == 0:
            self.path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file last too, where the system can (Windows cannot)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
