"""Memory: large arrays whose memory is used again once nobody holds them, and what goes back to the system.

A C library takes memory for pieces above 32 MiB from the system at every call, page by page, each filled with zeros.
That may take as long as to compute what is put there. Theirs begins with a line of the cache, too.
"""

import ctypes
import mmap
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

_LEAST = 2**22
"""Bytes of an array that is worth it."""
_KEPT = 2**28
"""Most bytes that are kept for later; what comes back beyond them replaces the oldest."""

_LEAST_MAPPED, _MOST_KEPT = -3, -1
"""glibc's numbers (malloc.h) of the least piece that is mapped by itself, and of what the end of the heap may keep."""

_free: list[mmap.mmap] = []


def large_empty(shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """``numpy.empty`` for single-precision numbers."""
    size = 4 * prod(shape)
    if size < _LEAST:
        return np.empty(shape, np.float32)
    piece = _taken(size) or _mapped(size)
    values = np.frombuffer(piece, np.float32, size // 4)
    # Every view of it holds it, and it alone holds the piece.
    weakref.finalize(values, _keep_for_later, piece).atexit = False
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


def _keep_for_later(piece: mmap.mmap) -> None:
    _free.append(piece)
    while sum(map(len, _free)) > _KEPT:
        _free.pop(0)


def _forget_free() -> None:
    """Give back what is kept for later."""
    _free.clear()


def give_back() -> None:
    """Give memory that was freed back to the system, where we or its C library (glibc) keep it for later."""
    _forget_free()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def large_pieces_apart() -> Iterator[None]:
    """Have large pieces of memory that are taken meanwhile go back to the system once they are freed (glibc).

    Its C library learns from every such piece to keep the next ones of up to 32 MiB for later, between others that
    live on. So it does behind this, as tensors come and go; a session's copies of weights do not come again. What we
    keep for later goes back before.
    """
    _forget_free()
    _set_malloc(_LEAST_MAPPED, 2**20)
    try:
        yield
    finally:
        _set_malloc(_LEAST_MAPPED, 2**25)
        _set_malloc(_MOST_KEPT, 2**26)


def _set_malloc(parameter: int, value: int) -> None:
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(parameter, value)


def forget_pages(array: npt.NDArray[Any]) -> None:
    """Take what was read of a mapped file out of memory; who looks at the array again reads it from there."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        with suppress(AttributeError, OSError):  # not every system has it
            base.madvise(mmap.MADV_DONTNEED)
