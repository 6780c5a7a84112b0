"""What a search by estimate ends with: the plan, why each layer is where it is, and what to fall back to."""

from collections.abc import Iterator

from lhc.passes.base import PassResult
from lhc.passes.search import Point, SearchSpace
from lhc.passes.search_base import decide
from lhc.plan import Plan, Reason

__all__ = ["explained", "placed"]


def placed(plan: Plan, space: SearchSpace, point: Point, notes: tuple[str, ...] = ()) -> PassResult:
    """The result of a search that ends at a placement; fallbacks keep to the limits."""
    return PassResult(explained(plan, space, point.placement), notes, tuple(_safer(space, point)))


def _safer(space: SearchSpace, point: Point) -> Iterator[frozenset[str]]:
    left = point.placement
    costly = bool(space.limits.keys() - {"tiles"})  # fewer layers never take more tiles
    for group in space.drop_order(point.placement):
        left -= frozenset(group)
        if not costly or space.point(left) is not None:
            yield left


def explained(plan: Plan, space: SearchSpace, analog: frozenset[str]) -> Plan:
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
