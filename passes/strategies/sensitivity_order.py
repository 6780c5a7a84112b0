"""The strategy ``sensitivity``: layers in the order of damage for what they bring, and how far to go in it.

For MACs a layer brings its MACs: it comes in ascending order of damage per MAC. For latency and energy it brings
what it saves in the ideal placement (`SearchSpace.ideal`: all layers that pay, together), conversions included: it
comes in ascending order of damage per second or joule, and not at all where it does not pay there. Of the first so many
layers in this order, those are analog that together give the best objective within the limits; one that pays only
beside a neighbour that is not among them is left out. These placements are a path: the more layers there are to choose
from, the more damage is done, by and large. Bisection finds how far along it the budget seems to hold; what lies before
and behind is stepped back to, and gone on to. Behind the placement where it ends, the best of what is too small a step
for the path is judged as well.

The path has the safest placement first, each better by the objective than the one before (`rows_and_fillings`). Rows of
the first so many layers are on it, and between two rows what fits into the damage of the longer one without the layer
that makes it longer: a large layer so holds nobody up who comes after it. Steps of less than a thirtieth of all that
there is to gain are left out, since each step is tested, but for the last: the one before it may be all that holds.
Behind the placement that a search settles on, the best of them comes back as one step more.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.graph import LayerGraph, columns_of
from lhc.passes.base import PassResult
from lhc.passes.decide.layer_groups import Group
from lhc.passes.search.linear_objective_and_constraints import search_space
from lhc.passes.search.placement_program import Point, SearchSpace
from lhc.passes.search.reasons_and_fallbacks import placed
from lhc.passes.search.solver import Floats
from lhc.passes.strategies.base import Measure, SearchOptions, Strategy, decide, objective_value, reason
from lhc.plan import Plan

MOST_GROUPS = 64
"""Groups up to which what lies between two rows is looked at; with more of them a row is a small step anyway."""
STEPS = 30
"""Most steps from the safest to the best."""

Placement = frozenset[str]
Room = Callable[[Placement], bool]


def rows_and_fillings(
    fixed: Placement, order: Sequence[Placement], damages: Sequence[float], room: Room
) -> list[Placement]:
    """The placements by growing damage; some may be the same.

    Args:
        fixed: what is analog anyway.
        order: groups, those first that do least damage for what they bring.
        room: whether there are tiles for a placement.
    """
    found = list(_found(fixed, order, damages, room))
    return [placement for _, _, placement in sorted(found, key=lambda one: one[:2])]


def _found(
    fixed: Placement, order: Sequence[Placement], damages: Sequence[float], room: Room
) -> Iterator[tuple[float, int, Placement]]:
    row, done = fixed, 0.0
    for place, (group, damage) in enumerate(zip(order, damages, strict=True)):
        yield done, len(row), row
        if not room(row | group):
            continue
        if len(order) <= MOST_GROUPS:
            filling, more = row, 0.0
            for later, its in zip(order[place + 1 :], damages[place + 1 :], strict=True):
                if more + its < damage and room(filling | later):
                    filling, more = filling | later, more + its
                    yield done + more, len(filling), filling
        row, done = row | group, done + damage
    yield done, len(row), row


def thinned(placements: Sequence[Placement], value: Callable[[Placement], float]) -> list[Placement]:
    """Placements that each improve on the one before by at least a step, and the best one.

    Args:
        placements: the safest first.
        value: the smaller the better.
    """
    better: list[tuple[float, Placement]] = []
    for placement in placements:
        found = value(placement)
        if not better or found < better[-1][0]:
            better.append((found, placement))
    if not better:
        return []
    step = (better[0][0] - better[-1][0]) / STEPS
    kept = better[:1]
    for one in better[1:]:
        if kept[-1][0] - one[0] >= step or one is better[-1]:
            kept.append(one)
    return [placement for _, placement in kept]


def left_out(
    placements: Sequence[Placement], path: Sequence[Placement], place: int, value: Callable[[Placement], float]
) -> Placement | None:
    """The best placement that `thinned` left out as too small a step behind one that it kept; None if there is none.

    Args:
        placements: as `thinned` took them.
        path: as it gave them back.
        place: of the one on the path.
    """
    if place + 1 >= len(path):
        return None
    here, step = value(path[place]), (value(path[0]) - value(path[-1])) / STEPS
    between = placements[placements.index(path[place]) + 1 : placements.index(path[place + 1])]
    small = [placement for placement in between if 0 < here - value(placement) < step]
    return min(small, key=value, default=None)


MOST_SHAPED = 100
"""Placements that are worked out where that takes time."""
MOST_MOVED = 100
"""Groups up to which the order goes by what each saves with conversions where they are fewest without it, which may
take a program each; with more of them by what it saves while all other operators keep their formats."""


def by_worth(space: SearchSpace) -> list[Group]:
    """The groups that bring something, in ascending order of damage for what they bring; for MACs all of them."""
    damage = _damages(space)
    count = len(space.groups)
    if space.objective == "macs":
        useful, brings = list(range(count)), np.maximum(-space.terms["macs"][:count], 1)
    else:
        chosen = space.chosen(space.ideal.placement) > 0
        useful = np.flatnonzero(chosen).tolist()
        moved = space.changes(space.ideal, chosen if count <= MOST_MOVED else np.zeros(count, bool))
        brings = np.maximum(moved, space.resolution(space.objective))
    return [space.groups[g] for g in sorted(useful, key=lambda g: (damage[g] / brings[g], space.groups[g]))]


def _rest_first(order: Sequence[Group], plan: Plan) -> list[Group]:
    """The same order, but that columns of a layer come behind the rest of it, which they do less damage than never."""
    found = list(order)
    place = {name: number for number, group in enumerate(found) for name in group}
    for name in plan.digital_columns:
        rest, columns = place.get(name), place.get(columns_of(name))
        if rest is not None and columns is not None and columns < rest:
            found.insert(rest, found.pop(columns))
            place = {name: number for number, group in enumerate(found) for name in group}
    return found


def _damages(space: SearchSpace) -> Floats:
    """Damage of the groups with the copies that all layers together leave room for; fewer layers leave more."""
    everything = space.fixed.union(*space.groups)
    return np.asarray(space.terms["damage"][: len(space.groups)] * space.shares(everything)[:-1])


def anything_pays(graph: LayerGraph, plan: Plan, options: SearchOptions) -> bool:
    """Whether it matters what damage layers do: whether any is analog, or may be for what it brings."""
    if options.goal.objective == "macs" or options.goal.limits.keys() - {"tiles"} or plan.analog:
        return bool(plan.eligible)
    return bool(plan.eligible) and bool(search_space(graph, plan, options).ideal.placement)


@dataclass(frozen=True)
class SensitivityOrder(Strategy):
    """Order by damage for what layers bring, and bisect."""

    name: ClassVar[str] = "sensitivity"
    requires: ClassVar[frozenset[str]] = frozenset({"sensitivities"})
    follows_goal: ClassVar[bool] = True

    @classmethod
    def judgements(cls, groups: int) -> int:
        """Judgements of the bisection: all layers first, and one more behind its end."""
        return min(2 + math.ceil(math.log2(STEPS + 1)), (1 << groups) - 1)

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        space = search_space(graph, plan, self.options)
        order = _rest_first(by_worth(space), plan)
        if self.options.goal.needs_costs:
            return self._by_costs(plan, space, order)
        _, without_room = self.with_room(graph, plan, order)
        rows = self._rows(space, order, lambda placement: self.fits(graph, plan, placement))
        path, chosen = self._settled(rows, lambda placement: objective_value(graph, plan, "macs", placement))
        why = "within the budget together with the other analog layers"
        decided = decide(plan, path[chosen], reason(without_room), why)
        return PassResult(decided, fallbacks=tuple(path[:chosen][::-1]), bolder=tuple(path[chosen + 1 :]))

    def _by_costs(self, plan: Plan, space: SearchSpace, order: list[Group]) -> PassResult:
        """The search where latency or energy is wanted, or bounded."""
        if space.limits.keys() - {"tiles"}:
            # What does not pay may still be what keeps to a limit.
            order = order + [group for group in space.groups if group not in order]
        open_to = list(dict.fromkeys(self._rows(space, order, lambda placement: True)))
        places = np.unique(np.linspace(0, len(open_to) - 1, MOST_SHAPED).round().astype(int)).tolist()
        points = [_best(space.inside(open_to[place])) for place in places]
        values = {point.placement: point.value for point in points}
        path, chosen = self._settled(list(values), lambda placement: values[placement])
        return placed(plan, space, path[chosen], safer=path[:chosen][::-1], bolder=path[chosen + 1 :])

    def _rows(self, space: SearchSpace, order: Sequence[Group], room: Room) -> list[frozenset[str]]:
        damages = dict(zip(space.groups, _damages(space).tolist(), strict=True))
        groups = [frozenset(group) for group in order]
        return rows_and_fillings(space.fixed, groups, [damages[group] for group in order], room)

    def _settled(
        self, placements: Sequence[Placement], value: Callable[[Placement], float]
    ) -> tuple[list[Placement], int]:
        """The path, and where on it the search ends."""
        path = thinned(placements, value)
        chosen = self._bisect(path)
        more = left_out(placements, path, chosen, value)
        if more is not None and self.judge.within(more).accepted:
            chosen += 1
            path.insert(chosen, more)
        return path, chosen

    def _bisect(self, path: Sequence[frozenset[str]]) -> int:
        """The last placement of a path that holds the budget, if acceptance falls along it; the last is tried first."""
        good, bad = 0, len(path)
        middle = len(path) - 1
        while good < middle < bad:
            good, bad = (middle, bad) if self.judge.within(path[middle]).accepted else (good, middle)
            middle = (good + bad) // 2
        return good


def _best(space: SearchSpace) -> Point:
    """The best objective within the limits; where nothing is within them, on the tiles that there are."""
    tiles: dict[Measure, float] = {m: bound for m, bound in space.limits.items() if m == "tiles"}
    found = space.best() or replace(space, limits=tiles).best() or space.unlimited.point(space.fixed)
    assert found is not None  # nothing is moved there
    return found
