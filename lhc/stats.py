"""Intervals over draws.

A draw is one programming of all tiles, that is one chip. The interval of a mean over ``n`` draws is Student's:
mean ± t(n-1) · s / sqrt(n), two-sided at ``confidence``, so that each bound holds one-sided at
(1 + confidence) / 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lhc.errors import UsageError

__all__ = ["CONFIDENCE", "Summary", "summarize"]

CONFIDENCE = 0.90
"""Two-sided; each bound one-sided at 95 %."""


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and interval of the mean over draws.

    With one draw the spread is unknown: ``std`` is 0 and the interval is None.
    """

    mean: float
    std: float
    interval: tuple[float, float] | None
    draws: int


def summarize(values: Sequence[float] | npt.NDArray[np.float64], confidence: float = CONFIDENCE) -> Summary:
    """Mean over draws with its interval.

    Args:
        values: one value a draw, shape ``(draws,)``.
        confidence: two-sided level, between 0 and 1.

    Raises:
        UsageError: no values, or a level outside (0, 1).
    """
    x = np.asarray(values, np.float64)
    if x.size == 0:
        raise UsageError("no draws to summarize; ask for at least one (--draws)")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, got {confidence}")
    mean = float(x.mean())
    if x.size == 1:
        return Summary(mean, 0.0, None, 1)
    std = float(x.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, x.size - 1)) * std / float(np.sqrt(x.size))
    return Summary(mean, std, (mean - half, mean + half), x.size)
