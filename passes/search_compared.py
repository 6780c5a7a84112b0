"""Strategies to compare with: exhaustive search, a random order, and HILAL's.

HILAL (DATE 2026; published code github.com/anissbslh/HILAL) describes a layer by the curvature of the loss: with H the
Hessian of the loss over the layer's n parameters, W its weights and g = 0.08,

    ELI = 0.5 · (g · max|W|)² · tr(H) / n,    r = λmax(H) / tr(H)    (both 0 where tr(H) <= 0)

Both are standardised over the layers and parted by k-means into two clusters; the one with the smaller mean ELI is
robust and goes analog, in order of ELI, then r. No placement is judged. Its retraining after every layer is left out.
The curvatures are arguments here: they take gradients, which this package knows nothing of.
"""

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.cluster.vq import ClusterError, kmeans2

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.passes.base import Judge, PassResult
from lhc.passes.search import Point, SearchSpace, search_space
from lhc.passes.search_base import DEFAULT_GOAL, Goal, Group, Strategy, decide, fits, groups_of, reason
from lhc.passes.search_milp import placed
from lhc.plan import Plan, Reason

__all__ = ["Curvature", "Exhaustive", "Hilal", "Random", "Walk", "hilal_order"]

MOST_GROUPS = 16
"""Of an exhaustive search: 65,536 placements."""
RESTARTS = 8
"""Of k-means, as published."""


@dataclass(frozen=True)
class Exhaustive(Strategy):
    """All placements, the one with the best objective first, until one is accepted: the optimum for this judge.

    Attributes:
        goal: objective and bounds.
    """

    goal: Goal = DEFAULT_GOAL
    name: ClassVar[str] = "exhaustive"
    follows_goal: ClassVar[bool] = True

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        """Judge placements by falling quality.

        Raises:
            UsageError: too many layers.
        """
        space = search_space(graph, plan, self.goal)
        if len(space.groups) > MOST_GROUPS:
            raise UsageError(
                f"strategy 'exhaustive' takes up to {MOST_GROUPS} layers, there are {len(space.groups)}; narrow them"
                " with --include or --exclude, or use milp"
            )
        for point in _ranked(space):
            if point.placement == plan.analog or self.judge.within(point.placement).accepted:
                return placed(plan, space, point)
        note = "no placement keeps to the bounds and holds the budget"
        return placed(plan, space, Point(plan.analog, 0.0, 0.0), (note,))


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


def _ordered(groups: Sequence[Group], order: Sequence[str]) -> list[Group]:
    """The groups that an order names, by the first of their layers in it."""
    place = {name: i for i, name in enumerate(order)}
    named = [group for group in groups if not place.keys().isdisjoint(group)]
    return sorted(named, key=lambda group: min(place[name] for name in group if name in place))


def _walk(
    judge: Judge, graph: LayerGraph, plan: Plan, order: Sequence[Group]
) -> tuple[list[frozenset[str]], frozenset[str]]:
    """Keep every group with which the joint placement is accepted; also what found no tiles."""
    path, without_room = [plan.analog], frozenset[str]()
    for group in order:
        candidate = path[-1] | frozenset(group)
        if not fits(graph, plan, candidate):
            without_room |= frozenset(group)
        elif judge.within(candidate).accepted:
            path.append(candidate)
    return path, without_room


@dataclass(frozen=True)
class Walk(Strategy):
    """Go through layers in a given order and keep each with which the joint placement is accepted.

    Attributes:
        order: names of layers; those that share weights follow their first one, layers not named stay digital.
    """

    order: tuple[str, ...] = ()
    name: ClassVar[str] = "walk"

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        path, without_room = _walk(self.judge, graph, plan, _ordered(groups_of(graph, plan), self.order))
        decided = decide(plan, path[-1], reason(without_room), "kept: with it the joint drop stayed within the budget")
        return PassResult(decided, fallbacks=tuple(reversed(path[:-1])))


@dataclass(frozen=True)
class Random(Strategy):
    """A walk in random order.

    Attributes:
        seed: of the order.
    """

    seed: int = 0
    name: ClassVar[str] = "random"

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        groups = groups_of(graph, plan)
        order = [groups[i][0] for i in np.random.default_rng(self.seed).permutation(len(groups))]
        return Walk(self.judge, tuple(order)).run(graph, plan)


@dataclass(frozen=True)
class Curvature:
    """What HILAL knows of a layer: ELI and r."""

    eli: float
    ratio: float


def hilal_order(curvatures: Mapping[str, Curvature], seed: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """HILAL's robust layers, in the order in which they go analog, and its sensitive ones.

    Args:
        curvatures: name -> curvature, at least two layers.
        seed: of the starts of k-means.

    Raises:
        UsageError: fewer than two layers.
    """
    names = list(curvatures)
    if len(names) < 2:
        raise UsageError("HILAL parts layers into two clusters; it needs at least two")
    x = np.array([[curvatures[n].eli, curvatures[n].ratio] for n in names])
    labels = _two_clusters((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-12), seed)
    means = [x[labels == k, 0].mean() for k in (0, 1)]
    robust = {n for n, label in zip(names, labels, strict=True) if label == int(np.argmin(means))}
    ordered = sorted(robust, key=lambda n: (curvatures[n].eli, curvatures[n].ratio, names.index(n)))
    return tuple(ordered), tuple(n for n in names if n not in robust)


def _two_clusters(x: np.ndarray, seed: int) -> np.ndarray:
    """Labels of the best of several starts of k-means; one cluster where all layers are alike."""
    rng = np.random.default_rng(seed)
    best = np.zeros(len(x), np.int64)
    least = float("inf")
    for _ in range(RESTARTS):
        start = x[rng.choice(len(x), size=2, replace=False)]
        try:
            centres, labels = kmeans2(x, start, iter=100, minit="matrix", missing="raise")
        except ClusterError:  # a start with one empty cluster
            continue
        inertia = float(((x - centres[labels]) ** 2).sum())
        if inertia < least:
            best, least = labels, inertia
    return best


@dataclass(frozen=True)
class Hilal(Strategy):
    """HILAL without its retraining: the robust cluster goes analog, nothing is judged.

    Attributes:
        curvatures: of every eligible layer.
        seed: of the starts of k-means.
    """

    curvatures: Mapping[str, Curvature] = field(default_factory=dict)
    seed: int = 0
    name: ClassVar[str] = "hilal"
    searches: ClassVar[bool] = False

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        """Place the robust cluster, as far as there are tiles.

        Raises:
            UsageError: an eligible layer without curvature, or fewer than two layers.
        """
        missing = [name for name in plan.eligible if name not in self.curvatures]
        if missing:
            raise UsageError(f"strategy 'hilal' needs the curvature of every layer; missing: {', '.join(missing)}")
        robust, _ = hilal_order({name: self.curvatures[name] for name in plan.eligible}, self.seed)
        analog, without_room = plan.analog, frozenset[str]()
        for group in _ordered(groups_of(graph, plan), robust):
            if fits(graph, plan, analog | frozenset(group)):
                analog |= frozenset(group)
            else:
                without_room |= frozenset(group)

        def why_not(name: str) -> tuple[Reason, str]:
            return (
                ("tiles", "no tiles left for it")
                if name in without_room
                else ("strategy", "in HILAL's sensitive cluster")
            )

        return PassResult(decide(plan, analog, why_not, "in HILAL's robust cluster"))
