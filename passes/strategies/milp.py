"""The strategy ``milp``: weigh placements by estimate, judge on data, correct the estimate by what was judged, go on.

1. The best placement that the limits allow is judged first, whatever its estimated damage. If it holds, that is all.
2. Else drops of layers are believed to be their sensitivities times a factor, both corrected by the bounds of all
   that was judged (`lhc.passes.strategies.milp_posterior`). A rejected bound below the budget lowers what is aimed at.
3. Up to 16 groups, every placement is a candidate. By turns the one with the greatest expected gain (chance of
   acceptance times what it is better by) and the one with the greatest chance to be better at all is judged: the first
   takes large steps, the second finds the small ones that are nearly sure, which large ones outbid for ever.
4. Above that, the best placement whose believed drop is within the budget is solved for exactly; where there is none,
   the safest one that is better than what was found. It, and what differs from it or from the best accepted placement
   by one or two groups, are the candidates; the one with the greatest expected gain is judged. Above 100 groups the
   program is solved nearly, and only until four placements are judged.

No placement is judged twice. The result is the best one that was accepted; for latency and energy what does not pay in
it is left out, if what is left is accepted. Fallbacks give up its layers one by one, the one that does most damage for
what it does for the objective first.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from lhc.graph import LayerGraph
from lhc.passes.base import Judge, PassResult
from lhc.passes.search.linear_objective_and_constraints import search_space
from lhc.passes.search.placement_program import Point, SearchSpace
from lhc.passes.search.reasons_and_fallbacks import explained, only_paying, placed
from lhc.passes.search.solver import Floats
from lhc.passes.strategies.base import Strategy
from lhc.passes.strategies.exhaustive import MOST_GROUPS
from lhc.passes.strategies.milp_posterior import Belief, believe, pairs
from lhc.plan import Plan
from lhc.results import Verdict

_SOLVED = 4
"""Judgements after which programs are left out in large searches, to save time; moves go on."""
_FIRST = 0.1
"""What the first accepted placement is worth, as a share of what there is to gain."""
_FEW_WITH_COPIES = 10
"""Groups up to which every placement is weighed where tiles that are left over hold further copies."""
_EXACT = 4
"""Most moves that are worked out exactly before one is judged; by then their promises are close."""


@dataclass
class _Trail:
    """Placements judged so far, and the posterior that follows.

    Attributes:
        space: the placements, with their sensitivities.
        max_drop: the budget, where it is known.
        judged: placements in the order in which they were judged.
    """

    judge: Judge
    space: SearchSpace
    max_drop: float | None
    judged: dict[frozenset[str], Verdict] = field(default_factory=dict)

    def holds(self, placement: frozenset[str]) -> bool:
        """Whether a placement is accepted."""
        if placement not in self.judged:
            self.judged[placement] = self.judge.within(placement)
        return self.judged[placement].accepted

    @property
    def rejected(self) -> list[frozenset[str]]:
        return [placement for placement, verdict in self.judged.items() if not verdict.accepted]

    def belief(self) -> Belief:
        """Posterior of the damage of each group, the fixed layers last."""
        sensitivities = self.space.terms["damage"][: len(self.space.groups)]
        bounds = [verdict.bound for verdict in self.judged.values()]
        return believe(
            np.append(sensitivities, self.space.constants["damage"]),
            [_with_fixed(self.space.chosen(placement)) * self.space.shares(placement) for placement in self.judged],
            bounds,
            self._limit(),
            max(1 / v.evaluation.samples if v.evaluation.percent else 0.0 for v in self.judged.values()),
        )

    def _limit(self) -> float:
        """The greatest bound that is accepted, as far as it is known."""
        above = [verdict.bound for verdict in self.judged.values() if not verdict.accepted]
        if self.max_drop is not None:
            return min([self.max_drop, *above])
        below = [verdict.bound for verdict in self.judged.values() if verdict.accepted]
        return (max(below, default=0.0) + min(above)) / 2


def _with_fixed(chosen: Floats) -> Floats:
    return np.append(chosen, 1.0)


@dataclass(frozen=True, eq=False)
class _Aim:
    """Expected gain of judging a placement.

    Attributes:
        belief: in the drops of groups, and last of what is analog anyway.
        worst: the value of the objective that a placement has to be better than.
        step: by more than that.
        most: what could be gained at most; above 0.
        any_gain: every gain counts the same; else each as a share of the most.
    """

    belief: Belief
    worst: float
    step: float
    most: float
    any_gain: bool

    def worth(self, values: Floats) -> Floats:
        """Worth of accepted placements with these objective values: 0 is no better than the best so far, 1 the most."""
        gains = self.worst - values
        return np.where(gains > self.step, 1.0 if self.any_gain else gains / self.most, 0.0)

    def promises(self, here: Floats, values: Floats) -> Floats:
        """Expected worth of placements: worth times the chance of being accepted.

        Args:
            here: the share of their damage that groups do, and last what is analog anyway,
                ``(placements, groups + 1)``.
            values: of the objective, ``(placements,)``.
        """
        variance = ((here @ self.belief.covariance) * here).sum(axis=1)
        return self.belief.chance(here @ self.belief.mean, variance) * self.worth(values)

    def moved(self, space: SearchSpace, start: Point) -> Floats:
        """The same for a placement with one or two groups moved, as estimated; 0 where a limit forbids it.

        Returns:
            ``(groups, groups)``: each pair once, above the diagonal, and single groups on it.
        """
        groups = len(space.groups)
        worth = self.worth(start.value + pairs(space.flips(start, space.objective)))
        for measure, bound in space.limits.items():
            worth[space.least(measure, start) + pairs(space.flips(start, measure)) > bound] = 0.0
        chosen, everything = np.append(space.chosen(start.placement), 1.0), space.fixed.union(*space.groups)
        # What is added has fewer copies than what is there: those that it has beside all others.
        shares = np.where(chosen > 0, space.shares(start.placement), space.shares(everything))
        chances = self.belief.scaled(shares).flipped(chosen)[:groups, :groups]
        return np.triu(worth * chances)


def _every(space: SearchSpace, aim: _Aim, judged: AbstractSet[frozenset[str]]) -> Iterator[tuple[Point, float]]:
    """All placements that the limits allow and that were not judged.

    Yields:
        A placement, and the most that it can promise, which falls.
    """
    groups = len(space.groups)
    chosen = (np.arange(2**groups)[:, None] >> np.arange(groups) & 1).astype(np.float64)
    values = space.floors(chosen, space.objective)
    here = np.append(chosen, np.ones((len(chosen), 1)), axis=1)
    if space.holders:
        here *= np.stack([space.shares(space.placement(row)) for row in chosen])
    promises = aim.promises(here, values)
    for measure, bound in space.limits.items():
        promises[space.floors(chosen, measure) > bound + space.resolution(measure)] = 0.0
    for index in np.lexsort((values, -promises)):
        if not promises[index] > 0:
            return
        placement = space.placement(chosen[index])
        point = None if placement in judged else space.point(placement)
        if point is not None:
            yield point, float(promises[index])


def _moves(
    space: SearchSpace, aim: _Aim, judged: AbstractSet[frozenset[str]], starts: Sequence[Point]
) -> Iterator[tuple[Point, float]]:
    """Placements to start from, and what one or two moved groups make of them.

    Yields:
        A placement, and what it promises by estimate, which falls, and is infinite for starts.
    """
    yield from ((start, np.inf) for start in starts if start.placement not in judged)
    promises = np.stack([aim.moved(space, start) for start in starts])
    most = min(len(starts) * (_EXACT + len(judged)), promises.size)
    likely = np.argpartition(-promises, most - 1, axis=None)[:most]
    tried = 0
    for index in sorted(likely.tolist(), key=lambda i: -promises.flat[i]):
        which, one, other = np.unravel_index(index, promises.shape)
        moved = frozenset(space.groups[one]) | frozenset(space.groups[other])
        placement = starts[which].placement ^ moved
        if placement in judged:
            continue
        if tried == _EXACT or not promises.flat[index] > 0:
            return
        tried += 1
        point = space.point(placement)
        if point is not None:
            yield point, float(promises.flat[index])


@dataclass(frozen=True)
class Milp(Strategy):
    """The best placement by an estimate that every judgement corrects.

    Attributes:
        most: placements that are judged.
        least_gain: stop when less than this is promised: of all that could be gained, or as a chance of any gain.
        few: groups up to which every placement is weighed.
        exact: groups up to which programs are solved exactly, as often as it takes; above it nearly, four times.
    """

    most: int = 16
    least_gain: float = 1e-6
    few: int = MOST_GROUPS
    exact: int = 100
    name: ClassVar[str] = "milp"
    requires: ClassVar[frozenset[str]] = frozenset({"sensitivities"})
    follows_goal: ClassVar[bool] = True

    @classmethod
    def judgements(cls, groups: int) -> int:
        """Number of judgements allowed, and one without what does not pay; fewer where there are fewer placements."""
        return min(cls.most + 1, (1 << groups) - 1)

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        space = search_space(graph, plan, self.options)
        best, safest = space.best(), space.safest()
        if best is None or safest is None:
            note = "no placement keeps to the tiles, latency and energy that are allowed, whatever its accuracy"
            return PassResult(explained(plan, space, plan.analog), (note,))
        if best.placement == plan.analog:
            return placed(plan, space, best.placement)
        trail = _Trail(self.judge, space, self.options.max_drop)
        found = best if trail.holds(best.placement) else self._search(trail, safest, best)
        if found is None:
            note = "no placement within the bounds meets the budget; this one has the least estimate"
            return placed(plan, space, only_paying(space, safest), (note,))
        paying = only_paying(space, found)
        # What is digital anyway needs no judgement.
        kept = paying if paying == space.fixed or trail.holds(paying) else found.placement
        return placed(plan, space, kept)

    def _search(self, trail: _Trail, safest: Point, best: Point) -> Point | None:
        """The best accepted placement, where the best of all was rejected."""
        found = safest if safest.placement == trail.space.fixed or trail.holds(safest.placement) else None
        step = trail.space.resolution(trail.space.objective)
        worth, few = max(safest.value - best.value, step), self._weighs_all(trail.space)
        while len(trail.judged) < self.most:
            worst = safest.value + _FIRST * worth if found is None else found.value
            aim = _Aim(trail.belief(), worst, step, worth, any_gain=few and len(trail.judged) % 2 == 0)
            point = self._next(trail, found or safest, aim)
            if point is None:
                break
            if trail.holds(point.placement):
                found = point
        return found

    def _next(self, trail: _Trail, start: Point, aim: _Aim) -> Point | None:
        """The placement that promises most; None where none promises ``least_gain``."""
        space = trail.space
        if self._weighs_all(space):
            options = _every(space, aim, trail.judged.keys())
        else:
            solved = self._solved(trail, aim)
            starts = [start] if solved is None else [solved, start]
            options = _moves(space, aim, trail.judged.keys(), starts)
        chosen, most = None, self.least_gain
        for point, estimated in options:
            if most >= estimated:
                break
            here = _with_fixed(space.chosen(point.placement)) * space.shares(point.placement)
            promised = float(aim.promises(here[None, :], np.array([point.value]))[0])
            if promised > most:
                chosen, most = point, promised
        return chosen

    def _weighs_all(self, space: SearchSpace) -> bool:
        """Whether every placement is weighed; with further copies each takes longer."""
        return len(space.groups) <= (min(self.few, _FEW_WITH_COPIES) if space.holders else self.few)

    def _solved(self, trail: _Trail, aim: _Aim) -> Point | None:
        """The best placement that is believed to hold; else the safest that is better."""
        large = len(trail.space.groups) > self.exact
        if large and len(trail.judged) > _SOLVED:
            return None
        space, better = trail.space.believing(aim.belief.mean), aim.worst - aim.step
        space = replace(space, roughly=large)
        return space.best(aim.belief.limit, better, trail.rejected) or space.safest(better, trail.rejected)
