"""Python's search for garbage, left out while what is made stays: modules, their classes, machine code."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["look_again", "uncollected"]

_MANY = 50_000
"""Objects that a search walks in some milliseconds; loading PyTorch makes five times as many."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage here: that is a quarter of the time that loading PyTorch takes, a fifth of compiling."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            look_again()


def look_again() -> None:
    """Look for garbage from now on; what was made meanwhile counts as old, as what has survived searches does.

    Otherwise the next three searches would walk all of it. Nothing is kept for good: searches of old objects find it.
    """
    # To count what somebody set aside for good walks all of it, so this is done where much was made.
    if gc.get_count()[0] > _MANY and not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()
    gc.enable()
