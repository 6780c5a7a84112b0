"""The strategy ``exhaustive``: the optimum for a judge, on few layers; to compare with."""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.passes.base import PassResult
from lhc.passes.search.linear_objective_and_constraints import search_space
from lhc.passes.search.placement_program import Point, SearchSpace
from lhc.passes.search.reasons_and_fallbacks import placed
from lhc.passes.strategies.base import Strategy
from lhc.plan import Plan

MOST_GROUPS = 16
"""Of an exhaustive search: 65,536 placements."""


@dataclass(frozen=True)
class Exhaustive(Strategy):
    """All placements, the one with the best objective first, until one is accepted: the optimum for this judge."""

    name: ClassVar[str] = "exhaustive"
    follows_goal: ClassVar[bool] = True

    @classmethod
    def judgements(cls, groups: int) -> int:
        """Number of all placements but the one that judges nothing; the search ends at the first that is accepted."""
        return (1 << min(groups, MOST_GROUPS)) - 1

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        """Judge placements by falling quality.

        Raises:
            UsageError: too many layers.
        """
        space = search_space(graph, plan, self.options)
        if len(space.groups) > MOST_GROUPS:
            raise UsageError(
                f"strategy 'exhaustive' takes up to {MOST_GROUPS} layers, there are {len(space.groups)}; narrow them"
                " with --include or --exclude, or use milp"
            )
        for point in _ranked(space):
            if point.placement == plan.analog or self.judge.within(point.placement).accepted:
                return placed(plan, space, point.placement)
        note = "no placement keeps to the bounds and holds the budget"
        return placed(plan, space, plan.analog, (note,))


def _ranked(space: SearchSpace) -> Iterator[Point]:
    """All placements that the limits allow, the best first.

    What single layers add up to is a lower bound of the objective, as conversions only add to it: the whole is worked
    out when a bound comes up.
    """
    value, damage = space.terms[space.objective], space.terms["damage"]
    heap: list[tuple[float, float, int, Point | frozenset[int]]] = []
    indices = range(len(space.groups))
    subsets = (s for size in indices for s in itertools.combinations(indices, size))
    for number, subset in enumerate([*subsets, tuple(indices)]):
        chosen = list(subset)
        bound = space.constants[space.objective] + float(value[chosen].sum())
        heap.append((bound, float(damage[chosen].sum()), number, frozenset(subset)))
    heapq.heapify(heap)
    while heap:
        _, _, number, found = heapq.heappop(heap)
        if isinstance(found, Point):
            yield found
            continue
        point = space.point(space.fixed.union(*(space.groups[i] for i in found)))
        if point is not None:
            heapq.heappush(heap, (point.value, point.damage, number, point))
