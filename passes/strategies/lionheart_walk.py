"""Strategies that go once through the layers and keep each with which the joint placement is accepted.

- ``lionheart``: in descending order of MACs (Lammie et al., IEEE TETC 2025). Retraining is not part of it.
- ``random``: in random order, to compare with.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lhc.graph import LayerGraph
from lhc.passes.base import PassResult
from lhc.passes.decide.layer_groups import Group, by_macs
from lhc.passes.strategies.base import Strategy, decide, reason
from lhc.plan import Plan


def walked(
    analog: frozenset[str],
    order: Iterable[Group],
    fits: Callable[[frozenset[str]], bool],
    accepts: Callable[[frozenset[str]], bool],
) -> tuple[list[frozenset[str]], frozenset[str]]:
    """The placements of a greedy walk that adds one group after the other, and layers for which there is no room.

    Args:
        analog: the first placement.
        fits: whether there are tiles enough for a placement.
        accepts: whether it is kept.
    """
    path, without_room = [analog], frozenset[str]()
    for group in order:
        candidate = path[-1] | frozenset(group)
        if not fits(candidate):
            without_room |= frozenset(group)
        elif accepts(candidate):
            path.append(candidate)
    return path, without_room


@dataclass(frozen=True)
class _UntrainedWalk(Strategy):
    """One walk; fallbacks are its earlier steps."""

    @abstractmethod
    def _order(self, graph: LayerGraph, plan: Plan) -> Sequence[Group]:
        """The groups in the order in which they are tried."""

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        path, without_room = walked(
            plan.analog,
            self._order(graph, plan),
            lambda candidate: self.fits(graph, plan, candidate),
            lambda candidate: self.judge.within(candidate).accepted,
        )
        why = "kept: with it the joint drop stayed within the budget"
        decided = decide(plan, path[-1], reason(without_room), why)
        return PassResult(decided, fallbacks=tuple(reversed(path[:-1])))


@dataclass(frozen=True)
class LionHeart(_UntrainedWalk):
    """Greedy walk in descending order of MACs (LionHeart, part 1.1 of the published algorithm)."""

    name: ClassVar[str] = "lionheart"

    def _order(self, graph: LayerGraph, plan: Plan) -> Sequence[Group]:
        return by_macs(plan, self.groups(graph, plan))


@dataclass(frozen=True)
class Random(_UntrainedWalk):
    """Greedy walk in an order drawn from the seed."""

    name: ClassVar[str] = "random"

    def _order(self, graph: LayerGraph, plan: Plan) -> Sequence[Group]:
        groups = self.groups(graph, plan)
        return [groups[i] for i in np.random.default_rng(self.options.seed).permutation(len(groups))]
