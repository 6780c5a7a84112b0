"""Large arrays, whose memory is used again once nobody holds them.

A C library takes memory for pieces above 32 MiB from the system at every call, page by page, each filled with zeros.
That may take as long as to compute what is put there. Theirs begins with a line of the cache, too.
"""

import mmap
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import prod

import numpy as np
import numpy.typing as npt

__all__ = ["forget_free", "large_empty"]

_LEAST = 2**22
"""Bytes of an array that is worth it."""
_KEPT = 2**28
"""Most bytes that are kept for later; what comes back beyond them replaces the oldest."""

_free: list[mmap.mmap] = []


def large_empty(shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """``numpy.empty`` for single-precision numbers."""
    size = 4 * prod(shape)
    if size < _LEAST:
        return np.empty(shape, np.float32)
    piece = _taken(size) or _mapped(size)
    values = np.frombuffer(piece, np.float32, size // 4)
    # Every view of it holds it, and it alone holds the piece.
    weakref.finalize(values, _give_back, piece).atexit = False
    return values.reshape(shape)


def _taken(size: int) -> mmap.mmap | None:
    """The smallest free piece that is large enough; other threads may take it first."""
    for piece in sorted(_free, key=len):
        if len(piece) >= size:
            with suppress(ValueError):
                _free.remove(piece)
                return piece
    return None


def _mapped(size: int) -> mmap.mmap:
    # Not shared: a forked process has its own.
    piece = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(AttributeError, OSError):  # not every system has them
        piece.madvise(mmap.MADV_HUGEPAGE)
    return piece


def _give_back(piece: mmap.mmap) -> None:
    _free.append(piece)
    while sum(map(len, _free)) > _KEPT:
        _free.pop(0)


def forget_free() -> None:
    """Give back what is kept for later."""
    _free.clear()
