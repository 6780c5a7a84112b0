"""Where the classes of an output lie, and metrics of pictures."""

import numpy as np
import pytest

from lhc.errors import DataError, UsageError
from lhc.samples.class_probabilities import check_class_axis, class_axis, classes_last
from lhc.samples.metrics import IGNORED, METRICS, Array
from lhc.samples.task import Task

RNG = np.random.default_rng(0)
PICTURE = RNG.normal(size=(4, 3, 5, 6)).astype(np.float32)
SHARES = np.exp(PICTURE) / np.exp(PICTURE).sum(axis=1, keepdims=True)
LABELS = RNG.integers(0, 3, (4, 5, 6))


@pytest.mark.parametrize(
    ("output", "targets", "axis"),
    [
        (PICTURE, LABELS, 1),
        (np.moveaxis(PICTURE, 1, -1), LABELS, 3),
        (PICTURE, None, None),
        (SHARES, None, 1),
        (np.moveaxis(SHARES, 1, -1), None, 3),
        (PICTURE[:, :, :3, :3], LABELS[:, :3, :3], 3),  # every axis fits: the last
        (PICTURE, LABELS[:, :4], None),
        (PICTURE, LABELS.astype(np.float32), None),
        (PICTURE[:, :, 0, 0], LABELS[:, 0, 0], 1),
        (PICTURE.astype(np.int8), None, None),
    ],
)
def test_axis_is_shown_by_targets_or_by_probabilities(output: Array, targets: Array | None, axis: int | None) -> None:
    assert class_axis(output, targets) == axis


def test_asked_axis_is_counted_from_the_front() -> None:
    assert check_class_axis(-3, PICTURE.shape, "y") == 1
    for axis in (0, 4, -5, -4):
        with pytest.raises(UsageError, match=rf"--class-axis {axis}: output 'y' has shape"):
            check_class_axis(axis, PICTURE.shape, "y")
    with pytest.raises(UsageError, match="at least two classes"):
        check_class_axis(1, (4, 1, 5), "y")


def test_classes_are_laid_out_last() -> None:
    assert classes_last(PICTURE, None) is PICTURE
    np.testing.assert_array_equal(classes_last(PICTURE, 1), PICTURE.transpose(0, 2, 3, 1))


def test_accuracy_of_pixels_leaves_out_what_is_ignored() -> None:
    labels = LABELS.copy()
    labels[:, 0] = IGNORED
    score = np.asarray(METRICS["accuracy"].score(classes_last(PICTURE, 1), labels))
    right = PICTURE.argmax(axis=1)[:, 1:] == labels[:, 1:]
    np.testing.assert_allclose(score, right.reshape(4, -1).mean(axis=1))
    labels[2] = IGNORED
    with pytest.raises(DataError, match="sample 2 has no label other than -100"):
        METRICS["accuracy"].score(classes_last(PICTURE, 1), labels)


def test_miou_by_hand() -> None:
    targets = np.array([[0, 0, 1, 1, IGNORED]])
    answers = np.array([[0, 1, 1, 1, 2]])
    output = np.eye(4)[answers]
    # Class 0: one of two; class 1: two of three; class 2 only where nothing counts, class 3 nowhere.
    assert METRICS["miou"].score(output, targets) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert METRICS["miou"].score(np.eye(4)[[[0, 0, 1, 1, 3]]], targets) == 1
    with pytest.raises(DataError, match="no label other than -100"):
        METRICS["miou"].score(output, np.full((1, 5), IGNORED))


def test_miou_is_summed_up_from_numbers_of_samples() -> None:
    rng = np.random.default_rng(0)
    output, targets = rng.normal(size=(6, 5, 7, 4)), rng.integers(0, 3, (6, 5, 7))
    targets[rng.random(targets.shape) < 0.2] = IGNORED
    counted, answers = targets != IGNORED, output.argmax(axis=-1)
    pairs = [((answers == c) & counted, targets == c) for c in range(4)]
    expected = np.mean([(found & wanted).sum() / (found | wanted).sum() for found, wanted in pairs])
    summary = METRICS["miou"].summary
    assert summary is not None
    parts = [summary.of_samples(output[start : start + 2], targets[start : start + 2]) for start in (0, 2, 4)]
    assert summary.of_set(np.concatenate(parts)) == METRICS["miou"].score(output, targets) == pytest.approx(expected)


def test_a_task_keeps_its_axis() -> None:
    task = Task({"x": PICTURE}, LABELS, METRICS["accuracy"]).with_class_axis(1)
    assert task.with_metric(METRICS["kl"]).head(2).take(np.arange(1)).class_axis == 1
    assert task.with_class_axis(1) is task
