"""Result of a search by estimate: the plan, a reason for each layer, and safer placements to fall back to.

For latency and energy no placement is returned in which a layer costs more than it saves, conversions included, unless
a limit or the user wants it so: what gives up a layer gives up those that paid only together with it.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from lhc.costs import spent
from lhc.passes.base import PassResult
from lhc.passes.search.placement_program import Point, SearchSpace
from lhc.passes.strategies.base import NOT_MET, decide
from lhc.plan import Plan, Reason
from lhc.support.number_formatting import amount

MOST_STEPS = 32
"""Fallbacks that are worked out where that takes time: the first ones, then evenly down to what is analog anyway."""
NOTHING_PAYS = (
    "no {layer} pays on this machine: by the cost model each takes more {objective} on tiles than on a digital core."
    " So all that were free are digital; --objective macs puts the most multiplications on tiles all the same"
)
_UNITS = {"latency": "s", "energy": "J"}


def placed(
    plan: Plan,
    space: SearchSpace,
    analog: frozenset[str],
    notes: tuple[str, ...] = (),
    safer: Iterable[frozenset[str]] | None = None,
    bolder: Iterable[frozenset[str]] = (),
) -> PassResult:
    """The result of a search that ends at a placement; fallbacks keep to the limits.

    Args:
        safer: what to step back to; by default the placement without one layer after the other.
        bolder: what to go on to.
    """
    if space.objective in _UNITS and space.groups and space.ideal.placement == space.fixed:
        notes += (NOTHING_PAYS.format(layer="other layer" if space.fixed else "layer", objective=space.objective),)
    fallbacks = _safer(space, analog) if safer is None else safer
    return PassResult(explained(plan, space, analog), notes, tuple(fallbacks), tuple(bolder))


def only_paying(space: SearchSpace, point: Point) -> frozenset[str]:
    """A placement without layers that cost more than they save; as it is where MACs are wanted."""
    found = space.paying(point.placement) if space.objective in _UNITS else None
    return point.placement if found is None else found.placement


def _safer(space: SearchSpace, analog: frozenset[str]) -> Iterator[frozenset[str]]:
    left, order = analog, space.drop_order(analog)
    if space.objective in _UNITS:
        for length in _lengths(len(order)):
            safer = left.difference(*order[:length])
            found = space.paying(safer)
            if safer != left and found is not None and found.placement != left:
                left = found.placement
                yield left
        return
    costly = bool(space.limits.keys() - {"tiles"})  # fewer layers never take more tiles
    for group in order:
        left -= frozenset(group)
        if not costly or space.point(left) is not None:
            yield left


def _lengths(count: int) -> list[int]:
    """How many groups are given up, step by step."""
    one_by_one = min(count, MOST_STEPS // 2)
    rest = np.linspace(one_by_one, count, MOST_STEPS // 2).astype(int)
    return sorted({*range(1, one_by_one + 1), *rest.tolist()} - {0})


def explained(plan: Plan, space: SearchSpace, analog: frozenset[str]) -> Plan:
    """The plan with every open layer decided, and why."""
    groups = {name: g for g, group in enumerate(space.groups) for name in group}
    tiles = space.terms["tiles"]
    used = space.constants["tiles"] + sum(tiles[g] for g, group in enumerate(space.groups) if analog.issuperset(group))
    costly = too_costly(plan, space, analog)

    def why_not(name: str) -> tuple[Reason, str]:
        g = groups[name]
        if name in costly:
            return "cost", costly[name]
        if used + tiles[g] > space.limits.get("tiles", float("inf")):
            return "tiles", "no tiles left for it beside the chosen layers"
        return "sensitivity", NOT_MET

    return decide(plan, analog, why_not, f"within the budget, with the best {space.objective} that was found")


def too_costly(plan: Plan, space: SearchSpace, analog: frozenset[str]) -> dict[str, str]:
    """Digital layers that would cost more on tiles than they save, beside a placement; empty where MACs are wanted."""
    here = space.unlimited.point(analog) if space.objective in _UNITS else None
    if here is None:
        return {}
    digital = np.array([analog.isdisjoint(group) for group in space.groups], bool)
    changes, titles = space.changes(here, digital), plan.titles
    return {
        name: _costs_more(titles, space, g, float(changes[g]))
        for g, group in enumerate(space.groups)
        if changes[g] >= 0 and digital[g]
        for name in group
    }


def _costs_more(titles: Mapping[str, str], space: SearchSpace, g: int, change: float) -> str:
    """``dearer on tiles than digital: 12.3 µJ, minus 2 µJ of conversions, against 0.14 µJ``, of a sample."""
    assert space.costs is not None  # there is an objective that takes them
    group, unit = space.groups[g], _UNITS[space.objective]
    analog, digital = (
        sum(spent(cost[name], space.objective) for name in group) for cost in (space.costs.analog, space.costs.digital)
    )
    conversions = change - (analog - digital)
    text = f"dearer on tiles than digital: {amount(analog, unit)}"
    if abs(conversions) > space.resolution(space.objective):
        word = "plus" if conversions > 0 else "minus"
        text += f", {word} {amount(abs(conversions), unit)} of conversions,"
    text += f" against {amount(digital, unit)}"
    if len(group) > 1:
        text += f"; for {', '.join(titles[name] for name in group)} together"
    return text
