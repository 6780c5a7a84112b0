"""The trade-off by estimate: all placements of which none is better in both damage and objective.

Between two neighbouring points A and B of the front lies a box of damage and objective. P, the best placement in the
lower half of its damage, and N, the safest one that is better than P, are on the front too, and no point lies between
them: what remains is a box from A to P and one from N to B (after the balanced box method, Boland et al., INFORMS J.
Comput. 27, 2015). The largest box goes first, so that a front that is cut short is spread evenly; it is complete when
no box is left.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from lhc.passes.search.placement_program import Point, SearchSpace


@dataclass(frozen=True)
class EstimatedFront:
    """A trade-off by estimate.

    Attributes:
        points: by growing damage and falling value of the objective; empty if the limits allow no placement.
        complete: whether these are all; else they are spread evenly over all.
    """

    points: tuple[Point, ...]
    complete: bool


def front(space: SearchSpace, most: int = 50) -> EstimatedFront:
    """The placements of which none is better than another in both estimated damage and objective."""
    safest, best = space.safest(), space.best()
    if safest is None or best is None:
        return EstimatedFront((), complete=True)
    if not _apart(space, safest, best):
        return EstimatedFront((best,), complete=True)
    points = {p.placement: p for p in (safest, best)}
    number = itertools.count(1)
    boxes = [(0.0, 0, safest, best)]
    while boxes and len(points) < most:
        _, _, safer, better = heapq.heappop(boxes)
        for one, other in _split(space, safer, better):
            points |= {one.placement: one, other.placement: other}
            area = (other.damage - one.damage) * (one.value - other.value)
            heapq.heappush(boxes, (-area, next(number), one, other))
    return EstimatedFront(tuple(sorted(points.values(), key=lambda p: p.damage)), complete=not boxes)


def _apart(space: SearchSpace, safer: Point, better: Point) -> bool:
    """Whether there is room for a point between two."""
    return better.damage - safer.damage > space.resolution("damage") and safer.value - better.value > space.resolution(
        space.objective
    )


def _split(space: SearchSpace, safer: Point, better: Point) -> Iterator[tuple[Point, Point]]:
    """The boxes that remain of one."""
    point = space.best(max_damage=(safer.damage + better.damage) / 2)
    # With further copies the program may do a little better than the way in which tiles are spent.
    if point is None or point == better or not _apart(space, safer, point):
        point = safer
    else:
        yield safer, point
    following = space.safest(max_value=point.value - space.resolution(space.objective))
    if following is not None and _apart(space, following, better):
        yield following, better
