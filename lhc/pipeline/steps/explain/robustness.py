"""Robustness of a placement: over time, over many chips, and over noise scaled until it fails."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from lhc.hardware import scaled_noise
from lhc.measure.budget_test import Budget
from lhc.measure.evaluator import PlacementEvaluator
from lhc.options.declaration.value_parsing import Engine
from lhc.plan import Outcome
from lhc.results import AtScale, AtTime, Evaluation, Robustness
from lhc.runtime.lazy_programming import lazily_programmed_chip
from lhc.support.number_formatting import level_text, scale_text, time_text

TIMES_S = (0.0, 60.0, 3600.0, 86400.0, 2592000.0, 31536000.0, 315360000.0)
"""At once, a minute, an hour, a day, 30 days, a year, ten years."""
MOST_SCALE = 8.0
PRECISION = 1.1
"""The margin is found to this factor."""
LEAST_SCALE = 0.05
GAIN_DRAWS = 3
"""Chips whose gains are looked at."""


def measure_robustness(
    evaluator: PlacementEvaluator,
    placement: frozenset[str],
    budget: Budget,
    times: Sequence[float] = TIMES_S,
    chips: int = 50,
    first: int = 0,
) -> Robustness:
    """Measure a placement under other conditions.

    Args:
        evaluator: samples, metric, hardware, draws; its time of inference is that of chips and noise.
        chips: programmings for the spread over chips.
    """
    scaled_noise(evaluator.hardware, 1.0)  # refuses what cannot be scaled before anything is measured

    def evaluated(evaluator: PlacementEvaluator, what: str, count: int, t_s: float | None = None) -> Evaluation:
        return evaluator.evaluate(placement, budget.relative, what, t_s, budget.confidence, range(first, first + count))

    def at_time(t_s: float) -> AtTime:
        found = evaluated(evaluator, f"after {time_text(t_s)}", evaluator.draws, t_s)
        gains = _compensation_gains(evaluator, placement, t_s, first)
        return AtTime(found, float(np.mean(gains)), (min(gains), max(gains))) if gains else AtTime(found, None, None)

    scales: dict[float, AtScale] = {}

    def holds(scale: float) -> bool:
        if scale not in scales:
            noisy = evaluator if scale == 1 else replace(evaluator, hardware=scaled_noise(evaluator.hardware, scale))
            found = evaluated(noisy, f"noise x {scale_text(scale)}", evaluator.draws)
            scales[scale] = AtScale(scale, found, budget.status(found) == "accepted")
        return scales[scale].within

    over_time = tuple(at_time(t) for t in sorted(times))
    spread = evaluated(evaluator, f"{chips} chips", chips)
    share = budget.share
    shown = None if share is None else budget.shows_share(spread.drops)
    margin, fails_at = _margin(holds)
    return Robustness(
        max_drop=budget.max_drop,
        drop_type=budget.drop_type,
        times=over_time,
        chips=spread,
        chips_within=1 - budget.failing(spread.drops) / chips,
        scales=tuple(scales[scale] for scale in sorted(scales)),
        margin=margin,
        fails_at=fails_at,
        generalized=budget.generalize,
        yield_share=share,
        yield_shown=shown,
    )


def _margin(holds: Callable[[float], bool]) -> tuple[float, float | None]:
    """The greatest factor that holds, and the least above it that does not; by doubling, then halving the ratio."""
    low, high = 1.0, 1.0
    if holds(1.0):
        while holds(high):
            low = high
            if high >= MOST_SCALE:
                return low, None
            high *= 2
    else:
        low = 0.5
        while not holds(low):
            high = low
            low /= 2
            if low < LEAST_SCALE:
                return 0.0, high
    while high / low > PRECISION:
        middle = (low * high) ** 0.5
        if holds(middle):
            low = middle
        else:
            high = middle
    return low, high


def differences(found: Robustness, verified: Outcome, same_data: bool, engine: Engine) -> Iterator[str]:
    """In what a measurement by an engine differs from the verification of the placement, by what both came to."""
    here = next(one.evaluation for one in found.scales if one.scale == 1)
    same_metric = here.metric == verified.metric
    if not same_metric:
        yield f"{here.metric} instead of {verified.metric}"
    trained = verified.retrained is not None
    if trained:
        yield f"{here.drop_word}s against the trained weights instead of the network as it was given"
    same_samples = same_data and here.samples == verified.samples
    if same_samples and same_metric and not trained:  # the trained network has a score of its own
        same_samples = here.baseline == verified.baseline
    if not same_samples:
        yield f"other samples ({here.samples} instead of {verified.samples})"
    same_kind = found.drop_type == verified.drop_type
    if not same_kind:
        yield f"{found.drop_type} {here.drop_word}s instead of {verified.drop_type} ones"
    same_engine = engine == verified.engine
    if not same_engine:
        yield f"the engine {engine} instead of {verified.engine}"
    same_chips = (here.draws, here.seed) == (verified.draws, verified.seed)
    # Where all else is the same, drops tell more than numbers.
    if same_metric and same_samples and same_kind and same_engine and not trained:
        same_chips = same_chips and here.drop == verified.drop
    if not same_chips:
        yield f"other chips ({here.draws} of seed {here.seed} instead of {verified.draws} of seed {verified.seed})"
    if found.generalized != verified.generalized:
        yield f"an interval {'over other samples too' if found.generalized else 'over these samples alone'}"
    if here.confidence != verified.confidence:
        yield f"a level of {level_text(here.confidence)} instead of {level_text(verified.confidence)}"


def _compensation_gains(
    evaluator: PlacementEvaluator, placement: frozenset[str], t_s: float, first: int = 0
) -> list[float]:
    """Gains of drift compensation at a time, of all tiles of a placement on a few chips; none without compensation."""
    if not placement or evaluator.hardware.devices is None or evaluator.hardware.compensation.drift == "none":
        return []
    executor = evaluator.context.executor(placement)
    draws = range(first, first + min(GAIN_DRAWS, evaluator.draws))
    states = [lazily_programmed_chip(executor, evaluator.hardware, evaluator.seed, draw, t_s) for draw in draws]
    rows = (row for state in states for matrix in state.values() for row in matrix.tiles)  # a matrix at a time
    return [float(tile.gain.mean()) for row in rows for tile in row]
