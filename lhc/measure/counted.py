"""What counts of an output: samples, and positions of them."""

import numpy as np
import numpy.typing as npt

from lhc.samples.metrics import IGNORED, Array

__all__ = ["counted_positions", "counts_samples"]


def counted_positions(output: Array, targets: Array | None) -> npt.NDArray[np.bool_] | None:
    """Which positions of an output count, by targets of `IGNORED`; None: all of them.

    Args:
        output: ``(samples, ..., classes)``.
        targets: of the same samples, or None.
    """
    if targets is None or targets.dtype.kind not in "iu" or targets.shape != output.shape[:-1] or output.ndim < 3:
        return None
    counted: npt.NDArray[np.bool_] = targets != IGNORED
    return None if counted.all() else counted


def counts_samples(output: object, samples: int) -> bool:
    """Whether an output of the network is a tensor whose first axis counts these samples; some are scalars or lists."""
    return isinstance(output, np.ndarray) and output.ndim > 0 and len(output) == samples
