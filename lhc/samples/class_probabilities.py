"""Class axis of an output, and probabilities of classes, from one that holds them or their logits.

Probabilities are worked out in float64 a few positions at a time: a language model gives fifty thousand for every
token.

Metrics read classes from the last axis, so an output that has them elsewhere, such as (samples, classes, height,
width), is laid out with that axis last before it is scored. The axis is the one whose removal leaves the shape of the
targets; without targets, the one along which the values are probabilities.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lhc.errors import UsageError

LEAST_PROBABILITY = 1e-12
"""Those below it count as it in ``kl``."""
_PIECE_VALUES = 2**21
"""That are looked at together."""

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def are_probabilities(values: Array, stored: Array) -> bool:
    """Whether values are distributions over the last axis, to the rounding of the type that they were stored in."""
    rounding = 1e-4 if stored.dtype.itemsize > 2 else 4e-3  # of a sum of probabilities in float32, in float16
    return bool((values >= 0).all()) and np.allclose(values.sum(axis=-1), 1, atol=rounding)


def divergences(output: Array, digital: Array) -> Floats:
    """Kullback-Leibler divergence of outputs from the digital ones, ``(...)``; both are ``(..., classes)``."""
    q, p = (values.reshape(-1, values.shape[-1]) for values in (output, digital))
    found = np.empty(len(p))
    for part in _pieces(*p.shape):
        log_p, log_q = _log_probabilities(p[part]), _log_probabilities(q[part])
        found[part] = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    return found.reshape(output.shape[:-1])


def log_likelihoods(values: Array, labels: Array) -> Floats:
    """Log-likelihood of one label a position, ``(positions,)``; ``values``: ``(positions, classes)``."""
    found = np.empty(len(labels))
    for part in _pieces(*values.shape):
        found[part] = np.take_along_axis(_log_probabilities(values[part]), labels[part, None], axis=1)[:, 0]
    return found


def _pieces(positions: int, classes: int) -> Iterator[slice]:
    step = max(1, _PIECE_VALUES // max(classes, 1))
    return (slice(start, start + step) for start in range(0, positions, step))


def _log_probabilities(output: Array) -> Floats:
    x: Floats = output.astype(np.float64)
    if are_probabilities(x, output):
        return np.log(np.maximum(x, LEAST_PROBABILITY))
    x -= x.max(axis=-1, keepdims=True)
    x -= np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return x


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
