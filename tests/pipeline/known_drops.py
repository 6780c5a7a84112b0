"""A fake evaluator whose true drops are known, and what searches and tests with it."""

from dataclasses import dataclass, field

import numpy as np

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.measure import Budget, Evaluator, PlacementJudge, SampleScores
from lhc.measure.measurement import Wanted
from lhc.passes import STRATEGIES, Qualify, SearchOptions, Strategy, initial_plan
from lhc.pipeline.pipeline_state import Verification
from lhc.pipeline.steps.search import search
from lhc.pipeline.steps.verify.verify import Verifier, verified
from lhc.plan import Plan
from lhc.samples.metrics import Metric

BUDGET = 0.01
MACHINE = Hardware.load("lionheart")


@dataclass(frozen=True, eq=False)
class FakeEvaluator:
    """Damages add up over layers; chips differ, samples differ, and every score has noise of its own.

    The drop of a placement on *these* samples over all chips is known: the sum of its layers' damages. Chips shift a
    placement's drop by a normal number of deviation ``chip_spread`` times that sum.
    """

    metric: Metric
    damages: dict[str, float]
    seed: int
    samples: int = 400
    draws: int = 10
    baseline: float = 0.9
    t_s: float = 0.0
    chip_spread: float = 0.5
    split: int = 0
    cache: dict[int, np.ndarray] = field(default_factory=dict)

    def _chip(self, draw: int) -> dict[str, float]:
        rng = np.random.default_rng((self.seed, draw))
        return {name: 1 + self.chip_spread * rng.normal() for name in self.damages}

    def expect(self, certain: Wanted, perhaps: Wanted = ()) -> None:
        """Nobody is idle."""

    def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
        rng = np.random.default_rng((self.seed, self.split, len(placement), draws.start))
        drops = [sum(self.damages[n] * self._chip(draw)[n] for n in placement) for draw in draws]
        noise = rng.normal(0, 0.05, (len(draws), self.samples))
        noise -= noise.mean(axis=1, keepdims=True)
        sign = -1 if self.metric.higher_is_better else 1
        scores = self.baseline + sign * (np.array(drops)[:, None] + noise)
        return SampleScores(self.metric, scores, np.full(self.samples, self.baseline))


@dataclass(frozen=True, eq=False)
class Chips(FakeEvaluator):
    """Only chips vary, each placement on each by a number of its own; normal, or with heavy tails (Student's, 3)."""

    heavy: bool = False
    base: float = 0.0

    def truth(self, placement: frozenset[str]) -> float:
        return self.base + sum(self.damages[name] for name in placement)

    def expect(self, certain: Wanted, perhaps: Wanted = ()) -> None:
        """Nobody is idle."""

    def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
        key = sum(ord(name[-1]) for name in placement)
        rng = np.random.default_rng((self.seed, self.split, key, draws.start))
        noise = rng.standard_t(3, len(draws)) / 3**0.5 if self.heavy else rng.standard_normal(len(draws))
        drops = self.truth(placement) + self.chip_spread * BUDGET * (noise if placement else np.zeros(len(draws)))
        scores = self.baseline + np.repeat(drops[:, None], 2, axis=1)
        return SampleScores(self.metric, scores, np.full(2, self.baseline), exact=not placement)


def network(damages: dict[str, float]) -> tuple[LayerGraph, Plan]:
    layers, tensor = [], "x"
    for name in damages:
        weight = WeightRef(f"{name}.w", 1, (8, 8), "float32", name)
        layers.append(Layer(name, "MatMul", (tensor, f"{name}.w"), (f"{name}.y",), weight, MatrixShape(8, 8, 1, 1)))
        tensor = f"{name}.y"
    graph = LayerGraph(layers, ["x"], [tensor])
    return graph, Qualify().run(graph, initial_plan(graph, MACHINE, "", "0")).plan


def place(
    graph: LayerGraph,
    plan: Plan,
    strategy: type[Strategy],
    judge: PlacementJudge,
    verify: Evaluator,
    again: bool = False,
    options: SearchOptions | None = None,
) -> Verification:
    wanted = SearchOptions(max_drop=judge.budget.max_drop) if options is None else options
    verifier = Verifier(verify, verify, judge.budget, again=again)
    return verified(graph, plan, search(graph, plan, strategy, judge, wanted), verifier)


def run(damages: dict[str, float], seed: int, metric: Metric, strategy: str) -> tuple[bool, frozenset[str]]:
    graph, plan = network(damages)
    select = FakeEvaluator(metric, damages, seed)
    verify = FakeEvaluator(metric, damages, seed, split=1)
    found = place(graph, plan, STRATEGIES[strategy], PlacementJudge(select, Budget(BUDGET)), verify)
    return found.verdict.accepted, found.plan.analog
