"""The result cache: what was measured once is there after any kill, for later runs and other processes.

A result is a small array that goes by the facts that it depends on; facts lie *within* others, so that what many
results share is kept once. Beside results lie *documents*, such as reports, by kind and name. All is one sqlite
database, which any SQLite program reads. `within` is the name of the facts around a row's own, `digest` BLAKE2b of 16
bytes over the columns between `id` and itself, each behind its length (8 bytes, little-endian). A kill at any
instruction loses the unit in work; a loss of power, results of `SYNC_SECONDS` too. Damaged bytes lose results, never
their truth. Where the folder cannot be used, memory serves instead, with a warning. Nothing is ever deleted.
"""

import errno
import json
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError, LhcError

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
Facts: TypeAlias = Mapping[str, JsonValue]
Array = npt.NDArray[Any]
Row = tuple[Any, ...]
T = TypeVar("T")
log = logging.getLogger("lhc")

TABLES = [
    "CREATE TABLE results (id INTEGER PRIMARY KEY AUTOINCREMENT, key UNIQUE, within, facts, type, shape, data, digest)",
    "CREATE TABLE facts (name PRIMARY KEY, within, facts) WITHOUT ROWID",
    "CREATE TABLE documents (id INTEGER PRIMARY KEY AUTOINCREMENT, kind, name, text, digest, UNIQUE (kind, name))",
]
TYPES = {"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"}
SYNC_SECONDS = 1.0
"""What is kept so long after the last sync is synced to the disk, with all before it; so is the first thing."""
BUSY_S = 30.0
"""How long a process waits while another one writes."""
_NAME = "results-v2-{:06}.sqlite3"
_DOCUMENTS = "SELECT kind, name, text, digest FROM documents WHERE kind = ?1 AND"
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_SHMSIZE"}
_LOCK = threading.RLock()
_CACHES: "weakref.WeakSet[ResultCache]" = weakref.WeakSet()


def chain(*facts: Facts) -> list[tuple[str, str, str]]:
    """Fingerprint, that of those before it (none: empty), and canonical JSON of facts that lie within each other.

    Raises:
        TypeError, ValueError: JSON cannot say what they hold, such as numpy's integers, or NaN.
    """
    links: list[tuple[str, str, str]] = []
    for one in facts:
        within = links[-1][0] if links else ""
        text = json.dumps(_plain(one), sort_keys=True, separators=(",", ":"), allow_nan=False)
        links.append((sha256(f"{within}\n{text}".encode()).hexdigest(), within, text))
    return links


def fingerprint(*facts: Facts) -> str:
    """Fingerprint of nested facts: SHA-256 of JSON with sorted names, no spaces, ASCII, and 1.0 as 1."""
    return chain(*facts)[-1][0]


def _plain(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("names of facts are text")
        return {name: _plain(inner) for name, inner in value.items()}
    return value


class ResultCache(AbstractContextManager["ResultCache"]):
    """Results and documents in a folder, shared with other processes and later runs.

    Threads may share one. Leaving it syncs and closes the file, using it again opens it. Nothing is made before
    something is kept. Where the folder cannot be used, a warning says so, and memory is. ``fresh``: results that lie
    there already are not looked at; new ones replace them.
    """

    def __init__(self, folder: str | Path, *, fresh: bool = False) -> None:
        self.folder = Path(folder)
        self._connection: sqlite3.Connection | None = None
        self._path: Path | None = None  # of the database that is open; None: none, or memory
        self._inode: int | None = None
        self._in_memory = self._began_anew = False
        self._synced = -SYNC_SECONDS
        self._after = 0
        self._kept, self._earlier = set[str](), set[str]()
        _CACHES.add(self)
        _close_before_forks()
        if fresh:
            self._after = max((row[0] or 0 for row in self._select("SELECT max(id) FROM results")), default=0)

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, *facts: Facts) -> Array | None:
        """The result of facts, each within those before it; None where there is none that is sound."""
        query = "SELECT ?1, within, facts, type, shape, data, digest FROM results WHERE key = ?1 AND id > ?2"
        key = fingerprint(*facts)
        for *_, kind, shape, data in self._sound(self._select(query, key, self._after)):
            with suppress(ValueError):  # a forged row may say anything
                if kind.decode() in TYPES:
                    array = np.frombuffer(data, kind.decode()).reshape([int(length) for length in shape.split()])
                    if key not in self._kept:
                        self._earlier.add(key)
                    return array.astype(array.dtype.newbyteorder("="))
        return None

    def put(self, value: Array, *facts: Facts) -> None:
        """Keep a result, any shape, safe from any kill of this process once this returns.

        Raises:
            DataError: more than 512 MiB, or other elements than booleans, integers and floats.
            LhcError: the disk is full; what is there is kept, and more can be put once there is room.
        """
        array = np.asarray(value, value.dtype.newbyteorder("<"))
        if array.dtype.str not in TYPES or array.ndim > 32 or array.nbytes > 2**29:
            raise DataError(f"{array.nbytes} bytes of {array.dtype} with {array.ndim} axes cannot be kept as a result")
        *shared, own = chain(*facts)
        row = (*own, array.dtype.str, " ".join(map(str, array.shape)), array.tobytes())

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", shared)
            connection.execute("REPLACE INTO results VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", (*row, _checksum(*row)))

        self._write(insert)
        self._kept.add(own[0])

    @property
    def earlier(self) -> int:
        """Number of results that this object read and did not write: of an earlier run, or of one beside it."""
        return len(self._earlier)

    def documents(self, kind: str, name: str = "") -> list[bytes]:
        """Documents of a kind whose names begin so, the one that was kept last first."""
        query = f"{_DOCUMENTS} substr(name, 1, length(?2)) = ?2 ORDER BY id DESC"
        return [text for _, _, text in self._sound(self._select(query, kind, name))]

    def document(self, kind: str, name: str) -> bytes | None:
        """The document of that name; None where there is none that is sound."""
        found = self._sound(self._select(f"{_DOCUMENTS} name = ?2", kind, name))
        return found[0][2] if found else None

    def update(self, kind: str, name: str, change: Callable[[bytes | None], bytes]) -> None:
        """Make of a document, None where there is none, what it is to be; no other process can meanwhile.

        Raises:
            LhcError: the disk is full.
        """

        def replace(connection: sqlite3.Connection) -> None:
            before = self._sound(connection.execute(f"{_DOCUMENTS} name = ?2", (kind, name)).fetchall())
            row = (kind, name, change(before[0][2] if before else None))
            connection.execute("REPLACE INTO documents VALUES (NULL, ?, ?, ?, ?)", (*row, _checksum(*row)))

        self._write(replace)

    def copy_missing(
        self, facts: Iterable[Row] = (), results: Iterable[Row] = (), documents: Iterable[Row] = ()
    ) -> int:
        """Keep rows of another database as they are there; those whose key is here already are left out.

        Args:
            facts: rows that results lie within.
            results: without their ``id``, as documents are.

        Returns:
            How many results and documents were not here.

        Raises:
            LhcError: the folder cannot be used, or the disk is full.
        """
        found, kept, told = list(facts), list(results), list(documents)
        counts = list[int]()

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", found)
            before = connection.total_changes
            connection.executemany("INSERT OR IGNORE INTO results VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", kept)
            connection.executemany("INSERT OR IGNORE INTO documents VALUES (NULL, ?, ?, ?, ?)", told)
            counts[:] = [connection.total_changes - before]

        self._write(insert)
        if self._in_memory:
            raise LhcError(f"{self.folder}: results cannot be kept there; choose another folder (--work-dir)")
        return sum(counts)

    def close(self) -> None:
        """Sync and close the file; what is in memory goes."""
        with _LOCK:
            if self._connection is not None:
                with suppress(sqlite3.Error):  # on a full disk, all stays in the write-ahead log
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                self._connection.close()
            self._connection = self._path = None

    def _sound(self, rows: list[Row]) -> list[Row]:
        """Rows without their last column, which must be the checksum of the others."""
        sound = [r[:-1] for r in rows if is_sound(r)]
        if len(sound) < len(rows):
            log.warning("%s: a damaged result counts as not measured", self.folder)
        return sound

    def _select(self, query: str, *values: object) -> list[Row]:
        return self._run(lambda found: found.execute(query, values).fetchall(), make=False) or []

    def _write(self, action: Callable[[sqlite3.Connection], None]) -> None:
        """Do all of an action or nothing, also after a kill; nobody else writes meanwhile."""

        def transact(connection: sqlite3.Connection) -> None:
            late = time.monotonic() - self._synced >= SYNC_SECONDS
            connection.execute(f"PRAGMA synchronous = {'FULL' if late else 'NORMAL'}")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                action(connection)
            self._synced = time.monotonic() if late else self._synced

        self._run(transact, make=True)

    def _run(self, action: Callable[[sqlite3.Connection], T], make: bool) -> T | None:
        """Act on the newest database; None where there is none and none is made."""
        with _LOCK:
            while True:  # in what is there, in one that begins anew, in memory, which takes everything or raises
                try:
                    connection = self._reach(make)
                    return None if connection is None else action(connection)
                except (sqlite3.Error, OSError) as error:
                    self._give_way(error)

    def _reach(self, make: bool) -> sqlite3.Connection | None:
        if self._path is not None and _inode(self._path) != self._inode:  # it was deleted or replaced
            self.close()
            self._after = 0
        if self._connection is None and not self._in_memory:
            self._path = newest_database(self.folder)
            if self._path is None and not make:
                return None
            if self._path is None and any(self.folder.glob("*.lhclog")):
                log.warning(
                    "%s: an older lhc left *.lhclog and the folders reports and fronts, which are not used; they may be"
                    " deleted",
                    self.folder,
                )
            self._path = self._path or self.folder / _NAME.format(1)
        if self._connection is None:
            self._connection = _connect(self._path)
            self._inode = _inode(self._path) if self._path else None
        return self._connection

    def _give_way(self, error: Exception) -> None:
        """Begin a new database where this one is damaged, and use memory where none can be used."""
        path, reason = self._path, getattr(error, "strerror", None) or str(error)
        self.close()
        full = getattr(error, "sqlite_errorname", "") in _FULL or getattr(error, "errno", 0) == errno.ENOSPC
        if full or self._in_memory:
            raise LhcError(
                f"{self.folder}: no room for more results ({reason}). Those that are there are kept. Free some space,"
                " or move the folder to a larger disk and name it (--work-dir); then run the same command again"
            ) from error
        self._after = 0
        if path and not self._began_anew and not isinstance(error, (OSError, sqlite3.OperationalError)):
            self._began_anew = True
            new = path.with_name(_NAME.format(int(path.stem[-6:]) + 1))
            log.warning("%s: it is damaged (%s) and left aside; %s begins anew", path, reason, new.name)
            with suppress(OSError):
                new.touch()
        else:
            self._in_memory = True
            told = "%s: results cannot be kept there (%s), only in memory; choose another folder (--work-dir)"
            log.warning(told, self.folder, reason)


def newest_database(folder: Path) -> Path | None:
    """The database of a folder that is used: that of the highest number; None where there is none."""
    return max(folder.glob(f"results-v2-{6 * '[0-9]'}.sqlite3"), default=None)


def cache_files(folder: Path) -> tuple[Path, ...]:
    """Databases of a folder, those left aside too, and the files that sqlite keeps beside them."""
    found = folder.glob(f"results-v2-{6 * '[0-9]'}.sqlite3*")
    endings = ("", "-wal", "-shm", "-journal")
    return tuple(sorted(path for path in found if path.name.partition(".sqlite3")[2] in endings and path.is_file()))


def is_sound(row: Row) -> bool:
    """Whether the last column of a row is the checksum of the others."""
    return all(isinstance(one, bytes) for one in row) and bool(_checksum(*row[:-1]) == row[-1])


def _checksum(*columns: bytes | str) -> bytes:
    """16 bytes of the columns of a row; where one ends and the next begins counts too."""
    data = [column.encode() if isinstance(column, str) else column for column in columns]
    return blake2b(b"".join(len(one).to_bytes(8, "little") + one for one in data), digest_size=16).digest()


def _connect(path: Path | None) -> sqlite3.Connection:
    """A database, in memory without a path, that has these tables and no others; text comes as bytes."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_owner(path)
    connection = sqlite3.connect(path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes
    try:
        with suppress(sqlite3.OperationalError):  # another process just makes it; a rollback journal is as safe
            connection.execute("PRAGMA journal_mode = WAL")
        if not _tables(connection):
            made = "; ".join(table.replace("TABLE", "TABLE IF NOT EXISTS") for table in TABLES)
            connection.executescript(f"BEGIN IMMEDIATE; {made}; COMMIT")
        if _tables(connection) != TABLES:
            raise sqlite3.DatabaseError("its tables are not those of lhc")
    except BaseException:
        connection.close()
        raise
    return connection


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
    return [bytes(text or b"").decode(errors="replace") for (text,) in found.fetchall()]


def _check_owner(path: Path) -> None:
    """See that nobody else can have put something here."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(errno.EINVAL, f"{path.name} is no plain file")
    for place in (path.parent, path) if hasattr(os, "geteuid") else ():
        if place.exists() and not {place.lstat().st_uid, place.stat().st_uid} <= {os.geteuid(), 0}:
            raise PermissionError(errno.EPERM, f"{place.name} belongs to another user")


def _inode(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_ino
    return None


@cache
def _close_before_forks() -> None:
    """sqlite's connections must not be carried into another process: both open their own afterwards."""

    def close() -> None:
        _LOCK.acquire()
        for one in list(_CACHES):
            one.close()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=close, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)
