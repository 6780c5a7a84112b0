"""What copies and calibration gain: the placement that is kept is judged without both, and with each."""

import logging
import math
from dataclasses import dataclass, replace
from typing import ClassVar

from lhc.errors import OutOfTimeError
from lhc.measure import PlacementEvaluator
from lhc.measure.measurement import drop_scale
from lhc.passes.decide.copies import Copies
from lhc.pipeline.pipeline_state import RecordedNetwork
from lhc.plan import Healing

log = logging.getLogger("lhc")

HEALING_DRAWS = 3
"""Chips that are compared: differences between the variants are paired, chip by chip and sample by sample."""


@dataclass(frozen=True)
class CompareHealing:
    """Judge the placement without healing too, on the first chips and all samples of the verification."""

    name: ClassVar[str] = "healing"
    requires: ClassVar[frozenset[str]] = frozenset({"outcome"})
    ensures: ClassVar[frozenset[str]] = frozenset({"healing"})

    def apply(self, state: RecordedNetwork) -> RecordedNetwork:
        """The state whose outcome says so; unchanged where there is no healing, or the time is over."""
        placement = state.plan.analog
        if not placement:
            return state
        evaluator = replace(state, further=()).judging_evaluator(state.splits.verify)  # of the first output
        try:
            healing = _compared_healing(evaluator, placement, state.found.chips[:HEALING_DRAWS], state.budget.relative)
        except OutOfTimeError:
            return state.noted("--timeout: what copies and calibration brought was not measured")
        return state.with_outcome(healing=healing)


def _compared_healing(
    evaluator: PlacementEvaluator, placement: frozenset[str], chips: range, relative: bool = False
) -> Healing | None:
    """Mean drops of a placement without healing, with copies, with calibration, and with both.

    Args:
        evaluator: samples and healing.
        relative: drops relative to the magnitude of the baseline.

    Returns:
        None where there is no healing, or where the network gives no finite values without it.

    Raises:
        OutOfTimeError: the time that the user gave is over.
    """
    copies = bool(evaluator.copies.of(placement))
    if not (copies or evaluator.context.calibrates):
        return None

    def drop(variant: PlacementEvaluator) -> float:
        measured = variant.measure(placement, chips, "what healing brings")
        return drop_scale(evaluator.baseline, relative) * float(measured.drops.mean())

    calibration = evaluator.calibration if evaluator.context.calibrates else None
    variants = {"neither": replace(evaluator, copies=Copies(), calibration=None)}
    if copies:
        variants["copies"] = replace(evaluator, calibration=None)
    if calibration is not None:
        variants["calibration"] = replace(evaluator, copies=Copies())
    if copies and calibration is not None:
        variants["both"] = evaluator
    for variant in variants.values():
        variant.expect([(placement, chips)])
    drops = {name: drop(variant) for name, variant in variants.items()}
    if not all(map(math.isfinite, drops.values())):
        log.warning("what healing brings is not reported: without it the network gives NaN or infinite values")
        return None
    return Healing(
        draws=len(chips),
        samples=evaluator.samples,
        **drops,
        calibration_samples=0 if calibration is None else calibration.samples,
        reads=0 if calibration is None else evaluator.hardware.compensation.reads,
    )
