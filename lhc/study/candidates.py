"""Verify what a search chose, and step back where it fails, on samples and chips that the search has not seen.

The search may be lucky: among many placements the best-looking one looks better than it is. So the chosen one is judged
again. If it fails, safer placements are, and the best that is shown to hold is kept:

1. up to three further ones of the search's path;
2. the chosen one without the fewest most damaging layers without which the search's samples say that it holds, which is
   what is told to be in the way of a budget (`lhc.study.explain`), and without what paid only beside these;
3. the rest of the path, thinned, as a ladder that is climbed from its safest rung until one fails.

All of these are chosen by the search alone, before anything is verified. The chance of error is divided: three fifths
for the first test, the rest in equal parts for the other tests together, the ladder as one: a rung is looked at only
where all below it were accepted, so the first one that does not hold is the only one that can be accepted in error
(fixed-sequence testing: Maurer, Hothorn and Lehmacher, 1995).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lhc.errors import OutOfTimeError
from lhc.measure.judge import Budget, PlacementJudge, judge_once
from lhc.measure.measurement import Evaluator
from lhc.results import Verdict
from lhc.stats import one_sided, split_level

__all__ = ["Candidates", "Verified", "fewest_in_the_way", "verify_candidates"]

MAX_STEPS_BACK = 3
MAX_RUNGS = 4
FIRST_SHARE = 0.6

Placements = Sequence[frozenset[str]]


@dataclass(frozen=True)
class Verified:
    """A placement and its verification."""

    placement: frozenset[str]
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a search chose, and what it would fall back to.

    Attributes:
        chosen: the placement.
        path: safer ones, in the order in which they are fallen back to.
        judge: of the search.
        fixed: layers that are analog whatever is decided; where the path ends with these alone, nothing is safer.
        groups: layers of the chosen placement that can be made digital, the most damaging first; layers that move
            together in one group. None where the path is the only way back.
        allowed: whether a placement keeps to what the user allows apart from its accuracy.
        paying: a placement without layers that cost more than they save, where that is looked at.
    """

    chosen: frozenset[str]
    path: Placements
    judge: PlacementJudge
    fixed: frozenset[str] = frozenset()
    groups: Placements = ()
    allowed: Callable[[frozenset[str]], bool] = lambda placement: True
    paying: Callable[[frozenset[str]], frozenset[str]] = lambda placement: placement

    @property
    def fallbacks(self) -> Placements:
        """The first ones of the path."""
        return self._steps[:MAX_STEPS_BACK]

    @property
    def ladder(self) -> Placements:
        """Some of the rest of the path, the safest first, on the ground of what is fixed."""
        rest = self._steps[MAX_STEPS_BACK:]
        places = np.linspace(len(rest) - 1, 0, min(MAX_RUNGS, len(rest))).round().astype(int)
        ground = [self.fixed] if self.fixed in self.path else []
        return [*ground, *(rest[place] for place in places)]

    @property
    def _steps(self) -> Placements:
        """The path without its ground."""
        return [placement for placement in self.path if placement != self.fixed]

    @cached_property
    def rescue(self) -> frozenset[str] | None:
        """The chosen one without the fewest layers in its way; None where there is none, or the time is over."""
        try:
            removed = fewest_in_the_way(self.judge, self.chosen, self.groups)
        except OutOfTimeError:
            return None
        rest = self.paying(self.chosen.difference(*removed))
        return rest if len(removed) < len(self.groups) and self.allowed(rest) else None


def fewest_in_the_way(judge: PlacementJudge, analog: frozenset[str], groups: Placements) -> Placements:
    """The fewest first groups without which the rest holds, by bisection on the search's samples.

    That all of them together do not hold is taken as known; all groups where nothing less is found.

    Args:
        judge: of the search.
        analog: the placement.
        groups: of it, the most damaging first.
    """
    bad, good = 0, len(groups)
    while good - bad > 1:
        middle = (bad + good) // 2
        if judge.within(analog.difference(*groups[:middle])).accepted:
            good = middle
        else:
            bad = middle
    return groups[:good]


def verify_candidates(candidates: Candidates, evaluator: Evaluator, budget: Budget, chips: range) -> list[Verified]:
    """Verify what was chosen and, as far as it takes, what it is fallen back to.

    Args:
        candidates: of the search.
        evaluator: samples of the verification.
        budget: allowed drop.
        chips: numbers of its programmings.

    Returns:
        All that were verified. The last one is kept: the best that holds, else the one with the least drop.
    """
    tried: list[Verified] = []
    for placement, error in _tests(candidates, budget):
        if any(one.placement == placement for one in tried):
            continue
        tried.append(_verified(placement, evaluator, budget, chips, error))
        if tried[-1].verdict.accepted:
            return tried
    held: Verified | None = None
    for placement in candidates.ladder:
        rung = _verified(placement, evaluator, budget, chips, _errors(candidates, budget)[-1])
        if not rung.verdict.accepted:
            tried.append(rung)
            break
        held = rung
    last = min(tried, key=lambda one: one.verdict.evaluation.drop) if held is None else held
    return [*(one for one in tried if one is not last), last]


def _tests(candidates: Candidates, budget: Budget) -> Iterator[tuple[frozenset[str], float]]:
    """The single tests with their chances of error."""
    errors = _errors(candidates, budget)
    yield from zip((candidates.chosen, *candidates.fallbacks), errors, strict=False)
    if len(candidates.groups) > 1 and candidates.rescue is not None:
        yield candidates.rescue, errors[-1]


def _errors(candidates: Candidates, budget: Budget) -> tuple[float, ...]:
    """Chances of error of the tests; the last one's is also that of the ladder, where there is one."""
    parts = 1 + len(candidates.fallbacks) + (len(candidates.groups) > 1) + bool(candidates.ladder)
    return split_level(one_sided(budget.confidence), parts, FIRST_SHARE)


def _verified(placement: frozenset[str], evaluator: Evaluator, budget: Budget, chips: range, error: float) -> Verified:
    what = f"verifying {len(placement)} analog layers"
    return Verified(placement, judge_once(evaluator, placement, budget, chips, error, what))
