"""Least-recently-used caches bounded by bytes or by number: programmed matrices, sessions, chips, answers."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


def _nbytes(value: Any) -> int:  # whatever says how large it is
    return int(value.nbytes)


def single(value: object) -> int:
    """Size of a value in a cache that is bounded by the number of values."""
    return 1


@dataclass(eq=False)
class LruCache(Generic[Value]):
    """The most recently used values, as long as they fit; one that does not fit alone is not kept.

    Attributes:
        limit: of all sizes together.
        size: of a value, by default its bytes.
    """

    limit: int
    size: Callable[[Value], int] = _nbytes
    _kept: OrderedDict[Hashable, Value] = field(default_factory=OrderedDict)
    _used: int = 0
    _lock: RLock = field(default_factory=RLock)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def fits(self, more: int) -> bool:
        """Whether it would forget nothing for a value of this size."""
        return self._used + more <= self.limit

    def forget(self, more: int) -> None:
        """Forget the least recently used values that do not fit beside one of this size, e.g. before it is made."""
        with self._lock:
            while self._kept and not self.fits(more):
                _, oldest = self._kept.popitem(last=False)
                self._used -= self.size(oldest)

    def make_room(self, more: int, needed: Callable[[Hashable], bool]) -> None:
        """Forget what is not needed where values of this size, of which some may be here, do not fit beside it."""
        here = sum(self.size(value) for key, value in self._kept.items() if needed(key))
        if not self.fits(more - here):
            self._kept = OrderedDict((key, value) for key, value in self._kept.items() if needed(key))
            self._used = here

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key; made where it is not kept."""
        found = self.find(key)
        if found is None:
            if self.size is single:
                self.forget(1)  # before: sessions and programmed chips are large
            found = make()
            self.keep(key, found)
        return found

    def find(self, key: Hashable) -> Value | None:
        """The value of a key, if it is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: Hashable, value: Value) -> None:
        """Keep a value, and forget the least recently used ones that do not fit beside it."""
        with self._lock:
            if key in self._kept:
                self._used -= self.size(self._kept.pop(key))
            self._kept[key] = value
            self._used += self.size(value)
            self.forget(0)
