"""Orders of samples by their class: each class together, or mixed where the data is sorted by class."""

from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from lhc.samples.task import Task

PERMUTATION_SEED = 20250317
"""Of the permutation, which is fixed: it does not depend on the run's seed."""
_SORTED = 0.5
"""Neighbours of different classes, as a share of those in a random order, under which data counts as sorted."""


def stratified_order(task: Task) -> npt.NDArray[np.intp]:
    """A permutation in which every class lies together, so that dealing it out in turn splits every class evenly."""
    order = np.random.default_rng(PERMUTATION_SEED).permutation(len(task))
    return order[np.argsort(task.targets[order], kind="stable")] if _are_classes(task.targets) else order


def mixed_by_class(task: Task) -> Task:
    """The same samples, in a fixed permutation where they are sorted by class."""
    return task.take(mixed_places(task, np.arange(len(task)))) if is_sorted_by_class(task.targets) else task


def mixed_places(task: Task, places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Places in the order of the data; in a fixed permutation where the data is sorted by class."""
    places = np.sort(places)
    if not is_sorted_by_class(task.targets):
        return places
    return np.random.default_rng(PERMUTATION_SEED).permutation(places)


def is_sorted_by_class(targets: npt.NDArray[Any] | None) -> bool:
    """Whether class indices ``(samples,)`` come in blocks of one class; False for other targets.

    In a random order, two neighbours have different classes with probability
    ``1 - sum(n_c (n_c - 1)) / (n (n - 1))``, where ``n_c`` of ``n`` samples are of class ``c``.
    """
    if not _are_classes(targets):
        return False
    counts, samples = np.unique(targets, return_counts=True)[1].astype(np.float64), len(targets)
    in_random_order = samples - 1 - float((counts * (counts - 1)).sum()) / samples
    return int(np.count_nonzero(np.diff(targets))) < _SORTED * in_random_order


def _are_classes(targets: npt.NDArray[Any] | None) -> TypeGuard[npt.NDArray[np.integer[Any]]]:
    return targets is not None and targets.ndim == 1 and targets.dtype.kind in "iu"
