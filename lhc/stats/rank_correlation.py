"""Spearman's rank correlation, as ``scipy.stats.spearmanr`` computes it; loading that takes half a second."""

import numpy as np
import numpy.typing as npt

__all__ = ["rank_correlation"]

Floats = npt.NDArray[np.float64]


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's correlation of two series of finite numbers; equal numbers share the mean of their ranks.

    >>> rank_correlation(np.array([1.0, 2.0, 4.0]), np.array([0.0, 9.0, 9.0])).__round__(3)
    0.866
    """
    return float(np.corrcoef(_ranks(first), _ranks(second))[1, 0])


def _ranks(values: Floats) -> Floats:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[which], np.float64)
