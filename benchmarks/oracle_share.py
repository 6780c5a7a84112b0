"""The share of MACs that a search and its tests reach of what an oracle would, simulated with figures of ResNet20.

    python benchmarks/oracle_share.py [--runs 100] [--samples 2000 5000 10000]

Damages and MACs of the layers are ResNet20's (CIFAR-10, `lionheart` without compensation, predicted on 500 images).
Eight chips on 5,000 images lost 0.57, 0.90 and 1.27 points with the first 9, 11 and 13 layers by damage per MAC analog,
and changed 2.9, 3.5 and 4.2 % of the answers; the deviation of a chip's drop was 0.31, 0.36 and 0.51 points. So a drop
is taken as 0.57 (damage / 0.0461)^1.34, chips differ by 0.3 of it, and each answers with the chance of those changes;
half of it belongs to the image, which is why what ranks and what tests differ. The oracle knows the drop over all chips
on the images that test.
"""

import argparse
from dataclasses import dataclass, field

import numpy as np

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.measure import Budget, PlacementJudge, SampleScores
from lhc.passes import STRATEGIES, Qualify, SearchOptions, damage_of, initial_plan
from lhc.plan import Plan, Sensitivity
from lhc.samples.metrics import METRICS, Metric
from lhc.study.search import search
from lhc.study.verify import Verifier, path_of, verified

SUMS = (0.0005, 0.0031, 0.0062, 0.0102, 0.0156, 0.0220, 0.0292, 0.0374, 0.0461, 0.0554,
        0.0648, 0.0744, 0.0840, 0.0939, 0.1063, 0.1218, 0.1297, 0.1457, 0.1917, 0.1999)  # fmt: skip
"""Damage of the first so many layers, in nats."""
SHARES = (0.058, 0.116, 0.175, 0.233, 0.291, 0.349, 0.407, 0.465, 0.524, 0.582,
          0.640, 0.698, 0.756, 0.815, 0.873, 0.931, 0.960, 0.989, 0.9998, 1.0)  # fmt: skip
"""Their share of the MACs."""
MACS = 40_551_040
BUDGET = 0.01
SECONDS = 0.0021
"""CPU time of an image on a chip."""


@dataclass
class Images:
    """An evaluator that knows how ResNet20 does on average.

    Attributes:
        plan: damages.
        samples: how many images.
        seed: of chips.
        own: what these images lose more than others, as a standard score.
        spent: images times chips.
    """

    plan: Plan
    graph: LayerGraph
    samples: int
    seed: int
    own: float
    draws: int = 10
    metric: Metric = METRICS["mse"]
    baseline: float = 0.083
    t_s: float = 0.0
    spent: list[int] = field(default_factory=list)

    def truth(self, placement: frozenset[str]) -> float:
        """Mean drop over all chips on these images."""
        damage = damage_of(self.graph, self.plan, placement)
        own = self.own * (self._changed(damage) / (2 * self.samples)) ** 0.5
        return float(0.0057 * (damage / 0.0461) ** 1.34 + own)

    def _changed(self, damage: float) -> float:
        return float(0.029 * (damage / 0.0461) ** 0.6)

    def measure(self, placement: frozenset[str], draws: range, what: str) -> SampleScores:
        """Scores of two images whose mean is that of all."""
        self.spent.append(len(draws) * self.samples)
        rng = np.random.default_rng((self.seed, len(placement), draws.start))
        damage = damage_of(self.graph, self.plan, placement)
        deviation = (self._changed(damage) / self.samples + (0.3 * 0.0057 * (damage / 0.0461) ** 1.34) ** 2) ** 0.5
        drops = self.truth(placement) + deviation * rng.standard_normal(len(draws))
        # As far apart as makes the interval over samples what it would be.
        apart = (0.5 * self._changed(damage) / self.samples) ** 0.5
        scores = self.baseline + drops[:, None] + apart * np.array([-1.0, 1.0])
        return SampleScores(self.metric, scores, np.full(2, self.baseline), exact=not placement)


def network() -> tuple[LayerGraph, Plan]:
    """Layers with these MACs and damages, in a row."""
    layers, tensor = [], "x"
    for number, share in enumerate(np.diff(SHARES, prepend=0.0)):
        name, positions = f"l{number:02}", max(1, round(share * MACS / 256))
        weight = WeightRef(f"{name}.w", 1, (256, 1), "float32", name)
        layers.append(Layer(name, "MatMul", (tensor, f"{name}.w"), (name,), weight, MatrixShape(256, 1, 1, positions)))
        tensor = name
    graph = LayerGraph(layers, ["x"], [tensor])
    plan = Qualify().run(graph, initial_plan(graph, Hardware.load("lionheart"), "s", "0")).plan
    damages = dict(zip((layer.name for layer in layers), np.diff(SUMS, prepend=0.0).tolist(), strict=True))
    figures = {name: Sensitivity(metric="kl", mean=mean, std=0.0, interval=None) for name, mean in damages.items()}
    return graph, plan.with_sensitivities(figures)


def one(graph: LayerGraph, plan: Plan, samples: int, seed: int) -> tuple[float, float, bool, float]:
    """Share of MACs, that of the oracle on the same path, whether the placement holds, and CPU seconds."""
    rng = np.random.default_rng(seed)
    ranking = min(samples // 4, 1000)
    select = Images(plan, graph, ranking, seed, rng.standard_normal())
    test = Images(plan, graph, samples - ranking, seed + 10**6, rng.standard_normal())
    judge, options = PlacementJudge(select, Budget(BUDGET)), SearchOptions(max_drop=BUDGET)
    searched = search(graph, plan, STRATEGIES["sensitivity"], judge, options)
    found = verified(graph, plan, searched, Verifier(test, test, judge.budget))

    def share(placement: frozenset[str]) -> float:
        return sum(layer.macs for layer in plan.layers if layer.name in placement) / plan.macs

    holding = [share(step) for step in path_of(graph, plan, searched).steps if test.truth(step) <= BUDGET]
    kept = found.plan.analog
    holds = not kept or test.truth(kept) <= BUDGET
    return share(kept), max(holding, default=0.0), holds, SECONDS * (sum(select.spent) + sum(test.spent))


def main() -> None:
    """Print a line for every number of samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--samples", type=int, nargs="+", default=[2000, 5000, 10000])
    asked = parser.parse_args()
    graph, plan = network()
    for samples in asked.samples:
        found = np.array([one(graph, plan, samples, seed) for seed in range(asked.runs)])
        shares = found[:, 0] / found[:, 1]
        low, high = np.quantile(found[:, 0], [0.1, 0.9])
        spread = f"{100 * low:.0f} to {100 * high:.0f} for 8 of 10"
        wrong, seconds = 100 * (1 - found[:, 2].mean()), found[:, 3].mean()
        print(
            f"{samples} images: {100 * found[:, 0].mean():.1f} % of MACs ({spread}), {shares.mean():.3f} of an"
            f" oracle's, {wrong:.1f} % wrong, {seconds:.0f} CPU s"
        )


if __name__ == "__main__":
    main()
