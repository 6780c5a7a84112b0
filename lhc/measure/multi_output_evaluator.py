"""Placements judged by several outputs at once, each by its own metric and budget.

A placement holds where every output holds its budget. What counts of a chip is the greatest of its drops, each as a
share of its budget, in the unit of the first output:

    d = max over outputs o of  d_o B_1 / B_o

The mean of d over chips is no less than that of any output so scaled. So where the bound of d is within B_1, every
output is within its own budget, at the same chance of error. An output that spreads more than d may have a greater
bound of its own: the greatest of all counts, so that a placement that holds shows it at every output by itself. Where
an interval over samples decides, its bounds are the greatest of the outputs': all of them have to hold
(intersection-union test: Berger, Technometrics 24, 1982).
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from lhc.hardware import Hardware
from lhc.measure.evaluator import PlacementEvaluator
from lhc.measure.measurement import Measurement
from lhc.passes.decide.copies import Copies
from lhc.results import Evaluation
from lhc.samples.metrics import Scores
from lhc.samples.task import Indices
from lhc.stats import over_draws

__all__ = ["MultiOutputEvaluator", "MultiOutputMeasurement"]


@dataclass(frozen=True, eq=False)
class MultiOutputMeasurement:
    """Measurement of one placement at several outputs, on the same chips and samples.

    Attributes:
        parts: of every output, the first one first.
        scales: what the drops of each count in the unit of the first.
        evaluators: what they were measured on.
    """

    parts: tuple[Measurement, ...]
    scales: tuple[float, ...]
    evaluators: tuple[PlacementEvaluator, ...]

    @property
    def values(self) -> Scores:
        """Values of the first output."""
        return self.parts[0].values

    @property
    def drops(self) -> Scores:
        """The greatest of the outputs' drops, per draw."""
        scaled: Scores = np.max([part.drops * scale for part, scale in zip(self.parts, self.scales, strict=True)], 0)
        return scaled

    def joined(self, other: Measurement) -> "MultiOutputMeasurement":
        """See `Measurement.joined`."""
        assert isinstance(other, MultiOutputMeasurement)
        parts = (one.joined(more) for one, more in zip(self.parts, other.parts, strict=True))
        return replace(self, parts=tuple(parts))

    @property
    def step(self) -> float:
        """The greatest of the outputs' steps."""
        return max(part.step * scale for part, scale in zip(self.parts, self.scales, strict=True))

    @property
    def documents(self) -> Indices | None:
        """See `Measurement.documents`."""
        return self.parts[0].documents

    def chip_interval(self, confidence: float) -> tuple[float, float] | None:
        """That of the greatest drops, with the greatest upper bound of all outputs."""
        joint = over_draws(self.drops, confidence, self.step)
        if joint is None:
            return None
        own = zip((part.chip_interval(confidence) for part in self.parts), self.scales, strict=True)
        return joint[0], max(joint[1], *(interval[1] * scale for interval, scale in own if interval is not None))

    def sample_interval(self, confidence: float) -> tuple[float, float] | None:
        """The greatest bounds of the outputs' intervals."""
        lows, highs = [], []
        for part, scale in zip(self.parts, self.scales, strict=True):
            interval = part.sample_interval(confidence)
            if interval is None:
                return None
            lows.append(interval[0] * scale)
            highs.append(interval[1] * scale)
        return max(lows), max(highs)

    def of_outputs(self, relative: bool, confidence: float, t_s: float | None) -> tuple[Evaluation, ...]:
        """Evaluations of every output by itself; ``relative`` holds for drops of the first one."""
        from lhc.measure.measurement import evaluation

        found = zip(self.parts, self.evaluators, strict=True)
        return tuple(
            evaluation(part, evaluator, relative and number == 0, confidence, t_s)
            for number, (part, evaluator) in enumerate(found)
        )


@dataclass(frozen=True, eq=False)
class MultiOutputEvaluator(PlacementEvaluator):
    """An evaluator of the first output that measures the others beside it.

    Attributes:
        others: evaluators of the other outputs.
        scales: what the drops of each of them count in the unit of the first: the budgets' ratio.
    """

    others: tuple[PlacementEvaluator, ...] = field(kw_only=True)
    scales: tuple[float, ...] = field(kw_only=True)

    def on(self, hardware: Hardware | None = None, t_s: float | None = None, copies: Copies | None = None) -> Self:
        """See `PlacementEvaluator.on`."""
        others = tuple(other.on(hardware, t_s, copies) for other in self.others)
        return replace(super().on(hardware, t_s, copies), others=others)

    def measure(
        self, placement: frozenset[str], draws: range, what: str = "measuring", t_s: float | None = None
    ) -> Measurement:
        """See `PlacementEvaluator.measure`."""
        own = super().measure(placement, draws, what, t_s)
        parts = (own, *(other.measure(placement, draws, what, t_s) for other in self.others))
        return MultiOutputMeasurement(parts, (1.0, *self.scales), (self, *self.others))

    def measure_precision(self, raised: frozenset[str], what: str) -> Measurement:
        """See `PlacementEvaluator.measure_precision`."""
        parts = (super().measure_precision(raised, what), *(o.measure_precision(raised, what) for o in self.others))
        return MultiOutputMeasurement(parts, (1.0, *self.scales), (self, *self.others))
