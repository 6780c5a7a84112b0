"""What ``milp`` may judge next: every placement where groups are few, else moves of one or two groups."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from lhc.passes.search_belief import Belief, pairs
from lhc.passes.search_solver import Floats
from lhc.passes.search_space import Point, SearchSpace

__all__ = ["Aim", "every", "moves"]

_EXACT = 4
"""Most moves that are worked out exactly before one is judged; by then their promises are close."""


@dataclass(frozen=True, eq=False)
class Aim:
    """What a judgement is hoped to bring.

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
        """What accepted placements with such values are worth, from 0: no better, to 1."""
        gains = self.worst - values
        return np.where(gains > self.step, 1.0 if self.any_gain else gains / self.most, 0.0)

    def promises(self, chosen: Floats, values: Floats) -> Floats:
        """What placements are worth times the chance that they are accepted.

        Args:
            chosen: 1 where a group is analog, ``(placements, groups)``.
            values: of the objective, ``(placements,)``.
        """
        here = np.append(chosen, np.ones((len(chosen), 1)), axis=1)
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
            worth[space.measured(measure, start) + pairs(space.flips(start, measure)) > bound] = 0.0
        chances = self.belief.flipped(np.append(space.chosen(start.placement), 1.0))[:groups, :groups]
        return np.triu(worth * chances)


def every(space: SearchSpace, aim: Aim, judged: AbstractSet[frozenset[str]]) -> Iterator[tuple[Point, float]]:
    """All placements that the limits allow and that were not judged.

    Yields:
        A placement, and the most that it can promise, which falls.
    """
    groups = len(space.groups)
    chosen = (np.arange(2**groups)[:, None] >> np.arange(groups) & 1).astype(np.float64)
    values = space.floors(chosen, space.objective)
    promises = aim.promises(chosen, values)
    for measure, bound in space.limits.items():
        promises[space.floors(chosen, measure) > bound + space.resolution(measure)] = 0.0
    for index in np.lexsort((values, -promises)):
        if not promises[index] > 0:
            return
        placement = space.placement(chosen[index])
        point = None if placement in judged else space.point(placement)
        if point is not None:
            yield point, float(promises[index])


def moves(
    space: SearchSpace, aim: Aim, judged: AbstractSet[frozenset[str]], starts: Sequence[Point]
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
