"""The share of MACs that a search and its tests reach of what an oracle would, simulated with figures of ResNet20.

    python benchmarks/oracle_share.py [--runs 100] [--samples 2000 5000 10000] [--uneven]

Damages and MACs of the layers are ResNet20's (CIFAR-10, `lionheart` without compensation, predicted on 500 images).
Eight chips on 5,000 images lost 0.57, 0.90 and 1.27 points with the first 9, 11 and 13 layers by damage per MAC analog,
and changed 2.9, 3.5 and 4.2 % of the answers; the deviation of a chip's drop was 0.31, 0.36 and 0.51 points. So a drop
is taken as 0.57 (damage / 0.0461)^1.34, chips differ by 0.3 of it, and each answers with the chance of those changes;
half of it belongs to the image, which is why what ranks and what tests differ. The oracle knows the drop over all chips
on the images that test.

With `--uneven` every run has another power, from 1 to 2.2, and every placement lies off the curve by 12 %: networks of
which the prediction knows less.
"""

import argparse
from dataclasses import dataclass, field

import numpy as np

from lhc.graph import Layer, LayerGraph, MatrixShape, WeightRef
from lhc.hardware import Hardware
from lhc.measure import Budget, PlacementJudge, SampleScores
from lhc.measure.measurement import Wanted
from lhc.passes import STRATEGIES, Qualify, SearchOptions, damage_of, initial_plan
from lhc.pipeline.steps.search import search
from lhc.pipeline.steps.verify.verify import Verifier, path_of, verified
from lhc.plan import Plan, Sensitivity
from lhc.samples.metrics import METRICS, Metric

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
POOR = 0.8
"""Of what an oracle takes; less is a poor run."""


@dataclass
class Images:
    """An evaluator that knows how ResNet20 does on average.

    Attributes:
        plan: damages.
        samples: how many images.
        seed: of chips.
        own: what these images lose more than others, as a standard score.
        spent: images times chips.
        power: of the drop over the damage.
        off: standard deviation of a placement's drop from the curve, as a share of it.
        network: seed of that.
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
    power: float = 1.34
    off: float = 0.0
    network: int = 0

    def truth(self, placement: frozenset[str]) -> float:
        """Mean drop over all chips on these images."""
        damage = damage_of(self.graph, self.plan, placement)
        own = self.own * (self._changed(damage) / (2 * self.samples)) ** 0.5
        aside = self.off * np.random.default_rng((self.network, len(placement))).standard_normal()
        return float(0.0057 * (damage / 0.0461) ** self.power * np.exp(aside) + own)

    def _changed(self, damage: float) -> float:
        return float(0.029 * (damage / 0.0461) ** 0.6)

    def expect(self, certain: Wanted, perhaps: Wanted = ()) -> None:
        """Nobody is idle."""

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


@dataclass(frozen=True)
class Run:
    """What a search and its tests came to.

    Attributes:
        macs: share of all MACs.
        oracle: that of the oracle on the same path.
        holds: whether the placement holds.
        spent: chips times images.
    """

    macs: float
    oracle: float
    holds: bool
    spent: int

    @property
    def share(self) -> float:
        """Of what the oracle takes."""
        return self.macs / self.oracle if self.oracle else 1.0


def one(graph: LayerGraph, plan: Plan, samples: int, seed: int, uneven: bool) -> Run:
    """Search and test once."""
    rng = np.random.default_rng(seed)
    ranking = min(samples // 4, 1000)
    owns = rng.standard_normal(2)
    power, off = (rng.uniform(1.0, 2.2), 0.12) if uneven else (1.34, 0.0)
    select, test = (
        Images(plan, graph, count, number, own, power=power, off=off, network=seed)
        for count, number, own in zip((ranking, samples - ranking), (seed, seed + 10**6), owns, strict=True)
    )
    judge, options = PlacementJudge(select, Budget(BUDGET)), SearchOptions(max_drop=BUDGET)
    searched = search(graph, plan, STRATEGIES["sensitivity"], judge, options)
    found = verified(graph, plan, searched, Verifier(test, test, judge.budget))

    def share(placement: frozenset[str]) -> float:
        return plan.mac_fraction_of(placement)

    holding = [share(step) for step in path_of(graph, plan, searched).steps if test.truth(step) <= BUDGET]
    kept = found.plan.analog
    holds = not kept or test.truth(kept) <= BUDGET
    return Run(share(kept), max(holding, default=0.0), holds, sum(select.spent) + sum(test.spent))


def main() -> None:
    """Print a line for every number of samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--samples", type=int, nargs="+", default=[2000, 5000, 10000])
    parser.add_argument("--uneven", action="store_true")
    asked = parser.parse_args()
    graph, plan = network()
    for samples in asked.samples:
        runs = [one(graph, plan, samples, seed, asked.uneven) for seed in range(asked.runs)]
        macs, shares = np.array([run.macs for run in runs]), np.array([run.share for run in runs])
        wrong, spent = np.mean([not run.holds for run in runs]), np.mean([run.spent for run in runs])
        low, high = np.quantile(macs, [0.1, 0.9])
        least, best = np.quantile(shares, [0.1, 0.9])
        poor = f"{100 * np.mean(shares < POOR):.1f} % below {POOR}"
        print(
            f"{samples} images: {100 * macs.mean():.1f} % of MACs ({100 * low:.0f} to {100 * high:.0f} for 8 of 10),"
            f" {shares.mean():.3f} of an oracle's ({least:.2f} to {best:.2f}; {poor}), {100 * wrong:.1f} % wrong,"
            f" {spent / 1000:.0f} thousand images, {SECONDS * spent:.0f} CPU s"
        )


if __name__ == "__main__":
    main()
