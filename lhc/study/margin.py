"""How a placement does over time, over many chips, and over noise scaled up and down until it fails."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lhc.graph import LayerGraph
from lhc.hardware import scaled_noise
from lhc.measure.bench import Bench
from lhc.measure.judge import Budget
from lhc.measure.measurement import evaluation
from lhc.results import AtScale, AtTime, Evaluation, Robustness
from lhc.runtime import HybridExecutor
from lhc.support.numbers import scale_text, time_text

__all__ = ["TIMES_S", "compensation_gains", "measure_robustness"]

TIMES_S = (0.0, 60.0, 3600.0, 86400.0, 2592000.0, 31536000.0, 315360000.0)
"""At once, a minute, an hour, a day, 30 days, a year, ten years."""
MOST_SCALE = 8.0
PRECISION = 1.1
"""The margin is found to this factor."""
LEAST_SCALE = 0.05
GAIN_DRAWS = 3
"""Chips whose gains are looked at."""


@dataclass(frozen=True, eq=False)
class _Scales:
    """Evaluations over noise, each measured once."""

    bench: Bench
    placement: frozenset[str]
    budget: Budget
    first: int
    found: dict[float, AtScale]

    def holds(self, scale: float) -> bool:
        if scale not in self.found:
            noisy = scaled_noise(self.bench.hardware, scale)
            bench = self.bench if scale == 1 else replace(self.bench, hardware=noisy)
            result = _evaluated(bench, self.placement, self.budget, f"noise x {scale_text(scale)}", self.first)
            self.found[scale] = AtScale(scale, result, self.budget.status(result) == "accepted")
        return self.found[scale].within


def measure_robustness(
    bench: Bench,
    graph: LayerGraph,
    placement: frozenset[str],
    budget: Budget,
    times: Sequence[float] = TIMES_S,
    chips: int = 50,
    first: int = 0,
) -> Robustness:
    """Measure a placement under other conditions.

    Args:
        bench: samples, metric, hardware, draws; its time of inference is that of chips and noise.
        graph: the layers.
        placement: the analog ones.
        budget: what it is held against.
        times: seconds after the first read.
        chips: programmings for the spread over chips.
        first: number of the first programming.
    """
    over_time = tuple(_at_time(bench, graph, placement, budget, t, first) for t in sorted(times))
    measured = bench.measure(placement, range(first, first + chips), f"{chips} chips")
    spread = evaluation(measured, bench, budget.relative, budget.confidence)
    scales = _Scales(bench, placement, budget, first, {})
    margin, fails_at = _margin(scales)
    return Robustness(
        max_drop=budget.max_drop,
        drop_type=budget.drop_type,
        times=over_time,
        chips=spread,
        chips_within=float(np.mean(np.array(spread.drops) <= budget.max_drop)),
        scales=tuple(scales.found[scale] for scale in sorted(scales.found)),
        margin=margin,
        fails_at=fails_at,
        generalized=budget.generalize,
    )


def _evaluated(
    bench: Bench, placement: frozenset[str], budget: Budget, what: str, first: int, t_s: float | None = None
) -> Evaluation:
    measured = bench.measure(placement, range(first, first + bench.draws), what, t_s)
    return evaluation(measured, bench, budget.relative, budget.confidence, t_s)


def _margin(scales: _Scales) -> tuple[float, float | None]:
    """The greatest factor that holds, and the least above it that does not; by doubling, then halving the ratio."""
    low, high = 1.0, 1.0
    if scales.holds(1.0):
        while scales.holds(high):
            low = high
            if high >= MOST_SCALE:
                return low, None
            high *= 2
    else:
        low = 0.5
        while not scales.holds(low):
            high = low
            low /= 2
            if low < LEAST_SCALE:
                return 0.0, high
    while high / low > PRECISION:
        middle = (low * high) ** 0.5
        if scales.holds(middle):
            low = middle
        else:
            high = middle
    return low, high


def _at_time(
    bench: Bench, graph: LayerGraph, placement: frozenset[str], budget: Budget, t_s: float, first: int
) -> AtTime:
    found = _evaluated(bench, placement, budget, f"after {time_text(t_s)}", first, t_s)
    gains = compensation_gains(bench, graph, placement, t_s, first)
    if not gains:
        return AtTime(found, None, None)
    return AtTime(found, float(np.mean(gains)), (min(gains), max(gains)))


def compensation_gains(
    bench: Bench, graph: LayerGraph, placement: frozenset[str], t_s: float, first: int = 0
) -> list[float]:
    """Gains of drift compensation at a time, of all tiles of a placement on a few chips; none without compensation."""
    if not placement or bench.hardware.devices is None or bench.hardware.compensation.drift == "none":
        return []
    executor = HybridExecutor(bench.model, graph, placement, bench.ranges, bench.copies.of(placement))
    draws = range(first, first + min(GAIN_DRAWS, bench.draws))
    states = [executor.states(bench.hardware, bench.seed, draw, t_s) for draw in draws]
    tiles = [tile for state in states for matrix in state.values() for row in matrix.tiles for tile in row]
    return [float(tile.gain.mean()) for tile in tiles]
