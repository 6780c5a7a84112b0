"""Rank on a quarter of the samples, select on a quarter, verify on half; calibrate chips on none that verify.

The permutation is fixed (it does not depend on the run's seed) and stratified by label where targets are class
indices. Under 400 samples nothing is split, and results are marked as not held out; where chips are calibrated, a
quarter of the samples at most is kept for that.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lhc.samples.task import Task

__all__ = ["MIN_SPLIT_SAMPLES", "Splits", "split_task", "stratified_order"]

MIN_SPLIT_SAMPLES = 400
SPLIT_PARTS = 4
"""One of them ranks, one selects, the others verify."""
_PERMUTATION_SEED = 20250317


@dataclass(frozen=True, eq=False)
class Splits:
    """Samples by what they are for; the same task four times where it was too small to split.

    Attributes:
        rank: for the sensitivities of layers.
        select: for the search.
        verify: for the verification.
        judged: for what takes all samples: those that chips are not calibrated on.
        held_out: whether the samples that verify took no part in ranking and search.
        calibrate: what chips are calibrated on; samples that rank, where there are enough to split. None: nothing.
    """

    rank: Task
    select: Task
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
    role = np.arange(len(order)) % SPLIT_PARTS
    parts = [np.sort(order[where]) for where in (role == 0, role == 1, role >= 2)]
    kept = parts[0][: calibrating if len(task) > 1 else 0]
    judged = task.take(np.setdiff1d(order, kept)) if len(kept) else task
    calibrate = task.take(kept) if len(kept) else None
    if len(task) < MIN_SPLIT_SAMPLES:
        return Splits(judged, judged, judged, judged, held_out=False, calibrate=calibrate)
    rank, select, verify = (task.take(part) for part in parts)
    return Splits(rank, select, verify, judged, held_out=True, calibrate=calibrate)


def stratified_order(task: Task) -> npt.NDArray[np.intp]:
    """A permutation in which every class lies together, so that dealing it out in turn splits every class evenly."""
    order = np.random.default_rng(_PERMUTATION_SEED).permutation(len(task))
    targets = task.targets
    if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu":
        return order
    return order[np.argsort(targets[order], kind="stable")]
