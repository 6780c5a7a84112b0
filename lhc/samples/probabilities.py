"""Probabilities of classes, from an output that holds them or their logits on its last axis.

They are worked out in float64 a few positions at a time: a language model gives fifty thousand for every token.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_PROBABILITY", "are_probabilities", "divergences", "log_likelihoods"]

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
