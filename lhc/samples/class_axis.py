"""Class axis of an output.

Metrics read classes from the last axis, so an output that has them elsewhere, such as (samples, classes, height,
width), is laid out with that axis last before it is scored. The axis is the one whose removal leaves the shape of the
targets; without targets, the one along which the values are probabilities.
"""

import numpy as np

from lhc.errors import UsageError
from lhc.samples.metrics import Array
from lhc.samples.probabilities import are_probabilities

__all__ = ["check_class_axis", "class_axis", "classes_last"]


def classes_last(output: Array, axis: int | None) -> Array:
    """The output with this axis last, a view; None: with the axes as they are."""
    return output if axis is None else np.moveaxis(output, axis, -1)


def check_class_axis(axis: int, shape: tuple[int, ...], name: str) -> int:
    """The axis counted from 0.

    Args:
        axis: as the user gives it; negative numbers count from the end.

    Raises:
        UsageError: the output has no such axis, it counts samples, or it is too short for classes.
    """
    found = axis + len(shape) if axis < 0 else axis
    if not 0 < found < len(shape) or shape[found] < 2:
        raise UsageError(
            f"--class-axis {axis}: output {name!r} has shape {shape}; choose an axis of at least two classes, not the"
            " first, which counts samples"
        )
    return found


def class_axis(output: Array, targets: Array | None) -> int | None:
    """The axis that targets or values show, counted from 0; None where nothing shows it.

    The last axis goes before others that fit as well.

    Args:
        output: of the digital network, for some samples, ``(n, ...)``.
        targets: of some samples, not necessarily of the same, or None.
    """
    axes = [axis for axis in range(output.ndim - 1, 0, -1) if output.shape[axis] > 1]
    if targets is not None and targets.dtype.kind in "iu":
        positions = targets.shape[1:]
        return next((a for a in axes if (*output.shape[1:a], *output.shape[a + 1 :]) == positions), None)
    if output.dtype.kind != "f":
        return None
    values = output.astype(np.float64)
    fitting = (a for a in axes if are_probabilities(np.moveaxis(values, a, -1), output))
    return next(fitting, None)
