"""Programmed matrices, kept as long as they fit: many placements share those of a layer."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import RLock
from typing import Generic, Protocol, TypeVar

__all__ = ["Bank"]


class _Held(Protocol):
    """A value that takes memory."""

    @property
    def nbytes(self) -> int:
        """How much."""
        ...


Value = TypeVar("Value", bound=_Held)


@dataclass(eq=False)
class Bank(Generic[Value]):
    """The most recently used values."""

    limit: int
    _kept: OrderedDict[Hashable, Value] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: RLock = field(default_factory=RLock)

    def keeps(self, more: int) -> bool:
        """Whether so many bytes more would make it forget nothing."""
        return self._bytes + more <= self.limit

    def make_room(self, size: int, needed: Callable[[Hashable], bool]) -> None:
        """Forget what is not needed where so many bytes, of which some may be here, do not fit beside it."""
        here = sum(value.nbytes for key, value in self._kept.items() if needed(key))
        if not self.keeps(size - here):
            self._kept = OrderedDict((key, value) for key, value in self._kept.items() if needed(key))
            self._bytes = here

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key; made where it is not kept."""
        found = self.find(key)
        if found is None:
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
            before = self._kept.pop(key, None)
            self._kept[key] = value
            self._bytes += value.nbytes - (0 if before is None else before.nbytes)
            while self._bytes > self.limit:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
