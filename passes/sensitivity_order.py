"""The strategy ``sensitivity``: layers in the order of damage for what they bring; bisection, then repair.

For MACs a layer brings its MACs: it is tried in ascending order of damage per MAC. For latency and energy it brings
what it saves in the ideal placement (`SearchSpace.ideal`: all layers that pay, together), conversions included: it is
tried in ascending order of damage per second or joule, and not at all where it does not pay there. Of the first so many
layers in this order, those are analog that together give the best objective within the limits; one that pays only
beside a neighbour that is not among them is left out. The more there are to choose from, the more damage is done, by
and large, so the longest row that holds the budget is found by bisection. Then those after it are tried one by one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.graph import LayerGraph
from lhc.passes.base import PassResult
from lhc.passes.groups import Group
from lhc.passes.search_result import placed
from lhc.passes.search_space import Point, SearchSpace
from lhc.passes.search_terms import search_space
from lhc.passes.strategy import Measure, SearchOptions, Strategy, decide, reason
from lhc.plan import Plan

__all__ = ["SensitivityOrder", "anything_pays", "by_worth"]

Shape = Callable[[Sequence[Group]], frozenset[str]]
"""The placement to try where these groups may be analog."""


def by_worth(space: SearchSpace) -> list[Group]:
    """The groups that bring something, in ascending order of damage for what they bring; for MACs all of them."""
    count, everything = len(space.groups), space.fixed.union(*space.groups)
    # With the copies of all layers together; fewer leave more tiles for copies, so that each does less damage.
    damage = space.terms["damage"][:count] * space.shares(everything)[:-1]
    if space.objective == "macs":
        useful, brings = list(range(count)), np.maximum(-space.terms["macs"][:count], 1)
    else:
        useful = np.flatnonzero(space.chosen(space.ideal.placement)).tolist()
        brings = np.maximum(space.changes(space.ideal), space.resolution(space.objective))
    return [space.groups[g] for g in sorted(useful, key=lambda g: (damage[g] / brings[g], space.groups[g]))]


def anything_pays(graph: LayerGraph, plan: Plan, options: SearchOptions) -> bool:
    """Whether it matters what damage layers do: whether any is analog, or may be for what it brings."""
    if options.goal.objective == "macs" or options.goal.limits.keys() - {"tiles"} or plan.analog:
        return bool(plan.eligible)
    return bool(plan.eligible) and bool(search_space(graph, plan, options).ideal.placement)


@dataclass(frozen=True)
class SensitivityOrder(Strategy):
    """Order by damage for what layers bring, bisect, repair.

    Attributes:
        repairs: most layers that are tried after the bisection.
    """

    repairs: int = 8
    name: ClassVar[str] = "sensitivity"
    requires: ClassVar[frozenset[str]] = frozenset({"sensitivities"})
    follows_goal: ClassVar[bool] = True

    @classmethod
    def judgements(cls, groups: int) -> int:
        """Of the bisection, all layers first, and of the repair."""
        return min(1 + math.ceil(math.log2(groups + 1)) + cls.repairs, (1 << groups) - 1)

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        space = search_space(graph, plan, self.options)
        order = by_worth(space)
        if self.options.goal.needs_costs:
            return self._by_costs(plan, space, order)
        analog, without_room = self.with_room(graph, plan, order)
        fitting = [group for group in order if analog.issuperset(group)]
        chosen = self._search(plan.analog, fitting, lambda groups: plan.analog.union(*groups))
        why = "within the budget together with the other analog layers"
        decided = decide(plan, plan.analog.union(*chosen), reason(without_room), why)
        safer = [group for group in order if group in chosen]
        fallbacks = tuple(plan.analog.union(*safer[:n]) for n in range(len(safer) - 1, -1, -1))
        return PassResult(decided, fallbacks=fallbacks)

    def _by_costs(self, plan: Plan, space: SearchSpace, order: list[Group]) -> PassResult:
        """The search where latency or energy is wanted, or bounded."""
        if space.limits.keys() - {"tiles"}:
            # What does not pay may still be what keeps to a limit.
            order = order + [group for group in space.groups if group not in order]

        def best(groups: Sequence[Group]) -> Point:
            return _best(space.inside(space.fixed.union(*groups)))

        chosen = self._search(space.fixed, order, lambda groups: best(groups).placement)
        return placed(plan, space, best(chosen).placement)

    def _search(self, fixed: frozenset[str], order: Sequence[Group], shape: Shape) -> list[Group]:
        """The groups with which the search ends, of those that fit."""
        chosen = self._bisect(fixed, order, shape)
        return chosen + self._repair(chosen, [g for g in order if g not in chosen], shape)

    def _bisect(self, fixed: frozenset[str], order: Sequence[Group], shape: Shape) -> list[Group]:
        """The longest prefix that holds the budget, if acceptance falls with length; all of it is tried first."""
        good, bad = 0, len(order) + 1
        middle = len(order)
        while good < middle < bad:
            placement = shape(order[:middle])
            if placement == fixed or self.judge.within(placement).accepted:
                good = middle
            else:
                bad = middle
            middle = (good + bad) // 2
        return list(order[:good])

    def _repair(self, chosen: Sequence[Group], rest: Sequence[Group], shape: Shape) -> list[Group]:
        """Layers that can be added although an earlier one could not: the order is only an estimate."""
        added: list[Group] = []
        # The first one left is what the bisection stopped at: it has been judged.
        for group in rest[1 : 1 + self.repairs]:
            placement = shape([*chosen, *added, group])
            # One that does not pay beside the others changes nothing.
            if placement.issuperset(group) and self.judge.within(placement).accepted:
                added.append(group)
        return added


def _best(space: SearchSpace) -> Point:
    """The best objective within the limits; where nothing is within them, on the tiles that there are."""
    tiles: dict[Measure, float] = {m: bound for m, bound in space.limits.items() if m == "tiles"}
    found = space.best() or replace(space, limits=tiles).best() or space.unlimited.point(space.fixed)
    assert found is not None  # nothing is moved there
    return found
