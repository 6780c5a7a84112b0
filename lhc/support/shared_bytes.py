"""Bytes that are in memory once, however many messages name them: a message would copy its own at every use."""

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from lhc.support.memory.large_arrays import forget_free

__all__ = ["HELD", "SharedBytes", "forget_pages", "give_back", "large_pieces_apart"]

HELD = "lhc-memory:"
"""Begins the name of what is held; no path of a loaded model begins so, since these are absolute."""

_LEAST_MAPPED, _MOST_KEPT = -3, -1
"""glibc's numbers (malloc.h) of the least piece that is mapped by itself, and of what the end of the heap may keep."""

_known: "WeakValueDictionary[str, SharedBytes]" = WeakValueDictionary()


class SharedBytes:
    """Bytes under a name that no others have, as long as somebody has this object."""

    def __init__(self, data: npt.NDArray[np.uint8], name: str = "") -> None:
        """Take an array, which nobody changes from now on; in another process, under the name that it had."""
        self.name = name or f"{HELD}{uuid4().hex}"
        self.data = data
        data.flags.writeable = False
        _known[self.name] = self

    def __reduce__(self) -> "tuple[type[SharedBytes], tuple[npt.NDArray[np.uint8], str]]":
        return SharedBytes, (self.data, self.name)

    @staticmethod
    def named(name: str) -> "SharedBytes":
        """Protocol of objects that have a name.

        Raises:
            KeyError: nothing has.
        """
        return _known[name]


def give_back() -> None:
    """Give memory that was freed back to the system, where we or its C library (glibc) keep it for later."""
    forget_free()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def large_pieces_apart() -> Iterator[None]:
    """Have large pieces of memory that are taken meanwhile go back to the system once they are freed (glibc).

    Its C library learns from every such piece to keep the next ones of up to 32 MiB for later, between others that
    live on. So it does behind this, as tensors come and go; a session's copies of weights do not come again. What we
    keep for later goes back before.
    """
    forget_free()
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
