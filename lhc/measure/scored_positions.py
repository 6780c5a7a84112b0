"""Scored positions of an output: samples, and positions within them."""

import numpy as np
import numpy.typing as npt

from lhc.samples.metrics import IGNORED, Array
from lhc.samples.target_checks import are_answers

__all__ = ["counted_positions", "counts_samples"]


def counted_positions(output: Array, targets: Array | None) -> npt.NDArray[np.bool_] | None:
    """Which positions of an output count, by targets of `IGNORED`; None: all of them.

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
