"""Normal distributions of conductances, which are never negative: what lies below 0 is held as 0."""

import math

import numpy as np
import numpy.typing as npt
import scipy

__all__ = ["before_cut", "misfit"]

_FARTHEST = (-3.0, 6.0)
"""Means in units of the deviation: below, one in a thousand is not 0; above, nothing is cut off."""
_LILLIEFORS = 1.035


def before_cut(mean: float, std: float) -> tuple[float, float]:
    """Mean m and standard deviation s of a normal X for which max(X, 0) has the given ones.

    With a = m / s, max(X, 0) has the mean s (a Φ(a) + φ(a)) and the mean square s² ((1 + a²) Φ(a) + a φ(a)) (moments of
    a censored normal: Tobin, Econometrica 26, 1958). Their ratio tells a. Where it lies below that of a = -3, m = -3 s
    and the mean alone is met.
    """
    if mean <= 0 or std <= 0 or mean >= _FARTHEST[1] * std:
        return mean, std
    wanted = 1 + (std / mean) ** 2

    def surplus(a: float) -> float:
        first, second = _moments(a)
        return second / first**2 - wanted

    a = float(scipy.optimize.brentq(surplus, *_FARTHEST)) if surplus(_FARTHEST[0]) > 0 else _FARTHEST[0]
    s = mean / _moments(a)[0]
    return a * s, s


def misfit(values: npt.NDArray[np.float64]) -> tuple[float, bool]:
    """Kolmogorov-Smirnov distance of values, ``(n,)``, from the normal that fits, and whether it is beyond chance.

    The normal is one that is cut off at 0 where no value lies below. The bound is Lilliefors's for a fitted mean and
    deviation at 1 % (JASA 62, 1967, as approximated by Stephens).
    """
    ordered = np.sort(values)
    mean, std = float(values.mean()), float(values.std())
    if ordered[0] >= 0:
        mean, std = before_cut(mean, std)
    expected = scipy.special.ndtr((ordered - mean) / std)
    ranks = np.arange(len(ordered) + 1) / len(ordered)
    beyond = np.maximum(ranks[1:] - expected, expected - ranks[:-1])
    distance, root = float(beyond[ordered != 0].max(initial=0.0)), math.sqrt(len(ordered))
    return distance, distance * (root - 0.01 + 0.85 / root) > _LILLIEFORS


def _moments(a: float) -> tuple[float, float]:
    """Mean and mean square of max(X, 0) for a deviation of 1 and a mean of a."""
    density, below = math.exp(-a * a / 2) / math.sqrt(2 * math.pi), float(scipy.special.ndtr(a))
    return a * below + density, (1 + a * a) * below + a * density
