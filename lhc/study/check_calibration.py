"""Leave the calibration of chips out where it would do harm.

A column's correction comes from all positions of the calibration samples. Where many of them answer nothing and no mask
tells so, they decide the correction of all others. So what calibrated chips answer is compared with what the same chips
answer uncalibrated, before anything rests on it.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lhc.errors import OutOfTimeError
from lhc.measure import Bench
from lhc.measure.setting import calibration_block
from lhc.plan import HarmfulCalibration
from lhc.samples.metrics import get_metric
from lhc.study.state import Study

__all__ = ["CHECKING", "CHIPS", "CheckCalibration", "compared_benches", "with_useful_calibration"]

CHIPS = 2
"""Chips that are compared, with every layer analog that may be; they are the first of the search."""

CHANCE = 1.1
"""Ratio of two errors that chance makes with so few chips; harm is several times as much."""

REMEDY = (
    "This is one decision for the whole network: layers that are kept digital (--force-digital, --exclude) have no part"
    " in it, so 'lhc partition' with some of them takes it anew; a plan that is followed (--plan) keeps its own"
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

    def apply(self, study: Study) -> Study:
        """The study with a machine that corrects outputs only if that serves it; a plan that is followed stays."""
        return study if study.follow is not None else with_useful_calibration(study, frozenset(study.measurable))


def with_useful_calibration(study: Study, analog: frozenset[str]) -> Study:
    """The study without calibration if the answers of calibrated chips are clearly worse.

    Half of the calibration samples calibrate, the other half compares: normalised squared error against the digital
    network, mean over `CHIPS` chips. With fewer than `LEAST_SAMPLES` of them nothing is compared.
    """
    benches = compared_benches(study) if analog else ()
    if not benches:
        return study
    for one in benches:
        one.expect([(analog, range(CHIPS))])
    try:
        with_it, without = (float(one.measure(analog, range(CHIPS), CHECKING).drops.mean()) for one in benches)
    except OutOfTimeError:
        return study  # what comes next keeps what there is
    if with_it <= CHANCE * without:
        return study
    harmful = HarmfulCalibration(calibrated=with_it, uncalibrated=without, chips=CHIPS, samples=benches[0].samples)
    study.opened.warn(f"{harmful.text}. {REMEDY}")
    return replace(study.uncalibrated, harmful=harmful)


def compared_benches(study: Study) -> tuple[Bench, ...]:
    """What judges calibrated chips, and the same chips uncalibrated; empty where nothing is compared."""
    samples = study.calibrating if study.calibrating is not None else study.splits.calibrate
    if study.calibration is None or samples is None:
        return ()
    known = samples.head(study.calibration.samples)
    if len(known) < LEAST_SAMPLES:
        return ()
    half = len(known) // 2
    judge = known.take(np.arange(half, len(known))).with_metric(get_metric("nmse"))
    bench = replace(study.bench(judge), calibration=calibration_block(known.head(half)))
    return bench, replace(bench, calibration=None)
