"""The strategy ``milp``: solve by estimate, judge on data, correct the estimate by what was judged, solve again.

1. The best placement that the limits allow is judged first, whatever its estimated damage. If it holds, that is all.
2. Else drops of layers are believed to be their sensitivities times a factor, both corrected by the bounds of all
   that was judged (`lhc.passes.search_belief`). The best placement whose believed drop is within the budget is solved
   for exactly; where there is none, the safest one that is better than what was found.
3. It, and what differs from it or from the best accepted placement by one or two groups, are the candidates. The one
   with the greatest expected gain, chance of acceptance times what it is better by, is judged next. A rejected bound
   below the budget lowers what is aimed at.

No placement is judged twice. The result is the best one that was accepted. Fallbacks give up its layers one by one, the
one that does most damage for what it does for the objective first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from lhc.graph import LayerGraph
from lhc.passes.base import Judge, PassResult
from lhc.passes.search import Point, SearchSpace, search_space
from lhc.passes.search_base import Strategy
from lhc.passes.search_belief import Belief, believe, pairs
from lhc.passes.search_result import explained, placed
from lhc.passes.search_solver import Floats
from lhc.plan import Plan
from lhc.results import Verdict

__all__ = ["Milp"]

_EXACT = 4
"""Most moves that are worked out exactly before one is judged; by then their expected gains are close."""
_LARGE = 100
"""Groups above which only the first few programs are solved, to save time; the others only move groups."""
_SOLVED = 4
"""How many placements are judged by then."""
_FIRST = 0.1
"""What the first accepted placement is worth, as a share of what there is to gain."""


@dataclass
class _Trail:
    """What was judged so far, and what follows from it.

    Attributes:
        judge: of placements.
        space: the placements, with their sensitivities.
        max_drop: the budget, where it is known.
        judged: placements in the order in which they were judged.
    """

    judge: Judge
    space: SearchSpace
    max_drop: float | None
    judged: dict[frozenset[str], Verdict] = field(default_factory=dict)

    def holds(self, point: Point) -> bool:
        """Whether a placement is accepted."""
        if point.placement not in self.judged:
            self.judged[point.placement] = self.judge.within(point.placement)
        return self.judged[point.placement].accepted

    @property
    def rejected(self) -> list[frozenset[str]]:
        return [placement for placement, verdict in self.judged.items() if not verdict.accepted]

    def belief(self) -> Belief:
        """What is believed of the groups, and last of what is analog anyway."""
        sensitivities = self.space.terms["damage"][: len(self.space.groups)]
        bounds = [_bound(verdict) for verdict in self.judged.values()]
        return believe(
            np.append(sensitivities, self.space.constants["damage"]),
            [_with_fixed(self.space.chosen(placement)) for placement in self.judged],
            bounds,
            self._limit(),
            max(1 / v.evaluation.samples if v.evaluation.percent else 0.0 for v in self.judged.values()),
        )

    def _limit(self) -> float:
        """The greatest bound that is accepted, as far as it is known."""
        above = [_bound(verdict) for verdict in self.judged.values() if not verdict.accepted]
        if self.max_drop is not None:
            return min([self.max_drop, *above])
        below = [_bound(verdict) for verdict in self.judged.values() if verdict.accepted]
        return (max(below, default=0.0) + min(above)) / 2


def _bound(verdict: Verdict) -> float:
    found = verdict.evaluation
    return found.drop if found.drop_interval is None else found.drop_interval[1]


def _with_fixed(chosen: Floats) -> Floats:
    return np.append(chosen, 1.0)


@dataclass(frozen=True)
class Milp(Strategy):
    """The best placement by an estimate that every judgement corrects.

    Attributes:
        judgements: most placements that are judged.
        least_gain: stop when less than this is expected to be gained, as a share of what could be.
    """

    judgements: int = 16
    least_gain: float = 1e-6
    name: ClassVar[str] = "milp"
    needs_sensitivity: ClassVar[bool] = True
    follows_goal: ClassVar[bool] = True

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        space = search_space(graph, plan, self.options)
        best, safest = space.best(), space.safest()
        if best is None or safest is None:
            note = "no placement keeps to the tiles, latency and energy that are allowed, whatever its accuracy"
            return PassResult(explained(plan, space, plan.analog), (note,))
        if best.placement == plan.analog:
            return PassResult(explained(plan, space, plan.analog))
        trail = _Trail(self.judge, space, self.options.max_drop)
        found = best if trail.holds(best) else self._search(trail, safest, best)
        if found is None:
            note = "no placement within the bounds was shown to hold the budget; this one has the least estimate"
            return placed(plan, space, safest, (note,))
        return placed(plan, space, found)

    def _search(self, trail: _Trail, safest: Point, best: Point) -> Point | None:
        """The best accepted placement, where the best of all was rejected."""
        # What is digital anyway needs no judgement.
        found = safest if safest.placement == trail.space.fixed or trail.holds(safest) else None
        worth = max(safest.value - best.value, trail.space.resolution(trail.space.objective))
        while len(trail.judged) < self.judgements:
            worst = safest.value + _FIRST * worth if found is None else found.value
            point = self._next(trail, found, worst, self.least_gain * worth)
            if point is None:
                break
            if trail.holds(point):
                found = point
        return found

    def _next(self, trail: _Trail, found: Point | None, worst: float, least: float) -> Point | None:
        """The placement with the greatest expected gain over a value; None where less than ``least`` is expected."""
        belief = trail.belief()
        space = trail.space.believing(belief.mean)
        better = worst - space.resolution(space.objective)
        solved = None
        if len(space.groups) <= _LARGE or len(trail.judged) <= _SOLVED:
            solved = space.best(belief.limit, better, trail.rejected) or space.safest(better, trail.rejected)
        starts = [point for point in (solved, found) if point is not None]
        chosen, gain = None, least
        for point, estimated in _candidates(trail, belief, starts, better):
            if gain >= estimated:
                break
            if point.placement in trail.judged or point.value > better:
                continue
            here = _with_fixed(space.chosen(point.placement))
            variance = here @ belief.covariance @ here
            expected = float(belief.chance(np.asarray(belief.mean @ here), variance)) * (worst - point.value)
            if expected > gain:
                chosen, gain = point, expected
        return chosen


def _candidates(trail: _Trail, belief: Belief, starts: Sequence[Point], better: float) -> Iterator[tuple[Point, float]]:
    """Placements to judge next: those to start from, and what one or two moved groups make of them.

    Yields:
        A placement, and the expected gain over a value as it is estimated; it falls, and is infinite for starts.
    """
    yield from ((start, np.inf) for start in starts)
    if not starts:
        return
    gains = np.stack([_expected(trail.space, belief, start, better) for start in starts])
    most = min(len(starts) * (_EXACT + len(trail.judged)), gains.size)
    likely = np.argpartition(-gains, most - 1, axis=None)[:most]
    tried = 0
    for index in sorted(likely.tolist(), key=lambda i: -gains.flat[i]):
        which, one, other = np.unravel_index(index, gains.shape)
        moved = frozenset(trail.space.groups[one]) | frozenset(trail.space.groups[other])
        placement = starts[which].placement ^ moved
        if placement in trail.judged:
            continue
        if tried == _EXACT or not gains.flat[index] > 0:
            return
        tried += 1
        point = trail.space.point(placement)
        if point is not None:
            yield point, float(gains.flat[index])


def _expected(space: SearchSpace, belief: Belief, start: Point, better: float) -> Floats:
    """Expected gains over a value with one or two groups of a placement moved; 0 where a limit forbids it.

    Returns:
        ``(groups, groups)``: each pair once, above the diagonal, and single groups on it.
    """
    groups = len(space.groups)
    gains = better - start.value - pairs(space.flips(start, space.objective))
    for measure, bound in space.limits.items():
        gains[space.measured(measure, start) + pairs(space.flips(start, measure)) > bound] = 0.0
    chances = belief.flipped(_with_fixed(space.chosen(start.placement)))[:groups, :groups]
    return np.triu(np.maximum(gains, 0.0) * chances)
