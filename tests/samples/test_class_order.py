import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhc.samples.class_order import is_sorted_by_class, mixed_by_class
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.samples.train_test_separation import split_off


def _task(targets: list[int]) -> Task:
    return Task({"x": np.arange(len(targets))[:, None]}, np.asarray(targets), get_metric("accuracy"))


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, False),
        ([0.0, 0.0, 1.0, 1.0], False),
        ([[0, 0], [1, 1]], False),
        ([7], False),
        ([7] * 20, False),
        ([0, 1] * 50, False),
        ([3] * 50 + [1] * 50, True),
        (list(range(10)) * 10, False),
        (list(range(100)), False),
        (sorted(list(range(10)) * 10), True),
    ],
)
def test_blocks_of_one_class_count_as_sorted(targets: object, expected: bool) -> None:
    assert is_sorted_by_class(None if targets is None else np.asarray(targets)) is expected


@given(st.integers(2, 20), st.integers(100, 1000), st.integers(0, 2**32 - 1))
@settings(max_examples=50, derandomize=True)
def test_a_random_order_does_not_count_as_sorted(classes: int, samples: int, seed: int) -> None:
    assert not is_sorted_by_class(np.random.default_rng(seed).integers(0, classes, samples))


def test_samples_sorted_by_class_are_mixed_and_others_are_left_alone() -> None:
    ordered, mixed = _task(sorted(list(range(4)) * 50)), _task(list(range(4)) * 50)
    assert mixed_by_class(mixed) is mixed
    found = mixed_by_class(ordered)
    assert found.targets is not None
    assert set(found.targets[:20].tolist()) == set(range(4))
    places = np.asarray(found.inputs["x"]).ravel()
    assert sorted(places.tolist()) == list(range(200))
    assert ordered.targets is not None
    assert np.array_equal(found.targets, ordered.targets[places])


def test_the_first_samples_that_watch_a_training_hold_every_class() -> None:
    for part in split_off(_task(sorted(list(range(4)) * 100)), 1, 3):
        assert part.targets is not None
        assert set(part.targets[:20].tolist()) == set(range(4))
