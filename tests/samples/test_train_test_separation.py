"""Samples that train and samples that judge are different ones, and of one kind."""

import numpy as np
import pytest

from lhc.errors import UsageError
from lhc.models import zoo_entry
from lhc.samples.metrics import get_metric
from lhc.samples.task import Task
from lhc.samples.train_test_separation import check_calibration_separation, check_separation, split_off

pytestmark = pytest.mark.analog


def test_some_of_the_samples_that_train_do_not_judge_either(digits: Task, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match="are among those that train"):
        check_separation(digits, digits.take(np.arange(300, 400)))
    check_separation(digits.take(np.arange(500)), digits.take(np.arange(490, 590)))
    assert "10 % of the samples that judge are in the training data too" in caplog.text
    caplog.clear()
    check_separation(digits.take(np.arange(500)), digits.take(np.r_[500:780, 0:140]))  # wherever they are
    assert "33 % of the samples that judge are in the training data too" in caplog.text
    caplog.clear()
    check_separation(digits.take(np.arange(500)), digits.take(np.arange(500, 600)))
    assert not caplog.text


@pytest.mark.parametrize(("calibrating", "judging"), [(60, 300), (300, 60)], ids=["all calibrate", "all judge"])
def test_no_samples_both_calibrate_and_judge(digits: Task, calibrating: int, judging: int) -> None:
    with pytest.raises(UsageError, match="chips would look better than they are; leave --calibrate out"):
        check_calibration_separation(digits.head(calibrating), digits.head(judging))


def test_some_samples_that_judge_and_calibrate_are_told(digits: Task, caplog: pytest.LogCaptureFixture) -> None:
    check_calibration_separation(digits.take(np.arange(200)), digits.take(np.arange(180, 220)))
    assert "50 % of the samples that judge chips are among those that calibrate them" in caplog.text


@pytest.mark.parametrize(("scale", "warned"), [(2.0, False), (255.0, True), (1 / 255, True)])
def test_training_data_on_another_scale_is_warned_of(
    scale: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    judging = zoo_entry("digits-narrow").task()
    images = np.asarray(judging.inputs["x"])
    training = Task({"x": images[::-1] * np.float32(scale)}, None, get_metric("agreement"))

    check_separation(training, judging)

    assert ("input 'x'" in caplog.text and "preprocessed" in caplog.text) == warned


def _text(documents: int) -> Task:
    x = np.arange(60, dtype=np.float32)[:, None]
    return Task({"x": x}, None, get_metric("kl"), documents=np.arange(60) % documents)


def test_documents_train_or_judge(caplog: pytest.LogCaptureFixture) -> None:
    train, judge = split_off(_text(10), 4, 5)

    assert set(np.asarray(train.documents)).isdisjoint(np.asarray(judge.documents))
    assert (train.document_count, judge.document_count) == (8, 2)
    x = np.concatenate([np.asarray(part.inputs["x"]).ravel() for part in (train, judge)])
    assert sorted(x.tolist()) == list(range(60))
    assert not caplog.text


def test_too_few_documents_are_dealt_by_their_windows_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    train, judge = split_off(_text(4), 4, 5)

    assert (len(train), len(judge)) == (48, 12)
    assert "4 documents cannot be split into 5 parts" in caplog.text


@pytest.mark.parametrize("masked", [True, False], ids=["with a mask", "without"])
def test_a_text_that_is_filled_up_to_another_length_is_the_same_text(masked: bool) -> None:
    """Windows of a file are filled up to the longest of that file."""
    rng = np.random.default_rng(0)
    tokens = [rng.integers(1, 90, rng.integers(3, 20)) for _ in range(30)]

    def task(length: int) -> Task:
        ids, mask = np.zeros((30, length), np.int64), np.zeros((30, length), np.int64)
        for row, one in enumerate(tokens):
            ids[row, : len(one)], mask[row, : len(one)] = one, 1
        places = np.zeros_like(ids) + np.arange(length)
        inputs = {"input_ids": ids, "position_ids": places} | ({"attention_mask": mask} if masked else {})
        return Task(inputs, ids, get_metric("nll"))

    with pytest.raises(UsageError, match="most of the samples that judge are among those that train"):
        check_separation(task(40), task(20))


@pytest.mark.parametrize("shape", [(40,), (40, 1)], ids=str)
def test_strings_are_compared_by_their_text(shape: tuple[int, ...]) -> None:
    def task(first: int) -> Task:
        words = np.array([f"word {n}" for n in range(first, first + 40)], object).reshape(shape)
        return Task({"x": words}, np.zeros(40), get_metric("accuracy"))

    check_calibration_separation(task(0), task(1000))
    with pytest.raises(UsageError, match="most of the samples"):
        check_calibration_separation(task(0), task(5))
