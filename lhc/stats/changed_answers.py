"""Exact bounds of a mean from few changed answers, for samples that changed on some chips only.

Where a handful of N samples changes between right and wrong, their spread says little: with none there is none. The
bounds are then those of a count (Clopper and Pearson, Biometrika 26, 1934). From above they are a quantile of the beta
distribution whose mean is that of the samples and one more that is lost, and whose variance is that of such a mean;
from below the one more is kept. So they are defined for samples that count in part, too, being lost on three chips of
ten, as Fay and Feuer (Statistics in Medicine 16, 1997) do for rates. Without any change that leaves 3 / N at 95 %, the
rule of three; with many it is the normal interval.

A drop is what was lost less what was gained. The margins of both are independent, nearly, and their squares add up
(Zou and Donner, Statistics in Medicine 27, 2008; Newcombe 1998).
"""

import numpy as np
import numpy.typing as npt
import scipy

__all__ = ["changed_answer_margins"]

Floats = npt.NDArray[np.float64]


def changed_answer_margins(changes: Floats, error: float) -> tuple[float, float]:
    """How far the mean change of all samples may lie below and above that of the samples at hand.

    Args:
        changes: what samples lose between -1 and 1, shape ``(samples,)``; what lies beyond counts as these.
        error: chance that one bound errs.
    """
    lost, gained = np.clip(changes, 0, 1), np.clip(-changes, 0, 1)
    below = np.hypot(_margin(lost, error, 0.0), _margin(gained, error, 1.0))
    above = np.hypot(_margin(lost, error, 1.0), _margin(gained, error, 0.0))
    return float(below), float(above)


def _margin(shares: Floats, error: float, more: float) -> float:
    """Margin from the mean of shares to its bound on the side of one more sample, which is 0 or 1."""
    shares_and_more = np.append(shares, more)
    mean, variance = float(shares_and_more.mean()), float(shares_and_more.var())
    # Whatever the others are, those that are none of them can be so many.
    unseen = float(abs(more - shares.mean()) * (1 - error ** (1 / shares.size)))
    if variance == 0:
        return unseen
    size = (shares.size + 2) * mean * (1 - mean) / variance - 1
    bound = scipy.special.betaincinv(size * mean, size * (1 - mean), 1 - error if more else error)
    return max(unseen, float(bound - shares.mean() if more else shares.mean() - bound))
