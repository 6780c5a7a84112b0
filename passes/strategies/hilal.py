"""The strategy ``hilal``: the ordering of HILAL, to compare with.

HILAL (DATE 2026; published code github.com/anissbslh/HILAL) describes a layer by the curvature of the loss: with H the
Hessian of the loss over the layer's n parameters, W its weights and g = 0.08,

    ELI = 0.5 · (g · max|W|)² · tr(H) / n,    r = λmax(H) / tr(H)    (both 0 where tr(H) <= 0)

Both are standardised over the layers and parted by k-means into two clusters; the one with the smaller mean ELI is
robust and goes analog, in order of ELI, then r. No placement is judged. Its retraining after every layer is left out.
The curvatures are arguments here: they take gradients, which this package knows nothing of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy

from lhc.errors import UsageError
from lhc.graph import LayerGraph
from lhc.passes.base import PassResult
from lhc.passes.decide.layer_groups import Group
from lhc.passes.strategies.base import Curvature, Unjudged
from lhc.plan import Plan

RESTARTS = 8
"""Of k-means, as published."""


def robust_layers(curvatures: Mapping[str, Curvature], seed: int = 0) -> tuple[str, ...]:
    """HILAL's robust layers, in the order in which they go analog; all of them where they are alike."""
    names = list(curvatures)
    if len(names) < 2:
        return tuple(names)
    x = np.array([[curvatures[n].eli, curvatures[n].ratio] for n in names])
    labels = _two_clusters((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-12), seed)
    means = [x[labels == k, 0].mean() for k in sorted(set(labels.tolist()))]
    robust = [n for n, label in zip(names, labels, strict=True) if label == int(np.argmin(means))]
    return tuple(sorted(robust, key=lambda n: (curvatures[n].eli, curvatures[n].ratio)))


def _two_clusters(x: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    """Labels of the best of several starts of k-means; all 0 where all layers are alike."""
    rng = np.random.default_rng(seed)
    best = np.zeros(len(x), np.int64)
    least = float("inf")
    for _ in range(RESTARTS):
        start = x[rng.choice(len(x), size=2, replace=False)]
        try:
            centres, labels = scipy.cluster.vq.kmeans2(x, start, iter=100, minit="matrix", missing="raise")
        except scipy.cluster.vq.ClusterError:  # a start with one empty cluster
            continue
        inertia = float(((x - centres[labels]) ** 2).sum())
        if inertia < least:
            best, least = labels.astype(np.int64), inertia
    return best


@dataclass(frozen=True)
class Hilal(Unjudged):
    """HILAL without its retraining: the robust cluster goes analog, nothing is judged."""

    name: ClassVar[str] = "hilal"
    requires: ClassVar[frozenset[str]] = frozenset({"curvatures"})

    def run(self, graph: LayerGraph, plan: Plan) -> PassResult:
        """Place the robust cluster, as far as there are tiles.

        Raises:
            UsageError: an eligible layer without curvature.
        """
        curvatures = self.options.curvatures
        missing = [name for name in plan.eligible if name not in curvatures]
        if missing:
            raise UsageError(f"strategy 'hilal' needs the curvature of every layer; missing: {', '.join(missing)}")
        robust = robust_layers({name: curvatures[name] for name in plan.eligible}, self.options.seed)
        ordered = _ordered(self.groups(graph, plan), robust)
        robust_ones, others = "in HILAL's robust cluster", "in HILAL's sensitive cluster"
        return self.placed(graph, plan, ordered, ("budget", robust_ones), others)


def _ordered(groups: Sequence[Group], order: Sequence[str]) -> list[Group]:
    """The groups that an order names, by the first of their layers in it."""
    place = {name: i for i, name in enumerate(order)}
    named = [group for group in groups if not place.keys().isdisjoint(group)]
    return sorted(named, key=lambda group: min(place[name] for name in group if name in place))
