from collections.abc import Sequence

import numpy as np
import pytest

from lhc.samples.metrics import IGNORED, get_metric
from lhc.samples.splits import calibrating_task, split_task
from lhc.samples.task import Task


def _task(samples: int, classes: int = 5) -> Task:
    x = np.arange(samples, dtype=np.float32)[:, None]
    return Task({"x": x}, np.random.default_rng(0).integers(0, classes, samples), get_metric("accuracy"))


@pytest.mark.parametrize("samples", [400, 401, 997, 1000])
def test_a_quarter_and_the_rest_without_overlap(samples: int) -> None:
    splits = split_task(_task(samples))
    parts = [set(np.asarray(part.inputs["x"]).ravel().tolist()) for part in (splits.rank, splits.verify)]
    assert splits.held_out
    assert set.union(*parts) == set(range(samples))
    assert sum(map(len, parts)) == samples
    assert [len(part) for part in parts] == pytest.approx([samples / 4, samples * 3 / 4], abs=1)


def test_no_more_samples_rank_than_it_takes() -> None:
    splits = split_task(_task(6000))
    assert (len(splits.rank), len(splits.verify)) == (1000, 5000)


def test_every_class_is_split_evenly() -> None:
    task = _task(1000)
    splits = split_task(task)
    assert task.targets is not None
    for label in range(5):
        total = (task.targets == label).sum()
        for part, share in ((splits.rank, 0.25), (splits.verify, 0.75)):
            assert part.targets is not None
            assert (part.targets == label).sum() == pytest.approx(total * share, abs=1)


def test_few_samples_are_not_split() -> None:
    task = _task(399)
    splits = split_task(task)
    assert not splits.held_out
    assert splits.rank is splits.verify is task


@pytest.mark.parametrize("samples", [2, 20, 399, 400, 1000])
@pytest.mark.parametrize("wanted", [1, 16, 256])
def test_samples_that_calibrate_judge_nothing(samples: int, wanted: int) -> None:
    splits = split_task(_task(samples), wanted)
    calibrate, judged, verify = (
        set(np.asarray(part.inputs["x"]).ravel().tolist())
        for part in (splits.calibrate, splits.judged, splits.verify)
        if part is not None
    )
    assert len(calibrate) == min(wanted, -(-samples // 4))
    assert calibrate | judged == set(range(samples))
    assert calibrate.isdisjoint(judged | verify)


@pytest.mark.parametrize(("samples", "found"), [(2, 2), (300, 256), (700, 256), (1097, 256)])
def test_where_nothing_is_judged_all_samples_may_calibrate(samples: int, found: int) -> None:
    """And where a quarter is enough, they are the same as elsewhere."""
    task = _task(samples)
    calibrating, kept = calibrating_task(task, 256), split_task(task, 256).calibrate
    assert calibrating is not None
    assert kept is not None
    assert len(set(np.asarray(calibrating.inputs["x"]).ravel().tolist())) == len(calibrating) == found
    assert (calibrating.digest == kept.digest) == (len(kept) == found)


def test_a_single_sample_is_judged() -> None:
    splits = split_task(_task(1), 16)
    assert splits.calibrate is None
    assert len(splits.judged) == 1


def test_split_is_the_same_every_time() -> None:
    first, second = split_task(_task(500)), split_task(_task(500))
    np.testing.assert_array_equal(first.verify.inputs["x"], second.verify.inputs["x"])


def test_parts_are_read_from_the_samples_and_not_copied() -> None:
    x = np.arange(500, dtype=np.float32)[:, None]
    splits = split_task(Task({"x": x}, None, get_metric("kl")))
    parts = (splits.rank, splits.verify)
    before = [np.array(part.inputs["x"]) for part in parts]
    x += 1000
    for part, values in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part.inputs["x"], values + 1000)


def _text(sizes: Sequence[int]) -> Task:
    """Samples whose input is their place, documents in any order."""
    documents = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)) * 3, sizes))
    x = np.arange(len(documents), dtype=np.float32)[:, None]
    return Task({"x": x}, None, get_metric("kl"), documents=documents)


def _places(task: Task | None) -> set[int]:
    return set() if task is None else set(np.asarray(task.inputs["x"], np.int64).ravel().tolist())


def _documents(task: Task | None) -> set[int]:
    return set() if task is None else set(np.asarray(task.documents).tolist())


@pytest.mark.parametrize("calibrating", [0, 1, 30, 5000])
def test_documents_are_dealt_whole(calibrating: int) -> None:
    task = _text([1, 9, 3, 40, 2] * 20)
    splits = split_task(task, calibrating)

    assert splits.held_out
    assert len(_documents(splits.rank)) == 25
    assert len(_documents(splits.verify)) == 75
    assert _documents(splits.rank).isdisjoint(_documents(splits.verify))
    assert _places(splits.rank) | _places(splits.verify) == set(range(len(task)))
    assert len(_places(splits.calibrate)) == min(calibrating, len(splits.rank))
    assert _documents(splits.calibrate) <= _documents(splits.rank)
    assert _documents(splits.calibrate).isdisjoint(_documents(splits.judged))
    assert (splits.calibrate is None) == (calibrating == 0)
    for part in (splits.rank, splits.verify, splits.judged):
        assert np.asarray(task.documents)[sorted(_places(part))].tolist() == np.asarray(part.documents).tolist()


def test_no_more_windows_rank_than_it_takes() -> None:
    splits = split_task(_text([300] * 20))
    assert (len(splits.rank), len(splits.verify)) == (900, 5100)
    assert len(split_task(_text([2000] * 8)).rank) == 2000, "one document at least"


def _predicted(windows: int, tokens: int) -> Task:
    """Windows of a text, each a document, the last of whose places are padding."""
    targets = np.zeros((windows, tokens + 1), np.int64)
    targets[:, -1] = IGNORED
    return Task({"x": np.zeros((windows, 1), np.float32)}, targets, get_metric("nll"), documents=np.arange(windows))


@pytest.mark.parametrize(("windows", "tokens", "held_out"), [(8, 50, True), (8, 49, False), (7, 400, False)])
def test_a_window_counts_by_the_tokens_that_it_predicts(windows: int, tokens: int, held_out: bool) -> None:
    splits = split_task(_predicted(windows, tokens), 1)
    assert splits.held_out == held_out
    assert _documents(splits.rank).isdisjoint(_documents(splits.verify)) == held_out


def test_few_documents_are_not_split_but_calibrate() -> None:
    splits = split_task(_text([100] * 7), 16)
    assert not splits.held_out
    assert splits.calibrate is not None
    assert len(splits.calibrate) == 16
    assert len(splits.judged) == 600
    assert _documents(splits.calibrate).isdisjoint(_documents(splits.judged))


def test_a_single_document_is_dealt_by_its_windows() -> None:
    splits = split_task(_text([8]), 16)
    assert (len(_places(splits.calibrate)), len(splits.judged)) == (2, 6)


def _sorted_by_class(samples: int, classes: int = 10) -> Task:
    x = np.arange(samples, dtype=np.float32)[:, None]
    return Task({"x": x}, np.arange(samples) * classes // samples, get_metric("accuracy"))


@pytest.mark.parametrize("samples", [1000, 10000])
def test_of_samples_sorted_by_class_the_first_that_calibrate_or_rank_hold_every_class(samples: int) -> None:
    splits = split_task(_sorted_by_class(samples), 256)
    assert splits.calibrate is not None
    assert splits.calibrate.targets is not None
    assert splits.rank.targets is not None
    halves = splits.calibrate.targets[:128], splits.calibrate.targets[128:], splits.rank.targets[:128]
    assert all(set(targets.tolist()) == set(range(10)) for targets in halves)
    every = [np.asarray(part.inputs["x"]).ravel() for part in (splits.calibrate, splits.judged)]
    assert np.array_equal(np.sort(np.concatenate(every)), np.arange(samples))


def test_samples_that_are_not_sorted_by_class_keep_their_order() -> None:
    splits = split_task(_task(1000), 256)
    for part in (splits.calibrate, splits.rank, splits.verify):
        assert part is not None
        assert np.all(np.diff(np.asarray(part.inputs["x"]).ravel()) > 0)


def test_documents_of_which_each_sample_has_one_target_with_fields() -> None:
    """Answers within a text are such: `models.squad`."""
    targets = np.zeros(400, [("paragraph", "U8"), ("offsets", np.int32, (4, 2))])
    task = Task({"x": np.arange(400.0)[:, None]}, targets, get_metric("mse"), documents=np.arange(400) // 4)
    splits = split_task(task, 16)
    assert splits.held_out
    assert splits.calibrate is not None
    assert len(splits.rank) + len(splits.verify) == 400
