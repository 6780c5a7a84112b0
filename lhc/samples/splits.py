"""Order placements on a quarter of the samples, at most 1,000; test them on all others.

The permutation is fixed (it does not depend on the run's seed) and stratified by label where targets are class
indices. Under 400 samples nothing is split, and results are marked as not held out. Chips are calibrated on samples
that test nothing: on the first of those that order, where there are enough to split, else on a quarter at most. Where
nothing is tested, as in ``lhc compile``, a quarter that is too little does not bound them.

Samples keep the order of the data, unless that is sorted by class: the first of them would hold few classes, so they
are dealt by the permutation.

Samples of one document (`Task.documents`) stay together: a quarter of the documents orders, in a fixed permutation
without regard to labels, and none that calibrates is judged. Under 8 documents, or 400 labels (of a text, tokens that
are predicted), nothing is split. A single document is dealt by its samples, so that chips can be calibrated at all.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lhc.samples.class_order import PERMUTATION_SEED, mixed_places, stratified_order
from lhc.samples.metrics import IGNORED
from lhc.samples.task import Task
from lhc.stats import members

MIN_SPLIT_SAMPLES = 400
MIN_SPLIT_DOCUMENTS = 8
"""A quarter of which are two: one says nothing of others."""
SPLIT_PARTS = 4
"""One of them ranks layers and guides the search."""
MOST_RANKING = 1000
"""Samples that do so: an order takes no more, and every other one narrows what is tested."""


@dataclass(frozen=True, eq=False)
class Splits:
    """Samples by what they are for; the same task three times where it was too small to split.

    Attributes:
        rank: for the sensitivities of layers and for the search.
        verify: for the tests.
        judged: for what takes all samples: those that chips are not calibrated on.
        held_out: whether the samples that verify took no part in ranking and search.
        calibrate: what chips are calibrated on; samples that rank, where there are enough to split. None: nothing.
    """

    rank: Task
    verify: Task
    judged: Task
    held_out: bool
    calibrate: Task | None = None


def split_task(task: Task, calibrating: int = 0) -> Splits:
    """Split a task's samples.

    Args:
        calibrating: most of them that chips are calibrated on; a single sample is judged instead.
    """
    every, documents = np.arange(len(task)), task.document_count
    if documents is not None and documents > 1:
        ranking, kept = _whole_documents(documents_in_order(task), calibrating)
    else:
        order = stratified_order(task)
        ranking = mixed_places(task, _spread(order, min(-(-len(order) // SPLIT_PARTS), MOST_RANKING)))
        kept = ranking[: calibrating if len(task) > 1 else 0]
    judged = task.take(np.setdiff1d(every, kept)) if len(kept) else task
    # Of documents that calibrate more samples may have been set aside than are asked for.
    calibrate = task.take(kept[:calibrating]) if len(kept) else None
    if _answers(task) < MIN_SPLIT_SAMPLES or (documents is not None and documents < MIN_SPLIT_DOCUMENTS):
        return Splits(judged, judged, judged, held_out=False, calibrate=calibrate)
    rank, verify = task.take(ranking), task.take(np.setdiff1d(every, ranking))
    return Splits(rank, verify, judged, held_out=True, calibrate=calibrate)


def calibrating_task(task: Task, count: int) -> Task | None:
    """Calibration samples, which judge nothing; None where `split_task` sets none aside.

    That is what it sets aside, or where this is less than asked for, as many of all samples.
    """
    kept = split_task(task, count).calibrate
    wanted = min(count, len(task))
    if kept is None or len(kept) >= wanted:
        return kept
    return task.take(mixed_places(task, _spread(stratified_order(task), wanted)))


def _answers(task: Task) -> int:
    """Answers that can be right or wrong: samples, or all questions of a document."""
    if task.documents is None or task.targets is None or task.targets.dtype.names is not None:
        return len(task)  # targets with fields, e.g. answers within a text, are one a sample
    return int(np.count_nonzero(task.targets != IGNORED))


def documents_in_order(task: Task) -> list[npt.NDArray[np.intp]]:
    """Samples of every document, documents in a fixed permutation."""
    assert task.documents is not None
    found = members(task.documents)
    return [found[one] for one in np.random.default_rng(PERMUTATION_SEED).permutation(len(found))]


def _whole_documents(
    documents: list[npt.NDArray[np.intp]], calibrating: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Samples that rank, and those of them that are set aside to calibrate: as many documents as it takes."""
    ends = np.cumsum([len(one) for one in documents])
    ranks = min(-(-len(documents) // SPLIT_PARTS), max(1, int(np.searchsorted(ends, MOST_RANKING, "right"))))
    ranking = np.concatenate(documents[:ranks])
    calibrates = min(ranks, int(np.searchsorted(ends, calibrating)) + 1) if calibrating else 0
    kept = ranking[: ends[calibrates - 1]] if calibrates else ranking[:0]
    return np.sort(ranking), np.sort(kept)


def _spread(order: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """So many of them, evenly spread."""
    return order[np.arange(count) * len(order) // count]
