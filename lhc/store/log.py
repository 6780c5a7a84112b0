"""An append-only log of finished evaluations: what was measured once is there after any kill.

A result is a small array under a key, the fingerprint of all that it depends on. Facts say what it is; facts that many
results share form *contexts*, which lie within each other and are written once for all results of a run:

>>> import numpy as np, tempfile
>>> with tempfile.TemporaryDirectory() as folder, ResultLog(folder) as log:
...     run = log.context({"model": "9f3c", "hardware": {"rows": 512}, "seed": 0})
...     placed = log.context({"placement": ["conv1", "fc"]}, within=run)
...     unit: Facts = {"draw": 3, "start": 128}
...     key = fingerprint(unit, within=placed)
...     if log.get(key) is None:
...         log.put(key, np.array([1.0, 0.0, 1.0]), unit, within=placed)
...     print(log.get(key), [entry.facts["placement"] for entry in log.entries({"model": "9f3c"})])
[1. 0. 1.] [['conv1', 'fc']]

**Many processes, no locks.** Each log makes a *segment* of its own when it first puts a result, under a name that
nobody else draws, and never writes into another's. Nothing is interleaved, and nobody repairs the file of a living
writer that looks dead; file systems without locks serve as well as any. Results of others are seen at the next opening
or `refresh`. Two processes that measure the same thing at the same time both write it. The price is one file for each
run that measured anything.

**Kills.** A result counts once its record is whole. What a kill leaves of one is the end of its segment: it is passed
over, and the next run writes a segment of its own.

**Loss of power.** `put` gives the record to the operating system before it returns, so that only the computer itself
can lose it. A `put` a second or more after the last sync, and the first one, sync: at most the results of one second
are lost, for at most one sync a second.

**A full disk.** Half a record is taken back, all before it stays, and the error says what to do.

**Damage.** A damaged record is passed over with a warning, and those behind it are found. Where a key is there more
than once, the newest sound record counts. ``lhc.store.records`` has the bytes; nothing is unpickled.
"""

import errno
import re
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from lhc.errors import LhcError, UsageError
from lhc.store.facts import Entry, Facts, fingerprint, matches
from lhc.store.reading import Found
from lhc.store.records import NOTHING, Array, encode_context, encode_result
from lhc.store.segments import Opener, Segment, claim, new_segment, segment_sizes

__all__ = ["ResultLog"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_KEY = re.compile("[0-9a-f]{64}")


class _Context(NamedTuple):
    """Facts that results will share; ``merged`` has those of the contexts around it too."""

    facts: Facts
    within: str | None
    merged: Facts


class ResultLog:
    """Results of finished evaluations in a folder, shared with other processes and later runs.

    Threads may share one. A context manager: leaving it syncs and closes the files.

    Args:
        folder: made where there is none; one that cannot be written to can still be read.
        fresh: results that lie there already are not looked at; new ones go before them from now on.
        opener: opens segments for writing.

    Raises:
        UsageError: the folder is a file, cannot be made or read, or was written by a newer lhc.
    """

    def __init__(self, folder: str | Path, *, fresh: bool = False, opener: Opener = FileIO) -> None:
        self.folder = Path(folder)
        claim(self.folder)
        self._opener = opener
        self._lock = threading.RLock()
        self._segment: Segment | None = None
        self._contexts: dict[str, _Context] = {}
        self._found = Found(self.folder, segment_sizes(self.folder) if fresh else {})
        self._found.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, key: str) -> bool:
        return _raw(key) in self._found

    def keys(self) -> list[str]:
        """Keys of all results."""
        with self._lock:
            return [key.hex() for key, _ in self._found.places()]

    @property
    def total_bytes(self) -> int:
        """Bytes on disk, of all segments."""
        return sum(segment_sizes(self.folder).values())

    def get(self, key: str) -> Array | None:
        """The result of a key; None where there is none, or only damaged ones (a warning says so).

        Args:
            key: 64 hexadecimal digits.
        """
        with self._lock:
            return self._found.value(_raw(key))

    def context(self, facts: Facts, within: str | None = None) -> str:
        """Introduce facts that many results share; nothing is written before a result needs it.

        Args:
            facts: names and values; no name may be one of the outer context's.
            within: the outer context.

        Returns:
            The fingerprint of the facts, for ``within`` of results, further contexts and `fingerprint`.

        Raises:
            ValueError: the outer context was not introduced to this log, or a name is said twice.
        """
        name = fingerprint(facts, within)
        self._contexts[name] = _Context(facts, within, {**self._outer_facts(within, facts), **facts})
        return name

    def put(self, key: str, value: Array, facts: Facts | None = None, within: str | None = None) -> None:
        """Keep a result, safe from any kill of this process once this returns; nothing where the key is there.

        Args:
            key: 64 hexadecimal digits, from `fingerprint`.
            value: booleans, integers or floats; any shape.
            facts: what tells it from others of its context; no name may be one of the context's.
            within: the context.

        Raises:
            DataError: an array of such elements, or so large, cannot be kept.
            LhcError: the disk is full; what is there is kept, and more can be put once there is room.
            UsageError: the folder cannot be written to.
            ValueError: the context was not introduced to this log, or a name is said twice.
        """
        raw, facts = _raw(key), facts or {}
        with self._lock:
            if raw in self._found:
                return
            self._outer_facts(within, facts)
            record = encode_result(raw, value, facts, NOTHING if within is None else _raw(within))
            try:
                self._append(within, record)
            except OSError as error:
                raise self._refusal(error) from error

    def refresh(self) -> int:
        """Look for results that other processes have put since; costs a look at each segment's size.

        Returns:
            How many results there are more than before.

        Raises:
            UsageError: the folder cannot be listed.
        """
        with self._lock:
            before = len(self)
            self._found.refresh()
            return len(self) - before

    def entries(self, where: Facts | None = None) -> Iterator[Entry]:
        """Results with their facts, without their values.

        Args:
            where: only those that have all of these facts.
        """
        wanted = where or {}
        with self._lock:
            places = self._found.places()
        outer: dict[bytes, Facts] = {}
        inner: dict[bytes, Facts | None] = {}
        for key, within in places:
            with self._lock:
                if within not in outer:
                    outer[within] = self._found.facts(within)
                    inner[within] = _left(wanted, outer[within])
                left = inner[within]
                found = None if left is None else self._found.description(key)
            if left is not None and found is not None and matches(found.facts, left):
                facts = {**outer[within], **found.facts}
                yield Entry(key.hex(), facts, found.dtype, found.shape, found.header.size)

    def clear(self) -> None:
        """Delete all results in the folder, those of other processes too.

        Raises:
            UsageError: they cannot be deleted.
        """
        with self._lock:
            self.close()
            try:
                for name in segment_sizes(self.folder):
                    (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise UsageError(f"{error.filename}: cannot be deleted: {error.strerror}") from error
            finally:
                self._found.refresh()

    def close(self) -> None:
        """Sync and close the files; a log that is used again after that opens others.

        Raises:
            LhcError: the disk refused the last results.
        """
        with self._lock:
            self._found.close()
            segment, self._segment = self._segment, None
            try:
                if segment is not None:
                    segment.close()
            except OSError as error:
                raise self._refusal(error) from error

    def _outer_facts(self, within: str | None, facts: Facts) -> Facts:
        """Facts of a context and those around it, none of which may be said again."""
        if within is None:
            return {}
        if within not in self._contexts:
            raise ValueError(f"context {within} was not introduced to this log")
        merged = self._contexts[within].merged
        if twice := merged.keys() & facts.keys():
            raise ValueError(f"facts that the context has already: {', '.join(sorted(twice))}")
        return merged

    def _append(self, within: str | None, record: bytes) -> None:
        """Write a result, after those contexts around it that the segment has not got."""
        segment = self._writable()
        records, added = [record], set()
        while within is not None and within not in segment.contexts:
            context = self._contexts[within]
            outer = NOTHING if context.within is None else _raw(context.within)
            records.insert(0, encode_context(_raw(within), context.facts, outer))
            added.add(within)
            within = context.within
        segment.append(b"".join(records))
        segment.contexts |= added
        self._found.scan(segment.path.name, segment.end)

    def _writable(self) -> Segment:
        if self._segment is not None and not self._segment.usable:
            self._segment.close()
            self._segment = None
        if self._segment is None:
            self._segment = Segment(new_segment(self.folder), self._opener)
        return self._segment

    def _refusal(self, error: OSError) -> LhcError:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            return LhcError(
                f"{self.folder}: no room for more results ({reason}); the {len(self)} there are kept: free some space,"
                " or move the folder to a larger disk and name it (--work-dir), then run the same command again"
            )
        return UsageError(f"{self.folder}: results cannot be written: {reason}; choose another folder (--work-dir)")


def _left(wanted: Facts, context: Facts) -> Facts | None:
    """What results of this context must still match; None where the context itself does not."""
    if not matches(context, {name: value for name, value in wanted.items() if name in context}):
        return None
    return {name: value for name, value in wanted.items() if name not in context}


def _raw(key: str) -> bytes:
    if not _KEY.fullmatch(key):
        raise ValueError(f"a key is 64 hexadecimal digits, got {key!r}")
    return bytes.fromhex(key)
