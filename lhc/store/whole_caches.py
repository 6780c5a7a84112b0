"""Result caches as wholes: what one holds, what another has beside it, and the files that it is.

Entries go by the content of the facts that they depend on, so those of several machines fit together. What is copied is
checked first: a row by its checksum, its key and the names of all facts around it by their SHA-256.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from lhc.errors import DataError, LhcError, UsageError
from lhc.store.result_cache import ResultCache, cache_files, is_sound, newest_database

Row = tuple[Any, ...]
_ROWS = 256
"""Copied in one transaction."""
_RESULTS = "SELECT key, within, facts, type, shape, data, digest FROM results ORDER BY id"
_DOCUMENTS = "SELECT kind, name, text, digest FROM documents ORDER BY id"


@dataclass(frozen=True)
class CacheContents:
    """What a result cache holds.

    Attributes:
        files: databases and what sqlite keeps beside them; damaged ones that were left aside too.
        bytes: of all files.
        results: evaluations of chips on samples.
        documents: number of documents by kind: reports, fronts, rows of sweeps.
    """

    folder: Path
    files: tuple[Path, ...]
    bytes: int
    results: int
    documents: Mapping[str, int]


@dataclass(frozen=True)
class Merged:
    """What became of the entries of a cache that was merged into another.

    Attributes:
        copied: were missing there.
        known: were there already, and stayed as they were.
        damaged: are not whole, and were left out.
    """

    source: Path
    copied: int
    known: int
    damaged: int


def contents_of(folder: Path) -> CacheContents:
    """What a cache holds; nothing is made or changed.

    Raises:
        DataError: its database cannot be read.
    """
    files, path = cache_files(folder), newest_database(folder)
    size = sum(file.stat().st_size for file in files)
    if path is None:
        return CacheContents(folder, files, size, 0, {})
    with closing(_opened(path)) as source:
        results = next(_select(source, path, "SELECT count(*) FROM results"))[0]
        found = _select(source, path, "SELECT kind, count(*) FROM documents GROUP BY kind ORDER BY kind")
        documents = {kind.decode(errors="replace"): number for kind, number in found}
    return CacheContents(folder, files, size, results, documents)


def merge_caches(into: Path, sources: tuple[Path, ...]) -> tuple[Merged, ...]:
    """Copy what other caches have and one has not; what is there is never replaced, and the others stay as they are.

    Raises:
        UsageError: a folder holds no cache, or is the one that is merged into.
        DataError: a database cannot be read; what was copied before stays.
        LhcError: the folder cannot be written.
    """
    for source in sources:
        if source.resolve() == into.resolve():
            raise UsageError(f"{source}: is the cache that the others are merged into; name other folders")
        if newest_database(source) is None:
            raise UsageError(
                f"{source}: holds no result cache (results-v2-….sqlite3); name a folder that LHC_CACHE named"
            )
    with ResultCache(into) as cache:
        return tuple(_merged(cache, source) for source in sources)


def clear_cache(folder: Path) -> CacheContents:
    """Remove the files of a cache, and nothing else that lies in its folder; what it held.

    Raises:
        LhcError: a file cannot be removed.
    """
    try:
        found = contents_of(folder)
    except DataError:  # a damaged one can be removed all the same
        files = cache_files(folder)
        found = CacheContents(folder, files, sum(file.stat().st_size for file in files), 0, {})
    for file in found.files:
        try:
            file.unlink(missing_ok=True)  # another process may close the database meanwhile
        except OSError as error:
            raise LhcError(f"{file}: cannot be removed: {error.strerror or error}") from error
    return found


def _merged(cache: ResultCache, folder: Path) -> Merged:
    path = newest_database(folder)
    assert path is not None
    copied = seen = damaged = 0
    with closing(_opened(path)) as source:
        facts = _Facts(source, path)
        for rows in _batches(_select(source, path, _RESULTS)):
            whole = [row for row in rows if is_sound(row) and facts.hold(*row[:3])]
            around = {name: fact for row in whole for name, fact in facts.around(row[1])}
            copied += cache.copy_missing(around.values(), [(*map(_text, row[:5]), *row[5:]) for row in whole])
            seen, damaged = seen + len(whole), damaged + len(rows) - len(whole)
        for rows in _batches(_select(source, path, _DOCUMENTS)):
            sound = [row for row in rows if is_sound(row)]
            copied += cache.copy_missing(documents=[(*map(_text, row[:2]), *row[2:]) for row in sound])
            seen, damaged = seen + len(sound), damaged + len(rows) - len(sound)
    return Merged(folder, copied, seen - copied, damaged)


class _Facts:
    """Facts of a database that results lie within; each is checked once."""

    def __init__(self, source: sqlite3.Connection, path: Path) -> None:
        self._source, self._path = source, path
        self._known: dict[bytes, tuple[str, str, str] | None] = {b"": None}

    def hold(self, key: bytes, within: bytes, facts: bytes) -> bool:
        """Whether a row's key is that of its facts, and all facts around it are there."""
        return _digest(within, facts) == key and self._whole(within)

    def around(self, name: bytes) -> Iterator[tuple[bytes, tuple[str, str, str]]]:
        """Names and rows of facts, from the nearest on."""
        while (found := self._known[name]) is not None:
            yield name, found
            name = found[1].encode()

    def _whole(self, name: bytes) -> bool:
        links: dict[bytes, tuple[str, str, str]] = {}
        while name not in self._known:
            query = "SELECT within, facts FROM facts WHERE name = ?"
            row = next(_select(self._source, self._path, query, _text(name)), None)
            if row is None or not all(isinstance(one, bytes) for one in row) or _digest(*row) != name:
                return False
            links[name] = (_text(name), _text(row[0]), _text(row[1]))
            name = row[0]
        self._known |= links
        return True


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _ROWS)):
        yield batch


def _digest(within: bytes, facts: bytes) -> bytes:
    return sha256(within + b"\n" + facts).hexdigest().encode()


def _text(column: bytes) -> str:
    return column.decode(errors="replace")


def _opened(path: Path) -> sqlite3.Connection:
    """A database to read; sqlite writes nothing beside one that nobody has open."""
    log = path.with_name(f"{path.name}-wal")
    mode = "mode=ro" if log.is_file() and log.stat().st_size else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    connection.text_factory = bytes
    return connection


def _select(source: sqlite3.Connection, path: Path, query: str, *values: object) -> Iterator[Row]:
    try:
        yield from source.execute(query, values)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: sqlite3.Error) -> DataError:
    return DataError(f"{path}: cannot be read as a result cache ({error}); copy it anew from where it was made")
