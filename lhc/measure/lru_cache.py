"""LRU cache of values that the next units of work may need, and of tensors of one block."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from lhc.samples.metrics import Array

__all__ = ["CallTensors", "RecentlyUsed"]

T = TypeVar("T")


class RecentlyUsed:
    """The most recently used values."""

    def __init__(self, most: int) -> None:
        """``most``: how many values."""
        self._most = most
        self._values: OrderedDict[Hashable, object] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        """Whether its value is kept."""
        return key in self._values

    def make_room(self) -> None:
        """Forget what the next value would take the place of."""
        if len(self._values) == self._most:
            self._values.popitem(last=False)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made where it is not kept."""
        if key not in self._values:
            self.make_room()  # before: programmed chips are large
            self._values[key] = make()
        self._values.move_to_end(key)
        value: T = self._values[key]  # type: ignore[assignment]
        return value


class CallTensors:
    """Tensors before all analog layers of a placement, for the calls of one block: the same for all chips."""

    def __init__(self, limit: int) -> None:
        """``limit``: bytes that may be kept."""
        self._limit = limit
        self._key: Hashable = None
        self._calls: dict[int, Mapping[str, Array]] = {}
        self._bytes = 0

    def get(self, key: Hashable, call: int, make: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """The tensors of a call; those of another block or placement are forgotten."""
        if key != self._key:
            self._key, self._calls, self._bytes = key, {}, 0
        if call in self._calls:
            return self._calls[call]
        made = make()
        size = sum(getattr(array, "nbytes", 0) for array in made.values())  # a sequence has none
        if self._bytes + size <= self._limit:
            self._calls[call] = made
            self._bytes += size
        return made
