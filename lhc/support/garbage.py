"""Python's search for garbage, left out while what is made stays: modules, their classes, machine code."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage here: that is a quarter of the time that loading PyTorch takes, a fifth of compiling."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()
