"""Targets of an output: checks, as classes of it or number by number, and the positions that are scored."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.errors import DataError

Array = npt.NDArray[Any]
IGNORED = -100
"""Target of a position that does not count, as in PyTorch's cross entropy."""


def are_answers(output: Array, targets: Array | None = None) -> bool:
    """Whether an output holds classes themselves, one a position, not scores of classes, as an ArgMax leaves them.

    So do whole numbers of the labels' shape; without labels, those of the types that ArgMax gives.

    Args:
        targets: of the same samples or others, or None.
    """
    if output.dtype.kind not in "iu":
        return False
    if targets is None:
        return output.dtype.itemsize >= 4
    return targets.dtype.kind in "iu" and targets.shape[1:] == output.shape[1:]


def with_positions(targets: Array, output: Array) -> Array:
    """Labels ``(samples, ..., 1)`` without their last axis, where an output shows that they are classes of it.

    Args:
        output: scores ``(samples, ..., classes)``, or answers ``(samples, ...)``.
    """
    if targets.dtype.kind not in "iu" or targets.ndim < 2 or targets.shape[-1] != 1:
        return targets
    positions = output.shape[1:] if are_answers(output) else output.shape[1:-1]
    fits = output.ndim > 0 and targets.shape[1:] != positions and targets.shape[1:-1] == positions
    return targets.reshape(targets.shape[:-1]) if fits else targets


def check_classes(metric: str, output: Array) -> None:
    """Refuse an output whose last axis cannot hold scores of classes.

    Raises:
        DataError: it has fewer than two axes or classes.
    """
    # With fewer than two classes every answer would be right, whatever the tiles do.
    if output.ndim < 2 or output.shape[-1] < 2:
        raise DataError(
            f"{metric}: the output has shape {output.shape}, its last axis must hold scores of at least two classes;"
            " choose another metric: nmse, or mse with labels"
        )


def check_labels(metric: str, shape: tuple[int, ...], targets: Array) -> None:
    """Refuse targets that are no classes of an output, but for those that are left out.

    Args:
        shape: of the output, of any samples, with the classes on its last axis.

    Raises:
        DataError: other positions than the output has, no integers, or beyond its classes.
    """
    if shape[1:-1] != targets.shape[1:]:
        gives = f"classes of shape {shape[1:-1]}" if shape[1:-1] else "one class"
        have = f"labels of shape {targets.shape[1:]}" if targets.shape[1:] else "one label"
        remedy = "say which axis holds the classes where it is not the last (--class-axis)"
        if shape[1:] == targets.shape[1:]:
            remedy = "--metric mse compares numbers, one for each of the output, as these may be"
        raise DataError(
            f"{metric}: the output gives a sample {gives}, the data {have}; labels must hold one class index per"
            f" position; {remedy}"
        )
    check_range(metric, targets[targets != IGNORED], shape[-1], ignoring=True)


def check_range(metric: str, targets: Array, classes: int, ignoring: bool = False) -> None:
    """Refuse targets that are no integers, or beyond the classes of an output.

    Args:
        ignoring: positions of `IGNORED` are left out; these targets are of the others.

    Raises:
        DataError: there are such.
    """
    if targets.dtype.kind not in "iu":
        raise DataError(f"{metric}: labels are {targets.dtype}; they must be integer class indices")
    if targets.size and not 0 <= targets.min() <= targets.max() < classes:
        raise DataError(f"{metric}: {beyond_classes(int(targets.min()), int(targets.max()), classes, ignoring)}")


def beyond_classes(least: int, most: int, classes: int, ignoring: bool) -> str:
    """Message about labels that are no classes of an output.

    >>> beyond_classes(-1, 8, 10, True)
    'labels are -1 to 8, the output has classes 0 to 9; number the classes from 0; -100 leaves a position out'
    >>> beyond_classes(50, 59, 10, True)
    'labels are 50 to 59, the output has classes 0 to 9; number the classes from 0, or score another output (--output)'
    """
    found = f"labels are {least} to {most}, the output has classes 0 to {classes - 1}; number the classes from 0"
    if least >= 0:
        return f"{found}, or score another output (--output)"
    return f"{found}; {IGNORED} leaves a position out" if ignoring else found


def check_values(metric: str, output: tuple[int, ...], targets: tuple[int, ...]) -> None:
    """Refuse targets that are not one number for every one of an output; both shapes have samples first.

    Raises:
        DataError: their shapes differ.
    """
    if output != targets:
        gives = f"numbers of shape {output[1:]}" if output[1:] else "one number"
        have = f"labels of shape {targets[1:]}" if targets[1:] else "one label"
        raise DataError(
            f"{metric}: the output gives a sample {gives}, the data {have}; they must match, number by number; change"
            " the labels, or score another output (--output)"
        )


def repeat_each_other(output: tuple[int, ...], targets: tuple[int, ...]) -> bool:
    """Whether NumPy compares these shapes, with samples first, though they differ: one is repeated over the other."""
    if output == targets:
        return False
    try:
        np.broadcast_shapes(output, targets)
    except ValueError:
        return False
    return True


def counted_positions(output: Array, targets: Array | None) -> npt.NDArray[np.bool_] | None:
    """Mask of the positions of an output that count, by targets of `IGNORED`; None: all of them.

    Args:
        output: ``(samples, ..., classes)``, or answers ``(samples, ...)``.
        targets: of the same samples, or None.
    """
    if targets is None or targets.dtype.kind not in "iu":
        return None
    scores = output.ndim > 2 and targets.shape == output.shape[:-1]
    if not scores and not (output.ndim > 1 and are_answers(output, targets)):
        return None
    counted: npt.NDArray[np.bool_] = targets != IGNORED
    return None if counted.all() else counted


def counts_samples(output: object, samples: int) -> bool:
    """Whether an output of the network is a tensor whose first axis counts these samples; some are scalars or lists."""
    return isinstance(output, np.ndarray) and output.ndim > 0 and len(output) == samples
