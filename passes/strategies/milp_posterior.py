"""Posterior of drops: a normal distribution over sums of layer damages, given estimates and judged placements.

Before anything is judged, the drop of a group of layers is its sensitivity times a factor that no one knows yet: it
is taken from the first placement that is judged, give or take all of it, and every group may differ from that by half.
What was judged corrects it by the rules of linear regression with such a prior: a placement's surplus over its estimate
is laid to the factor and to its groups, the uncertain ones most. Drops are nearly sums, the less so the larger they
are, so a large one binds less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from lhc.passes.search.solver import Floats

_FACTOR = 1.0
"""Standard deviation of the factor between drops and sensitivities, as a share of it."""
_GROUP = 0.5
"""That of a group's drop, as a share of its estimate."""
_LEAST = 0.01
"""Least standard deviation of a group's drop, as a share of the limit."""
_SUMS = 0.15
"""How far drops are from sums of groups, as a share of them (standard deviation)."""
_LEAST_SUMS = 0.1
"""The same for small drops, as a share of the limit."""
_GRAIN = 0.1
"""How much of a sample's share a group may drop by chance (standard deviation)."""
_TINY = 1e-3
"""Least limit to measure by, as a share of the largest drop that was seen."""


@dataclass(frozen=True, eq=False)
class Belief:
    """A normal distribution over the drops of groups, and what a placement may drop.

    Attributes:
        mean: in the unit of the judge's bounds, ``(groups,)``.
        covariance: in its square, ``(groups, groups)``.
        limit: a placement whose upper bound is above it is not accepted.
        scale: what counts as a small drop; above 0.
    """

    mean: Floats
    covariance: Floats
    limit: float
    scale: float

    def chance(self, drop: Floats, variance: Floats) -> Floats:
        """The chance that placements are accepted.

        Args:
            drop: their expected drops, any shape.
            variance: of the same, without what drops differ from sums.
        """
        spread = np.sqrt(np.maximum(variance, 0) + _surplus(drop, self.scale))
        return np.asarray(scipy.special.ndtr((self.limit - drop) / spread))

    def scaled(self, shares: Floats) -> "Belief":
        """The posterior where groups do a share of their damage, ``(groups,)``."""
        return replace(self, mean=self.mean * shares, covariance=self.covariance * np.outer(shares, shares))

    def flipped(self, chosen: Floats) -> Floats:
        """The chance of acceptance with one or two groups moved to the other side.

        Args:
            chosen: 1 where a group is analog, ``(groups,)``.

        Returns:
            ``(groups, groups)``; on the diagonal with one group moved.
        """
        signs = 1 - 2 * chosen
        step = signs * self.mean
        beside = self.covariance @ chosen
        own = self.covariance.diagonal() + 2 * signs * beside
        drop, variance = float(self.mean @ chosen), float(chosen @ beside)
        crossed = 2 * signs[:, None] * self.covariance * signs[None, :]
        np.fill_diagonal(crossed, 0)
        return self.chance(drop + pairs(step), variance + pairs(own) + crossed)


def pairs(single: Floats) -> Floats:
    """Sums of two; on the diagonal each alone."""
    both = single[:, None] + single[None, :]
    np.fill_diagonal(both, single)
    return both


def _surplus(drop: Floats, scale: float) -> Floats:
    """Variance of drops around sums of groups."""
    return (_SUMS * np.abs(drop) + _LEAST_SUMS * scale) ** 2


def believe(
    sensitivities: Floats, placements: Sequence[Floats], bounds: Sequence[float], limit: float, grain: float = 0.0
) -> Belief:
    """Posterior after some placements were judged.

    Args:
        sensitivities: of the groups, ``(groups,)``.
        placements: what was judged, the first one first; each 1 where a group is analog, ``(groups,)``.
        grain: what one sample is of a drop, where that is known.
    """
    chosen, found = np.array(placements), np.array(bounds)
    scale = max(limit, _TINY * float(np.abs(found).max()), float(np.finfo(np.float64).tiny) ** 0.25)
    whole = float(chosen[0] @ sensitivities)
    prior = sensitivities * (max(bounds[0], scale) / whole if whole > 0 else 1.0)
    spread = np.diag((_GROUP * prior + _LEAST * scale + _GRAIN * grain) ** 2) + _FACTOR**2 * np.outer(prior, prior)
    across = chosen @ spread
    noise = np.diag(_surplus(found, scale))
    gain = np.linalg.solve(across @ chosen.T + noise, across).T
    return Belief(prior + gain @ (found - chosen @ prior), spread - gain @ across, limit, scale)
