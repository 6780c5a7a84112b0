"""Simulated runs with training and without: networks whose layers do known damage, searched and tested by fakes."""

import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lhc.graph import LayerGraph
from lhc.measure import Budget, PlacementJudge
from lhc.passes import STRATEGIES, SearchOptions
from lhc.pipeline.pipeline_state import SearchResult
from lhc.pipeline.steps.search import search
from lhc.pipeline.steps.verify.verify import Verifier, path_of, verified
from lhc.pipeline.training.placement_to_train_for import predicted_to_hold
from lhc.pipeline.training.testing_order import FIRST, HOPED, PlacementProspect, trained_first, worth_testing
from lhc.plan import Plan, Sensitivity
from lhc.samples.metrics import METRICS
from lhc.stats import one_sided, two_sided
from tests.pipeline.known_drops import BUDGET, Chips, network

SPREAD = 0.3
"""Deviation of a placement's drop over chips, in budgets."""


def damages_of(layers: int) -> dict[str, float]:
    """Drops of that many layers, 1.92 budgets together; the last does fifteen times the damage of the first."""
    sizes = np.linspace(0.02, 0.3, layers) * 12 / layers
    return {name: BUDGET * size for name, size in zip(string.ascii_lowercase, sizes, strict=False)}


GIVEN = damages_of(12)
"""Seven of these layers lose 0.59 budgets, eight 0.79, nine 1.01, ten 1.27."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network whose layers do known damage, searched and tested by fakes; value: minus the analog layers."""

    damages: Mapping[str, float]
    base: float
    seed: int
    kind: type[Chips] = Chips
    spread: float = SPREAD

    def evaluator(self, split: int) -> Chips:
        metric, damages, spread = METRICS["mse"], dict(self.damages), self.spread
        return self.kind(metric, damages, self.seed, samples=2, chip_spread=spread, split=split, base=self.base)

    @cached_property
    def searched(self) -> SearchResult:
        graph, plan = self.ranked
        judge = PlacementJudge(self.evaluator(0), Budget(BUDGET))
        return search(graph, plan, STRATEGIES["sensitivity"], judge, SearchOptions(max_drop=BUDGET))

    @cached_property
    def ranked(self) -> tuple[LayerGraph, Plan]:
        graph, plan = network(dict(self.damages))
        known = {n: Sensitivity(metric="kl", mean=d, std=0.0, interval=None, draws=2) for n, d in self.damages.items()}
        return graph, plan.with_sensitivities(known)

    @property
    def prospect(self) -> PlacementProspect:
        path = path_of(*self.ranked, self.searched, self.base)
        likely, hoped = (max(map(len, predicted_to_hold(path, BUDGET, room)), default=0) for room in (1.0, HOPED))
        return PlacementProspect(-likely, -hoped)

    def shown(self, share: float) -> int | None:
        """Layers that the test shows to hold with a part of the chance of error."""
        budget = Budget(BUDGET)
        budget = replace(budget, confidence=two_sided(share * one_sided(budget.confidence)))
        verifier = Verifier(self.evaluator(1), self.evaluator(1), budget)
        found = verified(*self.ranked, self.searched, verifier, self.base)
        return len(found.plan.analog) if found.verdict.accepted else None

    def holds(self, layers: int | None) -> bool:
        return layers is None or self.base + sum(sorted(self.damages.values())[:layers]) < BUDGET


def both(given: Network, trained: Network) -> tuple[int | None, bool]:
    """Layers that the command with training ends with, and whether they hold in truth."""
    first, second = (trained, given) if trained_first(given.prospect, trained.prospect) else (given, trained)
    shown = [(first.shown(FIRST), first)]
    if worth_testing(second.prospect, None if shown[0][0] is None else -shown[0][0]):
        shown.append((second.shown(1 - FIRST), second))
    layers, kept = max(shown, key=lambda one: -1 if one[0] is None else one[0])
    return layers, kept.holds(layers)


TRUTHS = {
    "helps": (0.4, 0.0),
    "helps a little": (0.85, 0.0),
    "changes nothing": (1.0, 0.0),
    "hurts": (2.0, 0.1),
    "ruins": (5.0, 1.5),
}
"""Damages with trained weights as a share of those without, and the drop without analog layers, in budgets."""


@dataclass(frozen=True)
class Measured:
    """Layers of a real network.

    Attributes:
        sensitivities: of each layer alone, in any unit, as `lhc sensitivity` measured them; see ``source``.
        drop: of all layers together, in budgets.
        share: of the damage that is left with trained weights.
        source: of the sensitivities, and of the drops before and after a training.
    """

    sensitivities: tuple[float, ...]
    drop: float
    share: float
    source: str

    @property
    def damages(self) -> dict[str, float]:
        letters = string.ascii_letters[: len(self.sensitivities)]
        scale = BUDGET * self.drop / sum(self.sensitivities)
        return {name: scale * one for name, one in zip(letters, self.sensitivities, strict=True)}


MEASURED = {
    "resnet8": Measured(
        (0.504, 0.131, 0.0428, 0.043, 0.0474, 0.0041, 0.0271, 0.028, 0.00337, 0.0884), 4.5, 0.15,
        "28 tiles, copies as chosen; 4.5 points before and 0.68 after a training, docs/trainings.md",
    ),
    "resnet20": Measured(
        (0.0481, 0.0104, 0.006, 0.0082, 0.00389, 0.0193, 0.00434, 0.0129, 0.00674, 0.00716, 0.00341, 0.00846, 0.00268,
         0.0065, 0.00902, 0.00896, 0.00683, 0.00897, 0.000496, 0.00793), 1.53, 0.52,
        "36 tiles; 1.53 points before, docs/resnet20.md, 0.79 after",
    ),
    "digits-narrow": Measured(
        (0.03, 0.01, 0.0105, 0.0091, 0.0055, 0.007, 0.0025, 0.0016, 0.00025, 0.00067, 0.00018, 0.0001, 0.00003, 0.004),
        2.0, 0.4, "one copy; drops are a guess: 85.2 % of the MACs hold a point before, 98.3 % after 200 steps",
    ),
    "minilm": Measured(
        (0.0005, 0.0016, 0.035, 0.003, 0.015, 0.015) * 6, 4.66, 0.38,
        "means over blocks, docs/language-models.md; 0.0466 before and 0.0176 after, adapters",
    ),
}  # fmt: skip


def outcomes(
    damages: Mapping[str, float], share: float, base: float, runs: int, spread: float = SPREAD
) -> list[tuple[int, int, bool]]:
    """Layers without training and with it, and whether the latter hold, run by run.

    Args:
        share: of the damages that is left with trained weights.
        base: drop of trained weights without analog layers.
        spread: deviation over chips, in budgets.
    """
    found = []
    left = {name: share * one for name, one in damages.items()}
    for seed in range(runs):
        given = Network(damages, 0.0, seed, spread=spread)
        trained = Network(left, base, 100_000 + seed, spread=spread)
        layers, holds = both(given, trained)
        found.append((given.shown(1.0) or 0, layers or 0, holds))
    return found
