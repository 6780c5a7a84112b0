"""Where no garbage is looked for, and where again."""

import gc
import subprocess
import sys
import weakref

import pytest

from lhc.support.memory.garbage import look_again, uncollected


def test_garbage_is_looked_for_again_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled(), "the outer one goes on"
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), uncollected():
        _ = 1 / 0
    assert gc.isenabled()


def test_who_looks_for_none_is_left_alone() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


class Ring:
    """Holds itself, so that only a search finds it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_made_meanwhile_is_old_and_still_found() -> None:
    gc.collect()
    with uncollected():
        ring = Ring()
        found = weakref.ref(ring)
        made = [[] for _ in range(100_000)]  # type: ignore[var-annotated]
    assert any(one is made for one in gc.get_objects(generation=2)), "searches of young objects do not walk it"
    del ring
    gc.collect()
    assert found() is None


def test_what_is_loaded_is_set_aside_where_others_were() -> None:
    def made(loads: bool) -> bool:
        """Whether what is made is set aside."""
        with uncollected(loads):
            many = [[] for _ in range(100_000)]  # type: ignore[var-annotated]
        return not any(one is many for one in gc.get_objects())

    gc.unfreeze()
    assert not made(loads=True), "by itself nothing is kept for good"
    try:
        look_again(for_good=True)
        assert made(loads=True)
        assert not made(loads=False)
    finally:
        gc.unfreeze()


def test_a_command_looks_for_none_as_it_ends() -> None:
    code = """
import atexit, gc, sys
atexit.register(lambda: print("set aside:", sum(map(len, map(gc.get_objects, range(3)))) < 1000))
sys.argv = ["lhc", "--version"]
from lhc.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set aside: True\n")
