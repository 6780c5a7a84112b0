"""Bytes that are in memory once, however many messages name them: a message would copy its own at every use."""

import ctypes
import mmap
from contextlib import suppress
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

__all__ = ["HELD", "HeldBytes", "forget_pages", "give_back"]

HELD = "lhc-memory:"
"""Begins the name of what is held; no path of a loaded model begins so, since these are absolute."""

_known: "WeakValueDictionary[str, HeldBytes]" = WeakValueDictionary()


class HeldBytes:
    """Bytes under a name that no others have, as long as somebody has this object."""

    def __init__(self, data: npt.NDArray[np.uint8], name: str = "") -> None:
        """Take an array, which nobody changes from now on; in another process, under the name that it had."""
        self.name = name or f"{HELD}{uuid4().hex}"
        self.data = data
        data.flags.writeable = False
        _known[self.name] = self

    def __reduce__(self) -> "tuple[type[HeldBytes], tuple[npt.NDArray[np.uint8], str]]":
        return HeldBytes, (self.data, self.name)

    @staticmethod
    def named(name: str) -> "HeldBytes":
        """What has a name.

        Raises:
            KeyError: nothing has.
        """
        return _known[name]


def give_back() -> None:
    """Give memory that was freed back to the system, where its C library keeps it for later (glibc)."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def forget_pages(array: npt.NDArray[Any]) -> None:
    """Take what was read of a mapped file out of memory; who looks at the array again reads it from there."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        with suppress(AttributeError, OSError):  # not every system has it
            base.madvise(mmap.MADV_DONTNEED)
