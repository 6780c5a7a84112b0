"""Memory of large arrays is used again, by one array at a time, and is not kept without end."""

import numpy as np
import pytest

from lhc.support import memory
from lhc.support.memory import give_back, large_empty

LARGE = 2**23
"""Numbers of an array that is kept."""


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    give_back()


def _address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_memory_is_used_again_once_no_view_is_left() -> None:
    first = large_empty((2, LARGE // 2))
    first[:] = 3
    view, place = first.reshape(-1)[5:9], _address(first)
    del first
    second = large_empty((LARGE,))
    second[:] = 4
    assert _address(second) != place
    assert (view == 3).all()
    del view
    third = large_empty((LARGE - 7,))
    assert _address(third) == place
    assert third.shape == (LARGE - 7,)
    assert third.flags.writeable
    assert place % 64 == 0
    assert (second == 4).all()


def test_little_is_kept_and_less_where_memory_is_given_back() -> None:
    held = [large_empty((LARGE,)) for _ in range(20)]
    assert len({_address(array) for array in held}) == 20
    held.clear()
    assert sum(map(len, memory._free)) == 8 * 4 * LARGE
    give_back()
    assert not memory._free


def test_small_arrays_are_numpys_own() -> None:
    assert large_empty((3, 4)).base is None
