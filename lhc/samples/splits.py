"""Rank on a quarter of the samples, select on a quarter, verify on half.

The permutation is fixed (it does not depend on the run's seed) and stratified by label where targets are class
indices. Under 400 samples nothing is split, and results are marked as not held out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lhc.samples.task import Task

__all__ = ["MIN_SPLIT_SAMPLES", "Splits", "split_task", "stratified_order"]

MIN_SPLIT_SAMPLES = 400
_PERMUTATION_SEED = 20250317


@dataclass(frozen=True, eq=False)
class Splits:
    """Samples by what they are for; the same task three times where it was too small to split."""

    rank: Task
    select: Task
    verify: Task
    held_out: bool


def split_task(task: Task) -> Splits:
    """Split a task's samples."""
    if len(task) < MIN_SPLIT_SAMPLES:
        return Splits(task, task, task, held_out=False)
    order = stratified_order(task)
    role = np.arange(len(order)) % 4
    parts = [np.sort(order[where]) for where in (role == 0, role == 1, role >= 2)]
    rank, select, verify = (task.take(part) for part in parts)
    return Splits(rank, select, verify, held_out=True)


def stratified_order(task: Task) -> npt.NDArray[np.intp]:
    """A permutation in which every class lies together, so that dealing it out in turn splits every class evenly."""
    order = np.random.default_rng(_PERMUTATION_SEED).permutation(len(task))
    targets = task.targets
    if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iu":
        return order
    return order[np.argsort(targets[order], kind="stable")]
