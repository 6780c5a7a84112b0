"""Calibration of chips, left out where it makes their answers worse.

A column's correction comes from all positions of the calibration samples. Where many of them answer nothing and no mask
tells so, they decide the correction of all others. So what calibrated chips answer is compared with what the same chips
answer uncalibrated, before anything rests on it.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.errors import OutOfTimeError
from lhc.measure import PlacementEvaluator
from lhc.measure.evaluation_context import calibration_block
from lhc.pipeline.pipeline_state import PreparedNetwork, StateT
from lhc.plan import HarmfulCalibration
from lhc.samples.metrics import get_metric

CHIPS = 2
"""Chips that are compared, the first of the search; for the calibration with every layer analog that may be."""
CALIBRATION_CHANCE = 1.1
"""Ratio of two errors that chance makes with so few chips; harm is several times as much."""
REMEDY = (
    "This is one decision for the whole network. To decide again without some layers, keep these digital: 'lhc"
    " partition' with --force-digital or --exclude. With --plan, the plan's own decision stands"
)
CHECKING = "checking the calibration"
LEAST_SAMPLES = 32
"""Calibration samples; half of fewer say little of either."""


@dataclass(frozen=True)
class CheckCalibration:
    """Leave the calibration of chips out where it makes their answers worse."""

    name: ClassVar[str] = "check-calibration"
    requires: ClassVar[frozenset[str]] = frozenset({"parity", "ranges", "samples"})
    ensures: ClassVar[frozenset[str]] = frozenset({"calibration"})

    def apply(self, state: StateT) -> StateT:
        """The network with a machine that corrects outputs only if that serves it."""
        return with_useful_calibration(state, frozenset(state.measurable))


def with_useful_calibration(state: StateT, analog: frozenset[str]) -> StateT:
    """The state without calibration if the answers of calibrated chips are clearly worse.

    Half of the calibration samples calibrate, the other half compares: normalised squared error against the network as
    given, mean over `CHIPS` chips. With fewer than `LEAST_SAMPLES` of them nothing is compared.
    """
    evaluators = compared_evaluators(state) if analog else ()
    if not evaluators:
        return state
    for one in evaluators:
        one.expect([(analog, range(CHIPS))])
    try:
        with_it, without = (float(one.measure(analog, range(CHIPS), CHECKING).drops.mean()) for one in evaluators)
    except OutOfTimeError:
        return state  # what comes next keeps what there is
    if with_it <= CALIBRATION_CHANCE * without or not math.isfinite(without):
        return state  # with all layers analog, which a placement need not have
    if not math.isfinite(with_it):
        state.opened.warn(
            "calibrated chips give NaN or infinite values, and the same chips uncalibrated do not. So the machine"
            f" corrects no outputs here. {REMEDY}"
        )
        return state.without_output_correction
    harmful = HarmfulCalibration(calibrated=with_it, uncalibrated=without, chips=CHIPS, samples=evaluators[0].samples)
    state.opened.warn(f"{harmful.text}. {REMEDY}")
    return replace(state.without_output_correction, harmful=harmful)


def compared_evaluators(state: PreparedNetwork) -> tuple[PlacementEvaluator, ...]:
    """Evaluators of calibrated chips, and of the same chips uncalibrated; empty where nothing is compared."""
    samples = state.calibrating if state.calibrating is not None else state.splits.calibrate
    if state.calibration is None or samples is None:
        return ()
    known = samples.head(state.calibration.samples)
    if len(known) < LEAST_SAMPLES:
        return ()
    half = len(known) // 2
    judge = known.take(np.arange(half, len(known))).with_metric(get_metric("nmse"))
    # Against a network in int8, which errs itself, an error could be below 0.
    evaluator = replace(state.evaluator(judge), calibration=calibration_block(known.head(half)), against="as given")
    return evaluator, replace(evaluator, calibration=None)
