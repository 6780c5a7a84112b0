"""Python's search for garbage, left out while what is made stays: modules, their classes, machine code."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["look_again", "uncollected"]

_MANY = 50_000
"""Objects that a search walks in some milliseconds; loading PyTorch makes five times as many."""


@contextmanager
def uncollected(loads: bool = False) -> Iterator[None]:
    """Look for no garbage here: that is a quarter of the time that loading PyTorch takes, a fifth of compiling.

    Args:
        loads: nothing but modules is made; where others were set aside for good, these are as well.
    """
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            look_again(loads and _much_was_made() and gc.get_freeze_count() > 0)


def look_again(for_good: bool = False) -> None:
    """Look for garbage from now on; what was made meanwhile counts as old, as what has survived searches does.

    Otherwise the next three searches would walk all of it.

    Args:
        for_good: set it aside, and no search finds it: as a command does, which ends anyway. The first search of old
            objects takes a twelfth of a dry run of digits. If not, nothing is kept for good.
    """
    if for_good or (_much_was_made() and not gc.get_freeze_count()):
        gc.freeze()
        if not for_good:
            gc.unfreeze()
    gc.enable()


def _much_was_made() -> bool:
    """Since the last search; only then is it worth counting what was set aside for good, which walks all of it."""
    return gc.get_count()[0] > _MANY
