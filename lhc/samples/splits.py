"""Order placements on a quarter of the samples, at most 1,000; test them on all others.

The permutation is fixed (it does not depend on the run's seed) and stratified by label where targets are class
indices. Under 400 samples nothing is split, and results are marked as not held out. Chips are calibrated on samples
that test nothing: on some of those that order, where there are enough to split, else on a quarter at most.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lhc.samples.task import Task

__all__ = ["MIN_SPLIT_SAMPLES", "Splits", "split_task", "stratified_order"]

MIN_SPLIT_SAMPLES = 400
SPLIT_PARTS = 4
"""One of them ranks layers and guides the search."""
MOST_RANKING = 1000
"""Samples that do so: an order takes no more, and every other one narrows what is tested."""
_PERMUTATION_SEED = 20250317


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
        task: all samples.
        calibrating: most of them that chips are calibrated on; a single sample is judged instead.
    """
    order = stratified_order(task)
    ranking = np.sort(_spread(order, min(-(-len(order) // SPLIT_PARTS), MOST_RANKING)))
    kept = ranking[: calibrating if len(task) > 1 else 0]
    judged = task.take(np.setdiff1d(order, kept)) if len(kept) else task
    calibrate = task.take(kept) if len(kept) else None
    if len(task) < MIN_SPLIT_SAMPLES:
        return Splits(judged, judged, judged, held_out=False, calibrate=calibrate)
    rank, verify = task.take(ranking), task.take(np.setdiff1d(order, ranking))
    return Splits(rank, verify, judged, held_out=True, calibrate=calibrate)


def _spread(order: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """So many of them, evenly spread."""
    return order[np.arange(count) * len(order) // count]


def stratified_order(task: Task) -> npt.NDArray[np.intp]:
    """A permutation in which every class lies together, so that dealing it out in turn splits every class evenly."""
    order = np.random.default_rng(_PERMUTATION_SEED).permutation(len(task))
    targets = task.targets
    if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu":
        return order
    return order[np.argsort(targets[order], kind="stable")]
