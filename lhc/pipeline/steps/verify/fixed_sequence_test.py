"""Fixed-sequence tests along a path of placements, from a safe one to ever more ambitious ones.

The method is fixed-sequence testing (Maurer, Hothorn and Lehmacher, 1995; learn-then-test: Angelopoulos, Bates, Candès,
Jordan and Lei, 2021; where placements do not lie within each other, Pareto testing: Laufer-Goldshtein et al., 2023).
Each placement is tested at the full level. The first one tested that does not hold is the only one that can be
accepted in error, since a sequence ends where one is not accepted. Every test has chips of its own, so which placement
comes next may depend on what the earlier ones showed: the boldest that is nearly sure to be accepted, else the next.
Where the budget is to hold for other samples too, all tests share the samples, and only the search says what comes
next.

Nearly all of the chance of error is for one sequence from about half of the budget. The rest is for a second one: over
the steps that the first one jumped, where a jump failed, or from the bottom, where its first step was too high. Each
sequence accepts what does not hold with its own part of the chance at most, wherever it goes, since its tests have
fresh chips.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import scipy

from lhc.errors import NotFiniteError, OutOfTimeError
from lhc.results import Verdict
from lhc.stats import least_draws

log = logging.getLogger("lhc")
START = 0.5
"""A sequence starts at the boldest placement whose predicted drop is within this share of the budget; both without the
drop that there is without damage."""
SURE, WORTH = 0.98, 0.1
"""Chances of acceptance: with the first a step may be long, with less than the second none is taken."""
SECOND_SEQUENCE = 0.1
"""Part of the chance of error for a second sequence."""
_FACTOR, _SUMS, _FAR = 0.7, 0.35, 0.3
"""Standard deviations: of the factor before anything is tested, as a share of it; of a drop around its prediction, as
a share of what is predicted; and of a drop around it that lies far from the budget, as a share of the distance."""
_SHOWN = 5
"""Times as many chips that break the budget as there may be are too many for a test to pass easily."""
_TINY = 1e-3
"""Least budget to measure by, as a share of the largest drop that was seen."""
_LAST_LOOK = 2.1
"""Standard errors between mean and bound at the last look."""


@dataclass(frozen=True)
class Verified:
    """A placement and its test.

    Attributes:
        chips: numbers of the programmings that it was tested on.
    """

    placement: frozenset[str]
    verdict: Verdict
    chips: range


@dataclass(frozen=True)
class Path:
    """Placements to test, in a fixed order.

    Attributes:
        ground: the placement below all others: what is analog anyway.
        steps: the safest first.
        damages: estimated, of every step; they do not fall.
        judged: damages and drops of placements that the search judged, with the standard errors of the drops.
        base: the drop without damage.
        grounded: whether the ground may be kept.
        adapts: whether a step depends on what earlier tests showed.
    """

    ground: frozenset[str]
    steps: Sequence[frozenset[str]]
    damages: Sequence[float]
    judged: Sequence[tuple[float, float, float]] = ()
    base: float = 0.0
    grounded: bool = True
    adapts: bool = True

    @property
    def ground_is_certain(self) -> bool:
        """Whether a test of the ground cannot err: nothing is analog in it, and no other samples are to hold."""
        return not self.ground and self.adapts


@dataclass(frozen=True)
class Forecast:
    """Forecast of drops: the base and a factor times the damage, with an error.

    Attributes:
        base: the drop without damage.
        factor: drop by damage.
        damage: of the boldest placement that was shown to hold.
        drop: its mean drop.
        error: the standard error of that.
        deviation: of a chip's drop.
    """

    base: float
    factor: float
    variance: float
    damage: float = 0.0
    drop: float = 0.0
    error: float = 0.0
    deviation: float = 0.0

    @classmethod
    def of(cls, path: Path, budget: float) -> "Forecast":
        """By what the search judged, placements near the budget first; without any, the last step is at the budget."""
        seen = [(damage, drop - path.base, error) for damage, drop, error in path.judged if damage > 0]
        room, last = budget - path.base, max(path.damages, default=0.0)
        if not seen or last <= 0:
            factor = max(room, 0.0) / last if last > 0 else 0.0
            return cls(path.base, factor, (_FACTOR * factor) ** 2, drop=path.base)
        damages, drops, errors = np.array(seen).T
        near = max(abs(budget), _TINY * float(np.abs(drops).max()), float(np.finfo(np.float32).tiny))
        weights = 1 / (errors**2 + (_FAR * (drops - room)) ** 2 + (_SUMS * near) ** 2)
        under = float((weights * damages**2).sum())
        # Where nothing was seen of damage, there may still be as much as could not be seen.
        factor = max(float((weights * damages * drops).sum()) / under, under**-0.5)
        return cls(path.base, factor, (_FACTOR * factor) ** 2, drop=path.base)

    def predicted(self, damage: float) -> float:
        """The drop of a placement, before anything was tested."""
        return self.base + self.factor * damage

    def expected(self, damage: float) -> float:
        """The drop of a placement beyond what was shown to hold."""
        return self.drop + self.factor * (damage - self.damage)

    def chance(self, damage: float, budget: float, most: int, share: float | None = None) -> float:
        """Chance that a placement is accepted within so many chips; ``share``: as in `fixed_sequence_test`."""
        more, expected = damage - self.damage, self.expected(damage)
        variance = self.error**2 + self.variance * more**2 + (_SUMS * self.factor * more) ** 2
        within = _LAST_LOOK / most**0.5 * self.deviation
        if share is not None:
            # Far more chips than the share are to hold it, so that those tested show it; spreads grow with drops.
            grown = max(1.0, expected / self.drop) if self.drop > 0 else 1.0
            within = max(within, float(scipy.special.ndtri(1 - (1 - share) / _SHOWN)) * self.deviation * grown)
        room = budget - within - expected
        return float(scipy.special.ndtr(room / variance**0.5)) if variance > 0 else float(room >= 0)

    def seen(self, damage: float, verdict: Verdict, budget: float) -> "Forecast":
        """The forecast after a placement was tested."""
        found = verdict.evaluation
        deviation = float(np.std(found.drops, ddof=1)) if found.draws > 1 else 0.0
        error = deviation / found.draws**0.5
        after = replace(self, damage=damage, drop=found.drop, error=error, deviation=deviation)
        if damage <= 0:
            return after
        surprise = found.drop - self.base - self.factor * damage
        # A great drop says that less was known than was thought; a small one far below the budget says little.
        variance = max(self.variance, (max(surprise, 0.0) / damage) ** 2)
        far = _FAR * max(budget - self.predicted(damage), 0.0)
        total = variance * damage**2 + error**2 + (_SUMS * self.factor * damage) ** 2 + far**2
        gain = variance * damage / total if total > 0 else 0.0
        # A negative factor would say that damage does good, which other placements will not confirm.
        factor = max(self.factor + gain * surprise, 0.0)
        return replace(after, factor=factor, variance=variance * (1 - gain * damage))

    def below(self, failed: "Forecast") -> "Forecast":
        """The forecast after a placement beyond was tested and not shown to hold: in between, drops lie on a line.

        Args:
            failed: what that test has shown.
        """
        more = failed.damage - self.damage
        if self.damage <= 0 or more <= 0:  # nothing was shown to hold, or damages are not known
            return replace(self, factor=failed.factor, variance=failed.variance)
        slope = max((failed.drop - self.drop) / more, 0.0)
        return replace(self, factor=slope, variance=(self.error**2 + failed.error**2) / more**2)


class Trial(Protocol):
    """Tests a placement."""

    def __call__(self, placement: frozenset[str], number: int, error: float, begin: bool) -> Verified:
        """Test it.

        Args:
            number: of the test; each has chips of its own.
            error: chance of a wrong acceptance.
            begin: do it up to the first look even if the time that the user gave is over.

        Raises:
            OutOfTimeError: it is over before the first look.
        """
        ...


@dataclass(frozen=True)
class _Reached:
    """How far a sequence of tests came.

    Attributes:
        kept: the boldest placement that was shown to hold.
        low: its step; that before the first one where none was.
        high: the step that was not shown to hold, else the one beyond all.
        forecast: from what is kept on, with all that was seen.
    """

    kept: Verified | None
    low: int
    high: int
    forecast: Forecast


@dataclass
class _TestSequence:
    """Tests along a path, in the order in which they are made.

    Attributes:
        share: of the chips, that is to hold the budget one by one; None: their mean alone.
        begun: tests, also those that came to nothing: every test has chips of its own.
        problem: the last placement that gave values which are not finite; it counts as not shown to hold.
    """

    path: Path
    trial: Trial
    budget: float
    most: int
    share: float | None = None
    tried: list[Verified] = field(default_factory=list)
    begun: int = 0
    problem: NotFiniteError | None = None

    def test(self, placement: frozenset[str], error: float, begin: bool = False) -> Verified:
        """Test a placement."""
        self.begun += 1
        self.tried.append(self.trial(placement, self.begun - 1, error, begin))
        return self.tried[-1]

    def run(self, start: int, high: int, forecast: Forecast, error: float) -> _Reached:
        """Test from a step as far as placements hold, below another."""
        kept, low = None, start - 1
        index: int | None = start if error > 0 else None  # without a chance of error nothing can be shown
        while index is not None:
            try:
                one = self.test(self.path.steps[index], error, begin=not self.tried)
            except OutOfTimeError:
                break
            except NotFiniteError as problem:
                self.problem = problem
                log.warning("a bolder placement was not kept: %s", problem)
                return _Reached(kept, low, index, forecast)
            seen = forecast.seen(self.path.damages[index], one.verdict, self.budget)
            if not one.verdict.accepted:
                return _Reached(kept, low, index, forecast.below(seen))
            kept, low, forecast = one, index, seen
            index = self._next(index, high, forecast)
        return _Reached(kept, low, high, forecast)

    def over_the_jumped(self, first: _Reached, error: float) -> Verified | None:
        """Test from what was kept over the steps that a failed jump left out."""
        failed = first.high < len(self.path.steps)
        index = self._next(first.low, first.high, first.forecast) if failed else None
        return None if index is None else self.run(index, first.high, first.forecast, error).kept

    def reserve(self, start: int, error: float) -> float:
        """Part of the chance of error for a second sequence; 0 where there can be none, or no chips would do for it."""
        if self.share is not None and least_draws(self.share, SECOND_SEQUENCE * error) > self.most:
            return 0.0
        below = start > 0 or (self.path.grounded and not self.path.ground_is_certain)
        jumps = self.path.adapts and start + 2 < len(self.path.steps)
        return SECOND_SEQUENCE if below or jumps else 0.0

    def start(self, high: int, forecast: Forecast) -> int:
        """The boldest step below another that is predicted to be safe, else the first one."""
        start = START if self.share is None else START / 2  # chips spread around their mean
        safe = self.path.base + start * (self.budget - self.path.base)
        within = [i for i in range(high) if forecast.predicted(self.path.damages[i]) <= safe]
        return max(within, default=0)

    def _next(self, low: int, high: int, forecast: Forecast) -> int | None:
        """The boldest step that is nearly sure to be accepted, else the next one, where that has a chance."""
        if low + 1 >= high:
            return None
        if not self.path.adapts:
            return low + 1
        wanted = self.budget, self.most, self.share
        chances = [forecast.chance(damage, *wanted) for damage in self.path.damages[low + 1 : high]]
        sure = [low + 1 + place for place, chance in enumerate(chances) if chance >= SURE]
        if sure:
            return sure[-1]
        return low + 1 if chances[0] >= WORTH else None


def fixed_sequence_test(
    path: Path, trial: Trial, budget: float, most: int, error: float, share: float | None = None
) -> list[Verified]:
    """Test placements along a path until one is not shown to hold.

    Args:
        error: chance that anything is accepted that does not hold.
        share: of the chips, that is to hold the budget one by one too; None: their mean alone.

    Returns:
        All that were tested. The last one is kept: the boldest that was shown to hold, else that with the least drop.

    Raises:
        NotFiniteError: no placement that was tested gives finite values.
    """
    tests, kept = _TestSequence(path, trial, budget, most, share), None
    if not path.steps:
        tests.test(path.ground, error, begin=True)
        return tests.tried
    forecast, high = Forecast.of(path, budget), len(path.steps)
    start = tests.start(high, forecast)
    second = tests.reserve(start, error) * error
    first = tests.run(start, high, forecast, error - second)
    kept = first.kept
    if kept is not None:
        kept = tests.over_the_jumped(first, second) or kept
    else:
        if path.grounded and (second > 0 or path.ground_is_certain):
            kept = tests.test(path.ground, second or error, begin=True)
        if start > 0 and (kept is None or kept.verdict.accepted):
            known = first.forecast if path.adapts else forecast
            higher = tests.run(tests.start(start, known), start, known, second).kept
            kept = higher or kept
    if tests.problem is not None and not tests.tried:
        raise tests.problem
    if kept is None or not kept.verdict.accepted:
        kept = min(tests.tried, key=lambda one: one.verdict.evaluation.drop)
    return [*(one for one in tests.tried if one is not kept), kept]
