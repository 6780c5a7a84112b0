"""Programmed matrices, kept as long as they fit: many placements share the tiles of a layer, draw and time."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from lhc.conductances import ProgrammedMatrix

__all__ = ["Bank"]


@dataclass(eq=False)
class Bank:
    """The most recently used matrices.

    Attributes:
        limit: bytes that may be kept.
    """

    limit: int
    _kept: OrderedDict[Hashable, ProgrammedMatrix] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, key: Hashable, make: Callable[[], ProgrammedMatrix]) -> ProgrammedMatrix:
        """The matrix of a key; made where it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        self._kept[key] = made
        self._bytes += made.nbytes
        while self._bytes > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return made
