"""Exact bounds by counting: the share of chips within a bound, and means from few changed answers.

*Chips.* If a smaller share of chips holds a bound, the number of n chips that do not is larger, in distribution, than
binomial with the rest; so a few of many are shown to be few in general (a nonparametric tolerance bound: Wilks, Ann.
Math. Stat. 12, 1941; without any failure among n chips the chance of error is share^n). Normal theory promises more
than it keeps: with its noncentral t, 53 % of the runs with 59 chips err instead of 5 % where drops are exponential.
Looks at a growing number of chips spend the chance of error in proportion to them (`failures_allowed`), and what counts
lie where is followed exactly, so that nothing is approximated.

*Answers.* Where a handful of N samples changes between right and wrong, their spread says little: with none there is
none. The bounds are then those of a count (Clopper and Pearson, Biometrika 26, 1934). From above they are a quantile of
the beta distribution whose mean is that of the samples and one more that is lost, and whose variance is that of such a
mean; from below the one more is kept. So they are defined for samples that count in part, too, being lost on three
chips of ten, as Fay and Feuer (Statistics in Medicine 16, 1997) do for rates. Without any change that leaves 3 / N at
95 %, the rule of three; with many it is the normal interval. A drop is what was lost less what was gained. The margins
of both are independent, nearly, and their squares add up (Zou and Donner, Statistics in Medicine 27, 2008; Newcombe
1998).
"""

from collections.abc import Sequence
from math import ceil, log

import numpy as np
import numpy.typing as npt
import scipy

__all__ = ["changed_answer_margins", "failures_allowed", "greatest_share", "least_draws"]


def least_draws(share: float, error: float) -> int:
    """Chips that show a share if all of them lie within the bound; 59 for 95 % at an error of 5 %."""
    return ceil(log(error) / log(share) - 1e-9)


def greatest_share(chips: int, error: float) -> float:
    """The greatest share that so many chips show, if all of them lie within the bound; 97 % by 100 at an error of 5 %.

    >>> round(greatest_share(100, 0.05), 4)
    0.9705
    """
    return float(error ** (1 / chips))


def failures_allowed(looks: Sequence[int], share: float, error: float) -> tuple[int, ...]:
    """At every look, the most chips outside the bound with which a share of all is shown; -1 where none shows it.

    Args:
        looks: numbers of chips, growing.
        share: of all chips, that is to lie within.
        error: chance that any look shows it where a smaller share does.
    """
    allowed: list[int] = []
    open_: np.ndarray = np.ones(1)  # chance of every number of failures, undecided so far
    spent, seen = 0.0, 0
    for look in looks:
        for _ in range(look - seen):
            open_ = np.convolve(open_, (share, 1 - share))
        reached = spent + np.cumsum(open_)
        most = int(np.searchsorted(reached, error * look / looks[-1] * (1 + 1e-9), side="right")) - 1
        if most >= 0:
            spent = float(reached[most])
            open_[: most + 1] = 0.0
        allowed.append(most)
        seen = look
    return tuple(allowed)


Floats = npt.NDArray[np.float64]


def changed_answer_margins(changes: Floats, error: float) -> tuple[float, float]:
    """Margins of the mean change of all samples below and above that of the samples at hand.

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
