"""What lies in the segments of a folder: an index in memory, values and facts read when they are asked for."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple, TypeVar

from lhc.store.facts import Facts, fingerprint
from lhc.store.records import (
    CONTEXT,
    NOTHING,
    RESULT,
    Array,
    DamagedRecordError,
    Description,
    Header,
    read_description,
    read_value,
    scan,
)
from lhc.store.segments import segment_sizes

__all__ = ["Found"]

T = TypeVar("T")

log = logging.getLogger("lhc")


class _Place(NamedTuple):
    """Where a record begins, and the context that it lies within."""

    segment: str
    offset: int
    within: bytes


class _Index:
    """Places of records by their key; the newest first where a key is there more than once."""

    def __init__(self) -> None:
        self.newest: dict[bytes, _Place] = {}
        self._older: dict[bytes, list[_Place]] = {}

    def add(self, key: bytes, place: _Place) -> None:
        if key in self.newest:
            self._older.setdefault(key, []).append(self.newest[key])
        self.newest[key] = place

    def drop_newest(self, key: bytes) -> None:
        older = self._older.get(key)
        if older:
            self.newest[key] = older.pop()
        else:
            del self.newest[key]


class Found:
    """The sound records of a folder's segments, as far as they were there at the last look.

    Args:
        folder: holds the segments.
        ignored: name -> bytes at the start of a segment that are not looked at.
    """

    def __init__(self, folder: Path, ignored: Mapping[str, int]) -> None:
        self._folder = folder
        self._ignored = ignored
        self._within: dict[bytes, bytes] = {}
        self._reader: tuple[str, FileIO] | None = None
        self._forget()

    def _forget(self) -> None:
        self._results, self._contexts = _Index(), _Index()
        self._scanned = {name: (size, size) for name, size in self._ignored.items()}

    def __len__(self) -> int:
        return len(self._results.newest)

    def __contains__(self, key: bytes) -> bool:
        return key in self._results.newest

    def places(self) -> list[tuple[bytes, bytes]]:
        """Key and context of every result."""
        return [(key, place.within) for key, place in self._results.newest.items()]

    def refresh(self) -> None:
        """Look for new records, and forget those of segments that were deleted.

        Raises:
            UsageError: the folder cannot be listed.
        """
        sizes = segment_sizes(self._folder)
        if self._scanned.keys() - sizes.keys():
            self._ignored = {name: size for name, size in self._ignored.items() if name in sizes}
            self._forget()
        for name, size in sizes.items():
            self.scan(name, size)

    def scan(self, name: str, size: int) -> None:
        """Add what a segment of so many bytes holds beyond what is known of it."""
        start, seen = self._scanned.get(name, (0, 0))
        if size == seen:
            return
        try:
            with FileIO(self._folder / name) as file:
                for offset, header in scan(file, start, size):
                    self._add(name, offset, header)
                    start = offset + header.size
        except FileNotFoundError:
            return
        except OSError as error:
            path = self._folder / name
            log.warning("%s: cannot be read: %s; what it holds counts as not measured", path, error.strerror)
        self._scanned[name] = start, size

    def _add(self, name: str, offset: int, header: Header) -> None:
        place = _Place(name, offset, self._within.setdefault(header.within, header.within))
        if header.kind == RESULT:
            self._results.add(header.key, place)
        elif header.kind == CONTEXT:
            self._contexts.add(header.key, place)

    def value(self, key: bytes) -> Array | None:
        """The newest sound result of a key; None where there is none."""
        return self._newest_sound(self._results, key, read_value)

    def description(self, key: bytes) -> Description | None:
        """What the newest sound result of a key says of itself; None where there is none."""
        return self._newest_sound(self._results, key, read_description)

    def facts(self, context: bytes) -> Facts:
        """Facts of a context and those around it, as far as they can still be read."""
        chain = []
        while context != NOTHING:
            found = self._newest_sound(self._contexts, context, _read_context)
            if found is None:
                break
            chain.append(found.facts)
            context = found.header.within
        return {name: value for facts in reversed(chain) for name, value in facts.items()}

    def _newest_sound(self, index: _Index, key: bytes, read: Callable[[FileIO, int, bytes], T]) -> T | None:
        while key in index.newest:
            place = index.newest[key]
            try:
                return read(self._open(place.segment), place.offset, key)
            except FileNotFoundError:
                log.debug("%s is gone", place.segment)
            except (OSError, DamagedRecordError) as error:
                path = self._folder / place.segment
                log.warning("%s: damaged record at %d counts as not measured: %s", path, place.offset, error)
            index.drop_newest(key)
        return None

    def _open(self, name: str) -> FileIO:
        """The segment, which stays open until another one is read."""
        if self._reader is None or self._reader[0] != name:
            self.close()
            self._reader = name, FileIO(self._folder / name)
        return self._reader[1]

    def close(self) -> None:
        """Close the segment that was read last."""
        if self._reader is not None:
            with suppress(OSError):
                self._reader[1].close()
            self._reader = None


def _read_context(file: FileIO, offset: int, key: bytes) -> Description:
    """A context whose fingerprint is the one that it goes by: chains of them cannot be closed to a ring."""
    found = read_description(file, offset, key)
    within = None if found.header.within == NOTHING else found.header.within.hex()
    if fingerprint(found.facts, within) != key.hex():
        raise DamagedRecordError("it is not what its fingerprint says")
    return found
