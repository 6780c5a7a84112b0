"""The strategy ``milp``: solve by estimate, judge on data, re-scale the estimate, solve again, repair.

1. The best placement that the limits allow is judged first, whatever its estimated damage. If it holds, that is all.
2. Else the damage to aim at is bracketed: what was accepted lies below, what was rejected above. The judge's upper
   bound of the drop is interpolated between the two ends (a factor between measured drop and estimated damage that is
   learned where it is needed), and the best placement up to the damage at which it meets the budget is judged next.
   Where the budget is not known in the metric's unit, the bracket is halved. A rejected placement and all that contain
   it are out.
3. Repair: layers differ from their estimates, so some placement with a larger estimate may hold. The safest one that
   gains half of what is still to be gained is judged; if it fails, half of that is tried.

No placement is judged twice. The result is the best one that was accepted. Fallbacks give up its layers one by one, the
one that does most damage for what it does for the objective first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from lhc.graph import LayerGraph
from lhc.passes.base import Judge, PassResult
from lhc.passes.search import Point, SearchSpace, search_space
from lhc.passes.search_base import Strategy, decide
from lhc.plan import Plan, Reason
from lhc.results import Verdict

__all__ = ["Milp", "placed"]

_MARGIN = 0.1
"""Part of a bracket, at either end, that an interpolation may not come near."""
_NARROW = 0.02
"""Bracket at which to stop, as a share of the damage of the best placement."""


@dataclass
class _Trail:
    """What was judged so far."""

    judge: Judge
    judged: dict[frozenset[str], tuple[Point, Verdict]] = field(default_factory=dict)

    def holds(self, point: Point) -> bool:
        """Whether a placement is accepted."""
        if point.placement not in self.judged:
            self.judged[point.placement] = (point, self.judge.within(point.placement))
        return self.judged[point.placement][1].accepted

    @property
    def rejected(self) -> list[frozenset[str]]:
        return [placement for placement, (_, verdict) in self.judged.items() if not verdict.accepted]

    def upper_bound(self, point: Point) -> float:
        """The judge's upper bound of the drop; 0 for what was not judged."""
        if point.placement not in self.judged:
            return 0.0
        found = self.judged[point.placement][1].evaluation
        return found.drop if found.drop_interval is None else found.drop_interval[1]


@dataclass(frozen=True)
class Milp(Strategy):
    """The best placement by estimate, verified and repaired.

    Attributes:
        steps: most judgements that look for the damage to aim at.
        repairs: most judgements after that.
    """

    steps: int = 8
    repairs: int = 8
    name: ClassVar[str] = "milp"
    needs_sensitivity: ClassVar[bool] = True
    follows_goal: ClassVar[bool] = True

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        space = search_space(graph, plan, self.options)
        best, safest = space.best(), space.safest()
        if best is None or safest is None:
            note = "no placement keeps to the tiles, latency and energy that are allowed, whatever its accuracy"
            return PassResult(_explained(plan, space, plan.analog), (note,))
        if best.placement == plan.analog:
            return PassResult(_explained(plan, space, plan.analog))
        trail = _Trail(self.judge)
        found = best if trail.holds(best) else self._search(space, trail, safest, best)
        if found is None:
            note = "no placement within the bounds was shown to hold the budget; this one has the least estimate"
            return placed(plan, space, safest, (note,))
        return placed(plan, space, found)

    def _search(self, space: SearchSpace, trail: _Trail, safest: Point, best: Point) -> Point | None:
        """The best accepted placement, where the best of all was rejected."""
        found = self._bracket(space, trail, safest, best)
        if found is None:
            # What is digital anyway needs no judgement.
            if safest.placement != space.fixed and not trail.holds(safest):
                return None
            found = safest
        return self._repair(space, trail, found)

    def _bracket(self, space: SearchSpace, trail: _Trail, low: Point, high: Point) -> Point | None:
        """Close in on the damage that the budget allows."""
        found: Point | None = None
        floor, narrow = low.damage, _NARROW * high.damage
        for _ in range(self.steps):
            if high.damage - floor <= narrow:
                break
            aim = self._aim(trail, low, high, floor)
            better = None if found is None else found.value - space.resolution(space.objective)
            point = space.best(max_damage=aim, max_value=better, avoid=trail.rejected)
            if point is None or point.placement == low.placement:
                floor = aim
            elif trail.holds(point):
                found = low = point
                floor = max(floor, point.damage)
            else:
                high = point
        return found

    def _aim(self, trail: _Trail, low: Point, high: Point, floor: float) -> float:
        """Damage at which the interpolated upper bound of the drop meets the budget."""
        width = high.damage - floor
        share = 0.5
        bounds = trail.upper_bound(low), trail.upper_bound(high)
        max_drop = self.options.max_drop
        if max_drop is not None and bounds[1] > bounds[0]:
            aim = low.damage + (max_drop - bounds[0]) / (bounds[1] - bounds[0]) * (high.damage - low.damage)
            share = min(max((aim - floor) / width, _MARGIN), 1 - _MARGIN) if width else share
        return floor + share * width

    def _repair(self, space: SearchSpace, trail: _Trail, found: Point) -> Point:
        """Look for better placements, the safest ones first."""
        least = space.resolution(space.objective)
        reach = space.best(avoid=trail.rejected)
        gain = 0.0 if reach is None else found.value - reach.value
        budget = len(trail.judged) + self.repairs
        while gain > least and len(trail.judged) < budget:
            step = max(gain / 2, least)
            point = space.safest(max_value=found.value - step, avoid=trail.rejected)
            if point is not None and trail.holds(point):
                gain -= found.value - point.value
                found = point
            else:
                gain = step if gain / 2 > least else 0.0
        return found


def placed(plan: Plan, space: SearchSpace, point: Point, notes: tuple[str, ...] = ()) -> PassResult:
    """The result of a search that ends at a placement; fallbacks keep to the limits."""
    return PassResult(_explained(plan, space, point.placement), notes, tuple(_safer(space, point)))


def _safer(space: SearchSpace, point: Point) -> Iterator[frozenset[str]]:
    left = point.placement
    costly = bool(space.limits.keys() - {"tiles"})  # fewer layers never take more tiles
    for group in space.drop_order(point.placement):
        left -= frozenset(group)
        if not costly or space.point(left) is not None:
            yield left


def _explained(plan: Plan, space: SearchSpace, analog: frozenset[str]) -> Plan:
    """The plan with every open layer decided, and why."""
    groups = {name: g for g, group in enumerate(space.groups) for name in group}
    tiles = space.terms["tiles"]
    used = space.constants["tiles"] + sum(tiles[g] for g, group in enumerate(space.groups) if analog.issuperset(group))

    def why_not(name: str) -> tuple[Reason, str]:
        g = groups[name]
        if used + tiles[g] > space.limits.get("tiles", float("inf")):
            return "tiles", "no tiles left for it beside the chosen layers"
        if space.terms[space.objective][g] >= 0 and space.objective != "macs":
            return "strategy", f"on tiles it would not lower the {space.objective}"
        return "sensitivity", "not shown to stay within the budget with it analog as well"

    return decide(plan, analog, why_not, f"within the budget, with the best {space.objective} that was found")
