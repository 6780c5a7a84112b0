"""Pickles of arrays: read as they were written, and nothing but arrays."""

import array
import os
import pickle

import numpy as np
import pytest

from lhc.models.pickled_arrays import unpickled


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_are_read(protocol: int) -> None:
    held = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": [1, "two"], "c": array.array("H", [3, 4])}

    found = unpickled(pickle.dumps(held, protocol))

    assert found["a"].dtype == np.float32
    np.testing.assert_array_equal(found["a"], held["a"])
    assert found["b"] == held["b"]
    assert found["c"] == held["c"]


@pytest.mark.parametrize("harm", [os.getcwd, eval, np.load], ids=["os", "eval", "numpy"])
def test_what_could_run_code_is_refused(harm: object) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return harm, ("1",)

    with pytest.raises(pickle.UnpicklingError, match="not part of a file of arrays"):
        unpickled(pickle.dumps(Harm()))


def test_an_array_over_memory_of_the_pickles_choice_is_refused() -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return np.ndarray, ((1,), "O", b"A" * 8)

    with pytest.raises(TypeError, match="not callable"):
        unpickled(pickle.dumps(Harm()))
