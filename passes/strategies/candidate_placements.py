"""A path of placements for the strategy ``sensitivity``: the safest first, each better by the objective than before.

Layers come in the order of damage for what they bring. Rows of the first so many of them are on the path, and between
two rows what fits into the damage of the longer one without the layer that makes it longer: a large layer so holds
nobody up who comes after it. Steps of less than a thirtieth of all that there is to gain are left out, since each step
is tested, but for the last: the one before it may be all that holds. Behind the placement that a search settles on, the
best of them comes back as one step more.
"""

from collections.abc import Callable, Iterator, Sequence

__all__ = ["STEPS", "Placement", "Room", "left_out", "rows_and_fillings", "thinned"]

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
