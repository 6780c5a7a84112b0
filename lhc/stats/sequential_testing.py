"""A measurement that is looked at as its draws come in, and ended as soon as it has decided.

Whoever looks several times errs more often than the level of one look says. Group-sequential bounds keep the chance of
error as it is: looks are fixed beforehand (`look_schedule`), the chance is spent in proportion to the draws looked at
(Lan and DeMets, Biometrika 70, 1983; the power family of Kim and DeMets, 1987), and each look's own level follows
from how its mean hangs together with those before it (`look_errors`: the recursion of Armitage, McPherson and Rowe,
1969, for a mean whose draws are independent). Student's quantile at that level stands for the normal one, as usual.

A measurement that is nearly sure not to be accepted any more is ended too (`Prospect`); that spends no chance of error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy

__all__ = ["Prospect", "look_errors", "look_schedule"]

GROWTH = 1.3
"""Of the number of draws from look to look, at least by one."""
FEWEST = 5
"""Draws before which nothing is given up."""
_REACH, _POINTS = 7.0, 1001
"""The recursion goes over standard scores within so many deviations, on so many points."""


def look_schedule(least: int, most: int) -> tuple[int, ...]:
    """Numbers of draws at which a running measurement is looked at."""
    looks = [min(least, most)]
    while looks[-1] < most:
        looks.append(min(most, max(looks[-1] + 1, round(GROWTH * looks[-1]))))
    return tuple(looks)


@lru_cache(maxsize=256)
def look_errors(looks: tuple[int, ...], error: float) -> tuple[float, ...]:
    """The level of each look at which the chance that any of them errs is the whole.

    Args:
        looks: numbers of draws, growing.
    """
    if len(looks) == 1:
        return (error,)
    shares = np.array(looks) / looks[-1]
    spent = np.diff(shares * error, prepend=0.0)
    scores, step = np.linspace(-_REACH, _REACH, _POINTS, retstep=True)
    edges = scores - step / 2
    density = np.exp(-(scores**2) / 2) / np.sqrt(2 * np.pi)
    errors = []
    for number, (share, chance) in enumerate(zip(shares, spent, strict=True)):
        if number:
            kept = np.sqrt(shares[number - 1] / share)
            fresh = np.sqrt(1 - kept**2)
            steps = (scores[:, None] - kept * scores[None, :]) / fresh
            density = np.exp(-(steps**2) / 2) @ density * (step / (fresh * np.sqrt(2 * np.pi)))
        beyond = np.cumsum(density[::-1])[::-1] * step
        bound = float(np.interp(-np.log(chance), -np.log(np.maximum(beyond, 1e-300)), edges))
        errors.append(float(scipy.special.ndtr(-bound)))
        density = density * np.clip((bound - edges) / step, 0, 1)  # what was decided is not looked at again
    return tuple(errors)


@dataclass(frozen=True)
class Prospect:
    """Prospect of a measurement at an interim look, for stopping it in futility.

    Attributes:
        optimism: by so many standard errors the mean of the draws to come is taken to be better than what was seen.
        least: with a smaller chance to be accepted at the last look a measurement is ended.
    """

    optimism: float = 1.0
    least: float = 0.05

    def hopeless(
        self,
        mean: float,
        deviation: float,
        limit: float,
        looks: Sequence[int],
        done: int,
        last_error: float,
        beside: float = 0.0,
    ) -> bool:
        """Whether it is nearly sure that the bound will not come within the limit.

        Args:
            done: draws that were seen.
            last_error: level of the last look.
            beside: half-width of what further draws do not narrow, at that look.
        """
        most = looks[-1]
        left = most - done
        if left <= 0 or done < FEWEST:
            return False
        half = float(scipy.special.stdtrit(most - 1, 1 - last_error)) * deviation / most**0.5
        wanted = limit - (half**2 + beside**2) ** 0.5
        rest = mean - self.optimism * deviation / done**0.5
        expected, spread = (done * mean + left * rest) / most, deviation * left**0.5 / most
        if spread == 0:
            return bool(expected > wanted)
        return bool(scipy.special.ndtr((wanted - expected) / spread) < self.least)
